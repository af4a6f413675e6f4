"""The orders of an approved campaign, stated group by group at the pace of its plan.

Called for its list, in short transactions; nothing is stated while nobody counts (`following`): a campaign that cannot
be stopped in time does not go on.
"""

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, Row, and_, bindparam, func, select, update

from headend.campaigns import lifecycle, plan
from headend.firmware import deliveries, images
from headend.firmware.lifecycle import HERE, RUNNING, UNDER_WAY
from headend.gate import budget, pace, policy, recall
from headend.store.schema import meter
from headend.store.schema_campaign import campaign, campaign_feeder, campaign_meter
from headend.store.schema_firmware import firmware_delivery
from headend.store.schema_gate import proposal_item
from meterlink import bodies

LOOK_S = 2  # between two counts of a campaign
LOOK_PER = 20_000  # … and one second more for so many meters, as counting takes longer
MISSED = 5  # counts that may be missing before nothing more is stated
MINUTE_S = 60
BROUGHT_S = 5  # between two looks at a group that waits for its images
BROUGHT = 2_000  # images on their way at a time: the links carry no more of them any faster

One = Callable[..., int]

_OF_LIST = select(campaign).where(campaign.c.proposal == bindparam("of"))
_its = and_(
    proposal_item.c.proposal == bindparam("proposal", type_=BigInteger),
    proposal_item.c.meter == campaign_meter.c.meter,
)
_group = and_(
    campaign_meter.c.campaign == bindparam("of", type_=BigInteger),
    campaign_meter.c.verdict == "in",
    campaign_meter.c.grp == bindparam("which", type_=Integer),
)
_NEXT = (
    select(proposal_item, meter.c.area, firmware_delivery.c.state.label("image"))
    .select_from(campaign_meter)
    .join(proposal_item, _its)
    .outerjoin(
        firmware_delivery,
        and_(
            firmware_delivery.c.campaign == campaign_meter.c.campaign,
            firmware_delivery.c.meter == campaign_meter.c.meter,
        ),
    )
    .join(meter, meter.c.meter == campaign_meter.c.meter)
    .where(_group, campaign_meter.c.meter > bindparam("after", type_=BigInteger))
    .order_by(campaign_meter.c.meter)
    .limit(pace.PAGE)
)
_WAITS = (
    select(campaign_meter.c.meter)
    .join(proposal_item, _its)
    .where(_group, proposal_item.c.state == pace.WAITING)
    .limit(1)
)
_UNDER_WAY = select(func.count()).where(
    firmware_delivery.c.campaign == bindparam("of", type_=BigInteger), firmware_delivery.c.state.in_(UNDER_WAY)
)
_FEEDERS = select(campaign_feeder).where(campaign_feeder.c.campaign == bindparam("of"))
_STATED = update(campaign_feeder).where(
    campaign_feeder.c.campaign == bindparam("of"), campaign_feeder.c.feeder == bindparam("at")
)


def look_s(row: Row[Any]) -> int:
    """Seconds between two counts of a campaign."""
    meters: int = sum(json.loads(row.groups))
    return LOOK_S + meters // LOOK_PER


def go_on(conn: Connection, now_s: int, listed: Row[Any], one: One, *, gives: bool) -> int:
    """State the next orders of a campaign's list; returns when to go on.

    `one(conn, now_s, item, **options)`: states the order of an item and returns its id.
    """
    row = conn.execute(_OF_LIST, {"of": listed.id}).one()
    terms = plan.read(json.loads(row.plan))
    if row.state != lifecycle.RUNNING or now_s < terms.start_s:
        return _later(now_s, listed)
    counted = row.counted_s is not None and 0 <= now_s - row.counted_s <= MISSED * look_s(row)
    if not counted or row.stated_s is not None:
        return now_s + 1
    return _Work(conn, now_s, listed, row, terms, one, gives).run()


def _later(now_s: int, listed: Row[Any]) -> int:
    """A campaign that rests is looked at again when it goes on (`following`); here its time may run out."""
    expires_s: int = listed.expires_s
    return max(now_s + 1, min(now_s + pace.AGAIN_S, expires_s + 1))


