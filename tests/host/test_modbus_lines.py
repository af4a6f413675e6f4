"""Many lines at once, and lines at their limit: adaptive waits, rests, places at a host, what is counted."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer

from headend.fleet import address
from headend.links import failures, timing, turns
from headend.links.bus import Bus, Patience
from headend.links.doors import MOST, Doors
from headend.links.failures import LinkError
from headend.links.quality import Quality
from headend.links.timing import Answering
from headend.links.turns import Turns
from meterlink import modbus
from metersim import rs485
from tests.brokers import free_port
from tests.host.line_rig import Line, Space, line, silent
from tests.host.test_modbus_bus import BRISK, outcome, words

HASTY = Patience(answer_s=0.2, quiet_s=0.02, rest_s=30.0)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 120))


@contextlib.asynccontextmanager
async def bus_on(where: str, patience: Patience, quality: Quality | None = None) -> AsyncIterator[Bus]:
    bus = Bus(address.parse(f"{where}?unit=1"), patience, quality)
    try:
        yield bus
    finally:
        await bus.close()


# --- how long is waited ----------------------------------------------------------------------------------------------


@given(st.floats(0.05, 10), st.lists(st.one_of(st.none(), st.floats(0, 20)), max_size=40))
def test_no_wait_is_shorter_or_longer_than_the_bounds(first_s: float, took: list[float | None]) -> None:
    unit = Answering(first_s)
    for one in took:
        unit.silent(0.0, 5.0) if one is None else unit.answered(one)
        assert timing.LEAST * first_s <= unit.wait_s <= timing.MOST * first_s


def test_the_wait_follows_what_is_usual_and_doubles_behind_a_silence() -> None:
    unit = Answering(1.0)
    for _ in range(60):
        unit.answered(0.6)
    usual_s = unit.wait_s
    assert 0.6 <= usual_s < 0.65
    unit.silent(0.0, 0.0)
    assert unit.wait_s == pytest.approx(2 * usual_s)
    unit.answered(0.6)
    assert unit.wait_s < 0.65
    for _ in range(30):
        unit.answered(0.9)
    assert 0.9 <= unit.wait_s < 1.3


def test_a_unit_that_never_answered_costs_no_more_than_at_first_and_rests_ever_longer() -> None:
    unit = Answering(1.0)
    rests = []
    for _ in range(12):
        unit.silent(100.0, 5.0)
        assert unit.wait_s == 1.0
        rests.append(unit.rests_until - 100.0)
    assert rests[:5] == [-100.0, -100.0, 5.0, 10.0, 20.0]
    assert rests[-1] == timing.REST_MOST_S


# --- whose turn it is ------------------------------------------------------------------------------------------------


def test_a_unit_with_much_to_say_does_not_hold_up_another() -> None:
    async def scenario() -> None:
        order = Turns()
        went: list[int] = []

        async def one(unit: int) -> None:
            await order.take(unit)
            went.append(unit)
            await asyncio.sleep(0)
            order.give()

        await order.take(9)
        tasks = [asyncio.create_task(one(unit)) for unit in (1, 1, 1, 1, 2, 3, 2)]
        await asyncio.sleep(0)
        order.give()
        await asyncio.gather(*tasks)
        assert went == [1, 2, 3, 1, 2, 1, 1]

    run(scenario())


def test_a_silent_unit_rests_and_its_neighbours_are_served() -> None:
    async def scenario(one: Line) -> None:
        quality = Quality()
        async with bus_on(one.port, HASTY, quality) as bus:
            for _ in range(timing.IN_A_ROW):
                assert await outcome(bus.read(13, 0, 1)) == failures.SILENT
            asked = len(one.requests)
            for number in range(5):
                assert await outcome(bus.read(13, 0, 1)) == failures.RESTING
                assert await bus.read(1, number, 1) == words(number, 1)
            assert len(one.requests) == asked + 5, "the resting unit cost the line nothing"
            turns.urgency.set(turns.ORDERS)
            assert await outcome(bus.read(13, 0, 1)) == failures.SILENT, "an order is tried all the same"
            counts = quality.take()
            silent_one, other = counts[bus.where.link, 13], counts[bus.where.link, 1]
            assert (silent_one.sent, silent_one.silent, silent_one.skipped) == (4, 4, 5)
            assert (other.sent, other.answered) == (5, 5)

    with line("socket") as one:
        run(scenario(one))


def test_an_order_goes_before_the_readings_that_wait() -> None:
    async def scenario(one: Line) -> None:
        async with bus_on(one.port, BRISK) as bus:
            await bus.read(1, 0, 1)

            async def ask(how: int, number: int) -> None:
                turns.urgency.set(how)
                await bus.read(1, number, 1)

            readings = [asyncio.create_task(ask(turns.RECORDS, 100 + n)) for n in range(10)]
            await asyncio.sleep(0)
            await asyncio.gather(*readings, asyncio.create_task(ask(turns.ORDERS, 7)))
        numbers = [int.from_bytes(frame[2:4], "big") for frame in one.requests]
        assert numbers.index(7) <= 2 and len(numbers) == 12

    with line("socket") as one:
        run(scenario(one))


# --- what is counted -------------------------------------------------------------------------------------------------


def test_what_becomes_of_each_request_is_counted() -> None:
    async def scenario(one: Line) -> None:
        quality = Quality()
        late: list[bytes] = []
        async with bus_on(one.port, BRISK, quality) as bus:
            assert await bus.read(1, 0, 1) == words(0, 1)
            one.faults.append(lambda reply: late.append(reply) or b"")  # type: ignore[func-returns-value]
            assert await outcome(bus.read(1, 10, 1)) == failures.SILENT
            one.say(late[0])
            assert await bus.read(1, 20, 1) == words(20, 1)
            one.faults.append(lambda reply: reply[:3] + bytes([reply[3] ^ 1]) + reply[4:])
            assert await outcome(bus.read(1, 30, 1)) == failures.GARBLED
            assert await outcome(bus.read(1, 350, 1)) == failures.REFUSED
            assert await bus.read(2, 1, 1) == words(1, 1, 2)
        counts = quality.take()
        first = counts[one.port, 1]
        assert (first.sent, first.answered, first.refused, first.silent, first.garbled, first.late) == (
            5,
            2,
            1,
            1,
            1,
            1,
        )
        assert (counts[one.port, 2].sent, counts[one.port, 2].answered) == (1, 1)
        assert first.times.quantile_ms(100) is not None
        assert quality.take() == {}

    with line("socket") as one:
        run(scenario(one))


# --- places at a host ------------------------------------------------------------------------------------------------


class Gateways:
    """Serial servers on loopback, each with units 1 and 2 behind it; `most`: connections that were open at a time, and
    one that is closed here may be open there for a moment more."""

    def __init__(self) -> None:
        self.most = self.now = self.made = 0
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> "Gateways":
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in self._servers:
            one.close()

    async def add(self, number: int) -> str:
        """Another one; where it listens."""
        units = {unit: modbus.RtuServer(modbus.ServerPdu(Space(unit + 2 * (number % 30))), unit) for unit in (1, 2)}

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.now += 1
            self.made += 1
            self.most = max(self.most, self.now)
            with contextlib.suppress(OSError):
                while frame := await reader.read(512):
                    for server in units.values():
                        for octet in frame:
                            server.feed(octet)
                        writer.write(bytes(server.reply[: server.end()]))
            self.now -= 1
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self._servers.append(server)
        return f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_two_hundred_lines_with_two_meters_each_in_one_loop() -> None:
    async def scenario() -> None:
        async with Gateways() as gateways:
            quality, doors = Quality(), Doors()
            places = [await gateways.add(number) for number in range(200)]
            buses = [Bus(address.parse(f"{place}?unit=1"), Patience(answer_s=20.0), quality, doors) for place in places]

            async def sweep(number: int, bus: Bus) -> None:
                for unit in (1, 2):
                    assert await bus.read(unit, 5, 20) == words(5, 20, unit + 2 * (number % 30))

            await asyncio.gather(*(sweep(number, bus) for number, bus in enumerate(buses)))
            assert sum(one.answered for one in quality.take().values()) == 400
            assert gateways.most < 2 * MOST
            assert sum(bus.close_if_idle(0) for bus in buses) <= MOST
            for bus in buses:
                await bus.close()

    run(scenario())


def test_a_line_that_nobody_uses_gives_its_place_to_another() -> None:
    async def scenario() -> None:
        async with Gateways() as gateways:
            doors = Doors(2)
            buses = [Bus(address.parse(f"{await gateways.add(n)}?unit=1"), BRISK, None, doors) for n in range(5)]
            for _ in range(3):
                for number, bus in enumerate(buses):
                    assert await bus.read(1, 0, 1) == words(0, 1, 1 + 2 * number)
            assert gateways.most <= 3 and gateways.made >= 13
            for bus in buses:
                await bus.close()

    run(scenario())


def test_who_waits_for_a_place_in_vain_is_told_and_costs_nobody_one() -> None:
    async def scenario(slow: Line, quick: Line) -> None:
        doors = Doors(1)
        slow.faults.append(silent)
        busy = Bus(address.parse(f"{slow.port}?unit=1"), Patience(answer_s=1.0, quiet_s=0.02), None, doors)
        other = Bus(address.parse(f"{quick.port}?unit=1"), Patience(answer_s=1.0, turn_s=0.2), None, doors)
        waits = asyncio.create_task(outcome(busy.read(1, 0, 1)))
        await asyncio.sleep(0.05)
        assert await outcome(other.read(1, 0, 1)) == failures.BUSY
        assert await waits == failures.SILENT
        assert await other.read(1, 3, 1) == words(3, 1)
        assert await busy.read(1, 4, 1) == words(4, 1)
        await busy.close()
        await other.close()

    with line("socket") as slow, line("socket") as quick:
        run(scenario(slow, quick))


def test_an_idle_line_is_closed_and_opened_again_when_it_is_needed() -> None:
    async def scenario(one: Line) -> None:
        async with bus_on(one.port, BRISK) as bus:
            assert await bus.read(1, 0, 1) == words(0, 1)
            assert not bus.close_if_idle(3600)
            assert bus.close_if_idle(0)
            assert not bus.close_if_idle(0)
            assert await bus.read(1, 1, 1) == words(1, 1)
        assert one.connections == 2

    with line("socket") as one:
        run(scenario(one))


def test_a_gateway_that_is_gone_is_tried_ever_more_rarely() -> None:
    async def scenario() -> None:
        where = address.parse(f"socket://127.0.0.1:{free_port()}?unit=1")
        bus = Bus(where, Patience(reopen_s=0.001, reopen_most_s=1000.0))
        loop = asyncio.get_running_loop()
        waits = []
        for _ in range(5):
            assert await outcome(bus.read(1, 0, 1)) == failures.UNREACHABLE
            waits.append(bus._not_before - loop.time())
            while loop.time() < bus._not_before:  # noqa: ASYNC110 - it is the clock that is waited for
                await asyncio.sleep(0.001)
        assert waits[-1] > 4 * max(waits[0], 0.001)

    run(scenario())


# --- real and foreign slaves -----------------------------------------------------------------------------------------


def test_a_foreign_slave_behind_a_serial_server() -> None:
    """pymodbus' own server, RTU over TCP."""

    async def scenario() -> None:
        port = free_port()
        block = ModbusSequentialDataBlock(1, list(range(200)))  # type: ignore[no-untyped-call]
        slaves: dict[int, Any] = {unit: ModbusDeviceContext(hr=block, ir=block) for unit in (1, 2)}
        server = ModbusTcpServer(
            ModbusServerContext(devices=slaves, single=False), framer=FramerType.RTU, address=("127.0.0.1", port)
        )
        serving = asyncio.create_task(server.serve_forever())
        async with bus_on(f"socket://127.0.0.1:{port}", Patience(answer_s=5.0)) as bus:
            for _ in range(100):
                with contextlib.suppress(LinkError):
                    await bus.read(1, 0, 1)
                    break
                await asyncio.sleep(0.05)
                bus._not_before = 0.0
            for unit in (1, 2):
                for at in range(10):
                    raw = await bus.read(unit, at, 50)
                    assert [int.from_bytes(raw[n : n + 2], "big") for n in range(0, 100, 2)] == list(range(at, at + 50))
            await bus.write(2, 3, b"\x12\x34")
            assert await bus.read(2, 3, 1) == b"\x12\x34"
        await server.shutdown()  # type: ignore[no-untyped-call]
        serving.cancel()

    run(scenario())


