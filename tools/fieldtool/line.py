"""`line`: the settings of the meter's bus and what came in over it; sets them over the service port."""

import argparse

from fieldtool.session import DONE, NOT_SO, Session
from headend.links.blocks import Block
from headend.links.failures import LinkError
from meterlink import lines, registers

_ILLEGAL_ADDRESS = 2
_NEVER = 0xFFFFFFFF
_SETTINGS = ("address", "baud", "parity", "stop_bits")
_COUNTED = ("frames", "requests", "foreign_frames", "broadcasts", "bad_frames", "overruns")
_HEARD = ("bus_heard_s", "tcp_heard_s", "mqtt_heard_s")
_UPLINK = ("none", "down", "up")


async def line(session: Session, given: argparse.Namespace) -> int:
    """Show them; first set what the command line asks for, the others stay as they are."""
    shown = await session.meter.block(registers.LINE)
    wanted = {name: getattr(given, f"set_{name}") for name in _SETTINGS}
    if any(value is not None for value in wanted.values()):
        settings = [shown.number(name) if wanted[name] is None else wanted[name] for name in _SETTINGS]
        try:
            await session.meter.set_line(lines.pack(*settings))
        except LinkError as error:
            if error.exception != _ILLEGAL_ADDRESS:
                raise
            session.say("line_elsewhere")
            return NOT_SO
        shown = await session.meter.block(registers.LINE)
    _show(session, shown)
    return DONE


def _show(session: Session, shown: Block) -> None:
    words = session.words
    rows = [(words.field("line"), _settings(session, shown, ""))]
    rows += [(words.field(name), str(shown.number(name))) for name in _COUNTED]
    for name in _HEARD:
        ago_s = shown.number(name)
        rows.append((words.field(name), words.say("none") if ago_s == _NEVER else words.say("seconds", count=ago_s)))
    state = words.code("uplink", _UPLINK[min(shown.number("mqtt_state"), 2)])
    rows.append((words.field("mqtt_state"), words.say("uplink", state=state, count=shown.number("mqtt_connects"))))
    session.pairs(rows)
    if shown.number("undone_s"):
        session.say("line_trial", former=_settings(session, shown, "former_"), seconds=shown.number("undone_s"))


def _settings(session: Session, shown: Block, which: str) -> str:
    address, baud, parity, stop_bits = (shown.number(which + name) for name in _SETTINGS)
    return session.words.say(
        "line", address=address, baud=baud, parity=session.words.code("parity", lines.PARITIES[parity]), stop=stop_bits
    )
