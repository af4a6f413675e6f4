"""What channels may take and hold, and their daily settlement."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access.permissions import ADMIN, BOOKS, PAYMENTS
from headend.ledger import floats, settlements, words, zone
from headend.store import MONEY
from headend.web import wire
from headend.web.money_policies import Day, Noted
from headend.web.operations import Answer, Call, Nothing, Operation, ok
from headend.web.payments import PaymentId
from headend.web.problems import Problem
from headend.web.wire import Amount, Moment, PositiveAmount

MAX_ITEMS = 50_000


class Limits(msgspec.Struct, forbid_unknown_fields=True):
    """What a channel is, and what it may take beside the limit of a single payment. Null: no such limit."""

    kind: Annotated[
        Literal["cashier", "agent", "bank", "subsidy"],
        Meta(description="`subsidy`: a programme; it brings no money, and its grants stand on `subsidy:<channel>`."),
    ]
    max_day: Annotated[PositiveAmount | None, Meta(description="In a local day.")] = None
    max_meter_day: Annotated[PositiveAmount | None, Meta(description="For one meter in a local day.")] = None
    overdraft: Annotated[
        PositiveAmount | None, Meta(description="How far below zero its float may come; null: no float is kept.")
    ] = None
    low: Annotated[PositiveAmount, Meta(description="Below what is left of the float it is told as low.")] = "0.00"


class ChannelMoney(msgspec.Struct):
    """A channel's limits, and how it stands."""

    channel: str
    limits: Limits
    held: Annotated[Amount, Meta(description="What it handed over, less what it took.")]
    today: Annotated[Amount, Meta(description="What it took today.")]
    low_since: Moment | None


class LowFloats(msgspec.Struct):
    """Channels whose float is low, longest first."""

    channels: list[ChannelMoney]


class HandOver(msgspec.Struct, forbid_unknown_fields=True):
    """Money that a channel has handed over. Idempotent by channel and `request_id`."""

    request_id: Annotated[str, Meta(min_length=1, max_length=64)]
    amount: PositiveAmount


class ChannelHeld(msgspec.Struct):
    """What the channel's account holds now."""

    channel: str
    held: Amount


class Item(msgspec.Struct, forbid_unknown_fields=True):
    """A payment as the channel has it."""

    payment_id: PaymentId
    amount: PositiveAmount


class SettlementRequest(msgspec.Struct, forbid_unknown_fields=True):
    """All payments of the channel's local day, with how many they are and what they come to."""

    count: Annotated[int, Meta(ge=0, le=MAX_ITEMS)]
    sum: PositiveAmount
    payments: Annotated[list[Item], Meta(max_length=MAX_ITEMS)]


class Difference(msgspec.Struct):
    """A payment that the two lists do not agree on."""

    channel: str
    day: Day
    payment_id: PaymentId
    kind: Annotated[
        Literal["long", "short", "amount"],
        Meta(description="`long`: theirs, not ours; `short`: ours, not theirs; `amount`: both, with other amounts."),
    ]
    action: Annotated[str, Meta(description="What is to be done.")]
    theirs: Amount
    ours: Amount
    settled: Moment | None
    note: str


class Settlement(msgspec.Struct):
    """A channel's day, held against ours."""

    channel: str
    day: Day
    theirs: Amount
    theirs_count: int
    ours: Amount
    ours_count: int
    agreed: bool
    differences: list[Difference]
    taken: Moment


class Differences(msgspec.Struct):
    """Differences that nobody has dealt with, oldest first."""

    differences: list[Difference]


class DealRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What was done about a difference."""

    channel: Annotated[str, Meta(min_length=1, max_length=40)]
    day: Day
    payment_id: PaymentId
    note: Annotated[str, Meta(min_length=1, max_length=200)]


class LanguageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """In which language actions are said."""

    language: Literal["en", "zh"] = "en"


def _uc(field: str, text: str | None) -> int | None:
    return None if text is None else wire.read_amount(field, text)


async def put_channel_limits(call: Call[Limits, Nothing]) -> Answer:
    """Set what a channel may take. What it holds is counted anew from the books."""
    arguments = (call.desk.clock.now_s(), call.path["channel"], call.body, call.caller.actor)
    return await call.desk.act(_set_limits, *arguments, answer=ok)


def _set_limits(conn: Connection, now_s: int, channel: str, body: Limits, actor: str) -> ChannelMoney:
    floats.set_limits(
        conn,
        now_s,
        channel,
        body.kind,
        actor,
        max_day_uc=_uc("max_day", body.max_day),
        max_meter_day_uc=_uc("max_meter_day", body.max_meter_day),
        overdraft_uc=_uc("overdraft", body.overdraft),
        low_uc=wire.read_amount("low", body.low),
    )
    return _money(conn, now_s, channel)


async def get_channel_limits(call: Call[Nothing, Nothing]) -> Answer:
    """A channel's limits and its float."""
    return ok(await call.desk.read(_money, call.desk.clock.now_s(), call.path["channel"]))


def _money(conn: Connection, now_s: int, channel: str) -> ChannelMoney:
    row = floats.limit_of(conn, channel)
    if row is None:
        sentence = f"channel: {channel[:40]!r} given, one that has limits expected."
        raise Problem("unknown_channel", sentence, field="channel")
    return _of_channel(row, _today(conn, now_s))


def _today(conn: Connection, now_s: int) -> int:
    return zone.day_of(zone.of(conn), now_s)


def _of_channel(row: Row[Any], today: int) -> ChannelMoney:
    def shown(amount_uc: int | None) -> str | None:
        return None if amount_uc is None else wire.amount(amount_uc)

    limits = (shown(row.max_day_uc), shown(row.max_meter_day_uc), shown(row.overdraft_uc), wire.amount(row.low_uc))
    taken_uc = row.day_uc if row.day == today else 0
    low = row.overdraft_uc is not None and row.held_uc + row.overdraft_uc < row.low_uc
    since = wire.moment_or_none(row.low_since_s if low else None)
    return ChannelMoney(row.channel, Limits(row.kind, *limits), wire.amount(row.held_uc), wire.amount(taken_uc), since)


async def list_low_floats(call: Call[Nothing, Nothing]) -> Answer:
    """Channels whose float is low, longest first."""
    return Answer(200, LowFloats(await call.desk.read(_low, call.desk.clock.now_s())))


def _low(conn: Connection, now_s: int) -> list[ChannelMoney]:
    today = _today(conn, now_s)
    return [_of_channel(row, today) for row in floats.low(conn)]


async def post_hand_over(call: Call[HandOver, Nothing]) -> Answer:
    """Book money that a channel has handed over; the float of an agent grows by it."""
    body, channel = call.body, call.path["channel"]
    arguments = (channel, body.request_id, wire.read_amount("amount", body.amount), call.caller.actor)

    def answer(held_uc: int) -> Answer:
        return Answer(201, ChannelHeld(channel, wire.amount(held_uc)))

    return await call.desk.act(floats.hand_over, call.desk.clock.now_s(), *arguments, lane=MONEY, answer=answer)


async def put_settlement(call: Call[SettlementRequest, LanguageQuery]) -> Answer:
    """Hold the channel's own list of a local day that is over against the books.

    Idempotent: the same list again is answered as before, another one for that day 409. Each difference stands until a
    person says what was done about it.
    """
    body = call.body
    items = [(item.payment_id, wire.read_amount("amount", item.amount)) for item in body.payments]
    arguments = (zone.read_day("day", call.path["day"]), items, body.count, wire.read_amount("sum", body.sum))
    now_s, channel = call.desk.clock.now_s(), call.caller.channel

    def answer(made: tuple[Row[Any], list[Row[Any]]]) -> Answer:
        return ok(_settlement(*made, call.query.language))

    return await call.desk.act(_settle, now_s, channel, *arguments, call.caller.actor, lane=MONEY, answer=answer)


def _settle(conn: Connection, *arguments: Any) -> tuple[Row[Any], list[Row[Any]]]:
    made = settlements.settle(conn, *arguments)
    return made, settlements.differences_of(conn, made.id)


