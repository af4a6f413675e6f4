"""Typed tokens at the meter: 20 digits to credit, settings and keys, each at most once (IEC 62055-41, `meterlink.sts`).

They come from the keypad and the service port, never from a network. What a token does, the memory that it was taken
and a checkpoint are one commit. Guesses meet the one lock-out; a genuine token that cannot be taken now (used, of
another unit, above a limit) is no guess, changes nothing and stays as good as it was.

Tokens that need no key (class 1) only show something: they work on every meter and end no lock-out.
"""

import struct
from hashlib import sha256

from meter.lockout import LENGTH as LOCKOUT_LENGTH
from meter.lockout import Lockout
from meter.ports import UNKNOWN_W
from meter.store import KEY_ALLOWANCE, KEY_DECODER, KEY_SOURCES, KEY_SUPPLY, KEY_TIDS, KEY_TYPED
from meter.tids import GROUPS, OLD, TYPED, UNKNOWN, Tids
from meterlink import events, orders, reasons, states
from meterlink.bodies import CLOSE_PERMIT, MAX_UC
from meterlink.provision import CURRENCY_ENERGY
from meterlink.results import APPLIED
from meterlink.sts import results, token
from meterlink.sts.amount import HELP_ALLOWANCE, HELP_RELEASE, help_of, units_of
from meterlink.sts.keychange import KeyChange

UNIT_UC = 100_000  # 0.1 kWh in an account that counts kWh
UNIT_WH = 100
LATCH_AFTER = 10  # wrong entries in a row raise the alarm
ALL_REGISTERS = 0xFFFF  # of a token that clears credit

# What was credited in the last 30 days: sums of CAP_SLOT_S each, so a token counts for 30 to 35 days.
CAP_SLOT_S = 5 * 86_400
CAP_SLOTS = 7

# A key change is forgotten where its next section takes longer: a section left from another change would make a key
# that nobody has.
SECTIONS_S = 3600

FORMER_KEYS = 8
NO_KEY = b"", (0xFFFFFFFF, 0, 0, 0, 0, 0)

_SETTINGS = ">IIH7I"  # limit of power, time of the newest section, newest slot, sums in UNIT_UC, newest first
_SETTINGS_LENGTH = 38
_KEY = ">16sIBBBBBI"  # key, attributes, floor of TIDs
_KEY_LENGTH = 29
_FORMER = ">4sI"  # first bytes of a key's SHA-256, and what its floor would be
_FORMER_LENGTH = 8

_BASE_S = (725_846_400, 1_388_534_400, 2_051_222_400)  # 1 January of 1993, 2014, 2035


class Outcome:
    """What became of one entry. code: sts.results · token_class, subclass: 0xFFFF where it could not be read · tid:
    0xFFFFFFFF where it has none · amount_uc: what it credited · control: of a token of class 1."""

    def __init__(self, code: int, read: "token.Token | None" = None) -> None:
        self.code = code
        self.token_class = read.token_class if read else 0xFFFF
        self.subclass = read.subclass if read else 0xFFFF
        self.tid = read.tid if read and has_tid(read) else 0xFFFFFFFF
        self.amount_uc = 0
        self.control = 0


def has_tid(read: "token.Token") -> bool:
    """Whether a token is used once."""
    return read.token_class != token.DISPLAY and (
        read.token_class != token.MANAGE or read.subclass not in token.KEY_SECTIONS
    )


