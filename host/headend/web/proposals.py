"""Proposals, and who decides on them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row, func, select

from headend.access.areas import within
from headend.access.permissions import APPROVE, ORDERS, READ
from headend.gate import proposals, recall, tickets
from headend.language import LANGUAGES
from headend.refusals import Refused
from headend.store.schema import meter
from headend.store.schema_gate import proposal, proposal_item
from headend.web import bodies_json, tariff_json, wire
from headend.web.bodies_json import LimitsBody, Seconds
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.orders import Note, Reason, text_of
from headend.web.tariff_json import TariffBody
from headend.web.wire import MeterNumber, Moment
from meterlink import names

MAX_ID = 2**53
MAX_PAGE = 200
MAX_LISTED = 700  # meters of one request

State = Literal[
    "preparing", "open", "approved", "done", "refused", "withdrawn", "expired", "void", "recalling", "recalled"
]
ItemState = Literal["waiting", "queued", "dropped", "released"]
Why = Annotated[str, Meta(min_length=1, max_length=200, description="Why, in words, for the record.")]
Said = Annotated[dict[str, str], Meta(description="By language.")]


class ListRequest(msgspec.Struct, forbid_unknown_fields=True):
    """One order for many meters, for a second person to approve."""

    kind: Annotated[
        Literal["stop", "unprotect", "tariff", "limits"],
        Meta(description="`stop` wants `reason`, `tariff` a tariff, `limits` limits."),
    ]
    meters: Annotated[list[MeterNumber], Meta(min_length=1, max_length=MAX_LISTED)]
    why: Why
    reason: Reason | None = None
    delay_s: Seconds | None = None
    tariff: TariffBody | None = None
    limits: LimitsBody | None = None
    lasts_s: Annotated[
        Annotated[int, Meta(ge=60, le=60 * 86_400)] | None,
        Meta(description="By when it is decided and carried out; null: by policy."),
    ] = None


class ProposalNoteRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody says to a proposal."""

    note: Note = ""


class ProposalWhyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A reason, for the record."""

    why: Why


class ProposalBrief(msgspec.Struct):
    """A proposal in a list."""

    proposal: int
    kind: Annotated[str, Meta(description="What is proposed: order, stop, tariff, refund, gate_policy …")]
    says: Said
    state: State
    area: Annotated[str, Meta(description="The narrowest area that all of it lies in.")]
    author: str
    why: str
    proposed: Moment
    expires: Moment
    approver: Annotated[str | None, Meta(description="Who approved or refused it.")]
    decided: Moment | None
    note: str


class ProposalState(ProposalBrief):
    """A proposal with all that an approval binds."""

    digest: Annotated[str, Meta(description="What an approval names, as `If-Match`: SHA-256, hexadecimal.")]
    policy: Annotated[int, Meta(description="The version of the gate's policy that it was proposed under.")]
    payload: Annotated[str, Meta(description="What exactly is proposed: canonical JSON.")]
    items: Annotated[dict[str, int], Meta(description="Of a list: how many meters stand how.")]
    ticket: Annotated[Said, Meta(description="Of a list of stops: its operation ticket.")]


class ProposalPage(msgspec.Struct):
    """Proposals, newest first."""

    proposals: list[ProposalBrief]
    next_before: Annotated[int | None, Meta(description="`before` of the next page; null on the last one.")]


class ProposalsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which proposals."""

    state: State | None = None
    before: Annotated[int, Meta(ge=1, le=MAX_ID)] = MAX_ID
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class ListedMeter(msgspec.Struct):
    """A meter of a list."""

    meter: MeterNumber
    state: ItemState
    order: int | None
    given_back_by: Annotated[int | None, Meta(description="Of a recall: the order that gives back.")]
    note: str


class ListedMeters(msgspec.Struct):
    """Meters of a list, by number."""

    items: list[ListedMeter]
    next_after: Annotated[MeterNumber | None, Meta(description="`after` of the next page; null on the last one.")]


class ListedQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which meters of a list."""

    state: ItemState | None = None
    after: MeterNumber = "0"
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


# --- proposals --------------------------------------------------------------------------------------------------------


async def list_proposals(call: Call[Nothing, ProposalsQuery]) -> Answer:
    """Proposals, newest first."""
    query = call.query
    rows = await call.desk.read(_page, call.caller.areas, query)
    more = rows[-1].id if len(rows) == query.limit else None
    return Answer(200, ProposalPage([brief(row) for row in rows], more))


async def post_proposal(call: Call[ListRequest, Nothing]) -> Answer:
    """Propose one order for many meters.

    Nothing is sent before a second person approves it. Then the meters come to their turn as budgets allow, and each is
    asked everything again when its order is sent.
    """
    body, desk = call.body, call.desk
    payload: dict[str, Any] = {"meters": sorted({wire.read_meter(one, "meters") for one in body.meters})}
    given = {"stop": body.reason, "tariff": body.tariff, "limits": body.limits}
    for kind, value in given.items():
        if (value is not None) != (kind == body.kind):
            raise Refused(kind if kind != "stop" else "reason", value, f"what goes with the kind {body.kind}")
    if body.reason is not None:
        payload["reason"] = names.code(names.HOLD, body.reason)
    if body.delay_s is not None:
        payload["delay_s"] = body.delay_s
    if body.tariff is not None:
        payload["body"] = tariff_json.read_tariff(body.tariff).encode().hex()
    if body.limits is not None:
        payload["body"] = bodies_json.read_limits(body.limits).encode().hex()
    now_s = desk.clock.now_s()
    expires_s = None if body.lasts_s is None else now_s + body.lasts_s
    return await desk.act(_propose, now_s, call, body.kind, payload, text_of(body.why), expires_s, answer=proposed)


async def get_proposal(call: Call[Nothing, Nothing]) -> Answer:
    """One proposal, with all that an approval binds."""
    return _shown(await call.desk.read(whole_state, _id(call)))


async def list_items(call: Call[Nothing, ListedQuery]) -> Answer:
    """The meters of a list, and what became of each."""
    query = call.query
    after = 0 if not query.after.strip("0") else wire.read_meter(query.after, "after")
    rows = await call.desk.read(_items, _id(call), query, after)
    more = wire.meter_name(rows[-1].meter) if len(rows) == query.limit else None
    items = [ListedMeter(wire.meter_name(one.meter), one.state, one.order_id, one.release_id, one.note) for one in rows]
    return Answer(200, ListedMeters(items, more))


async def approve_proposal(call: Call[ProposalNoteRequest, Nothing]) -> Answer:
    """Approve what somebody else proposed, and have it carried out.

    `If-Match` names what is approved: the proposal's `digest`. Refused to its author, to who made the author's account
    or was made by it, and to channels; and where the gate's policy has changed since.
    """
    return await _decide(call, _approve)


async def refuse_proposal(call: Call[ProposalWhyRequest, Nothing]) -> Answer:
    """Say no to a proposal."""
    return await _decide(call, _refuse)


async def withdraw_proposal(call: Call[ProposalNoteRequest, Nothing]) -> Answer:
    """Take back one's own proposal: all of it, or what of an approved list waits yet."""
    return await _decide(call, _withdraw)


async def recall_proposal(call: Call[ProposalNoteRequest, Nothing]) -> Answer:
    """Recall a list: what was wanted before it is wanted again.

    What was not sent is withdrawn at once. What was is released, spread over the meters of each feeder. It gives back,
    so nobody has to approve it.
    """
    return await _decide(call, _recall)


# --- within transactions ----------------------------------------------------------------------------------------------


def _propose(
    conn: Connection,
    now_s: int,
    call: Call[Any, Nothing],
    kind: str,
    payload: dict[str, Any],
    why: str,
    expires_s: int | None,
) -> ProposalState:
    listed = select(meter.c.meter, meter.c.area).where(meter.c.meter.in_(payload["meters"]))
    beyond = [row.meter for row in conn.execute(listed) if not call.caller.sees(row.area)]
    if beyond:
        raise Refused("meters", wire.meter_name(beyond[0]), "numbers of meters of this fleet")
    made = proposals.propose(conn, now_s, kind, payload, call.caller.actor, why, expires_s=expires_s)
    return whole_state(conn, made)


async def _decide(call: Call[Any, Nothing], how: Any) -> Answer:
    desk = call.desk
    answer = await desk.act(_decided, desk.clock.now_s(), call, how, _id(call), answer=_shown)
    desk.wake()
    return answer


def _decided(conn: Connection, now_s: int, call: Call[Any, Nothing], how: Any, proposal_id: int) -> ProposalState:
    how(conn, now_s, call, proposal_id)
    return whole_state(conn, proposal_id)


def _approve(conn: Connection, now_s: int, call: Call[ProposalNoteRequest, Nothing], proposal_id: int) -> None:
    row = proposals.get(conn, proposal_id)
    call.expect(_tag(row))
    call.caller.need(proposals.kind_of(row.kind).permission, row.area)
    proposals.approve(conn, now_s, proposal_id, row.digest, call.caller.actor)


def _refuse(conn: Connection, now_s: int, call: Call[ProposalWhyRequest, Nothing], proposal_id: int) -> None:
    row = proposals.get(conn, proposal_id)
    call.caller.need(proposals.kind_of(row.kind).permission, row.area)
    proposals.refuse(conn, now_s, proposal_id, call.caller.actor, text_of(call.body.why))


def _withdraw(conn: Connection, now_s: int, call: Call[ProposalNoteRequest, Nothing], proposal_id: int) -> None:
    proposals.withdraw(conn, now_s, proposal_id, call.caller.actor, text_of(call.body.note))


