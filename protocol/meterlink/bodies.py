"""Bodies of the orders that run a meter from day to day: credit, supply, limits, clock, mode, clear.

The tariff's stands in `tariff.py`, those that open, close and mend an account in `bodies_root.py`; what only the head
end states is encoded in `stating.py`. Every `decode_*` takes exactly what its `encode_*` makes and raises
`OrderError(BAD_BODY)` for anything else.
"""

import struct

from meterlink import results, states
from meterlink.orders import OrderError

MAX_UC = 0x7FFFFFFFFFFFFFFF
MAX_SALES = 4
MAX_REPLACED = 2
DEFAULT = 0xFFFF  # "as the meter's limits say"

RELEASE = 0
HOLD = 1

CLOSE_PERMIT = 0  # make ready for reconnection: the customer closes at the meter
CLOSE_DIRECT = 1

_CREDIT = ">QQB"
_SALE = ">QQ"
_SUPPLY = ">BBHH"
_LIMITS = ">BQQHHHHIQQ"
_LIMITS_LENGTH = 45
_CLOCK = ">8sI"
_MODE = ">BBQQqII"
_CLEAR = ">BII"

_SALES = 0x07  # bits of a credit body's count: sales,
_REPLACED = 0x18  # replaced typed tokens,
_REPLACED_SHIFT = 3
_CLOSED = 0x80  # and that the source is closed

LIMITS_FORMAT = 1


def _bad(message: str) -> OrderError:
    return OrderError(results.BAD_BODY, message)


def _length(name: str, body: bytes, expected: int) -> None:
    if len(body) != expected:
        raise _bad("{} body: {} bytes given, {} expected".format(name, len(body), expected))


def encode_credit(
    credited_uc: int,
    refunded_uc: int,
    sales: "list[tuple[int, int]]",
    closed: bool = False,
    replaced: "tuple[tuple[int, int], ...]" = (),
) -> bytes:
    """A source's running totals (0..2^63-1 each) and its last sales, oldest first, at most 4.

    A sale is (total of the source after it, its amount), so that top-ups that arrive together settle one by one.
    closed: these totals are final; the meter folds the source into the rest and takes nothing more from it.
    replaced: (key revision number, TID) of typed tokens whose worth is in these totals, at most 2: the meter marks them
    used with this order, or takes no part of it where one was used already.
    Layout: credited 8, refunded 8, count 1 (bits 0-2 sales, 3-4 replaced, 7 closed), sales times (total 8, amount 8),
    replaced times (key revision number 1, TID 3).
    """
    count = len(sales) | len(replaced) << _REPLACED_SHIFT | (_CLOSED if closed else 0)
    if len(sales) > MAX_SALES or len(replaced) > MAX_REPLACED:
        raise _bad("sales {} and replaced tokens {}: more than fit".format(len(sales), len(replaced)))
    body = struct.pack(_CREDIT, credited_uc, refunded_uc, count)
    for total_uc, amount_uc in sales:
        body += struct.pack(_SALE, total_uc, amount_uc)
    for revision, tid in replaced:
        body += struct.pack(">I", revision << 24 | tid)
    decode_credit(body)
    return body


def credit_extras(body: bytes) -> "tuple[bool, list[tuple[int, int]]]":
    """(closed, replaced) of a credit body that `decode_credit` takes; `replaced` as `encode_credit` has it."""
    words = body[17 + 16 * (body[16] & _SALES) :]
    replaced = [struct.unpack_from(">I", words, at)[0] for at in range(0, len(words), 4)]
    return bool(body[16] & _CLOSED), [(word >> 24, word & 0xFFFFFF) for word in replaced]


