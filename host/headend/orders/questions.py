"""Questions to meters: each has a nonce of its own, is answered once, and its answer is good for a limited time."""

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, delete, insert

from headend.orders.actions import Ask
from headend.orders.policy import Entropy
from headend.store import sql
from headend.store.prepared import prepared
from headend.store.schema import question
from meterlink.batches import pack_ask
from meterlink.reports import NO_NONCE

KEEP_S = 3600  # how long a question is remembered, so that an answer played again is known for what it is

_FORGET = prepared(
    delete(question).where(question.c.meter == bindparam("of"), question.c.asked_s < bindparam("before"))
)
_ASKED = prepared(insert(question))


def ask(
    conn: Connection,
    now_s: int,
    entropy: Entropy,
    meter: int,
    kind: int,
    *,
    aspect: int = 0,
    selector: int = 0,
    first: int = 0,
    count: int = 0,
) -> Ask:
    """Write a question (batches.KIND_*) down and return it, ready to go. Forgets the meter's questions of old."""
    nonce = _nonce(entropy)
    _FORGET(conn, {"of": meter, "before": now_s - KEEP_S})
    about = {"kind": kind, "aspect": aspect, "selector": selector, "first": first, "count": count}
    _ASKED(conn, {"nonce": nonce, "meter": meter, "asked_s": now_s, **about})
    return Ask(meter, pack_ask(kind, nonce, aspect, selector, first, count))


def ask_for_records(
    conn: Connection, now_s: int, entropy: Entropy, wanted: Iterable[tuple[int, int, int, int]]
) -> list[Ask]:
    """Questions for records, (meter, kind, first, count) each, written down in one statement. What is old is forgotten
    with the next report that is asked for."""
    rows = [(_nonce(entropy), meter, kind, 0, 0, first, count, now_s, None) for meter, kind, first, count in wanted]
    if rows:
        sql.copy_in(conn, question, rows)
    return [Ask(row[1], pack_ask(row[2], row[0], 0, 0, row[5], row[6])) for row in rows]


def _nonce(entropy: Entropy) -> bytes:
    nonce = entropy(len(NO_NONCE))
    while nonce == NO_NONCE:
        nonce = entropy(len(NO_NONCE))
    return nonce