def _recall(conn: Connection, now_s: int, call: Call[ProposalNoteRequest, Nothing], proposal_id: int) -> None:
    recall.recall(conn, now_s, proposal_id, call.caller.actor)


def _page(conn: Connection, seen: tuple[str, ...], query: ProposalsQuery) -> list[Row[Any]]:
    some = select(proposal).where(proposal.c.id < query.before, within(proposal.c.area, seen))
    if query.state is not None:
        some = some.where(proposal.c.state == query.state)
    return list(conn.execute(some.order_by(proposal.c.id.desc()).limit(query.limit)).all())


def _items(conn: Connection, proposal_id: int, query: ListedQuery, after: int) -> list[Row[Any]]:
    proposals.get(conn, proposal_id)
    some = select(proposal_item).where(proposal_item.c.proposal == proposal_id, proposal_item.c.meter > after)
    if query.state is not None:
        some = some.where(proposal_item.c.state == query.state)
    return list(conn.execute(some.order_by(proposal_item.c.meter).limit(query.limit)).all())


def whole_state(conn: Connection, proposal_id: int) -> ProposalState:
    row = proposals.get(conn, proposal_id)
    standing = select(proposal_item.c.state, func.count().label("number")).group_by(proposal_item.c.state)
    items = {one.state: one.number for one in conn.execute(standing.where(proposal_item.c.proposal == proposal_id))}
    ticket = {language: tickets.ticket(row, language) for language in LANGUAGES} if row.kind == "stop" else {}
    return ProposalState(
        **_brief(row),
        digest=row.digest,
        policy=row.policy_version,
        payload=row.payload,
        items=items,
        ticket=ticket,
    )


def brief(row: Row[Any]) -> ProposalBrief:
    """What a list shows of a row of `proposal`."""
    return ProposalBrief(**_brief(row))


def _brief(row: Row[Any]) -> dict[str, Any]:
    return {
        "proposal": row.id,
        "kind": row.kind,
        "says": {language: proposals.sentence(row, language) for language in LANGUAGES},
        "state": row.state,
        "area": row.area,
        "author": row.author,
        "why": row.why,
        "proposed": wire.moment(row.proposed_s),
        "expires": wire.moment(row.expires_s),
        "approver": row.approver,
        "decided": wire.moment_or_none(row.decided_s),
        "note": row.note,
    }


def _tag(row: Row[Any]) -> str:
    return f'"{row.digest}"'


def proposed(state: ProposalState) -> Answer:
    """What answers a proposal that was just made."""
    return Answer(202, state, _headers(state))


def _shown(state: ProposalState) -> Answer:
    return Answer(200, state, _headers(state))


def _headers(state: ProposalState) -> dict[str, str]:
    return {"ETag": f'"{state.digest}"', "Location": f"/api/v1/proposals/{state.proposal}"}


def _id(call: Call[Any, Any]) -> int:
    return call.number("proposal", proposals.UnknownProposal)


_UNKNOWN = ("unknown_proposal",)
_DECIDED: dict[str, Any] = {"answers": {200: ProposalState}, "query": Nothing, "problems": _UNKNOWN}

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/proposals",
        list_proposals,
        scope=READ,
        answers={200: ProposalPage},
        body=Nothing,
        query=ProposalsQuery,
        by_area=True,
    ),
    Operation(
        "POST",
        "/proposals",
        post_proposal,
        scope=ORDERS,
        answers={202: ProposalState},
        body=ListRequest,
        query=Nothing,
        by_area=True,
        most_bytes=32_768,
    ),
    Operation(
        "GET",
        "/proposals/{proposal}",
        get_proposal,
        scope=READ,
        answers={200: ProposalState},
        body=Nothing,
        query=Nothing,
        problems=_UNKNOWN,
    ),
    Operation(
        "GET",
        "/proposals/{proposal}/items",
        list_items,
        scope=READ,
        answers={200: ListedMeters},
        body=Nothing,
        query=ListedQuery,
        problems=_UNKNOWN,
    ),
    Operation(
        "POST",
        "/proposals/{proposal}/approve",
        approve_proposal,
        scope=APPROVE,
        body=ProposalNoteRequest,
        edits=True,
        **_DECIDED,
    ),
    Operation(
        "POST", "/proposals/{proposal}/refuse", refuse_proposal, scope=APPROVE, body=ProposalWhyRequest, **_DECIDED
    ),
    Operation(
        "POST", "/proposals/{proposal}/withdraw", withdraw_proposal, scope=READ, body=ProposalNoteRequest, **_DECIDED
    ),
    Operation(
        "POST", "/proposals/{proposal}/recall", recall_proposal, scope=ORDERS, body=ProposalNoteRequest, **_DECIDED
    ),
)
