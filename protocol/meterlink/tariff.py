"""The tariff engine: which rate applies when, and what the next watt-hour costs, exactly.

One module for the meter, for shadow billing and for the simulator: given the same watt-hours at the same rates they
agree to the unit. A price is micro-currency per kWh; a watt-hour costs a thousandth of it, and what does not divide
is carried as a remainder of 0..999 thousandths of a micro-currency.

Body of a `tariff` order, at most 890 bytes; one of more than 137 travels apart. Format 1 where it can say it all: one
step, one day type of at most 8 slots, nothing else::

    format 1 | utc_offset 1 (signed, quarters of an hour) | activate_s 4 (0 = at once) | rates n 1 (1..4)
    | unknown_time_rate 1 | n x price 8 | slots m 1 (1..8) | m x (start 1 (quarter of the local day, 0..95), rate 1)

else format 2, whose lists are a count of 1 byte and so many entries::

    format 2 | utc_offset 1 | activate_s 4 | unknown_time_rate 1 | year_from 1 | list of thresholds 4 | prices 8
    | export prices 8 | charges (per 1, amount 8) | slots (start 1, rate 1) | seasons (month 1, day 1, day type of
    Monday .. Sunday 7) | special days (years since 2000 1, month 1, day 1, day type 1) | offsets (from_s 4, offset 1)
"""

import struct

from meterlink import calendar, results
from meterlink.calendar import DAY_S
from meterlink.orders import OrderError

FORMAT = 1
FORMAT_2 = 2
MAX_RATES = 4
MAX_SLOTS = 14  # of a day type
MAX_SLOTS_1 = 8  # in format 1
MAX_DAY_TYPES = 8
MAX_SEASONS = 12
MAX_SPECIAL_DAYS = 40
MAX_STEPS = 6
MAX_CHARGES = 2
MAX_OFFSETS = 24
MAX_STEP_WH = 0xFFFFFFFF
MAX_PRICE_UC_PER_KWH = 1_000_000_000_000
MAX_LENGTH = 890
QUARTER_S = 900
WH_PER_KWH = 1000

PER_DAY = 1
PER_MONTH = 2
FRIENDLY = 0x80  # in the day type of a special day

_HEAD = ">BbIBB"
_HEAD_LENGTH = 8
_LISTS = (">I", ">Q", ">Q", ">BQ", ">BB", ">9B", ">4B", ">Ib")
_PRICES = 1
_SLOTS = 4


def _bad(message: str) -> OrderError:
    return OrderError(results.BAD_BODY, message)


