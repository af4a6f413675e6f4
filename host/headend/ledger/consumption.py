"""The ledger follows the meter: what it charged becomes income, by authenticated reports.

`charged_uc` on the meter only grows. `meter_state.booked_uc` is how far the books have followed; an older or repeated
report books nothing.
"""

from sqlalchemy import Connection, bindparam, select, update

from headend.ledger import accounts, entries
from headend.store import lock_meter
from headend.store.prepared import prepared
from headend.store.schema import meter, meter_state
from meterlink import topics
from meterlink.reports import Report

_EPOCH = prepared(select(meter.c.account_epoch).where(meter.c.meter == bindparam("of")))
_BOOKED = prepared(
    update(meter_state).where(meter_state.c.meter == bindparam("of")).values(booked_uc=bindparam("charged"))
)


def book(conn: Connection, now_s: int, report: Report) -> int:
    """Book what the meter charged since the last booking; returns that amount, 0 where there is none.

    `report` is verified. One of another account epoch than the meter's present one is not booked. Raises UnknownMeter.
    """
    state = lock_meter(conn, report.meter)
    epoch = _EPOCH(conn, {"of": report.meter}).scalar_one()
    grown_uc: int = report.charged_uc - state.booked_uc
    if report.account_epoch != epoch or grown_uc <= 0:
        return 0
    accounts.open_account(conn, accounts.INCOME_ENERGY)
    name = topics.meter_name(report.meter)
    entries.post(
        conn,
        now_s,
        entries.CONSUMPTION,
        debit=accounts.of_meter(report.meter, epoch),
        credit=accounts.INCOME_ENERGY,
        amount_uc=grown_uc,
        meter=report.meter,
        cause=f"report:{name}:{report.boot}:{report.counter}:{report.charged_uc}",
    )
    _BOOKED(conn, {"of": report.meter, "charged": report.charged_uc})
    return grown_uc
