"""Books against meters, all of them: each meter after something came or changed, differences with their history.

`reconcile.explain` compares one meter; here its result is kept. A difference counts where the report was asked about
our credit source: any other may not show credit yet that has just arrived.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Integer, Row, bindparam, func, insert, or_, select, update

from headend.access import areas
from headend.epochs import findings
from headend.ledger import reconcile
from headend.store import READS, Store
from headend.store.prepared import prepared
from headend.store.schema import meter, meter_state
from headend.store.schema_books import reconciled, reconciled_change

BATCH = 50  # meters of one transaction

_DUE = prepared(
    select(meter_state.c.meter, meter_state.c.touched)
    .outerjoin(reconciled, reconciled.c.meter == meter_state.c.meter)
    .where(meter_state.c.meter > bindparam("behind", type_=BigInteger))
    .where(or_(reconciled.c.meter.is_(None), reconciled.c.touched != meter_state.c.touched))
    .order_by(meter_state.c.meter)
    .limit(bindparam("most", type_=Integer))
)
_KNOWN = prepared(select(reconciled).where(reconciled.c.meter == bindparam("of")))
_FIRST = prepared(insert(reconciled))
_AGAIN = prepared(
    update(reconciled)
    .where(reconciled.c.meter == bindparam("of"))
    .values({column.name: bindparam(f"new_{column.name}") for column in reconciled.c if column.name != "meter"})
)
_CHANGED = insert(reconciled_change)
_TOTAL = select(func.count(), func.coalesce(func.sum(func.abs(reconciled.c.difference_uc)), 0)).select_from(reconciled)
_TOTAL = _TOTAL.where(reconciled.c.difference_uc != 0)
_LISTED = (
    select(reconciled, meter.c.area)
    .join(meter, meter.c.meter == reconciled.c.meter)
    .where(reconciled.c.meter > bindparam("behind"))
    .order_by(reconciled.c.meter)
    .limit(bindparam("most"))
)
_HISTORY = (
    select(reconciled_change)
    .where(reconciled_change.c.meter == bindparam("of"))
    .order_by(reconciled_change.c.id.desc())
    .limit(bindparam("most"))
)


class Total(NamedTuple):
    """How many meters differ from the books, and by how much in all, each difference counted as positive."""

    meters: int
    amount_uc: int


def sweep(store: Store, now_s: int) -> int:
    """Compare every meter that something happened to since it was compared last; returns how many."""
    seen, behind = sweep_some(store, now_s, 0)
    while behind:
        some, behind = sweep_some(store, now_s, behind)
        seen += some
    return seen


def sweep_some(store: Store, now_s: int, behind: int) -> tuple[int, int]:
    """The same with the next ones above the meter `behind`; (how many, where to go on: 0 at the end)."""
    due = store.read(_explained, behind)
    if due:
        store.write(_keep_all, now_s, due, lane=READS).result()
    return len(due), due[-1][1].meter if len(due) == BATCH else 0


def keep(conn: Connection, now_s: int, touched: int, found: reconcile.Explanation) -> int:
    """Keep the outcome of a comparison; returns the difference that stands.

    `touched`: `meter_state.touched` as it was then; what changes the meter meanwhile has it compared again.
    """
    number = found.meter
    known = _KNOWN(conn, {"of": number}).one_or_none()
    before_uc = known.difference_uc if known is not None else 0
    difference_uc = found.difference_uc if found.source_shown or not found.difference_uc else before_uc
    stands = known is not None and difference_uc == before_uc
    row = {
        "account_epoch": found.account_epoch,
        "checked_s": now_s,
        "touched": touched,
        "report_time_s": found.report_time_s,
        "ledger_uc": found.ledger_uc,
        "meter_uc": found.meter_uc,
        "difference_uc": difference_uc,
        "since_s": known.since_s if known is not None and stands else now_s,
    }
    if known is None:
        _FIRST(conn, {"meter": number, **row})
    else:
        _AGAIN(conn, {"of": number, **{f"new_{name}": value for name, value in row.items()}})
    if difference_uc != before_uc:
        _tell(conn, now_s, number, before_uc, difference_uc)
    return difference_uc


def total_difference(conn: Connection, within: Sequence[str] = (areas.EVERYWHERE,)) -> Total:
    """What no line explains, over all meters of these areas: a look at those that differ, and no more."""
    query = _TOTAL
    if areas.EVERYWHERE not in within:
        query = query.join(meter, meter.c.meter == reconciled.c.meter).where(areas.within(meter.c.area, within))
    meters, amount_uc = conn.execute(query).one()
    return Total(int(meters), int(amount_uc))


def listed(
    conn: Connection,
    behind: int = 0,
    *,
    differing: bool = True,
    within: Sequence[str] = (areas.EVERYWHERE,),
    limit: int = 100,
) -> list[Row[Any]]:
    """Meters above `behind` by number, with their `area`; `differing`: those that differ · `within`: of these areas."""
    query = _LISTED.where(areas.within(meter.c.area, within))
    if differing:
        query = query.where(reconciled.c.difference_uc != 0)
    return list(conn.execute(query, {"behind": behind, "most": limit}))


def history(conn: Connection, number: int, *, limit: int = 100) -> list[Row[Any]]:
    """How a meter's difference changed, newest first."""
    return list(conn.execute(_HISTORY, {"of": number, "most": limit}))


def _explained(conn: Connection, behind: int) -> list[tuple[int, reconcile.Explanation]]:
    """The next meters that are due, compared: away from the writer, which payments need."""
    due = _DUE(conn, {"behind": behind, "most": BATCH}).all()
    return [(row.touched, reconcile.explain(conn, row.meter)) for row in due]


def _keep_all(conn: Connection, now_s: int, compared: list[tuple[int, reconcile.Explanation]]) -> None:
    for touched, found in compared:
        keep(conn, now_s, touched, found)


def _tell(conn: Connection, now_s: int, number: int, before_uc: int, difference_uc: int) -> None:
    """Keep the history, and have a person look while there is a difference."""
    row = {"meter": number, "at_s": now_s, "before_uc": before_uc, "difference_uc": difference_uc}
    conn.execute(_CHANGED, row)
    if before_uc:
        findings.settle(conn, now_s, number, findings.LEDGER_DIFFERENCE)
    if difference_uc:
        text = f"Books and meter differ by {difference_uc} micro-currency that nothing explains."
        findings.note(conn, now_s, number, findings.LEDGER_DIFFERENCE, text, difference_uc)
