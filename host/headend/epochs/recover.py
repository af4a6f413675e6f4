"""A meter that has lost its history is given it back from the books.

Such a meter (its flash was erased, exchanged or put back to an older state) takes nothing but a `recover` order that
answers its fresh nonce; every order that it ever had can be replayed to it in vain. What it is given is what was proved
before: the sources' totals that a receipt or report has shown, and the other terms of its money as of the newest whole
report, with the energy of the intervals that came after it priced. What it used between its last record and the loss
nobody knows; a finding says how much that is, where the registers tell.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, update

from headend.epochs import findings
from headend.ledger import accounts, balances, entries, recovered, refunds
from headend.orders import account, lifecycle, signing, statements
from headend.orders.stored import stored_report
from headend.reads import shadow
from headend.refusals import Refused
from headend.store import identity, lock_meter
from headend.store.schema import credit_source, meter, meter_state, meter_trust, order
from meterlink import bodies, reasons, states, tariff, topics
from meterlink.bodies_root import MAX_SOURCES, Recovered
from meterlink.orders import ASPECT_CREDIT, ASPECT_SUPPLY, SOURCE_TYPED
from meterlink.reports import Report

_STANDING = (
    select(meter, meter_trust.c.typed_uc, meter_trust.c.readback_source, meter_trust.c.whole_report)
    .join(meter_trust, meter_trust.c.meter == meter.c.meter)
    .where(meter.c.meter == bindparam("of"))
)
_PROVED = select(func.coalesce(func.max(order.c.total_uc), 0)).where(
    order.c.meter == bindparam("of"),
    order.c.aspect == ASPECT_CREDIT,
    order.c.selector == bindparam("from_source"),
    order.c.account_epoch == bindparam("epoch"),
    order.c.state.in_((lifecycle.ACCEPTED, lifecycle.CONFIRMED)),
)


def recover(conn: Connection, now_s: int, number: int, actor: str, *, reason_text: str = "") -> int:
    """State to a meter whose history is lost what it is to go on from; returns the order's id.

    Books what it used, by its intervals, after its last whole report. Raises Refused for a meter that is not lost.
    """
    state = lock_meter(conn, number)
    standing: Any = conn.execute(_STANDING, {"of": number}).one()
    newest = stored_report(state.report)
    if newest is None or not newest.alarms >> states.ALARM_HISTORY_LOST & 1:
        raise Refused("meter", number, "a meter whose newest report says that its history is lost")
    epoch = standing.account_epoch
    if newest.account_epoch > epoch:
        raise Refused("account_epoch", epoch, f"{newest.account_epoch} or later, which the meter serves")
    whole = stored_report(standing.whole_report)
    if whole is not None and whole.account_epoch != epoch:
        whole = None
    charged_uc, remainder, registers = _charge(conn, now_s, standing, state, whole)
    import_wh = max(registers[0], newest.import_wh)
    if newest.import_wh > registers[0]:
        gap_wh = newest.import_wh - registers[0]
        sentence = f"{gap_wh} Wh went through it of which there is no interval; they were not charged."
        findings.note(conn, now_s, number, findings.RECOVERED_GAP, sentence)
    held = Recovered(
        newest.fresh,
        whole.earned_uc if whole else 0,
        whole.adjusted_uc if whole else 0,
        charged_uc,
        remainder,
        import_wh,
        max(registers[1], newest.export_wh),
        _sources(conn, state, standing),
    )
    conn.execute(update(meter_state).where(meter_state.c.meter == number).values(booked_uc=charged_uc))
    order_id = account.recover(conn, now_s, number, held, actor, reason_text)
    _restate(conn, now_s, standing, actor)
    return order_id


def _sources(conn: Connection, state: Row[Any], standing: Any) -> tuple[tuple[int, int, int], ...]:
    """The totals of every source that the meter is proved to have had in this account."""
    number, epoch = state.meter, standing.account_epoch
    counted = standing.readback_source or identity.get(conn).source
    totals = {}
    for source in conn.execute(select(credit_source.c.source).where(credit_source.c.source < counted)).scalars():
        credited_uc = _closed_uc(conn, number, epoch, source)
        totals[source] = credited_uc, min(refunds.taken_by_uc(conn, number, epoch, source), credited_uc)
    proved_uc = conn.execute(_PROVED, {"of": number, "from_source": counted, "epoch": epoch}).scalar_one()
    credited_uc = max(state.on_meter_uc, proved_uc)
    totals[counted] = credited_uc, min(state.refunded_uc, credited_uc)
    totals[SOURCE_TYPED] = standing.typed_uc, 0
    stated = tuple((source, *both) for source, both in sorted(totals.items()) if both[0])
    if len(stated) > MAX_SOURCES:
        raise Refused("sources", len(stated), f"at most {MAX_SOURCES}: the account is to be opened anew instead")
    return stated


def _closed_uc(conn: Connection, number: int, epoch: int, source: int) -> int:
    """The final total of a source that was closed on the meter."""
    stated_uc = int(conn.execute(_PROVED, {"of": number, "from_source": source, "epoch": epoch}).scalar_one())
    found: list[int] = [sale.total_uc for sale in recovered.of_meter(conn, number, epoch) if sale.source == source]
    return max([stated_uc, *found])


def _charge(
    conn: Connection, now_s: int, standing: Any, state: Row[Any], whole: Report | None
) -> tuple[int, int, tuple[int, int]]:
    """(charged, its remainder, (import, export) registers) by the last whole report and the intervals after it, booked
    to the end."""
    number = standing.meter
    charged_uc, remainder, priced_uc = state.booked_uc, 0, 0
    import_wh = export_wh = 0
    if whole is not None:
        charged_uc = max(charged_uc, whole.charged_uc)
        bill, import_wh, export_wh = shadow.since(conn, number, tariff.decode(standing.tariff), whole)
        bill.turn(now_s)  # days without any interval cost what stands for them
        remainder, priced_uc = bill.remainder, bill.charged_uc
    account_name = accounts.of_meter(number, standing.account_epoch)
    accounts.open_account(conn, accounts.INCOME_ENERGY)
    charged_uc += priced_uc
    unbooked_uc = charged_uc - balances.booked_uc(conn, entries.CONSUMPTION, account_name)
    if unbooked_uc > 0:
        entries.post(
            conn,
            now_s,
            entries.CONSUMPTION,
            debit=account_name,
            credit=accounts.INCOME_ENERGY,
            amount_uc=unbooked_uc,
            meter=number,
            cause=f"recovered:{topics.meter_name(number)}:{standing.account_epoch}:{charged_uc}",
        )
        sentence = f"{unbooked_uc} for {import_wh} Wh on the register, by its intervals after its last whole report."
        findings.note(conn, now_s, number, findings.RECOVERED_GAP, sentence, unbooked_uc)
    return charged_uc, remainder, (import_wh, export_wh)


def _restate(conn: Connection, now_s: int, standing: Any, actor: str) -> None:
    """What was in force is stated again: tariff, limits and holds, and that sources of former databases are closed."""
    number, why = standing.meter, "the meter had lost its history"
    again: dict[str, Any] = {"reason_text": why, "restates": True}
    statements.set_tariff(conn, now_s, number, tariff.decode(standing.tariff), actor, **again)
    statements.set_limits(conn, now_s, number, bodies.decode_limits(standing.limits), actor, **again)
    for reason in _holds(conn, number, standing.account_epoch):
        if reason == reasons.HOLD_PROTECTION:
            statements.protect(conn, now_s, number, actor, reason_text=why)
        else:
            statements.stop(conn, now_s, number, reason, actor, **again)
    closed = select(order.c.selector).where(
        order.c.meter == number,
        order.c.account_epoch == standing.account_epoch,
        order.c.wants == signing.WANTS_CLOSED,
        order.c.state.in_((lifecycle.ACCEPTED, lifecycle.CONFIRMED)),
    )
    for source in sorted(set(conn.execute(closed).scalars())):
        total_uc = _closed_uc(conn, number, standing.account_epoch, source)
        back_uc = min(refunds.taken_by_uc(conn, number, standing.account_epoch, source), total_uc)
        account.close_source(conn, now_s, number, source, total_uc, back_uc, actor)


def _holds(conn: Connection, number: int, epoch: int) -> list[int]:
    """The holds that our newest statements set."""
    mine = order.c.meter == number, order.c.account_epoch == epoch, order.c.aspect == ASPECT_SUPPLY
    live = order.c.state.in_((*lifecycle.ON_THE_WAY, lifecycle.CONFIRMED))
    newest: dict[int, bool] = {}
    rows = select(order.c.selector, order.c.body).where(*mine, live).order_by(order.c.signing_epoch, order.c.version)
    for row in conn.execute(rows):
        newest[row.selector] = bodies.decode_supply(row.body)[0] == bodies.HOLD
    return [reason for reason, holds in sorted(newest.items()) if holds]
