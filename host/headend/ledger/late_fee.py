"""The late fee (违约金) of a bill: per day on what is overdue of its principal, never above the principal.

Days count from the day after the due date to the day of payment, both included. Residents pay 0.1 % a day; others 0.2 %
in the year in which the bill fell due and 0.3 % beyond that year's end. The rates are a table with its history. The fee
is exact in millionths of a micro-currency however often a part was paid in between; what is asked for is rounded down
to whole `UNIT_UC`, once, over the whole of it, so in the customer's favour and never by more than one unit a bill.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, insert, select

from headend import audit
from headend.ledger import terms, zone
from headend.refusals import Refused
from headend.store.schema_money import late_fee_rate

PPM = 1_000_000
UNIT_UC = 10_000  # a hundredth of the currency: less cannot be paid over a counter
MAX_PPM = 100_000


class Rate(NamedTuple):
    """Millionths a day, for days from `from_day` on."""

    from_day: int
    year_ppm: int
    later_ppm: int


# Class of customer -> what holds before the first row of the table.
DEFAULTS = {terms.RESIDENT: Rate(0, 1_000, 1_000), terms.OTHER: Rate(0, 2_000, 3_000)}

_RATES = (
    select(late_fee_rate.c.from_day, late_fee_rate.c.year_ppm, late_fee_rate.c.later_ppm)
    .where(late_fee_rate.c["class"] == bindparam("of_class"))
    .order_by(late_fee_rate.c.from_day, late_fee_rate.c.id)
)


class Accrued(NamedTuple):
    """A fee: whole micro-currency and millionths of one (0..999 999), up to a day."""

    day: int
    fee_uc: int
    rest: int


def rates(conn: Connection, customer_class: str) -> list[Rate]:
    """All rates of a class, oldest first; of two from the same day the later one holds."""
    return [DEFAULTS[customer_class], *(Rate(*row) for row in conn.execute(_RATES, {"of_class": customer_class}))]


def set_rate(
    conn: Connection, now_s: int, customer_class: str, from_day: int, year_ppm: int, later_ppm: int, actor: str
) -> None:
    """Rates for days from `from_day` on, tomorrow at the earliest: what was asked for stays right. Raises Refused."""
    terms.check_class(customer_class)
    today = zone.day_of(zone.of(conn), now_s)
    if from_day <= today:
        raise Refused("from_day", zone.date_of(from_day).isoformat(), f"a day after {zone.date_of(today)}")
    for field, value in (("year_ppm", year_ppm), ("later_ppm", later_ppm)):
        if not 0 <= value <= MAX_PPM:
            raise Refused(field, value, f"0..{MAX_PPM}")
    values = {"from_day": from_day, "year_ppm": year_ppm, "later_ppm": later_ppm}
    row = {"class": customer_class, **values, "set_s": now_s, "actor": actor}
    conn.execute(insert(late_fee_rate), row)
    audit.record(conn, now_s, actor, "late_fee.set", f"class:{customer_class}", values)


def ppm_days(table: Sequence[Rate], due_day: int, after_day: int, to_day: int) -> int:
    """The sum of the daily rates over the days after `after_day` to `to_day` (included), of a debt due on `due_day`."""
    last = zone.year_end(due_day)
    marks = {last, *(rate.from_day - 1 for rate in table)}
    cuts = [after_day, *sorted(mark for mark in marks if after_day < mark < to_day), to_day]
    total = 0
    for start, end in pairwise(cuts):
        rate = next(rate for rate in reversed(table) if rate.from_day <= end)
        total += (end - start) * (rate.year_ppm if end <= last else rate.later_ppm)
    return total


def accrue(
    table: Sequence[Rate], due_day: int, principal_uc: int, left_uc: int, before: Accrued, to_day: int
) -> Accrued:
    """The fee up to `to_day` where `left_uc` of the principal stood open since `before.day`."""
    if to_day <= before.day:
        return before
    grown = left_uc * ppm_days(table, due_day, before.day, to_day)
    fee_uc, rest = divmod(before.fee_uc * PPM + before.rest + grown, PPM)
    return Accrued(to_day, principal_uc, 0) if fee_uc >= principal_uc else Accrued(to_day, fee_uc, rest)


def due_uc(accrued: Accrued, paid_uc: int) -> int:
    """What of a fee is to be paid, where `paid_uc` of it was."""
    return max(0, accrued.fee_uc // UNIT_UC * UNIT_UC - paid_uc)
