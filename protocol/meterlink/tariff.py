"""The tariff engine: which rate applies when, and what the next watt-hour costs, exactly.

One module for the meter, for shadow billing and for the simulator: given the same watt-hours at the same rates they
agree to the unit. A price is micro-currency per kWh; a watt-hour costs a thousandth of it, and what does not divide
is carried as a remainder of 0..999 thousandths of a micro-currency.

Body of a `tariff` order (format 1)::

    format 1 | utc_offset 1 (signed, quarters of an hour) | activate_s 4 (0 = at once) | rates n 1 (1..4)
    | unknown_time_rate 1 | n x price 8 | slots m 1 (1..8) | m x (start 1 (quarter of the local day, 0..95), rate 1)

The first slot starts at 0, starts rise. A flat tariff has one rate and one slot.
"""

import struct

from meterlink import results
from meterlink.orders import OrderError

FORMAT = 1
MAX_RATES = 4
MAX_SLOTS = 8
MAX_PRICE_UC_PER_KWH = 1_000_000_000_000
QUARTER_S = 900
DAY_S = 86_400
WH_PER_KWH = 1000

_HEAD = ">BbIBB"
_HEAD_LENGTH = 8


def _bad(message: str) -> OrderError:
    return OrderError(results.BAD_BODY, message)


class Tariff:
    """A flat or time-of-use tariff.

    prices_uc_per_kwh: 1..4 prices, one a rate (0..10^12) · slots: (start quarter 0..95, rate) with rising starts from
    0 · utc_offset_quarters: local time minus UTC, -96..96 · activate_s: when it takes over, 0 = at once ·
    unknown_time_rate: the rate while the clock is unknown. Raises OrderError(BAD_BODY) that names the field.
    """

    def __init__(
        self,
        prices_uc_per_kwh: "tuple[int, ...]",
        slots: "tuple[tuple[int, int], ...]" = ((0, 0),),
        utc_offset_quarters: int = 0,
        activate_s: int = 0,
        unknown_time_rate: int = 0,
    ) -> None:
        self.prices_uc_per_kwh = tuple(prices_uc_per_kwh)
        self.slots = tuple(slots)
        self.utc_offset_quarters = utc_offset_quarters
        self.activate_s = activate_s
        self.unknown_time_rate = unknown_time_rate
        self._check()

    def _check(self) -> None:
        rates = len(self.prices_uc_per_kwh)
        if not 1 <= rates <= MAX_RATES:
            raise _bad("rates: {} given, 1..{} expected".format(rates, MAX_RATES))
        for price in self.prices_uc_per_kwh:
            if not 0 <= price <= MAX_PRICE_UC_PER_KWH:
                raise _bad("price: {} given, 0..{} expected".format(price, MAX_PRICE_UC_PER_KWH))
        if not 0 <= self.unknown_time_rate < rates:
            raise _bad("unknown_time_rate: {} given, 0..{} expected".format(self.unknown_time_rate, rates - 1))
        if not -96 <= self.utc_offset_quarters <= 96:
            raise _bad("utc_offset_quarters: {} given, -96..96 expected".format(self.utc_offset_quarters))
        if not 1 <= len(self.slots) <= MAX_SLOTS:
            raise _bad("slots: {} given, 1..{} expected".format(len(self.slots), MAX_SLOTS))
        before = -1
        for start, rate in self.slots:
            if not before < start <= 95 or (before < 0 and start != 0):
                raise _bad("slot start: {} given, rising quarters 0..95 from 0 expected".format(start))
            if not 0 <= rate < rates:
                raise _bad("slot rate: {} given, 0..{} expected".format(rate, rates - 1))
            before = start

    def encode(self) -> bytes:
        """The canonical body (see the module)."""
        body = struct.pack(
            _HEAD,
            FORMAT,
            self.utc_offset_quarters,
            self.activate_s,
            len(self.prices_uc_per_kwh),
            self.unknown_time_rate,
        )
        for price in self.prices_uc_per_kwh:
            body += struct.pack(">Q", price)
        body += bytes((len(self.slots),))
        for slot in self.slots:
            body += bytes(slot)
        return body

    def rate_at(self, unix_s: int, clock_known: bool = True) -> int:
        """The rate (0..3) in force at a UTC second."""
        if not clock_known:
            return self.unknown_time_rate
        quarter = ((unix_s + self.utc_offset_quarters * QUARTER_S) % DAY_S) // QUARTER_S
        rate = self.slots[0][1]
        for start, slot_rate in self.slots:
            if start > quarter:
                break
            rate = slot_rate
        return rate

    def cost(self, energy_wh: int, rate: int, remainder: int) -> "tuple[int, int]":
        """(whole micro-currency, remainder 0..999) of `energy_wh` more watt-hours at `rate`.

        `remainder` is what the previous call returned (0 at first); splitting the energy does not change the sum.
        """
        return divmod(energy_wh * self.prices_uc_per_kwh[rate] + remainder, WH_PER_KWH)


def decode(body: bytes) -> Tariff:
    """Read a tariff body; raises OrderError(BAD_BODY) for anything that `encode` does not make."""
    if len(body) < _HEAD_LENGTH + 8 + 3:
        raise _bad("tariff body: {} bytes given, at least {} expected".format(len(body), _HEAD_LENGTH + 11))
    form, offset, activate_s, rates, unknown = struct.unpack_from(_HEAD, body, 0)
    if form != FORMAT:
        raise _bad("tariff format: {} given, {} expected".format(form, FORMAT))
    at = _HEAD_LENGTH + 8 * rates
    if not 1 <= rates <= MAX_RATES or len(body) <= at or len(body) != at + 1 + 2 * body[at]:
        raise _bad("tariff body: {} bytes do not fit {} rates and their slots".format(len(body), rates))
    prices = struct.unpack_from(">{}Q".format(rates), body, _HEAD_LENGTH)
    slots = []
    for i in range(at + 1, len(body), 2):
        slots.append((body[i], body[i + 1]))
    return Tariff(prices, tuple(slots), offset, activate_s, unknown)
