"""Power cuts in every kind of record that a meter writes: a journal record is there whole or not at all, a start finds
everything, the money balances, and nothing that was committed is taken back.

Which kinds there are is read from the store: one that nobody writes here fails the test.
"""

import struct

from meter import ports, store
from meter.core import Meter
from meter.ring import Ring
from meterlink import batches, bodies, flashmap, lines, orders, reasons, records, results, states, tariff
from meterlink.sts import results as typed_results
from metersim.flash import TORN, NorFlash, PowerCut
from tests.firmware import stated
from tests.firmware.ramboard import METER, RamBoard
from tests.firmware.test_both_debts import shared, timed
from tests.firmware.tokens import KEY, NEW_KEY, TID, TypedRig, sections

DAY_S = 86_400
YUAN = 1_000_000
OFTEN = 4  # each kind is cut in so many of its records, at every operation, torn in every way
RINGS = {
    "nuisance": flashmap.NUISANCE_FIRST,
    "switches": flashmap.SWITCHES_FIRST,
    "topups": flashmap.TOPUPS_FIRST,
    "daily": flashmap.DAILY_FIRST,
    "monthly": flashmap.MONTHLY_FIRST,
    "intervals": flashmap.INTERVALS_FIRST,
    "events": flashmap.EVENTS_FIRST,
    "journal": flashmap.JOURNAL_FIRST,
}
ORDER_KEYS = {f"order {aspect}": aspect << 8 for aspect in range(orders.ASPECT_CREDIT, orders.ASPECT_LOAD + 1)}


def kinds() -> set[str]:
    """All that a store can hold, by name."""
    keys = {name for name in dir(store) if name.startswith("KEY_")} - {"KEY_LOGS"}
    logs = {f"KEY_LOGS+{kind}" for kind in records.FORMAT_OF}
    return keys | logs | set(ORDER_KEYS) | set(RINGS) - {"journal"}


def name_of(key: int) -> str:
    """The name of a journal key; a place within a run of keys counts as its first."""
    if key >= 0x100:
        return f"order {key >> 8}"
    if store.KEY_LOGS < key <= store.KEY_LOGS + max(records.FORMAT_OF):
        return f"KEY_LOGS+{key - store.KEY_LOGS}"
    names = {getattr(store, name): name for name in dir(store) if name.startswith("KEY_") and name != "KEY_LOGS"}
    while key not in names:
        key -= 1
    return names[key]


