"""Limits of a meter as JSON, and back."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from headend.refusals import Refused
from headend.web import wire
from headend.web.wire import PositiveAmount
from meterlink import bodies, names

MAX_SECONDS = bodies.DEFAULT - 1

Seconds = Annotated[int, Meta(ge=0, le=MAX_SECONDS)]
TimeOfDay = Annotated[
    str,
    Meta(pattern=r"^(([01][0-9]|2[0-3]):(00|15|30|45)|24:00)$", description="Local time, HH:MM.", examples=["18:00"]),
]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_RULES = {"reminder": bodies.RULE_REMINDER, "suspend": bodies.RULE_SUSPEND}


class FriendlyTime(msgspec.Struct, forbid_unknown_fields=True):
    """When want of credit trips nothing; charges go on."""

    start: TimeOfDay = "00:00"
    end: Annotated[
        TimeOfDay, Meta(description="As `start`: no hours; before it: over midnight, of the day on which it begins.")
    ] = "00:00"
    days: Annotated[list[Weekday], Meta(max_length=7, description="Days on which it begins.")] = []
    special_days: Annotated[bool, Meta(description="The whole of the special days that the tariff calls friendly.")] = (
        False
    )
    jitter_s: Annotated[
        Seconds, Meta(description="Widest random delay of the trips that are due when such a time ends.")
    ] = 0


class Overload(msgspec.Struct, forbid_unknown_fields=True):
    """A current that trips after a time."""

    current_ma: Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]
    after_s: Annotated[int, Meta(ge=0, le=0xFFFF)]


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
        Meta(description="Hoarding limit: credit above it waits, a typed token above it is refused; null: none."),
    ] = None
    typed_cap: Annotated[
        PositiveAmount | None,
        Meta(description="What typed tokens may credit in 30 days; 0 turns them off, null: no cap."),
    ] = None
    emergency: Annotated[
        PositiveAmount, Meta(description="Emergency credit that the customer may take at the meter; 0: none.")
    ] = "0.00"
    emergency_from: Annotated[PositiveAmount, Meta(description="Offered at a balance at or below it.")] = "0.00"
    overdraft: Annotated[PositiveAmount, Meta(description="How far the balance may fall below zero.")] = "0.00"
    min_close: Annotated[
        PositiveAmount, Meta(description="Balance from which supply closes again after it was off for want of credit.")
    ] = "0.00"
    settlement: Annotated[
        Literal["smets2", "state_grid"], Meta(description="What a top-up pays first: debts, or what is below zero.")
    ] = "smets2"
    supply_mode: Annotated[
        Literal[0, 2, 3, 4, 6], Meta(description="Of disconnect control (class 70); 0: as each order says.")
    ] = 0
    rules: Annotated[
        list[Literal["reminder", "suspend"]],
        Meta(
            max_length=2,
            description="`reminder`: trips once at the second alarm. `suspend`: timed debts and standing charges "
            "accumulate while emergency credit is in use.",
        ),
    ] = []
    friendly: FriendlyTime | None = None
    over_voltage_dv: Annotated[int, Meta(ge=0, le=0xFFFF, description="1/10 V; 0: off.")] = 0
    under_voltage_dv: Annotated[int, Meta(ge=0, le=0xFFFF, description="1/10 V; 0: off.")] = 0
    voltage_s: Annotated[int, Meta(ge=0, le=0xFFFF, description="How long, before supply goes off.")] = 10
    max_temperature_dc: Annotated[int, Meta(ge=-0x8000, le=0x7FFF, description="1/10 degree Celsius; 0: off.")] = 0
    overload: Annotated[list[Overload], Meta(max_length=3, description="Steps beside `max_current_ma`.")] = []
    overload_rest_s: Annotated[int, Meta(ge=0, le=0xFFFF, description="How long an overload keeps the relay open.")] = (
        60
    )
    overload_closes: Annotated[
        int, Meta(ge=0, le=0xFF, description="How often an hour it closes by itself, before the key is needed.")
    ] = 0


def read_limits(body: LimitsBody) -> bodies.Limits:
    """Raises Refused that names the field."""
    alarm_uc, alarm2_uc = wire.read_amount("alarm", body.alarm), wire.read_amount("alarm2", body.alarm2)
    if alarm2_uc > alarm_uc:
        raise Refused("alarm2", body.alarm2, f"at most {body.alarm}, the first alarm")
    friendly = body.friendly or FriendlyTime()
    start, end = _quarter(friendly.start), _quarter(friendly.end)
    if start == _quarter("24:00"):
        raise Refused("friendly.start", friendly.start, "a time before 24:00")
    days = sum(1 << _DAYS.index(day) for day in set(friendly.days))
    steps = [(step.current_ma, step.after_s) for step in body.overload]
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
        wire.read_amount("emergency", body.emergency),
        wire.read_amount("emergency_from", body.emergency_from),
        wire.read_amount("overdraft", body.overdraft),
        wire.read_amount("min_close", body.min_close),
        names.code(names.SETTLEMENT, body.settlement),
        body.supply_mode,
        sum(_RULES[rule] for rule in set(body.rules)),
        start,
        end,
        days | (bodies.FRIENDLY_SPECIAL if friendly.special_days else 0),
        friendly.jitter_s,
        body.over_voltage_dv,
        body.under_voltage_dv,
        body.voltage_s,
        body.max_temperature_dc,
        (*steps, *bodies.NO_OVERLOAD[len(steps) :]),
        body.overload_rest_s,
        body.overload_closes,
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
        emergency=wire.amount(read.emergency_uc),
        emergency_from=wire.amount(read.emergency_from_uc),
        overdraft=wire.amount(read.overdraft_uc),
        min_close=wire.amount(read.min_close_uc),
        settlement=_SETTLEMENTS[read.settlement],
        supply_mode=read.supply_mode,  # type: ignore[arg-type]
        rules=[rule for rule, bit in _RULES.items() if read.rules & bit],  # type: ignore[misc]
        friendly=_friendly(read),
        over_voltage_dv=read.over_voltage_dv,
        under_voltage_dv=read.under_voltage_dv,
        voltage_s=read.voltage_s,
        max_temperature_dc=read.max_temperature_dc,
        overload=[Overload(*step) for step in read.overload if step[0]],
        overload_rest_s=read.overload_rest_s,
        overload_closes=read.overload_closes,
    )


_SETTLEMENTS: tuple[Literal["smets2", "state_grid"], ...] = ("smets2", "state_grid")


def _friendly(read: bodies.Limits) -> FriendlyTime | None:
    """None where there is no such time."""
    one = FriendlyTime(
        _clock(read.friendly_from),
        _clock(read.friendly_until),
        [day for place, day in enumerate(_DAYS) if read.friendly_days >> place & 1],  # type: ignore[misc]
        bool(read.friendly_days & bodies.FRIENDLY_SPECIAL),
        read.friendly_jitter_s,
    )
    return None if one == FriendlyTime() else one


def _quarter(time: str) -> int:
    return int(time[:2]) * 4 + int(time[3:]) // 15


def _clock(quarter: int) -> str:
    return f"{quarter // 4:02d}:{quarter % 4 * 15:02d}"


def _or_none(field: str, amount: str | None) -> int:
    """A limit; the highest there is where none is given."""
    return bodies.MAX_UC if amount is None else wire.read_amount(field, amount)
