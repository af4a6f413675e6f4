"""Orders on their way: cheap checks at once, one waiting order a carrier beside the one whose signature is verified in
slices, then the decision.

Checks come in the order of what they cost and of what they give away: form, meter, epoch, version, expiry, keys, tag,
and only then the signature, so that nobody but a holder of the per-meter key can make the meter verify one. A refusal
changes nothing but the result that is shown.

Whoever holds that key and no signing key can still make the meter verify in vain. So a verification that runs is seen
through, carriers take turns, and of each carrier at most `MAX_FAILED` in `FAILED_S` may fail before it waits. Normally
the newest of two orders waits; but for `ATTACK_S` after a failure on a carrier each order that arrives there while one
waits takes its place with the same chance as any other (reservoir sampling), which nobody can steer: among R forged
orders a second a genuine one, sent again each second, is verified within n seconds but for (R / (R + 1)) ** n.
"""

import collections

from meter import apply
from meterlink import ecdsa, events, orders, results

CARRIERS = 7  # bus, broker, service port, and each of four places on TCP
MAX_JUDGED = 8  # results kept, for receipts and reports
ATTACK_S = 60
MAX_FAILED = 10
FAILED_S = 10


class Result:
    """The verdict on the last order of a carrier.

    pending_id: number of the last order taken, 1..65535, wraps; it starts elsewhere at every boot · done_id: of the
    last one judged · code: results.* · aspect, selector, signing_epoch, version, digest8: of that order; zeros where
    it could not be read · judged_s.
    """

    def __init__(self) -> None:
        self.pending_id = 0
        self.done_id = 0
        self.judged_s = 0
        self.describe(None, results.NONE)

    def describe(self, order, code: int) -> None:
        """Take over what an order says of itself; None for one that could not be read."""
        self.code = code
        stated = order.stated if order else None
        self.aspect = stated.aspect if stated else 0
        self.selector = stated.selector if stated else 0
        self.signing_epoch = stated.signing_epoch if stated else 0
        self.version = stated.version if stated else 0
        self.digest8 = order.digest[:8] if order else bytes(8)


