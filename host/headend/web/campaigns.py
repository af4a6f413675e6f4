"""Campaigns: many meters as one piece of work, from the dry run to the recall."""

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row, select

from headend.access.areas import within
from headend.access.permissions import ORDERS, READ
from headend.campaigns import acts, lifecycle, making, plan, progress
from headend.language import LANGUAGES
from headend.orders import lifecycle as orders
from headend.refusals import Refused
from headend.store.schema import order
from headend.store.schema_campaign import campaign, campaign_history, campaign_meter
from headend.store.schema_gate import proposal_item
from headend.web import bodies_json, tariff_json, wire
from headend.web.bodies_json import LimitsBody, Seconds
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.orders import text_of
from headend.web.tariff_json import TariffBody
from headend.web.wire import MeterNumber, Moment
from meterlink import bodies, names, stating

MAX_ID = 2**53
MAX_PAGE = 500
MAX_BYTES = 8_000_000
MAX_LISTED = 300_000

Kind = Literal["stop", "connect", "unprotect", "tariff", "limits", "firmware", "clock"]
Hold = Literal["arrears", "customer_request", "move_out", "tamper", "load_control", "legal"]
State = Literal[
    "preparing",
    "drafted",
    "proposed",
    "running",
    "held",
    "paused",
    "settling",
    "done",
    "aborted",
    "dropped",
    "recalling",
    "recalled",
]
Verdict = Literal["in", "there", "barred"]
Said = Annotated[dict[str, str], Meta(description="By language.")]
Why = Annotated[str, Meta(min_length=1, max_length=200, description="Why, in words, for the record.")]
Counts = Annotated[dict[str, int], Meta(description="How many meters stand how.")]
_CLOSE = {"permit": bodies.CLOSE_PERMIT, "direct": bodies.CLOSE_DIRECT}


class PlanBody(msgspec.Struct, forbid_unknown_fields=True):
    """How it goes. Shares are in 1/10 000."""

    groups: Annotated[
        list[Annotated[str, Meta(max_length=8)]],
        Meta(min_length=1, max_length=plan.MAX_GROUPS, description='"10" meters, "1%" of all, and "rest" at the end.'),
    ] = msgspec.field(default_factory=lambda: list(plan.Plan.groups))
    per_minute: Annotated[int, Meta(ge=1, le=60_000, description="Orders stated in a minute.")] = 600
    per_feeder: Annotated[int, Meta(ge=0, le=60_000, description="… to one feeder; 0: no limit of its own.")] = 0
    confirm: Annotated[
        int, Meta(ge=0, le=plan.WHOLE, description="Share of a group that is confirmed before the next begins.")
    ] = 9_500
    answer_s: Annotated[int, Meta(ge=10, le=86_400, description="After which an answer counts as missing.")] = 300
    abort: Annotated[
        int,
        Meta(ge=0, le=plan.WHOLE, description="It stops above this share of failures among the answered or overdue"),
    ] = 200
    abort_after: Annotated[int, Meta(ge=1, le=100_000, description="… once there are so many of them.")] = 50
    start_s: Annotated[int, Meta(ge=0, le=0xFFFFFFFF, description="Not before; seconds since 1970 UTC.")] = 0


class FirmwareBody(msgspec.Struct, forbid_unknown_fields=True):
    """The image that the meters are to run."""

    release: Annotated[list[Annotated[int, Meta(ge=0, le=255)]], Meta(min_length=3, max_length=3)]
    legal_version: Annotated[int, Meta(ge=0, le=0xFFFF)]
    length: Annotated[int, Meta(ge=1, le=0xFFFFFFFF, description="Of the image, in bytes.")]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class CampaignRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be done with which meters, and how: a dry run is made of it, nothing is stated."""

    kind: Annotated[Kind, Meta(description="`stop` and `connect` want `reason`; the others what they are named for.")]
    why: Why
    area: Annotated[
        Annotated[str, Meta(max_length=120)] | None, Meta(description='Meters of this area; "": of everywhere.')
    ] = None
    type: Annotated[Annotated[str, Meta(max_length=40)] | None, Meta(description="Meters of this type alone.")] = None
    carrier: Literal["mqtt", "modbus"] | None = None
    meters: Annotated[
        Annotated[list[MeterNumber], Meta(max_length=MAX_LISTED)] | None, Meta(description="These, not an area's.")
    ] = None
    csv: Annotated[
        Annotated[str, Meta(max_length=MAX_BYTES)] | None,
        Meta(description="The same as CSV text, numbers in the first column."),
    ] = None
    reason: Hold | None = None
    delay_s: Seconds | None = None
    close: Annotated[Literal["permit", "direct"] | None, Meta(description="Of `connect`: who closes.")] = None
    tariff: TariffBody | None = None
    limits: LimitsBody | None = None
    firmware: FirmwareBody | None = None
    plan: PlanBody = msgspec.field(default_factory=PlanBody)


class ProposeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Until when it is decided and carried out."""

    lasts_s: Annotated[
        Annotated[int, Meta(ge=60, le=60 * 86_400)] | None, Meta(description="null: as the gate's policy says.")
    ] = None


class WhyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A reason, for the record."""

    why: Why


class CampaignBrief(msgspec.Struct):
    """A campaign in a list."""

    campaign: int
    kind: str
    state: State
    says: Said
    area: str
    author: str
    why: str
    made: Moment
    changed: Moment
    proposal: Annotated[int | None, Meta(description="What a second person approves; null before it is proposed.")]
    note: Annotated[str, Meta(description="Why it stands as it does.")]
    counts: Counts


class Barred(msgspec.Struct):
    """A result of the dry run."""

    verdict: Annotated[str, Meta(description="in, there (as wanted already), barred.")]
    rule: str
    meters: int


class Line(msgspec.Struct):
    """A line of its history."""

    at: Moment
    actor: str
    event: str
    state: State
    note: str


class CampaignState(CampaignBrief):
    """A campaign with all that there is to know."""

    digest: Annotated[str, Meta(description="Of the dry run, which the proposal names: SHA-256, hexadecimal.")]
    dry_run: list[Barred]
    plan: PlanBody
    groups: Annotated[list[int], Meta(description="How many meters each group has.")]
    group: Annotated[int, Meta(description="The one at work, from 0.")]
    by_group: list[Counts]
    by_feeder: dict[str, Counts]
    history: list[Line]


class CampaignPage(msgspec.Struct):
    """Campaigns, newest first."""

    campaigns: list[CampaignBrief]
    next_before: Annotated[int | None, Meta(description="`before` of the next page; null on the last one.")]


class CampaignsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which campaigns."""

    state: State | None = None
    before: Annotated[int, Meta(ge=1, le=MAX_ID)] = MAX_ID
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class CampaignMeter(msgspec.Struct):
    """A meter that was looked at, and what became of it."""

    meter: MeterNumber
    verdict: Verdict
    group: int
    rule: Annotated[str, Meta(description="Which excludes it.")]
    evidence: Annotated[int | None, Meta(description="Number of the exclusion, the calendar, the other campaign.")]
    says: Said
    item: Annotated[str | None, Meta(description="Of the list: waiting, queued, dropped, released.")]
    order: int | None
    order_state: Annotated[str | None, Meta(examples=list(orders.STATES))]
    sent: Moment | None


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
    given = _terms(body), _chosen(body), msgspec.to_builtins(body.plan)
    return await desk.act(_make, desk.clock.now_s(), call, given, text_of(body.why), answer=_made)


async def get_campaign(call: Call[Nothing, Nothing]) -> Answer:
    """A campaign, counted now."""
    return _shown(await call.desk.read(whole, call.desk.clock.now_s(), _id(call)))


async def list_campaign_meters(call: Call[Nothing, CampaignMetersQuery]) -> Answer:
    """The meters of a campaign: the dry run's verdict on each, and what became of it."""
    query = call.query
    after = 0 if not query.after.strip("0") else wire.read_meter(query.after, "after")
    rows = await call.desk.read(_meters, _id(call), query, after)
    more = wire.meter_name(rows[-1].meter) if len(rows) == query.limit else None
    return Answer(200, CampaignMeters([_meter(row) for row in rows], more))


async def propose_campaign(call: Call[ProposeRequest, Nothing]) -> Answer:
    """Propose one's own campaign for a second person to approve."""
    lasts_s, now_s = call.body.lasts_s, call.desk.clock.now_s()
    expires_s = None if lasts_s is None else now_s + lasts_s
    return await _act(call, lambda conn, now_s, number, actor: acts.propose(
        conn, now_s, number, actor, expires_s=expires_s
    ))  # fmt: skip


