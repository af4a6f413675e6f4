"""The meter: wires the parts and decides when something is committed. Synchronous; no I/O but the board's port.

What leaves the meter (registers, reports, intervals) carries committed values only, so nothing that was ever shown is
taken back by a power cut; what a cut can cost is what was metered since the last checkpoint, `CHECKPOINT_WH` and
`CHECKPOINT_S` at most.

Before commissioning a meter counts its energy and leaves its relay as it is; it charges nothing, keeps no intervals,
answers no order (WRONG_METER) and proves nothing, as it has no key. Where its history is lost it goes on metering
with what is left and takes no order but the one that recovers it (HISTORY_LOST).
"""

import struct

from meter import held, latches, pricing, recover, reporting, store, tick
from meter.allowance import Allowance
from meter.charges import Charges
from meter.clock import Clock
from meter.cover import Cover, in_friendly_time
from meter.credit import Account
from meter.emergency import Emergency
from meter.energy import Energy
from meter.eventlog import EventLog, Nuisance, split
from meter.freeze import Freeze
from meter.inbox import CARRIERS, Inbox
from meter.latches import Latches
from meter.line import Line
from meter.parcel import Parcels
from meter.profile import Profile
from meter.senses import Senses
from meter.store import Store
from meter.supply import Supply
from meter.typed import NO_KEY, Typed
from meter.update import Update
from meterlink import bodies, bodies_root, events, orders, provision, reasons, records, reports, states, tariff
from meterlink.flashmap import CHECKPOINT_S, CHECKPOINT_WH, MAX_TICK
from meterlink.mac import KEY_LENGTH, MacKey

FACTORY_IMP_PER_KWH = 1600  # until commissioning tells
MAX_POWER_W = 90_000  # of a board that does not say: 3 x 100 A x 300 V
WITNESS_EVERY = 64  # commits; besides each decision
DISCARD_LOG_S = 3600  # impossible pulses are told once in such a time

_LOW = 1 << states.ALARM_LOW_CREDIT  # bits of `noted`: thresholds that the balance is known to be at or below
_LOW_2 = 1 << states.ALARM_LOW_CREDIT_2
_EXHAUSTED = 1 << 15