def _range(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise _bad("{}: {} given, {}..{} expected".format(field, value, low, high))


def _rise(field: str, entries: "tuple[tuple[int, ...], ...]", keys: int) -> None:
    """The first `keys` numbers of the entries rise from one to the next."""
    for i in range(1, len(entries)):
        if entries[i][:keys] <= entries[i - 1][:keys]:
            raise _bad("{}: {} given after {}, rising ones expected".format(field, entries[i], entries[i - 1]))


class Tariff:
    """A tariff: prices by rate and step, days by season, charges for time, credit for export.

    - prices_uc_per_kwh: one a rate (1..4 rates, 0..10^12 each), for each step, the first step's first.
    - slots: (start quarter 0..95, rate), at most 14 with rising starts from 0: the day of type 0; more_days: the slots
      of the day types 1..7.
    - utc_offset_quarters: local time minus UTC, -96..96, before the first of `offsets`: (from_s, offset in quarters),
      rising and at quarters of an hour, at most 24.
    - activate_s: when it takes over, 0 = at once · unknown_time_rate: the rate while the clock is unknown.
    - steps_wh: rising thresholds 1..2^32-1, at most 5. A watt-hour takes the price of the step that the consumption
      before it lies in: below the first threshold that of the first step. The consumption is that of the local month,
      or where `year_from` is a month 1..12 that of the year which begins with it.
    - export_prices_uc_per_kwh: one a rate, or none: export earns nothing.
    - charges: (PER_DAY or PER_MONTH, amount 1..10^12), at most 2: for each local day, or month, that begins.
    - seasons: (month, day of its first day, day type of Monday .. Sunday), at most 12, rising; the year begins in the
      last of them. Without seasons all days are of type 0.
    - special_days: (years since 2000 or 0 for every year, month, day, day type, with FRIENDLY where credit never
      trips), at most 40, rising; one of a single year outranks those of every year.

    Raises OrderError(BAD_BODY) that names the field.
    """

    def __init__(
        self,
        prices_uc_per_kwh: "tuple[int, ...]",
        slots: "tuple[tuple[int, ...], ...]" = ((0, 0),),
        utc_offset_quarters: int = 0,
        activate_s: int = 0,
        unknown_time_rate: int = 0,
        steps_wh: "tuple[int, ...]" = (),
        year_from: int = 0,
        export_prices_uc_per_kwh: "tuple[int, ...]" = (),
        charges: "tuple[tuple[int, ...], ...]" = (),
        more_days: "tuple[tuple[tuple[int, ...], ...], ...]" = (),
        seasons: "tuple[tuple[int, ...], ...]" = (),
        special_days: "tuple[tuple[int, ...], ...]" = (),
        offsets: "tuple[tuple[int, ...], ...]" = (),
    ) -> None:
        self.prices_uc_per_kwh = tuple(prices_uc_per_kwh)
        self.slots = tuple(slots)
        self.utc_offset_quarters = utc_offset_quarters
        self.activate_s = activate_s
        self.unknown_time_rate = unknown_time_rate
        self.steps_wh = tuple(steps_wh)
        self.year_from = year_from
        self.export_prices_uc_per_kwh = tuple(export_prices_uc_per_kwh)
        self.charges = tuple(charges)
        self.more_days = tuple(more_days)
        self.seasons = tuple(seasons)
        self.special_days = tuple(special_days)
        self.offsets = tuple(offsets)
        self.rates = len(self.prices_uc_per_kwh) // (len(self.steps_wh) + 1)
        self._check()

    def _check(self) -> None:
        for field, count, low, high in (
            ("rates", self.rates, 1, MAX_RATES),
            ("steps", len(self.steps_wh) + 1, 1, MAX_STEPS),
            ("day types", len(self.more_days) + 1, 1, MAX_DAY_TYPES),
            ("seasons", len(self.seasons), 0, MAX_SEASONS),
            ("special days", len(self.special_days), 0, MAX_SPECIAL_DAYS),
            ("charges", len(self.charges), 0, MAX_CHARGES),
            ("offsets", len(self.offsets), 0, MAX_OFFSETS),
            ("unknown_time_rate", self.unknown_time_rate, 0, self.rates - 1),
            ("utc_offset_quarters", self.utc_offset_quarters, -96, 96),
            ("activate_s", self.activate_s, 0, 0xFFFFFFFF),
            ("year_from", self.year_from, 0, 12),
        ):
            _range(field, count, low, high)
        prices = len(self.prices_uc_per_kwh)
        _range("prices", prices, self.rates * (len(self.steps_wh) + 1), self.rates * (len(self.steps_wh) + 1))
        if self.export_prices_uc_per_kwh:
            _range("export prices", len(self.export_prices_uc_per_kwh), self.rates, self.rates)
        for price in self.prices_uc_per_kwh + self.export_prices_uc_per_kwh:
            _range("price", price, 0, MAX_PRICE_UC_PER_KWH)
        before_wh = 0
        for step_wh in self.steps_wh:
            _range("step", step_wh, before_wh + 1, MAX_STEP_WH)
            before_wh = step_wh
        for per, amount_uc in self.charges:
            _range("charge per", per, PER_DAY, PER_MONTH)
            _range("charge", amount_uc, 1, MAX_PRICE_UC_PER_KWH)
        for slots in self._days():
            _range("slots", len(slots), 1, MAX_SLOTS)
            _range("first slot start", slots[0][0], 0, 0)
            _rise("slot", slots, 1)
            for start, rate in slots:
                _range("slot start", start, 0, 95)
                _range("slot rate", rate, 0, self.rates - 1)
        _rise("season", self.seasons, 2)
        for season in self.seasons:
            _range("season", len(season), 9, 9)
            self._check_day("season", (0, season[0], season[1]), season[2:])
        _rise("special day", self.special_days, 3)
        for special in self.special_days:
            _range("special day's year", special[0], 0, 0xFF)
            self._check_day("special day", special, (special[3] & ~FRIENDLY,))
        _rise("offset", self.offsets, 1)
        for from_s, offset in self.offsets:
            _range("offset from_s", from_s, 0, 0xFFFFFFFF)
            _range("offset from_s beyond a quarter of an hour", from_s % QUARTER_S, 0, 0)
            _range("offset", offset, -96, 96)

    def _check_day(self, field: str, date: "tuple[int, ...]", day_types: "tuple[int, ...]") -> None:
        if not calendar.is_date(2000 + date[0], date[1], date[2]):
            raise _bad("{}: {} given, a date expected".format(field, date))
        for day_type in day_types:
            _range(field + "'s day type", day_type, 0, len(self.more_days))

    def _days(self) -> "tuple[tuple[tuple[int, ...], ...], ...]":
        """Slots by day type."""
        return (self.slots,) + self.more_days

    # -- time ----------------------------------------------------------------------------------------------------------

    def offset_s(self, unix_s: int) -> int:
        """Local time minus UTC."""
        offset = self.utc_offset_quarters
        for from_s, later in self.offsets:
            if from_s > unix_s:
                break
            offset = later
        return offset * QUARTER_S

    def local(self, unix_s: int) -> "tuple[int, int, int, int, int]":
        """(year, month, day, weekday 0 = Monday, second of the day) at a UTC second."""
        day, second = divmod(unix_s + self.offset_s(unix_s), DAY_S)
        return calendar.date_of(day) + (calendar.weekday_of(day), second)

    def day(self, unix_s: int) -> int:
        """The local day: days since 1970."""
        return (unix_s + self.offset_s(unix_s)) // DAY_S

    def next_day_s(self, unix_s: int) -> int:
        """The first UTC second after this one that lies in a later local day."""
        at_s, ahead_s = unix_s, self.offset_s(unix_s)
        until_s = (self.day(unix_s) + 1) * DAY_S
        for from_s, offset in self.offsets:
            if from_s > unix_s:
                if until_s - ahead_s < from_s:
                    break
                at_s, ahead_s = from_s, offset * QUARTER_S
        return max(at_s, until_s - ahead_s)

    def _special(self, year: int, month: int, day: int) -> int:
        """The day type of a special day with its flag, or -1."""
        found = -1
        for special in self.special_days:  # those of every year stand first
            if special[0] in (0, year - 2000) and special[1] == month and special[2] == day:
                found = special[3]
        return found

    def friendly(self, unix_s: int) -> bool:
        """Whether the local day is a special one on which credit never trips."""
        found = self._special(*self.local(unix_s)[:3])
        return found >= 0 and found & FRIENDLY != 0

    def _day_type(self, year: int, month: int, day: int, weekday: int) -> int:
        found = self._special(year, month, day)
        if found >= 0:
            return found & ~FRIENDLY
        if not self.seasons:
            return 0
        season = self.seasons[-1]
        for one in self.seasons:
            if one[:2] > (month, day):
                break
            season = one
        return season[2 + weekday]

    def rate_at(self, unix_s: int, clock_known: bool = True) -> int:
        """The rate (0..3) in force at a UTC second; it changes at quarters of an hour alone."""
        if not clock_known:
            return self.unknown_time_rate
        at = self.local(unix_s)
        quarter = at[4] // QUARTER_S
        rate = 0
        for start, slot_rate in self._days()[self._day_type(*at[:4])]:
            if start > quarter:
                break
            rate = slot_rate
        return rate

    # -- money ---------------------------------------------------------------------------------------------------------

    def period(self, unix_s: int) -> int:
        """The step period at a UTC second: the number of its first month (`calendar.month_of`)."""
        month = calendar.month_of(self.day(unix_s))
        return month - (month + 1 - self.year_from) % 12 if self.year_from else month

    def step(self, used_wh: int) -> int:
        """The step (0..5) of the next watt-hour after so many in its period."""
        step = 0
        while step < len(self.steps_wh) and used_wh >= self.steps_wh[step]:
            step += 1
        return step

    def price_uc_per_kwh(self, rate: int, used_wh: int = 0) -> int:
        """The price of the next watt-hour."""
        return self.prices_uc_per_kwh[self.step(used_wh) * self.rates + rate]

    def cost(self, energy_wh: int, rate: int, remainder: int, used_wh: int = 0) -> "tuple[int, int]":
        """(whole micro-currency, remainder 0..999) of `energy_wh` more watt-hours at `rate`.

        used_wh: consumption of the step period before them · remainder: what the previous call returned (0 at first);
        splitting the energy does not change the sum.
        """
        place = rate
        for step_wh in self.steps_wh:
            if used_wh < step_wh:
                lower_wh = min(energy_wh, step_wh - used_wh)
                remainder += lower_wh * self.prices_uc_per_kwh[place]
                used_wh += lower_wh
                energy_wh -= lower_wh
            place += self.rates
        return divmod(energy_wh * self.prices_uc_per_kwh[place] + remainder, WH_PER_KWH)

    def earning(self, exported_wh: int, rate: int, remainder: int) -> "tuple[int, int]":
        """(whole micro-currency, remainder 0..999) that export at `rate` earns; the remainder as in `cost`."""
        if not self.export_prices_uc_per_kwh:
            return 0, remainder
        return divmod(exported_wh * self.export_prices_uc_per_kwh[rate] + remainder, WH_PER_KWH)

    def standing_uc(self, after_day: int, day: int) -> int:
        """What the local days (and months) cost that began after one day, up to another."""
        days = day - after_day
        months = calendar.month_of(day) - calendar.month_of(after_day)
        return sum([amount_uc * (days if per == PER_DAY else months) for per, amount_uc in self.charges])

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def encode(self) -> bytes:
        """The canonical body (see the module)."""
        lists: "list[tuple[tuple[int, ...], ...]]" = []
        for numbers in (self.steps_wh, self.prices_uc_per_kwh, self.export_prices_uc_per_kwh):
            lists.append(tuple([(number,) for number in numbers]))
        slots = self.slots
        for more in self.more_days:
            slots += more
        lists += [self.charges, slots, self.seasons, self.special_days, self.offsets]
        head = FORMAT_2, self.utc_offset_quarters, self.activate_s, self.unknown_time_rate, self.year_from
        if _plain(self.year_from, [len(one) for one in lists]):
            head = FORMAT, self.utc_offset_quarters, self.activate_s, self.rates, self.unknown_time_rate
        body = struct.pack(_HEAD, *head)
        for place in range(len(_LISTS)):
            if head[0] == FORMAT_2 or place == _SLOTS:
                body += bytes((len(lists[place]),))
            for entry in lists[place]:
                body += struct.pack(_LISTS[place], *entry)
        return body


def _plain(year_from: int, lengths: "list[int]") -> bool:
    """Whether format 1 can say it: slots of one day, prices, nothing else."""
    return not year_from and lengths[_SLOTS] <= MAX_SLOTS_1 and sum(lengths) == lengths[_PRICES] + lengths[_SLOTS]


def decode(body: bytes) -> Tariff:
    """Read a tariff body; raises OrderError(BAD_BODY) for anything that `encode` does not make."""
    _range("tariff body's length", len(body), _HEAD_LENGTH + 11, MAX_LENGTH)
    form, offset, activate_s, rates, unknown = struct.unpack_from(_HEAD, body, 0)
    _range("tariff format", form, FORMAT, FORMAT_2)
    lists: "list[tuple[tuple[int, ...], ...]]" = []
    at = _HEAD_LENGTH
    for place in range(len(_LISTS)):
        count = 0
        if form == FORMAT and place == _PRICES:
            count = rates
        elif (form == FORMAT_2 or place == _SLOTS) and at < len(body):
            count = body[at]
            at += 1
        size = struct.calcsize(_LISTS[place])
        _range("tariff body's length", len(body), at + count * size, MAX_LENGTH)
        lists.append(tuple([struct.unpack_from(_LISTS[place], body, at + i * size) for i in range(count)]))
        at += count * size
    days: "list[tuple[tuple[int, ...], ...]]" = []
    for slot in lists[_SLOTS]:
        if not slot[0] or not days:
            days.append(())
        days[-1] += (slot,)
    year_from = 0
    if form == FORMAT_2:
        unknown, year_from = rates, unknown
    steps, prices, exports = [tuple([entry[0] for entry in lists[place]]) for place in range(3)]
    one = Tariff(
        prices,
        days[0] if days else (),
        offset,
        activate_s,
        unknown,
        steps,
        year_from,
        exports,
        lists[3],
        tuple(days[1:]),
        *lists[5:],
    )
    if one.encode() != body:
        raise _bad("tariff body: the shortest one expected, with nothing after it")
    return one
