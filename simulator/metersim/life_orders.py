"""The head end of a meter's life (`life`): what it states, what becomes of it on the way, and who forges it.

Each order is genuine and signed; on its way it may come at once, hours late, twice or behind a newer one. What was
stated and found no answer is stated again. Runs on MicroPython as well as on CPython.
"""

import hashlib
import struct

from meterlink import bodies, orders, parcels, reasons, results, states, tariff
from meterlink.bodies_root import wrap
from meterlink.mac import MacKey
from meterlink.provision import Provision
from meterlink.reports import NO_NONCE
from meterlink.sts import issue
from meterlink.sts.token import CREDIT
from metersim.ramboard import IMP_PER_KWH
from metersim.textbook import public_key, sign

METER = 123_456_789_012
YUAN = 1_000_000
DECODER_KEY = bytes(range(0x31, 0x41))
_ATTRIBUTES = (123_457, 2, 1, 1, 255, 1)
_BASE = 2014
_SEEDS = {orders.ROLE_ROOT: 11, orders.ROLE_CREDIT: 12, orders.ROLE_CONTROL: 13}
_KEYS = tuple([(role, 1, public_key(_SEEDS[role])) for role in (1, 2, 3)])
_KEPT = 12  # orders of the past that may come again
_ANSWERED_S = 3 * 86_400  # what is refused for want of a clock, or of flash, is taken within so long
_STOP_S = 900  # a stop lives so long on its way
_LATE_S = (0, 0, 0, 5, 90, 800, 4000, 20_000)

_RATES = (550_000, 880_000, 1_210_000, 320_000)
_DAY = ((0, 3), (28, 1), (40, 2), (48, 0), (68, 2), (84, 3))
TIME_OF_USE = tariff.Tariff(_RATES, _DAY, 32)
FLAT = tariff.Tariff((700_000,), utc_offset_quarters=32)
STEPS = tariff.Tariff(
    (500_000, 800_000, 600_000, 900_000, 900_000, 1_400_000),
    ((0, 0), (28, 1), (84, 0)),
    32,
    steps_wh=(30_000, 70_000),
    export_prices_uc_per_kwh=(300_000, 400_000),
    charges=((tariff.PER_DAY, 350_001), (tariff.PER_MONTH, 3 * YUAN)),
)
KWH = tariff.Tariff((YUAN,))


def _limits(**changed) -> bodies.Limits:
    made = bodies.Limits(
        alarm_uc=6 * YUAN,
        alarm2_uc=3 * YUAN,
        trip_delay_s=60,
        dwell_s=10,
        spread_s=20,
        stable_s=10,
        max_current_ma=50_000,
        over_voltage_dv=2700,
        under_voltage_dv=1800,
        max_temperature_dc=900,
        overload=((40_000, 30), (0, 0), (0, 0)),
        overload_closes=3,
    )
    for name, value in changed.items():
        setattr(made, name, value)
    return made


class Mode:
    """tariffs: in force by turns, the first as made · limits: likewise · mode: states.MODE_* · typed: tokens are taken
    · measures: the chip tells quantities, not pulses alone."""

    def __init__(
        self,
        tariffs: "tuple[tariff.Tariff, ...]",
        limits: "tuple[bodies.Limits, ...]",
        mode: int = states.MODE_LOCAL,
        currency: int = 156,
        typed: bool = False,
        measures: bool = True,
    ) -> None:
        self.measures = measures
        self.tariffs = tariffs
        self.limits = limits
        self.mode = mode
        self.currency = currency
        self.typed = typed


_FRIENDLY = {"friendly_from": 72, "friendly_until": 32, "friendly_days": 0x55, "friendly_jitter_s": 60}
MODES = {
    "smets2": Mode(
        (TIME_OF_USE, FLAT),
        (
            _limits(
                emergency_uc=2 * YUAN,
                emergency_from_uc=YUAN,
                min_close_uc=YUAN,
                credit_limit_uc=40 * YUAN,
                rules=bodies.RULE_SUSPEND,
                **_FRIENDLY,
            ),
            _limits(emergency_uc=3 * YUAN, credit_limit_uc=25 * YUAN),
        ),
    ),
    "stategrid": Mode(
        (STEPS,),
        (
            _limits(
                settlement=bodies.SETTLEMENT_STATE_GRID,
                overdraft_uc=2 * YUAN,
                min_close_uc=3 * YUAN,
                rules=bodies.RULE_REMINDER,
                supply_mode=2,
            ),
            _limits(
                settlement=bodies.SETTLEMENT_STATE_GRID,
                overdraft_uc=YUAN,
                rules=bodies.RULE_REMINDER,
                supply_mode=6,
                **_FRIENDLY,
            ),
        ),
    ),
    "remote": Mode((TIME_OF_USE,), (_limits(), _limits(supply_mode=4)), states.MODE_REMOTE),
    "postpaid": Mode((FLAT,), (_limits(), _limits(supply_mode=3)), states.MODE_POSTPAID, measures=False),
    "typed": Mode((KWH,), (_limits(typed_cap_uc=900 * YUAN),), currency=0, typed=True, measures=False),
}


