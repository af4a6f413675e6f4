"""Campaigns: many meters as one piece of work, from the dry run to the recall."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from headend.access.permissions import ORDERS, READ
from headend.campaigns import acts, lifecycle, making
from headend.web import wire
from headend.web.campaign_requests import MAX_BYTES, CampaignRequest, Given, Why, read_request
from headend.web.campaign_views import (
    CampaignBrief,
    CampaignMeter,
    CampaignState,
    State,
    Verdict,
    brief,
    meter_of,
    meters_of,
    page_of,
    whole,
)
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.orders import text_of
from headend.web.wire import MeterNumber

MAX_ID = 2**53
MAX_PAGE = 500


class ProposeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Until when it is decided and carried out."""

    lasts_s: Annotated[
        Annotated[int, Meta(ge=60, le=60 * 86_400)] | None, Meta(description="null: as the gate's policy says.")
    ] = None


class CampaignWhyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A reason, for the record."""

    why: Why


class CampaignPage(msgspec.Struct):
    """Campaigns, newest first."""

    campaigns: list[CampaignBrief]
    next_before: Annotated[int | None, Meta(description="`before` of the next page; null on the last one.")]


class CampaignsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which campaigns."""

    state: State | None = None
    before: Annotated[int, Meta(ge=1, le=MAX_ID)] = MAX_ID
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class CampaignMeters(msgspec.Struct):
    """Meters of a campaign, by number."""

    meters: list[CampaignMeter]
    next_after: Annotated[MeterNumber | None, Meta(description="`after` of the next page; null on the last one.")]


class CampaignMetersQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which of its meters."""

    verdict: Verdict | None = None
    sent: Annotated[bool | None, Meta(description="Those that an order was sent to, or the others.")] = None
    after: MeterNumber = "0"
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100


# --- operations -------------------------------------------------------------------------------------------------------


async def list_campaigns(call: Call[Nothing, CampaignsQuery]) -> Answer:
    """Campaigns, newest first."""
    query = call.query
    rows = await call.desk.read(page_of, call.caller.areas, query.state, query.before, query.limit)
    more = rows[-1].id if len(rows) == query.limit else None
    return Answer(200, CampaignPage([brief(row) for row in rows], more))


async def make_campaign(call: Call[CampaignRequest, Nothing]) -> Answer:
    """Ask for the dry run of a campaign.

    Each meter is looked at: who is in, who is as wanted already, who is excluded, by which rule and on what evidence.
    Nothing is stated; that takes a proposal, and a second person.
    """
    body, desk = call.body, call.desk
    return await desk.act(_make, desk.clock.now_s(), call, read_request(body), text_of(body.why), answer=_made)


async def get_campaign(call: Call[Nothing, Nothing]) -> Answer:
    """A campaign, counted now."""
    return _shown(await call.desk.read(whole, call.desk.clock.now_s(), _id(call)))


async def list_campaign_meters(call: Call[Nothing, CampaignMetersQuery]) -> Answer:
    """The meters of a campaign: the dry run's verdict on each, and what became of it."""
    query = call.query
    after = 0 if not query.after.strip("0") else wire.read_meter(query.after, "after")
    rows = await call.desk.read(meters_of, _id(call), query.verdict, query.sent, after, query.limit)
    more = wire.meter_name(rows[-1].meter) if len(rows) == query.limit else None
    return Answer(200, CampaignMeters([meter_of(row) for row in rows], more))


async def propose_campaign(call: Call[ProposeRequest, Nothing]) -> Answer:
    """Propose one's own campaign for a second person to approve."""
    lasts_s, now_s = call.body.lasts_s, call.desk.clock.now_s()
    expires_s = None if lasts_s is None else now_s + lasts_s
    return await _act(call, lambda conn, now_s, number, actor: acts.propose(
        conn, now_s, number, actor, expires_s=expires_s
    ))  # fmt: skip


async def drop_campaign(call: Call[CampaignWhyRequest, Nothing]) -> Answer:
    """Give up a campaign that was not approved yet."""
    return await _act(call, acts.drop, text_of(call.body.why))


