"""The page of collection: how much of each day was read in time, drawn and told, and the lines that answer worst."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta
from sqlalchemy import Connection

from headend.access.areas import covered
from headend.access.caller import Caller
from headend.collection import pauses, table
from headend.collection.table import Figures
from headend.collection.words import PAGE as WORDS
from headend.ledger import zone
from headend.web import collection
from headend.web.page import Page, PageQuery, View

DAYS = 14
AREA_LEVEL = 2
WORST = 20
MANY = 200
PPM_OF_PERCENT = 10_000


class CollectionPageQuery(PageQuery):
    """How the days are put together."""

    by: Literal["day", "area", "carrier"] = "day"
    days: Annotated[int, Meta(ge=1, le=table.MAX_DAYS)] = DAYS


@dataclass(frozen=True)
class Bar:
    """A row: its figures, and how wide its parts are drawn, in tenths of a percent of what was expected."""

    day: str
    figures: Figures
    in_time: int
    late: int
    percent: str
    missing: int


def _read(conn: Connection, view: View[CollectionPageQuery]) -> dict[str, Any]:
    query, areas = view.query, view.areas
    today = zone.day_of(zone.of(conn), view.now_s)
    level = AREA_LEVEL if query.by == "area" else 0
    first = today - query.days + 1
    days = table.of_days(conn, first, today, areas, level, by_carrier=query.by == "carrier")
    return {
        "bars": [_bar(one) for one in days][:MANY],
        "lines": _worst(conn, view.now_s, view.caller),
        "pauses": [row for row in pauses.coming(conn, view.now_s) if covered(areas, row.area)],
    }


def _bar(one: Figures) -> Bar:
    in_time, read = one.in_time_ppm or 0, one.read_ppm or 0
    percent = "–" if one.in_time_ppm is None else f"{in_time // PPM_OF_PERCENT}.{in_time % PPM_OF_PERCENT // 100:02d} %"
    missing = max(0, one.expected - one.in_time - one.late - one.lost)
    return Bar(zone.day_text(one.day), one, in_time // 1000, (read - in_time) // 1000, percent, missing)


def _worst(conn: Connection, now_s: int, caller: Caller) -> list[collection.LineShown]:
    """Lines of today (UTC) by the share of what was asked and not answered."""
    found = collection.lines_shown(conn, now_s, caller.areas, collection.LinesQuery())
    bad = [one for one in found if one.counts["sent"]]
    return sorted(bad, key=lambda one: (one.counts["answered"] * 1_000_000 // one.counts["sent"], one.link))[:WORST]


PAGE = Page("/collection", ("Collection", "采集"), "collection.html", CollectionPageQuery, _read, WORDS)
