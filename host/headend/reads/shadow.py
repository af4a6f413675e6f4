"""The shadow bill: what a meter must have charged for the intervals that the database has of it."""

from typing import Any

from sqlalchemy import Connection, bindparam, select

from headend.store.schema import closing, interval
from meterlink.billing import Running
from meterlink.records import FLAG_CLOCK_UNKNOWN
from meterlink.reports import Report
from meterlink.shadow import Bill
from meterlink.tariff import Tariff

_OF = select(
    interval.c.start_s, interval.c.import_wh, interval.c.import_reg_wh, interval.c.export_reg_wh, interval.c.flags
).where(interval.c.meter == bindparam("of"))
_LATER = _OF.where(interval.c.import_reg_wh > bindparam("than")).order_by(interval.c.import_reg_wh)
_OPENED = select(closing.c.import_wh).where(
    closing.c.meter == bindparam("of"), closing.c.account_epoch == bindparam("before")
)
_EARLIER = _OF.where(interval.c.import_reg_wh <= bindparam("than")).order_by(interval.c.import_reg_wh.desc())


def since(conn: Connection, number: int, plan: Tariff, known: Report) -> tuple[Bill, int, int]:
    """(bill, import register, export register): the import that came after a whole report, priced by `plan`.

    The bill begins with nothing charged, the report's remainder, and what the account's steps had come to by then.
    """
    bill = Bill(plan, known.remainder, running=running(conn, number, plan, known))
    import_wh, export_wh = known.import_wh, known.export_wh
    for row in conn.execute(_LATER, {"of": number, "than": known.import_wh}):
        used_wh = min(row.import_wh, row.import_reg_wh - import_wh)
        bill.add(row.start_s, used_wh, clock_known=_timed(row))
        import_wh, export_wh = row.import_reg_wh, max(export_wh, row.export_reg_wh)
    return bill, import_wh, export_wh


def running(conn: Connection, number: int, plan: Tariff, known: Report) -> Running:
    """What was consumed in the step period of the report, by the register at that period's start, or where the account
    began in it, at that.
    """
    counted = Running()
    counted.period, counted.day = plan.period(known.time_s), plan.day(known.time_s)
    start_wh = known.import_wh
    for row in conn.execute(_EARLIER, {"of": number, "than": known.import_wh}) if plan.steps_wh else ():
        if _timed(row) and plan.period(row.start_s) != counted.period:
            start_wh = row.import_reg_wh
            break
        start_wh = row.import_reg_wh - row.import_wh
    opened_wh = conn.execute(_OPENED, {"of": number, "before": known.account_epoch - 1}).scalar_one_or_none() or 0
    counted.step_wh = known.import_wh - max(start_wh, opened_wh)
    return counted


def _timed(row: Any) -> bool:
    return not row.flags & FLAG_CLOCK_UNKNOWN
