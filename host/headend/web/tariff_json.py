"""A tariff as JSON, and back."""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from headend.refusals import Refused
from headend.web import wire
from headend.web.wire import PositiveAmount
from meterlink import tariff

QUARTER_MINUTES = 15
EVERY_YEAR = 2000  # special days of every year, in a meter's tariff, and the year before the first that can be named
_LAST_YEAR = EVERY_YEAR + 0xFF

QuarterOfDay = Annotated[
    str,
    Meta(pattern=r"^([01][0-9]|2[0-3]):(00|15|30|45)$", description="Local time, HH:MM.", examples=["06:00"]),
]
OffsetMinutes = Annotated[
    int, Meta(ge=-1440, le=1440, multiple_of=QUARTER_MINUTES, description="Local time minus UTC.")
]
Rate = Annotated[int, Meta(ge=0, le=tariff.MAX_RATES - 1, description="Index into `prices`, from 0.")]
DayType = Annotated[
    int, Meta(ge=0, le=tariff.MAX_DAY_TYPES - 1, description="0: the day of `slots`; from 1 on: those of `more_days`.")
]
Prices = Annotated[
    list[PositiveAmount],
    Meta(min_length=1, max_length=tariff.MAX_RATES, description="Price of a kilowatt-hour, one for each rate."),
]

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):(00|15|30|45)")
_MONTH_DAY = re.compile(r"(\d\d)-(\d\d)", re.ASCII)
_DATE = re.compile(r"(?:(\d{4})-)?(\d\d)-(\d\d)", re.ASCII)


class Slot(msgspec.Struct, forbid_unknown_fields=True):
    """From `start` on, until the next slot, the price of `rate` holds."""

    start: QuarterOfDay
    rate: Rate


Slots = Annotated[
    list[Slot],
    Meta(min_length=1, max_length=tariff.MAX_SLOTS, description="A local day, from 00:00 on, in rising order."),
]


class Step(msgspec.Struct, forbid_unknown_fields=True):
    """Beyond a consumption in the period the kilowatt-hour costs something else."""

    from_wh: Annotated[
        int, Meta(ge=1, le=tariff.MAX_STEP_WH, description="Consumption of the period that this step begins at, Wh.")
    ]
    prices: Prices


class Season(msgspec.Struct, forbid_unknown_fields=True):
    """From its first day on, until the next season's, each year."""

    first: Annotated[str, Meta(pattern=r"^[0-9]{2}-[0-9]{2}$", description="Its first day, MM-DD.", examples=["04-01"])]
    week: Annotated[list[DayType], Meta(min_length=7, max_length=7, description="Monday .. Sunday.")]


class SpecialDay(msgspec.Struct, forbid_unknown_fields=True):
    """A day of its own kind, whatever its season and weekday; one of a single year outranks those of every year."""

    date: Annotated[
        str,
        Meta(
            pattern=r"^([0-9]{4}-)?[0-9]{2}-[0-9]{2}$",
            description="YYYY-MM-DD from 2001 on, or MM-DD for every year.",
            examples=["2026-05-01", "12-25"],
        ),
    ]
    day_type: DayType
    friendly: Annotated[
        bool, Meta(description="Credit never trips on it, where the limits name special days among the friendly ones.")
    ] = False


class StandingCharge(msgspec.Struct, forbid_unknown_fields=True):
    """What each local day, or month, costs that begins."""

    per: Literal["day", "month"]
    amount: PositiveAmount


class Offset(msgspec.Struct, forbid_unknown_fields=True):
    """From a moment on, local time differs from UTC by something else: daylight saving."""

    from_s: Annotated[
        int, Meta(ge=0, le=0xFFFFFFFF, multiple_of=tariff.QUARTER_S, description="Seconds since 1970 UTC.")
    ]
    utc_offset_minutes: OffsetMinutes


class TariffBody(msgspec.Struct, forbid_unknown_fields=True):
    """A tariff: flat, by time of use, by consumption; with charges for time and credit for export."""

    prices: Prices
    slots: Slots = msgspec.field(default_factory=lambda: [Slot("00:00", 0)])
    utc_offset_minutes: OffsetMinutes = 0
    activate_s: Annotated[
        int, Meta(ge=0, le=0xFFFFFFFF, description="When it takes over, seconds since 1970 UTC; 0: at once.")
    ] = 0
    unknown_time_rate: Annotated[
        int, Meta(ge=0, le=tariff.MAX_RATES - 1, description="The rate while the meter does not know the time.")
    ] = 0
    steps: Annotated[
        list[Step], Meta(max_length=tariff.MAX_STEPS - 1, description="Further steps, in rising order.")
    ] = []
    year_from: Annotated[
        int,
        Meta(
            ge=0,
            le=12,
            description="Steps go by the consumption of the year that begins with this month; 0: of a month.",
        ),
    ] = 0
    export_prices: Annotated[
        list[PositiveAmount],
        Meta(
            max_length=tariff.MAX_RATES, description="What an exported kilowatt-hour earns, one for each rate, or none."
        ),
    ] = []
    charges: Annotated[list[StandingCharge], Meta(max_length=tariff.MAX_CHARGES)] = []
    more_days: Annotated[
        list[Slots], Meta(max_length=tariff.MAX_DAY_TYPES - 1, description="The days of type 1 and up.")
    ] = []
    seasons: Annotated[
        list[Season],
        Meta(max_length=tariff.MAX_SEASONS, description="In rising order; none: all days are those of `slots`."),
    ] = []
    special_days: Annotated[
        list[SpecialDay], Meta(max_length=tariff.MAX_SPECIAL_DAYS, description="In any order.")
    ] = []
    offsets: Annotated[
        list[Offset],
        Meta(
            max_length=tariff.MAX_OFFSETS,
            description="Changes of local time, in rising order; before them `utc_offset_minutes`.",
        ),
    ] = []


