"""Who acts in a run: customers who pay (and whose channel retries), operators, the weather, who restarts servers."""

from collections.abc import Callable

from headend.books import sealer
from headend.ledger import payments
from headend.orders import statements
from headend.refusals import Refused
from meterlink import bodies, reasons
from openprepay.simcheck.system import CHANNEL, SimulatedMeter, System
from openprepay.simcheck.themes import THEMES

HOLDS = (reasons.HOLD_ARREARS, reasons.HOLD_CUSTOMER_REQUEST, reasons.HOLD_SAFETY)


class People:
    """Draws and carries out one action after the other. Counts what was paid: the customers' own books."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._rng = system.rng
        self._payments = 0
        self._forgotten: list[str] = []  # payments whose answer got lost on its way to the channel
        self.taken: dict[str, tuple[int, int]] = {}  # meter and amount of every payment that was answered
        self.lost: set[str] = set()  # those that a copy which was put back does not have
        self.may_come_uc = {meter.number: 0 for meter in system.meters}  # of payments for another meter
        self.paid_uc = {meter.number: 0 for meter in system.meters}
        self._thrift = 5 if system.limits.emergency_uc else 1  # where want of credit has rules, it is to be seen
        self.granted_uc = {meter.number: 0 for meter in system.meters}  # emergency credit, as the meter's panel said
        self._acts: tuple[tuple[int, Callable[[SimulatedMeter], None]], ...] = (
            (30, self._pay),
            (12, self._repeat_payment),
            (10, self._stop),
            (14, self._release),
            (16, self._press),
            *(((8, self._hold_key), (8, self._take_emergency)) if system.limits.emergency_uc else ()),
            (8, self._fail_mains),
            (5, self._restart),
            (5, self._withhold_and_replay),
            (5, self._seal),
        )
        self.theme = THEMES[system.seed % len(THEMES)](system, self)
        self._acts += self.theme.acts

    def act(self) -> str:
        """One action drawn at random; its name."""
        weights = [weight for weight, _ in self._acts]
        act = self._rng.choices([act for _, act in self._acts], weights)[0]
        act(self._rng.choice(self._system.meters))
        return act.__name__.lstrip("_")

    # -- customers -----------------------------------------------------------------------------------------------------

    def _pay(self, meter: SimulatedMeter) -> None:
        self._payments += 1
        amount_uc = self._rng.randrange(100_000, 9_000_000) // self._thrift
        payment_id = f"p{self._payments}"
        self._take(payment_id, meter.number, amount_uc)
        self.taken[payment_id] = meter.number, amount_uc
        self.paid_uc[meter.number] += amount_uc
        if self._rng.randrange(3) == 0:
            self._forgotten.append(payment_id)

    def in_books(self) -> frozenset[str]:
        """The payments that the database must have."""
        return frozenset(self.taken) - self.lost

    def post_again(self, payment_id: str) -> None:
        """The channel posts a payment that a lost database had taken."""
        self._take(payment_id, *self.taken[payment_id], again=payment_id in self.lost)
        self.lost.discard(payment_id)

    def _repeat_payment(self, meter: SimulatedMeter) -> None:
        """The channel never saw the answer and sends the payment again; sometimes with another amount, by mistake."""
        if not self._forgotten:
            return
        payment_id = self._rng.choice(self._forgotten)
        number, amount_uc = self.taken[payment_id]
        if payment_id not in self.lost and self._rng.randrange(4) == 0:
            try:
                self._take(payment_id, number, amount_uc + 1)
            except payments.PaymentConflict:
                return
            raise AssertionError(f"payment {payment_id} was taken with two amounts")
        self.post_again(payment_id)

    def _take(self, payment_id: str, number: int, amount_uc: int, *, again: bool = False) -> None:
        system = self._system
        system.store.write(
            lambda conn: payments.take(conn, system.now_s, CHANNEL, payment_id, number, amount_uc, again=again)
        ).result()
        system.note(f"payment {payment_id} of {amount_uc} uc for {number}")

    def _press(self, meter: SimulatedMeter) -> None:
        if meter.powered:
            meter.board.press_reconnect()
            self._system.note(f"reconnection key at {meter.number}")

    def _hold_key(self, meter: SimulatedMeter) -> None:
        if meter.powered:
            meter.unit.meter.press_connect(3)
            self._system.note(f"reconnection key held at {meter.number}")

    def _take_emergency(self, meter: SimulatedMeter) -> None:
        if meter.powered and meter.unit.meter.take_emergency():
            self.granted_uc[meter.number] = self._system.limits.emergency_uc
            self._system.note(f"emergency credit taken at {meter.number}")

    # -- operators -----------------------------------------------------------------------------------------------------

    def _stop(self, meter: SimulatedMeter) -> None:
        valid_s = self._rng.choice((20, 60, statements.MAX_STOP_S))  # the shortest ones run out on their way
        hold = self._rng.choice(HOLDS)
        at_once = {"delay_s": 0} if hold == reasons.HOLD_SAFETY else {}
        self._order("stop", statements.stop, meter, hold, valid_s=valid_s, **at_once)

    def _release(self, meter: SimulatedMeter) -> None:
        close = self._rng.choice((bodies.CLOSE_PERMIT, bodies.CLOSE_DIRECT))
        self._order("release", statements.release, meter, self._rng.choice(HOLDS), close=close)

    def _order(self, what: str, make: Callable[..., int], meter: SimulatedMeter, hold: int, **options: int) -> None:
        system = self._system
        try:
            number = system.store.write(
                lambda conn: make(conn, system.now_s, meter.number, hold, "operator", **options)
            ).result()
        except Refused as refused:
            system.note(f"{what} of hold {hold} at {meter.number} refused: {refused}")
        else:
            system.note(f"{what} of hold {hold} at {meter.number}: order {number}")

    # -- weather and machines ------------------------------------------------------------------------------------------

    def _fail_mains(self, meter: SimulatedMeter) -> None:
        if meter.powered:
            outage_s = self._rng.choice((5, 60, 600))
            meter.lose_power(meter.board.true_s + outage_s)
            self._system.note(f"mains of {meter.number} fail for {outage_s} s")

    def _restart(self, meter: SimulatedMeter) -> None:
        self._system.restart_head_end()
        self._system.note("the head end is restarted")

    def _seal(self, meter: SimulatedMeter) -> None:
        sealer.seal_all(self._system.store, self._system.now_s)

    def _withhold_and_replay(self, meter: SimulatedMeter) -> None:
        """Somebody on the network kept what passed, and plays some of it again, in any order."""
        for replay in self._rng.sample(self._system.kept, min(5, len(self._system.kept))):
            self._system.network.send(self._system.now_s, replay)
        self._system.note("old messages are played again")
