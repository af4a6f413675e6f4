"""The key store has opened a new signing epoch with a new credit source: this database takes them over.

That is how a database goes on which was restored from a copy, took over from another, or was imported. The copy may be
older than its meters: sales may stand on them that it does not know. So each meter is first asked what the former
source had stated (`readback`); what is paid meanwhile is booked and waits.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, exists, func, insert, select, update

from headend.orders import lifecycle
from headend.refusals import Refused
from headend.store import identity, lock_meter
from headend.store.schema import credit_source, database, meter_state, meter_trust, order, payment, token
from headend.tokens import book, comparing
from meterlink.orders import ASPECT_CREDIT, ASPECT_KEYS, ASPECT_RECOVER, SOURCE_TYPED, UNVERSIONED

# Unsent statements that name the former source, or a version inside their body: they are stated anew, not renumbered.
_BOUND = (ASPECT_CREDIT, ASPECT_KEYS, ASPECT_RECOVER)
_MAX_WHY = 120
_LOST = "of a database that was lost"


def adopt(
    conn: Connection, now_s: int, signing_epoch: int, source: int, closed_sources: Mapping[int, int], why: str
) -> int:
    """Go on under `signing_epoch` and `source`, the key store's; returns how many meters are to be read back.

    `closed_sources`: the key store's, each with its last signing epoch; some may have been opened after this copy was
    made. 0 where epoch and source are in force already. Raises Refused where the epoch is not a later one, or the
    source was used before.
    """
    standing = identity.get(conn)
    if (standing.signing_epoch, standing.source) == (signing_epoch, source):
        return 0
    if not standing.signing_epoch < signing_epoch <= 0xFFFF:
        raise Refused("signing_epoch", signing_epoch, f"{standing.signing_epoch + 1}..65535, later than the database's")
    highest = conn.execute(select(func.max(credit_source.c.source))).scalar_one()
    if not highest < source < SOURCE_TYPED:
        raise Refused("source", source, f"{highest + 1}..{SOURCE_TYPED - 1}, one that was never used")
    conn.execute(update(database).values(signing_epoch=signing_epoch, source=source))
    conn.execute(update(credit_source).where(credit_source.c.source == standing.source).values(closed_s=now_s))
    for lost, epoch in sorted(closed_sources.items()):
        if lost > highest:
            row = {"source": lost, "signing_epoch": epoch, "opened_s": now_s, "closed_s": now_s, "why": _LOST}
            conn.execute(insert(credit_source).values(row))
    opened = {"source": source, "signing_epoch": signing_epoch, "opened_s": now_s, "why": why[:_MAX_WHY]}
    conn.execute(insert(credit_source).values(opened))
    # One that is still to be read back is read back first.
    asked = update(meter_trust).where(meter_trust.c.readback_source.is_(None))
    conn.execute(asked.values(readback_source=standing.source))
    # What this copy knows as still on its way, the lost database may have stated by a source of its own.
    under_way = payment.c.on_meter_s.is_(None), payment.c.total_uc > 0
    conn.execute(update(payment).where(*under_way).values(again=1))
    # … as it may have made what this copy knows as a sale without its token.
    reserved = exists().where(
        token.c.channel == payment.c.channel,
        token.c.payment_id == payment.c.payment_id,
        token.c.amount_uc > 0,
        token.c.state == book.RESERVED,
    )
    conn.execute(update(payment).where(payment.c.total_uc == 0, reserved).values(again=1))
    comparing.restored(conn, now_s)
    # A higher signing epoch outranks whatever the meter has seen, and has to begin low (orders.MAX_VERSION_JUMP).
    conn.execute(update(meter_state).values(next_version=1))
    _restate(conn, now_s, signing_epoch)
    return int(conn.execute(select(func.count()).where(meter_trust.c.readback_source.is_not(None))).scalar_one())


def _restate(conn: Connection, now_s: int, signing_epoch: int) -> None:
    """Statements that were never signed go on under the new epoch; what cannot ends."""
    waiting = select(order.c.id, order.c.meter, order.c.aspect).where(
        order.c.state == lifecycle.QUEUED, order.c.signed.is_(None)
    )
    for row in conn.execute(waiting.order_by(order.c.meter, order.c.id)).all():
        if row.aspect in _BOUND:
            lifecycle.move(conn, now_s, row.id, "supersede", f"never signed before signing epoch {signing_epoch}")
            continue
        version = 0
        if row.aspect not in UNVERSIONED:
            version = lock_meter(conn, row.meter).next_version
            mine = meter_state.c.meter == row.meter
            conn.execute(update(meter_state).where(mine).values(next_version=version + 1))
        changed = update(order).where(order.c.id == row.id).values(signing_epoch=signing_epoch, version=version)
        conn.execute(changed)
        lifecycle.remark(conn, now_s, row.id, "adopt", f"goes on under signing epoch {signing_epoch}")