class Noisy(rs485.Slave):
    """A slave on whose answers something falls now and then, as the draw has it."""

    draw = random.Random(5)

    def _answer(self, reply: bytes) -> None:
        super()._answer(reply)
        if self.draw.random() < 0.3:
            at_us = self.bus.now_us + self.draw.randrange(len(reply)) * self.bus.character_us
            self.bus.at(at_us, lambda: self.bus.noise(bytes([self.draw.randrange(256)])))


def test_noise_on_a_real_line_makes_errors_and_never_wrong_values() -> None:
    wires = rs485.Bus(9600, 11, seed=3)
    for unit in (1, 2):
        wires.stations.append(Noisy(wires, server=modbus.RtuServer(modbus.ServerPdu(Space(unit)), unit)))

    async def scenario(path: str) -> None:
        quality = Quality()
        hasty = Patience(answer_s=0.5, quiet_s=0.02, frame_bytes=32)
        async with bus_on(f"serial:{path}", hasty, quality) as bus:
            good = 0
            for number in range(40):
                unit = 1 + number % 2
                try:
                    assert await bus.read(unit, number, 6) == words(number, 6, unit)
                    good += 1
                except LinkError as error:
                    assert error.outcome in (failures.SILENT, failures.GARBLED, failures.FOREIGN)
            counts = quality.take().values()
            assert good == sum(one.answered for one in counts) and 10 < good < 40
            assert sum(one.garbled + one.silent + one.foreign for one in counts) == 40 - good

    with rs485.Bridge(wires) as bridge:
        run(scenario(bridge.path))
