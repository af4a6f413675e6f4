"""Has committed statements signed: reads them, signs outside of any transaction, stores the bytes in the next one.

The signer is deterministic, so signing a statement again after a crash gives the same bytes. A statement that was
superseded or signed in the meantime is left alone.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    bindparam,
    case,
    func,
    literal_column,
    null,
    select,
    update,
)

from headend.keys.signer_wire import SignerAway
from headend.orders import lifecycle
from headend.orders.policy import Policy
from headend.refusals import Refused
from headend.store import ORDERS, Store, identity
from headend.store.prepared import prepared
from headend.store.schema import meter, meter_trust, order, order_body, outbox
from meterlink.orders import ASPECT_ROLE, FLAG_BODY_APART, ROLE_CONTROL, ROLE_CREDIT, ROLE_ROOT, Order

DIGEST_LENGTH = 8
EVER = 1 << 62  # in place of a time: whatever waits, however long it is to be left alone
WANTS_CLOSED = "closed"

_OF_ROLE = {ROLE_CREDIT: meter_trust.c.credit_key_version, ROLE_CONTROL: meter_trust.c.control_key_version}
_HELD_KEY = case(
    *[(order.c.aspect.in_([a for a, r in ASPECT_ROLE.items() if r == role]), held) for role, held in _OF_ROLE.items()],
    else_=null(),
).label("key_version")
# What a restored database read back of a source that is to be closed proves what may be stated of it.
_signed = order.alias("signed")
_HIGHEST = (
    select(_signed.c.signed)
    .where(
        _signed.c.meter == order.c.meter,
        _signed.c.aspect == order.c.aspect,
        _signed.c.selector == order.c.selector,
        _signed.c.account_epoch == order.c.account_epoch,
        _signed.c.signed.is_not(None),
    )
    .order_by(_signed.c.total_uc.desc())
    .limit(1)
    .scalar_subquery()
)
_EVIDENCE = case(
    (order.c.wants == WANTS_CLOSED, func.coalesce(meter_trust.c.readback_order, _HIGHEST)), else_=null()
).label("evidence_order")


def _waiting(which: ColumnElement[bool]) -> Select[Any]:
    """The oldest of what waits for a signature. Its conditions are literals, as those of the indexes are: a database
    uses an index of a part of the rows only where it sees that no other row is wanted.
    """
    return (
        select(
            *order.c,
            func.coalesce(order.c.wrap_key_version, meter.c.tag_key_version).label("tag_key_version"),
            bindparam("epoch", type_=Integer).label("database_epoch"),
            case((order_body.c.order_id.is_not(None), FLAG_BODY_APART), else_=0).label("flags"),
            _HELD_KEY,
            order_body.c.body.label("apart_body"),
            _EVIDENCE,
        )
        .join(outbox, outbox.c.order_id == order.c.id)
        .join(meter, meter.c.meter == order.c.meter)
        .join(meter_trust, meter_trust.c.meter == order.c.meter)
        .outerjoin(order_body, order_body.c.order_id == order.c.id)
        .where(order.c.state == literal_column(f"'{lifecycle.QUEUED}'"), order.c.signed.is_(None), which)
        .where(outbox.c.next_s <= bindparam("now", type_=BigInteger))
        .order_by(order.c.id)
        .limit(bindparam("at_most", type_=BigInteger))
    )


_ROOT: list[ColumnElement[Any]] = [
    literal_column(str(aspect)) for aspect, role in sorted(ASPECT_ROLE.items()) if role == ROLE_ROOT
]
SIGNABLE = prepared(_waiting(order.c.aspect.not_in(_ROOT)))
# What waits for the root key may be a whole fleet's, and nothing that can be signed here has to wait behind it.
FOR_ROOT = prepared(_waiting(order.c.aspect.in_(_ROOT)))


class Signer(Protocol):
    """Signs what rows of `unsigned` state; in place of an order stands the reason why it was refused.

    Raises SignerAway while it does not answer.
    """

    def sign_statements(self, rows: Sequence[Row[Any]]) -> list[bytes | Refused]: ...


_KEEP = prepared(
    update(order)
    .where(order.c.id == bindparam("of"), order.c.state == lifecycle.QUEUED, order.c.signed.is_(None))
    .values(signed=bindparam("raw"), digest=bindparam("mark"))
)


def sign_pending(store: Store, signer: Signer, now_s: int, policy: Policy) -> int:
    """Sign the statements that wait for it, oldest first (root's last); returns how many were.

    One that the signer refuses stays as it is, says so in its history, and is tried again at the slow pace. While the
    signer is away all of them wait, say so, and are tried again soon.
    """
    waiting = store.read(unsigned, now_s, policy.batch_signatures)
    if not waiting:
        return 0
    numbers = [row.id for row in waiting]
    try:
        made = list(zip(numbers, signer.sign_statements(waiting), strict=True))
    except SignerAway as away:
        store.write(_postpone, now_s, numbers, str(away), policy.retry_s, lane=ORDERS).result()
        return 0
    store.write(_store, now_s, made, policy.slow_s, lane=ORDERS).result()
    return sum(isinstance(one, bytes) for _, one in made)


def unsigned(conn: Connection, now_s: int, limit: int | None) -> list[Row[Any]]:
    """Statements that wait for a signature: the columns of `order`, and of what else `keys.signer.Stated` has."""
    room = EVER if limit is None else limit
    given = {"now": now_s, "epoch": identity.get(conn).signing_epoch}
    found = SIGNABLE(conn, {**given, "at_most": room}).all()
    if len(found) < room:
        found += FOR_ROOT(conn, {**given, "at_most": room - len(found)})
    return found


def _postpone(conn: Connection, now_s: int, numbers: Sequence[int], why: str, wait_s: int) -> None:
    for order_id in numbers:
        lifecycle.remark(conn, now_s, order_id, "signer", why)
    conn.execute(update(outbox).where(outbox.c.order_id.in_(numbers)).values(next_s=now_s + wait_s))


def _store(conn: Connection, now_s: int, made: Sequence[tuple[int, bytes | Refused]], slow_s: int) -> None:
    for order_id, one in made:
        if isinstance(one, Refused):
            lifecycle.remark(conn, now_s, order_id, "signer", str(one))
            conn.execute(update(outbox).where(outbox.c.order_id == order_id).values(next_s=now_s + slow_s))
        else:
            keep(conn, order_id, one)


def keep(conn: Connection, order_id: int, raw: bytes) -> None:
    """Keep the signed order; one that was superseded or signed in the meantime is left alone."""
    _KEEP(conn, {"of": order_id, "raw": raw, "mark": Order(raw).digest[:DIGEST_LENGTH]})
