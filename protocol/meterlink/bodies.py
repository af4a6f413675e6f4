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
_MORE = ">QQQQBBBBBBHHHHhIHIHIHHB"
_MORE_LENGTH = 69
_MORE_DEFAULTS: "tuple[int, ...]" = (0,) * 13 + (10,) + (0,) * 7 + (60, 0)
_DEBT = ">BQQBHQBBQ"
_LOAD_STEP = ">II"
_CLOCK = ">8sI"
_MODE = ">BBQQqII"
_CLEAR = ">BII"

_SALES = 0x07  # bits of a credit body's count: sales,
_REPLACED = 0x18  # replaced typed tokens,
_REPLACED_SHIFT = 3
_CLOSED = 0x80  # and that the source is closed

LIMITS_FORMAT = 1

SETTLEMENT_SMETS2 = 0  # share for debt, accumulated debt, what is below zero, the rest
SETTLEMENT_STATE_GRID = 1  # what is below zero, share for debt, accumulated debt, the rest
SUPPLY_MODES = (0, 2, 3, 4, 6)  # of class 70; 0: every transition but f, direct or permit as each order says
RULE_REMINDER = 1  # trips once at the second alarm; the customer's key restores it
RULE_SUSPEND = 2  # standing charges and timed debts accumulate while emergency credit is in use
FRIENDLY_SPECIAL = 0x80
NO_OVERLOAD = (0, 0), (0, 0), (0, 0)