class Cut(TypedRig):
    """A meter that does everything, cut in whatever it writes. swept: kind -> records in which it was cut."""

    def __init__(self) -> None:
        self.swept: dict[str, int] = {}
        self.cuts = 0
        self.lost = False
        self.items: list[tuple[int, bytes]] = []
        self.was: list[bytes] = []
        self.under_way: set[str] = set()
        flash = NorFlash(flashmap.TOTAL_SECTORS, unit_bytes=8)
        self.trial = flash.fork()
        flash.watch = self.watch
        made = {"emergency_uc": 5 * YUAN, "rules": bodies.RULE_SUSPEND | bodies.RULE_REMINDER, "stable_s": 0}
        TypedRig.__init__(self, RamBoard(flash), tariff.Tariff((YUAN,), charges=((tariff.PER_DAY, YUAN),)), **made)

    def boot(self) -> None:
        """Start, and look at every journal record from here on."""
        self.mono_s = 0
        self.board.imported = self.board.exported = 0
        meter = Meter(self.board)
        write = meter.store.journal.commit

        def commit(items: list[tuple[int, bytes]]) -> None:
            names = {name_of(key) for key, _ in items}
            self.items, self.was = items, [meter.store.journal.get(key) or b"" for key, _ in items]
            self.under_way = {name for name in names if self.swept.get(name, 0) < OFTEN}
            try:
                write(items)
            finally:
                for name in self.under_way:
                    self.swept[name] = self.swept.get(name, 0) + 1
                self.items, self.under_way = [], set()

        meter.store.journal.commit = commit
        self.meter = meter
        meter.start(0)

    def watch(self, block: int, offset: int, data: bytes | None) -> None:
        """Before each flash operation: what if power failed in it?"""
        ring = max((name for name in RINGS if RINGS[name] <= block), key=lambda name: RINGS[name])
        if self.items:
            if not self.under_way:
                return
        elif data is None or ring == "journal" or self.swept.get(ring, 0) >= OFTEN:
            return
        else:
            self.swept[ring] = self.swept.get(ring, 0) + 1
        before = self.board.flash.snapshot()
        for how in TORN:
            self.trial.restore(before)
            self.trial.cut_at(self.trial.ops + 1, how)
            try:
                if data is None:
                    self.trial.ioctl(6, block)
                else:
                    self.trial.writeblocks(block, data, offset)
            except PowerCut:
                self.trial.power_on()
            self.cuts += 1
            self.whole_or_not_at_all()
            self.starts()

    def whole_or_not_at_all(self) -> None:
        if self.items and self.meter.store.journal.sequence:
            found = store.Store(self.trial)
            found.mount()
            values = [found.get(key) or b"" for key, _ in self.items]
            assert values in (self.was, [value for _, value in self.items]), self.under_way

    def starts(self) -> None:
        board = RamBoard(self.trial)
        board.unix_s, board.closed, board.kept_witness = self.board.unix_s, self.board.closed, self.board.kept_witness
        board.input_bits = self.board.input_bits
        meter = Meter(board)
        meter.start(0)
        assert not meter.damaged and not meter.store.failed
        assert self.lost or not meter.history_lost
        now, shown = meter.committed(), self.meter.committed()
        assert now[10] == now[5] + now[6] - now[7] - now[8] - now[9]
        assert now[1] >= shown[1] and now[3] >= shown[3]
        rings: list[tuple[Ring, Ring]] = [
            (meter.store.intervals, self.meter.store.intervals),
            (meter.store.events, self.meter.store.events),
        ]
        rings += [(meter.store.logs[kind], self.meter.store.logs[kind]) for kind in records.FORMAT_OF]
        for then, before in rings:
            assert then.newest >= before.newest, "a record that was there is there"

    # -- everything ----------------------------------------------------------------------------------------------------

    def gives(self, aspect: int, body: bytes, selector: int = 0, **changed: int) -> None:
        send = self.give_apart if len(body) > orders.MAX_BODY else lambda *a, **k: self.give(self.order(*a, **k))
        assert send(aspect, body, selector, **changed) == results.APPLIED, aspect

    def lives(self) -> None:
        """Each kind of record, at least once."""
        board = self.board
        self.run(3)
        assert self.give(self.credit(9 * YUAN, sales=[(9 * YUAN, 9 * YUAN)])) == results.APPLIED
        assert self.give(self.credit(YUAN, source=2)) == results.APPLIED
        closes = bodies.encode_credit(YUAN, 0, [], closed=True)
        self.gives(orders.ASPECT_CREDIT, closes, 2)
        assert self.type(TID, 10) == typed_results.ACCEPTED and self.wrong(1) == typed_results.REJECTED
        self.gives(orders.ASPECT_DEBT, timed(5 * YUAN, amount_uc=YUAN).encode(), 1)
        self.gives(orders.ASPECT_DEBT, shared(5 * YUAN, 1000).encode(), 2)
        board.watts = 3000
        self.run(1200, 5)
        self.gives(orders.ASPECT_LIMITS, self.limits.encode())
        for at in (0, self.board.unix_s + 900):
            self.gives(orders.ASPECT_TARIFF, tariff.Tariff((2 * YUAN,), activate_s=at).encode())
        self.gives(orders.ASPECT_LOAD, bodies.encode_load(((board.unix_s, 2000), (board.unix_s + 60, 0))))
        assert self.give(self.hold(reasons.HOLD_ARREARS)) == results.APPLIED
        self.run(130)
        assert self.give(self.release(reasons.HOLD_ARREARS)) == results.APPLIED
        self.run(60)
        self.gives(orders.ASPECT_CLOCK, bodies.encode_clock(self.meter.clock.nonce, 1_769_903_900))  # a month ends
        self.run(240, 20)
        self.gives(orders.ASPECT_MODE, stated.remote(10**6, YUAN, 100, 100))
        self.run(120)
        self.gives(orders.ASPECT_MODE, stated.mode(states.MODE_LOCAL))
        self.gives(orders.ASPECT_MODE, stated.mode(states.MODE_LOCAL, self.meter.account.balance_uc()))
        self.run(2)
        assert self.meter.take_emergency()
        board.input_bits = ports.INPUT_SEAL_OPEN | ports.INPUT_COVER
        self.run(5)
        constants = struct.pack(">BIHHHhh", 1, 1000, 33_000, 32_000, 32_768, -5, 7)
        assert self.meter.senses.calibration.take(constants) == results.APPLIED
        assert self.meter.line.take(lines.pack(9, 19_200, 0, 1)) == results.APPLIED
        self.gives(orders.ASPECT_CLEAR, stated.clear(0x3FF, self.meter.log.newest))
        assert self.meter.ack(batches.pack_ack(2, METER, self.meter.log_id, 3, self.mac_key))
        self.gives(orders.ASPECT_FIRMWARE, stated.firmware())
        self.meter.update.fresh = True
        self.run(2)
        for digits in sections(KEY, NEW_KEY):
            self.enter(digits)
        self.gives(orders.ASPECT_KEYS, stated.signing_keys(), orders.KEYS_SIGNING)
        held = stated.tag_keys([(2, bytes(range(32, 64))), (1, b"")], self.mac_key, self.version + 1)
        self.gives(orders.ASPECT_KEYS, held, orders.KEYS_TAG)
        self.outage(60)
        self.run(DAY_S // 4, 900)
        self.gives(orders.ASPECT_RETIRE, stated.retire())
        self.gives(orders.ASPECT_EPOCH, stated.epoch(), account_epoch=2)
        self.account_epoch = 2
        self.run(5)
        self.is_recovered()

    def is_recovered(self) -> None:
        """The witness says that more was decided than flash knows."""
        self.lost = True
        self.board.kept_witness += 100
        self.boot()
        assert self.meter.history_lost
        body = stated.recover(self.meter.clock.nonce, import_wh=self.meter.energy.import_wh)
        self.gives(orders.ASPECT_RECOVER, body)
        self.lost = False
        self.run(2)


def test_every_kind_of_record_survives_a_cut_in_it() -> None:
    meter = Cut()
    meter.lives()
    missing = kinds() - {name for name, count in meter.swept.items() if count}
    assert not missing, f"nothing was cut in {sorted(missing)}"
    assert meter.cuts >= len(TORN) * len(kinds())
