"""Whether a meter can be disconnected, and why its supply is off: the answers of `orders.why`."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from headend.access.permissions import READ
from headend.language import ENGLISH, LANGUAGES
from headend.orders import why
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.orders import Reason
from headend.web.wire import MeterNumber, Moment
from meterlink import names


class ReasonQuery(msgspec.Struct, forbid_unknown_fields=True):
    """For which reason."""

    reason: Reason = "arrears"


class CanDisconnect(msgspec.Struct):
    """Whether a meter can be disconnected for a reason now."""

    meter: MeterNumber
    reason: Reason
    yes: Annotated[bool, Meta(description="A stop that is ordered now would be sent now.")]
    rule: Annotated[str, Meta(description="What decides, for programs.", examples=["gate.frozen", "calendar"])]
    sentence: Annotated[dict[str, str], Meta(description="By language.")]
    needs_approval: Annotated[bool, Meta(description="A second person has to approve it first.")]
    later: Annotated[Moment | None, Meta(description="When it may be tried again, where that is known.")]


class WhyOff(msgspec.Struct):
    """Why supply of a meter is off."""

    meter: MeterNumber
    off: Annotated[bool, Meta(description="False: it is on, and meant to be.")]
    sentence: Annotated[dict[str, str], Meta(description="By language; empty when on.")]


async def can_disconnect(call: Call[Nothing, ReasonQuery]) -> Answer:
    """Whether the meter can be disconnected now, and why not.

    Asks what is asked when an order is sent: freeze, exclusions, calendar, payments, budgets of the caller.
    """
    reason = names.code(names.HOLD, call.query.reason)
    found = await call.desk.read(_can_stop, call.desk.clock.now_s(), call.meter, reason, call.caller.actor)
    answer = found[ENGLISH]
    body = CanDisconnect(
        wire.meter_name(call.meter),
        call.query.reason,
        answer.yes,
        answer.rule,
        {language: one.sentence for language, one in found.items()},
        answer.approval,
        wire.moment(answer.later_s) if answer.later_s else None,
    )
    return Answer(200, body)


async def get_why(call: Call[Nothing, Nothing]) -> Answer:
    """Why supply of the meter is off, or still off."""
    found = await call.desk.read(_why, call.desk.clock.now_s(), call.meter)
    return Answer(200, WhyOff(wire.meter_name(call.meter), bool(found), found))


def _can_stop(conn: Connection, now_s: int, meter: int, reason: int, actor: str) -> dict[str, why.Answer]:
    return {language: why.can_stop(conn, now_s, meter, reason, language, actor) for language in LANGUAGES}


def _why(conn: Connection, now_s: int, meter: int) -> dict[str, str]:
    found = {language: why.why_off(conn, now_s, meter, language) for language in LANGUAGES}
    return {language: sentence for language, sentence in found.items() if sentence}


_METER = ("unknown_meter",)

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/meters/{meter}/can-disconnect",
        can_disconnect,
        scope=READ,
        answers={200: CanDisconnect},
        body=Nothing,
        query=ReasonQuery,
        problems=_METER,
    ),
    Operation(
        "GET",
        "/meters/{meter}/why",
        get_why,
        scope=READ,
        answers={200: WhyOff},
        body=Nothing,
        query=Nothing,
        problems=_METER,
    ),
)
