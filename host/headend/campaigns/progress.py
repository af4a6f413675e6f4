"""How a campaign stands, counted: by group, and by feeder.

A meter of a campaign is in one of `STANDS`; of those under way, `overdue` are the ones whose answer is missing for
longer than the plan allows, or that are unknown.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, Row, and_, bindparam, case, func, or_, select

from headend.campaigns import plan
from headend.firmware import lifecycle as firmware
from headend.gate import budget, pace, policy
from headend.orders import lifecycle
from headend.store.schema import meter, order
from headend.store.schema_campaign import campaign_meter
from headend.store.schema_firmware import firmware_delivery
from headend.store.schema_gate import proposal_item
from meterlink.labels import Text

STANDS: dict[str, Text] = {
    "waiting": ("waits for its turn", "等待"),
    "dropped": ("dropped before it was stated", "下达前取消"),
    "bringing": ("its image is on its way", "固件下发中"),
    "queued": ("stated, not sent", "已下达未发送"),
    "missed": ("ended before it was sent", "未发送即终止"),
    "under_way": ("sent, no proof yet", "已发送，待确认"),
    "confirmed": ("confirmed", "已确认"),
    "bad": ("refused, failed, rolled back, or run out at the meter", "拒绝、失败、回退或过期"),
    "other": ("ended otherwise after it was sent", "发送后以其他方式结束"),
    "released": ("given back", "已恢复"),
}
OVERDUE = "overdue"
TRIAL_S = 900  # in which an image that was ordered is started, passes its self-test, and its log has been fetched

Counts = dict[str, int]

_BAD = (lifecycle.REFUSED, lifecycle.FAILED, lifecycle.EXPIRED)
_LATE = bindparam("late", type_=BigInteger)
_sent = order.c.sent_s.is_not(None)
_overdue = and_(
    _sent,
    or_(
        order.c.state == lifecycle.UNKNOWN,
        and_(order.c.state.in_((lifecycle.SENT, lifecycle.ACCEPTED)), order.c.sent_s < _LATE),
    ),
)
_on_trial = and_(order.c.state == lifecycle.CONFIRMED, firmware_delivery.c.state == firmware.HERE)
_overdue_image = or_(_overdue, and_(_on_trial, order.c.sent_s < bindparam("late_trial", type_=BigInteger)))


def _number_of(condition: Any) -> Any:
    return func.sum(case((condition, 1), else_=0))


def _counting(*by: Any, brings: bool = False) -> Any:
    """`brings`: of a campaign that brings an image."""
    overdue = _number_of(_overdue_image if brings else _overdue).label("overdue")
    columns = (func.count().label("number"), _number_of(_sent).label("sent"), overdue)
    counted = _counted(columns, *by)
    if not brings:
        return counted
    state = firmware_delivery.c.state
    its = and_(
        firmware_delivery.c.campaign == campaign_meter.c.campaign,
        firmware_delivery.c.meter == campaign_meter.c.meter,
    )
    return counted.add_columns(state.label("image_state")).outerjoin(firmware_delivery, its).group_by(state)


def _counted(columns: tuple[Any, ...], *by: Any) -> Any:
    return (
        select(*by, proposal_item.c.state.label("item"), order.c.state.label("order"), *columns)
        .select_from(campaign_meter)
        .join(
            proposal_item,
            and_(
                proposal_item.c.proposal == bindparam("proposal", type_=BigInteger),
                proposal_item.c.meter == campaign_meter.c.meter,
            ),
        )
        .outerjoin(order, order.c.id == proposal_item.c.order_id)
        .where(campaign_meter.c.campaign == bindparam("of", type_=BigInteger), campaign_meter.c.verdict == "in")
        .group_by(*by, proposal_item.c.state, order.c.state)
    )


_ON = meter.c.area
_BY_GROUP = {brings: _counting(campaign_meter.c.grp, brings=brings) for brings in (False, True)}
_BY_FEEDER = {
    brings: _counting(_ON, brings=brings).join(meter, meter.c.meter == campaign_meter.c.meter)
    for brings in (False, True)
}
_VERDICTS = (
    select(campaign_meter.c.verdict, campaign_meter.c.rule, func.count().label("number"))
    .where(campaign_meter.c.campaign == bindparam("of", type_=Integer))
    .group_by(campaign_meter.c.verdict, campaign_meter.c.rule)
    .order_by(campaign_meter.c.verdict, campaign_meter.c.rule)
)


def by_group(conn: Connection, now_s: int, row: Row[Any]) -> list[Counts]:
    """Of each group of a campaign that was proposed."""
    found = [_none() for _ in json.loads(row.groups)]
    for one in conn.execute(_BY_GROUP[_brings(row)], _of(now_s, row)):
        _add(found[one.grp], one)
    return found


def by_feeder(conn: Connection, now_s: int, row: Row[Any]) -> dict[str, Counts]:
    """Of each feeder, by its path."""
    level = policy.get(conn).feeder_level
    found: dict[str, Counts] = {}
    for one in conn.execute(_BY_FEEDER[_brings(row)], _of(now_s, row)):
        _add(found.setdefault(budget.prefix(one.area, level), _none()), one)
    return dict(sorted(found.items()))


def dry_run(conn: Connection, campaign_id: int) -> list[tuple[str, str, int]]:
    """(verdict, rule, how many meters) of a dry run."""
    return [(one.verdict, one.rule, one.number) for one in conn.execute(_VERDICTS, {"of": campaign_id})]


def added(counts: Sequence[Counts]) -> Counts:
    """All groups together."""
    total = _none()
    for one in counts:
        for code, number in one.items():
            total[code] += number
    return total


def sent(counts: Counts) -> int:
    """How many were handed to a carrier."""
    return sum(counts[code] for code in ("under_way", "confirmed", "bad", "other"))


def settled(counts: Counts) -> int:
    """How many answered, or should have."""
    return sum(counts[code] for code in ("confirmed", "bad", "other", OVERDUE))


def failing(counts: Counts) -> int:
    """How many of these failed, were refused, are unknown or missing."""
    return counts["bad"] + counts[OVERDUE]


def too_many_fail(terms: plan.Plan, counts: Counts) -> bool:
    """Whether a campaign is to be stopped."""
    answered = settled(counts)
    return answered >= terms.abort_after and failing(counts) * plan.WHOLE > terms.abort * answered


def enough_confirmed(terms: plan.Plan, counts: Counts) -> bool:
    """Whether the next group may begin: nothing of this one waits, at least half of what was stated was sent, and of
    that so many are confirmed. A group of which all was dropped holds nobody up."""
    went = sent(counts)
    stated = went + counts["queued"] + counts["missed"]
    return (
        not counts["waiting"]
        and not counts["bringing"]
        and 2 * went >= stated
        and counts["confirmed"] * plan.WHOLE >= terms.confirm * (went - counts["other"])
    )


def _brings(row: Row[Any]) -> bool:
    return "image" in json.loads(row.terms)


def answer_s(row: Row[Any]) -> int:
    """How long the whole answer of a meter may take: of an image, until its log tells that it passed its self-test."""
    given = plan.read(json.loads(row.plan)).answer_s
    return max(given, TRIAL_S) if _brings(row) else given


def _of(now_s: int, row: Row[Any]) -> dict[str, int]:
    found = {"of": row.id, "proposal": row.proposal, "late": now_s - plan.read(json.loads(row.plan)).answer_s}
    return {**found, "late_trial": now_s - answer_s(row)} if _brings(row) else found


def _none() -> Counts:
    return dict.fromkeys((*STANDS, OVERDUE), 0)


def _add(counts: Counts, one: Row[Any]) -> None:
    image = getattr(one, "image_state", None)
    if image in firmware.BAD:
        counts["bad"] += one.number
        return
    if one.item == pace.WAITING and image in firmware.UNDER_WAY:
        counts["bringing"] += one.number
        return
    if one.item == pace.DROPPED and image == firmware.LATE:
        counts["missed"] += one.number
        return
    if one.item in (pace.WAITING, pace.DROPPED, pace.RELEASED):
        counts[one.item] += one.number
        return
    ended = one.order in lifecycle.ENDS
    unsent = one.number - one.sent
    counts["missed" if ended else "queued"] += unsent
    if one.order == lifecycle.CONFIRMED:
        code = "under_way" if image == firmware.HERE else "confirmed"  # held, and not proved to run
    elif one.order in _BAD:
        code = "bad"
    else:
        code = "other" if ended else "under_way"
    counts[code] += one.sent
    counts[OVERDUE] += one.overdue
