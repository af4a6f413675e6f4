"""The page of the audit of configuration, and what stands as a file."""

from typing import Annotated, Any

from msgspec import Meta
from sqlalchemy import Connection

from headend.configuration import words as told
from headend.refusals import Refused
from headend.web import configuration
from headend.web.page import File, Page, PageQuery, View

MANY = 100


class ConfigurationPageQuery(PageQuery):
    """Which findings."""

    aspect: str = ""
    before: Annotated[int, Meta(ge=1, le=configuration.MAX_ID)] = configuration.MAX_ID


def _read(conn: Connection, view: View[ConfigurationPageQuery]) -> dict[str, Any]:
    query, areas = view.query, view.areas
    if query.aspect and query.aspect not in told.ASPECTS:
        raise Refused("aspect", query.aspect, f"one of {', '.join(told.ASPECTS)}")
    rows = configuration.listed(conn, areas, query.aspect, False, query.before, MANY)
    return {
        "summary": configuration.summary(conn, areas),
        "findings": [configuration.shown(row, view.now_s) for row in rows],
        "older": rows[-1].id if len(rows) == MANY else 0,
        "aspect": view.named(told.ASPECTS),
        "file": FILE.path,
    }


PAGE = Page(
    "/configuration", ("Configuration", "参数稽核"), "configuration.html", ConfigurationPageQuery, _read, told.PAGE
)
FILE = File("/configuration.csv", configuration.file)
