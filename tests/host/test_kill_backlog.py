"""A start with a large outbox: what is looked for is found by an index, and leaves at a pace."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Executable, event, insert, select, text

from headend.clock import ManualClock
from headend.engine import Deliver, Engine, Policy
from headend.fleet.meters import add_meter
from headend.keys.keystore import KeyStore
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.ledger import channels, payments
from headend.orders import outbox as dispatch
from headend.orders import signing
from headend.store import Store
from headend.store.prepared import Prepared
from headend.store.schema import meter, meter_state, meter_trust, order, outbox
from headend.store.schema_readings import meter_reads
from tests.host.books import CHANNEL, NOW_S, open_books, record
from tests.host.peer import Noise

WAITING = 1_000
MODEL = 1  # the meter of which the others are copies
AWAY_S = 86_400


@pytest.fixture
def store(any_store_url: str) -> Iterator[Store]:
    """So many meters, each with a credit statement that nobody has signed yet, as after a day without a dispatcher."""
    with open_books(any_store_url, (), inline=True) as made:
        made.write(channels.add_channel, NOW_S, CHANNEL, "op_" + "t" * 43, ("payments",), 10**9).result()
        here = {"carrier": "modbus", "address": "tcp://127.0.0.1:1?unit=1"}
        made.write(add_meter, NOW_S, record(MODEL, **here)).result()
        made.write(payments.take, NOW_S, CHANNEL, "p", MODEL, 1_000_000).result()
        made.write(copy).result()
        yield made


def copy(conn: Connection) -> None:
    for table in (meter, meter_state, meter_trust, meter_reads, order, outbox):
        model = dict(conn.execute(select(table)).mappings().one())
        keys = [name for name in ("id", "order_id") if name in model]
        rows = [
            {**model, "meter": model["meter"] + number, **{key: model[key] + number for key in keys}}
            for number in range(1, WAITING)
        ]
        conn.execute(insert(table), rows)
        if table is order:  # and those of better days
            rows = [{**row, "id": row["id"] + n * WAITING, "state": "confirmed"} for row in rows for n in range(1, 4)]
            conn.execute(insert(table), rows)
    if conn.dialect.name == "postgresql":
        conn.execute(text("ANALYZE"))


def plan(store: Store, query: Executable, **values: Any) -> str:
    """How the database goes about it."""

    def explain(conn: Connection) -> str:
        if conn.dialect.name == "postgresql":
            for way in ("seqscan", "bitmapscan", "sort"):  # worth it on so few rows; on a million they are not
                conn.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        ran: list[tuple[str, Any]] = []
        event.listen(conn, "before_cursor_execute", lambda _c, _cursor, said, given, *_: ran.append((said, given)))
        conn.execute(query, values)
        word = "EXPLAIN" if conn.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        said, given = ran[0]
        return "\n".join(str(row[-1]) for row in conn.exec_driver_sql(f"{word} {said}", given))

    return store.write(explain).result()


TIMES = {"now": NOW_S + AWAY_S, "lease_now": NOW_S + AWAY_S}


QUERIES: tuple[tuple[Prepared, dict[str, Any], str], ...] = (
    (dispatch._DUE, {**TIMES, "at_most": 100}, "ix_outbox_next"),
    (dispatch._DUE_OF_METER, {**TIMES, "of": 5, "at_most": 100}, "ix_outbox_meter"),
    (dispatch._WAKE, {"now": NOW_S - AWAY_S, "of": 5}, "ix_outbox_meter"),
    (signing.SIGNABLE, {**TIMES, "at_most": 200, "epoch": 1}, "ix_order_unsigned"),
    (signing.FOR_ROOT, {**TIMES, "at_most": 200, "epoch": 1}, "ix_order_for_root"),
)


def test_what_is_looked_for_is_found_by_an_index(store: Store) -> None:
    for query, values, index in QUERIES:
        found = plan(store, query.statement, **values).replace('"', "")
        assert index in found, found
        rest = found.replace(f"SCAN order USING INDEX {index}", "")  # all of an index that holds only what is wanted
        assert "SCAN o" not in rest and "Seq Scan on o" not in rest, found


def test_what_waited_leaves_at_a_pace(store: Store) -> None:
    clock, policy = ManualClock(NOW_S + AWAY_S), Policy(per_second=150, batch_actions=100)
    signer = Signer(KeyStore.generate(Noise()), SignerLog(None), clock, Caps(10**12))
    engine = Engine(store, KeyStore.generate(Noise()), clock, Noise(), signer=signer, policy=policy)
    delivered = []
    for _ in range(3):
        second = []
        while actions := engine.due(clock.now_s()):
            second += actions
        assert len(second) == policy.per_second, "as many as may leave, and no more"
        delivered += [one.order_id for one in second if isinstance(one, Deliver)]
        clock.advance(1)
    assert delivered, "orders are among them from the first second on"
    assert len(set(delivered)) == len(delivered)