async def drop_campaign(call: Call[WhyRequest, Nothing]) -> Answer:
    """Give up a campaign that was not approved yet."""
    return await _act(call, acts.drop, text_of(call.body.why))


async def pause_campaign(call: Call[WhyRequest, Nothing]) -> Answer:
    """Send nothing more of it until somebody resumes."""
    return await _act(call, acts.pause, text_of(call.body.why))


async def resume_campaign(call: Call[WhyRequest, Nothing]) -> Answer:
    """Go on where it was paused."""
    return await _act(call, acts.resume, text_of(call.body.why))


async def let_campaign_go_on(call: Call[WhyRequest, Nothing]) -> Answer:
    """Let the next group begin although too few are confirmed."""
    return await _act(call, acts.go_on, text_of(call.body.why))


async def abort_campaign(call: Call[WhyRequest, Nothing]) -> Answer:
    """Stop it for good: nothing more is sent, what was queued is cancelled."""
    return await _act(call, acts.abort, text_of(call.body.why))


async def recall_campaign(call: Call[Nothing, Nothing]) -> Answer:
    """Stop it and give back what it took, spread over the meters of each feeder."""
    return await _act(call, acts.recall)


# --- within transactions ----------------------------------------------------------------------------------------------


Given = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]  # terms, selection, plan


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


def page_of(conn: Connection, seen: tuple[str, ...], state: str | None, before: int, limit: int) -> list[Row[Any]]:
    """Rows of `campaign`, newest first, in the areas that the reader sees."""
    some = select(campaign).where(campaign.c.id < before, within(campaign.c.area, seen))
    if state is not None:
        some = some.where(campaign.c.state == state)
    return list(conn.execute(some.order_by(campaign.c.id.desc()).limit(limit)).all())


def whole(conn: Connection, now_s: int, number: int) -> CampaignState:
    """All that there is to know of a campaign, counted now; raises UnknownCampaign."""
    row = lifecycle.get(conn, number)
    counts = [] if row.proposal is None else progress.by_group(conn, now_s, row)
    lines = select(campaign_history).where(campaign_history.c.campaign == number).order_by(campaign_history.c.id)
    return CampaignState(
        **_brief(row, counts),
        digest=row.digest,
        dry_run=[Barred(verdict=one[0], rule=one[1], meters=one[2]) for one in progress.dry_run(conn, number)],
        plan=PlanBody(**json.loads(row.plan)),
        groups=json.loads(row.groups),
        group=row.grp,
        by_group=counts,
        by_feeder={} if row.proposal is None else progress.by_feeder(conn, now_s, row),
        history=[
            Line(wire.moment(one.at_s), one.actor, one.event, one.state, one.note)
            for one in conn.execute(lines.limit(1000))
        ],
    )


def _meters(conn: Connection, number: int, query: CampaignMetersQuery, after: int) -> list[Row[Any]]:
    row = lifecycle.get(conn, number)
    item = (proposal_item.c.proposal == row.proposal) & (proposal_item.c.meter == campaign_meter.c.meter)
    columns = proposal_item.c.state.label("item"), order.c.id.label("order_id"), order.c.state, order.c.sent_s
    some = (
        select(campaign_meter, *columns)
        .outerjoin(proposal_item, item)
        .outerjoin(order, order.c.id == proposal_item.c.order_id)
        .where(campaign_meter.c.campaign == number, campaign_meter.c.meter > after)
    )
    if query.verdict is not None:
        some = some.where(campaign_meter.c.verdict == query.verdict)
    if query.sent is not None:
        some = some.where(order.c.sent_s.is_not(None) if query.sent else order.c.sent_s.is_(None))
    return list(conn.execute(some.order_by(campaign_meter.c.meter).limit(query.limit)).all())


# --- forms ------------------------------------------------------------------------------------------------------------