class Meter:
    """One meter over a board (`ports.Board`). Nothing happens before `start`.

    number, account_epoch: 0 before commissioning · commissioned · history_lost · floor: (signing epoch, version) below
    which orders are old · top: the highest one seen · boot, log_id · clock, energy, account, allowance, pricing,
    charges, debts, emergency, cover, supply, profile, inbox, parcels, latches, typed, senses, log, store: the parts.

    kept: parts with a state of their own in the journal: `key`, `fresh` (changed since it was stored), `pack()`,
    `unpack(raw)`. Each commit takes the fresh ones along.
    """

    CARRIER_BUS = 0
    CARRIER_TCP = 1
    CARRIER_MQTT = 2
    CARRIER_LOCAL = 3  # beyond it: further places on TCP

    def __init__(self, board) -> None:
        self.board = board
        self.store = Store(board.flash)
        self.clock = Clock(board)
        self.energy = Energy(FACTORY_IMP_PER_KWH, getattr(board, "max_power_w", MAX_POWER_W))
        self.account = Account()
        self.allowance = Allowance(self.energy, self.account)
        self.pricing = pricing.Pricing()
        self.profile = Profile()
        self.log = EventLog()
        self.nuisance = Nuisance()
        self.freeze = Freeze()
        self.supply = Supply(board, self.clock, self.note, self._commit_supply)
        self.inbox = Inbox(self)
        self.parcels = Parcels(CARRIERS)
        self.latches = Latches()
        self.typed = Typed(self)
        self.senses = Senses(self)
        self.update = Update(self)
        self.kept: "list" = [self.latches, self.supply.load, self.pricing, self.senses.tamper, self.update]
        self.charges = Charges(self)
        self.debts = self.charges.debts
        self.emergency = Emergency(self)
        self.cover = Cover(self)
        self.kept += [self.charges, self.emergency, self.cover] + self.debts
        self.line = Line(self)
        self.kept += [self.freeze, self.line]
        self.given: "provision.Provision | None" = None
        self.mac_key: "MacKey | None" = None  # the one that the meter proves with, first of its per-meter keys
        self.signing_keys: "tuple[tuple[int, int, bytes], ...]" = ()
        self._tag_keys: "list[tuple[int, bytes, MacKey]]" = []
        self.number = 0
        self.account_epoch = 0
        self.tag_key_version = 0
        self.history_lost = False
        self.damaged = False  # flash was found damaged at the start
        self.rtc_pending = False  # a clock order is durable, and the RTC may not have been set to it
        self.boot = 0
        self.log_id = 0
        self.unclean_starts = 0
        self.floor = (0, 0)
        self.top = (0, 0)
        self.counter = 0  # of reports and batches
        self.cursors = [0, 0]  # last interval and event that the head end has acknowledged
        self.noted = 0
        self.heard_s: "dict[int, int]" = {}  # carrier -> when somebody spoke to the meter last, by the monotonic clock
        self.identify_until_s = 0  # somebody looks for this meter
        self.mono_s = 0
        self._committed: tuple = (0,) * store.CHECKPOINT_COUNT  # values of the last checkpoint that is durable
        self._full = b""  # the last full one, and its values with those of the countdown
        self._full_values: tuple = ()
        self._committed_s = 0
        self._committed_wh = 0
        self._period_open = False  # a closed interval is not committed yet
        self._witnessed = 0
        self._discarded = 0
        self._discard_log_s = 0
        self._stopped = False  # a clean stop is committed

    @staticmethod
    def tcp_carrier(place: int) -> int:
        """The carrier of a place (0..3) for a client on TCP: each has its own, so that none stands in another's way."""
        return Meter.CARRIER_LOCAL + place if place else Meter.CARRIER_TCP

    # -- life ----------------------------------------------------------------------------------------------------------

    @property
    def commissioned(self) -> bool:
        """Whether the meter has a number, keys, a tariff and limits."""
        return self.given is not None

    def start(self, mono_s: int) -> None:
        """Mount flash, find the state, finish what a power cut left, count the boot."""
        self.mono_s = mono_s
        recover.start(self)

    def provision(self, raw: bytes) -> None:
        """Commission a new meter, or one whose record went with its history: that stays lost until it is recovered.

        ProvisionError where it is not taken: then nothing has changed.
        """
        if self.commissioned:
            raise provision.ProvisionError("meter: {} is commissioned already".format(self.number))
        given = provision.decode(raw)
        try:
            tariff.decode(given.tariff)
            bodies.decode_limits(given.limits)
        except orders.OrderError as error:
            raise provision.ProvisionError(str(error))
        if given.use != self.board.board_class:
            raise provision.ProvisionError(
                "use: {} given, {} expected: a board that is not sealed takes keys of the bench, a sealed one "
                "those of production".format(given.use, self.board.board_class)
            )
        raw = bytes(raw)
        split_at = store.PROVISION_SPLIT
        before = self.profile.state()
        typed_before = self.typed.state()
        self.typed.set_decoder(*(given.decoder or NO_KEY))
        self.profile.minutes = given.interval_minutes
        self.profile.open(self.now_s(), self.energy.import_wh, self.energy.export_wh, self._flags())
        items = [
            (store.KEY_PROVISION, raw[:split_at]),
            (store.KEY_PERIOD, self.profile.pack()),
            (store.KEY_SUPPLY, self.supply.pack()),
            (store.KEY_TAG_KEYS, b""),  # of an earlier record
            (store.KEY_SIGNING_KEYS, b""),
        ] + self.typed.items(typed_before)
        if not self.commit([(store.KEY_PROVISION_TAIL, raw[split_at:])]) or not self.commit(items, True):
            self.profile.restore(before)
            self.typed.restore(typed_before)
            raise provision.ProvisionError("journal: it could not be written")
        self.take_provision(given)
        self.settle(self.now_s())

    def take_provision(self, given) -> None:
        """Be the meter that a provisioning record names; tariff and limits as made, unless orders have changed them."""
        self.given = given
        self.number = given.meter
        self.account_epoch = max(self.account_epoch, given.account_epoch)
        self.top = max(self.top, (given.signing_epoch, 0))
        self.set_tag_keys(split_keys(self.store.get(store.KEY_TAG_KEYS)) or [(given.tag_key_version, given.tag_key)])
        signing = self.store.get(store.KEY_SIGNING_KEYS)
        self.signing_keys = bodies_root.decode_signing_keys(signing) if signing else given.keys
        self.energy.set_constant(self.senses.calibration.constants[0] or given.imp_per_kwh)
        self.profile.minutes = given.interval_minutes
        prices = self.pricing
        prices.load(self.store.get, given.tariff)
        self.supply.limits = bodies.decode_limits(self.store.get(store.KEY_LIMITS) or given.limits)
        prices.update(self.clock.unix_s, self.clock.known)

    def power_down(self) -> bool:
        """The board warns that power goes: a last checkpoint, and whether it is durable. Where power stays after all,
        the next step takes that back."""
        self.note(events.POWER_DOWN)
        self._stopped = self.commit([(store.KEY_LIFE, self.pack_life(True))])
        return self._stopped

    def now_s(self) -> int:
        """The meter's time."""
        return self.clock.unix_s

    # -- a second ------------------------------------------------------------------------------------------------------

    def step(self, mono_s: int) -> None:
        """Once a second; after a longer pause energy and charges are the same. Never raises."""
        elapsed_s = mono_s - self.mono_s
        if elapsed_s <= 0:
            return
        self.mono_s = mono_s
        self.senses.step(elapsed_s)
        if self._stopped and not self.senses.brown_out:
            self._stopped = not self.commit([(store.KEY_LIFE, self.pack_life())])
        start_s = self.clock.unix_s
        jump_s = self.clock.tick(elapsed_s)
        end_s = start_s + elapsed_s if jump_s else self.clock.unix_s
        imported, exported, discarded = self.energy.take(self.board.pulses(), elapsed_s)
        if imported or exported:
            self.board.pulse_out(imported + exported)
        self._discard(discarded, elapsed_s)
        if self.commissioned:
            self._meter(start_s, end_s, imported, exported)
            self._keep_account()
            if jump_s:
                self.note(events.CLOCK_SET, jump_s, 0)
                self.clock_moved()
        else:
            self.energy.add(imported, exported, 0)
        self.senses.metered(elapsed_s)
        crossed = self._thresholds()
        self.supply.step(mono_s, elapsed_s, self.credit_causes(elapsed_s), self.store.failed or self.senses.brown_out)
        self.profile.flags |= self._flags()
        self.typed.step(elapsed_s)
        self.nuisance.step(elapsed_s)
        self.update.step(elapsed_s)
        self.line.step(elapsed_s)
        if crossed or self._period_open or self._kept_fresh() or self._checkpoint_due():
            self.commit(self.typed.waiting())
        self._write_events()

    def _meter(self, start_s: int, end_s: int, imported: int, exported: int) -> None:
        """Spread pulses over the time in which they came, as far as it holds boundaries of intervals and rates."""
        at_s = start_s
        while True:
            until_s = max(at_s + 1, min(self.pricing.next_s(at_s), self.profile.end_s()))
            here_in, here_out = imported, exported
            if until_s < end_s:
                here_in = imported * (until_s - at_s) // (end_s - at_s)
                here_out = exported * (until_s - at_s) // (end_s - at_s)
            energy_wh, exported_wh = self.energy.add(here_in, here_out, self.pricing.rate)
            if (energy_wh or exported_wh) and not self.supply.retired:
                self._charge(energy_wh, exported_wh)
            if until_s > end_s:
                return
            imported -= here_in
            exported -= here_out
            at_s = until_s
            self._boundary(at_s)
            if at_s == end_s:
                return

    def _charge(self, energy_wh: int, exported_wh: int) -> None:
        """Energy at the rate and the step of the moment."""
        prices = self.pricing
        self.allowance.charge(energy_wh, prices.active, prices.rate, prices.step_wh)
        self.allowance.earn(exported_wh, prices.active, prices.rate)
        if prices.use(energy_wh):
            self.note(events.PRICE_STEP, prices.step_wh, prices.active.step(prices.step_wh) + 1)

    def _boundary(self, at_s: int) -> None:
        """An interval ends, a tariff takes over, a rate, a day or a period of steps begins."""
        if at_s >= self.profile.end_s():
            self.close_period(at_s, 0, self._flags())
        self.freeze.turn(self, at_s)
        before = self.pricing.active
        self._price_at(at_s, at_s != self.profile.start_s)
        items = self.pricing.items() if self.pricing.active is not before else []
        if self._period_open or self.freeze.fresh or items:
            self.commit(items)  # where it fails: the interval waits, and a start finds the tariff due again

    def close_period(self, at_s: int, flags: int, next_flags: int) -> None:
        """The open interval ends at `at_s` with `flags`, and one with `next_flags` begins; the caller commits."""
        self.profile.close(at_s, self.energy.import_wh, self.energy.export_wh, flags, next_flags)
        self._period_open = True
        self.freeze.interval(self.profile.record)
        self.senses.quantities.interval_ended(at_s)

    def clock_moved(self) -> None:
        """The clock jumped to `clock.unix_s`: the open interval and the rate follow; the caller commits."""
        if self.profile.holds(self.clock.unix_s):
            self.profile.flags |= records.FLAG_CLOCK_CHANGED
        else:
            changed = records.FLAG_CLOCK_CHANGED
            self.close_period(self.clock.unix_s, changed | records.FLAG_SHORT, changed | self._flags())
        self.freeze.turn(self, self.clock.unix_s, records.FLAG_CLOCK_CHANGED)
        self.price_changed()

    def power_returned(self) -> None:
        """Power was away: the open interval goes on, or ends where it stood; the caller commits."""
        if self.profile.holds(self.clock.unix_s):
            self.profile.flags |= records.FLAG_POWER_FAILED
        else:
            failed = records.FLAG_POWER_FAILED
            self.close_period(self.clock.unix_s, failed | records.FLAG_SHORT, failed | self._flags())
        self.freeze.turn(self, self.clock.unix_s, records.FLAG_POWER_FAILED)
        self.price_changed()

    def price_changed(self) -> None:
        """Take the tariff and the rate of this moment. (A start finds a tariff due again that was not committed.)"""
        self._price_at(self.clock.unix_s, True)

    def _price_at(self, unix_s: int, within: bool) -> None:
        """Take tariff, period and rate of a moment; `within` an interval it says so. The waiting tariff charges for
        nothing that began before its time."""
        prices = self.pricing
        before = prices.active, prices.period
        since_s = prices.due(unix_s, self.clock.known)
        if since_s:
            self.settle(since_s - 1)
            prices.switch_to_passive(since_s)
            self.note(events.TARIFF_SWITCHED, prices.active_version[1])
        self.settle(unix_s)
        if (prices.update(unix_s, self.clock.known) or before != (prices.active, prices.period)) and within:
            self.profile.flags |= records.FLAG_RATE_CHANGED

    def settle(self, unix_s: int) -> None:
        """Begin the days and the period of steps that have begun, and charge what stands for them."""
        prices = self.pricing
        if self.clock.known:
            day = prices.day
            due_uc = prices.settle(unix_s)
            if due_uc and not self.supply.retired:
                if self.charging() and self.suspended():
                    self.charges.defer_standing(due_uc)
                else:
                    prices.standing_uc += self.allowance.charge_time(due_uc)
                if prices.day - day > 1:
                    self.note(events.STANDING_CHARGED, due_uc // 1000, prices.day - day)
            if not self.history_lost and not self.store.failed:
                self.charges.turn(prices.active, unix_s, self.charging(), self.suspended())

    def _flags(self) -> int:
        """What an interval that this moment belongs to has to say."""
        flags = 0 if self.clock.known else records.FLAG_CLOCK_UNKNOWN
        if self.supply.relay.contact == states.CONTACT_OPEN:
            flags |= records.FLAG_SUPPLY_OFF
        return flags

    def _discard(self, pulses: int, elapsed_s: int) -> None:
        """Pulses that no load can have made: told at once, then in sum once in a while."""
        self._discarded += pulses
        self._discard_log_s = max(0, self._discard_log_s - elapsed_s)
        if self._discarded and not self._discard_log_s:
            self.note(events.PULSES_IMPOSSIBLE, self._discarded)
            self._discarded = 0
            self._discard_log_s = DISCARD_LOG_S

    def credit_causes(self, elapsed_s: int) -> int:
        """Which causes the account finds now: bits of reasons.CAUSE_OUT_OF_CREDIT and CAUSE_REMINDER."""
        return self.cover.causes(elapsed_s) if self.commissioned else 0

    def reconnect_uc(self) -> int:
        """What must be paid before supply closes again; 0 where credit does not keep it off."""
        return self.cover.reconnect_uc()

    def charging(self) -> bool:
        """Whether this meter is the one that charges."""
        return self.allowance.mode == states.MODE_LOCAL and not self.supply.retired

    def suspended(self) -> bool:
        """Whether timed debts and standing charges accumulate instead of being charged."""
        return bool(self.supply.limits.rules & bodies.RULE_SUSPEND and self.emergency.granted_uc)

    def friendly(self) -> bool:
        """Whether it is a time in which want of credit trips nothing."""
        prices, clock = self.pricing, self.clock
        known = clock.known and prices.active
        return bool(known and in_friendly_time(self.supply.limits, prices.active, clock.unix_s))

    def take_emergency(self) -> bool:
        """The customer takes emergency credit at the meter; whether it is granted, durably."""
        mark = self.log.mark()
        before = self.emergency.saved(), self.cover.state()
        shut = self.history_lost or not self.commissioned
        if not shut and self.cover.take_emergency() and self.commit([], True):
            return True
        self.log.forget(mark)
        self.emergency.restore(before[0])
        self.cover.restore(before[1])
        return False

    def settle_sales(self, source: int, tid: int, total_uc: int, sales: "list[int]", balance_uc: int) -> None:
        """Top-ups of these amounts are in the account, which stood at `balance_uc` before them: what they pay is
        charged, what lifts the balance above the hoarding limit waits, and each has its record.

        total_uc: what the source has credited with them · tid: of a typed token, else records.NO_TID.
        """
        paid = [0] * len(sales)
        if self.charging():
            paid = self.charges.settle(sales, balance_uc, self.supply.limits.settlement)
        waits_uc = max(0, self.account.level(self.supply.limits.credit_limit_uc, sum(sales)))
        if waits_uc:
            self.note(events.CREDIT_WAITS, waits_uc // 1000)
        total_uc -= sum(sales)
        above_uc = sum(sales) - sum(paid) - waits_uc  # what the sales bring to the balance; the last ones wait
        for amount_uc, paid_uc in zip(sales, paid):
            brought_uc = max(0, min(amount_uc - paid_uc, above_uc))
            lifted_uc = max(0, min(brought_uc, -balance_uc))
            above_uc -= brought_uc
            balance_uc += brought_uc
            total_uc += amount_uc
            self.record(
                records.KIND_TOPUP,
                self.clock.unix_s,
                source,
                self.account_epoch,
                tid,
                amount_uc,
                total_uc,
                paid_uc,
                lifted_uc,
                amount_uc - paid_uc - brought_uc,
                balance_uc,
                self.energy.import_wh & 0xFFFFFFFF,
                records.TOPUP_ORDER if tid == records.NO_TID else records.TOPUP_TYPED,
                0,
            )

    def _keep_account(self) -> None:
        """What the balance brings about: credit that waits, emergency credit."""
        self.account.level(self.supply.limits.credit_limit_uc)
        self.emergency.update()

    def _thresholds(self) -> bool:
        """Note where the balance has come to; whether it crossed a threshold."""
        if not self.commissioned:
            return False
        balance_uc = self.allowance.cover_uc(self.pricing.price_uc_per_kwh())
        limits = self.supply.limits
        below = 0
        if balance_uc <= limits.alarm_uc:
            below = _LOW | _LOW_2 if balance_uc <= limits.alarm2_uc else _LOW
        if balance_uc <= 0:
            below |= _EXHAUSTED
        if below == self.noted:
            return False
        new = below & ~self.noted
        for bit, code in (
            (_LOW, events.LOW_CREDIT),
            (_LOW_2, events.LOW_CREDIT_2),
            (_EXHAUSTED, events.CREDIT_EXHAUSTED),
        ):
            if new & bit:
                self.note(code, balance_uc // 1000)
        if self.noted & ~below & _EXHAUSTED:
            self.note(events.CREDIT_RESTORED, balance_uc // 1000)
        self.noted = below
        return True

    def alarms(self) -> int:
        """Bits of states.ALARM_*."""
        return (
            self.noted & (_LOW | _LOW_2)
            | (self.emergency.granted_uc > 0) << states.ALARM_EMERGENCY
            | self.cover.friendly << states.ALARM_FRIENDLY
            | (self.supply.relay.diagnosis != states.DIAGNOSIS_OK) << states.ALARM_RELAY
            | (self.store.failed or self.damaged) << states.ALARM_STORAGE
            | (not self.clock.known) << states.ALARM_CLOCK
            | self.history_lost << states.ALARM_HISTORY_LOST
            | (self.latches.word != 0) << states.ALARM_TAMPER
            | self.supply.retired << states.ALARM_RETIRED
            | self.update.alarm() << states.ALARM_UPDATE
            | self.senses.alarms()
            | self.supply.alarms()
        )

    # -- commits -------------------------------------------------------------------------------------------------------

    def note(self, code: int, argument: int = 0, detail: int = 0) -> None:
        """Note an event; it is written with the next commit, or alone at the end of the step. Some are latched."""
        if code in events.NUISANCE:
            self.nuisance.add(self.clock.unix_s, code, argument, detail)
            return
        self.log.add(self.clock.unix_s, code, argument, detail)
        if code in latches.OF_EVENT:
            self.latch(latches.OF_EVENT[code])

    def latch(self, bit: int) -> None:
        """Latch states.LATCH_* for the event just noted; durable with the next commit, in this second at the latest."""
        self.latches.set(bit, self.log.last())

    def record(self, kind: int, *values) -> None:
        """Note a record of records.KIND_*, the values from the time on; it is written with the next commit."""
        self.log.record(kind, values)

    def commit(self, items: "list[tuple[int, bytes]]", decision: bool = False) -> bool:
        """Store `items` with a checkpoint and what was noted, all or nothing; whether it is durable. A checkpoint that
        nothing goes with is a short one (`tick`).

        decision: something that must not be undone by putting back an older flash: the witness follows.
        """
        flash = self.store
        if flash.resting(self.mono_s) or self.senses.brown_out:
            return False
        if self._period_open:
            items = items + [(store.KEY_PERIOD, self.profile.pack())]
        kept = [part for part in self.kept if part.fresh]
        for part in kept:
            items = items + [(part.key, part.pack())]
        fresh = self.log.pack(self.boot, self.energy.import_wh)
        logged = self.log.pack_records(flash.newest)
        if fresh:
            items = items + [(store.KEY_EVENTS, fresh)]
        for kind in logged:
            items = items + [(store.KEY_LOGS + kind, logged[kind])]
        values = self._values()
        state = values + self.allowance.counted()
        short = b""
        if self._full and not items and not decision:
            short = tick.pack(self._full, self._full_values, state)
        full = b"" if 0 < len(short) <= MAX_TICK else struct.pack(store.CHECKPOINT, *values)
        if full:
            items = items + [(store.KEY_CHECKPOINT, full)]
            if self.allowance.counting:
                items.append((store.KEY_COUNTDOWN, self.allowance.pack_counted()))
        else:
            items = [(store.KEY_TICK, short)]
        failed_before = flash.failed
        if not flash.commit(items, self.mono_s):
            if not failed_before:
                self.note(events.STORAGE_FAILED)
            return False
        for part in kept:
            part.fresh = False
        self._committed = values
        if full:
            self._full, self._full_values = full, state
        self._committed_s = self.mono_s
        self._committed_wh = self.energy.import_wh + self.energy.export_wh
        if self._period_open:
            self._period_open = False
            if self.profile.record:  # none where a close, the first one, was taken back
                flash.append(flash.intervals, self.profile.seq, self.profile.record)
        self._events_written(fresh)
        flash.log(logged)
        self.log.records_written()
        self._write_nuisance()
        if decision or flash.journal.sequence - self._witnessed >= WITNESS_EVERY:
            self._witnessed = flash.journal.sequence
            self.board.set_witness(self._witnessed)
        return True

    def _kept_fresh(self) -> bool:
        """Whether a kept part has changed since it was stored."""
        for part in self.kept:
            if part.fresh:
                return True
        return False

    def _commit_supply(self, switch: "tuple[bool, int] | None") -> bool:
        """The supply's state; switch: (closed, who) of the operation that is to follow, see `Supply`."""
        if switch:
            held_order = self.held(orders.ASPECT_SUPPLY, switch[1]) if 0 < switch[1] < reasons.OWN else None
            self._record_switch(switch[0], switch[1], held_order[:2] if held_order else (0, 0))
        return self.commit([(store.KEY_SUPPLY, self.supply.pack())], True)

    def _record_switch(self, closed: bool, who: int, version: "tuple[int, int]") -> None:
        """version: signing epoch and version of the order that `who` stands for, (0, 0) for none."""
        energy, supply = self.energy, self.supply
        self.record(
            records.KIND_SWITCH,
            self.clock.unix_s,
            closed,
            0,
            who,
            *version,
            energy.import_wh,
            energy.export_wh,
            self.account.balance_uc(),
            supply.relay.operations,
        )

    def _checkpoint_due(self) -> bool:
        """By time or by energy; after a failure by time alone."""
        if self.mono_s - self._committed_s >= CHECKPOINT_S:
            return True
        return self.energy.import_wh + self.energy.export_wh - self._committed_wh >= CHECKPOINT_WH

    def _values(self) -> tuple:
        """Those of a checkpoint, in the order of `store.CHECKPOINT`."""
        energy, account = self.energy, self.account
        rates = tuple(energy.import_rates) + tuple(energy.export_rates)
        head = (
            self.clock.unix_s,
            energy.import_wh,
            energy.import_rest,
            energy.export_wh,
            energy.export_rest,
            account.credited_uc,
            account.earned_uc,
            account.refunded_uc,
            account.adjusted_uc,
            account.charged_uc,
            account.balance_uc(),
            account.remainder,
            self.supply.left_s(),
            self.noted,
            self.log.newest,
            self.profile.flags,
            store.CHECKPOINT_FORMAT,
        )
        return head + rates + (account.waiting_uc, account.earned_rest, self.pricing.step_wh)

    def committed(self) -> tuple:
        """The values of the last checkpoint that is durable, in the order of `store.CHECKPOINT`."""
        return self._committed

    def set_committed(self, values: tuple) -> None:
        """What a start found."""
        self._committed = values

    def pack_account(self) -> bytes:
        """Which account is open, and the floor of versions, for the journal."""
        flags = store.ACCOUNT_RETIRED if self.supply.retired else 0
        return struct.pack(store.ACCOUNT, self.account_epoch, flags, self.account.rest_from, *self.floor)

    def pack_closing(self) -> bytes:
        """What the account stands at, for its closing statement."""
        typed_uc = self.account.totals(orders.SOURCE_TYPED)[0]
        return struct.pack(store.CLOSING, self.account_epoch, typed_uc) + struct.pack(store.CHECKPOINT, *self._values())

    def account_state(self) -> tuple:
        """What opening, closing or mending an account changes here, for `restore_account`."""
        return self.account_epoch, self.supply.retired, self.floor, self.history_lost

    def restore_account(self, state: tuple) -> None:
        """Back to a `state`."""
        self.account_epoch, self.supply.retired, self.floor, self.history_lost = state

    def pack_life(self, stopped: bool = False) -> bytes:
        """The slow part of the state for the journal."""
        flags = store.LIFE_HISTORY_LOST if self.history_lost else 0
        flags |= store.LIFE_RTC_PENDING if self.rtc_pending else 0
        flags |= store.LIFE_STOPPED if stopped else 0
        clock = self.clock
        return struct.pack(store.LIFE, self.boot, self.log_id, self.unclean_starts, clock.day, clock.used_s, flags)

    def _write_events(self) -> None:
        """Events of no decision go to their ring alone, under the register last committed."""
        if not self.store.resting(self.mono_s) and not self.senses.brown_out:
            self._write_nuisance()
        if self.log.waiting() and not self.store.resting(self.mono_s) and not self.senses.brown_out:
            self._events_written(self.log.pack(self.boot, self.committed()[1]))

    def _write_nuisance(self) -> None:
        for seq, record in self.nuisance.take(self.boot, self.committed()[1]):
            self.store.append(self.store.logs[store.NUISANCE], seq, record)

    def _events_written(self, packed: bytes) -> None:
        for seq, record in split(packed):
            self.store.append(self.store.events, seq, record)
        self.log.written()

    def erase_due(self) -> bool:
        """Whether flash has housekeeping to do, best in a quiet moment."""
        return not self.store.resting(self.mono_s) and not self.senses.brown_out and self.store.erase_due()

    def erase_step(self) -> None:
        """One piece of it."""
        if not self.store.erase_step():
            self.store.rest(self.mono_s)

    # -- orders --------------------------------------------------------------------------------------------------------

    def submit(self, carrier: int, raw: bytes) -> int:
        """An order has arrived: a results.* code; PENDING where `verify_slice` is to be called."""
        return self.inbox.submit(carrier, raw)

    @property
    def verifying(self) -> bool:
        """Whether an order waits for its verification, or an image."""
        return self.inbox.verifying() or self.update.checking()

    def verify_slice(self) -> bool:
        """One slice of the verification (11 field multiplications at most, or a kilobyte of an image); False when
        nothing is left."""
        if not self.inbox.verifying() and self.update.checking():
            self.update.slice()
            return self.update.checking()
        return self.inbox.slice() or self.update.checking()

    def result(self, carrier: int):
        """The `inbox.Result` of a carrier's last order."""
        return self.inbox.results[carrier]

    def press_connect(self, held_s: int = 0) -> None:
        """The customer pressed the reconnection key, and held it for so many seconds."""
        self.cover.press(held_s)
        self.supply.press(held_s)

    def type_token(self, digits: str):
        """A token was typed at the keypad or came over the service port, never over a network: a `typed.Outcome`."""
        return self.typed.enter(digits)

    def public_key(self, role: int, version: int) -> "bytes | None":
        """The key of a role and version, or None."""
        for known_role, known_version, key in self.signing_keys:
            if known_role == role and known_version == version:
                return key
        return None

    def set_tag_keys(self, keys: "list[tuple[int, bytes]]") -> None:
        """The per-meter keys, (version, key of 32 bytes); the first is the one that the meter proves with."""
        self._tag_keys = [(version, raw, MacKey(raw)) for version, raw in keys]
        self.tag_key_version, _, self.mac_key = self._tag_keys[0]

    def tag_key(self, version: int) -> "MacKey | None":
        """The per-meter key of a version, or None."""
        for known, _, key in self._tag_keys:
            if known == version:
                return key
        return None

    def raw_tag_key(self, version: int) -> bytes:
        """The bytes of a per-meter key that is held."""
        return next(raw for known, raw, _ in self._tag_keys if known == version)

    def tag_keys(self) -> "list[MacKey]":
        """All per-meter keys that are held."""
        return [key for _, _, key in self._tag_keys]

    def held_order(self, aspect: int, selector: int) -> bytes:
        """The last signed order of a subject, byte for byte; b"" for none."""
        return held.order(self, aspect, selector)

    def held(self, aspect: int, selector: int) -> "tuple[int, int, bytes] | None":
        """(signing epoch, version, digest8) of the last order of a subject, or None."""
        return held.version(self, aspect, selector)

    # -- what the meter says -------------------------------------------------------------------------------------------

    def report(self, kind: int, nonce: bytes, aspect: int, selector: int) -> bytes:
        """A report of 222 bytes about itself and a subject; ReportError before commissioning."""
        return reporting.report(self, kind, nonce, reporting.subject(self, aspect, selector))

    def take_receipt(self) -> "bytes | None":
        """The next receipt to publish, or None. Its order is durable."""
        judged = self.inbox.take_unsent()
        return reporting.report(self, reports.KIND_RECEIPT, reports.NO_NONCE, judged) if judged else None

    def will(self) -> bytes:
        """What the broker says when this boot has gone; ReportError before commissioning."""
        return reports.pack_will(self.number, self.boot, reporting.key_of(self))

    def ask(self, raw: bytes) -> "tuple[int, bytes]":
        """(batches.KIND_*, answer) to a question; BatchError where it is none."""
        return reporting.answer(self, raw)

    def ack(self, raw: bytes) -> bool:
        """The head end has stored records: the replay cursor moves, durably; False where it stood there before.
        BatchError where it is not genuine."""
        return reporting.acknowledge(self, raw)

    def replay(self, kind: int) -> "bytes | None":
        """The next batch that is not acknowledged, or None."""
        return reporting.replay(self, kind)


def split_keys(raw: "bytes | None") -> "list[tuple[int, bytes]]":
    """(version, key) of per-meter keys that stand one behind the other in the journal."""
    raw = raw or b""
    return [(raw[at], raw[at + 1 : at + 1 + KEY_LENGTH]) for at in range(0, len(raw), 1 + KEY_LENGTH)]