_PER = {"day": tariff.PER_DAY, "month": tariff.PER_MONTH}


def read_tariff(body: TariffBody) -> tariff.Tariff:
    """Raises Refused, or meterlink's OrderError, naming what does not fit."""
    prices = _amounts("prices", body.prices)
    for n, step in enumerate(body.steps):
        if len(step.prices) != len(body.prices):
            raise Refused(f"steps[{n}].prices", len(step.prices), f"{len(body.prices)}, one for each rate")
        prices += _amounts(f"steps[{n}].prices", step.prices)
    return tariff.Tariff(
        prices,
        _slots("slots", body.slots),
        _quarters("utc_offset_minutes", body.utc_offset_minutes),
        body.activate_s,
        body.unknown_time_rate,
        tuple(step.from_wh for step in body.steps),
        body.year_from,
        _amounts("export_prices", body.export_prices),
        tuple(
            (_PER[one.per], wire.read_amount(f"charges[{n}].amount", one.amount)) for n, one in enumerate(body.charges)
        ),
        tuple(_slots(f"more_days[{n}]", slots) for n, slots in enumerate(body.more_days)),
        tuple((*_first(f"seasons[{n}].first", one.first), *one.week) for n, one in enumerate(body.seasons)),
        tuple(sorted(_special(f"special_days[{n}].date", one) for n, one in enumerate(body.special_days))),
        tuple(
            (one.from_s, _quarters(f"offsets[{n}].utc_offset_minutes", one.utc_offset_minutes))
            for n, one in enumerate(body.offsets)
        ),
    )


def write_tariff(raw: bytes) -> TariffBody:
    """A body that a meter takes, as JSON."""
    read = tariff.decode(raw)
    by_step = [
        _prices(read.prices_uc_per_kwh[at : at + read.rates])
        for at in range(0, len(read.prices_uc_per_kwh), read.rates)
    ]
    return TariffBody(
        prices=by_step[0],
        slots=_write_slots(read.slots),
        utc_offset_minutes=read.utc_offset_quarters * QUARTER_MINUTES,
        activate_s=read.activate_s,
        unknown_time_rate=read.unknown_time_rate,
        steps=[Step(from_wh, prices) for from_wh, prices in zip(read.steps_wh, by_step[1:], strict=True)],
        year_from=read.year_from,
        export_prices=_prices(read.export_prices_uc_per_kwh),
        charges=[StandingCharge(_per(per), wire.amount(amount_uc)) for per, amount_uc in read.charges],
        more_days=[_write_slots(slots) for slots in read.more_days],
        seasons=[Season(f"{one[0]:02d}-{one[1]:02d}", list(one[2:])) for one in read.seasons],
        special_days=[_write_special(*one) for one in read.special_days],
        offsets=[Offset(from_s, quarters * QUARTER_MINUTES) for from_s, quarters in read.offsets],
    )


def _amounts(field: str, amounts: list[str]) -> tuple[int, ...]:
    return tuple(wire.read_amount(f"{field}[{n}]", amount) for n, amount in enumerate(amounts))


def _prices(prices_uc: tuple[int, ...]) -> list[str]:
    return [wire.amount(price_uc) for price_uc in prices_uc]


def _quarters(field: str, minutes: int) -> int:
    quarters, rest = divmod(minutes, QUARTER_MINUTES)
    if rest:
        raise Refused(field, minutes, f"a multiple of {QUARTER_MINUTES}")
    return quarters


def _slots(field: str, slots: list[Slot]) -> tuple[tuple[int, int], ...]:
    return tuple((_quarter(f"{field}[{n}].start", slot.start), slot.rate) for n, slot in enumerate(slots))


def _quarter(field: str, text: str) -> int:
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise Refused(field, text, "a quarter of an hour such as 06:00 or 21:45")
    return int(found[1]) * 4 + int(found[2]) // QUARTER_MINUTES


def _write_slots(slots: tuple[tuple[int, ...], ...]) -> list[Slot]:
    return [Slot(f"{quarter // 4:02d}:{quarter % 4 * QUARTER_MINUTES:02d}", rate) for quarter, rate in slots]


def _first(field: str, text: str) -> tuple[int, int]:
    found = _MONTH_DAY.fullmatch(text)
    if found is None:
        raise Refused(field, text, "a day such as 04-01")
    return int(found[1]), int(found[2])


def _special(field: str, one: SpecialDay) -> tuple[int, int, int, int]:
    found = _DATE.fullmatch(one.date)
    year = int(found[1] or EVERY_YEAR) if found else 0
    if found is None or not EVERY_YEAR <= year <= _LAST_YEAR or found[1] == str(EVERY_YEAR):
        raise Refused(field, one.date, f"a date such as 12-25, or 2026-05-01 from {EVERY_YEAR + 1} to {_LAST_YEAR}")
    return year - EVERY_YEAR, int(found[2]), int(found[3]), one.day_type | (tariff.FRIENDLY if one.friendly else 0)


def _write_special(year: int, month: int, day: int, day_type: int) -> SpecialDay:
    named = f"{EVERY_YEAR + year}-" if year else ""
    friendly = bool(day_type & tariff.FRIENDLY)
    return SpecialDay(f"{named}{month:02d}-{day:02d}", day_type & ~tariff.FRIENDLY, friendly)


def _per(code: int) -> Literal["day", "month"]:
    return "day" if code == tariff.PER_DAY else "month"
