"""Read success as it is shown: days by area and carrier, put together as coarsely as somebody wants to see them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Integer, bindparam, func, select

from headend.access import areas
from headend.store.schema_collection import read_success

MAX_DAYS = 62
PPM = 1_000_000

_of = read_success.c
FIGURES = ("meters", "expected", "in_time", "late", "lost", "repeated", "whole", "whole_in_time")
_SUMS = [func.coalesce(func.sum(_of[name]), 0).label(name) for name in FIGURES]
_ROWS = (
    select(_of.day, _of.area, _of.carrier, *_SUMS)
    .where(_of.day >= bindparam("first", type_=Integer), _of.day <= bindparam("last", type_=Integer))
    .group_by(_of.day, _of.area, _of.carrier)
)


@dataclass(frozen=True)
class Figures:
    """Of one day, area ("" at level 0: all) and carrier ("": all)."""

    day: int
    area: str
    carrier: str
    meters: int
    expected: int
    in_time: int
    late: int
    lost: int
    repeated: int
    whole: int
    whole_in_time: int

    @property
    def in_time_ppm(self) -> int | None:
        """Of what was expected, so many in a million came in time; None where nothing was expected."""
        return min(PPM, self.in_time * PPM // self.expected) if self.expected else None

    @property
    def read_ppm(self) -> int | None:
        """Of what was expected, so many in a million are there now."""
        return min(PPM, (self.in_time + self.late) * PPM // self.expected) if self.expected else None


def of_days(
    conn: Connection, first: int, last: int, within: Sequence[str], level: int = 0, by_carrier: bool = False
) -> list[Figures]:
    """Days `first`..`last` of these areas, an area by `level` (0..6) parts of its path; newest day first."""
    sums: dict[tuple[int, str, str], list[int]] = {}
    rows = conn.execute(_ROWS.where(areas.within(_of.area, within)), {"first": first, "last": last})
    for day, area, carrier, *figures in rows:
        key = day, "/".join(area.split("/")[:level]), carrier if by_carrier else ""
        known = sums.setdefault(key, [0] * len(FIGURES))
        sums[key] = [before + int(more) for before, more in zip(known, figures, strict=True)]
    ordered = sorted(sums, key=lambda key: (-key[0], *key[1:]))
    return [Figures(*key, *sums[key]) for key in ordered]
