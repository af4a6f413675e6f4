"""Typed tokens under arbitrary work, with the firmware itself typing: no unit is lost or doubled, no TID serves twice,
digits never change.
"""

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headend.engine import Engine
from headend.ledger import accounts, balances, payments
from headend.refusals import Refused
from headend.tokens import book, vending
from meterlink.sts import results
from tests.host.books import CHANNEL, METER
from tests.host.token_rig import TokenPair

UNIT_UC = 100_000
amounts = st.integers(1, 300).map(lambda units: units * UNIT_UC)
which = st.integers(0, 30)


class Tokens(RuleBasedStateMachine):
    """Sales, customers, a network that comes and goes, and a head end that crashes between any two steps."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = TokenPair()
        self.online = True
        self.pair.on_the_way = lambda action: action if self.online else None
        self.asked: list[tuple[str, int]] = []  # (payment id, amount) of each token, in the order of their ids
        self.digits: dict[int, str] = {}
        self.typed: set[int] = set()
        self.wired_uc = 0
        self.numbers = 0

    def teardown(self) -> None:
        try:
            self.online = True
            self.pair.until(self.pair.settled, 4000)
            self.pair.run(1000)  # a further report on our source
            self.check_end()
        finally:
            self.pair.store.close()

    def pick(self, number: int) -> int:
        """One of the tokens, by its place."""
        return number % len(self.asked) + 1

    # --- what happens -------------------------------------------------------------------------------------------------

    @rule(amount_uc=amounts, made=st.booleans())
    def vend(self, amount_uc: int, made: bool) -> None:
        self.asked.append((f"t{len(self.asked)}", amount_uc))
        row = self.pair.reserve(*self.asked[-1])
        assert (row.id, row.digits) == (len(self.asked), None)
        if made:
            self.digits[row.id] = self.pair.make(row.id).digits

    @precondition(lambda self: self.asked)
    @rule(number=which)
    def vend_again(self, number: int) -> None:
        token_id = self.pick(number)
        payment_id, amount_uc = self.asked[token_id - 1]
        row, repeated = self.pair.write(vending.vend, CHANNEL, payment_id, METER, amount_uc)
        assert repeated and row.id == token_id
        if row.state != book.VOID:
            made = self.pair.make(token_id)
            assert self.digits.setdefault(token_id, made.digits) == made.digits

    @rule(amount_uc=amounts)
    def pay_by_wire(self, amount_uc: int) -> None:
        self.numbers += 1
        self.pair.write(payments.take, CHANNEL, f"w{self.numbers}", METER, amount_uc)
        self.wired_uc += amount_uc

    @precondition(lambda self: self.digits)
    @rule(number=which)
    def type(self, number: int) -> None:
        token_id = sorted(self.digits)[number % len(self.digits)]
        code = self.pair.type(self.digits[token_id])
        if code == results.ACCEPTED:
            assert token_id not in self.typed
            self.typed.add(token_id)
        else:
            assert code == results.USED

    @precondition(lambda self: self.asked)
    @rule(number=which, void=st.booleans())
    def take_back(self, number: int, void: bool) -> None:
        token_id = self.pick(number)
        before = self.pair.token_state(token_id)
        try:
            (self.pair.void if void else self.pair.replace)(token_id)
        except Refused:
            assert before not in (book.RESERVED, book.VENDED)
        if self.pair.token_state(token_id) == book.VOID and token_id not in self.digits:
            assert self.pair.token(token_id).digits is None

    @rule(seconds=st.integers(1, 90))
    def wait(self, seconds: int) -> None:
        self.pair.run(seconds)
        for row in self.pair.tokens():
            if row.digits is not None:
                self.digits.setdefault(row.id, row.digits)

    @rule()
    def link(self) -> None:
        self.online = not self.online

    @rule()
    def head_end_restarts(self) -> None:
        pair = self.pair
        pair.engine = Engine(pair.store, pair.keys, pair.clock, pair.noise, signer=pair.signer)

    # --- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def tids_serve_once(self) -> None:
        tids = [row.tid for row in self.pair.tokens()]
        assert len(set(tids)) == len(tids)

    @invariant()
    def digits_stay(self) -> None:
        for row in self.pair.tokens():
            if row.id in self.digits:
                assert row.digits == self.digits[row.id]

    @invariant()
    def nothing_is_doubled(self) -> None:
        """What the meter has is never more than what was paid and not given back."""
        paid_uc = self.wired_uc + sum(amount_uc for _, amount_uc in self.asked)
        given_back_uc = sum(row.amount_uc for row in self.pair.tokens() if row.state == book.VOID)
        assert self.pair.unit.meter.account.balance_uc() <= paid_uc - given_back_uc

    @invariant()
    def books_explain_the_meter(self) -> None:
        explained = self.pair.explained()
        assert explained.difference_uc == 0 or not explained.source_shown, explained

    def check_end(self) -> None:
        rows = self.pair.tokens()
        worth = {state: sum(row.amount_uc for row in rows if row.state == state) for state in book.STATES}
        assert {row.id for row in rows if row.state == book.USED} == self.typed
        balance_uc = self.pair.unit.meter.account.balance_uc()
        assert balance_uc == self.wired_uc + worth[book.USED] + worth[book.REPLACED]
        ledger_uc = self.pair.store.read(balances.balance_uc, accounts.of_meter(METER, 1))
        assert ledger_uc == balance_uc + worth[book.VENDED] + worth[book.RESERVED]
        channel_uc = self.pair.store.read(balances.balance_uc, accounts.of_channel(CHANNEL))
        assert channel_uc == -ledger_uc
        for row in rows:  # what is taken back can no longer be typed
            if row.digits and row.state in (book.VOID, book.REPLACED):
                assert self.pair.type(row.digits) == results.USED
        explained = self.pair.explained()
        assert explained.source_shown and explained.difference_uc == 0, explained


# A failing run is not made shorter: that takes minutes, and the seed is printed.
TestTokens = Tokens.TestCase
TestTokens.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, phases=[Phase.generate], print_blob=True
)