async def pause_campaign(call: Call[CampaignWhyRequest, Nothing]) -> Answer:
    """Send nothing more of it until somebody resumes."""
    return await _act(call, acts.pause, text_of(call.body.why))


async def resume_campaign(call: Call[CampaignWhyRequest, Nothing]) -> Answer:
    """Go on where it was paused."""
    return await _act(call, acts.resume, text_of(call.body.why))


async def let_campaign_go_on(call: Call[CampaignWhyRequest, Nothing]) -> Answer:
    """Let the next group begin although too few are confirmed."""
    return await _act(call, acts.go_on, text_of(call.body.why))


async def abort_campaign(call: Call[CampaignWhyRequest, Nothing]) -> Answer:
    """Stop it for good: nothing more is sent, what was queued is cancelled."""
    return await _act(call, acts.abort, text_of(call.body.why))


async def recall_campaign(call: Call[Nothing, Nothing]) -> Answer:
    """Stop it and give back what it took, spread over the meters of each feeder."""
    return await _act(call, acts.recall)


# --- within transactions ----------------------------------------------------------------------------------------------


def _make(conn: Connection, now_s: int, call: Call[CampaignRequest, Nothing], given: Given, why: str) -> CampaignState:
    made = making.make(conn, now_s, call.body.kind, *given, call.caller.actor, why, call.caller.areas)
    return whole(conn, now_s, made)


async def _act(call: Call[Any, Nothing], how: Callable[..., Any], *more: Any) -> Answer:
    desk = call.desk

    def done(conn: Connection, now_s: int, number: int) -> CampaignState:
        how(conn, now_s, number, call.caller.actor, *more)
        return whole(conn, now_s, number)

    answer = await desk.act(done, desk.clock.now_s(), _id(call), answer=_shown)
    desk.wake()
    return answer


# --- forms ------------------------------------------------------------------------------------------------------------


def _made(state: CampaignState) -> Answer:
    return Answer(202, state, {"Location": f"/api/v1/campaigns/{state.campaign}"})


def _shown(state: CampaignState) -> Answer:
    return Answer(200, state)


def _id(call: Call[Any, Any]) -> int:
    return call.number("campaign", lifecycle.UnknownCampaign)


_UNKNOWN = ("unknown_campaign",)
_ACT: dict[str, Any] = {"scope": ORDERS, "answers": {200: CampaignState}, "query": Nothing, "problems": _UNKNOWN}
_SEE: dict[str, Any] = {"scope": READ, "body": Nothing}

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET", "/campaigns", list_campaigns, answers={200: CampaignPage}, query=CampaignsQuery, by_area=True, **_SEE
    ),
    Operation(
        "POST",
        "/campaigns",
        make_campaign,
        scope=ORDERS,
        answers={202: CampaignState},
        body=CampaignRequest,
        query=Nothing,
        by_area=True,
        most_bytes=MAX_BYTES,
    ),
    Operation(
        "GET",
        "/campaigns/{campaign}",
        get_campaign,
        answers={200: CampaignState},
        query=Nothing,
        problems=_UNKNOWN,
        **_SEE,
    ),
    Operation(
        "GET",
        "/campaigns/{campaign}/meters",
        list_campaign_meters,
        answers={200: CampaignMeters},
        query=CampaignMetersQuery,
        problems=_UNKNOWN,
        **_SEE,
    ),
    Operation("POST", "/campaigns/{campaign}/propose", propose_campaign, body=ProposeRequest, **_ACT),
    Operation("POST", "/campaigns/{campaign}/drop", drop_campaign, body=CampaignWhyRequest, **_ACT),
    Operation("POST", "/campaigns/{campaign}/pause", pause_campaign, body=CampaignWhyRequest, **_ACT),
    Operation("POST", "/campaigns/{campaign}/resume", resume_campaign, body=CampaignWhyRequest, **_ACT),
    Operation("POST", "/campaigns/{campaign}/go-on", let_campaign_go_on, body=CampaignWhyRequest, **_ACT),
    Operation("POST", "/campaigns/{campaign}/abort", abort_campaign, body=CampaignWhyRequest, **_ACT),
    Operation("POST", "/campaigns/{campaign}/recall", recall_campaign, body=Nothing, **_ACT),
)