def _terms(body: CampaignRequest) -> dict[str, Any]:
    wanted = {"reason": ("stop", "connect"), "tariff": ("tariff",), "limits": ("limits",), "firmware": ("firmware",)}
    for field, kinds in wanted.items():
        value = getattr(body, field)
        if (value is not None) != (body.kind in kinds):
            raise Refused(field, value, f"what goes with the kind {body.kind}")
    found: dict[str, Any] = {}
    if body.reason is not None:
        found["reason"] = names.code(names.HOLD, body.reason)
    for field, kind in (("delay_s", "stop"), ("close", "connect")):
        if getattr(body, field) is not None and body.kind != kind:
            raise Refused(field, getattr(body, field), f"nothing with the kind {body.kind}")
    if body.delay_s is not None:
        found["delay_s"] = body.delay_s
    if body.close is not None:
        found["close"] = _CLOSE[body.close]
    if body.tariff is not None:
        found["body"] = tariff_json.read_tariff(body.tariff).encode().hex()
    if body.limits is not None:
        found["body"] = bodies_json.read_limits(body.limits).encode().hex()
    if body.firmware is not None:
        image = body.firmware
        release = (image.release[0], image.release[1], image.release[2])
        raw = stating.firmware(release, image.legal_version, image.length, bytes.fromhex(image.sha256))
        found["body"] = raw.hex()
    return found


def _chosen(body: CampaignRequest) -> dict[str, Any]:
    listed = [] if body.meters is None else [wire.read_meter(one, "meters") for one in body.meters]
    if body.csv is not None:
        listed += _of_csv(body.csv)
    found = {name: getattr(body, name) for name in ("area", "type", "carrier")}
    chosen: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
    if body.meters is not None or body.csv is not None:
        chosen["meters"] = sorted(set(listed))
    return chosen


def _of_csv(text: str) -> list[int]:
    """Numbers in the first column; a first line that is none is a heading."""
    found = []
    for at, line in enumerate(text.splitlines()):
        first = line.partition(",")[0].partition(";")[0].strip().strip('"')
        if not first or (at == 0 and not first.isdigit()):
            continue
        found.append(wire.read_meter(first, f"csv, line {at + 1}"))
    return found


def brief(row: Row[Any]) -> CampaignBrief:
    """What a list shows of a row of `campaign`, as it was counted last."""
    counts = json.loads(row.counts)
    return CampaignBrief(**_brief(row, counts if isinstance(counts, list) else []))


def _brief(row: Row[Any], counts: list[dict[str, int]]) -> dict[str, Any]:
    return {
        "campaign": row.id,
        "kind": row.kind,
        "state": row.state,
        "says": dict(zip(LANGUAGES, lifecycle.STATES[row.state], strict=True)),
        "area": row.area,
        "author": row.author,
        "why": row.why,
        "made": wire.moment(row.made_s),
        "changed": wire.moment(row.changed_s),
        "proposal": row.proposal,
        "note": row.note,
        "counts": progress.added(counts),
    }


def _meter(row: Row[Any]) -> CampaignMeter:
    return CampaignMeter(
        wire.meter_name(row.meter),
        row.verdict,
        row.grp,
        row.rule,
        row.evidence,
        dict(zip(LANGUAGES, (row.said_en, row.said_zh), strict=True)),
        row.item,
        row.order_id,
        row.state,
        wire.moment_or_none(row.sent_s),
    )


def _made(state: CampaignState) -> Answer:
    return Answer(202, state, {"Location": f"/api/v1/campaigns/{state.campaign}"})


def _shown(state: CampaignState) -> Answer:
    return Answer(200, state)


def _id(call: Call[Any, Any]) -> int:
    number = wire.read_id(call.path["campaign"])
    if number is None:
        raise lifecycle.UnknownCampaign(call.path["campaign"])
    return number


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
    Operation("POST", "/campaigns/{campaign}/drop", drop_campaign, body=WhyRequest, **_ACT),
    Operation("POST", "/campaigns/{campaign}/pause", pause_campaign, body=WhyRequest, **_ACT),
    Operation("POST", "/campaigns/{campaign}/resume", resume_campaign, body=WhyRequest, **_ACT),
    Operation("POST", "/campaigns/{campaign}/go-on", let_campaign_go_on, body=WhyRequest, **_ACT),
    Operation("POST", "/campaigns/{campaign}/abort", abort_campaign, body=WhyRequest, **_ACT),
    Operation("POST", "/campaigns/{campaign}/recall", recall_campaign, body=Nothing, **_ACT),
)
