"""Statements that open, close and mend an account on a meter.

As in `statements`: each function writes one order and its outbox row, in one transaction; here the meter's row is
locked by the caller, who changes the books with it. Epochs and retirement take the root key, which lies offline: an
order that it signed in advance (`presigned`) is used where there is one, otherwise the statement waits for a ceremony.
"""

from sqlalchemy import Connection, bindparam, select, update

from headend.orders import writing
from headend.orders.signing import DIGEST_LENGTH
from headend.store.schema import order, presigned
from meterlink import bodies, bodies_root, stating
from meterlink.orders import ASPECT_CREDIT, ASPECT_EPOCH, ASPECT_RECOVER, ASPECT_RETIRE, Order

_PRESIGNED = select(presigned.c.signed).where(
    presigned.c.meter == bindparam("of"),
    presigned.c.aspect == bindparam("about"),
    presigned.c.account_epoch == bindparam("epoch"),
)


def close_source(
    conn: Connection, now_s: int, meter_id: int, source: int, credited_uc: int, refunded_uc: int, actor: str
) -> int:
    """Close a credit source of a former database, with these totals; the meter takes no order of it any more."""
    body = bodies.encode_credit(credited_uc, refunded_uc, [], closed=True)
    wants, why = writing.WANTS_CLOSED, "its database was followed by another"
    return writing.state(conn, now_s, meter_id, ASPECT_CREDIT, source, body, wants, actor, why, total_uc=credited_uc)


def open_epoch(
    conn: Connection, now_s: int, meter_id: int, epoch: int, cause: int, kept_holds: int, actor: str, reason_text: str
) -> int:
    """Open the account `epoch`, which the meter's row names already; `cause`: bodies_root.EPOCH_*, `kept_holds`: bits.

    An order that was signed in advance serves where it keeps the same holds; the cause that it names is not looked at.
    """
    body = stating.epoch(cause, kept_holds)
    order_id = writing.state(conn, now_s, meter_id, ASPECT_EPOCH, 0, body, writing.WANTS_EPOCH, actor, reason_text)
    _use_presigned(conn, order_id, meter_id, ASPECT_EPOCH, epoch, kept_holds)
    return order_id


def retire(conn: Connection, now_s: int, meter_id: int, epoch: int, cause: int, actor: str, reason_text: str) -> int:
    """Close the account in force, `epoch`, for good."""
    body = stating.retire(cause)
    order_id = writing.state(conn, now_s, meter_id, ASPECT_RETIRE, 0, body, writing.WANTS_RETIRED, actor, reason_text)
    _use_presigned(conn, order_id, meter_id, ASPECT_RETIRE, epoch)
    return order_id


def recover(
    conn: Connection, now_s: int, meter_id: int, held: bodies_root.Recovered, actor: str, reason_text: str
) -> int:
    """Give a meter that lost its history the state that it goes on from."""
    body = stating.recover(held)
    return writing.state(conn, now_s, meter_id, ASPECT_RECOVER, 0, body, writing.WANTS_RECOVERED, actor, reason_text)


def _use_presigned(
    conn: Connection, order_id: int, meter_id: int, aspect: int, epoch: int, kept_holds: int = 0
) -> None:
    """Take over the bytes that the root key signed in advance, where there are some."""
    key = {"of": meter_id, "about": aspect, "epoch": epoch}
    raw = conn.execute(_PRESIGNED, key).scalar_one_or_none()
    if raw is None:
        return
    signed = Order(raw)
    if aspect == ASPECT_EPOCH and bodies_root.decode_epoch(signed.stated.body)[1] != kept_holds:
        return
    values = {
        "signed": raw,
        "digest": signed.digest[:DIGEST_LENGTH],
        "body": signed.stated.body,
        "signing_epoch": signed.stated.signing_epoch,
        "issued_s": signed.stated.issued_s,
    }
    conn.execute(update(order).where(order.c.id == order_id).values(values))
    used = presigned.c.meter == meter_id, presigned.c.aspect == aspect, presigned.c.account_epoch == epoch
    conn.execute(update(presigned).where(*used).values(order_id=order_id))
