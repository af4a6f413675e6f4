"""The account: credit sources and the countdown. Money in micro-currency, every term only grows:

    balance = credited + earned - refunded - adjusted - charged

A source (a signing database, a typed-token series) states its running totals; the meter keeps the highest of each, so
loss, repetition and order of deliveries change nothing. A source that is closed is folded: its final totals are
remembered for the rest of the account, so that no late order of it counts again, and its place is free.
"""

import struct

from meterlink import results
from meterlink.bodies import MAX_UC
from meterlink.orders import SOURCE_TYPED

SOURCES = 8  # that orders state; typed tokens find a place beside them
FOLDED = 32
_SOURCE = ">HQQ"
_SOURCE_LENGTH = 18
_FOLDED = ">HHQQ"


class Account:
    """credited_uc, refunded_uc: sums over the sources · charged_uc with `remainder` (0..999 thousandths of a
    micro-currency) · earned_uc with `earned_rest`, alike · adjusted_uc: what the head end has charged · waiting_uc:
    credited by the sources, and above the hoarding limit: not in credited_uc yet.

    sources: [number, credited_uc, refunded_uc] of each place, number 0 = free · folded: the same of closed sources, at
    most FOLDED · rest_from: those before it no longer count, as a `recover` order has stated their worth anew.
    """

    def __init__(self) -> None:
        self._of = [-1] * 5  # the terms that the balance was last made of
        self._balance_uc = 0
        self.open()

    def open(self) -> None:
        """A new account: all terms are zero."""
        self.earned_uc = 0
        self.adjusted_uc = 0
        self.charged_uc = 0
        self.remainder = 0
        self.earned_rest = 0
        self.waiting_uc = 0
        self.unpack_sources(b"")

    def state(self) -> tuple:
        """For `restore`."""
        sources = self.pack_sources(), list(self.folded), self.rest_from
        rests = self.remainder, self.earned_rest
        return self.earned_uc, self.adjusted_uc, self.charged_uc, self.waiting_uc, rests, sources

    def restore(self, state: tuple) -> None:
        """Back to a `state`."""
        self.earned_uc, self.adjusted_uc, self.charged_uc, self.waiting_uc, rests, sources = state
        self.remainder, self.earned_rest = rests
        self.unpack_sources(*sources)

    def balance_uc(self) -> int:
        """What is left; negative after charges beyond it.

        Asked several times a second, and on a 32-bit meter each sum of such numbers is an object; so it is made anew
        only when one of its terms is another object than before.
        """
        known = (
            self._of[0] is self.credited_uc
            and self._of[1] is self.charged_uc
            and self._of[2] is self.earned_uc
            and self._of[3] is self.refunded_uc
            and self._of[4] is self.adjusted_uc
        )
        if not known:
            of = self._of
            of[0], of[1], of[2] = self.credited_uc, self.charged_uc, self.earned_uc
            of[3], of[4] = self.refunded_uc, self.adjusted_uc
            self._balance_uc = of[0] + of[2] - of[3] - of[4] - of[1]
        return self._balance_uc

    def charge(self, energy_wh: int, tariff, rate: int, used_wh: int = 0) -> None:
        """Charge whole watt-hours at a rate of a tariff, after `used_wh` in the period of its steps."""
        cost_uc, self.remainder = tariff.cost(energy_wh, rate, self.remainder, used_wh)
        self.charged_uc += cost_uc

    def charge_uc(self, amount_uc: int) -> None:
        """Charge an amount."""
        self.charged_uc += amount_uc

    def earn(self, exported_wh: int, tariff, rate: int) -> None:
        """Credit whole watt-hours of export."""
        earned_uc, self.earned_rest = tariff.earning(exported_wh, rate, self.earned_rest)
        self.earned_uc += earned_uc

    def level(self, limit_uc: int, brought_uc: int = 0) -> int:
        """Hold the balance at the hoarding limit: of `brought_uc`, which this decision has credited, what lifts it
        above waits; what waits flows in below it. How much more waits now."""
        move_uc = max(-self.waiting_uc, min(self.balance_uc() - limit_uc, brought_uc))
        self.credited_uc -= move_uc
        self.waiting_uc += move_uc
        return move_uc

    def index(self, source: int) -> int:
        """The place of a source, or -1 where it is not known."""
        for i in range(len(self.sources)):
            if self.sources[i][0] == source:
                return i
        return -1

    def totals(self, source: int) -> "tuple[int, int]":
        """(credited_uc, refunded_uc) of a source, folded or not; zeros where it is not known; of 0: the rest."""
        if not source:
            rest = self.folded[self.rest_from :]
            return sum([entry[1] for entry in rest]), sum([entry[2] for entry in rest])
        for entry in self.sources + self.folded[::-1]:
            if entry[0] == source:
                return entry[1], entry[2]
        return 0, 0

    def judge(self, source: int, credited_uc: int, refunded_uc: int, closed: bool = False) -> int:
        """What stating these totals does: APPLIED, ALREADY, SOURCE_CLOSED, SOURCES_FULL, BAD_BODY beyond what can be
        counted, or REFUND_EXCEEDS: more would be taken back than the order brings and there is."""
        had_credited_uc, had_refunded_uc = self.totals(source)
        reached = credited_uc <= had_credited_uc and refunded_uc <= had_refunded_uc
        held = self.index(source) >= 0
        if not held and source in [entry[0] for entry in self.folded]:
            return results.ALREADY if reached else results.SOURCE_CLOSED
        if held and reached and not closed:
            return results.ALREADY
        if closed:
            full = len(self.folded) == FOLDED
        else:
            stated = [entry for entry in self.sources if entry[0] not in (0, SOURCE_TYPED)]
            full = not held and source != SOURCE_TYPED and len(stated) >= SOURCES
        if full:
            return results.SOURCES_FULL
        brought_uc = max(0, credited_uc - had_credited_uc)
        if self.credited_uc + self.waiting_uc + self.earned_uc + brought_uc > MAX_UC:
            return results.BAD_BODY
        if max(0, refunded_uc - had_refunded_uc) > brought_uc + max(0, self.balance_uc() + self.waiting_uc):
            return results.REFUND_EXCEEDS
        return results.APPLIED

    def take(self, source: int, credited_uc: int, refunded_uc: int, closed: bool = False) -> None:
        """Take the totals of a source that `judge` found APPLIED."""
        had_credited_uc, had_refunded_uc = self.totals(source)
        self.credited_uc += max(0, credited_uc - had_credited_uc)
        self.refunded_uc += max(0, refunded_uc - had_refunded_uc)
        entry = [source, max(credited_uc, had_credited_uc), max(refunded_uc, had_refunded_uc)]
        place = self.index(source)
        if closed:
            self.folded.append(entry)
            entry = [0, 0, 0]
        elif place < 0:
            place = self.index(0)
            if place < 0:
                place = len(self.sources)
                self.sources.append(entry)
        if place >= 0:
            self.sources[place] = entry

    def pack_sources(self) -> bytes:
        """The sources for the journal."""
        return b"".join([struct.pack(_SOURCE, *entry) for entry in self.sources])

    def unpack_sources(self, raw: bytes, folded: "list[list[int]] | None" = None, rest_from: int = 0) -> None:
        """Take the sources from the journal."""
        self.sources = [list(struct.unpack_from(_SOURCE, raw, at)) for at in range(0, len(raw), _SOURCE_LENGTH)]
        self.folded = folded or []
        self.rest_from = rest_from
        rest = self.totals(0)
        self.credited_uc = sum([entry[1] for entry in self.sources]) + rest[0] - self.waiting_uc
        self.refunded_uc = sum([entry[2] for entry in self.sources]) + rest[1]


def pack_folded(account_epoch: int, entry: "list[int]") -> bytes:
    """One folded source of an account for the journal."""
    return struct.pack(_FOLDED, account_epoch, *entry)


def unpack_folded(account_epoch: int, raw: "bytes | None") -> "list[int]":
    """A folded source from the journal; empty where it is of another account, or none."""
    f = struct.unpack(_FOLDED, raw) if raw else (0,)
    return list(f[1:]) if f[0] == account_epoch else []


def steps_of(credited_uc: int, had_uc: int, sales: "list[tuple[int, int]]") -> "list[int]":
    """The amounts by which a source rises from `had_uc` to `credited_uc`: sale by sale as far as the order lists
    them."""
    amounts = []
    for total_uc, amount_uc in sales:
        start_uc = total_uc - amount_uc
        if total_uc <= had_uc:
            continue
        if start_uc > had_uc:  # sold before the ones that are listed
            amounts.append(start_uc - had_uc)
            had_uc = start_uc
        amounts.append(total_uc - had_uc)
        had_uc = total_uc
    if credited_uc > had_uc:
        amounts.append(credited_uc - had_uc)
    return amounts
