"""`report`: asks the meter to prove how it stands, under a fresh nonce; with its key the proof is checked."""

import argparse
import json
import struct

from fieldtool import values
from fieldtool.records import nonce
from fieldtool.session import DONE, NOT_SO, Session, mac_key
from meterlink import batches, names, orders, registers, reports
from meterlink.reports import Report, ReportError

_SHOWN = (
    "kind", "meter", "account_epoch", "boot", "counter", "log_id", "time_s", "clock", "control", "contact", "diagnosis",
    "pending", "due_s", "holds", "causes", "alarms", "load_ma", "no_load_s", "import_wh", "export_wh", "balance_uc",
    "credited_uc", "earned_uc", "refunded_uc", "adjusted_uc", "charged_uc", "waiting_uc", "interval_oldest",
    "interval_newest", "event_newest", "aspect", "selector", "signing_epoch", "version", "digest", "result",
)  # fmt: skip
_OF_SOURCE = ("source_credited_uc", "source_refunded_uc")


async def report(session: Session, given: argparse.Namespace) -> int:
    """Ask, show, verify."""
    key = mac_key(given.key_file)
    aspect = names.code(names.ASPECT, given.aspect)
    ident = await session.meter.block(registers.IDENT)
    _, raw = await session.meter.ask(batches.pack_ask(batches.KIND_REPORT, nonce(), aspect, given.selector))
    found = unpack(raw)
    trouble = ""
    if key is not None:
        try:
            Report(raw, key)
        except ReportError as error:
            trouble = str(error)
    sound = balances(found)
    code = NOT_SO if trouble or not sound else DONE
    if given.json:
        shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in found.items()}
        genuine = None if key is None else not trouble
        print(json.dumps({**shown, "raw": raw.hex(), "genuine": genuine, "balances": sound}, indent=2))
        return code
    words, unit = session.words, values.currency(ident.values["currency"])
    listed = _SHOWN + (_OF_SOURCE if found["aspect"] == orders.ASPECT_CREDIT else ())
    session.pairs([(words.field(name), values.shown(words, name, found[name], unit)) for name in listed])
    print()
    print(values.why_off(words, {name: value for name, value in found.items() if isinstance(value, int)}))
    session.say("balances" if sound else "does_not_balance")
    if key is None:
        session.say("unchecked")
    elif trouble:
        session.say("not_genuine", why=trouble)
    else:
        session.say("genuine")
    return code


def unpack(raw: bytes) -> dict[str, int | bytes]:
    """The fields of a report, unverified, and `meter` from its two parts."""
    unpacked = struct.unpack(reports.STRUCT, raw[: reports.PAYLOAD_LENGTH])
    found = dict(zip((name for name, _ in reports.FIELDS), unpacked, strict=True))
    found["meter"] = found.pop("meter_high") << 32 | found.pop("meter_low")
    return found


def balances(found: dict[str, int | bytes]) -> bool:
    """Whether balance = credited + earned - refunded - adjusted - charged."""
    terms = {name: value for name, value in found.items() if isinstance(value, int)}
    gained = terms["credited_uc"] + terms["earned_uc"]
    return terms["balance_uc"] == gained - terms["refunded_uc"] - terms["adjusted_uc"] - terms["charged_uc"]
