"""Who is brought an image when, over links that take their time: one meter of a bus at a time, some of a broker, never
what is not to go on, and on from where it was."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy import update

from headend.campaigns import acts
from headend.firmware.courier import Bounds, Courier
from headend.links import failures
from headend.links.failures import LinkError
from headend.links.image import Image, Sent
from headend.links.rate import Rate
from headend.store.schema import meter
from meterlink import modbus, results, states
from tests.host.gate_rig import EVE
from tests.host.test_firmware import Workshop, made

LIMIT_S = 60


class Link:
    """Meters that take a record whenever `open` lets them. `fails`: meter -> what is raised at its first record."""

    def __init__(self, name: str, link_of: Callable[[int], str]) -> None:
        self.name = name
        self.open = asyncio.Event()
        self.here: Counter[int] = Counter()  # meter -> records that it has
        self.fails: dict[int, LinkError] = {}
        self.now: Counter[str] = Counter()  # link -> meters that are brought something at this moment
        self.most: Counter[str] = Counter()
        self._link_of = link_of

    async def bring(self, number: int, wanted: Image, told: Any, paced: Any) -> Sent:
        link = self._link_of(number)
        self.now[link] += 1
        self.most[link] = max(self.most[link], self.now[link])
        try:
            while self.here[number] < wanted.records:
                await paced()
                if number in self.fails:
                    raise self.fails.pop(number)
                self.here[number] += 1
                told(self.here[number], wanted.records)
                await self.open.wait()
        finally:
            self.now[link] -= 1
        return Sent(states.UPDATE_WHOLE, results.PENDING)


class Depot(Workshop):
    """A campaign that has begun: of its six meters four are on two buses."""

    def __init__(self) -> None:
        super().__init__(meters=6, areas=("north/f-1",))
        self.buses = {number: f"tcp://10.0.0.{at % 2 + 1}:502" for at, number in enumerate(self.meters[:4])}
        for at, (number, bus) in enumerate(self.buses.items()):
            found = {"carrier": "modbus", "address": f"{bus}?unit={at + 1}", "bus": 64 + at % 2}
            self.store.write(lambda conn, n=number, f=found: conn.execute(
                update(meter).where(meter.c.meter == n).values(f)
            )).result()  # fmt: skip
        at_broker = [number for number in self.meters if number not in self.buses]
        for number in at_broker:
            found = {"carrier": "mqtt", "address": "", "bus": None}
            self.store.write(lambda conn, n=number, f=found: conn.execute(
                update(meter).where(meter.c.meter == n).values(f)
            )).result()  # fmt: skip
        self.id = self.approved(self.keep(made()), groups=["rest"])
        self.step()

    def states(self) -> Counter[str]:
        return Counter(row.state for row in self.deliveries(self.id).values())


def run(scenario: Callable[[Depot, Link, Link, Courier], Any], **more: Any) -> None:
    async def whole() -> None:
        depot = Depot()
        bus = Link("modbus", lambda number: depot.buses.get(number, ""))
        broker = Link("mqtt", lambda number: "mqtt")
        bounds = Bounds(records_per_s=1000, messages_per_s=1000, at_broker=1)
        carriers: Any = {"modbus": bus, "mqtt": broker}
        courier = Courier(depot.store, carriers, depot.clock, bounds, **more)
        try:
            await scenario(depot, bus, broker, courier)
        finally:
            await courier.stop()
            depot.close()

    asyncio.run(asyncio.wait_for(whole(), LIMIT_S))


async def rounds(depot: Depot, courier: Courier, until: Callable[[], bool]) -> None:
    while not until():
        await courier.round()
        await asyncio.sleep(0.01)


def test_one_meter_of_a_bus_at_a_time_and_as_many_of_the_broker_as_are_let() -> None:
    async def scenario(depot: Depot, bus: Link, broker: Link, courier: Courier) -> None:
        for _ in range(5):
            await courier.round()
            await asyncio.sleep(0.01)
        assert sum(bus.now.values()) == 2 and broker.now["mqtt"] == 1
        bus.open.set()
        broker.open.set()
        await rounds(depot, courier, lambda: depot.states() == {"here": 6})
        assert set(bus.most.values()) == {1} and broker.most["mqtt"] == 1

    run(scenario)


def test_what_is_paused_stops_and_goes_on_where_it_was() -> None:
    async def scenario(depot: Depot, bus: Link, broker: Link, courier: Courier) -> None:
        await rounds(depot, courier, lambda: sum(bus.here.values()) == 2)
        depot.write(acts.pause, depot.id, EVE, "look first")
        await rounds(depot, courier, lambda: not +bus.now and depot.states() == {"waiting": 6})
        depot.write(acts.resume, depot.id, EVE, "go on")
        bus.open.set()
        broker.open.set()
        await rounds(depot, courier, lambda: depot.states() == {"here": 6})
        assert set(bus.here.values()) == {made().records}, "no record twice"

    run(scenario)


def test_what_a_link_says_decides_when_it_is_tried_again() -> None:
    async def scenario(depot: Depot, bus: Link, broker: Link, courier: Courier) -> None:
        none, busy, silent, _ = depot.buses
        bus.fails = {
            none: LinkError(failures.REFUSED, "it has no slots", modbus.ILLEGAL_FUNCTION),
            busy: LinkError(failures.REFUSED, "another image goes first", modbus.DEVICE_BUSY),
            silent: LinkError(failures.SILENT, "it does not answer"),
        }
        bus.open.set()
        broker.open.set()
        wanted = {"refused": 1, "waiting": 2, "here": 3}
        await rounds(depot, courier, lambda: depot.states() == wanted)
        found, now_s = depot.deliveries(depot.id), depot.clock.now_s()
        assert found[none].result == results.NOT_IMPLEMENTED
        assert (found[busy].next_s - now_s, found[silent].next_s - now_s) == (1800, 30)
        assert "does not answer" in found[silent].note
        depot.clock.advance(1800)
        await rounds(depot, courier, lambda: depot.states() == {"refused": 1, "here": 5})

    run(scenario)


def test_nothing_is_carried_for_meters_of_another_worker() -> None:
    async def scenario(depot: Depot, bus: Link, broker: Link, courier: Courier) -> None:
        bus.open.set()
        broker.open.set()
        for _ in range(5):
            await courier.round()
        assert depot.states() == {"waiting": 6} and not bus.here

    run(scenario, holds=lambda home: False)


def test_a_rate_is_kept_by_all_who_share_it() -> None:
    async def scenario() -> None:
        rate, loop = Rate(100), asyncio.get_running_loop()
        begun = loop.time()
        await asyncio.gather(*(rate.turn() for _ in range(21)))
        assert loop.time() - begun >= 0.2

    asyncio.run(scenario())
