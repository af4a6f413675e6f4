"""The page of campaigns: all of them with how far they are, or one by group and feeder, counted now."""

from typing import Annotated, Any

from msgspec import Meta
from sqlalchemy import Connection

from headend.access.areas import covered
from headend.campaigns import lifecycle, progress
from headend.campaigns import words as told
from headend.campaigns.progress import Counts
from headend.web.campaign_views import brief, page_of, whole
from headend.web.campaigns import MAX_ID
from headend.web.page import Page, PageQuery, View

MANY = 50
_AT_REST = lifecycle.DONE, lifecycle.DROPPED, lifecycle.RECALLED  # nothing is under way


class CampaignsPageQuery(PageQuery):
    """Which campaign."""

    campaign: Annotated[int, Meta(ge=0, le=MAX_ID)] = 0
    before: Annotated[int, Meta(ge=1, le=MAX_ID)] = MAX_ID


def _read(conn: Connection, view: View[CampaignsPageQuery]) -> dict[str, Any]:
    query, one, rows = view.query, None, []
    if query.campaign:
        one = whole(conn, view.now_s, query.campaign)
        if not covered(view.areas, one.area):
            raise lifecycle.UnknownCampaign(query.campaign)
    else:
        rows = page_of(conn, view.areas, None, query.before, MANY)
    return {
        "one": one,
        "campaigns": [brief(row) for row in rows],
        "older": rows[-1].id if len(rows) == MANY else 0,
        "bar": _bar,
        "total": progress.added,
        "kind": view.named(told.KINDS),
        "stands": view.named(progress.STANDS),
        "verdict": view.named(told.VERDICTS),
        "event": view.named(lifecycle.EVENTS),
        "order": tuple(progress.STANDS),
        **({"refresh_s": 0, "renews": False} if one is not None and one.state in _AT_REST else {}),
    }


def _bar(counts: Counts) -> tuple[int, int, int, int]:
    """(confirmed, failed or overdue, sent, all) of what is drawn as a bar."""
    everyone = sum(counts[code] for code in progress.STANDS)
    return counts["confirmed"], progress.failing(counts), progress.sent(counts), everyone


PAGE = Page(
    "/campaigns", ("Campaigns", "批量任务"), "campaigns.html", CampaignsPageQuery, _read, told.PAGE, refresh_s=5
)
