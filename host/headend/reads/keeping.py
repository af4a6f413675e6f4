"""How long packed days are kept: a number of days from the policy (`store.retention`, class "readings"), 0 for ever.

A day goes when it is older than that, and

- the shadow bill of the meter has passed it (what was priced stays in `shadow_day`),
- no bill of the meter is open, so that whoever disputes one finds what it is about,
- nothing that the meter recorded before it is younger: a clock that went wrong makes no record old.

Bills, entries, shadow bills and what was declared lost always stay; cursors do not move, so nothing is asked for again.
"""

from collections.abc import Sequence

from sqlalchemy import BindParameter, Connection, and_, bindparam, delete, exists, func, select

from headend.store.schema_books import shadow_anchor
from headend.store.schema_money import bill
from headend.store.schema_readings import reading_day

_DAY_S = 86_400
_LATER = reading_day.alias()
_OF: BindParameter[int] = bindparam("of")
_PRICED_TO = select(func.min(shadow_anchor.c.from_s // _DAY_S)).where(shadow_anchor.c.meter == _OF).scalar_subquery()
_OPEN = exists().where(bill.c.meter == _OF, bill.c.settled_s.is_(None)).correlate(reading_day)
_YOUNGER = exists().where(
    and_(
        _LATER.c.meter == _OF,
        _LATER.c.log_id == reading_day.c.log_id,
        _LATER.c.day >= bindparam("before"),
        _LATER.c.first < reading_day.c.last,
    )
)
_FORGET = delete(reading_day).where(
    reading_day.c.meter == _OF,
    reading_day.c.day < bindparam("before"),
    reading_day.c.day < func.coalesce(_PRICED_TO, bindparam("before")),
    ~_OPEN,
    ~_YOUNGER,
)


def forget(conn: Connection, meters: Sequence[int], before: int) -> None:
    """Delete the packed days of these meters before a day (of UTC, from 1970-01-01) that nothing holds."""
    if meters:
        conn.execute(_FORGET, [{"of": meter, "before": before} for meter in meters])
