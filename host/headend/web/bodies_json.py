"""Tariff and limits of a meter as JSON, and back."""

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from headend.refusals import Refused
from headend.web import wire
from headend.web.wire import PositiveAmount
from meterlink import bodies, tariff

QUARTER_MINUTES = 15
MAX_SECONDS = bodies.DEFAULT - 1

Seconds = Annotated[int, Meta(ge=0, le=MAX_SECONDS)]
QuarterOfDay = Annotated[
    str,
    Meta(pattern=r"^([01][0-9]|2[0-3]):(00|15|30|45)$", description="Local time, HH:MM.", examples=["06:00"]),
]

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):(00|15|30|45)")


class Slot(msgspec.Struct, forbid_unknown_fields=True):
    """From `start` on, until the next slot, the price of `rate` holds."""

    start: QuarterOfDay
    rate: Annotated[int, Meta(ge=0, le=tariff.MAX_RATES - 1, description="Index into `prices`, from 0.")]


class TariffBody(msgspec.Struct, forbid_unknown_fields=True):
    """A flat or time-of-use tariff."""

    prices: Annotated[
        list[PositiveAmount],
        Meta(min_length=1, max_length=tariff.MAX_RATES, description="Price of a kilowatt-hour, one for each rate."),
    ]
    slots: Annotated[
        list[Slot],
        Meta(min_length=1, max_length=tariff.MAX_SLOTS, description="The local day, from 00:00 on, in rising order."),
    ] = msgspec.field(default_factory=lambda: [Slot("00:00", 0)])
    utc_offset_minutes: Annotated[
        int, Meta(ge=-1440, le=1440, multiple_of=QUARTER_MINUTES, description="Local time minus UTC.")
    ] = 0
    activate_s: Annotated[
        int, Meta(ge=0, le=0xFFFFFFFF, description="When it takes over, seconds since 1970 UTC; 0: at once.")
    ] = 0
    unknown_time_rate: Annotated[
        int, Meta(ge=0, le=tariff.MAX_RATES - 1, description="The rate while the meter does not know the time.")
    ] = 0


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


def read_tariff(body: TariffBody) -> tariff.Tariff:
    """Raises Refused, or meterlink's OrderError, naming what does not fit."""
    prices = tuple(wire.read_amount(f"prices[{rate}]", price) for rate, price in enumerate(body.prices))
    slots = tuple((_quarter(f"slots[{n}].start", slot.start), slot.rate) for n, slot in enumerate(body.slots))
    offset, rest = divmod(body.utc_offset_minutes, QUARTER_MINUTES)
    if rest:
        raise Refused("utc_offset_minutes", body.utc_offset_minutes, f"a multiple of {QUARTER_MINUTES}")
    return tariff.Tariff(prices, slots, offset, body.activate_s, body.unknown_time_rate)


def write_tariff(raw: bytes) -> TariffBody:
    """A body that a meter takes, as JSON."""
    read = tariff.decode(raw)
    return TariffBody(
        prices=[wire.amount(price) for price in read.prices_uc_per_kwh],
        slots=[Slot(f"{quarter // 4:02d}:{quarter % 4 * QUARTER_MINUTES:02d}", rate) for quarter, rate in read.slots],
        utc_offset_minutes=read.utc_offset_quarters * QUARTER_MINUTES,
        activate_s=read.activate_s,
        unknown_time_rate=read.unknown_time_rate,
    )


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


def _quarter(field: str, text: str) -> int:
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise Refused(field, text, "a quarter of an hour such as 06:00 or 21:45")
    return int(found[1]) * 4 + int(found[2]) // QUARTER_MINUTES
