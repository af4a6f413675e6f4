"""What must hold in a meter's life (`life`), whatever goes wrong: said here from the design, not from the firmware.

At every journal record: the money balances, every term only grows, registers never fall and never outrun what flowed,
the rates add up. After every second: credited and waiting is what was signed and typed; the contact against the intent
is told within 5 s; supply is never on without cover, or against a hold, beyond the delays; nothing but its release and
the customer's key lifts safety; every interval is there once. After every order: a refusal has changed nothing; nothing
expired, forged, older than what was seen or for another is carried out. Runs on MicroPython as well as on CPython.
"""

import struct

from meter import store, tick
from meterlink import bodies, orders, reasons, records, results, states
from meterlink.sts import results as typed_results

SAFETY = 1 << reasons.HOLD_SAFETY
PROTECTION = 1 << reasons.HOLD_PROTECTION
_TOLD_S = 5
_SLACK_S = 5
_MONEY = (5, 6, 7, 8, 9)  # places in a checkpoint: credited, earned, refunded, adjusted, charged


class Rules:
    """holds: as ordered, bits · adjusted_uc: as stated by modes."""

    def __init__(self, life, check: bool) -> None:
        self._life = life
        self._check = check
        self.holds = 0
        self.adjusted_uc = 0
        self._signed = {1: [0, 0], 2: [0, 0]}  # source -> totals of the orders that were carried out
        self._typed_uc = 0
        self._seen: dict[tuple[int, int], int] = {}  # subject -> highest version carried out
        self._last: tuple = ()  # values of the newest journal record
        self._epoch = 1
        self._sequence = -1
        self._interval = b""
        self._mode = states.MODE_LOCAL
        self._stated: tuple = ()
        self._typing = 0
        self._base: tuple = ()
        self._forget()
        self._asks_safety = False
        self._key_since_safety = False
        self._off_for_credit = False
        self._delays: dict[int, int] = {}

    def _forget(self) -> None:
        """What is counted in a run of the firmware."""
        self._disagrees_s = 0
        self._uncovered_s = 0
        self._held_s: dict[int, int] = {}
        self._was_on = False

    # -- journal records -----------------------------------------------------------------------------------------------

    def watch(self, meter) -> None:
        """Look at every record that this meter writes to its journal, and hold it to the rules."""
        journal = meter.store.journal
        write = journal.commit

        def commit(items: "list[tuple[int, bytes]]") -> None:
            values = self._values(meter, items)
            if values:
                self._record(values, meter)
            write(items)
            if values:
                self._last = values

        journal.commit = commit

    def _values(self, meter, items: "list[tuple[int, bytes]]") -> "tuple":
        for key, raw in items:
            if key == store.KEY_CHECKPOINT:
                return struct.unpack(store.CHECKPOINT, raw)
            if key == store.KEY_TICK:
                assert tick.goes_on(raw, meter._full), "a tick goes on from the last full checkpoint"
                return tick.unpack(raw, meter._full, meter._full_values)[: store.CHECKPOINT_COUNT]
        return ()

    def _record(self, now: "tuple", meter) -> None:
        assert now[10] == now[5] + now[6] - now[7] - now[8] - now[9], "the money balances in every record"
        assert now[25] >= 0 and 0 <= now[11] <= 999
        flowed = self._life.board.flowed
        assert now[1] <= flowed[0] and now[3] <= flowed[1], "a register never outruns what flowed"
        assert now[1] == sum(now[17:21]) and now[3] == sum(now[21:25]), "the rates add up"
        if self._last:
            assert now[1] >= self._last[1] and now[3] >= self._last[3], "a register never falls"
            if meter.account_epoch == self._epoch:
                for place in _MONEY:
                    assert now[place] >= self._last[place], "every term of the money only grows"
        self._epoch = meter.account_epoch

    # -- starts --------------------------------------------------------------------------------------------------------

    def commissioned(self) -> None:
        """It is in service."""
        self._life.meter.step(1)
        self._life.mono_s = 1
        self._was_on = self._life.meter.supply.control == states.CONTROL_CONNECTED
        self._rebase()

    def booted(self) -> None:
        """A start: what was durable is there, what was under way is done or not."""
        meter = self._life.meter
        assert meter.commissioned and not meter.history_lost and not meter.damaged, "a start finds everything"
        shown = self._last
        now = meter.committed()
        assert now[1] >= shown[1] or meter.store.failed, "nothing that was committed is taken back"
        self._forget()
        self._was_on = meter.supply.control == states.CONTROL_CONNECTED
        under_way, self._life.under_way = self._life.under_way, b""
        if under_way == b"emergency":
            if meter.emergency.granted_uc:
                self.emergency_taken()
        elif under_way == b"token":
            if meter.account.totals(orders.SOURCE_TYPED)[0] != self._typed_uc:
                self._typed_uc += self._typing
        elif under_way:
            stated = orders.Order(under_way).stated
            epoch = stated.aspect == orders.ASPECT_EPOCH and meter.account_epoch == stated.account_epoch
            if epoch or meter.held_order(stated.aspect, stated.selector) == under_way:
                if self._is_new(stated):
                    self._applied(stated)
        self._rebase()
        if self._check:
            self._books()

    # -- orders --------------------------------------------------------------------------------------------------------

    def gives(self, carrier: int, raw: bytes, forged: bool) -> int:
        """Hand an order over and see it through: the code. A refusal, and what is known, have changed nothing."""
        life = self._life
        meter = life.meter
        ops = life.board.flash.ops
        before = self._contents(meter)
        life.under_way = b"" if forged else raw
        code = meter.submit(carrier, raw)
        if code == results.PENDING:
            while meter.verify_slice():
                pass
            code = meter.result(carrier).code
        life.under_way = b""
        life.count(("forged: " if forged else "orders: ") + str(code))
        if forged:
            assert not code == results.APPLIED, "what nobody signed is not carried out"
        if code != results.APPLIED:
            assert self._contents(meter) == before, "a refusal changes nothing"
            if code != results.STORAGE_FAILED:
                assert life.board.flash.ops == ops, "a refusal writes nothing"
            return code
        stated = orders.Order(raw).stated
        clock = meter.clock
        if stated.not_after_s and clock.known:
            assert clock.unix_s <= stated.not_after_s, "nothing is carried out after its not-after"
        assert stated.meter == meter.number and orders.may(stated.role, stated.aspect)
        assert self._is_new(stated), "nothing below what was seen is carried out"
        self._applied(stated)
        return code

    def _contents(self, meter) -> "tuple":
        return (
            meter.store.journal.sequence,
            meter.supply.state(),
            meter.supply.limits,
            meter.account.state(),
            meter.pricing.state(),
            meter.charges.state(),
            meter.allowance.state(),
            meter.clock.state(),
            meter.latches.state(),
            meter.account_epoch,
        )

    def _is_new(self, stated) -> bool:
        if stated.aspect == orders.ASPECT_CREDIT:
            known = self._signed[stated.selector]
            credited_uc, refunded_uc, _ = bodies.decode_credit(stated.body)
            return credited_uc > known[0] or refunded_uc > known[1] or not any(known)
        if stated.aspect == orders.ASPECT_EPOCH:
            return bool(stated.account_epoch > self._epoch or self._life.head_end.account_epoch < stated.account_epoch)
        return bool(stated.version > self._seen.get((stated.aspect, stated.selector), 0))

    def _applied(self, stated) -> None:
        """It is durable on the meter."""
        subject = stated.aspect, stated.selector
        if stated.aspect not in orders.UNVERSIONED:
            self._seen[subject] = stated.version
        if stated.aspect == orders.ASPECT_CREDIT:
            known = self._signed[stated.selector]
            credited_uc, refunded_uc, _ = bodies.decode_credit(stated.body)
            self._signed[stated.selector] = [max(known[0], credited_uc), max(known[1], refunded_uc)]
        elif stated.aspect == orders.ASPECT_SUPPLY:
            self._hold(stated.selector, *bodies.decode_supply(stated.body)[:3])
        elif stated.aspect == orders.ASPECT_MODE:
            self._stated = bodies.decode_mode(stated.body)
            self._mode = self._stated[0]
            self.adjusted_uc = max(self.adjusted_uc, self._stated[1])
            self._off_for_credit = self._off_for_credit and self._mode == states.MODE_LOCAL
            self._uncovered_s = 0
            self._rebase()
        elif stated.aspect == orders.ASPECT_EPOCH:
            self._open(stated)
        elif stated.aspect in (orders.ASPECT_TARIFF, orders.ASPECT_LIMITS, orders.ASPECT_CLOCK):
            self._uncovered_s = 0
            self._rebase()

    def _hold(self, hold: int, action: int, close: int, delay_s: int) -> None:
        bit = 1 << hold
        if action == bodies.HOLD:
            self.holds |= bit
            self._delays[hold] = 0 if delay_s == bodies.DEFAULT else delay_s
            self._held_s[hold] = 0
            if bit == SAFETY:
                self._asks_safety = True
                self._key_since_safety = False
        else:
            if bit == PROTECTION:
                self._held_s = {}
                self._uncovered_s = 0
            self.holds &= ~bit

    def _open(self, stated) -> None:
        kept = struct.unpack(">BBI", stated.body)[2] | SAFETY
        self.holds &= kept
        self._signed = {1: [0, 0], 2: [0, 0]}
        self._typed_uc = 0
        self._epoch = stated.account_epoch
        self._mode = states.MODE_LOCAL
        self.adjusted_uc = 0
        self._uncovered_s = 0
        self._off_for_credit = False
        self._rebase()
        self._life.head_end.epoch_opened(stated.account_epoch)

    def refused_refund(self, stated) -> None:
        """More was to be taken back than there is: so it was."""
        account = self._life.meter.account
        _, refunded_uc, _ = bodies.decode_credit(stated.body)
        had = account.totals(stated.selector)
        brought_uc = max(0, bodies.decode_credit(stated.body)[0] - had[0])
        assert refunded_uc - had[1] > brought_uc + max(0, account.balance_uc() + account.waiting_uc)

    # -- tokens and the customer ---------------------------------------------------------------------------------------

    def types(self, digits: str, worth_uc: int) -> None:
        """A token is typed: what is worth something counts once, anything else never."""
        life = self._life
        life.under_way = b"token"
        self._typing = worth_uc
        code = life.meter.type_token(digits).code
        life.under_way = b""
        life.count("tokens: " + str(code))
        if code == typed_results.ACCEPTED:
            assert worth_uc, "what was used, or nobody made, is not taken"
            self._typed_uc += worth_uc

    def key_pressed(self) -> None:
        """The customer's key."""
        if not self.holds & SAFETY:
            self._key_since_safety = True

    def emergency_taken(self) -> None:
        """It lifts what the lack of credit has tripped."""
        self._off_for_credit = False
        self._uncovered_s = 0

    # -- every second --------------------------------------------------------------------------------------------------

    def second(self) -> None:
        """After the firmware's step."""
        meter = self._life.meter
        supply = meter.supply
        on = supply.control == states.CONTROL_CONNECTED
        assert supply.holds == self.holds, "holds are what was ordered"
        if meter.store.failed or meter.senses.brown_out:
            self._uncovered_s = self._disagrees_s = 0
            self._held_s = {}
        else:
            self._against(meter, on)
            self._covered(meter, on)
        if self._asks_safety and on and not self._was_on:
            assert self._key_since_safety and not self.holds & SAFETY, "only its release and the key lift safety"
            self._asks_safety = False
        if self.holds & SAFETY:
            self._key_since_safety = False
        self._was_on = on
        if meter.store.journal.sequence != self._sequence:
            self._sequence = meter.store.journal.sequence
            self._books()

    def _against(self, meter, on: bool) -> None:
        """The contact, and the holds, against the intent."""
        board = self._life.board
        wrong = (on != board.closed and not board.blind) or (not on and board.flows())
        self._disagrees_s = self._disagrees_s + 1 if wrong else 0
        if self._disagrees_s > _TOLD_S:
            assert meter.supply.relay.diagnosis != states.DIAGNOSIS_OK, "a contact against the intent is told"
        limits = meter.supply.limits
        standing = self.holds & (SAFETY if self.holds & PROTECTION else ~PROTECTION)
        if not standing:
            self._held_s = {}
            return
        for hold in range(1, 32):
            if standing >> hold & 1:
                held_s = self._held_s[hold] = self._held_s.get(hold, 0) + 1
                wait_s = 0 if hold == reasons.HOLD_SAFETY else max(self._delays.get(hold, 0), limits.trip_delay_s)
                dwell_s = 0 if hold == reasons.HOLD_SAFETY else limits.dwell_s
                assert not on or held_s <= wait_s + dwell_s + _SLACK_S, "supply is not on against a hold"
        assert not on or self._was_on, "nothing closes against a hold"

    def _covered(self, meter, on: bool) -> None:
        limits = meter.supply.limits
        local = self._mode == states.MODE_LOCAL
        grace_s = 0
        if self.holds & PROTECTION or self._mode == states.MODE_POSTPAID:
            enough = True
        elif local:
            balance_uc = meter.account.balance_uc()
            enough = balance_uc > -limits.overdraft_uc - meter.emergency.granted_uc
            if not enough and meter.friendly():
                enough = True
            elif not enough:
                grace_s = limits.friendly_jitter_s
            closes = balance_uc >= max(1, min(limits.min_close_uc, limits.credit_limit_uc))
            if closes:
                self._off_for_credit = False
            elif not on and not enough:
                self._off_for_credit = True
        else:
            _, _, until_wh, balance_uc, _, grace_s = self._stated
            spent_uc = self._cost(self._base[1]) // 1000
            enough = meter.energy.import_wh < until_wh or balance_uc > spent_uc
        if on and not self._was_on and not self.holds & PROTECTION:
            assert not self._off_for_credit, "supply comes back with enough to close, or emergency credit"
            assert enough or grace_s, "nothing closes without cover"
        self._uncovered_s = self._uncovered_s + 1 if on and not enough else 0
        late_s = limits.trip_delay_s + limits.dwell_s + grace_s + _SLACK_S
        assert self._uncovered_s <= late_s, "supply is not on without cover beyond its delay"

    # -- the books -----------------------------------------------------------------------------------------------------

    def _rebase(self) -> None:
        """Prices or who charges have changed: the bill is counted from here."""
        meter = self._life.meter
        self._base = (
            meter.pricing.active_version,
            list(meter.energy.import_rates),
            self._spent(meter),
        )

    def _spent(self, meter) -> int:
        """Thousandths of a micro-currency that were charged for energy alone."""
        account = meter.account
        other_uc = meter.pricing.standing_uc + sum([debt.collected_uc for debt in meter.debts])
        return int((account.charged_uc - other_uc) * 1000 + account.remainder)

    def _cost(self, since: "list[int]") -> int:
        """Of the energy since, in thousandths of a micro-currency, at prices without steps."""
        meter = self._life.meter
        prices = meter.pricing.active.prices_uc_per_kwh
        rates = meter.energy.import_rates
        return sum([(rates[i] - since[i]) * prices[i] for i in range(len(rates)) if rates[i] != since[i]])

    def _books(self) -> None:
        """Credit is what was signed and typed, the bill what was drawn; every interval is there, once."""
        meter = self._life.meter
        account = meter.account
        signed = [sum([totals[i] for totals in self._signed.values()]) for i in (0, 1)]
        assert account.credited_uc + account.waiting_uc == signed[0] + self._typed_uc, "applied is what was signed"
        assert account.refunded_uc == signed[1]
        if meter.pricing.active_version != self._base[0]:
            self._rebase()
        elif not meter.pricing.active.steps_wh:
            charged = self._spent(meter) - self._base[2]
            local = self._mode == states.MODE_LOCAL
            assert charged == (self._cost(self._base[1]) if local else 0), "the bill is what was drawn"
        self._intervals(meter)

    def _intervals(self, meter) -> None:
        """The newest records go on from the one that was there before, which is as it was."""
        ring = meter.store.intervals
        seen = struct.unpack_from(">I", self._interval, 0)[0] if self._interval else 0
        if ring.newest <= seen:
            assert ring.newest == seen or not seen, "no record is lost"
            return
        record = bytearray(records.RECORD_LENGTH)
        before = self._interval
        for seq in range(max(1, seen), ring.newest + 1):
            assert ring.read_into(seq, record)
            if seq == seen:
                assert bytes(record) == before, "a record stays what it was"
                continue
            now = records.unpack_interval(bytes(record))
            assert now[0] == seq, "records are numbered without a gap"
            if before:
                was = records.unpack_interval(before)
                assert now[2] == was[2] + now[4] and now[3] == was[3] + now[5], "no watt-hour is lost or in two records"
            before = bytes(record)
        self._interval = before

    # -- the end -------------------------------------------------------------------------------------------------------

    def settled(self) -> None:
        """Everything stated has arrived: applied and waiting is what was stated."""
        meter = self._life.meter
        self._books()
        for source, totals in self._life.head_end.totals.items():
            assert list(meter.account.totals(source)) == totals, "in the end all that was stated is applied"
        ring = meter.store.intervals
        assert ring.newest - ring.oldest + 1 >= min(ring.newest, 60 * 96), "sixty days of intervals are held"
        assert not meter.store.failed and meter.commissioned
