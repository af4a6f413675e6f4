"""`update`: brings an image of the firmware to the meter, hands over its order, waits until it runs."""

import argparse
import asyncio
from pathlib import Path

from fieldtool import order
from fieldtool.session import DONE, NOT_SO, Session, UsageError
from headend.links import image
from headend.links.blocks import Block
from headend.links.failures import LinkError
from headend.links.image import Image
from meterlink import image as wire
from meterlink import names, registers, states
from meterlink.image import ImageError

POLL_S = 2.0


async def update(session: Session, given: argparse.Namespace) -> int:
    """Send what the meter lacks of the image; with an order, hand that over; with --wait, see it run."""
    wanted = _image(given.file)
    found = wanted.manifest
    ident = await session.meter.block(registers.IDENT)
    session.pairs(
        [
            (session.words.field("firmware"), f"{ident.values['firmware']!s} → {'.'.join(map(str, found.release))}"),
            (session.words.field("legal_version"), f"{ident.number('legal_version')} → {found.legal_version}"),
            (session.words.say("image"), f"{len(wanted.raw)} B, {found.board}, SHA-256 {wanted.sha256.hex()}"),
        ]
    )
    sent = await image.send(session.meter, wanted, lambda done, of: _tell(session, done, of))
    _say(session, sent.state, sent.result)
    if not sent.here:
        return NOT_SO
    if given.order is not None:
        code = await order.order(session, argparse.Namespace(file=given.order, body=None))
        if code != DONE:
            return code
    return await _wait(session, wanted, given.wait) if given.wait else DONE


def _image(path: Path) -> Image:
    try:
        with path.open("rb") as file:
            raw = file.read(wire.MAX_LENGTH + 1)
        return image.of(raw)
    except OSError as error:
        raise UsageError(f"FILE: {path} cannot be read ({error.strerror})") from error
    except ImageError as error:
        raise UsageError(f"FILE: {path} holds no image ({error})") from error


def _tell(session: Session, done: int, of: int) -> None:
    session.progress("sending", last=done == of, done=done, of=of, percent=100 * done // of)


def _say(session: Session, state: int, result: int) -> None:
    session.say("update_state", state=session.words.code("update", names.of(names.UPDATE, state)))
    if result not in (0, 1, 3):
        session.say("verdict", verdict=session.words.code("result", names.of(names.RESULT, result)))


async def _wait(session: Session, wanted: Image, seconds: float) -> int:
    """Until it runs for good or has been rolled back; the meter restarts meanwhile and does not answer."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    told = -1
    while loop.time() < until:
        shown = await _look(session)
        state = told if shown is None else shown.number("update_state")
        if shown is not None and state != told:
            _say(session, state, shown.number("update_result"))
            told = state
        if shown is not None and state in (states.UPDATE_IDLE, states.UPDATE_GOOD, states.UPDATE_ROLLED_BACK):
            return DONE if state == states.UPDATE_GOOD else NOT_SO
        await asyncio.sleep(POLL_S)
    session.say("still_waiting", seconds=f"{seconds:g}")
    return NOT_SO


async def _look(session: Session) -> Block | None:
    try:
        return await session.meter.block(registers.UPDATE)
    except LinkError:
        return None
