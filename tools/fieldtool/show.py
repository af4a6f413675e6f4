"""`read` and `watch`: who the meter is and how it stands."""

import argparse
import asyncio
import json
from typing import Any

from fieldtool import values
from fieldtool.session import DONE, LINK, Session
from fieldtool.words import SECTIONS
from headend.links.blocks import Block
from headend.links.failures import LinkError
from meterlink import names, registers


async def read(session: Session, given: argparse.Namespace) -> int:
    """Identification and state, for people or as JSON."""
    shown = {
        "ident": await session.meter.block(registers.IDENT),
        "hot": await session.meter.block(registers.HOT),
        "token": await session.meter.block(registers.TOKEN),
    }
    if given.json:
        print(json.dumps({name: plain(block) for name, block in shown.items()}, ensure_ascii=False, indent=2))
        return DONE
    words, unit = session.words, values.currency(shown["ident"].values["currency"])
    for heading, block, fields in SECTIONS:
        print(words.pick(heading))
        found = shown[block].values
        session.pairs([(words.field(name), values.shown(words, name, found[name], unit)) for name in fields])
    print()
    if not shown["ident"].number("meter"):
        session.say("uncommissioned")
    print(values.why_off(words, facts(shown["hot"])))
    alarms = names.of_bits(names.ALARM, shown["hot"].number("alarms"))
    if alarms:
        session.say("alarms", alarms=words.join([words.code("alarm", name) for name in alarms]))
    return DONE


async def watch(session: Session, given: argparse.Namespace) -> int:
    """A line now and then, until Ctrl-C or `--count` lines; what fails is told, and tried again at the next."""
    words = session.words
    unit = values.currency((await session.meter.block(registers.IDENT)).values["currency"])
    columns = ("time_utc", "power", "current", "voltage", "balance", "supply", "alarms")
    widths = [max(values.width(words.column(name)), least) for name, least in zip(columns, _LEAST, strict=True)]
    print(_line([words.column(name) for name in columns], widths), flush=True)
    left = given.count
    code = DONE
    while True:
        try:
            print(_line(_row(session, await session.meter.block(registers.HOT), unit), widths), flush=True)
            code = DONE
        except LinkError as error:
            print(session.failed(error), flush=True)
            code = LINK
        left -= 1
        if left == 0:
            return code
        await asyncio.sleep(given.every)


_LEAST = (19, 8, 10, 8, 16, 8, 0)


def _line(cells: list[str], widths: list[int]) -> str:
    return "  ".join(values.padded(*cell) for cell in zip(cells, widths, strict=True)).rstrip()


def _row(session: Session, hot: Block, unit: str) -> list[str]:
    words = session.words
    cells = [values.shown(words, name, hot.values[name], unit) for name in _WATCHED]
    contact = words.code("contact", names.of(names.CONTACT, hot.number("contact")))
    alarms = [words.code("alarm", name) for name in names.of_bits(names.ALARM, hot.number("alarms"))]
    return [values.utc(hot.number("time_s")), *cells, contact, words.join(alarms)]


_WATCHED = ("power_w", "load_ma", "voltage_dv", "balance_uc")


def facts(block: Block) -> dict[str, int]:
    """The numbers of a block."""
    return {name: value for name, value in block.values.items() if isinstance(value, int)}


def plain(block: Block) -> dict[str, Any]:
    """A block for programs: integers as on the wire, bytes as hexadecimal digits, the names of codes behind."""
    found: dict[str, Any] = {}
    for name, value in block.values.items():
        found[name] = value.hex() if isinstance(value, bytes) else value
        if isinstance(value, int):
            named = values.code_name(name, value)
            if named is not None:
                found[f"{name}_names" if isinstance(named, list) else f"{name}_name"] = named
    return found
