"""What a payment of an amount would do now: the split that a sale would make of it, and what the customer gets for it.

Money is exact: the sale that names a quote's digest moves the same amounts, or is refused. What the meter will make of
the credit is an estimate from its newest report and its tariff as last ordered; `assumed` says what it stands on.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select

from headend.ledger import allocation, split, tax, terms, zone
from headend.ledger.split import Split
from headend.orders import statements
from headend.orders.stored import stored_report
from headend.reads import series
from headend.refusals import Refused
from headend.store import UnknownMeter
from headend.store.schema import meter as meter_table
from headend.store.schema import meter_state
from meterlink import bodies, calendar, reasons, tariff
from meterlink.bodies import MAX_UC
from meterlink.reports import Report
from meterlink.tariff import Tariff

# What an estimate stands on: codes of `words.ASSUMED`.
NO_REPORT = "no_report"
REPORT = "report"
RATE_NOW = "rate_now"
STEPS_KNOWN = "steps_known"
STEPS_UNKNOWN = "steps_unknown"

_OF = (
    select(meter_table.c.account_epoch, meter_table.c.tariff, meter_table.c.limits, meter_state.c.report)
    .join(meter_state, meter_state.c.meter == meter_table.c.meter)
    .where(meter_table.c.meter == bindparam("of"))
)


@dataclass(frozen=True)
class Quote:
    """`parts`: where the money goes · `included`: taxes that are part of the credit · `standing_uc`: standing charges
    that have begun since the meter's report · `balance_uc`: that report's, None without one · `energy_wh`: what the
    credit buys after what is below zero · `reconnect_uc`: what has to be paid for supply to come back, 0 where it is
    not off for want of money.
    """

    parts: Split
    included: tuple[tax.Taxed, ...]
    standing_uc: int
    balance_uc: int | None
    energy_wh: int
    reconnect_uc: int
    assumed: tuple[str, ...]
    made_s: int
    valid_until_s: int


def quote(
    conn: Connection, now_s: int, meter: int, amount_uc: int, *, account_epoch: int | None = None, purpose: str = ""
) -> Quote:
    """Quote a payment of `amount_uc` (1..2^63-1); changes nothing. Raises Refused (UnknownMeter).

    It holds to the end of the local day, unless something is billed, paid or ordered before.
    """
    if not 1 <= amount_uc <= MAX_UC:
        raise Refused("amount_uc", amount_uc, f"1..{MAX_UC}")
    of = conn.execute(_OF, {"of": meter}).one_or_none()
    if of is None:
        raise UnknownMeter(meter)
    epoch = of.account_epoch if account_epoch is None else account_epoch
    current = epoch == of.account_epoch
    parts = split.split(conn, now_s, meter, epoch, amount_uc, purpose=purpose, has_taxes=current)
    taxes = tax.rates(conn, now_s, meter, terms.class_of(conn, meter, epoch))
    included = tax.split(parts.credit_uc, [rate for rate in taxes if rate.mode == tax.INCLUDED])[1]
    plan, report = tariff.decode(of.tariff), stored_report(of.report)
    if report is not None and report.account_epoch != epoch:
        report = None
    standing_uc = (
        plan.standing_uc(plan.day(report.time_s), max(plan.day(report.time_s), plan.day(now_s))) if report else 0
    )
    balance_uc = report.balance_uc if report else None
    after_uc = (balance_uc or 0) - standing_uc + parts.credit_uc
    used_wh, assumed = _used_wh(conn, now_s, meter, plan, report)
    energy_wh = energy_for(plan, plan.rate_at(now_s), used_wh, max(0, min(parts.credit_uc, after_uc)))
    local = zone.of(conn)
    return Quote(
        parts,
        included,
        standing_uc,
        balance_uc,
        energy_wh if current else 0,
        _reconnect_uc(conn, now_s, meter, of, report, standing_uc, taxes) if current else 0,
        (REPORT if report else NO_REPORT, RATE_NOW, *assumed),
        now_s,
        zone.start_s(local, zone.day_of(local, now_s) + 1) - 1,
    )


def energy_for(plan: Tariff, rate: int, used_wh: int, amount_uc: int) -> int:
    """The whole watt-hours that `amount_uc` buys at a rate, after `used_wh` of the step period.

    Where the last step is free, those up to it.
    """
    left, bought_wh = amount_uc * tariff.WH_PER_KWH, 0
    for step_wh in (*plan.steps_wh, None):
        if step_wh is not None and used_wh >= step_wh:
            continue
        price = plan.price_uc_per_kwh(rate, used_wh)
        if not price and step_wh is None:
            break
        room_wh = left // price if step_wh is None else step_wh - used_wh
        part_wh = min(room_wh, left // price) if price else room_wh
        bought_wh, used_wh, left = bought_wh + part_wh, used_wh + part_wh, left - part_wh * price
        if part_wh < room_wh:
            break
    return bought_wh


def _used_wh(
    conn: Connection, now_s: int, meter: int, plan: Tariff, report: Report | None
) -> tuple[int, tuple[str, ...]]:
    """What was used in the step period, by the register at its start; and what that stands on."""
    if not plan.steps_wh:
        return 0, ()
    if report is None:
        return 0, (STEPS_UNKNOWN,)
    year, month = divmod(plan.period(now_s), 12)
    start_s = calendar.day_of(year, month + 1, 1) * calendar.DAY_S - plan.offset_s(now_s)
    if report.time_s < start_s:
        return 0, (STEPS_KNOWN,)
    before = series.before(conn, meter, report.log_id, start_s)
    if before is None:
        return 0, (STEPS_UNKNOWN,)
    return max(0, report.import_wh - before.import_reg_wh), (STEPS_KNOWN,)


def _reconnect_uc(
    conn: Connection,
    now_s: int,
    meter: int,
    of: Any,
    report: Report | None,
    standing_uc: int,
    taxes: list[tax.Rate],
) -> int:
    """The least payment after which neither arrears nor want of credit keeps supply off."""
    held = report is not None and bool(report.holds >> reasons.HOLD_ARREARS & 1)
    stopped = held or statements.arrears(conn, meter) == bodies.HOLD
    empty = report is not None and bool(report.causes >> reasons.CAUSE_OUT_OF_CREDIT & 1)
    found = allocation.allocate(conn, now_s, meter, of.account_epoch, 0)
    asked = [(line.bill.due_day < found.day, line.fee_due_uc + line.left_uc) for line in found.lines]
    overdue_uc = sum(amount_uc for overdue, amount_uc in asked if overdue) if stopped else 0
    if not empty or report is None:
        return overdue_uc
    least_uc = max(1, bodies.decode_limits(of.limits).min_close_uc)
    credit_uc = max(0, least_uc - report.balance_uc + standing_uc)
    credit_uc = tax.gross_uc(credit_uc, [rate for rate in taxes if rate.mode == tax.ADDED])
    all_uc = sum(amount_uc for _, amount_uc in asked)
    if found.share_ppm == terms.WHOLE:  # nothing reaches the meter before all bills are paid
        return all_uc + credit_uc
    share_uc = -(-credit_uc * terms.WHOLE // (terms.WHOLE - found.share_ppm))
    return max(overdue_uc, min(all_uc + credit_uc, share_uc))
