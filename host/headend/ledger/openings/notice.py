"""No stop before notice: an account that was taken over from an earlier system is not stopped for arrears for a while,
nor before the credit that it came with is on its meter; nor is it priced by its meter before that.

(Where accounts were changed from postpaid to prepaid and their credit was not carried over, customers who had paid were
cut off three days later, without notice.)
"""

from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from headend.ledger.openings import words
from headend.store.prepared import prepared
from headend.store.schema import database, meter, meter_state
from headend.store.schema_refunds import opening_import, opening_line, refund_policy
from meterlink.labels import Text
from meterlink.reasons import HOLD_ARREARS

NOTICE_S = 14 * 86_400  # where no policy says otherwise

_NEWEST = select(refund_policy.c.notice_s).order_by(refund_policy.c.id.desc()).limit(1)
_OPENING = prepared(
    select(
        opening_line.c.done_s,
        opening_line.c.total_uc,
        opening_line.c.source,
        meter_state.c.on_meter_uc,
        database.c.source.label("in_force"),
    )
    .join(meter, (meter.c.meter == opening_line.c.meter) & (meter.c.account_epoch == opening_line.c.account_epoch))
    .join(meter_state, meter_state.c.meter == meter.c.meter)
    .join(opening_import, opening_import.c.import_id == opening_line.c.import_id)
    .join(database, database.c.one == 1)
    .where(opening_line.c.meter == bindparam("of"))
)


class Waits(NamedTuple):
    """Why an account is not to be stopped yet. until_s: when that ends by itself; None: when the meter shows it."""

    rule: str
    text: Text
    since_s: int | None
    until_s: int | None


def standing(conn: Connection, now_s: int, number: int, reason: int = HOLD_ARREARS) -> list[Waits]:
    """What forbids to stop the account in force of a meter for `reason` (reasons.HOLD_*), as it was taken over."""
    if reason != HOLD_ARREARS:
        return []
    row = _OPENING(conn, {"of": number}).one_or_none()
    if row is None:
        return []
    waits = []
    if not _shown(row):
        waits.append(Waits("opening.not_shown", words.NOT_SHOWN, row.done_s, None))
    if row.done_s is not None:
        notice_s = conn.execute(_NEWEST).scalar_one_or_none()
        until_s = row.done_s + (NOTICE_S if notice_s is None else notice_s)
        if now_s < until_s:
            waits.append(Waits("opening.notice", words.NOTICE, row.done_s, until_s))
    return waits


def is_on_its_way(conn: Connection, number: int) -> bool:
    """Whether the credit that an account was taken over with is still to come to its meter."""
    row = _OPENING(conn, {"of": number}).one_or_none()
    return row is not None and not _shown(row)


def _shown(row: Any) -> bool:
    """Of a source that a restore has closed since, what was missing was stated again."""
    stated_anew = row.total_uc is None or row.source != row.in_force
    return row.done_s is not None and (stated_anew or row.on_meter_uc >= row.total_uc)
