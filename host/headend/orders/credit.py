"""What our source has credited a meter, as a total with its last sales: the statement behind every purchase."""

from typing import Any

from sqlalchemy import BigInteger, Connection, Row, bindparam, select

from headend import gate
from headend.orders.writing import WANTS_CREDIT, Place, place_of, state, to_unsent
from headend.store.prepared import prepared, together
from headend.store.schema import meter, order, payment, token
from headend.store.schema_refunds import refund
from meterlink import bodies
from meterlink.orders import ASPECT_CREDIT

# Built once: to put a statement together costs several times what it costs to run it.
_IN_FORCE = select(meter.c.account_epoch).where(meter.c.meter == bindparam("of")).scalar_subquery()
_SALES = prepared(
    select(payment.c.total_uc, (payment.c.amount_uc - payment.c.allocated_uc).label("amount_uc"))
    .where(payment.c.meter == bindparam("of"), payment.c.total_uc <= bindparam("total"))
    .where(payment.c.account_epoch == _IN_FORCE, payment.c.source == bindparam("from_source"))
    .order_by(payment.c.total_uc.desc())
    .limit(bodies.MAX_SALES)
)
# What the refund takes that is under way, where it is the last that was taken back.
_REFUND = prepared(
    select(refund.c.amount_uc).where(
        refund.c.meter == bindparam("of"),
        refund.c.account_epoch == bindparam("epoch"),
        refund.c.source == bindparam("from_source"),
        refund.c.state == "stated",
        refund.c.refunded_uc == bindparam("total", type_=BigInteger),
    )
)
# What was last handed to a carrier of a source, whatever became of it.
_SENT_CREDIT = prepared(
    select(order.c.body)
    .where(
        order.c.meter == bindparam("of"),
        order.c.account_epoch == bindparam("epoch"),
        order.c.aspect == ASPECT_CREDIT,
        order.c.selector == bindparam("from_source"),
        order.c.sent_s.is_not(None),
    )
    .order_by(order.c.id.desc())
    .limit(1)
)
_REPLACED = prepared(
    select(token.c.key_revision, token.c.tid)
    .join(meter, (meter.c.meter == token.c.meter) & (meter.c.account_epoch == token.c.account_epoch))
    .where(token.c.id == bindparam("of"))
)


def credit_statement(
    conn: Connection,
    now_s: int,
    meter_row: Row[Any],
    total_uc: int,
    actor: str,
    *,
    place: Place | None = None,
    taking_uc: int = 0,
) -> int:
    """State that our source has credited `total_uc` in all; returns the order's id.

    `meter_row` is the locked `meter_state` row. Carries the last four sales, from the payments stored and, where
    `total_uc` goes beyond them, one more for the difference; and names the typed token that is being replaced.
    Takes the place of a statement of this source that was not sent. `place`: where the caller has looked it up ·
    `taking_uc`: what the refund takes that is being stated.

    What gives waits for nobody: where a refund was not sent yet, and the gate would look at both together, what is
    credited is stated without that refund, which follows once the meter shows that (`ledger.refunds`).
    """
    place = place or place_of(conn, meter_row.meter)
    source = place.source
    chosen = {"of": meter_row.meter, "total": total_uc, "from_source": source}
    sold, unsent = together(conn, (_SALES, chosen), to_unsent(meter_row.meter, ASPECT_CREDIT, source))
    sales: list[tuple[int, int]] = []
    before_uc = 0
    for sale in reversed(sold.all()):  # of one that was posted again, the meter may have had a part before
        sales.append((sale.total_uc, min(sale.amount_uc, sale.total_uc - before_uc)))
        before_uc = sale.total_uc
    if total_uc > before_uc:
        sales.append((total_uc, total_uc - before_uc))
    replaced: tuple[tuple[int, int], ...] = ()
    if meter_row.replacing is not None:
        named = _REPLACED(conn, {"of": meter_row.replacing})
        replaced = tuple((revision, tid) for revision, tid in named)
    refunded_uc = _taken_back(conn, meter_row, total_uc, place, taking_uc)
    body = bodies.encode_credit(total_uc, refunded_uc, sales[-bodies.MAX_SALES :], replaced=replaced)
    return state(
        conn,
        now_s,
        meter_row.meter,
        ASPECT_CREDIT,
        source,
        body,
        WANTS_CREDIT,
        actor,
        "",
        total_uc=total_uc,
        place=place,
        unsent=unsent.all(),
    )


def _taken_back(conn: Connection, meter_row: Row[Any], total_uc: int, place: Place, taking_uc: int) -> int:
    """The refunded total that is stated with a credited one: all of it, or all but a refund that would make it wait.

    A total that was sent is stated from then on, also where the meter refused it: a copy of that order may come yet.
    """
    refunded_uc = int(meter_row.refunded_uc)
    if not refunded_uc:
        return 0
    its = {"of": meter_row.meter, "epoch": place.account_epoch, "from_source": place.source}
    if not taking_uc:
        taking_uc = _REFUND(conn, {**its, "total": refunded_uc}).scalar_one_or_none() or 0
    without_uc = refunded_uc - taking_uc
    sent = _SENT_CREDIT(conn, its).one_or_none()
    sent_uc, sent_back_uc = (0, 0) if sent is None else bodies.decode_credit(sent.body)[:2]
    if not taking_uc or sent_back_uc > without_uc or total_uc <= max(sent_uc, meter_row.on_meter_uc):
        return refunded_uc  # it was sent before, or nothing waits for it
    both = bodies.encode_credit(total_uc, refunded_uc, [])
    waits = gate.kind_of(conn, meter_row.meter, ASPECT_CREDIT, place.source, both)
    return without_uc if waits else refunded_uc
