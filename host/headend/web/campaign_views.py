"""How a campaign is shown: in a list, whole, and meter by meter."""

import json
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row, select

from headend.access.areas import within
from headend.campaigns import lifecycle, progress
from headend.firmware import lifecycle as firmware
from headend.firmware.saying import why
from headend.language import LANGUAGES
from headend.orders import lifecycle as orders
from headend.store.schema import order
from headend.store.schema_campaign import campaign, campaign_history, campaign_meter
from headend.store.schema_firmware import firmware_delivery, firmware_image
from headend.store.schema_gate import proposal_item
from headend.web import wire
from headend.web.campaign_requests import PlanBody
from headend.web.wire import MeterNumber, Moment
from meterlink import image, names

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
Counts = Annotated[dict[str, int], Meta(description="How many meters stand how.")]


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


class CampaignEvent(msgspec.Struct):
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
    history: list[CampaignEvent]


class ImageOnItsWay(msgspec.Struct):
    """How far an image is on its way to a meter."""

    image: int
    state: Annotated[str, Meta(examples=list(firmware.STATES))]
    says: Said
    record: Annotated[int, Meta(description="The last record that the meter is known to have, 128 bytes each.")]
    records: int
    told: Annotated[str, Meta(description="What the meter said last of it, unproved: receiving, whole, trial, good …")]
    why: Annotated[Said, Meta(description="Why it was refused or rolled back, or was tried in vain last.")]
    changed: Moment


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
    image: Annotated[ImageOnItsWay | None, Meta(description="Of a campaign that brings one, once it began.")]


def page_of(conn: Connection, seen: tuple[str, ...], state: str | None, before: int, limit: int) -> list[Row[Any]]:
    """Rows of `campaign`, newest first, in the areas that the reader sees."""
    some = select(campaign).where(campaign.c.id < before, within(campaign.c.area, seen))
    if state is not None:
        some = some.where(campaign.c.state == state)
    return list(conn.execute(some.order_by(campaign.c.id.desc()).limit(limit)).all())


def brief(row: Row[Any]) -> CampaignBrief:
    """What a list shows of a row of `campaign`, as it was counted last."""
    counts = json.loads(row.counts)
    return CampaignBrief(**_brief(row, counts if isinstance(counts, list) else []))


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
            CampaignEvent(wire.moment(one.at_s), one.actor, one.event, one.state, one.note)
            for one in conn.execute(lines.limit(1000))
        ],
    )


def meters_of(
    conn: Connection, number: int, verdict: Verdict | None, sent: bool | None, after: int, limit: int
) -> list[Row[Any]]:
    """Rows for `meter_of`, by number; raises UnknownCampaign."""
    row = lifecycle.get(conn, number)
    item = (proposal_item.c.proposal == row.proposal) & (proposal_item.c.meter == campaign_meter.c.meter)
    columns = proposal_item.c.state.label("item"), order.c.id.label("order_id"), order.c.state, order.c.sent_s
    brought = firmware_delivery.c
    of_image = (
        brought.image,
        brought.state.label("image_state"),
        brought.record,
        brought.told,
        brought.result,
        brought.note.label("image_note"),
        brought.moved_s,
        firmware_image.c.length,
    )
    some = (
        select(campaign_meter, *columns, *of_image)
        .outerjoin(proposal_item, item)
        .outerjoin(order, order.c.id == proposal_item.c.order_id)
        .outerjoin(firmware_delivery, (brought.campaign == number) & (brought.meter == campaign_meter.c.meter))
        .outerjoin(firmware_image, firmware_image.c.id == brought.image)
        .where(campaign_meter.c.campaign == number, campaign_meter.c.meter > after)
    )
    if verdict is not None:
        some = some.where(campaign_meter.c.verdict == verdict)
    if sent is not None:
        some = some.where(order.c.sent_s.is_not(None) if sent else order.c.sent_s.is_(None))
    return list(conn.execute(some.order_by(campaign_meter.c.meter).limit(limit)).all())


def meter_of(row: Row[Any]) -> CampaignMeter:
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
        None if row.image is None else image_of(row),
    )


def image_of(row: Row[Any]) -> ImageOnItsWay:
    """Of a row with `image_state`, `image_note`, `length` and the other columns of a delivery."""
    return ImageOnItsWay(
        row.image,
        row.image_state,
        dict(zip(LANGUAGES, firmware.STATES[row.image_state], strict=True)),
        row.record,
        image.records(row.length),
        names.of(names.UPDATE, row.told),
        dict(zip(LANGUAGES, why(row.image_state, row.result, row.image_note), strict=True)),
        wire.moment(row.moved_s),
    )


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
