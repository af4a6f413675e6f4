"""What is not kept for ever, and for how long. Money, orders, what decided about them and the audit always are.

Sessions, failed attempts to sign in and answers under an idempotency key go as soon as they are over (`access`).
"""

from collections import Counter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, delete, select, tuple_

from headend.refusals import Refused
from headend.store.jobs import READS
from headend.store.schema import finding, order_history, question
from headend.store.store import Store

DAY_S = 86_400
MOST_DAYS = 36_500
BATCH = 5_000


class Kept(NamedTuple):
    """Rows of a table, kept for `days` after the second in column `since`; 0 days: for ever."""

    table: Table
    since: str
    days: int
    least_days: int  # a shorter time would break what the rows are for
    only: ColumnElement[bool] | None = None


POLICY: dict[str, Kept] = {
    "questions": Kept(question, "asked_s", 30, 1),  # put to meters; an answer counts for minutes
    # What a carrier said while an order was on its way. Each change of its state stays.
    "carrier_notes": Kept(order_history, "at_s", 180, 7, order_history.c.event == "carrier"),
    "findings": Kept(finding, "settled_s", 730, 30),  # that were settled
}
READINGS = "readings"  # packed days of interval records; let go of by `reads.packer`
# Class -> (days, least days) of all.
_DAYS = {**{name: (kept.days, kept.least_days) for name, kept in POLICY.items()}, READINGS: (0, 62)}


def _statement(kept: Kept) -> Any:
    keys = list(kept.table.primary_key.columns)
    old = kept.table.c[kept.since] < bindparam("before")
    chosen = select(*keys).where(old if kept.only is None else and_(old, kept.only)).limit(bindparam("most"))
    of_them = keys[0] if len(keys) == 1 else tuple_(*keys)
    return delete(kept.table).where(of_them.in_(chosen))


_PRUNE = {name: _statement(kept) for name, kept in POLICY.items()}


def days(text: str) -> dict[str, int]:
    """Class -> days, what is built in overruled by `text`, such as "questions=14 findings=0"; raises Refused."""
    chosen = {name: standard for name, (standard, _) in _DAYS.items()}
    for part in text.split():
        name, _, number = part.partition("=")
        if name not in _DAYS:
            raise Refused("retention", part, f"one of {', '.join(_DAYS)}, = and a number of days")
        least = _DAYS[name][1]
        if not (number.isascii() and number.isdecimal() and (int(number) == 0 or least <= int(number) <= MOST_DAYS)):
            raise Refused("retention", part, f"{name}={least}..{MOST_DAYS}, or 0 for ever")
        chosen[name] = int(number)
    return chosen


def prune(conn: Connection, now_s: int, chosen: dict[str, int], most: int = BATCH) -> dict[str, int]:
    """Delete at most `most` rows of each class that are older than its days; how many of each.

    As many as `most` of a class: there may be more of them.
    """
    deleted = {}
    for name, statement in _PRUNE.items():
        if chosen[name]:
            before = {"before": now_s - chosen[name] * DAY_S, "most": most}
            deleted[name] = conn.execute(statement, before).rowcount
    return deleted


def prune_some(store: Store, now_s: int, chosen: dict[str, int], totals: Counter[str] | None = None) -> bool:
    """`prune` as a transaction behind all other work, counted in `totals`; whether there may be more to do."""
    deleted = store.write(prune, now_s, chosen, lane=READS).result()
    if totals is not None:
        totals.update(deleted)
    return max(deleted.values(), default=0) >= BATCH
