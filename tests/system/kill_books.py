"""What must hold between books, signer's log and meters at any instant, whoever was killed a moment ago."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, NullPool, create_engine, func, select
from sqlalchemy.exc import OperationalError

from headend.ledger import accounts, balances
from headend.orders import lifecycle
from headend.store.schema import entry, meter_state, order, outbox, payment
from meterlink.orders import ASPECT_CREDIT
from tests.system.kill_meters import Meters

GIVE_UP_S = 60.0


def signed_uc(log: Path) -> dict[int, int]:
    """Meter -> highest total of our source that the signer has signed, by its log."""
    totals: dict[int, int] = {}
    whole, _, _ = log.read_bytes().rpartition(b"\n") if log.exists() else (b"", b"", b"")
    for line in whole.splitlines():
        found = json.loads(line)
        if found.get("aspect", ASPECT_CREDIT) == ASPECT_CREDIT and found.get("total_uc"):
            totals[found["meter"]] = max(totals.get(found["meter"], 0), found["total_uc"])
    return totals


@contextmanager
def one_moment(url: str) -> Iterator[Connection]:
    """A connection that sees one moment of the database, and is gone afterwards: while a process has a SQLite file
    open, the next one to open it has nothing to recover.
    """
    engine = create_engine(url, poolclass=NullPool)
    if engine.dialect.name != "sqlite":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with _connected(engine) as conn, conn.begin():
        if engine.dialect.name == "sqlite":
            conn.exec_driver_sql("BEGIN")  # the driver begins none for a SELECT
        yield conn


def _connected(engine: Engine) -> Connection:
    """A server that was killed is not there, or recovers, for a moment."""
    ends = time.monotonic() + GIVE_UP_S
    while True:
        try:
            return engine.connect()
        except OperationalError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)


def check(url: str, log: Path, meters: Meters, acknowledged: Mapping[str, int], channel: str) -> dict[int, int]:
    """Looks at the meters, the log, the books and the meters again, so that each may only be ahead of the one before.

    `acknowledged`: payment id -> amount, as of before the call. Returns what the books have sold, by meter.
    """
    held = {number: meters.credited_uc(number) for number in meters.units}
    signed = signed_uc(log)
    with one_moment(url) as conn:
        sold = _check_books(conn, acknowledged, channel)
        confirmed = {
            number: max(shown, highest or 0)
            for number, shown, highest in conn.execute(
                select(meter_state.c.meter, meter_state.c.on_meter_uc, _HIGHEST_CONFIRMED)
            )
        }
    for number in meters.units:
        assert held[number] <= signed.get(number, 0) <= sold[number], f"credit of meter {number} out of nothing"
        assert confirmed[number] <= meters.credited_uc(number), f"meter {number} has not what is called confirmed"
    return sold


_HIGHEST_CONFIRMED = (
    select(func.max(order.c.total_uc))
    .where(order.c.meter == meter_state.c.meter, order.c.aspect == ASPECT_CREDIT)
    .where(order.c.state == lifecycle.CONFIRMED)
    .scalar_subquery()
)


def _check_books(conn: Connection, acknowledged: Mapping[str, int], channel: str) -> dict[int, int]:
    rows = conn.execute(select(payment).order_by(payment.c.meter, payment.c.total_uc)).all()
    stored = {row.payment_id: row.amount_uc for row in rows}
    assert len(stored) == len(rows), "each once"
    lost = {name: uc for name, uc in acknowledged.items() if stored.get(name) != uc}
    assert not lost, f"acknowledged and not in the books: {lost}"
    sold: dict[int, int] = {}
    for row in rows:  # the totals of a meter follow one another without gap or overlap
        sold[row.meter] = sold.get(row.meter, 0) + row.amount_uc
        assert row.total_uc == sold[row.meter], row
    causes = list(conn.execute(select(entry.c.cause).where(entry.c.kind == "payment")).scalars())
    assert sorted(causes) == sorted(f"payment:{row.channel}:{row.payment_id}" for row in rows)
    assert balances.balance_uc(conn, accounts.of_channel(channel)) == -sum(sold.values())
    everything = conn.execute(select(meter_state.c.meter, meter_state.c.sold_uc)).all()
    for number, sold_uc in everything:
        assert sold_uc == sold.setdefault(number, 0)
        _check_orders(conn, number, sold_uc)
    return sold


def _check_orders(conn: Connection, number: int, sold_uc: int) -> None:
    """No order is lost: what has not ended is in the outbox, and the whole of what was sold is stated."""
    mine = conn.execute(select(order.c.id, order.c.state, order.c.total_uc).where(order.c.meter == number)).all()
    waiting = set(conn.execute(select(outbox.c.order_id).where(outbox.c.meter == number)).scalars())
    open_now = {one.id for one in mine if one.state not in lifecycle.ENDS}
    assert waiting == open_now, f"meter {number}: {waiting ^ open_now}"
    stated = [one.total_uc for one in mine if one.id in open_now or one.state == lifecycle.CONFIRMED]
    assert max(stated, default=0) == sold_uc


def all_confirmed(conn: Connection) -> bool:
    """Whether no order is under way, and every payment is known to be on its meter."""
    waiting = conn.execute(select(func.count()).select_from(outbox)).scalar_one()
    missing = conn.execute(select(func.count()).select_from(payment).where(payment.c.on_meter_s.is_(None))).scalar_one()
    return not waiting and not missing
