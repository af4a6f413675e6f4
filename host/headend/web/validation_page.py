"""The page of readings to review and meters to visit; and the visits as a file for whoever goes there."""

from typing import Annotated, Any

from msgspec import Meta
from sqlalchemy import Connection

from headend.validation import cases, visits
from headend.validation.words import PAGE as WORDS
from headend.web import validation
from headend.web import visits as visits_api
from headend.web.page import File, Page, PageQuery, View

MANY = 100


class ValidationPageQuery(PageQuery):
    """Which part."""

    after_case: Annotated[int, Meta(ge=0, le=2**53)] = 0
    after_visit: Annotated[int, Meta(ge=0, le=2**53)] = 0


def _read(conn: Connection, view: View[ValidationPageQuery]) -> dict[str, Any]:
    held = cases.listed(conn, view.areas, after=view.query.after_case, limit=MANY)
    silent = visits.listed(conn, view.areas, after=view.query.after_visit, limit=MANY)
    return {
        "cases": [validation.case_shown(row) for row in held],
        "visits": [visits_api.shown(row) for row in silent],
        "next_case": held[-1].id if len(held) == MANY else 0,
        "next_visit": silent[-1].id if len(silent) == MANY else 0,
        "file": FILE.path,
    }


PAGE = Page("/validation", ("Readings to review", "数据复核"), "validation.html", ValidationPageQuery, _read, WORDS)
FILE = File("/visits.csv", visits_api.file)
