"""Looking for meters in each other's place: each placement once, when three weeks of it are known.

It is held against those of the same substation that began within three days: fitters mix up what they carry on one
round. Evidence is gathered from what is stored (`swaps` judges it); what is beyond doubt becomes a finding on both.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, bindparam, func, select, update

from headend.epochs import findings
from headend.fleet import swaps, words
from headend.fleet.swaps import Evidence
from headend.reads import series
from headend.store import READS, Store
from headend.store.schema import meter, meter_event
from headend.store.schema_fleet import placement, supply_point
from meterlink import topics
from meterlink.events import POWER_DOWN

DAY_S = 86_400
KNOWN_S = 21 * DAY_S  # of a placement, before it is looked at
BEFORE_S = 28 * DAY_S
ROUND_S = 3 * DAY_S  # within which placements are compared
OTHERS = 30  # that a placement is held against, those that began nearest
AT_A_TIME = 5
MOST_BELOW = 60  # customers of a transformer whose balance is looked at
NEIGHBOURS = 20  # of a transformer, whose outages tell its own
SHARE = 2  # at least one in so many of them

_open = placement.c.until_s.is_(None), placement.c.supply_point.is_not(None)
_PLACED = (
    select(placement, meter.c.area, supply_point.c.transformer)
    .join(meter, meter.c.meter == placement.c.meter)
    .join(supply_point, supply_point.c.code == placement.c.supply_point)
    .where(*_open)
)
_DUE = (
    _PLACED.where(placement.c.compared_s.is_(None), placement.c.since_s <= bindparam("until"))
    .order_by(placement.c.since_s)
    .limit(AT_A_TIME)
)
_OTHERS = _PLACED.where(
    placement.c.since_s.between(bindparam("first"), bindparam("last")), placement.c.id != bindparam("own")
).order_by(func.abs(placement.c.since_s - bindparam("at", type_=BigInteger)), placement.c.id)
_BEFORE = (
    select(placement)
    .where(placement.c.supply_point == bindparam("at"), placement.c.until_s <= bindparam("until"))
    .order_by(placement.c.until_s.desc())
    .limit(1)
)
_BELOW = (
    select(placement.c.meter)
    .join(supply_point, supply_point.c.code == placement.c.supply_point)
    .where(supply_point.c.transformer == bindparam("at"), *_open)
    .order_by(placement.c.meter)
    .limit(MOST_BELOW + 1)
)
_NEIGHBOURS = _BELOW.where(placement.c.meter != bindparam("own")).limit(NEIGHBOURS)
_SUMS = select(placement.c.meter).where(placement.c.node == bindparam("at"), placement.c.until_s.is_(None))
_LOST = (
    select(meter_event.c.time_s)
    .where(meter_event.c.meter == bindparam("of"), meter_event.c.code == POWER_DOWN)
    .where(meter_event.c.time_s.between(bindparam("first"), bindparam("last")))
    .order_by(meter_event.c.time_s)
)
_DONE = update(placement).where(placement.c.id == bindparam("which"))


def follow(store: Store, now_s: int) -> bool:
    """Look at some placements; True where there are more."""
    due = store.read(lambda conn: conn.execute(_DUE, {"until": now_s - KNOWN_S}).all())
    if not due:
        return False
    found = store.read(compare, due)
    store.write(_note, now_s, due, found, lane=READS).result()
    return len(due) == AT_A_TIME


def compare(conn: Connection, due: Sequence[Row[Any]]) -> list[tuple[int, int, swaps.Score]]:
    """The pairs (meter, meter) that stand in each other's place, with what speaks for it."""
    gathered: dict[int, Evidence] = {}
    found = []
    for row in due:
        for other in _others(conn, row):
            one, twin = (_evidence(conn, each, gathered) for each in (row, other))
            judged = swaps.score(one, twin)
            if judged.swapped:
                found.append((row.meter, other.meter, judged))
    return found


def _others(conn: Connection, row: Row[Any]) -> list[Row[Any]]:
    near = {"first": row.since_s - ROUND_S, "last": row.since_s + ROUND_S, "own": row.id, "at": row.since_s}
    substation = row.area.split("/")[0] + "/"
    here = func.substr(meter.c.area, 1, len(substation)) == substation
    return list(conn.execute(_OTHERS.where(here).limit(OTHERS), near).all())


