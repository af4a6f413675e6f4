"""Meters on Modbus: RTU on a serial line, RTU through a serial server, and Modbus TCP.

Here the head end speaks first, always: an answer to a question is fetched as soon as it is there and handed up as if it
had come over a broker. Buses work side by side; on one bus there is one transaction at a time.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from headend.clock import Clock, SystemClock
from headend.fleet import address
from headend.links import failures, image, turns
from headend.links.bus import Bus, Patience
from headend.links.doors import Doors
from headend.links.failures import LinkError
from headend.links.image import Image, Paced, Told
from headend.links.meter import MeterOnBus
from headend.links.port import Sent, Up
from headend.links.quality import Quality
from headend.links.upward import Upward
from headend.orders.actions import Ack, Action, Ask, Deliver
from headend.refusals import Refused
from headend.workers.homes import home_of_link
from meterlink import batches, names, registers, reports, results, topics
from meterlink.image import Progress

WAITING = 64  # actions that may wait for one bus
PATIENCE = Patience(rest_s=5.0, idle_s=60.0)  # of a head end, which has other meters to ask meanwhile

AddressOf = Callable[[int], str | None]
"""address_of(meter): its address as in `headend.fleet.address`, None where it is not on Modbus. It may block."""


def _urgency(action: Action) -> int:
    if isinstance(action, Deliver):
        return turns.ORDERS
    if isinstance(action, Ask) and not action.waited_for and action.raw[1:2] in _RECORD_KINDS:
        return turns.RECORDS
    return turns.QUESTIONS


_RECORD_KINDS = (bytes([batches.KIND_INTERVALS]), bytes([batches.KIND_EVENTS]))  # where a question says its kind


class ModbusCarrier:
    """See `port.Carrier`. An action is taken over when the meter's mailbox has said so, or its answer is committed."""

    name = "modbus"

    def __init__(self, address_of: AddressOf, patience: Patience | None = None, clock: Clock | None = None) -> None:
        self._address_of = address_of
        self._patience = patience or PATIENCE
        self._clock = clock or SystemClock()
        self.quality = Quality()
        self._doors = Doors()
        self._buses: dict[str, Bus] = {}
        self._meters: dict[tuple[str, int], MeterOnBus] = {}
        self._waiting: dict[str, int] = {}
        self._work: set[asyncio.Task[Sent]] = set()
        self._upward: Upward | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self, up: Up) -> None:
        """Lines are opened when something is to be said on them."""
        self._upward = Upward(up)
        if self._patience.idle_s:
            self._sweeping = asyncio.create_task(self._sweep(), name="idle lines")

    async def stop(self) -> None:
        """What is under way is given up, and not taken over."""
        upward, self._upward = self._upward, None
        under_way: list[asyncio.Task[Any]] = [*self._work, *([self._sweeping] if self._sweeping else [])]
        for work in under_way:
            work.cancel()
        if under_way:
            await asyncio.wait(under_way)
        for bus in self._buses.values():
            await bus.close()
        if upward is not None:
            await asyncio.to_thread(upward.close)

    async def keep(self, holds: Callable[[int], bool]) -> None:
        """Close the lines whose home (`workers.homes`) is not held: another master may come, and some take only one."""
        for link, bus in list(self._buses.items()):
            if not holds(home_of_link(bus.where)):
                await bus.close()
                self._buses.pop(link, None)
                self._meters = {key: one for key, one in self._meters.items() if key[0] != link}

    async def _sweep(self) -> None:
        """Close connections that nobody used for a while."""
        while True:
            await asyncio.sleep(self._patience.idle_s / 2)
            for bus in list(self._buses.values()):
                bus.close_if_idle(self._patience.idle_s)

    def reaches(self, meter: int) -> bool:
        return self._address_of(meter) is not None

    async def send(self, action: Action) -> Sent:
        if self._upward is None:
            return Sent(False, "The Modbus link does not run.")
        work = asyncio.create_task(self._carry(self._upward, action))
        self._work.add(work)
        try:
            await asyncio.wait({work})
        finally:
            work.cancel()
            self._work.discard(work)
        return Sent(False, "The Modbus link was stopped.") if work.cancelled() else work.result()

    async def _carry(self, upward: Upward, action: Action) -> Sent:
        try:
            meter = await self._meter(action.meter)
            link = meter.bus.where.link
            waiting = self._waiting.get(link, 0)
            if waiting >= WAITING:
                raise LinkError(failures.BUSY, f"{waiting} actions wait for {link} already.")
            self._waiting[link] = waiting + 1
            turns.urgency.set(_urgency(action))  # of this task, which carries nothing else
            try:
                return await self._act(upward, meter, action)
            finally:
                self._waiting[link] -= 1
        except (LinkError, Refused, batches.BatchError) as error:
            return Sent(False, str(error))
        except Exception as error:  # noqa: BLE001 - whatever the store raised: nothing was taken over, and that is all
            return Sent(False, f"Not stored: {type(error).__name__}: {error}")

    async def bring(self, meter: int, wanted: Image, told: Told, paced: Paced) -> image.Sent:
        """Bring an image, behind everything else that waits for the bus; raises LinkError, Refused."""
        found = await self._last_in_line(meter)
        return await image.send(found, wanted, told, paced)

    async def look(self, meter: int) -> Progress:
        """How a meter stands with an image; raises LinkError, Refused."""
        return await image.look(await self._last_in_line(meter))

    async def _last_in_line(self, number: int) -> MeterOnBus:
        """The meter, whose number is what it shows; this task's transactions give way to all others."""
        turns.urgency.set(turns.IMAGES)
        meter = await self._meter(number)
        shown = (await meter.block(registers.IDENT)).number("meter")
        if shown != number:
            sentence = f"Meter {topics.meter_name(shown)} is unit {meter.unit}, {topics.meter_name(number)} expected."
            raise LinkError(failures.OTHER_METER, sentence)
        return meter

    async def _meter(self, number: int) -> MeterOnBus:
        text = await asyncio.to_thread(self._address_of, number)
        if text is None:
            raise LinkError(failures.UNREACHABLE, f"Meter {topics.meter_name(number)} has no Modbus address.")
        where = address.parse(text)
        bus = self._buses.get(where.link)
        if bus is None:
            bus = self._buses[where.link] = Bus(where, self._patience, self.quality, self._doors)
        return self._meters.setdefault((where.link, where.unit), MeterOnBus(bus, where.unit))

    async def _act(self, upward: Upward, meter: MeterOnBus, action: Action) -> Sent:
        if isinstance(action, Deliver):
            return await self._deliver(meter, action)
        if isinstance(action, Ask):
            return await self._ask(upward, meter, action)
        assert isinstance(action, Ack)
        await meter.acknowledge(action.raw)
        return Sent(True, "The mailbox took it.")

    async def _deliver(self, meter: MeterOnBus, action: Deliver) -> Sent:
        if 0 < action.last_s < self._clock.now_s():
            return Sent(False, "Its last second passed before it could be handed over.")
        verdict = await meter.order(action.raw, action.parcels)
        if verdict.code == results.PENDING:
            return Sent(True, f"The mailbox took it; no verdict yet: {verdict.trouble}")
        return Sent(True, f"The mailbox took it; the meter says: {names.of(names.RESULT, verdict.code)}.")

    async def _ask(self, upward: Upward, meter: MeterOnBus, action: Ask) -> Sent:
        what, raw = await meter.ask(action.raw)
        if raw and reports.meter_of(raw) != action.meter:  # an order names its meter at the same place
            found = topics.meter_name(reports.meter_of(raw))
            wanted = topics.meter_name(action.meter)
            raise LinkError(
                failures.OTHER_METER, f"Meter {found} answers as unit {meter.unit}, {wanted} was expected there."
            )
        await asyncio.wrap_future(upward.hand(action.meter, what, raw))
        return Sent(True, "Answered.")
