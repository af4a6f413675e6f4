"""Channels: programs that bring payments or give orders, with a token each, and the desks of people who do."""

import os
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access import service_tokens
from headend.access.caller import DESK
from headend.access.permissions import SCOPES, USERS
from headend.access.service_tokens import Terms
from headend.ledger import channels
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.users import Area
from headend.web.wire import Moment, PositiveAmount

MAX_PAGE = 500

Scope = Annotated[str, Meta(max_length=20, examples=list(SCOPES))]
Network = Annotated[str, Meta(max_length=49, examples=["192.0.2.0/24"])]


class ChannelTerms(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a channel may do."""

    scopes: Annotated[list[Scope], Meta(max_length=len(SCOPES))]
    max_payment: Annotated[PositiveAmount, Meta(description="Largest single payment.")] = "0.00"
    area: Area = ""
    expires_s: Annotated[
        Annotated[int, Meta(ge=0, le=2**40)] | None,
        Meta(description="Seconds since 1970 UTC from which on no token of it counts; null: never."),
    ] = None
    networks: Annotated[
        list[Network],
        Meta(max_length=service_tokens.MAX_NETWORKS, description="Where its token counts; none: anywhere."),
    ] = []


class ChannelRequest(ChannelTerms, kw_only=True):
    """A channel to be added."""

    channel: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$", examples=["bank-1"])]


class RotateRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A fresh token."""

    overlap_s: Annotated[
        Annotated[int, Meta(ge=0, le=2_592_000)] | None,
        Meta(description="How long the former token still counts; null: as the rule `overlap_s` says."),
    ] = None


class Channel(msgspec.Struct):
    """A channel, without its token."""

    channel: str
    scopes: list[str]
    max_payment: PositiveAmount
    area: Area
    expires: Moment | None
    networks: list[str]
    former_until: Annotated[Moment | None, Meta(description="Until when the token before this one counts.")]
    added: Moment
    added_by: str
    used: Annotated[Moment | None, Meta(description="When its token was last shown, to the minute.")]
    desk: Annotated[bool, Meta(description="Whether it is the desk of a person, which has no token.")]


class FreshChannel(msgspec.Struct):
    """A channel with a fresh token, which is shown this once: the head end keeps only a digest of it."""

    channel: Channel
    token: str


class ChannelPage(msgspec.Struct):
    """Channels by name."""

    channels: list[Channel]
    next_after: Annotated[str | None, Meta(description="`after` of the next page; null on the last one.")]


class ChannelsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which channels."""

    after: Annotated[str, Meta(max_length=40)] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


async def list_channels(call: Call[Nothing, ChannelsQuery]) -> Answer:
    """Channels by name."""
    rows = await call.desk.read(service_tokens.page, call.query.after, call.query.limit)
    more = rows[-1].channel if len(rows) == call.query.limit else None
    return Answer(200, ChannelPage([_shown(row) for row in rows], more))


async def get_channel(call: Call[Nothing, Nothing]) -> Answer:
    """One channel. The answer's ETag is what a change names in If-Match."""
    return _answer(await call.desk.read(service_tokens.get, call.path["channel"]))


async def post_channel(call: Call[ChannelRequest, Nothing]) -> Answer:
    """Add a channel, with a token that is shown this once."""
    body, token = call.body, channels.new_token(os.urandom)
    arguments = (call.desk.clock.now_s(), call.caller.actor, body.channel, token, _terms(body))

    def answer(row: Row[Any]) -> Answer:
        headers = {"Location": f"/api/v1/channels/{row.channel}", "ETag": _etag(row)}
        return Answer(201, FreshChannel(_shown(row), token), headers)

    return await call.desk.act(service_tokens.add, *arguments, answer=answer)


async def put_channel(call: Call[ChannelTerms, Nothing]) -> Answer:
    """Set what a channel may do. Wants If-Match. Of a person's desk only the limit is set."""
    return await call.desk.act(_change, call.desk.clock.now_s(), call, answer=_answer)


async def rotate_channel(call: Call[RotateRequest, Nothing]) -> Answer:
    """Give a channel a fresh token, shown this once; the former one counts for a while longer."""
    token = channels.new_token(os.urandom)
    arguments = (call.desk.clock.now_s(), call.caller.actor, call.path["channel"], token, call.body.overlap_s)

    def answer(row: Row[Any]) -> Answer:
        return Answer(200, FreshChannel(_shown(row), token))

    return await call.desk.act(service_tokens.rotate, *arguments, answer=answer)


async def close_channel(call: Call[Nothing, Nothing]) -> Answer:
    """End a channel's tokens and scopes. Its payments and its account stay."""
    arguments = (call.desk.clock.now_s(), call.caller.actor, call.path["channel"])
    return await call.desk.act(service_tokens.close, *arguments, answer=_answer)


def _change(conn: Connection, now_s: int, call: Call[ChannelTerms, Nothing]) -> Row[Any]:
    name = call.path["channel"]
    call.expect(_etag(service_tokens.get(conn, name)))
    return service_tokens.change(conn, now_s, call.caller.actor, name, _terms(call.body))


def _terms(body: ChannelTerms) -> Terms:
    limit_uc = wire.read_amount("max_payment", body.max_payment)
    scopes = tuple(dict.fromkeys(body.scopes))
    return Terms(scopes, limit_uc, body.area, body.expires_s, tuple(body.networks))


def _answer(row: Row[Any]) -> Answer:
    return Answer(200, _shown(row), {"ETag": _etag(row)})


def _etag(row: Row[Any]) -> str:
    return wire.etag(row.channel, row.version, row.scopes, row.max_payment_uc)


def _shown(row: Row[Any]) -> Channel:
    return Channel(
        channel=row.channel,
        scopes=row.scopes.split(),
        max_payment=wire.amount(row.max_payment_uc),
        area=row.area,
        expires=wire.moment_or_none(row.expires_s),
        networks=row.addresses.split(),
        former_until=wire.moment(row.former_until_s) if row.former_digest else None,
        added=wire.moment(row.added_s),
        added_by=row.created_by,
        used=wire.moment_or_none(row.used_s),
        desk=row.channel.startswith(DESK),
    )


_ONE: dict[str, Any] = {"scope": USERS, "query": Nothing, "problems": ("unknown_channel",)}

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET", "/channels", list_channels, scope=USERS, answers={200: ChannelPage}, body=Nothing, query=ChannelsQuery
    ),
    Operation(
        "POST",
        "/channels",
        post_channel,
        scope=USERS,
        answers={201: FreshChannel},
        body=ChannelRequest,
        query=Nothing,
        problems=("channel_exists",),
        secret=True,
    ),
    Operation("GET", "/channels/{channel}", get_channel, answers={200: Channel}, body=Nothing, **_ONE),
    Operation("PUT", "/channels/{channel}", put_channel, answers={200: Channel}, body=ChannelTerms, edits=True, **_ONE),
    Operation(
        "POST",
        "/channels/{channel}/token",
        rotate_channel,
        answers={200: FreshChannel},
        body=RotateRequest,
        secret=True,
        **_ONE,
    ),
    Operation("POST", "/channels/{channel}/close", close_channel, answers={200: Channel}, body=Nothing, **_ONE),
)
