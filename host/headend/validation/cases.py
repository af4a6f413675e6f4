"""What is held for review before billing: one case for a meter, a day and a rule.

A case is decided by a person, with a reason: accepted, the reading stands as it was measured; rejected, an estimate
stands in for it. What later readings clear up is over by itself. A decision counts for what was found: where another
judgement finds other periods or figures, the case is opened again.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, Row, bindparam, insert, select, update

from headend import audit
from headend.access import areas
from headend.access.areas import EVERYWHERE
from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema import meter
from headend.store.schema_quality import quality_case
from headend.validation import words
from headend.validation.rules import HOLD, RULES, Finding
from headend.validation.rules.kinds import NOTHING, REGISTER
from headend.validation.words import ACCEPTED, GONE, OPEN, REJECTED

MAX_REASON = 200

areas.OF["case"] = (
    select(meter.c.area)
    .join(quality_case, quality_case.c.meter == meter.c.meter)
    .where(quality_case.c.id == bindparam("id"))
)


class UnknownCase(Refused):
    """No case has this id."""

    def __init__(self, case: object) -> None:
        super().__init__("case", case, "the id of a case")


_case = quality_case.c
_MINE = _case.meter == bindparam("of"), _case.standing == 1
_STANDING = prepared(select(quality_case).where(*_MINE, _case.day == bindparam("on")))
_OF_DAYS = prepared(
    select(_case.day, _case.rule, _case.state, _case.starts).where(
        *_MINE, _case.day >= bindparam("first"), _case.day <= bindparam("last")
    )
)
_OPEN = insert(quality_case)
_OVER = update(quality_case).where(_case.id == bindparam("of")).values(standing=None)
_GONE = _OVER.values(state=GONE, ended_s=bindparam("at", type_=BigInteger))
_ONE = select(quality_case).where(_case.id == bindparam("of"))
_DECIDE = update(quality_case).where(_case.id == bindparam("of"))
_LISTED = (
    select(quality_case, meter.c.area, meter.c.label)
    .join(meter, meter.c.meter == _case.meter)
    .where(_case.id > bindparam("after"))
    .order_by(_case.id)
    .limit(bindparam("most", type_=Integer))
)


def follow(conn: Connection, now_s: int, number: int, day: int, findings: Iterable[Finding]) -> None:
    """Open and end the cases of a day as its newest verdict has it; the meter's verdicts are locked."""
    held = {one.rule: one for one in findings if one.severity == HOLD}
    for row in _STANDING(conn, {"of": number, "on": day}):
        found = held.get(row.rule)
        if found is not None and (row.starts, row.value, row.expected) == _evidence(found):
            del held[row.rule]
        else:
            conn.execute(
                _GONE if row.state == OPEN else _OVER, {"of": row.id, **({"at": now_s} if row.state == OPEN else {})}
            )
    for one in held.values():
        starts, value, expected = _evidence(one)
        row = {"meter": number, "day": day, "rule": one.rule, "starts": starts, "value": value, "expected": expected}
        conn.execute(_OPEN, {**row, "state": OPEN, "standing": 1, "opened_s": now_s})


def _evidence(found: Finding) -> tuple[str, int, int]:
    return json.dumps(list(found.starts), separators=(",", ":")), found.value, found.expected


def rejected(conn: Connection, number: int, first: int, last: int) -> dict[int, bool]:
    """Start of a period whose reading a person rejected -> whether the registers are doubted as well."""
    found: dict[int, bool] = {}
    for row in _OF_DAYS(conn, {"of": number, "first": first, "last": last}):
        doubts = RULES[row.rule].doubts
        if row.state == REJECTED and doubts != NOTHING:
            for start in json.loads(row.starts):
                found[start] = found.get(start, False) or doubts == REGISTER
    return found


def held(conn: Connection, number: int, first: int, last: int) -> frozenset[int]:
    """Periods of these days that wait for review, by their start."""
    rows = _OF_DAYS(conn, {"of": number, "first": first, "last": last})
    return frozenset(start for row in rows if row.state == OPEN for start in json.loads(row.starts))


def doubted(conn: Connection, number: int, first: int, last: int) -> frozenset[int]:
    """Days that wait for review or of which something was rejected: nothing is learned from them."""
    rows = _OF_DAYS(conn, {"of": number, "first": first, "last": last})
    return frozenset(row.day for row in rows if row.state in (OPEN, REJECTED))


def get(conn: Connection, case: int) -> Row[Any]:
    """The `quality_case` row; raises UnknownCase."""
    row: Row[Any] | None = conn.execute(_ONE, {"of": case}).one_or_none()
    if row is None:
        raise UnknownCase(case)
    return row


def decide(conn: Connection, now_s: int, case: int, state: str, actor: str, reason: str) -> Row[Any]:
    """Accept or reject what is open, with a reason; returns the row as it was. The meter's verdicts are locked.

    Raises UnknownCase, Refused.
    """
    row = get(conn, case)
    if not 1 <= len(reason) <= MAX_REASON or not reason.isprintable():
        raise Refused("reason", reason, f"1..{MAX_REASON} printable characters")
    if row.state != OPEN:
        raise Refused("case", case, f"one that is open; this one is {row.state}")
    if state == REJECTED and RULES[row.rule].doubts == NOTHING:
        raise Refused("case", case, f"one whose readings can be replaced; {row.rule} names no wrong reading")
    conn.execute(_DECIDE, {"of": case, "state": state, "ended_s": now_s, "actor": actor[:80], "reason": reason})
    action = {ACCEPTED: words.ACCEPTED_CASE, REJECTED: words.REJECTED_CASE}[state]
    detail = {"rule": row.rule, "day": row.day, "reason": reason}
    audit.record(conn, now_s, actor, action, f"meter:{row.meter}", detail)
    return row


def listed(
    conn: Connection,
    within: Sequence[str] = (EVERYWHERE,),
    *,
    state: str | None = OPEN,
    rule: str | None = None,
    number: int | None = None,
    after: int = 0,
    limit: int = 50,
) -> list[Row[Any]]:
    """Cases by rising id, with the area and label of the meter. `state`, `rule`: None: all."""
    query = _LISTED.where(areas.within(meter.c.area, within))
    for column, value in ((_case.state, state), (_case.rule, rule), (_case.meter, number)):
        if value is not None:
            query = query.where(column == value)
    return list(conn.execute(query, {"after": after, "most": limit}))