class Sent:
    """An order on its way. due_s: of the life, when it arrives; stated_s, when it was made · pieces: of a body that
    travels apart."""

    def __init__(self, due_s: int, raw: bytes, pieces: "list[bytes]") -> None:
        self.stated_s = self.due_s = due_s
        self.raw = raw
        self.pieces = pieces


class HeadEnd:
    """totals: source -> [credited, refunded] as stated last · typed_uc: worth of the tokens that were made and typed ·
    exports: whether the tariff pays for energy to the grid."""

    def __init__(self, life, mode: str) -> None:
        self._life = life
        self._mode = MODES[mode]
        self.exports = bool(self._mode.tariffs[0].export_prices_uc_per_kwh)
        self._tag_keys = [(1, bytes(range(32)))]
        self._mac_key = MacKey(self._tag_keys[0][1])
        self._next_key = (0, b"")  # on its way
        self._version = 0
        self.account_epoch = 1
        self.totals: dict[int, list[int]] = {1: [0, 0], 2: [0, 0]}
        self._debts = {1: [0, 0], 2: [0, 0], 3: [0, 0]}
        self._way: list[Sent] = []
        self._past: list[Sent] = []
        self._newest: dict[tuple[int, int], Sent] = {}  # subject -> what was stated last, until it is answered
        self._codes: dict[tuple[int, int], int] = {}  # subject -> its last answer
        self._tid = issue.tid_of(_BASE, life.board.true_s)
        self._token = ""
        self._told_of_start = False
        self._makers = (
            (self._credit, 8),
            (self._supply, 3),
            (self._release_all, 9),
            (self._limits, 2),
            (self._tariff, 2),
            (self._clock, 5),
            (self._modes, 4),
            (self._debt, 2),
            (self._load, 1),
            (self._clear, 1),
            (self._keys, 1),
            (self._firmware, 1),
            (self._epoch, 1),
        )

    def record(self) -> bytes:
        """The provisioning record."""
        mode = self._mode
        return Provision(
            METER,
            1,
            1,
            self._tag_keys[0][1],
            IMP_PER_KWH,
            15,
            mode.currency,
            _KEYS,
            mode.limits[0].encode(),
            mode.tariffs[0].encode(),
            decoder=(DECODER_KEY, _ATTRIBUTES) if mode.typed else None,
        ).encode()

    # -- making orders -------------------------------------------------------------------------------------------------

    def _order(self, aspect: int, body: bytes, selector: int = 0, not_after_s: int = 0, epoch: int = 0) -> Sent:
        """State it; it is put on its way by the caller."""
        unversioned = aspect in orders.UNVERSIONED
        if not unversioned:
            self._version += 1
        pieces: list[bytes] = []
        apart = len(body) > orders.MAX_BODY
        if apart:
            digest = hashlib.sha256(body).digest()
            starts = range(0, len(body), parcels.MAX_PIECE)
            pieces = [parcels.pack(digest, at, len(body), body[at : at + parcels.MAX_PIECE]) for at in starts]
            body = struct.pack(">I32s", len(body), digest)
        role = orders.ASPECT_ROLE.get(aspect, orders.ROLE_CONTROL)
        raw = orders.Statement(
            aspect=aspect,
            meter=METER,
            account_epoch=epoch or self.account_epoch,
            role=role,
            key_version=1,
            tag_key_version=self._tag_keys[0][0],
            selector=selector,
            signing_epoch=1,
            version=0 if unversioned else self._version,
            issued_s=self._life.board.true_s,
            not_after_s=not_after_s,
            body=body,
            flags=1 if apart else 0,
        ).encode()
        return Sent(self._life.seconds, orders.seal(raw, sign(_SEEDS[role], orders.digest(raw)), self._mac_key), pieces)

    def _state(self, aspect: int, body: bytes, selector: int = 0, not_after_s: int = 0, epoch: int = 0) -> None:
        """Put an order on its way, and keep it until it was answered."""
        one = self._order(aspect, body, selector, not_after_s, epoch)
        one.due_s = self._life.seconds + self._life.dice.one_of(_LATE_S)
        if not not_after_s and aspect != orders.ASPECT_CLOCK:
            self._newest[aspect, selector] = one
        self._way.append(one)

    def begins(self) -> None:
        """The meter is in service."""
        if self._mode.mode != states.MODE_LOCAL:
            self._allow(self._mode.mode)

    def states(self) -> None:
        """It has something to say."""
        dice = self._life.dice
        place = dice.below(sum([weight for _, weight in self._makers]))
        for make, weight in self._makers:
            place -= weight
            if place < 0:
                make()
                return

    def _has_enough(self) -> bool:
        """Who has credit buys seldom, so that it runs out now and then."""
        return bool(self._life.meter.account.balance_uc() > 3 * YUAN and self._life.dice.below(5))

    def _credit(self) -> None:
        if self._mode.mode != states.MODE_LOCAL or self._has_enough():
            return
        dice = self._life.dice
        source = 1 + dice.below(2)
        total = self.totals[source]
        sales = []
        for _ in range(1 + dice.below(2)):
            amount_uc = dice.one_of((1, 333_333, 2 * YUAN, 5 * YUAN, 9 * YUAN, 20 * YUAN))
            total[0] += amount_uc
            sales.append((total[0], amount_uc))
        if dice.below(9) == 0:
            total[1] = min(total[0], total[1] + dice.below(YUAN))
        self._state(orders.ASPECT_CREDIT, bodies.encode_credit(total[0], total[1], sales), source)

    def _supply(self) -> None:
        dice = self._life.dice
        hold = dice.one_of((1, 2, 3, 4, 5, 6, 7, 7, 7, 8))
        body = bodies.encode_supply(bodies.HOLD, 0, dice.one_of((bodies.DEFAULT, 0, 300)))
        self._state(orders.ASPECT_SUPPLY, body, hold, self._life.board.true_s + _STOP_S)

    def _release_all(self) -> None:
        """Of the holds that stand, one or all; the end of protection takes away, and may expire."""
        dice = self._life.dice
        for hold in range(1, 9):
            if self._life.rules.holds >> hold & 1 and dice.below(4):
                self._release(hold, dice.below(2))

    def _release(self, hold: int, close: int) -> None:
        mode = self._life.meter.supply.limits.supply_mode
        if mode in (2, 4):
            close = bodies.CLOSE_DIRECT
        elif mode in (3, 6):
            close = bodies.CLOSE_PERMIT
        not_after_s = self._life.board.true_s + _STOP_S if hold == reasons.HOLD_PROTECTION else 0
        self._state(orders.ASPECT_SUPPLY, bodies.encode_supply(bodies.RELEASE, close), hold, not_after_s)

    def _limits(self) -> None:
        made = self._life.dice.one_of(self._mode.limits)
        self._state(orders.ASPECT_LIMITS, made.encode())

    def _tariff(self) -> None:
        dice = self._life.dice
        plan = tariff.decode(dice.one_of(self._mode.tariffs).encode())
        plan.activate_s = dice.one_of((0, self._life.board.true_s + dice.below(9000)))
        self._state(orders.ASPECT_TARIFF, plan.encode())

    def _clock(self) -> None:
        clock, true_s = self._life.meter.clock, self._life.board.true_s
        nonce = clock.nonce
        if clock.known and abs(clock.unix_s - true_s) < 20:
            nonce = NO_NONCE
        self._state(orders.ASPECT_CLOCK, bodies.encode_clock(nonce, true_s))
        self._way[-1].due_s = self._life.seconds

    def _modes(self) -> None:
        """The mode of this life; now and then another one for a while."""
        dice = self._life.dice
        mode = self._mode.mode
        if mode != states.MODE_REMOTE and dice.below(4):
            return
        if dice.below(6) == 0:
            mode = dice.one_of((states.MODE_LOCAL, states.MODE_REMOTE, states.MODE_POSTPAID))
        self._allow(mode)

    def _allow(self, mode: int) -> None:
        dice = self._life.dice
        adjusted_uc = self._life.rules.adjusted_uc + dice.below(500_000)
        if mode != states.MODE_REMOTE:
            body = struct.pack(">BBQQqII", 1, mode, adjusted_uc, 0, 0, 0, 0)
        else:
            until_wh = self._life.meter.energy.import_wh + dice.one_of((0, 500, 3000, 9000))
            balance_uc = dice.one_of((-YUAN, 0, YUAN, 4 * YUAN))
            body = struct.pack(">BBQQqII", 1, mode, adjusted_uc, until_wh, balance_uc, 300, 1800)
        self._state(orders.ASPECT_MODE, body)

    def _debt(self) -> None:
        dice = self._life.dice
        number = 1 + dice.below(3)
        totals = self._debts[number]
        totals[0] += dice.one_of((0, 1, YUAN, 8 * YUAN))
        if dice.below(5) == 0:
            totals[1] = min(totals[0], totals[1] + dice.below(YUAN))
        shared = dice.below(2)
        terms = bodies.DebtTerms(
            totals[0],
            totals[1],
            shared,
            dice.one_of((1, 1234, 5000)) if shared else 0,
            0 if shared else dice.one_of((1, 700_000)),
            dice.below(3),
            dice.below(2),
            dice.one_of((0, 2 * YUAN)),
        )
        self._state(orders.ASPECT_DEBT, terms.encode(), number)

    def _load(self) -> None:
        start_s = self._life.board.true_s + self._life.dice.below(600)
        steps = ((start_s, 3000), (start_s + 1200, 1500), (start_s + 2400, 0))
        self._state(orders.ASPECT_LOAD, bodies.encode_load(steps), 0, self._life.board.true_s + 1800)

    def _clear(self) -> None:
        self._state(orders.ASPECT_CLEAR, struct.pack(">BII", 1, 0x3FF, self._life.meter.log.newest))

    def _keys(self) -> None:
        """The keys that hold already, or another per-meter key; its first use is the next order."""
        if self._life.dice.below(2):
            body = bytes((1, len(_KEYS))) + b"".join([struct.pack(">BB64s", *key) for key in _KEYS])
            self._state(orders.ASPECT_KEYS, body, orders.KEYS_SIGNING)
            return
        if self._way or self._newest:
            return  # while others are on their way, they would meet a key that is gone
        number, old = self._tag_keys[0]
        number = number % 200 + 1
        new = hashlib.sha256(old).digest()
        wrapped = wrap(self._mac_key, new, METER, 1, self._version + 1, 0)
        body = bytes((1, 2, number, 1)) + wrapped + bytes((self._tag_keys[0][0], 0))
        one = self._order(orders.ASPECT_KEYS, body, orders.KEYS_TAG)
        self._next_key = (number, new)
        self._give(one)
        self._take_key()

    def _take_key(self) -> None:
        """Another per-meter key holds where the meter has it; where power failed in its order, the start shows."""
        if self._next_key[1] and self._life.meter.tag_key(self._next_key[0]) is not None:
            self._tag_keys = [self._next_key, self._tag_keys[0]]
            self._mac_key = MacKey(self._next_key[1])
        self._next_key = (0, b"")

    def _firmware(self) -> None:
        body = struct.pack(">BBBBHI32s", 1, 9, 0, 0, 9, 100_000, bytes(32))
        self._state(orders.ASPECT_FIRMWARE, body)

    def _epoch(self) -> None:
        """Another tenant: only where nothing of the old account is still on its way."""
        if self._way or self._newest or self._life.dice.below(3):
            return
        body = struct.pack(">BBI", 1, 2, 1 << reasons.HOLD_LEGAL | 1 << reasons.HOLD_PROTECTION)
        one = self._order(orders.ASPECT_EPOCH, body, 0, 0, self.account_epoch + 1)
        self._give(one)

    def epoch_opened(self, account_epoch: int) -> None:
        """Another account is open on the meter."""
        self.account_epoch = account_epoch
        self.totals = {1: [0, 0], 2: [0, 0]}
        self._debts = {1: [0, 0], 2: [0, 0], 3: [0, 0]}
        if self._mode.mode != states.MODE_LOCAL:
            self._allow(self._mode.mode)

    # -- on the way ----------------------------------------------------------------------------------------------------

    def booted(self) -> None:
        """The meter said that it has started: what was not answered is stated again, and the time."""
        self._told_of_start = True
        self._take_key()

    def delivers(self) -> None:
        """What is due arrives."""
        now = self._life.seconds
        if self._told_of_start:
            self._told_of_start = False
            for one in self._newest.values():
                if one not in self._way:
                    one.due_s = now + 20
                    self._way.append(one)
            self._clock()
        elif not self._way and not self._life.meter.clock.known:
            self._clock()
        for one in self._way[:]:
            if one.due_s <= now and one in self._way:
                self._way.remove(one)
                self._past.append(one)
                del self._past[:-_KEPT]
                self._answered(one, self._give(one))

    def _answered(self, one: Sent, code: int) -> None:
        stated = orders.Order(one.raw).stated
        subject = stated.aspect, stated.selector
        if self._newest.get(subject) is not one:
            return
        self._codes[subject] = code
        if results.succeeded(code) or code in (results.OLD_VERSION, results.WRONG_EPOCH, results.NOT_IN_MODE):
            del self._newest[subject]
        elif code == results.REFUND_EXCEEDS:
            self._life.rules.refused_refund(stated)
            del self._newest[subject]
            known = self.totals[stated.selector]
            known[1] = self._life.meter.account.totals(stated.selector)[1]
            self._state(orders.ASPECT_CREDIT, bodies.encode_credit(known[0], known[1], []), stated.selector)
        else:
            waits_s = self._life.seconds - one.stated_s
            assert waits_s < _ANSWERED_S, f"{subject}: refused with {code} for days"
            one.due_s = self._life.seconds + 300
            self._way.append(one)

    def _give(self, one: Sent) -> int:
        """Hand an order over by one of the carriers, its body first."""
        life = self._life
        meter = life.meter
        carrier = life.dice.below(3)
        for piece in one.pieces:
            meter.parcels.take(carrier, piece)
        return life.rules.gives(carrier, one.raw, False)

    def sends_late(self) -> None:
        """One of the past comes again."""
        if self._past:
            one = self._past[self._life.dice.below(len(self._past))]
            self._life.count("orders that came again")
            self._give(one)

    def is_forged(self) -> None:
        """Somebody sends what nobody has signed: a bit turned, another's key, a signature of something else."""
        if not self._past:
            return
        self._life.count("forged orders")
        dice = self._life.dice
        raw = bytearray(self._past[dice.below(len(self._past))].raw)
        kind = dice.below(3)
        if kind == 0:
            raw[dice.below(len(raw))] ^= 1 << dice.below(8)
        else:
            # The per-meter key was stolen: a statement of one's own under a signature of another.
            body = bodies.encode_credit(10**15, 0, [])
            one = self._order(orders.ASPECT_CREDIT, body, 1 + dice.below(3))
            signed = bytearray(one.raw[:-72])
            raw = bytearray(orders.seal(bytes(signed), bytes(raw[-72:-8]), self._mac_key))
        self._life.rules.gives(dice.below(3), bytes(raw), True)

    # -- tokens --------------------------------------------------------------------------------------------------------

    def token(self) -> None:
        """A token is typed: a new one, the last one again, or something that is none."""
        if not self._mode.typed:
            return
        dice = self._life.dice
        kind = dice.below(8)
        if kind == 0 and self._token:
            self._life.rules.types(self._token, 0)
        elif kind == 1:
            wrong = self._digits(bytes(16), self._tid + 1, 10)
            self._life.rules.types(wrong, 0)
        elif not self._has_enough():
            self._tid = max(self._tid + 2, issue.tid_of(_BASE, self._life.board.true_s))
            units = dice.one_of((1, 20, 50, 90, 200))
            self._token = self._digits(DECODER_KEY, self._tid, units)
            self._life.rules.types(self._token, units * YUAN // 10)

    def _digits(self, key: bytes, tid: int, units: int) -> str:
        if tid % 1440 == 1:
            tid += 1  # reserved
        return issue.once(key, CREDIT, 0, tid % 16, tid, issue.register_of(units))

    # -- the end -------------------------------------------------------------------------------------------------------

    def settles(self) -> None:
        """Everything stated and not answered arrives."""
        for _ in range(5):
            self._clock()
            for one in list(self._newest.values()) + self._way:
                one.due_s = 0
                if one not in self._way:
                    self._way.append(one)
            self.delivers()
            self._life.run(65)
        left = [(subject, self._codes.get(subject)) for subject in self._newest]
        assert not left, f"every statement is answered in the end: {left}"
