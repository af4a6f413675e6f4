"""Bodies of orders, one pair of functions an aspect. (The tariff's stands in `tariff.py`.)

Every `decode_*` takes exactly what `encode_*` makes and raises `OrderError(BAD_BODY)` for anything else.
"""

import struct

from meterlink import results
from meterlink.orders import OrderError

MAX_UC = 0x7FFFFFFFFFFFFFFF
MAX_SALES = 4
DEFAULT = 0xFFFF  # "as the meter's limits say"

RELEASE = 0
HOLD = 1

CLOSE_PERMIT = 0  # make ready for reconnection: the customer closes at the meter
CLOSE_DIRECT = 1

_CREDIT = ">QQB"
_SALE = ">QQ"
_SUPPLY = ">BBHH"
_LIMITS = ">BQQHHHHI"
_CLOCK = ">8sI"

LIMITS_FORMAT = 1


def _bad(message: str) -> OrderError:
    return OrderError(results.BAD_BODY, message)


def _length(name: str, body: bytes, expected: int) -> None:
    if len(body) != expected:
        raise _bad("{} body: {} bytes given, {} expected".format(name, len(body), expected))


def encode_credit(credited_uc: int, refunded_uc: int, sales: "list[tuple[int, int]]") -> bytes:
    """A source's running totals (0..2^63-1 each) and its last sales, oldest first, at most 4.

    A sale is (total of the source after it, its amount), so that top-ups that arrive together settle one by one.
    Layout: credited 8, refunded 8, count 1, then count times (total 8, amount 8).
    """
    body = struct.pack(_CREDIT, credited_uc, refunded_uc, len(sales))
    for total_uc, amount_uc in sales:
        body += struct.pack(_SALE, total_uc, amount_uc)
    decode_credit(body)
    return body


def decode_credit(body: bytes) -> "tuple[int, int, list[tuple[int, int]]]":
    """(credited_uc, refunded_uc, sales); refunds never exceed credits, sales rise to at most the total."""
    if len(body) < 17:
        raise _bad("credit body: {} bytes given, at least 17 expected".format(len(body)))
    credited_uc, refunded_uc, count = struct.unpack_from(_CREDIT, body, 0)
    if credited_uc > MAX_UC or refunded_uc > credited_uc:
        raise _bad("refunded: {} given, at most what was credited ({}) expected".format(refunded_uc, credited_uc))
    if count > MAX_SALES:
        raise _bad("sales: {} given, at most {} expected".format(count, MAX_SALES))
    _length("credit", body, 17 + 16 * count)
    sales = []
    before_uc = 0
    for i in range(count):
        total_uc, amount_uc = struct.unpack_from(_SALE, body, 17 + 16 * i)
        if amount_uc == 0 or total_uc > credited_uc or total_uc - amount_uc < before_uc:
            raise _bad("sale {}: total {} amount {} do not follow {}".format(i, total_uc, amount_uc, before_uc))
        before_uc = total_uc
        sales.append((total_uc, amount_uc))
    return credited_uc, refunded_uc, sales


def encode_supply(action: int, close: int = CLOSE_PERMIT, delay_s: int = DEFAULT, spread_s: int = DEFAULT) -> bytes:
    """A hold set or released: action 1, close 1, delay_s 2 (before the trip), spread_s 2 (random, before the close)."""
    body = struct.pack(_SUPPLY, action, close, delay_s, spread_s)
    decode_supply(body)
    return body


def decode_supply(body: bytes) -> "tuple[int, int, int, int]":
    """(action, close, delay_s, spread_s); seconds 0..65534, 65535 = as the limits say."""
    _length("supply", body, 6)
    fields = struct.unpack(_SUPPLY, body)
    if fields[0] > HOLD:
        raise _bad("action: {} given, 0 (release) or 1 (hold) expected".format(fields[0]))
    if fields[1] > CLOSE_DIRECT:
        raise _bad("close: {} given, 0 (permit) or 1 (direct) expected".format(fields[1]))
    return fields


class Limits:
    """Thresholds and delays of a meter.

    alarm_uc, alarm2_uc: low-credit alarms, on at a balance at or below them (0..2^63-1) · trip_delay_s: alarm before
    any trip by order or by credit · dwell_s: shortest time between two operations of the relay · spread_s: widest
    random delay before a close · stable_s: how long supply has been good before a close · max_current_ma: 0 = no limit.
    """

    def __init__(
        self,
        alarm_uc: int,
        alarm2_uc: int,
        trip_delay_s: int,
        dwell_s: int,
        spread_s: int,
        stable_s: int,
        max_current_ma: int,
    ) -> None:
        self.alarm_uc = alarm_uc
        self.alarm2_uc = alarm2_uc
        self.trip_delay_s = trip_delay_s
        self.dwell_s = dwell_s
        self.spread_s = spread_s
        self.stable_s = stable_s
        self.max_current_ma = max_current_ma

    def encode(self) -> bytes:
        """format 1, alarm 8, alarm2 8, trip_delay 2, dwell 2, spread 2, stable 2, max_current 4."""
        body = struct.pack(
            _LIMITS,
            LIMITS_FORMAT,
            self.alarm_uc,
            self.alarm2_uc,
            self.trip_delay_s,
            self.dwell_s,
            self.spread_s,
            self.stable_s,
            self.max_current_ma,
        )
        decode_limits(body)
        return body


def decode_limits(body: bytes) -> Limits:
    """Read `Limits`; alarm2 is at most alarm."""
    _length("limits", body, 29)
    f = struct.unpack(_LIMITS, body)
    if f[0] != LIMITS_FORMAT:
        raise _bad("limits format: {} given, {} expected".format(f[0], LIMITS_FORMAT))
    if f[1] > MAX_UC or f[2] > f[1]:
        raise _bad("alarm2: {} given, at most the first alarm ({}) expected".format(f[2], f[1]))
    return Limits(f[1], f[2], f[3], f[4], f[5], f[6], f[7])


def encode_clock(nonce: bytes, unix_s: int) -> bytes:
    """The time, and the meter's nonce (8 bytes) that it answers; zeros without one (then 60 s a day at most)."""
    body = struct.pack(_CLOCK, nonce, unix_s)
    decode_clock(body)
    return body


def decode_clock(body: bytes) -> "tuple[bytes, int]":
    """(nonce, unix_s); a time before 2024 is refused."""
    _length("clock", body, 12)
    nonce, unix_s = struct.unpack(_CLOCK, body)
    if unix_s < 1_704_067_200:
        raise _bad("unix_s: {} given, a time since 2024-01-01 expected".format(unix_s))
    return nonce, unix_s