class Inbox:
    """The orders of one meter. `results`: one Result a carrier · `judged`: (aspect, selector, signing_epoch, version,
    digest8, code) of the last MAX_JUDGED verdicts, oldest first."""

    def __init__(self, meter) -> None:
        self._meter = meter
        self.results = [Result() for _ in range(CARRIERS)]
        self._waiting: "list[apply.Received | None]" = [None] * CARRIERS
        self._arrived = [0] * CARRIERS  # since a place was last empty, under attack
        self._failed: "list[list[int]]" = [[] for _ in range(CARRIERS)]  # when verifications failed, the last ones
        self._carrier = CARRIERS - 1  # of the order that is being verified
        self._order: "apply.Received | None" = None  # that order,
        self._number = 0  # its number
        self._run: "collections.abc.Generator[None, None, bool] | None" = None  # and its verification
        self.judged: "list[tuple]" = []
        newest: "tuple" = ()
        self._newest = newest  # the last subject judged, also where its receipt found no place
        self._unsent = 0  # of `judged`, at its end: no receipt taken yet

    def start(self, boot: int) -> None:
        """Numbers of another boot are not taken for those of this one."""
        for result in self.results:
            result.pending_id = result.done_id = (boot & 0xFF) << 8

    def submit(self, carrier: int, raw: bytes) -> int:
        """Judge what can be judged at once: a results.* code, PENDING where the signature is still to be verified.

        While one waits, what does not take its place is shown nowhere but here: BUSY, or why it is refused.
        """
        waiting = self._waiting[carrier]
        try:
            order = apply.Received(raw)
        except orders.OrderError as error:
            return error.code if self._busy(carrier) else self._close(self._open(carrier), carrier, None, error.code)
        for known in (waiting, self._order if carrier == self._carrier else None):
            if known is not None and known.raw == order.raw:
                return results.PENDING
        code = apply.judge(self._meter, order)
        if code != results.PENDING:
            if self._busy(carrier):
                self._note(order, code, False)
                return code
            return self._close(self._open(carrier), carrier, order, code)
        if waiting is not None:
            if not self._gives_way(carrier, waiting, order):
                return results.BUSY
            self._close(self.results[carrier].pending_id, carrier, waiting, results.SUPERSEDED)
        self._open(carrier)
        self._waiting[carrier] = order
        return results.PENDING

    def _busy(self, carrier: int) -> bool:
        """Whether an order of a carrier waits or is being verified: the result shown is to be its own."""
        return self._waiting[carrier] is not None or (self._order is not None and self._carrier == carrier)

    def _gives_way(self, carrier: int, waiting, order) -> bool:
        """Whether an order that waits gives way to another."""
        failed = self._failed[carrier]
        if not failed or self._meter.mono_s - failed[-1] >= ATTACK_S:
            return _age(order) > _age(waiting)
        self._arrived[carrier] += 1
        return int.from_bytes(self._meter.board.entropy(4), "big") % (self._arrived[carrier] + 1) == 0

    def verifying(self) -> bool:
        """Whether a verification can go on now."""
        return self._order is not None or self._next_carrier() >= 0

    def slice(self) -> bool:
        """One slice of verification; whether there is more to do now. The last slice decides, commits and answers."""
        order = self._order or self._next()
        if order is None:
            return False
        if self._run is None:
            key = self._meter.public_key(order.stated.role, order.stated.key_version)
            self._run = ecdsa.steps(key, order.digest, order.signature)
        try:
            next(self._run)
            return True
        except StopIteration as end:
            genuine = end.value
        except MemoryError:
            self._run = None  # no verdict: it begins anew
            raise
        self._run = None
        self._order = None
        if genuine:
            self._judged(order, apply.decide(self._meter, order), True)
        else:
            self._judged(order, results.BAD_SIGNATURE, self._count_failure())
        return self.verifying()

    def _next_carrier(self) -> int:
        """The carrier whose order is verified next, carriers taking turns; -1 where none waits, or none may go on."""
        for step in range(1, CARRIERS + 1):
            carrier = (self._carrier + step) % CARRIERS
            failed = self._failed[carrier]
            spent = len(failed) == MAX_FAILED and self._meter.mono_s - failed[0] < FAILED_S
            if self._waiting[carrier] is not None and not spent:
                return carrier
        return -1

    def _next(self):
        """Take the next order from its place; None where there is none that still needs its verification."""
        while True:
            carrier = self._next_carrier()
            if carrier < 0:
                return None
            order = self._waiting[carrier]
            assert order is not None, "it was found waiting"
            self._waiting[carrier] = None
            self._arrived[carrier] = 0
            self._carrier = carrier
            self._number = self.results[carrier].pending_id
            code = apply.again(self._meter, order)
            if code == results.PENDING:
                self._order = order
                return order
            self._judged(order, code, False)

    def _count_failure(self) -> bool:
        """A verification was in vain; whether it is the first for some time, which is worth telling."""
        failed = self._failed[self._carrier]
        first = not failed or self._meter.mono_s - failed[-1] >= ATTACK_S
        failed.append(self._meter.mono_s)
        if len(failed) > MAX_FAILED:
            failed.pop(0)
        return first

    def _judged(self, order, code: int, tell: bool) -> None:
        """A verdict on the order that was taken from its place."""
        if code > results.PENDING and tell:
            stated = order.stated
            self._meter.note(events.ORDER_REFUSED, code, stated.aspect << 8 | stated.selector & 0xFF)
        self._close(self._number, self._carrier, order, code, tell)

    def _open(self, carrier: int) -> int:
        """A number for an order that is taken."""
        result = self.results[carrier]
        result.pending_id = result.pending_id % 0xFFFF + 1
        return result.pending_id

    def _close(self, number: int, carrier: int, order, code: int, known: bool = False) -> int:
        """Show a verdict."""
        result = self.results[carrier]
        result.done_id = number
        result.describe(order, code)
        result.judged_s = self._meter.now_s()
        if order is not None:
            self._note(order, code, known)
        return code

    # -- receipts ------------------------------------------------------------------------------------------------------

    def _note(self, order, code: int, known: bool) -> None:
        """Keep a verdict for its receipt. Orders for another meter are not this one's to answer.

        known: the order's signature is genuine, or it is the first of a flood; of others, verdicts never push out one
        that was not sent yet.
        """
        if code == results.WRONG_METER:
            return
        stated = order.stated
        subject = stated.aspect, stated.selector, stated.signing_epoch, stated.version, order.digest[:8], code
        self._newest = subject
        if not known and self._unsent == MAX_JUDGED:
            return
        self.judged.append(subject)
        self._unsent += 1
        if len(self.judged) > MAX_JUDGED:
            self.judged.pop(0)
            self._unsent = min(self._unsent, MAX_JUDGED)

    def take_unsent(self) -> "tuple | None":
        """The subject of the oldest verdict without a receipt."""
        if not self._unsent:
            return None
        self._unsent -= 1
        return self.judged[-self._unsent - 1]

    def verdict(self, aspect: int, selector: int) -> tuple:
        """The last subject judged since the start for an aspect and selector; empty where there was none."""
        for subject in [self._newest] + self.judged[::-1]:
            if subject and subject[0] == aspect and subject[1] == selector:
                return subject
        return ()

    def last(self, aspect: int, selector: int) -> int:
        """Its result; results.NONE where there was none."""
        return (self.verdict(aspect, selector) or (results.NONE,))[-1]


def _age(order) -> tuple:
    """What says which of two orders is newer."""
    stated = order.stated
    return stated.issued_s, stated.signing_epoch, stated.version
