"""The shadow bill: what a meter must have charged for the intervals that the database has of it."""

from operator import attrgetter

from sqlalchemy import Connection, bindparam, select

from headend.reads import series
from headend.reads.series import Reading
from headend.store.schema import closing
from meterlink.billing import Running
from meterlink.records import FLAG_CLOCK_UNKNOWN
from meterlink.reports import Report
from meterlink.shadow import Bill
from meterlink.tariff import Tariff

_REGISTER = attrgetter("import_reg_wh")
_OPENED = select(closing.c.import_wh).where(
    closing.c.meter == bindparam("of"), closing.c.account_epoch == bindparam("before")
)


def since(conn: Connection, number: int, plan: Tariff, known: Report) -> tuple[Bill, int, int]:
    """(bill, import register, export register): the import that came after a whole report, priced by `plan`.

    The bill begins with nothing charged, the report's remainder, and what the account's steps had come to by then.
    """
    bill = Bill(plan, known.remainder, running=running(conn, number, plan, known))
    import_wh, export_wh = known.import_wh, known.export_wh
    later = [one for one in series.every(conn, number) if one.import_reg_wh > known.import_wh]
    for row in sorted(later, key=_REGISTER):
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
    earlier = (
        [one for one in series.every(conn, number) if one.import_reg_wh <= known.import_wh] if plan.steps_wh else []
    )
    for row in sorted(earlier, key=_REGISTER, reverse=True):
        if _timed(row) and plan.period(row.start_s) != counted.period:
            start_wh = row.import_reg_wh
            break
        start_wh = row.import_reg_wh - row.import_wh
    opened_wh = conn.execute(_OPENED, {"of": number, "before": known.account_epoch - 1}).scalar_one_or_none() or 0
    counted.step_wh = known.import_wh - max(start_wh, opened_wh)
    return counted


def _timed(row: Reading) -> bool:
    return not row.flags & FLAG_CLOCK_UNKNOWN