class _Work:
    """One transaction's part of a group."""

    def __init__(
        self, conn: Connection, now_s: int, listed: Row[Any], row: Row[Any], terms: plan.Plan, one: One, gives: bool
    ) -> None:
        self._conn, self._now_s, self._row, self._terms, self._one = conn, now_s, row, terms, one
        rules = policy.get(conn)
        self._level, self._per_meter_s = rules.feeder_level, rules.recall_s_per_meter
        self._direct = json.loads(row.terms).get("close") == bodies.CLOSE_DIRECT
        self._fixed = "spread_s" in json.loads(row.terms)
        self._image = json.loads(row.terms).get("image")
        self._room = 0 if self._image is None else BROUGHT - conn.execute(_UNDER_WAY, {"of": row.id}).scalar_one()
        self._withdrawn = self._image is not None and images.get(conn, self._image).withdrawn_s is not None
        self._begun = 0
        self._turn = pace.Round(conn, now_s, listed, self._state, gives=gives)
        self._group = {"of": row.id, "proposal": row.proposal, "which": row.grp}
        self._feeders = {one.feeder: one for one in conn.execute(_FEEDERS, {"of": row.id})}
        self._stated: dict[str, int] = {}
        self._tokens = _refilled(row, now_s, terms)

    def run(self) -> int:
        at, seen, ended = self._row.at_meter, 0, False
        while seen < pace.SCAN and self._goes():
            some = self._conn.execute(_NEXT, {**self._group, "after": at}).all()
            ended = not some
            if ended:
                break
            for item in some:
                if not self._goes():
                    break
                at, seen = item.meter, seen + 1
                if item.state == pace.WAITING:
                    self._offer(item)
        columns: dict[str, Any] = {"at_meter": 0 if ended else at, "tokens": self._tokens, "tokens_s": self._now_s}
        if ended and self._conn.execute(_WAITS, self._group).one_or_none() is None:
            columns["stated_s"] = self._now_s
        lifecycle.change(self._conn, self._row.id, **columns)
        for feeder, number in self._stated.items():
            self._conn.execute(_STATED, {"of": self._row.id, "at": feeder, **self._window(feeder, number)})
        if self._image is not None:
            deliveries.late(self._conn, self._now_s, self._row.id, self._terms.deliver_s)
        done = self._turn.queued + self._begun
        if done >= pace.LIMIT and self._tokens >= MINUTE_S:
            return self._now_s
        return self._now_s + (1 if done or self._image is None else BROUGHT_S)

    def _goes(self) -> bool:
        done = self._turn.queued + self._begun
        return done < pace.LIMIT and self._tokens >= MINUTE_S and not self._turn.shut

    def _offer(self, item: Row[Any]) -> None:
        """A meter that waits: its order is stated, or its image sent on its way first."""
        if self._image is not None and item.image not in (HERE, RUNNING):
            self._bring(item)
            return
        feeder = budget.prefix(item.area, self._level)
        if self._terms.per_feeder and self._in_minute(feeder) >= self._terms.per_feeder:
            return
        if self._turn.offer(item) == pace.QUEUED:
            self._tokens -= MINUTE_S
            self._stated[feeder] = self._stated.get(feeder, 0) + 1

    def _bring(self, item: Row[Any]) -> None:
        if item.image is not None or self._withdrawn:
            if item.image not in UNDER_WAY:
                note = f"its image was not brought: {item.image or 'withdrawn'}"
                pace.set_item(self._conn, self._row.proposal, item.meter, state=pace.DROPPED, note=note)
            return
        feeder = budget.prefix(item.area, self._level)
        full = self._terms.per_feeder and self._in_minute(feeder) >= self._terms.per_feeder
        if full or self._begun >= self._room:
            return
        deliveries.begin(self._conn, self._now_s, self._row.id, item.meter, self._image)
        self._begun += 1
        self._tokens -= MINUTE_S
        self._stated[feeder] = self._stated.get(feeder, 0) + 1

    def _state(self, conn: Connection, now_s: int, item: Any) -> int:
        if not self._direct or self._fixed:
            return self._one(conn, now_s, item)
        known = self._feeders.get(budget.prefix(item.area, self._level))
        spread_s = min((known.meters if known else 1) * self._per_meter_s, recall.MAX_SPREAD_S)
        return self._one(conn, now_s, item, spread_s=spread_s)

    def _in_minute(self, feeder: str) -> int:
        """Stated to a feeder in the minute that runs."""
        return int(self._window(feeder, self._stated.get(feeder, 0))["stated"])

    def _window(self, feeder: str, more: int) -> dict[str, int]:
        known = self._feeders.get(feeder)
        if known is None or not 0 <= self._now_s - known.at_s < MINUTE_S:
            return {"at_s": self._now_s, "stated": more}
        return {"at_s": known.at_s, "stated": known.stated + more}


def _refilled(row: Row[Any], now_s: int, terms: plan.Plan) -> int:
    """Sixtieths of a meter that may go now: as the minute runs, and at most a second's worth, or one, in advance."""
    most = max(MINUTE_S, terms.per_minute)
    passed_s = 1 if row.tokens_s is None else max(now_s - row.tokens_s, 0)
    return min(most, int(row.tokens) + passed_s * terms.per_minute)
