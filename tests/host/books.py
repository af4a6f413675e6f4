"""A small head end for tests: an established database, a channel, meters, and reports as a meter would sign them."""

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from headend.fleet.meters import MeterRecord, add_meter
from headend.gate import policy
from headend.keys.keystore import KeyStore
from headend.ledger import channels
from headend.store import Store, identity
from headend.store.schema_access import channel_use
from headend.store.tables import metadata
from meterlink import reports
from meterlink.bodies import Limits
from meterlink.orders import ASPECT_CREDIT
from meterlink.tariff import Tariff
from tests import sqlite

ROOT = Path(__file__).resolve().parents[2]
NOW_S = 1_800_000_000
CURRENCY = 156
SOURCE = 1
METER = 17
CHANNEL = "pos-1"
TOKEN = "op_" + "t" * 43
LIMIT_UC = 1_000_000_000
TARIFF = Tariff((530_000,)).encode()
LIMITS = Limits(10_000_000, 5_000_000, 900, 60, 300, 10, 0).encode()


def record(meter: int = METER, **others: Any) -> MeterRecord:
    """A flat-tariff MQTT meter; `others` replace fields."""
    fields: dict[str, Any] = {"carrier": "mqtt", "address": "", "tariff": TARIFF, "limits": LIMITS}
    return MeterRecord(meter, **{**fields, **others})


# The kind of database in which books are kept where a test names no place; the soak runs all on PostgreSQL as well.
database = os.environ.get("OPENPREPAY_TEST_DATABASE", "sqlite")


def new_place() -> str:
    """The URL of an empty database of that kind."""
    if database == "sqlite":
        return "sqlite://"
    from tests import postgres

    return postgres.server().database()


def open_books(
    url: str = "",
    meters: tuple[int, ...] = (METER,),
    currency: int = CURRENCY,
    budget: int | None = 1_000_000,
    **options: Any,
) -> Store:
    """A store with the given meters and a channel (`CHANNEL`, at most `LIMIT_UC` a payment); neither where none is
    given. `url` "": a new place, written inline. `budget`: how many orders may open a relay in any scope; None: as the
    gate has it by default.
    """
    if not url:
        url, options = new_place(), {**options, "inline": True}
    store = sqlite.open_new(url, **options)
    store.write(identity.establish, NOW_S, 1, SOURCE, currency).result()
    if budget is not None:
        store.write(policy.put, NOW_S, "system", policy.flat(budget), "a bench").result()
    if meters:
        store.write(channels.add_channel, NOW_S, CHANNEL, TOKEN, ("payments",), LIMIT_UC).result()
    for meter in meters:
        store.write(add_meter, NOW_S, record(meter)).result()
    return store


def report(keys: KeyStore, meter: int = METER, **fields: Any) -> reports.Report:
    """A genuine report about our credit source; the balance follows from the other terms unless it is given."""
    values: dict[str, Any] = {name: bytes(8) if code == "8s" else 0 for name, code in reports.FIELDS}
    values |= {"format": reports.FORMAT, "kind": reports.KIND_REPORT, "meter_high": meter >> 32}
    values |= {"meter_low": meter & 0xFFFFFFFF, "tag_key_version": 1, "boot": 1, "counter": 1, "nonce": bytes(8)}
    values |= {"time_s": NOW_S, "account_epoch": 1, "digest": bytes(8), "aspect": ASPECT_CREDIT, "selector": SOURCE}
    values |= fields
    terms = ("credited_uc", 1), ("earned_uc", 1), ("refunded_uc", -1), ("adjusted_uc", -1), ("charged_uc", -1)
    values["balance_uc"] = fields.get("balance_uc", sum(sign * values[name] for name, sign in terms))
    key = keys.mac_key(meter, 1)
    raw = reports.pack(tuple(values[name] for name, _ in reports.FIELDS), key)
    assert struct.calcsize(reports.STRUCT) + 16 == len(raw)
    return reports.Report(raw, key)


def dump(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table but the one that says when a token was last shown."""

    def rows(conn: Connection) -> dict[str, list[tuple[Any, ...]]]:
        tables = [table for table in metadata.sorted_tables if table is not channel_use]
        return {table.name: sorted(map(tuple, conn.execute(select(table))), key=repr) for table in tables}

    return store.read(rows)


def start(*arguments: str) -> "subprocess.Popen[str]":
    """A Python of our own that runs one of the scripts beside the tests."""
    path = [str(ROOT / folder) for folder in ("protocol", "host", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *arguments], env=env, stdin=pipe, stdout=pipe, text=True)