async def get_settlement(call: Call[Nothing, LanguageQuery]) -> Answer:
    """The settlement of a day of the channel's own."""
    day = zone.read_day("day", call.path["day"])
    found = await call.desk.read(_found, call.caller.channel, day)
    if found is None:
        sentence = f"day: {call.path['day']} given, one that this channel has settled expected."
        raise Problem("unknown_settlement", sentence, field="day")
    return Answer(200, _settlement(*found, call.query.language))


def _found(conn: Connection, channel: str, day: int) -> tuple[Row[Any], list[Row[Any]]] | None:
    row = settlements.get(conn, channel, day)
    return None if row is None else (row, settlements.differences_of(conn, row.id))


def _settlement(row: Row[Any], differences: list[Row[Any]], language: str) -> Settlement:
    return Settlement(
        channel=row.channel,
        day=zone.day_text(row.day),
        theirs=wire.amount(row.theirs_uc),
        theirs_count=row.theirs,
        ours=wire.amount(row.ours_uc),
        ours_count=row.ours,
        agreed=not differences,
        differences=[_difference(one, row.channel, row.day, language) for one in differences],
        taken=wire.moment(row.taken_s),
    )


def _difference(row: Row[Any], channel: str, day: int, language: str) -> Difference:
    return Difference(
        channel=channel,
        day=zone.day_text(day),
        payment_id=row.payment_id,
        kind=row.kind,
        action=words.DIFFERENCES[row.kind][language == "zh"],
        theirs=wire.amount(row.theirs_uc),
        ours=wire.amount(row.ours_uc),
        settled=wire.moment_or_none(row.settled_s),
        note=row.note,
    )


async def list_differences(call: Call[Nothing, LanguageQuery]) -> Answer:
    """Differences of settlements that nobody has dealt with, oldest first, at most 1000."""
    rows = await call.desk.read(settlements.standing, 1000)
    return Answer(200, Differences([_difference(row, row.channel, row.day, call.query.language) for row in rows]))


async def deal_with_difference(call: Call[DealRequest, Nothing]) -> Answer:
    """Note what was done about a difference: posted, taken back, paid out."""
    body = call.body
    arguments = (body.channel, zone.read_day("day", body.day), body.payment_id, body.note, call.caller.actor)
    now_s = call.desk.clock.now_s()
    return await call.desk.act(settlements.deal_with, now_s, *arguments, lane=MONEY, answer=lambda _: ok(Noted()))


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "PUT",
        "/channels/{channel}/limits",
        put_channel_limits,
        scope=ADMIN,
        answers={200: ChannelMoney},
        body=Limits,
        query=Nothing,
        problems=("unknown_channel",),
    ),
    Operation(
        "GET",
        "/channels/{channel}/limits",
        get_channel_limits,
        scope=BOOKS,
        answers={200: ChannelMoney},
        body=Nothing,
        query=Nothing,
        problems=("unknown_channel",),
    ),
    Operation(
        "POST",
        "/channels/{channel}/hand-overs",
        post_hand_over,
        scope=BOOKS,
        answers={201: ChannelHeld},
        body=HandOver,
        query=Nothing,
        problems=("unknown_channel", "request_conflict"),
    ),
    Operation(
        "GET", "/low-floats", list_low_floats, scope=BOOKS, answers={200: LowFloats}, body=Nothing, query=Nothing
    ),
    Operation(
        "PUT",
        "/settlements/{day}",
        put_settlement,
        scope=PAYMENTS,
        answers={200: Settlement},
        body=SettlementRequest,
        query=LanguageQuery,
        by_area=True,
        most_bytes=24_000_000,
        problems=("settlement_conflict",),
    ),
    Operation(
        "GET",
        "/settlements/{day}",
        get_settlement,
        scope=PAYMENTS,
        answers={200: Settlement},
        body=Nothing,
        query=LanguageQuery,
        by_area=True,
        problems=("unknown_settlement",),
    ),
    Operation(
        "GET",
        "/differences",
        list_differences,
        scope=BOOKS,
        answers={200: Differences},
        body=Nothing,
        query=LanguageQuery,
    ),
    Operation(
        "POST",
        "/differences/settle",
        deal_with_difference,
        scope=BOOKS,
        answers={200: Noted},
        body=DealRequest,
        query=Nothing,
    ),
)
