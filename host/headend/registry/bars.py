"""Whether a meter may be stopped for a reason now: the one question of all that may open its relay."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, and_, bindparam, func, or_, select

from headend.ledger.openings import notice
from headend.registry import rules, words
from headend.registry.kinds import DAY_S, EVIDENCE_S, KINDS, Kind
from headend.store.prepared import prepared
from headend.store.schema import meter
from headend.store.schema_registry import calendar, exclusion, exclusion_event
from meterlink.labels import Text
from meterlink.reasons import HOLD_SAFETY


@dataclass(frozen=True)
class Bar:
    """What forbids a stop. `rule` names it ("exclusion.vip", "evidence.site_notice", "calendar").

    `text` with `fields` is the sentence: `language.say(bar.text, language, **bar.fields)` · `exclusion_id`: where it is
    one · `until_s`: when it ends by itself, as far as is known; None: somebody has to end it.
    """

    rule: str
    text: Text
    fields: dict[str, Any] = field(default_factory=dict)
    exclusion_id: int | None = None
    until_s: int | None = None


_NOW = bindparam("now", type_=BigInteger)

# One statement: the meter's area, the calendar in force, and each exclusion that stands (none: one row with nulls).
_newest = select(func.max(calendar.c.version)).scalar_subquery()
STANDS = and_(
    exclusion.c.ended_s.is_(None),
    exclusion.c.since_s <= _NOW,
    or_(exclusion.c.until_s.is_(None), exclusion.c.until_s > _NOW),
    or_(exclusion.c.account_epoch.is_(None), exclusion.c.account_epoch == meter.c.account_epoch),
)
_STANDING = prepared(
    select(
        meter.c.area,
        calendar.c.version,
        calendar.c.time_zone,
        calendar.c.rules,
        exclusion.c.id,
        exclusion.c.kind,
        exclusion.c.since_s,
        exclusion.c.until_s,
        exclusion.c.reference,
    )
    .select_from(
        meter.outerjoin(exclusion, and_(exclusion.c.meter == meter.c.meter, STANDS)).outerjoin(
            calendar, calendar.c.version == _newest
        )
    )
    .where(meter.c.meter == bindparam("of"))
    .order_by(exclusion.c.id)
)
_EVIDENCE = (
    select(exclusion_event.c.evidence, exclusion_event.c.dated_s)
    .where(exclusion_event.c.exclusion == bindparam("of"), exclusion_event.c.dated_s.is_not(None))
    .where(exclusion_event.c.dated_s <= _NOW, exclusion_event.c.dated_s > bindparam("oldest", type_=BigInteger))
)


def bars(conn: Connection, now_s: int, meter_id: int, reason: int) -> list[Bar]:
    """All that forbids to set the hold `reason` on a meter now; of `HOLD_PROTECTION`, to end its protection.

    Empty: nothing does. A hold for safety is never forbidden. What the calendar forbids, and the notice of an import,
    come last. A meter that is not
    in the fleet is not barred: whoever states an order has locked its row.
    """
    if reason == HOLD_SAFETY:
        return []
    rows: Sequence[Any] = _STANDING(conn, {"of": meter_id, "now": now_s}).all()
    found = [bar for row in rows if row.id is not None for bar in _of_exclusion(conn, now_s, row, reason)]
    if rows and rows[0].version is not None:
        first = rows[0]
        over = rules.decode(first.rules).barred(rules.zone(first.time_zone), now_s, first.area, reason)
        if over is not None:
            rule, until_s = over
            named = {"name_en": rule.name_en, "name_zh": rule.name_zh}
            told = {**named, "until": _utc(until_s), "version": first.version}
            found.append(Bar("calendar", words.CALENDAR, told, until_s=until_s))
    for wait in notice.standing(conn, now_s, meter_id, reason):
        told = {"since": _utc(wait.since_s or now_s), "until": _utc(wait.until_s or now_s)}
        found.append(Bar(wait.rule, wait.text, told, until_s=wait.until_s))
    return found


def _of_exclusion(conn: Connection, now_s: int, row: Row[Any], reason: int) -> Iterator[Bar]:
    kind = KINDS[row.kind]
    if not kind.forbids(reason):
        return
    if kind.passes_with:
        yield from _lacking(conn, now_s, row, kind)
        return
    told = {"exclusion": row.id, "since": _utc(row.since_s), "reference": row.reference}
    yield Bar(f"exclusion.{row.kind}", words.BARRED[row.kind], told, row.id, row.until_s)


def _lacking(conn: Connection, now_s: int, row: Row[Any], kind: Kind) -> Iterator[Bar]:
    """The evidence that a stop still needs."""
    known = conn.execute(_EVIDENCE, {"of": row.id, "now": now_s, "oldest": now_s - EVIDENCE_S}).all()
    for evidence, age_s in kind.passes_with:
        if not any(one.evidence == evidence and one.dated_s + age_s <= now_s for one in known):
            told = {"exclusion": row.id, "days": age_s // DAY_S, "valid_days": EVIDENCE_S // DAY_S}
            yield Bar(f"evidence.{evidence}", words.MISSING[evidence], told, row.id, row.until_s)


def _utc(unix_s: int | None) -> str:
    return "?" if unix_s is None else datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%MZ")