DEBTS = 3  # on a meter, numbered from 1
DEBT_TIMED = 0  # collected by time
DEBT_SHARED = 1  # collected as a share of each top-up
PERIOD_DAY = 0
PERIOD_WEEK = 1
PERIOD_MONTH = 2
MAX_LOAD_STEPS = 8


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
    """Thresholds, delays and rules of a meter.

    alarm_uc, alarm2_uc: low-credit alarms, on at a balance at or below them (0..2^63-1) · trip_delay_s: alarm before
    any trip by order or by credit · dwell_s: shortest time between two operations of the relay · spread_s: widest
    random delay before a close · stable_s: how long supply has been good before a close · max_current_ma: 0 = no limit
    · credit_limit_uc: hoarding limit of the balance: an order's credit above it waits, a typed token that would exceed
    it is refused · typed_cap_uc: what typed tokens may credit in 30 days (0 = they are turned off).

    emergency_uc: emergency credit that the customer may take at the meter, 0 = none; emergency_from_uc: at a balance
    at or below it · overdraft_uc: how far the balance may fall below zero · min_close_uc: balance from which supply
    closes again after it was off for want of credit · settlement: what a top-up pays first, SETTLEMENT_* ·
    supply_mode: of class 70, one of SUPPLY_MODES · rules: bits RULE_* · friendly_from, friendly_until: quarters of the
    local day (0..96) between which want of credit trips nothing, equal = none (from > until: over midnight);
    friendly_days: the days of which that holds, bits 0..6 Monday to Sunday, and bit 7 the special days that the tariff
    marks, whole; friendly_jitter_s: widest random delay of the trips that are due when such a time ends.

    over_voltage_dv, under_voltage_dv (1/10 V, 0 = off) for voltage_s trip · max_temperature_dc: 1/10 degree Celsius, 0
    = off · overload: three (current_ma, after_s), 0 = unused, beside max_current_ma, which trips after 10 s ·
    overload_rest_s: how long an overload keeps the relay open · overload_closes: how often in an hour it closes by
    itself after that, before the key is needed.
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
        emergency_uc: int = 0,
        emergency_from_uc: int = 0,
        overdraft_uc: int = 0,
        min_close_uc: int = 0,
        settlement: int = SETTLEMENT_SMETS2,
        supply_mode: int = 0,
        rules: int = 0,
        friendly_from: int = 0,
        friendly_until: int = 0,
        friendly_days: int = 0,
        friendly_jitter_s: int = 0,
        over_voltage_dv: int = 0,
        under_voltage_dv: int = 0,
        voltage_s: int = 10,
        max_temperature_dc: int = 0,
        overload: "tuple[tuple[int, int], ...]" = NO_OVERLOAD,
        overload_rest_s: int = 60,
        overload_closes: int = 0,
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
        self.emergency_uc = emergency_uc
        self.emergency_from_uc = emergency_from_uc
        self.overdraft_uc = overdraft_uc
        self.min_close_uc = min_close_uc
        self.settlement = settlement
        self.supply_mode = supply_mode
        self.rules = rules
        self.friendly_from = friendly_from
        self.friendly_until = friendly_until
        self.friendly_days = friendly_days
        self.friendly_jitter_s = friendly_jitter_s
        self.over_voltage_dv = over_voltage_dv
        self.under_voltage_dv = under_voltage_dv
        self.voltage_s = voltage_s
        self.max_temperature_dc = max_temperature_dc
        self.overload = overload
        self.overload_rest_s = overload_rest_s
        self.overload_closes = overload_closes

    def encode(self) -> bytes:
        """The one encoding. Format 1: alarm 8, alarm2 8, trip_delay 2, dwell 2, spread 2, stable 2, max_current 4,
        credit_limit 8, typed_cap 8. Format 2, where one of the others is not at its default: these, then emergency 8,
        emergency_from 8, overdraft 8, min_close 8, settlement 1, supply_mode 1, rules 1, friendly_from 1,
        friendly_until 1, friendly_days 1, friendly_jitter 2, over_voltage 2, under_voltage 2, voltage_s 2,
        max_temperature 2 (signed), three times (current 4, after 2), overload_rest 2, overload_closes 1."""
        first = (
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
        more: "tuple[int, ...]" = (
            self.emergency_uc,
            self.emergency_from_uc,
            self.overdraft_uc,
            self.min_close_uc,
            self.settlement,
            self.supply_mode,
            self.rules,
            self.friendly_from,
            self.friendly_until,
            self.friendly_days,
            self.friendly_jitter_s,
            self.over_voltage_dv,
            self.under_voltage_dv,
            self.voltage_s,
            self.max_temperature_dc,
        )
        for step in self.overload:
            more += step
        more += (self.overload_rest_s, self.overload_closes)
        body = struct.pack(_LIMITS, LIMITS_FORMAT, *first)
        if more != _MORE_DEFAULTS:
            body = b"\x02" + body[1:] + struct.pack(_MORE, *more)
        decode_limits(body)
        return body


def decode_limits(body: bytes) -> Limits:
    """Read `Limits`; alarm2 is at most alarm."""
    if len(body) != _LIMITS_LENGTH + _MORE_LENGTH:
        _length("limits", body, _LIMITS_LENGTH)
    f = struct.unpack_from(_LIMITS, body, 0)
    wide = len(body) > _LIMITS_LENGTH
    more: "tuple[int, ...]" = struct.unpack_from(_MORE, body, _LIMITS_LENGTH) if wide else _MORE_DEFAULTS
    if f[0] != LIMITS_FORMAT + wide or (wide and more == _MORE_DEFAULTS):
        raise _bad("limits format: {} given, the shortest of {} and 2 expected".format(f[0], LIMITS_FORMAT))
    if f[1] > MAX_UC or f[2] > f[1]:
        raise _bad("alarm2: {} given, at most the first alarm ({}) expected".format(f[2], f[1]))
    if max(f[8], f[9], *more[:4]) > MAX_UC:
        raise _bad("limits: {} given, amounts of at most {} expected".format(f[8:10] + more[:4], MAX_UC))
    for name, value, most in (
        ("settlement", more[4], SETTLEMENT_STATE_GRID),
        ("rules", more[6], RULE_REMINDER | RULE_SUSPEND),
        ("friendly_from", more[7], 95),
        ("friendly_until", more[8], 96),
    ):
        if value > most:
            raise _bad("{}: {} given, 0..{} expected".format(name, value, most))
    if more[5] not in SUPPLY_MODES:
        raise _bad("supply_mode: {} given, one of {} expected".format(more[5], SUPPLY_MODES))
    limits = Limits(*f[1:], *more[:15])
    limits.overload = (more[15], more[16]), (more[17], more[18]), (more[19], more[20])
    limits.overload_rest_s, limits.overload_closes = more[21:]
    return limits


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


class DebtTerms:
    """What a `debt` order states of one debt (its selector, 1..3).

    placed_uc, withdrawn_uc: running totals of what was ever moved to the meter and taken back, as credit is stated; the
    meter owes their difference less what it has collected · kind: DEBT_* · share: of each top-up in 1/10 000
    (DEBT_SHARED, 1..10000) · amount_uc: collected in each period (DEBT_TIMED) · period: PERIOD_*, of the amount or of
    the cap · priority: the debt with the lowest number is collected first · cap_uc: the most that is collected of
    top-ups in a period, 0 = no cap.
    """

    def __init__(
        self,
        placed_uc: int,
        withdrawn_uc: int,
        kind: int,
        share: int,
        amount_uc: int,
        period: int,
        priority: int,
        cap_uc: int,
    ) -> None:
        self.placed_uc = placed_uc
        self.withdrawn_uc = withdrawn_uc
        self.kind = kind
        self.share = share
        self.amount_uc = amount_uc
        self.period = period
        self.priority = priority
        self.cap_uc = cap_uc

    def encode(self) -> bytes:
        """format 1, placed 8, withdrawn 8, kind 1, share 2, amount 8, period 1, priority 1, cap 8."""
        body = struct.pack(
            _DEBT,
            1,
            self.placed_uc,
            self.withdrawn_uc,
            self.kind,
            self.share,
            self.amount_uc,
            self.period,
            self.priority,
            self.cap_uc,
        )
        decode_debt(body)
        return body


def decode_debt(body: bytes) -> DebtTerms:
    """Read `DebtTerms`."""
    _length("debt", body, struct.calcsize(_DEBT))
    f = struct.unpack(_DEBT, body)
    if f[0] != 1 or max(f[1], f[5], f[8]) > MAX_UC or f[2] > f[1]:
        raise _bad("debt: format {}, placed {}, withdrawn {}, amount {}, cap {}".format(f[0], f[1], f[2], f[5], f[8]))
    shared = f[3] == DEBT_SHARED
    if f[3] > DEBT_SHARED or f[6] > PERIOD_MONTH or not shared <= f[4] <= shared * 10_000 or (shared and f[5]):
        raise _bad("debt: kind {}, share {}, amount {}, period {} do not fit".format(*f[3:7]))
    return DebtTerms(*f[1:])


def encode_load(steps: "tuple[tuple[int, int], ...]") -> bytes:
    """Load control: (from_s, power_w) steps by rising UTC seconds, at most 8; power_w 0 = no limit from then on. No
    steps end it. Layout: format 1, count 1, count times (from_s 4, power_w 4)."""
    body = bytes((1, len(steps))) + b"".join([struct.pack(_LOAD_STEP, *step) for step in steps])
    decode_load(body)
    return body


def decode_load(body: bytes) -> "tuple[tuple[int, int], ...]":
    """The steps of a `load` order."""
    if len(body) < 2 or body[0] != 1 or body[1] > MAX_LOAD_STEPS or len(body) != 2 + 8 * body[1]:
        raise _bad("load body: {} bytes do not fit at most {} steps".format(len(body), MAX_LOAD_STEPS))
    steps = tuple([struct.unpack_from(_LOAD_STEP, body, at) for at in range(2, len(body), 8)])
    for i in range(1, len(steps)):
        if steps[i][0] <= steps[i - 1][0]:
            raise _bad("load step {}: from {} given, after {} expected".format(i, steps[i][0], steps[i - 1][0]))
    if steps and steps[-1][1]:
        raise _bad("load: the last step limits to {} W, an end (0) expected".format(steps[-1][1]))
    return steps


def decode_clear(body: bytes) -> "tuple[int, int]":
    """(latches, up_to_event): bits states.LATCH_* that are cleared where they stand since an event of a number up to
    `up_to_event`, so that what happened after the operator looked stays; layout: format 1, latches 4, up_to_event 4."""
    _length("clear", body, 9)
    form, latches, up_to_event = struct.unpack(_CLEAR, body)
    if form != 1 or not latches:
        raise _bad("clear: format {}, latches {} given".format(form, latches))
    return latches, up_to_event
