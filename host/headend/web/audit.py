"""Who did what: the audit, for whoever may read it. Reading it is recorded too."""

import json
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row, select

from headend import audit
from headend.access.permissions import AUDIT
from headend.language import LANGUAGES
from headend.store.schema_audit import audit as table
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.wire import Moment

MAX_PAGE = 200

audit.ACTIONS.update({"audit.read": ("read the audit", "查阅审计")})


class Act(msgspec.Struct):
    """One act. Persons appear by pseudonym; what they are called stands elsewhere, under a key of their own."""

    id: int
    at: Moment
    actor: str
    action: str
    title: Annotated[dict[str, str], Meta(description="In words, by language (`en`, `zh`).")]
    subject: str
    detail: dict[str, int | str | None]


class ActPage(msgspec.Struct):
    """Acts, the newest first."""

    acts: list[Act]
    next_before: Annotated[int | None, Meta(description="`before` of the next page; null on the last one.")]


class ActsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which acts."""

    before: Annotated[int, Meta(ge=1, le=2**62, description="Only acts with a lower id.")] = 2**62
    actor: Annotated[str, Meta(max_length=80, description="Of this actor alone, such as user:li.wei.")] = ""
    subject: Annotated[str, Meta(max_length=120, description="On this subject alone, such as order:17.")] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


async def list_audit(call: Call[Nothing, ActsQuery]) -> Answer:
    """Who did what, the newest first. That it was read is an act as well."""
    rows = await call.desk.write(_read, call.desk.clock.now_s(), call.caller.actor, call.query)
    more = rows[-1].id if len(rows) == call.query.limit else None
    return Answer(200, ActPage([_act(row) for row in rows], more))


def _read(conn: Connection, now_s: int, actor: str, query: ActsQuery) -> list[Row[Any]]:
    chosen = select(table).where(table.c.id < query.before).order_by(table.c.id.desc()).limit(query.limit)
    if query.actor:
        chosen = chosen.where(table.c.actor == query.actor)
    if query.subject:
        chosen = chosen.where(table.c.subject == query.subject)
    found = list(conn.execute(chosen))
    audit.record(conn, now_s, actor, "audit.read", "audit", {"actor": query.actor, "subject": query.subject})
    return found


def _act(row: Row[Any]) -> Act:
    title = audit.ACTIONS.get(row.action, (row.action, row.action))
    words = dict(zip(LANGUAGES, title, strict=True))
    return Act(row.id, wire.moment(row.at_s), row.actor, row.action, words, row.subject, json.loads(row.detail))


OPERATIONS = (
    Operation("GET", "/audit", list_audit, scope=AUDIT, answers={200: ActPage}, body=Nothing, query=ActsQuery),
)