def decode_credit(body: bytes) -> "tuple[int, int, list[tuple[int, int]]]":
    """(credited_uc, refunded_uc, sales); refunds never exceed credits, sales rise to at most the total."""
    if len(body) < 17:
        raise _bad("credit body: {} bytes given, at least 17 expected".format(len(body)))
    credited_uc, refunded_uc, count = struct.unpack_from(_CREDIT, body, 0)
    if credited_uc > MAX_UC or refunded_uc > credited_uc:
        raise _bad("refunded: {} given, at most what was credited ({}) expected".format(refunded_uc, credited_uc))
    replaced = (count & _REPLACED) >> _REPLACED_SHIFT
    unknown = count & ~(_SALES | _REPLACED | _CLOSED)
    count &= _SALES
    if count > MAX_SALES or replaced > MAX_REPLACED or unknown:
        raise _bad(
            "sales {} and replaced tokens {}: at most {} and {}".format(count, replaced, MAX_SALES, MAX_REPLACED)
        )
    _length("credit", body, 17 + 16 * count + 4 * replaced)
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
    random delay before a close · stable_s: how long supply has been good before a close · max_current_ma: 0 = no limit
    · credit_limit_uc: hoarding limit of the balance; a typed token that would exceed it is refused · typed_cap_uc: what
    typed tokens may credit in 30 days (0 = they are turned off).
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
        credit_limit_uc: int = MAX_UC,
        typed_cap_uc: int = MAX_UC,
    ) -> None:
        self.alarm_uc = alarm_uc
        self.alarm2_uc = alarm2_uc
        self.trip_delay_s = trip_delay_s
        self.dwell_s = dwell_s
        self.spread_s = spread_s
        self.stable_s = stable_s
        self.max_current_ma = max_current_ma
        self.credit_limit_uc = credit_limit_uc
        self.typed_cap_uc = typed_cap_uc

    def encode(self) -> bytes:
        """format 1, alarm 8, alarm2 8, trip_delay 2, dwell 2, spread 2, stable 2, max_current 4, credit_limit 8,
        typed_cap 8."""
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
            self.credit_limit_uc,
            self.typed_cap_uc,
        )
        decode_limits(body)
        return body


def decode_limits(body: bytes) -> Limits:
    """Read `Limits`; alarm2 is at most alarm."""
    _length("limits", body, _LIMITS_LENGTH)
    f = struct.unpack(_LIMITS, body)
    if f[0] != LIMITS_FORMAT:
        raise _bad("limits format: {} given, {} expected".format(f[0], LIMITS_FORMAT))
    if f[1] > MAX_UC or f[2] > f[1]:
        raise _bad("alarm2: {} given, at most the first alarm ({}) expected".format(f[2], f[1]))
    if f[8] > MAX_UC or f[9] > MAX_UC:
        raise _bad("credit_limit {} and typed_cap {}: at most {} expected".format(f[8], f[9], MAX_UC))
    return Limits(*f[1:])


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


def decode_mode(body: bytes) -> "tuple[int, int, int, int, int, int]":
    """(mode, adjusted_uc, until_wh, balance_uc, grace_wh, grace_s); layout: format 1, then in this order 1, 8, 8, 8
    (signed), 4, 4.

    mode: states.MODE_* · adjusted_uc: total of what the head end has charged, 0..2^63-1 · of MODE_REMOTE alone,
    otherwise 0: until_wh: import register up to which supply is covered · balance_uc: what the customer has by the head
    end's books · grace_wh, grace_s: energy and time after both are used up.
    """
    _length("mode", body, 34)
    f = struct.unpack(_MODE, body)
    if f[0] != 1 or f[1] > states.MODE_POSTPAID or f[2] > MAX_UC or f[3] > MAX_UC:
        raise _bad("mode: format {}, mode {}, adjusted {}, until {} given".format(*f[:4]))
    if f[1] != states.MODE_REMOTE and any(f[3:]):
        raise _bad("mode {}: an allowance goes with mode {} only".format(f[1], states.MODE_REMOTE))
    return f[1:]


def decode_clear(body: bytes) -> "tuple[int, int]":
    """(latches, up_to_event): bits states.LATCH_* that are cleared where they stand since an event of a number up to
    `up_to_event`, so that what happened after the operator looked stays; layout: format 1, latches 4, up_to_event 4."""
    _length("clear", body, 9)
    form, latches, up_to_event = struct.unpack(_CLEAR, body)
    if form != 1 or not latches:
        raise _bad("clear: format {}, latches {} given".format(form, latches))
    return latches, up_to_event
