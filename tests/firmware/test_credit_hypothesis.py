"""The account of a meter under any life: top-ups from several sources, consumption, debts, limits, modes, days, power
cuts; held against `credit_model` after each thing that happens."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meter import apply
from meterlink import bodies, orders, reasons, results, states, stating, tariff
from tests.firmware.credit_model import CreditModel
from tests.firmware.ramboard import START_S, Rig
from tests.firmware.test_both_credit_rules import DAY_S, YUAN, limits

DAILY_UC = 123_457
DAY = START_S // DAY_S
AT_ONCE = {"trip_delay_s": 0, "stable_s": 0, "dwell_s": 0}
OUT = 1 << reasons.CAUSE_OUT_OF_CREDIT

amounts = st.one_of(st.integers(1, 50), st.integers(1, YUAN), st.integers(5 * YUAN, 30 * YUAN))
totals = st.one_of(st.integers(0, 50), st.integers(20 * YUAN, 60 * YUAN))


class TrustingRig(Rig):
    """Takes orders on trust: all but their signature is judged."""

    def seal(self, statement, signature=None):
        return super().seal(statement, bytes(64))

    def give(self, raw, carrier=0):
        order = apply.Received(raw)
        code = apply.judge(self.meter, order)
        return apply.decide(self.meter, order) if code == results.PENDING else code


class Life:
    """A meter and its model. Each thing that happens is a method; `OPERATIONS` says with what."""

    def __init__(self, settlement, suspend, start_day):
        self.rules = bodies.RULE_SUSPEND * suspend
        made = limits(
            settlement=settlement, rules=self.rules, emergency_uc=3 * YUAN, credit_limit_uc=9 * YUAN, **AT_ONCE
        )
        plan = tariff.Tariff((YUAN,), charges=((tariff.PER_DAY, DAILY_UC),))
        self.rig = TrustingRig(limits=made, plan=plan)
        self.rig.board.unix_s += start_day * DAY_S + 1000
        self.rig.run(1)
        self.model = CreditModel(made, DAILY_UC, DAY + start_day)
        # The days that the clock jumped over were charged for; from here on both count alike.
        self.model.balance = self.rig.meter.account.balance_uc()
        self.model.standing = -self.model.balance
        self.totals = {1: [0, 0], 2: [0, 0]}
        self.placed = {number: [0, 0] for number in (1, 2, 3)}
        self.older: list[bytes] = []
        self.import_wh = 0

    def _second(self, seconds=1):
        self.rig.board.watts = 0
        self.rig.run(seconds)
        self.model.second()

    def _state(self, aspect, body, selector=0):
        assert self.rig.give(self.rig.order(aspect, body, selector)) == results.APPLIED

    # -- money comes and goes ------------------------------------------------------------------------------------------

    def _pay(self, source, amounts_uc, refund_uc=0):
        total, refunded = self.totals[source]
        sales = []
        for amount in amounts_uc:
            total += amount
            sales.append((total, amount))
        raw = self.rig.credit(total, refunded + refund_uc, source=source, sales=sales)
        code = self.rig.give(raw)
        if code == results.APPLIED:
            self.older.append(raw)
            self.totals[source] = [total, refunded + refund_uc]
            self.model.order(list(amounts_uc), refund_uc)
        return code

    def top_up(self, source, amounts_uc):
        assert self._pay(source, amounts_uc) == results.APPLIED
        self._second()

    def an_older_order_again(self, which):
        if self.older:
            before = self.rig.contents()
            assert self.rig.give(self.older[which % len(self.older)]) == results.ALREADY
            assert self.rig.contents() == before

    def refund(self, source, refund_uc):
        total, refunded = self.totals[source]
        there_uc = max(0, self.model.balance + self.model.waiting)
        refund_uc = min(refund_uc, total - refunded)
        if refund_uc:
            expected = results.REFUND_EXCEEDS if refund_uc > there_uc else results.APPLIED
            assert self._pay(source, [], refund_uc) == expected
            self._second()

    def draw(self, watt_hours):
        self.rig.board.watts = 3600
        self.rig.run(watt_hours, max(1, watt_hours // 20))
        now_wh = self.rig.meter.energy.import_wh
        self.model.spend((now_wh - self.import_wh) * YUAN // 1000)
        self.import_wh = now_wh
        self._second()

    def take_emergency(self):
        may = self.model.may_take()
        assert self.rig.meter.take_emergency() == may
        if may:
            self.model.granted = self.model.limits.emergency_uc
        self._second()

    def pay_what_is_asked(self, less):
        asked_uc = self.rig.meter.reconnect_uc()
        if not asked_uc:
            return
        if asked_uc > less:
            assert self._pay(1, [asked_uc - less]) == results.APPLIED
        self._second()
        assert bool(self.rig.meter.supply.causes & OUT) == less

    # -- what is stated ------------------------------------------------------------------------------------------------

    def place_debt(self, number, more_uc, back_uc, share, amount_uc, period, priority, cap_uc):
        placed, withdrawn = self.placed[number]
        placed += more_uc
        withdrawn = min(placed, withdrawn + back_uc)
        self.placed[number] = [placed, withdrawn]
        kind = bodies.DEBT_SHARED if share else bodies.DEBT_TIMED
        terms = bodies.DebtTerms(placed, withdrawn, kind, share, 0 if share else amount_uc, period, priority, cap_uc)
        self._state(orders.ASPECT_DEBT, terms.encode(), number)
        self.model.place(number, terms)
        self._second()

    def set_limits(self, **changed):
        made = limits(rules=self.rules, **AT_ONCE, **changed)
        self._state(orders.ASPECT_LIMITS, made.encode())
        self.model.limits = made
        self._second()

    def change_mode(self, mode):
        if mode == states.MODE_REMOTE:
            body = stating.mode(mode, 0, until_wh=10**9)
        else:
            body = stating.mode(mode, 0)
        self._state(orders.ASPECT_MODE, body)
        self.model.local = mode == states.MODE_LOCAL
        self._second()

    # -- time and power ------------------------------------------------------------------------------------------------

    def days_pass(self, days):
        self.rig.board.watts = 0
        for _ in range(days):
            self.rig.board.unix_s = (self.model.day + 1) * DAY_S - 2
            self.rig.run(4)
            self.model.begin_day(self.model.day + 1)
            self.model.second()

    def power_fails(self, seconds):
        assert self.rig.meter.power_down()
        room_s = (self.model.day + 1) * DAY_S - self.rig.board.unix_s - 100
        self.rig.outage(max(0, min(seconds, room_s)))
        self._second()
        self.import_wh = self.rig.meter.energy.import_wh

    # -- what holds ----------------------------------------------------------------------------------------------------

    def agrees(self):
        meter, model = self.rig.meter, self.model
        account = meter.account
        assert not meter.history_lost
        assert (account.balance_uc(), account.waiting_uc) == (model.balance, model.waiting)
        assert account.credited_uc + account.waiting_uc == sum(total for total, _ in self.totals.values())
        assert not account.waiting_uc or account.balance_uc() >= model.limits.credit_limit_uc
        assert meter.emergency.granted_uc == model.granted
        assert (meter.pricing.standing_uc, meter.charges.standing_due_uc) == (model.standing, model.standing_due)
        for debt in model.debts.values():
            found = meter.debts[debt.number - 1]
            assert (found.collected_uc, found.due_uc, found.owed_uc()) == (debt.collected, debt.due, debt.owed())
            assert 0 <= found.due_uc <= found.owed_uc()
        collected = sum(debt.collected_uc for debt in meter.debts)
        assert account.charged_uc == model.energy + meter.pricing.standing_uc + collected


settlements = st.sampled_from((bodies.SETTLEMENT_SMETS2, bodies.SETTLEMENT_STATE_GRID))
sources = st.sampled_from((1, 2))
OPERATIONS = (
    (Life.top_up, {"source": sources, "amounts_uc": st.lists(amounts, min_size=1, max_size=3)}),
    (Life.an_older_order_again, {"which": st.integers(0, 1000)}),
    (Life.refund, {"source": sources, "refund_uc": amounts}),
    (Life.draw, {"watt_hours": st.integers(1, 12_000)}),
    (Life.take_emergency, {}),
    (Life.pay_what_is_asked, {"less": st.booleans()}),
    (
        Life.place_debt,
        {
            "number": st.sampled_from((1, 2, 3)),
            "more_uc": totals,
            "back_uc": st.one_of(st.just(0), totals),
            "share": st.one_of(st.just(0), st.integers(1, 10_000)),
            "amount_uc": st.integers(0, 3 * YUAN),
            "period": st.sampled_from((bodies.PERIOD_DAY, bodies.PERIOD_WEEK, bodies.PERIOD_MONTH)),
            "priority": st.integers(0, 2),
            "cap_uc": st.one_of(st.just(0), st.integers(1, 5 * YUAN)),
        },
    ),
    (
        Life.set_limits,
        {
            "credit_limit_uc": st.sampled_from((bodies.MAX_UC, 5 * YUAN + 1, 11 * YUAN, 20 * YUAN)),
            "overdraft_uc": st.sampled_from((0, YUAN, 7 * YUAN)),
            "emergency_uc": st.sampled_from((0, 1, 5 * YUAN)),
            "emergency_from_uc": st.sampled_from((0, YUAN)),
            "min_close_uc": st.sampled_from((0, 2 * YUAN)),
            "settlement": settlements,
        },
    ),
    (
        Life.change_mode,
        {"mode": st.sampled_from((states.MODE_LOCAL,) * 3 + (states.MODE_REMOTE, states.MODE_POSTPAID))},
    ),
    (Life.days_pass, {"days": st.integers(1, 9)}),
    (Life.power_fails, {"seconds": st.integers(0, 600)}),
)
happenings = st.one_of([st.tuples(st.just(act), st.fixed_dictionaries(how)) for act, how in OPERATIONS])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    settlements,
    st.sampled_from((True, True, False)),
    st.integers(0, 40),
    st.lists(happenings, min_size=20, max_size=40),
)
def test_an_account_is_what_its_model_says_whatever_happens(settlement, suspend, start_day, happens):
    life = Life(settlement, suspend, start_day)
    for act, how in happens:
        act(life, **how)
        life.agrees()
