"""Questions to meters: each has a nonce of its own, is answered once, and its answer is good for a limited time."""

from sqlalchemy import Connection, bindparam, delete, insert

from headend.orders.actions import Ask
from headend.orders.policy import Entropy
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
    nonce = entropy(len(NO_NONCE))
    while nonce == NO_NONCE:
        nonce = entropy(len(NO_NONCE))
    _FORGET(conn, {"of": meter, "before": now_s - KEEP_S})
    about = {"kind": kind, "aspect": aspect, "selector": selector, "first": first, "count": count}
    _ASKED(conn, {"nonce": nonce, "meter": meter, "asked_s": now_s, **about})
    return Ask(meter, pack_ask(kind, nonce, aspect, selector, first, count))
