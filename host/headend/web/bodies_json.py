"""Limits of a meter as JSON, and back."""

from typing import Annotated

import msgspec
from msgspec import Meta

from headend.refusals import Refused
from headend.web import wire
from headend.web.wire import PositiveAmount
from meterlink import bodies

MAX_SECONDS = bodies.DEFAULT - 1

Seconds = Annotated[int, Meta(ge=0, le=MAX_SECONDS)]


class LimitsBody(msgspec.Struct, forbid_unknown_fields=True):
    """Thresholds and delays of a meter."""

    alarm: Annotated[PositiveAmount, Meta(description="Low-credit alarm, on at a balance at or below it.")]
    alarm2: Annotated[PositiveAmount, Meta(description="Second low-credit alarm, at most the first.")]
    trip_delay_s: Annotated[Seconds, Meta(description="Alarm before a trip by order or by credit.")]
    dwell_s: Annotated[Seconds, Meta(description="Shortest time between two operations of the relay.")]
    spread_s: Annotated[Seconds, Meta(description="Widest random delay before a close.")]
    stable_s: Annotated[Seconds, Meta(description="How long supply has been good before a close.")]
    max_current_ma: Annotated[int, Meta(ge=0, le=0xFFFFFFFF, description="Overload threshold; 0: none.")] = 0
    credit_limit: Annotated[
        PositiveAmount | None,
        Meta(description="Hoarding limit: no typed token raises the balance above it; null: none."),
    ] = None
    typed_cap: Annotated[
        PositiveAmount | None,
        Meta(description="What typed tokens may credit in 30 days; 0 turns them off, null: no cap."),
    ] = None


def read_limits(body: LimitsBody) -> bodies.Limits:
    """Raises Refused that names the field."""
    alarm_uc, alarm2_uc = wire.read_amount("alarm", body.alarm), wire.read_amount("alarm2", body.alarm2)
    if alarm2_uc > alarm_uc:
        raise Refused("alarm2", body.alarm2, f"at most {body.alarm}, the first alarm")
    return bodies.Limits(
        alarm_uc,
        alarm2_uc,
        body.trip_delay_s,
        body.dwell_s,
        body.spread_s,
        body.stable_s,
        body.max_current_ma,
        _or_none("credit_limit", body.credit_limit),
        _or_none("typed_cap", body.typed_cap),
    )


def write_limits(raw: bytes) -> LimitsBody:
    """A body that a meter takes, as JSON."""
    read = bodies.decode_limits(raw)
    return LimitsBody(
        alarm=wire.amount(read.alarm_uc),
        alarm2=wire.amount(read.alarm2_uc),
        trip_delay_s=read.trip_delay_s,
        dwell_s=read.dwell_s,
        spread_s=read.spread_s,
        stable_s=read.stable_s,
        max_current_ma=read.max_current_ma,
        credit_limit=None if read.credit_limit_uc == bodies.MAX_UC else wire.amount(read.credit_limit_uc),
        typed_cap=None if read.typed_cap_uc == bodies.MAX_UC else wire.amount(read.typed_cap_uc),
    )


def _or_none(field: str, amount: str | None) -> int:
    """A limit; the highest there is where none is given."""
    return bodies.MAX_UC if amount is None else wire.read_amount(field, amount)
