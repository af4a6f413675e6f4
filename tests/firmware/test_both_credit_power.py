"""Power cuts at every flash operation while debts are placed and collected, top-ups settle and wait, emergency credit
is taken, a reminder is heard, charges fall due, modes and accounts change: each holds whole or not at all, and done
again it ends in the same state. Both interpreters."""

from meterlink import bodies, flashmap, orders, reasons, results, states, tariff
from metersim.flash import NorFlash
from tests.firmware import stated
from tests.firmware.ramboard import START_S, RamBoard, Rig
from tests.firmware.test_both_credit_rules import DAY_S, YUAN, limits
from tests.firmware.test_both_debts import shared, timed
from tests.powercut import sweep

RULES = {
    "emergency_uc": 5 * YUAN,
    "credit_limit_uc": 20 * YUAN,
    "settlement": bodies.SETTLEMENT_STATE_GRID,
    "rules": bodies.RULE_SUSPEND | bodies.RULE_REMINDER,
    "trip_delay_s": 2,
    "stable_s": 0,
    "dwell_s": 0,
}
PLAN = tariff.Tariff((YUAN,), charges=((tariff.PER_DAY, YUAN // 2),))


def credit_of(meter):
    """All that is money, and what comes of it. (The day is known again in the next second.)"""
    account = meter.account
    return (
        (account.credited_uc, account.waiting_uc, account.refunded_uc, account.adjusted_uc, account.charged_uc),
        (account.remainder, account.balance_uc(), meter.pricing.standing_uc, meter.account_epoch),
        (meter.charges.pack()[4:], [debt.raw for debt in meter.debts], meter.allowance.state()[:5]),
        (meter.emergency.granted_uc, meter.cover.tripped, meter.reconnect_uc(), meter.supply.limits.encode()),
    )


class Life(Rig):
    """The script on one flash; `boot_and_check` is for the flash as a cut left it."""

    def __init__(self):
        self.act = None
        self.seen = []

    def begin(self, flash):
        Rig.__init__(self, RamBoard(flash), limits(**RULES), PLAN)
        self.run(2)

    def do(self, act):
        """Whatever a cut leaves of `act` is as before it or as after it, and `act` again makes it the latter."""
        before = credit_of(self.meter)
        self.act, self.seen = act, []
        act(self)
        after = credit_of(self.meter)
        assert self.seen
        for found, again in self.seen:
            assert found in (before, after), (found, before, after)
            assert again == after, (again, after)
        self.act = None

    def boot_and_check(self, flash):
        if self.act is None:
            return
        board = RamBoard(flash)
        for name in ("closed", "unix_s", "watts", "kept_witness"):
            setattr(board, name, getattr(self.board, name))
        other = Rig(board, commission=False)
        other.balances()
        assert not other.meter.history_lost and not other.meter.damaged
        found = credit_of(other.meter)
        self.act(other)
        self.seen.append((found, credit_of(other.meter)))

    def order_and_again(self, aspect, body, selector=0):
        raw = self.order(aspect, body, selector)
        self.do(lambda rig: given(rig, raw))

    def top_up(self, total_uc, sales=()):
        raw = self.credit(total_uc, sales=sales)
        self.do(lambda rig: given(rig, raw))

    def spend(self, amount_uc):
        self.board.watts = 3600
        self.run(amount_uc // 1000)
        self.board.watts = 0
        self.run(2)

    # -- the script ----------------------------------------------------------------------------------------------------

    def account(self):
        self.order_and_again(orders.ASPECT_DEBT, timed(50 * YUAN, YUAN).encode(), 1)
        self.order_and_again(orders.ASPECT_DEBT, shared(50 * YUAN, 1000, cap_uc=3 * YUAN).encode(), 2)
        self.top_up(30 * YUAN, [(10 * YUAN, 10 * YUAN), (30 * YUAN, 20 * YUAN)])
        assert self.meter.account.waiting_uc == 7 * YUAN
        self.order_and_again(orders.ASPECT_LIMITS, limits(**RULES, alarm2_uc=3 * YUAN, alarm_uc=3 * YUAN).encode())
        self.spend(24 * YUAN)
        assert self.meter.supply.causes == 1 << reasons.CAUSE_REMINDER and not self.board.closed
        self.do(heard)
        self.run(2)
        assert self.board.closed
        self.spend(3 * YUAN)
        assert self.meter.emergency.state == states.EMERGENCY_OFFERED
        self.do(emergency_taken)
        self.spend(YUAN)
        self.board.unix_s = START_S + DAY_S - 3
        self.run(1)
        self.meter.commit([])  # a checkpoint, so that a start finds what is lived here
        self.do(a_day_begun)
        assert self.meter.charges.due_uc() == YUAN + YUAN // 2
        self.top_up(32 * YUAN + 100)
        self.top_up(60 * YUAN)
        assert self.meter.charges.due_uc() == 0
        self.order_and_again(orders.ASPECT_MODE, stated.remote(10**9, adjusted_uc=5 * YUAN))
        self.order_and_again(orders.ASPECT_MODE, stated.mode(states.MODE_LOCAL, 6 * YUAN))
        self.account_epoch = 2
        self.order_and_again(orders.ASPECT_EPOCH, stated.epoch())


def given(rig, raw):
    assert rig.give(raw) in (results.APPLIED, results.ALREADY)


def heard(rig):
    rig.run(1)
    rig.meter.press_connect(3)
    rig.run(1)


def emergency_taken(rig):
    rig.meter.take_emergency()
    assert rig.meter.emergency.granted_uc == 5 * YUAN


def a_day_begun(rig):
    rig.run(START_S + DAY_S + 1 - rig.board.unix_s)


def test_an_account_cut_at_every_operation():
    life = Life()

    def workload(flash):
        life.begin(flash)
        life.account()

    result = sweep(NorFlash(flashmap.TOTAL_SECTORS, unit_bytes=8), workload, life.boot_and_check)
    assert result.operations > 10
