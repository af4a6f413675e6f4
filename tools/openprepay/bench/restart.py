"""A start with a million orders in the outbox that nobody has signed, on both databases: until the first one leaves.

Time counts from opening the database on, tables checked, to the first order handed to a carrier, signed and logged on
the disk. Then as many leave in a second as the policy says, so that what waited together does not leave together.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, insert, literal, select, text, true

from headend.engine import Deliver, Engine, Policy
from headend.fleet.meters import MeterRecord, add_meter
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.ledger import payments
from headend.store import open_store
from headend.store.schema import meter, meter_state, meter_trust, order, outbox
from headend.store.schema_readings import meter_reads
from meterlink.bodies import MAX_UC
from metersim.workbench import DEFAULT_LIMITS, DEFAULT_TARIFF
from openprepay.bench import postgres
from openprepay.bench.figure import Figure, against
from openprepay.bench.scene import CHANNEL, NOW_S, Scene

WAITING = 1_000_000
FEW = 2_000
MOST_S = 30.0  # that the design allows
PACED_S = 4  # seconds that the pace is looked at


# One that is asked, so that nothing has to be heard of it before.
_MODEL = MeterRecord(1, "modbus", "tcp://127.0.0.1:1?unit=1", DEFAULT_TARIFF.encode(), DEFAULT_LIMITS.encode())


class Clock:
    """A day after the scene's, and going."""

    def now_s(self) -> int:
        return NOW_S + 86_400 + int(time.monotonic())


def run(seconds: float) -> Iterator[Figure]:
    """A million; few where there is no time. Making them takes longer than the start."""
    stores = ["sqlite", "postgresql"] if postgres.programs() else ["sqlite"]
    for name in stores:
        folder = os.environ.get("TMPDIR", "/var/tmp")
        with tempfile.TemporaryDirectory(prefix="openprepay-bench-", dir=folder) as made:
            yield from _measure(name, Path(made), WAITING if seconds else FEW, PACED_S if seconds else 1)


def _measure(name: str, folder: Path, waiting: int, paced_s: int) -> Iterator[Figure]:
    with _database(name, folder) as url:
        scene = Scene(folder, 0, database=url)
        scene.store.write(add_meter, NOW_S, _MODEL).result()
        scene.store.write(payments.take, NOW_S, CHANNEL, "model", 1, 20_000_000).result()
        scene.store.write(_copy, waiting).result()
        scene.store.close()
        began = time.perf_counter()
        with open_store(url) as store:
            clock, policy = Clock(), Policy()
            signer = Signer(scene.keys, SignerLog(folder / "signed"), clock, Caps(MAX_UC))
            engine = Engine(store, scene.keys, clock, os.urandom, signer=signer, policy=policy)
            while not any(isinstance(action, Deliver) for action in engine.due(clock.now_s())):
                pass
            first_s = time.perf_counter() - began
            yield against(f"restart_{name}_first", first_s, "s", "what the design allows", MOST_S)
            handed, began = 0, time.perf_counter()
            while time.perf_counter() - began < paced_s:
                found = engine.due(clock.now_s())
                handed += len(found)
                if not found:
                    time.sleep(0.01)
            pace = max(handed, 1) / (time.perf_counter() - began)
        yield against(f"restart_{name}_pace", pace, "actions/s", "the most that the policy lets go", policy.per_second)


def _copy(conn: Connection, waiting: int) -> None:
    """Give meter 1, and its order that waits, so many likenesses: row by row out of the one that stands there."""
    if conn.dialect.name == "postgresql":
        conn.execute(text("SET LOCAL statement_timeout = 0"))
        conn.execute(text("SET LOCAL session_replication_role = replica"))  # their keys are not looked up one by one
    number = select(literal(1).label("n")).cte("number", recursive=True)
    number = number.union_all(select(number.c.n + 1).where(number.c.n < waiting - 1))
    for table in (meter, meter_state, meter_trust, meter_reads, order, outbox):
        numbered = ("meter", "order_id", *(("id",) if table is order else ()))
        columns = [column + number.c.n if column.name in numbered else column for column in table.c]
        conn.execute(insert(table).from_select(table.c.keys(), select(*columns).join_from(table, number, true())))
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT setval(pg_get_serial_sequence('\"order\"', 'id'), :last)"), {"last": waiting})
        conn.execute(text("ANALYZE"))


@contextmanager
def _database(name: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if name == "sqlite":
        yield f"sqlite:///{folder}/headend.sqlite"
    else:
        with postgres.serving(folder) as url:
            yield url
