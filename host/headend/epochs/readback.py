"""After a restore: what had the former credit source stated to this meter, and how is that source closed there?

1. A report that answers our question shows the source's totals and the digest of the order that states them; the order
   itself is asked for where this database does not have it, and its signature has to be ours.
2. What it states above the books is booked as *recovered* (`ledger.recovered`), sale by sale.
3. A closing statement on that source goes out, with the highest total that is known to be signed. Its receipt proves
   that the meter has folded the source: no order of it can count any more, wherever a copy of it lies.
4. What the report on the folded source shows is final. What the books had sold beyond it, and what was paid meanwhile,
   is stated by the source in force.

Versions are not read back: a higher signing epoch outranks every version that the meter has seen.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, update

from headend.epochs import findings
from headend.ledger import payments, recovered, refunds
from headend.orders import account, credit, lifecycle
from headend.orders.signing import WANTS_CLOSED
from headend.store import identity, lock_meter
from headend.store.prepared import prepared
from headend.store.schema import credit_source, meter, meter_state, meter_trust, order, payment
from meterlink import bodies, states, topics
from meterlink.orders import ASPECT_CREDIT, Order
from meterlink.reports import KIND_REPORT, Report

ACTOR = "head-end:readback"
_NO_DIGEST = bytes(8)
_FAILED = (lifecycle.REFUSED, lifecycle.SUPERSEDED)  # ends of an order that the meter does not hold

_STANDING = prepared(
    select(meter.c.account_epoch, *meter_trust.c)
    .join(meter_trust, meter_trust.c.meter == meter.c.meter)
    .where(meter.c.meter == bindparam("of"))
)
_HOLDS_MONEY = prepared(
    select(meter_trust.c.meter).where(
        meter_trust.c.meter == bindparam("of"),
        meter_trust.c.readback_source.is_not(None),
        meter_trust.c.withheld_uc > 0,
    )
)
_SIGNED = prepared(
    select(order.c.signed, order.c.state, order.c.wants, order.c.digest).where(
        order.c.meter == bindparam("of"),
        order.c.aspect == ASPECT_CREDIT,
        order.c.selector == bindparam("from_source"),
        order.c.account_epoch == bindparam("epoch"),
        order.c.signed.is_not(None),
    )
)


def holds_money(conn: Connection, number: int) -> bool:
    """Whether money waits for this meter to be read back."""
    return _HOLDS_MONEY(conn, {"of": number}).one_or_none() is not None


def heard(conn: Connection, now_s: int, report: Report) -> bool:
    """Take a genuine report that is the newest; returns whether the order that it names is to be asked for.

    Call after `inbound.take`, with the meter's row locked.
    """
    standing = _STANDING(conn, {"of": report.meter}).one()
    source = standing.readback_source
    if source is None or (report.aspect, report.selector) != (ASPECT_CREDIT, source):
        return False
    if report.account_epoch != standing.account_epoch:
        return False
    known = _SIGNED(conn, {"of": report.meter, "from_source": source, "epoch": report.account_epoch}).all()
    closing = [row for row in known if row.wants == WANTS_CLOSED and row.state not in _FAILED]
    if closing:
        if any(row.state in (lifecycle.ACCEPTED, lifecycle.CONFIRMED) for row in closing):
            _finish(conn, now_s, standing, source, report)
        return False
    refused = [row for row in known if row.wants == WANTS_CLOSED and row.state == lifecycle.REFUSED]
    if refused:
        sentence = f"Source {source}: the meter refused to close it; it is tried again."
        findings.note(conn, now_s, report.meter, findings.NOT_CLOSED, sentence)
    lost = report.alarms >> states.ALARM_HISTORY_LOST & 1  # it cannot tell what it had
    if lost or report.kind != KIND_REPORT or _is_under_way(conn, report.meter, source):
        return False
    if report.digest == _NO_DIGEST:
        _settle(conn, now_s, standing, source, report, None)
        return False
    mine = [row.signed for row in known if row.digest == report.digest]
    if not mine:
        return True
    _settle(conn, now_s, standing, source, report, mine[0])
    return False


def found(conn: Connection, now_s: int, raw: bytes, logged: bool, report: Report) -> bool:
    """Take the order that the meter holds, with a signature that was found to be ours; `report`: the newest one.

    `logged`: whether the signer's log knows it. False where the report does not name this order: then the question is
    to be asked again.
    """
    held = Order(raw)
    standing = _STANDING(conn, {"of": held.stated.meter}).one()
    source = standing.readback_source
    subject = report.aspect, report.selector, report.digest, report.account_epoch
    if subject != (ASPECT_CREDIT, source, held.digest[:8], standing.account_epoch) or _is_under_way(
        conn, held.stated.meter, source
    ):
        return False
    if held.stated.account_epoch != standing.account_epoch:
        return False
    if not logged:
        sentence = (
            f"Source {source} has stated {report.source_credited_uc} under our signature, without a line in the log."
        )
        findings.note(conn, now_s, held.stated.meter, findings.UNLOGGED, sentence, report.source_credited_uc)
    _settle(conn, now_s, standing, source, report, raw)
    return True


def foreign(conn: Connection, now_s: int, number: int, source: int, amount_uc: int) -> None:
    """The order that the meter holds was signed by nobody we know: nothing is settled by it."""
    sentence = f"Source {source} has credited {amount_uc} under a signature that is not ours."
    findings.note(conn, now_s, number, findings.FOREIGN, sentence, amount_uc)


def _is_under_way(conn: Connection, number: int, source: int) -> bool:
    """Whether the source is being closed on the meter."""
    closing = select(order.c.id).where(
        order.c.meter == number,
        order.c.selector == source,
        order.c.wants == WANTS_CLOSED,
        order.c.state.not_in(lifecycle.ENDS),
    )
    return conn.execute(closing).first() is not None


def _settle(conn: Connection, now_s: int, standing: Row[Any], source: int, report: Report, raw: bytes | None) -> None:
    """What the meter had of the source is proved: book what the books did not know, and close the source there."""
    state = lock_meter(conn, report.meter)
    sales = bodies.decode_credit(Order(raw).stated.body)[2] if raw else []
    _book(conn, now_s, state, source, report, sales, raw or report.raw)
    if raw and bodies.credit_extras(Order(raw).stated.body)[0]:  # the meter has folded it already
        _finish(conn, now_s, standing, source, report)
        return
    # The meter folds the higher of what it has and what this states, so it states no more than is known to be signed.
    best = max(_signed(conn, standing, source, raw), key=_credited, default=None)
    _trust(conn, report.meter, readback_order=best)
    credited_uc, refunded_uc, _ = (0, 0, []) if best is None else bodies.decode_credit(Order(best).stated.body)
    # It takes back no more than it brings, so that the meter cannot refuse it for what is spent.
    brought_uc = max(0, credited_uc - report.source_credited_uc)
    refunded_uc = max(report.source_refunded_uc, min(refunded_uc, report.source_refunded_uc + brought_uc))
    account.close_source(conn, now_s, report.meter, source, credited_uc, refunded_uc, ACTOR)


def _signed(conn: Connection, standing: Row[Any], source: int, raw: bytes | None) -> list[bytes]:
    """The orders of the source that are known to be signed and may have reached the meter."""
    asked = {"of": standing.meter, "from_source": source, "epoch": standing.account_epoch}
    return [row.signed for row in _SIGNED(conn, asked) if row.state not in _FAILED] + ([raw] if raw else [])


def _credited(raw: bytes) -> int:
    return bodies.decode_credit(Order(raw).stated.body)[0]


def _book(
    conn: Connection,
    now_s: int,
    state: Row[Any],
    source: int,
    report: Report,
    sales: list[tuple[int, int]],
    evidence: bytes,
) -> None:
    """Sales that the report proves and the books do not know; payments that wait may turn out to be some of them."""
    number, epoch = report.meter, report.account_epoch
    credited_uc = report.source_credited_uc
    grown_uc = recovered.book(
        conn, now_s, number, epoch, source, state.sold_uc, credited_uc, sales, evidence, report.time_s
    )
    if grown_uc:
        conn.execute(update(meter_state).where(meter_state.c.meter == number).values(sold_uc=credited_uc))
        unlisted_uc = grown_uc - sum(
            amount_uc for total_uc, amount_uc in sales if total_uc - amount_uc >= state.sold_uc
        )
        if unlisted_uc:
            sentence = (
                f"Source {source} had credited {unlisted_uc} more than the books know, in sales that are not listed."
            )
            findings.note(conn, now_s, number, findings.UNLISTED, sentence, unlisted_uc)
    _match(conn, now_s, number, epoch, source, unlisted=False)
    payments.shown(conn, number, credited_uc, report.time_s)


def _match(conn: Connection, now_s: int, number: int, epoch: int, source: int, *, unlisted: bool) -> None:
    """Hold the payments that wait against the recovered sales; `unlisted`: also against sales that no order lists."""
    withheld_uc = _STANDING(conn, {"of": number}).one().withheld_uc
    for row in _waiting(conn, number, epoch, source):
        again = unlisted and bool(row.again)
        known_uc, sale = recovered.consume(
            conn,
            now_s,
            number,
            epoch,
            row.amount_uc - row.allocated_uc,
            row.channel,
            row.payment_id,
            again=again,
        )
        withheld_uc -= known_uc
        if sale is not None:
            place = {"source": sale.source, "total_uc": sale.total_uc, "on_meter_s": sale.found_s}
            _payment(conn, row, place)
    _trust(conn, number, withheld_uc=withheld_uc)


def _finish(conn: Connection, now_s: int, standing: Row[Any], source: int, report: Report) -> None:
    """The meter has folded the source: its totals are final. The source in force goes on from there."""
    number, epoch = report.meter, report.account_epoch
    # An order of the former database may have reached the meter after it was read back.
    _book(conn, now_s, lock_meter(conn, number), source, report, [], standing.readback_order or report.raw)
    payments.arrived(conn, number, source, report.source_credited_uc, report.time_s)
    current = identity.get(conn).source
    later = select(func.min(credit_source.c.source)).where(
        credit_source.c.source > source, credit_source.c.source < current
    )
    following = conn.execute(later).scalar_one()
    if following is None:
        _match(conn, now_s, number, epoch, source, unlisted=True)
    dropped_uc = refunds.source_closed(conn, now_s, report, source)
    state = lock_meter(conn, number)
    withheld_uc = _STANDING(conn, {"of": number}).one().withheld_uc
    total_uc = max(0, state.sold_uc - report.source_credited_uc - dropped_uc) + withheld_uc
    missing = payment.c.source == source, payment.c.on_meter_s.is_(None), payment.c.total_uc > 0
    mine = payment.c.meter == number, payment.c.account_epoch == epoch
    unmet = list(conn.execute(select(payment).where(*mine, *missing).order_by(payment.c.total_uc)))
    unmet += _waiting(conn, number, epoch, source)
    parts_uc = [
        row.amount_uc - row.allocated_uc - recovered.claimed_uc(conn, row.channel, row.payment_id) for row in unmet
    ]
    at_uc = total_uc - sum(parts_uc)
    for row, part_uc in zip(unmet, parts_uc, strict=True):
        at_uc += part_uc
        _payment(conn, row, {"source": current, "total_uc": at_uc})
    findings.settle(conn, now_s, number, findings.NOT_CLOSED)
    fresh = {"sold_uc": 0, "on_meter_uc": 0, "refunded_uc": 0, "next_ask_s": now_s}
    if following is None:
        fresh["sold_uc"], withheld_uc = total_uc, 0
    else:  # further restores followed before this one was settled
        withheld_uc = total_uc
    conn.execute(update(meter_state).where(meter_state.c.meter == number).values(fresh))
    _trust(conn, number, readback_source=following, readback_order=None, withheld_uc=withheld_uc)
    if following is None and total_uc:
        credit.credit_statement(conn, now_s, lock_meter(conn, number), total_uc, ACTOR)


def _waiting(conn: Connection, number: int, epoch: int, source: int) -> list[Row[Any]]:
    """Payments that wait until `source` is settled, oldest first."""
    mine = payment.c.meter == number, payment.c.account_epoch == epoch
    waits = payment.c.on_meter_s.is_(None), payment.c.total_uc > 0, payment.c.source != source
    return list(conn.execute(select(payment).where(*mine, *waits).order_by(payment.c.total_uc)))


def _payment(conn: Connection, row: Row[Any], values: dict[str, Any]) -> None:
    one = payment.c.channel == row.channel, payment.c.payment_id == row.payment_id
    conn.execute(update(payment).where(*one).values(values))


def _trust(conn: Connection, number: int, **values: Any) -> None:
    conn.execute(update(meter_trust).where(meter_trust.c.meter == number).values(values))


def waiting(conn: Connection) -> list[str]:
    """The meters that are still to be read back."""
    left = select(meter_trust.c.meter).where(meter_trust.c.readback_source.is_not(None)).order_by(meter_trust.c.meter)
    return [topics.meter_name(number) for number in conn.execute(left).scalars()]
