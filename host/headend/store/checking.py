"""Whether a database is whole: each check is a question that finds what must not be, and a sentence for it."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sqlalchemy import Connection, TextClause, select, text
from sqlalchemy.exc import DBAPIError

from headend.books import chain, export
from headend.ledger import balances
from headend.reads import packing
from headend.reads.packing import Damaged
from headend.store.schema_readings import reading_day

MOST = 20  # of one kind that are told one by one


class Check(NamedTuple):
    """`query` gives a row for each thing that is wrong, `sentence` says so of its columns."""

    query: TextClause
    sentence: str


_ROWS = (
    Check(
        text(
            "SELECT p.channel, p.payment_id, p.amount_uc FROM payment p LEFT JOIN entry e"
            " ON e.kind = 'payment' AND e.cause = 'payment:' || p.channel || ':' || p.payment_id"
            " AND e.amount_uc = p.amount_uc WHERE e.id IS NULL AND p.amount_uc > 0"
        ),
        "Payment {1} of channel {0} over {2} micro-currency has no entry of that amount in the ledger.",
    ),
    Check(
        text(
            "SELECT e.id, e.cause FROM entry e LEFT JOIN payment p"
            " ON e.cause = 'payment:' || p.channel || ':' || p.payment_id"
            " WHERE e.kind = 'payment' AND p.channel IS NULL"
        ),
        "Entry {0} ({1}) books a payment that is not there.",
    ),
    Check(
        text(
            "SELECT meter, aspect, selector, count(*) FROM \"order\" WHERE state = 'queued'"
            " GROUP BY meter, aspect, selector HAVING count(*) > 1"
        ),
        "Meter {0} has {3} unsent orders on aspect {1}, selector {2}: at most one may wait.",
    ),
    Check(
        text(
            'SELECT o.id, o.state FROM "order" o LEFT JOIN outbox b ON b.order_id = o.id'
            " WHERE o.state IN ('queued', 'sent', 'unknown', 'accepted') AND b.order_id IS NULL"
        ),
        "Order {0} is {1} and nobody attends to it: it has no row in the outbox.",
    ),
    Check(
        text(
            "SELECT s.meter FROM meter m LEFT JOIN meter_state s ON s.meter = m.meter"
            " LEFT JOIN meter_trust t ON t.meter = m.meter WHERE s.meter IS NULL OR t.meter IS NULL"
        ),
        "Meter {0} has no row of its state.",
    ),
)


def problems(conn: Connection) -> Iterator[str]:
    """A sentence for each thing that is wrong; nothing for a database that is whole."""
    for part in (_FILE[conn.dialect.name], _rows, _ledger, _chains, _readings):
        try:
            yield from part(conn)
        except DBAPIError as error:
            yield f"The database cannot be read: {error.orig}."
            return


def _rows(conn: Connection) -> Iterator[str]:
    for query, sentence in _ROWS:
        found = conn.execute(query).fetchmany(MOST + 1)
        for row in found[:MOST]:
            yield sentence.format(*row)
        if len(found) > MOST:
            yield f"… and more of these: {sentence.split(' {')[0]} …"


def _ledger(conn: Connection) -> Iterator[str]:
    if rest_uc := sum(one.balance_uc for one in balances.trial_balance(conn)):
        yield f"The ledger does not sum to zero: {rest_uc} micro-currency are on one side only."


def _readings(conn: Connection) -> Iterator[str]:
    """Packed days of interval records that their own CRC-32 does not fit."""
    days = select(reading_day.c.meter, reading_day.c.day, reading_day.c.packed).execution_options(yield_per=1000)
    wrong = 0
    for row in conn.execute(days):
        try:
            packing.check(row.packed)
        except Damaged as error:
            wrong += 1
            if wrong > MOST:
                yield "… and more days of readings."
                return
            yield f"Readings of meter {row.meter} on day {row.day} since 1970 cannot be read: {error}."


def _sqlite(conn: Connection) -> Iterator[str]:
    for (said,) in conn.execute(text("PRAGMA integrity_check")):
        if said != "ok":
            yield f"SQLite finds damage: {said}."
    for table, row, parent, _ in conn.execute(text("PRAGMA foreign_key_check")):
        yield f"Row {row} of {table} names a row of {parent} that is not there."


def _postgresql(conn: Connection) -> Iterator[str]:
    query = "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE NOT convalidated"
    for table, name in conn.execute(text(query)):
        yield f"Constraint {name} of {table} was never held against its rows."
    query = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid OR NOT indisready"
    for (name,) in conn.execute(text(query)):
        yield f"Index {name} is not valid."
    failures = text(
        "SELECT coalesce(sum(checksum_failures), 0) FROM pg_stat_database WHERE datname = current_database()"
    )
    if count := int(conn.execute(failures).scalar_one()):
        yield f"PostgreSQL counts {count} pages whose checksum was wrong."


_FILE: dict[str, Callable[[Connection], Iterator[str]]] = {"sqlite": _sqlite, "postgresql": _postgresql}


def _chains(conn: Connection) -> Iterator[str]:
    """The seals of ledger and audit, made again from the rows. `ledger verify` holds signed heads against them."""
    origin = export.origin(conn)
    last = {name: (0, chain.first(name, origin)) for name in chain.CHAINS} if origin else {}
    broken: set[str] = set()
    for name, seq, told, row in export.rows(conn) if origin else ():
        if seq is None or told is None or name in broken:
            continue
        before, end = last[name]
        if row is None:
            wrong = f"its row of {name} is gone"
        elif seq != before + 1:
            wrong = f"seal {before + 1} is missing"
        elif chain.following(end, row) != told:
            wrong = f"row {row[0]} of {name}, or the seal before it, was changed"
        else:
            last[name] = seq, told
            continue
        broken.add(name)
        yield f"The chain of {name} breaks at seal {seq}: {wrong}."
