"""Has the links carry images: who is next, how many at a time, how fast, and what became of each.

It carries for the meters whose home this process holds, one at a time on a bus and some on a broker, behind all else
that the links have to do. What it does is in the database (`deliveries`): one that is stopped, or loses a bus to
another worker, leaves a delivery that goes on where the meter is.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Row

from headend.clock import Clock
from headend.firmware import deliveries, images, told
from headend.firmware.deliveries import Key
from headend.fleet import address
from headend.links import failures
from headend.links.failures import LinkError
from headend.links.image import Image
from headend.links.port import Carrier
from headend.links.rate import Rate
from headend.refusals import Refused
from headend.store import ORDERS, READS, Store
from headend.store.jobs import Lane
from meterlink import modbus, results, topics

ROUND_S = 2.0
RECORD_S = 5.0  # between two notes of how far everything is
LOOKED_AT = 2_000  # deliveries that are due, of which links that are free are chosen
KEPT = 4  # images in memory
TROUBLE_S = 10.0

log = logging.getLogger("openprepay.firmware")

# What a meter's exception says of an image: it takes none, or not this one; else somebody goes first.
_NEVER = {
    modbus.ILLEGAL_FUNCTION: results.NOT_IMPLEMENTED,
    modbus.ILLEGAL_ADDRESS: results.NOT_IMPLEMENTED,
    modbus.ILLEGAL_VALUE: results.BAD_IMAGE,
}


@dataclass(frozen=True)
class Bounds:
    """What images may take of the links: records a second on a bus, messages a second (of 7 records) on the broker, and
    meters that are brought one at a time there."""

    records_per_s: int = 20
    messages_per_s: int = 200
    at_broker: int = 100


class Moving(NamedTuple):
    """A delivery that is being carried."""

    task: "asyncio.Task[None]"
    link: str
    home: int


class Courier:
    """`go` until cancelled, then `stop`. `carriers`: by name; those without `bring` carry no images.

    holder: in whose name this process holds meters; "": it is alone · holds: whether it holds a home at this moment.
    `trouble`: why its last round failed, "" where it did not.
    """

    def __init__(
        self,
        store: Store,
        carriers: Mapping[str, Carrier],
        clock: Clock,
        bounds: Bounds,
        holder: str = "",
        holds: Callable[[int], bool] = lambda home: True,
    ) -> None:
        self.trouble = ""
        self._store = store
        self._carriers = carriers
        self._clock = clock
        self._bounds = bounds
        self._holder = holder
        self._holds = holds
        self._moving: dict[Key, Moving] = {}
        self._records: dict[Key, int] = {}  # how far those are
        self._noted: dict[Key, int] = {}
        self._noted_at = 0.0
        self._rates: dict[str, Rate] = {}
        self._images: OrderedDict[int, Image] = OrderedDict()

    async def go(self) -> None:
        """Carry on and on."""
        while True:
            try:
                await self.round()
                self.trouble = ""
                await asyncio.sleep(ROUND_S)
            except Exception as error:  # the next round may succeed
                if not self.trouble:
                    log.exception("Images could not be carried on.")
                self.trouble = f"Its last round failed: {type(error).__name__}."
                await asyncio.sleep(TROUBLE_S)

    async def stop(self) -> None:
        """Leave everything where it is."""
        under_way = [one.task for one in self._moving.values()]
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way)

    async def round(self) -> None:
        """End what is not to go on, begin what has its turn, and look at meters on buses that try their image."""
        now_s = self._clock.now_s()
        wanted = await self._read(deliveries.still_wanted, list(self._moving))
        for of, one in self._moving.items():
            if of not in wanted or not self._holds(one.home):
                one.task.cancel()
        await self._note(now_s)
        for row in await self._read(deliveries.due, now_s, LOOKED_AT, self._holder):
            of = row.campaign, row.meter
            link = _link(row)
            if of in self._moving or not self._holds(row.home) or not self._free(row.carrier, link):
                continue
            if not hasattr(self._carriers.get(row.carrier), "bring"):
                continue
            task = asyncio.create_task(self._carry(of, row), name=f"image to {row.meter}")
            self._moving[of] = Moving(task, link, row.home)
            task.add_done_callback(partial(self._ended, of))
        for row in await self._read(deliveries.trying, now_s, LOOKED_AT, self._holder):
            of = row.campaign, row.meter
            if of not in self._moving and self._holds(row.home) and hasattr(self._carriers.get(row.carrier), "look"):
                task = asyncio.create_task(self._look(of, row), name=f"image of {row.meter}")
                self._moving[of] = Moving(task, "", row.home)
                task.add_done_callback(partial(self._ended, of))

    def _free(self, carrier: str, link: str) -> bool:
        busy = sum(one.link == link for one in self._moving.values())
        return busy < (self._bounds.at_broker if carrier == "mqtt" else 1)

    def _ended(self, of: Key, task: "asyncio.Task[None]") -> None:
        self._moving.pop(of, None)
        self._records.pop(of, None)
        self._noted.pop(of, None)
        if not task.cancelled() and task.exception() is not None:  # its lease runs out, and it is tried again
            log.error("Image to meter %s: not stored", topics.meter_name(of[1]), exc_info=task.exception())

    async def _note(self, now_s: int) -> None:
        """How far everything is."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._noted_at < RECORD_S or not self._moving:
            return
        self._noted_at = loop.time()
        moved = [(of, record) for of, record in self._records.items() if self._noted.get(of) != record]
        self._noted.update(moved)
        still = set(self._moving) - {of for of, _ in moved}
        await self._write(deliveries.recorded, now_s, moved, sorted(still), lane=READS)

    # --- one delivery -------------------------------------------------------------------------------------------------

    async def _carry(self, of: Key, row: Row[Any]) -> None:
        if not await self._write(deliveries.carry, self._clock.now_s(), of):
            return
        begun_at = row.record
        try:
            image = await self._image(row.image)
            carrier: Any = self._carriers[row.carrier]
            rate = self._rate(row.carrier, _link(row))
            sent = await carrier.bring(row.meter, image, partial(self._told, of), rate.turn)
        except (LinkError, Refused) as error:
            await self._broke(of, row, error, moved=self._records.get(of, begun_at) > begun_at)
        except asyncio.CancelledError:
            await asyncio.shield(self._write(deliveries.halted, self._clock.now_s(), of, 0, "", 0))
            raise
        else:
            now_s = self._clock.now_s()
            if sent.here:
                await self._write(told.whole, now_s, of, sent.state, sent.result, image.records)
            else:
                await self._write(deliveries.refused, now_s, of, sent.result)

    async def _broke(self, of: Key, row: Row[Any], error: LinkError | Refused, *, moved: bool) -> None:
        now_s, tries = self._clock.now_s(), 1 if moved else row.tries + 1
        exception = error.exception if isinstance(error, LinkError) else 0
        if exception in _NEVER:
            await self._write(deliveries.refused, now_s, of, _NEVER[exception], str(error))
            return
        busy = isinstance(error, LinkError) and error.outcome == failures.REFUSED
        wait_s = deliveries.BUSY_S if busy else None
        await self._write(deliveries.halted, now_s, of, tries, str(error), wait_s)

    async def _look(self, of: Key, row: Row[Any]) -> None:
        carrier: Any = self._carriers[row.carrier]
        try:
            said = await carrier.look(row.meter)
        except (LinkError, Refused) as error:
            log.debug("Image of meter %s: %s", topics.meter_name(row.meter), error)
        else:
            if await self._read(told.is_news, row.meter, said):
                await self._write(told.take, self._clock.now_s(), row.meter, said)
        await self._write(deliveries.looked, self._clock.now_s(), of, lane=READS)

    def _told(self, of: Key, done: int, _of: int) -> None:
        self._records[of] = done

    def _rate(self, carrier: str, link: str) -> Rate:
        per_s = self._bounds.messages_per_s if carrier == "mqtt" else self._bounds.records_per_s
        return self._rates.setdefault(link, Rate(per_s))

    async def _image(self, number: int) -> Image:
        found = self._images.pop(number, None) or await self._read(images.load, number)
        self._images[number] = found
        while len(self._images) > KEPT:
            self._images.popitem(last=False)
        return found

    # --- the store ----------------------------------------------------------------------------------------------------

    async def _read(self, fn: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.to_thread(self._store.read, fn, *args)

    async def _write(self, fn: Callable[..., Any], *args: Any, lane: Lane = ORDERS) -> Any:
        return await asyncio.wrap_future(self._store.write(fn, *args, lane=lane))


def _link(row: Row[Any]) -> str:
    """What is shared: the broker, or a bus."""
    return "mqtt" if row.carrier == "mqtt" else address.parse(row.address).link
