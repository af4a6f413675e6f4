"""Sends an image of the firmware to a meter on a bus, record by record, from where the meter is.

The meter says which record it expects, so a line that was cut, a meter that lost power and a sender that was stopped
all go on where they were. What the image is worth, the signed `firmware` order says that names it.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from headend.links import failures
from headend.links.blocks import Block
from headend.links.failures import LinkError
from headend.links.meter import MeterOnBus
from meterlink import image, modbus, registers, results, states
from meterlink.image import Manifest, Progress

TRIES = 8  # in a row without a record that came through
PAUSE_S = 2.0  # before the next of them
SETTLE_S = 60.0  # for the SHA-256 of what was sent
POLL_S = 0.5

Told = Callable[[int, int], None]
"""told(done, of): records so far, after each."""

Paced = Callable[[], Awaitable[None]]
"""await paced(): before each request or message, however long others go first."""


@dataclass(frozen=True)
class Image:
    """An image as a file has it; `sha256` over all of it."""

    raw: bytes
    manifest: Manifest
    sha256: bytes

    @property
    def records(self) -> int:
        """The number of its last record."""
        return image.records(len(self.raw))

    def record(self, number: int) -> bytes:
        """Record 0 is the offer, record n piece n - 1."""
        if not number:
            return image.pack_offer(len(self.raw), self.sha256)
        at = (number - 1) * image.PIECE
        return self.raw[at : at + image.PIECE]


@dataclass(frozen=True)
class Sent:
    """How the meter stands with an image: state (states.UPDATE_*), result (results.*)."""

    state: int
    result: int

    @property
    def here(self) -> bool:
        """Whether the image is on the meter, whole and right."""
        return self.state >= states.UPDATE_WHOLE and self.state != states.UPDATE_ROLLED_BACK


def of(raw: bytes) -> Image:
    """ImageError where these bytes are no image."""
    manifest = image.read_manifest(raw)
    image.read_offer(image.pack_offer(len(raw), bytes(32)))
    return Image(raw, manifest, hashlib.sha256(raw).digest())


async def at_once() -> None:
    """For whom nobody else is to go first."""


async def send(meter: MeterOnBus, wanted: Image, told: Told = lambda done, of: None, paced: Paced = at_once) -> Sent:
    """Send all that the meter lacks, and wait until it has checked it.

    LinkError where the line stays broken, or the meter does not take it: DEVICE_BUSY where another image goes first.
    """
    failed = 0
    while True:
        try:
            shown = await _offer(meter, wanted)
            while shown.number("update_state") == states.UPDATE_RECEIVING:
                for number in range(shown.number("next_record"), wanted.records + 1):
                    await paced()
                    await meter.write_record(number, wanted.record(number))
                    failed = 0
                    told(number, wanted.records)
                shown = await meter.block(registers.UPDATE)
            return await _settled(meter, wanted, shown)
        except LinkError as error:
            failed += 1
            if error.exception in _FINAL or failed >= TRIES:
                raise
            await asyncio.sleep(PAUSE_S)


_FINAL = (modbus.ILLEGAL_FUNCTION, modbus.ILLEGAL_VALUE, modbus.DEVICE_FAILURE, modbus.DEVICE_BUSY)


async def look(meter: MeterOnBus) -> Progress:
    """How the meter stands with its image, and which release runs; changes nothing."""
    shown, ident = await meter.block(registers.UPDATE), await meter.block(registers.IDENT)
    return Progress(
        shown.number("update_state"),
        shown.number("slot"),
        shown.number("update_result"),
        shown.number("image_length"),
        shown.octets("image_sha256")[:8],
        shown.number("next_record"),
        _release(str(ident.values["firmware"])),
    )


def _release(text: str) -> tuple[int, int, int]:
    parts = text.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and int(part) <= 0xFF for part in parts):
        raise LinkError(failures.DAMAGED, f"The meter shows {text[:20]!r} as its release, A.B.C expected.")
    return int(parts[0]), int(parts[1]), int(parts[2])


async def _offer(meter: MeterOnBus, wanted: Image) -> Block:
    """How far the meter is with this image. It is offered only where the meter has another one, or none."""
    shown = await meter.block(registers.UPDATE)
    under_way = states.UPDATE_RECEIVING <= shown.number("update_state") <= states.UPDATE_GOOD
    if not under_way or shown.octets("image_sha256") != wanted.sha256:
        await meter.write_record(0, wanted.record(0))
        shown = await meter.block(registers.UPDATE)
    return shown


async def _settled(meter: MeterOnBus, wanted: Image, shown: Block) -> Sent:
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLE_S
    while shown.number("update_state") == states.UPDATE_CHECKING:
        if loop.time() >= until:
            raise LinkError(failures.STALE, f"Unit {meter.unit} has not checked the image within {SETTLE_S:g} s.")
        await asyncio.sleep(POLL_S)
        shown = await meter.block(registers.UPDATE)
    if shown.octets("image_sha256") != wanted.sha256:
        raise LinkError(failures.STALE, f"Unit {meter.unit} has begun another image meanwhile.")
    return Sent(shown.number("update_state"), shown.number("update_result") or results.NONE)
