"""Refunds, reversals and transfers in any order: meters are deaf or dumb, spend, and hear old orders again."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import select

from headend.gate import proposals
from headend.ledger import accounts, balances, bills
from headend.ledger.refunds import asking, life
from headend.refusals import Refused
from headend.store.schema_refunds import refund
from tests.host.refund_rig import MANAGER, ask, small_world
from tests.system.world import METER, POS, YUAN

RIGHT = 18
meters = st.sampled_from((METER, RIGHT))
amounts = st.sampled_from((1, 3 * YUAN, 20 * YUAN, 50 * YUAN))
OWN = accounts.of_channel(POS)


class Back(RuleBasedStateMachine):
    """The books against what meters with the real firmware come to show."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.world = small_world(self.folder, METER, RIGHT)
        self.count = 0
        self.paid: list[str] = []
        self.spent = dict.fromkeys((METER, RIGHT), 0)

    def teardown(self) -> None:
        """When everybody can hear and speak again, nothing is open and nothing is left over."""
        world = self.world
        try:
            for point in world.points.values():
                point.deaf = point.dumb = False
            world.until(self.quiet, 4000)
            world.settle()
            world.check()
            assert world.balance(accounts.REFUNDS) == 0
            for number, point in world.points.items():
                assert point.account.balance_uc() + point.account.waiting_uc == world.customer(number)
            self.conserved()
        finally:
            world.close()
            shutil.rmtree(self.folder)

    def quiet(self) -> bool:
        if self.world.clock.now_s() % 20 == 0:
            for number in self.world.points:
                self.world.ask(number)
        return all(one.state not in (life.APPROVED, life.STATED) for one in self.rows())

    def rows(self) -> list[refund]:
        return list(self.world.read(lambda conn: conn.execute(select(refund)).all()))

    def name(self) -> str:
        self.count += 1
        return f"n{self.count}"

    @rule(meter=meters, amount_uc=amounts)
    def pay(self, meter: int, amount_uc: int) -> None:
        self.paid.append(self.name())
        self.world.pay(self.paid[-1], amount_uc, meter)

    @rule(meter=meters, amount_uc=amounts)
    def give_back(self, meter: int, amount_uc: int) -> None:
        self.decide(asking.refund_credit, meter, amount_uc, POS)

    @rule(data=st.data(), to=meters)
    def move(self, data: st.DataObject, to: int) -> None:
        if self.paid:
            self.decide(asking.transfer, POS, data.draw(st.sampled_from(self.paid)), to)

    @rule(data=st.data())
    def reverse(self, data: st.DataObject) -> None:
        if self.paid:
            self.decide(asking.reverse, POS, data.draw(st.sampled_from(self.paid)))

    def decide(self, what: object, *given: object) -> None:
        try:
            made = self.world.write(what, ask(self.name()), *given).row
        except Refused:
            return
        row = self.world.read(proposals.get, made.proposal)
        self.world.write(proposals.approve, row.id, row.digest, MANAGER)

    @rule(meter=meters, part=st.integers(1, 4))
    def spend(self, meter: int, part: int) -> None:
        point = self.world.points[meter]
        used_uc = max(0, point.account.balance_uc()) * part // 4
        point.unit.meter.account.charge_uc(used_uc)
        self.spent[meter] += used_uc

    @rule(meter=meters, deaf=st.booleans(), dumb=st.booleans())
    def link(self, meter: int, deaf: bool, dumb: bool) -> None:
        self.world.points[meter].deaf, self.world.points[meter].dumb = deaf, dumb

    @rule(meter=meters, data=st.data())
    def replay(self, meter: int, data: st.DataObject) -> None:
        point = self.world.points[meter]
        if point.orders:
            point.hear("order", data.draw(st.sampled_from(point.orders)))

    @rule(seconds=st.integers(1, 90))
    def wait(self, seconds: int) -> None:
        self.world.run(seconds)

    @invariant()
    def conserved(self) -> None:
        """What customers paid is with them, spent, on its way back, or back; a bill for what was spent besides."""
        sums = {row.account: row.balance_uc for row in self.world.read(balances.trial_balance)}
        assert sum(sums.values()) == 0
        assert all(balance_uc <= 0 for name, balance_uc in sums.items() if name.startswith("debt:"))
        for number in self.world.points:
            owed_uc = self.world.read(bills.owed_uc, number, 1)
            assert sums.get(accounts.of_debt(number, 1), 0) == -owed_uc
        stated = [row for row in self.rows() if row.state == life.STATED]
        assert sums.get(accounts.REFUNDS, 0) == sum(row.amount_uc for row in stated)


TestBack = Back.TestCase
TestBack.settings = settings(max_examples=3, stateful_step_count=12, deadline=None)
