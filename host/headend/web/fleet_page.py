"""The page of the fleet: the grid as a tree with counts, what stands below a transformer, and a box that finds."""

from typing import Annotated, Any

from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access import areas
from headend.fleet import grid, points, search, tree
from headend.fleet import words as fleet_words
from headend.language import CHINESE
from headend.web.page import Page, PageQuery, View

MANY = 200  # supply points on a page


class FleetPageQuery(PageQuery):
    """Which part of the grid, or what is sought."""

    below: Annotated[int, Meta(ge=0, le=10**15)] = 0
    after: Annotated[str, Meta(max_length=40)] = ""
    q: Annotated[str, Meta(max_length=search.MAX_TEXT)] = ""


def _read(conn: Connection, view: View[FleetPageQuery]) -> dict[str, Any]:
    query, within = view.query, view.areas
    chain = grid.chain(conn, query.below) if query.below else []
    if chain and not areas.narrowed(within, chain[-1].path):
        raise grid.UnknownNode(query.below)
    found = search.find(conn, query.q, within) if query.q.strip() else None
    transformer = bool(chain) and chain[-1].kind == grid.TRANSFORMER
    whole, branches = (
        (tree.Counts(), []) if found else tree.read(conn, query.below or None, tree.yesterday(conn, view.now_s), within)
    )
    listed = points.page(conn, query.after, MANY, within, chain[-1].id) if transformer and not found else []
    return {
        "chain": chain,
        "found": found,
        "counts": whole,
        "branches": branches,
        "points": listed,
        "next_after": listed[-1].code if len(listed) == MANY else "",
        "moving": grid.moving(conn),
        "title_of": lambda node: _title(node, view.language),
        "kind_of": view.named(fleet_words.KINDS),
        "state_of": view.named(fleet_words.STATES),
        "by": view.named(fleet_words.IDENTITIES),
    }


def _title(node: Row[Any], language: str) -> str:
    own = node.title_zh if language == CHINESE else node.title_en
    return str(own or node.title_en or node.title_zh or node.code)


PAGE = Page("/fleet", ("Fleet", "设备档案"), "fleet.html", FleetPageQuery, _read, fleet_words.PAGE, forms=True)
