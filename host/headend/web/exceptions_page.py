"""The page of exceptions: over the whole fleet, what wants a person; first what waits for a second one."""

from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta
from sqlalchemy import Connection, Integer, Row, bindparam, select

from headend import language as texts
from headend.access.areas import covered
from headend.access.permissions import BOOKS
from headend.gate import freeze, proposals
from headend.gate import words as gate_words
from headend.refusals import Refused
from headend.store.schema_gate import proposal
from headend.web import board, exceptions, exceptions_channels, words
from headend.web.exceptions import Found
from headend.web.page import Page, PageQuery, View, plain_utc
from headend.web.words import CONCERNS

FEW = 10  # of each kind, where all are shown
FEW_PROPOSALS = 50
MANY = 100  # of the one that was chosen

_WAITING = (
    select(proposal)
    .where(proposal.c.state == proposals.OPEN)
    .order_by(proposal.c.expires_s, proposal.c.id)
    .limit(bindparam("at_most", type_=Integer))
)


class ExceptionsPageQuery(PageQuery):
    """Which exceptions."""

    kind: str = ""
    after: Annotated[int, Meta(ge=0, le=10**15)] = 0


@dataclass(frozen=True)
class Group:
    """Exceptions of one kind."""

    kind: str
    title: str
    found: tuple[Found, ...]
    next_after: int | None


def _read(conn: Connection, view: View[ExceptionsPageQuery]) -> dict[str, Any]:
    kind, language, areas = view.query.kind, view.language, view.areas
    if kind and kind not in exceptions.CANDIDATES:
        raise Refused("kind", kind, f"one of {', '.join(exceptions.kinds())}")
    books = view.caller.may(BOOKS)  # what channels owe is for whoever keeps the books
    return {
        "frozen": _frozen(conn, language),
        "proposals": _proposals(conn, language, areas) if not kind else [],
        "channels": exceptions_channels.standing(conn, language, areas) if books and not kind else [],
        "groups": _groups(conn, view),
        "tone": board.tone,
    }


def _frozen(conn: Connection, language: str) -> str:
    """That everything which may open a relay is held, and by whom; "" where it is not."""
    row = freeze.standing(conn)
    if row is None:
        return ""
    told = {"since": f"{plain_utc(row.set_s)} UTC", "actor": row.set_by, "why": row.why, "freeze": row.id}
    return texts.say(gate_words.NO[gate_words.FROZEN], language, **told)


def _proposals(conn: Connection, language: str, areas: tuple[str, ...]) -> list[tuple[Row[Any], str]]:
    """What waits for a second person where the reader may look, with what it is."""
    waiting = conn.execute(_WAITING, {"at_most": FEW_PROPOSALS}).all()
    return [(row, proposals.sentence(row, language)) for row in waiting if covered(areas, row.area)]


def _groups(conn: Connection, view: View[ExceptionsPageQuery]) -> list[Group]:
    query, every_s = view.query, view.desk.report_every_s
    kinds, limit = ((query.kind,), MANY) if query.kind else (tuple(exceptions.kinds()), FEW)
    groups = []
    for kind in kinds:
        found = exceptions.of_kind(conn, view.now_s, kind, every_s, areas=view.areas, after=query.after, limit=limit)
        if found.found:
            groups.append(Group(kind, texts.say(CONCERNS[kind][0], view.language), found.found, found.next_after))
    return groups


PAGE = Page(
    "/exceptions", ("Exceptions", "异常"), "exceptions.html", ExceptionsPageQuery, _read, words.PAGE, refresh_s=30
)