def _evidence(conn: Connection, row: Row[Any], gathered: dict[int, Evidence]) -> Evidence:
    if row.id in gathered:
        return gathered[row.id]
    from_s, to_s = row.since_s, row.since_s + KNOWN_S
    readings = series.between(conn, row.meter, from_s, to_s)
    before = conn.execute(_BEFORE, {"at": row.supply_point, "until": from_s}).one_or_none()
    first = readings[0] if readings and readings[0].start_s < from_s + DAY_S else None
    gathered[row.id] = made = Evidence(
        meter=row.meter,
        transformer=row.area,
        stated_wh=row.start_import_wh,
        shown_wh=None if first is None else first.import_reg_wh - first.import_wh,
        before_wh=() if before is None else _before(conn, before),
        since_wh=list(_daily(readings).values()),
        lost_s=_lost(conn, row.meter, from_s, to_s),
        outages_s=_outages(conn, row, from_s, to_s),
        from_s=from_s,
        to_s=to_s,
        daily_wh=_daily(readings),
        balance_wh=_balance(conn, row, from_s, to_s),
    )
    return made


def _before(conn: Connection, row: Row[Any]) -> list[int]:
    """Days of consumption of the meter that stood there before."""
    from_s = max(row.since_s, row.until_s - BEFORE_S)
    return list(_daily(series.between(conn, row.meter, from_s, row.until_s)).values())


def _balance(conn: Connection, row: Row[Any], from_s: int, to_s: int) -> dict[int, int]:
    """What the transformer's own meters show beyond the sum of those below, by day; of a small transformer alone."""
    sums = conn.execute(_SUMS, {"at": row.transformer}).scalars().all()
    below = conn.execute(_BELOW, {"at": row.transformer}).scalars().all()
    if not sums or len(below) > MOST_BELOW:
        return {}
    own = [_daily(series.between(conn, number, from_s, to_s)) for number in sums]
    customers = [_daily(series.between(conn, number, from_s, to_s)) for number in below]
    whole = set.intersection(*(set(days) for days in own + customers))
    return {day: sum(one[day] for one in own) - sum(one[day] for one in customers) for day in sorted(whole)}


def _daily(readings: Sequence[series.Reading]) -> dict[int, int]:
    """Energy of the days that are whole, as far as records tell: those with at least nine tenths of a day."""
    energy_wh: Counter[int] = Counter()
    minutes: Counter[int] = Counter()
    for one in readings:
        energy_wh[one.start_s // DAY_S] += one.import_wh
        minutes[one.start_s // DAY_S] += one.minutes
    return {day: energy_wh[day] for day in sorted(minutes) if minutes[day] >= 1_296}


def _lost(conn: Connection, number: int, from_s: int, to_s: int) -> list[int]:
    return list(conn.execute(_LOST, {"of": number, "first": from_s, "last": to_s}).scalars().all())


def _outages(conn: Connection, row: Row[Any], from_s: int, to_s: int) -> list[int]:
    """When at least half of its neighbours lost power together: then the transformer did."""
    others = conn.execute(_NEIGHBOURS, {"at": row.transformer, "own": row.meter}).scalars().all()
    times_s = sorted((at_s, number) for number in others for at_s in _lost(conn, number, from_s, to_s))
    found: list[int] = []
    for at_s, _ in times_s:
        together = {number for other_s, number in times_s if 0 <= other_s - at_s <= swaps.SAME_OUTAGE_S}
        apart = not found or at_s > found[-1] + swaps.SAME_OUTAGE_S
        if apart and len(together) >= 2 and SHARE * len(together) >= len(others):
            found.append(at_s)
    return found


def _note(conn: Connection, now_s: int, due: Sequence[Row[Any]], found: Sequence[tuple[int, int, swaps.Score]]) -> None:
    for one, other, judged in found:
        reasons = ", ".join(words.REASONS[reason][0] for reason in judged.reasons)
        for mine, theirs in ((one, other), (other, one)):
            text = words.SWAPPED[0].format(other=topics.meter_name(theirs), reasons=reasons)
            findings.note(conn, now_s, mine, findings.SWAPPED, text)
    for row in due:
        conn.execute(_DONE, {"which": row.id, "compared_s": now_s})
