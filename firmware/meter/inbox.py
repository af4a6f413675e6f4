"""Orders on their way: cheap checks at once, one waiting order a carrier, the signature in slices, then the decision.

Checks come in the order of what they cost and of what they give away: form, meter, epoch, version, expiry, keys, tag,
and only then the signature, so that nobody but a holder of the per-meter key can make the meter verify one. A refusal
changes nothing but the result that is shown.
"""

import collections

from meter import apply
from meterlink import ecdsa, events, orders, results

CARRIERS = 4
MAX_JUDGED = 8  # results kept, for receipts and reports


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
        self._waiting: "list[orders.Order | None]" = [None] * CARRIERS
        self._carrier = -1  # whose order is being verified
        self._run: "collections.abc.Generator[None, None, bool] | None" = None
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
            order = orders.Order(raw)
        except orders.OrderError as error:
            return error.code if waiting else self._close(self._open(carrier), carrier, None, error.code)
        if waiting is not None and waiting.raw == order.raw:
            return results.PENDING
        code = apply.judge(self._meter, order, True)
        if waiting is None:
            number = self._open(carrier)
            if code != results.PENDING:
                return self._close(number, carrier, order, code)
        elif code != results.PENDING:
            self._note(order, code, False)
            return code
        elif _age(order) <= _age(waiting):
            return results.BUSY
        else:
            self._drop(carrier)
            self._open(carrier)
        self._waiting[carrier] = order
        return results.PENDING

    def verifying(self) -> bool:
        """Whether an order waits for its verification."""
        return self._run is not None or any(self._waiting)

    def slice(self) -> bool:
        """One slice of verification; whether there is more. The last slice decides, commits and answers."""
        run = self._run or self._next()
        if run is None:
            return False
        try:
            next(run)
            return True
        except StopIteration as end:
            genuine = end.value
        except MemoryError:
            self._run = None  # no verdict: it begins anew
            raise
        carrier = self._carrier
        order = self._waiting[carrier]
        assert order is not None, "what is verified waits until it is judged"
        self._run = None
        code = apply.decide(self._meter, order) if genuine else results.BAD_SIGNATURE
        if code > results.PENDING:
            stated = order.stated
            self._meter.note(events.ORDER_REFUSED, code, stated.aspect << 8 | stated.selector & 0xFF)
        self._close(self.results[carrier].pending_id, carrier, order, code)
        self._waiting[carrier] = None
        return self.verifying()

    def _next(self):
        """Begin with the next order, carriers taking turns: its verification, or None."""
        for step in range(1, CARRIERS + 1):
            carrier = (self._carrier + step) % CARRIERS
            order = self._waiting[carrier]
            if order is not None:
                key = self._meter.public_key(order.stated.role, order.stated.key_version)
                self._carrier = carrier
                self._run = ecdsa.steps(key, order.digest, order.signature)
                return self._run
        return None

    def _drop(self, carrier: int) -> None:
        """A newer order takes the place of the one that waits."""
        if self._run is not None and self._carrier == carrier:
            self._run = None
        self._close(self.results[carrier].pending_id, carrier, self._waiting[carrier], results.SUPERSEDED)
        self._waiting[carrier] = None

    def _open(self, carrier: int) -> int:
        """A number for an order that is taken."""
        result = self.results[carrier]
        result.pending_id = result.pending_id % 0xFFFF + 1
        return result.pending_id

    def _close(self, number: int, carrier: int, order, code: int) -> int:
        """Show a verdict."""
        result = self.results[carrier]
        result.done_id = number
        result.describe(order, code)
        result.judged_s = self._meter.now_s()
        if order is not None:
            self._note(order, code, self._waiting[carrier] is order)
        return code

    # -- receipts ------------------------------------------------------------------------------------------------------

    def _note(self, order, code: int, known: bool) -> None:
        """Keep a verdict for its receipt. Orders for another meter are not this one's to answer.

        known: the order carried a genuine tag; of others, verdicts never push out one that was not sent yet.
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

    def last(self, aspect: int, selector: int) -> int:
        """The last result for a subject since the start; results.NONE where there was none."""
        if self._newest and self._newest[:2] == (aspect, selector):
            return self._newest[5]
        for subject in reversed(self.judged):
            if subject[0] == aspect and subject[1] == selector:
                return subject[5]
        return results.NONE


def _age(order) -> tuple:
    """What says which of two orders is newer."""
    stated = order.stated
    return stated.issued_s, stated.signing_epoch, stated.version