class Typed:
    """last, count: the last Outcome since the start, and how many there were (1..65535, wraps) · key: b"" for none ·
    attributes: of the key, as `bodies_root.decode_decoder` has them · tids, lockout, sections: as they are named ·
    power_limit_w: 0 = none.

    Whoever changes it takes `state` before, commits `items(state)`, and where that fails goes back by `restore`.
    """

    def __init__(self, meter) -> None:
        self._meter = meter
        self.last = Outcome(results.NONE)
        self.count = 0
        self.key = b""
        self.attributes: "tuple[int, ...]" = NO_KEY[1]
        self.tids = Tids()
        self.lockout = Lockout()
        self.sections = KeyChange()
        self._former = b""
        self._section_s = 0
        self._slot = 0
        self._sums = [0] * CAP_SLOTS
        self._kept_s = 0  # of the lock-out, in the journal

    # -- state in the journal ------------------------------------------------------------------------------------------

    def state(self) -> tuple:
        """What tokens and orders change, for `items` and `restore`."""
        return self._pack(), self._pack_key(), list(self.tids.words)

    def restore(self, state: tuple) -> None:
        """Back to a `state`: what was decided could not be stored."""
        self._unpack(state[0])
        self._unpack_key(state[1])
        self.tids.words = state[2]

    def items(self, before: tuple) -> "list[tuple[int, bytes]]":
        """For a commit: what has changed since a `state`."""
        now = self.state()
        found = [(key, now[i]) for i, key in enumerate((KEY_TYPED, KEY_DECODER)) if now[i] != before[i]]
        was = Tids()
        was.words = before[2]
        for group in range(GROUPS):
            if was.pack(group) != self.tids.pack(group):
                found.append((KEY_TIDS + group, self.tids.pack(group)))
        return found

    def load(self) -> None:
        """Take the state from the journal, at a start."""
        get = self._meter.store.get
        raw = get(KEY_TYPED)
        if raw:
            self._unpack(raw)
            self._kept_s = self.lockout.left_s
        raw = get(KEY_DECODER)
        if raw:
            self._unpack_key(raw)
        self.tids.unpack([get(KEY_TIDS + group) or b"" for group in range(GROUPS)])

    def _pack(self) -> bytes:
        power_limit_w = self._meter.supply.power_limit_w
        settings = struct.pack(_SETTINGS, power_limit_w, self._section_s, self._slot, *self._sums)
        return self.lockout.pack() + settings + self.sections.pack()

    def _unpack(self, raw: bytes) -> None:
        self.lockout.unpack(raw)
        f = struct.unpack_from(_SETTINGS, raw, LOCKOUT_LENGTH)
        self._meter.supply.power_limit_w, self._section_s, self._slot = f[:3]
        self._sums = list(f[3:])
        self.sections = KeyChange(raw[LOCKOUT_LENGTH + _SETTINGS_LENGTH :])

    def _pack_key(self) -> bytes:
        return struct.pack(_KEY, self.key, *self.attributes, self.tids.floor) + self._former

    def _unpack_key(self, raw: bytes) -> None:
        f = struct.unpack_from(_KEY, raw, 0)
        self.attributes, self.tids.floor = f[1:7], f[7]
        self.key = f[0] if self.attributes[3] else b""
        self._former = raw[_KEY_LENGTH:]

    # -- what the core and orders do with it ---------------------------------------------------------------------------

    def sections_stored(self) -> int:
        """Bit n: section n + 1 of a key change is stored."""
        return 15 - sum([1 << number - 1 for number in self.sections.missing()])

    def step(self, elapsed_s: int) -> None:
        """Let powered time pass."""
        self.lockout.step(elapsed_s)

    def waiting(self) -> "list[tuple[int, bytes]]":
        """For a checkpoint: the lock-out where it has moved."""
        return [] if self.lockout.left_s == self._kept_s else self._own()

    def _own(self) -> "list[tuple[int, bytes]]":
        self._kept_s = self.lockout.left_s
        return [(KEY_TYPED, self._pack())]

    def set_decoder(self, key: bytes, attributes: "tuple[int, ...]") -> None:
        """Take a key (16 bytes) and its attributes, or NO_KEY. What was taken is remembered by key: another one begins
        with an empty memory, and one that comes back, of the last FORMER_KEYS, with all that it had reached as old."""
        self.sections = KeyChange()
        self.attributes = tuple(attributes)
        if key == self.key:
            return
        if self.key:
            floor = max(self.tids.newest() + 1, self.tids.floor)
            self._former += struct.pack(_FORMER, _name(self.key), floor)
            self._former = self._former[-FORMER_KEYS * _FORMER_LENGTH :]
        self.key = bytes(key)
        self.tids.words = []
        self.tids.floor = 0
        for at in range(0, len(self._former), _FORMER_LENGTH):
            name, floor = struct.unpack_from(_FORMER, self._former, at)
            if name == _name(key):
                self.tids.floor = max(floor, self.tids.floor)

    def forget_until(self, unix_s: int) -> None:
        """What was taken is no longer known: tokens issued up to then count as old."""
        if self.key:
            minutes = (unix_s - _BASE_S[self.attributes[5]]) // 60
            self.tids.floor = max(self.tids.floor, min(minutes + 1, 1 << 24))

    def state_of(self, revision: int, tid: int) -> int:
        """tids.UNKNOWN, TYPED (also: too old to know) or ORDERED, for an order that replaces a token. One of another
        key revision than the one in force is UNKNOWN: it cannot be typed any more."""
        if revision != self.attributes[3]:
            return UNKNOWN
        state = self.tids.state_of(tid)
        return TYPED if state == OLD else state

    def mark(self, revision: int, tid: int) -> None:
        """A token is replaced by an order, whose commit carries `items`."""
        if revision == self.attributes[3] and self.tids.state_of(tid) == UNKNOWN:
            self.tids.add(tid, 1)
            self._meter.note(events.TOKEN_REPLACED, tid)

    # -- entries -------------------------------------------------------------------------------------------------------

    def enter(self, digits: str) -> Outcome:
        """One entry; its outcome, which is durable."""
        self.last = self._enter(digits)
        self.count = self.count % 0xFFFF + 1
        return self.last

    def _enter(self, digits: str) -> Outcome:
        if self.lockout.left_s:
            return Outcome(results.LOCKED)
        on = self._on()
        try:
            read = token.decode(self.key if on else b"", digits)
        except token.TokenError as error:
            if error.code == results.REJECTED and on:
                self._wrong()
            return Outcome(error.code)
        except ValueError:  # it takes a key, and none is used
            return Outcome(results.OFF)
        outcome = Outcome(results.NOT_IMPLEMENTED, read)
        if read.token_class == token.DISPLAY:
            if read.subclass < 2:
                outcome.code = results.DISPLAY
                outcome.control = read.data >> (16 if read.subclass else 8)
            return outcome
        mark = self._meter.log.mark()
        before = self._everything()
        outcome.code = self._judge(read) or _ACTS[read.token_class, read.subclass](self, read, outcome)
        if not results.succeeded(outcome.code):
            self._refuse(outcome)
        elif not self._keep(read, outcome, before):
            self._restore(before)
            self._meter.log.forget(mark)
            outcome.code = results.STORAGE_FAILED
            outcome.amount_uc = 0
        return outcome

    def _on(self) -> bool:
        """Whether tokens are taken at all."""
        meter = self._meter
        shut = meter.history_lost or meter.supply.retired
        return bool(self.key and meter.commissioned and not shut and meter.supply.limits.typed_cap_uc)

    def _wrong(self) -> None:
        """A wrong entry: counted durably before anybody hears of it."""
        meter, lockout = self._meter, self.lockout
        lockout.count()
        if lockout.left_s:
            meter.note(events.TOKENS_LOCKED, lockout.left_s, lockout.wrong)
            if lockout.wrong == LATCH_AFTER:
                meter.note(events.WRONG_TOKENS, lockout.wrong)
                meter.latch(states.LATCH_WRONG_TOKENS)
        else:
            meter.note(events.TOKEN_REFUSED, 0, results.REJECTED)
        meter.commit(self._own())

    def _refuse(self, outcome: Outcome) -> None:
        """Log why a genuine token is not taken."""
        self._meter.note(events.TOKEN_REFUSED, outcome.tid if outcome.tid < 1 << 24 else 0, outcome.code)

    def _judge(self, read: "token.Token") -> int:
        """Why a genuine token is not taken, whatever it would do; 0 for none."""
        if (read.token_class, read.subclass) not in _ACTS:
            return results.NOT_IMPLEMENTED
        if not has_tid(read):
            return 0
        if read.tid >> 16 > self.attributes[4]:
            return results.KEY_EXPIRED
        state = self.tids.state_of(read.tid)
        if state == OLD:
            return results.OLD
        return results.USED if state != UNKNOWN else 0

    def _everything(self) -> tuple:
        """All that a token may change."""
        meter = self._meter
        parts = meter.account, meter.supply, meter.allowance, meter.latches, meter.charges
        return (self.state(),) + tuple([part.state() for part in parts])

    def _restore(self, before: tuple) -> None:
        meter = self._meter
        parts = self, meter.account, meter.supply, meter.allowance, meter.latches, meter.charges
        for part, state in zip(parts, before):
            part.restore(state)

    def _keep(self, read: "token.Token", outcome: Outcome, before: tuple) -> bool:
        """Commit what a token did; whether it is durable."""
        meter = self._meter
        if outcome.code == results.ACCEPTED:
            if has_tid(read):  # what can be typed again must not end a lock-out again and again
                self.lockout.reset()
                self.tids.add(read.tid, 0)
            meter.note(events.TOKEN_TYPED, read.tid if has_tid(read) else 0, read.token_class << 4 | read.subclass)
        items = self.items(before[0])
        if meter.account.state() != before[1]:
            items.append((KEY_SOURCES, meter.account.pack_sources()))
        if meter.supply.state() != before[2]:
            items.append((KEY_SUPPLY, meter.supply.pack()))
        if meter.allowance.state() != before[3]:
            items.append((KEY_ALLOWANCE, meter.allowance.pack()))
        return not items or meter.commit(items, True)

    # -- what tokens do: a code; a refusal has changed nothing ---------------------------------------------------------

    def _credit(self, read: "token.Token", outcome: Outcome) -> int:
        """Electricity, in kWh."""
        meter = self._meter
        account, limits = meter.account, meter.supply.limits
        if meter.given.currency != CURRENCY_ENERGY:
            return results.WRONG_UNIT
        units = units_of(read.register)
        amount_uc = units * UNIT_UC
        total_uc = account.totals(orders.SOURCE_TYPED)[0] + amount_uc
        if account.balance_uc() + amount_uc > limits.credit_limit_uc:
            return results.OVERFLOW
        if amount_uc and account.judge(orders.SOURCE_TYPED, total_uc, 0) != APPLIED:
            return results.OVERFLOW
        self._age()
        if (sum(self._sums) + units) * UNIT_UC > limits.typed_cap_uc:
            return results.CAPPED
        self._sums[0] += units
        if amount_uc:
            balance_uc = account.balance_uc()
            account.take(orders.SOURCE_TYPED, total_uc, 0)
            meter.note(events.CREDIT_APPLIED, amount_uc // 1000, orders.SOURCE_TYPED)
            meter.settle_sales(orders.SOURCE_TYPED, read.tid, total_uc, [amount_uc], balance_uc)
            outcome.amount_uc = amount_uc
        return results.ACCEPTED

    def _age(self) -> None:
        """Bring the sums of the month to this moment. Where the clock went back they stay."""
        slot = self._meter.now_s() // CAP_SLOT_S
        new = min(slot - self._slot, CAP_SLOTS)
        if new > 0:
            self._sums = ([0] * new + self._sums)[:CAP_SLOTS]
            self._slot = slot

    def _other_unit(self, read: "token.Token", outcome: Outcome) -> int:
        return results.WRONG_UNIT

    def _set_power(self, read: "token.Token", outcome: Outcome) -> int:
        """Maximum power in W; 0 takes the limit away."""
        if self._meter.board.power_w() == UNKNOWN_W:
            return results.NOT_IMPLEMENTED
        self._meter.supply.power_limit_w = units_of(read.register)
        return results.ACCEPTED

    def _clear_credit(self, read: "token.Token", outcome: Outcome) -> int:
        """What is left goes; a debt stays."""
        meter = self._meter
        if read.register and read.register != ALL_REGISTERS:
            return results.WRONG_UNIT
        if not read.register and meter.given.currency != CURRENCY_ENERGY:
            return results.WRONG_UNIT
        meter.account.level(MAX_UC)
        meter.account.adjusted_uc += max(0, meter.account.balance_uc())
        return results.ACCEPTED

    def _clear_tamper(self, read: "token.Token", outcome: Outcome) -> int:
        latches = self._meter.latches
        self._meter.note(events.LATCHES_CLEARED, latches.clear(latches.word, 0xFFFFFFFF))
        return results.ACCEPTED

    def _help(self, read: "token.Token", outcome: Outcome) -> int:
        """A paid customer whose link is dead: the hold for arrears goes, or some energy is allowed."""
        kind, value = help_of(read.register)
        if kind == HELP_RELEASE and not value:
            self._meter.supply.release(reasons.HOLD_ARREARS, CLOSE_PERMIT)
        elif kind == HELP_ALLOWANCE and value:
            self._meter.allowance.extend(value * UNIT_WH)
        else:
            return results.NOT_IMPLEMENTED
        return results.ACCEPTED

    def _section(self, read: "token.Token", outcome: Outcome) -> int:
        """One section of a key change: the last one makes them all take effect."""
        now_s = self._meter.now_s()
        if not 0 <= now_s - self._section_s <= SECTIONS_S:
            self.sections = KeyChange()
        stored = self.sections.pack()
        try:
            new = self.sections.take(read.subclass, read.data)
        except token.TokenError as error:
            return error.code
        if self.sections.pack() != stored:
            self._section_s = now_s
        if new is None:
            return results.SECTION_STORED
        base = min(self.attributes[5] + new.rollover, len(_BASE_S) - 1)
        if not 1 <= new.krn <= 9 or new.ti > 99 or new.sgc > 999_999:
            self.sections = KeyChange()
            return results.NOT_IMPLEMENTED
        self.set_decoder(new.key, (new.sgc, new.kt, new.ti, new.krn, new.ken, base))
        self._meter.note(events.KEYS_CHANGED, 0, 16 + new.krn)
        return results.ACCEPTED


def _name(key: bytes) -> bytes:
    return sha256(key).digest()[:4]


_ACTS = {
    (token.CREDIT, 0): Typed._credit,
    (token.MANAGE, token.SET_POWER): Typed._set_power,
    (token.MANAGE, token.CLEAR_CREDIT): Typed._clear_credit,
    (token.MANAGE, token.CLEAR_TAMPER): Typed._clear_tamper,
    (token.MANAGE, token.SUPPLY_HELP): Typed._help,
}
for _subclass in range(1, 8):
    _ACTS[token.CREDIT, _subclass] = Typed._other_unit
for _subclass in token.KEY_SECTIONS:
    _ACTS[token.MANAGE, _subclass] = Typed._section
