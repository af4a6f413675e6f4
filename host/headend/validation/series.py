"""A meter's readings as they can be used: measured, or estimated where they are missing or rejected; with flags."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import Connection

from headend.ledger import zone
from headend.reads import series
from headend.validation import cases, verdicts

MEASURED, ESTIMATED = "measured", "estimated"


class Value(NamedTuple):
    """What a period came to.

    `quality`: MEASURED or ESTIMATED · `flags`: of the record (`meterlink.records`), 0 of an estimate · `doubts`: the
    rules that name the period · `held`: it waits for review · `method`, `total`: how an estimate was made
    (`validation.estimating`), else "" · `version`: of the verdict on its day, 0 where nothing was found.
    """

    start_s: int
    length_s: int
    import_wh: int
    export_wh: int
    quality: str
    flags: int
    doubts: tuple[str, ...]
    held: bool
    method: str
    total: str
    version: int


def validated(conn: Connection, meter: int, from_s: int, to_s: int) -> list[Value]:
    """Periods that begin in `from_s`..`to_s` (the latter excluded), by start.

    A period that is neither measured nor estimated yet is not there. A reading that came after its day was judged takes
    the place of its estimate at once. Two readings of one period are both there: each is energy that flowed.
    """
    tz = zone.of(conn)
    first, last = zone.day_of(tz, from_s), zone.day_of(tz, max(to_s - 1, from_s))
    there = verdicts.standing(conn, meter, first, last)
    rejected = cases.rejected(conn, meter, first, last)
    held = cases.held(conn, meter, first, last)
    doubts = _doubts(there.values())

    def said(start_s: int) -> tuple[tuple[str, ...], bool]:
        return tuple(doubts.get(start_s, ())), start_s in held

    def version(start_s: int) -> int:
        row = there.get(zone.day_of(tz, start_s)) if there else None
        return 0 if row is None else int(row.version)

    found = []
    for one in series.between(conn, meter, from_s, to_s):
        if one.start_s not in rejected:
            what = one.start_s, one.minutes * 60, one.import_wh, one.export_wh, MEASURED, one.flags
            found.append(Value(*what, *said(one.start_s), "", "", version(one.start_s)))
    measured = {one.start_s for one in found}
    for row in there.values():
        for estimate in verdicts.read_estimates(row.estimates):
            start_s, length_s, into, out, method, total = estimate
            if from_s <= start_s < to_s and start_s not in measured:
                what = start_s, length_s, into, out, ESTIMATED, 0
                found.append(Value(*what, *said(start_s), method, total, row.version))
    return sorted(found)


def _doubts(days: Iterable[Any]) -> dict[int, list[str]]:
    """Start of a period -> the rules that name it, in the order of their table."""
    found: dict[int, list[str]] = {}
    for row in days:
        for one in verdicts.read_findings(row.findings):
            for start_s in one.starts:
                found.setdefault(start_s, []).append(one.rule)
    return found
