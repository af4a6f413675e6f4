"""`switches`, `topups`, `freezes`, `nuisance`: the smaller logs of a meter, to the screen or into a CSV file.

They come as Modbus file records: each with its CRC and number, and without a MAC.
"""

import argparse
import datetime
from collections.abc import Callable
from dataclasses import dataclass

from fieldtool import values
from fieldtool.records import CodeOf, Row, event_row, writer_of
from fieldtool.session import DONE, Session
from fieldtool.words import EVENT_COLUMNS, FREEZE_COLUMNS, SWITCH_COLUMNS, TOPUP_COLUMNS
from meterlink import names, records, registers

HELP = {
    "switches": "what opened and closed the relay",
    "topups": "the last top-ups",
    "freezes": "registers frozen at the end of each local day",
    "nuisance": "the events that anybody can cause",
}
_EPOCH = datetime.date(1970, 1, 1)


@dataclass(frozen=True)
class Log:
    """name: in block `logs` · base: its first file · length: of a record · columns, and a record as a row of them."""

    name: str
    base: int
    length: int
    columns: tuple[str, ...]
    row_of: Callable[[CodeOf, bytes], Row]


def _switch(code_of: CodeOf, raw: bytes) -> Row:
    seq, time_s, closed, _, who, epoch, version, import_wh, export_wh, balance_uc, operations = records.unpack(
        records.KIND_SWITCH, raw
    )
    why = code_of(*names.of_who(who)) if who else ""
    relay = code_of("contact", "closed" if closed else "open")
    numbers = map(str, (epoch, version, import_wh, export_wh))
    return [str(seq), values.utc(time_s), relay, why, *numbers, values.money(balance_uc), str(operations)]


def _topup(code_of: CodeOf, raw: bytes) -> Row:
    seq, time_s, source, account, tid, *amounts, register, kind, _ = records.unpack(records.KIND_TOPUP, raw)
    token = str(tid) if kind == records.TOPUP_TYPED else ""
    money = map(values.money, amounts)
    return [str(seq), values.utc(time_s), str(source), str(account), token, *money, str(register)]


def _freeze(code_of: CodeOf, raw: bytes) -> Row:
    seq, time_s, day, account, flags, _, import_wh, export_wh, *rest = records.unpack(records.KIND_DAILY, raw)
    flagged = " + ".join(code_of("flag", name) for name in names.of_flags(names.FLAG, flags))
    rates = (" ".join(map(str, rest[at : at + 4])) for at in (0, 4))
    demand_w, demand_s = rest[12:]
    return [
        str(seq),
        (_EPOCH + datetime.timedelta(day)).isoformat(),
        values.utc(time_s),
        flagged,
        str(import_wh),
        str(export_wh),
        *rates,
        *map(values.money, rest[8:12]),
        str(demand_w),
        values.utc(demand_s) if demand_s else "",
        str(account),
    ]


SWITCHES = Log("switch", registers.SWITCH_FILE, records.SWITCH_LENGTH, SWITCH_COLUMNS, _switch)
TOPUPS = Log("topup", registers.TOPUP_FILE, records.TOPUP_LENGTH, TOPUP_COLUMNS, _topup)
DAYS = Log("daily", registers.DAILY_FILE, records.FREEZE_LENGTH, FREEZE_COLUMNS, _freeze)
MONTHS = Log("monthly", registers.MONTHLY_FILE, records.FREEZE_LENGTH, FREEZE_COLUMNS, _freeze)
NUISANCE = Log("nuisance", registers.NUISANCE_FILE, records.RECORD_LENGTH, EVENT_COLUMNS, event_row)


async def switches(session: Session, given: argparse.Namespace) -> int:
    """What opened and closed the relay."""
    return await _read(session, given, SWITCHES)


async def topups(session: Session, given: argparse.Namespace) -> int:
    """The last top-ups."""
    return await _read(session, given, TOPUPS)


async def freezes(session: Session, given: argparse.Namespace) -> int:
    """Frozen registers of days or months."""
    return await _read(session, given, MONTHS if given.months else DAYS)


async def nuisance(session: Session, given: argparse.Namespace) -> int:
    """The events that anybody can cause."""
    return await _read(session, given, NUISANCE)


async def _read(session: Session, given: argparse.Namespace, log: Log) -> int:
    block = await session.meter.block(registers.LOGS)
    oldest, newest = block.number(f"{log.name}_oldest"), block.number(f"{log.name}_newest")
    if not newest:
        session.say("no_records")
        return DONE
    first = max(oldest, newest + 1 - given.count) if given.count else oldest
    found = await session.meter.logged(log.base, log.length, first, newest + 1 - first)
    with writer_of(session, given.csv, log.columns) as (writer, code_of):
        for raw in found:
            writer.writerow(log.row_of(code_of, raw))
    if given.csv is not None:
        session.say("written", file=given.csv)
    session.say("whole", count=len(found), first=first, last=newest)
    session.say("unauthenticated")
    return DONE
