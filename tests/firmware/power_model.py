"""A meter's life under a script, and what must hold when the power fails anywhere in it. Both interpreters.

`Life` runs the script on one flash; `Life.boot_and_check` boots a second meter from a flash as a cut left it, with the
witness, the relay and the clock of that moment, and compares it with what the first one had promised:

- credit is what was promised, or that and the order under way: none lost, none doubled; the same order again settles
  it;
- registers are at least what was ever shown, at most what flowed; money balances, and agrees with the energy;
- the interval log has every number once, each record byte for byte as it was shown, and its deltas add up;
- what the relay does was committed before: a relay that moved finds its intent, or a counted attempt;
- every sale has its record and no other has one, and so has each decision to switch; what was shown of any log stays.
"""

from meterlink import bodies, orders, records, results, states, tariff
from meterlink.reports import NO_NONCE
from tests.firmware.ramboard import LIMITS, RamBoard, Rig

PRICES = (1_000_000, 3_000_000)
DAY_PLAN = tariff.Tariff(PRICES, ((0, 0), (28, 1), (84, 0)))


class Life(Rig):
    """See the module. boots: how many meters were booted after a cut."""

    def __init__(self):
        self.boots = 0
        self.deep_every = 0  # every so many boots the meter lives on for an hour, and is cut off once more
        self.sure_uc = self.maybe_uc = 0  # credited: promised; with the order under way
        self.order_under_way = None
        self.shown_wh = 0
        self.shown = []  # interval records
        self.meter = None

    def begin(self, flash):
        """A blank flash goes into service."""
        limits = bodies.decode_limits(LIMITS.encode())
        limits.trip_delay_s = 600
        Rig.__init__(self, RamBoard(flash), limits=limits, plan=DAY_PLAN)

    # -- the script ----------------------------------------------------------------------------------------------------

    def order_and_wait(self, raw):
        """Deliver an order; from here until its answer either side of it may be found."""
        stated = orders.Order(raw).stated
        if stated.aspect == orders.ASPECT_CREDIT:
            had_uc = self.meter.account.totals(stated.selector)[0]
            self.maybe_uc = self.sure_uc + bodies.decode_credit(stated.body)[0] - had_uc
        self.order_under_way = raw
        assert self.give(raw) == results.APPLIED
        assert self.give(raw) == results.ALREADY
        self.sure_uc = self.maybe_uc
        self.order_under_way = None
        self.look()

    def look(self):
        """Somebody reads the meter: what is shown must never be taken back."""
        report = self.report()
        assert report.balances() and report.credited_uc == self.sure_uc
        assert report.import_wh >= self.shown_wh
        self.shown_wh = report.import_wh

    def live(self, seconds, stride_s):
        while seconds > 0:
            self.run(min(seconds, stride_s), stride_s)
            self.look()
            while self.meter.erase_due():
                self.meter.erase_step()
            seconds -= stride_s

    def hour(self, stride_s=60):
        """Credit, a hold and its release, a small shift of the clock; four intervals."""
        self.board.watts = 1800
        self.order_and_wait(self.credit(5_000_000))
        self.live(1200, stride_s)
        self.order_and_wait(self.hold(1))
        self.live(660, stride_s)
        self.order_and_wait(self.release(1))
        self.live(300, stride_s)
        self.order_and_wait(self.order(orders.ASPECT_CLOCK, bodies.encode_clock(NO_NONCE, self.board.unix_s - 20)))
        self.order_and_wait(self.credit(9_000_000, source=2))
        self.live(1440, stride_s)

    def week(self, stride_s=900):
        """Seven days: sales from two sources, credit used up, a hold, tariff and limits, an outage, the clock set."""
        for day in range(7):
            self.board.watts = 700 + 300 * day
            self.order_and_wait(self.credit(8_000_000 * (day + 1), sales=[(8_000_000 * (day + 1), 8_000_000)]))
            self.live(6 * 3600, stride_s)
            if day == 1:
                self.order_and_wait(self.hold(1))
                self.live(3 * 3600, stride_s)
                self.order_and_wait(self.release(1))
            if day == 2:
                later = tariff.Tariff((2_000_000,), activate_s=self.board.unix_s + 20_000)
                self.order_and_wait(self.order(orders.ASPECT_TARIFF, later.encode()))
            if day == 3:
                self.outage(5000)
                self.order_and_wait(self.credit(2_000_000, source=2))
            if day == 4:
                nonce = self.meter.clock.nonce
                self.order_and_wait(
                    self.order(orders.ASPECT_CLOCK, bodies.encode_clock(nonce, self.board.unix_s + 3000))
                )
            if day == 5:
                self.order_and_wait(self.order(orders.ASPECT_LIMITS, LIMITS.encode()))
                self.order_and_wait(self.credit(4_000_000, 1_000_000, source=2))
            self.live(18 * 3600, stride_s)

    # -- after a cut ---------------------------------------------------------------------------------------------------

    def boot_and_check(self, flash):
        self.boots += 1
        other = self.reborn(flash)
        self.check(other)
        if self.deep_every and self.boots % self.deep_every == 0:
            other.run(3600, 450)
            other.outage(1)
            self.check(other)

    def reborn(self, flash):
        """A meter that starts from this flash, where and when the first one stopped."""
        board = RamBoard(flash)
        board.closed = self.board.closed
        board.unix_s = self.board.unix_s
        board.watts = self.board.watts
        board.kept_witness = self.board.kept_witness
        other = Rig(board, commission=False)
        other.limits, other.plan, other.version = self.limits, self.plan, self.version
        return other

    def check(self, other):
        meter = other.meter
        assert not meter.history_lost and not meter.damaged and not meter.store.failed
        if not meter.commissioned:
            assert not self.meter.commissioned, "it was not yet in service when the power failed"
            return
        self.check_money(other)
        self.check_intervals(other)
        self.check_relay(other)
        self.check_logs(other)
        events = [records.unpack_event(record) for record in other.records(meter.store.events)]
        assert [event[0] for event in events] == list(range(1, len(events) + 1))
        if self.order_under_way is not None:
            self.check_order(other, orders.Order(self.order_under_way).stated)

    def check_order(self, other, stated):
        """The order that was under way is carried out, once; if not before the cut then now."""
        if stated.aspect == orders.ASPECT_CLOCK and other.meter.held_order(stated.aspect, 0) == self.order_under_way:
            moved = other.board.unix_s == bodies.decode_clock(stated.body)[1]
            assert moved or not other.meter.clock.known, "an RTC that was not set is not believed"
        code = other.give(self.order_under_way)
        # A clock order that was not durable answers a nonce that went with the power, or moves an unknown clock.
        lapsed = stated.aspect == orders.ASPECT_CLOCK and code == results.BAD_NONCE
        assert lapsed or code in (results.APPLIED, results.ALREADY)
        assert other.meter.account.credited_uc == self.maybe_uc

    def check_money(self, other):
        meter = other.meter
        other.balances()
        assert meter.account.credited_uc in (self.sure_uc, self.maybe_uc), (meter.account.credited_uc, self.sure_uc)
        assert meter.energy.import_wh >= max(self.shown_wh, self.meter.committed()[1])
        assert meter.account.charged_uc >= self.meter.committed()[9]
        assert meter.committed()[1] == meter.energy.import_wh == sum(meter.energy.import_rates)
        if meter.boot <= self.meter.boot + 1:  # before it has lived on
            assert meter.energy.import_wh <= self.meter.energy.import_wh
            assert meter.account.charged_uc <= self.meter.account.charged_uc
        low, high = [meter.energy.import_wh * price // 1000 for price in (min(PRICES), max(PRICES))]
        assert low <= meter.account.charged_uc <= high

    def check_intervals(self, other):
        ring, log = self.meter.store.intervals, other.meter.store.intervals
        for record in self.records(ring, len(self.shown) + 1):
            self.shown.append(record)  # it is there to be read by anyone
        # All of it each eighth time; what is far behind the head is not touched by what happens at the head.
        skip = max(0, len(self.shown) - 8) if self.boots % 8 else 0
        held = other.records(log, skip + 1)
        assert held[: len(self.shown) - skip] == self.shown[skip:]
        register = records.unpack_interval(self.shown[skip - 1])[2] if skip else 0
        for place, record in enumerate(held):
            f = records.unpack_interval(record)
            assert f[0] == skip + place + 1
            assert f[2] == register + f[4], "no watt-hour is missing or in two records"
            register = f[2]
        assert skip + len(held) == other.meter.profile.seq == max(0, log.newest), "what was decided is in the log"
        assert log.oldest == (1 if log.newest > 0 else -1)
        assert register <= other.meter.energy.import_wh

    def check_logs(self, other):
        for kind in records.FORMAT_OF:
            shown, held = self.logged(kind), other.logged(kind)
            assert held[: len(shown)] == shown
            assert [one[0] for one in held] == list(range(1, len(held) + 1))
            assert len(held) == other.meter.store.newest[kind], "what was decided is in the log"
        account = other.meter.account
        sold_uc = sum([one[5] for one in other.logged(records.KIND_TOPUP)])
        assert sold_uc == account.credited_uc + account.waiting_uc
        switches = other.logged(records.KIND_SWITCH)
        assert len(switches) <= other.meter.supply.relay.operations
        if switches:
            assert switches[-1][2] == (other.meter.supply.control == states.CONTROL_CONNECTED)

    def check_relay(self, other):
        supply = other.meter.supply
        if (supply.control == states.CONTROL_CONNECTED) != other.board.closed:
            assert supply.relay.attempts >= 1, "the attempt was counted before its pulse"
