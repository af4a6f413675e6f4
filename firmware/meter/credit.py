"""The account: credit sources and the countdown. Money in micro-currency, every term only grows:

    balance = credited + earned - refunded - adjusted - charged

A source (a signing database, a typed-token series) states its running totals; the meter keeps the highest of each, so
loss, repetition and order of deliveries change nothing.
"""

import struct

from meterlink import results
from meterlink.bodies import MAX_UC

SOURCES = 8
_SOURCE = ">HQQ"
_SOURCE_LENGTH = 18


class Account:
    """credited_uc, refunded_uc: sums over the sources · charged_uc with `remainder` (0..999 thousandths of a
    micro-currency) · earned_uc, adjusted_uc: grow-only, nothing raises them yet.

    `sources`: [number, credited_uc, refunded_uc] of each source, at most SOURCES, in the order in which they came.
    """

    def __init__(self) -> None:
        self.sources: "list[list[int]]" = []
        self.credited_uc = 0
        self.refunded_uc = 0
        self.earned_uc = 0
        self.adjusted_uc = 0
        self.charged_uc = 0
        self.remainder = 0

    def balance_uc(self) -> int:
        """What is left; negative after charges beyond it."""
        return self.credited_uc + self.earned_uc - self.refunded_uc - self.adjusted_uc - self.charged_uc

    def charge(self, energy_wh: int, tariff, rate: int) -> None:
        """Charge whole watt-hours at a rate of a tariff."""
        cost_uc, self.remainder = tariff.cost(energy_wh, rate, self.remainder)
        self.charged_uc += cost_uc

    def index(self, source: int) -> int:
        """The place of a source, or -1 where it is not known."""
        for i in range(len(self.sources)):
            if self.sources[i][0] == source:
                return i
        return -1

    def totals(self, source: int) -> "tuple[int, int]":
        """(credited_uc, refunded_uc) of a source; zeros where it is not known."""
        i = self.index(source)
        return (self.sources[i][1], self.sources[i][2]) if i >= 0 else (0, 0)

    def judge(self, source: int, credited_uc: int, refunded_uc: int) -> int:
        """What stating these totals does: APPLIED, ALREADY, SOURCES_FULL, or BAD_BODY beyond what can be counted."""
        had_credited_uc, had_refunded_uc = self.totals(source)
        if self.index(source) >= 0 and credited_uc <= had_credited_uc and refunded_uc <= had_refunded_uc:
            return results.ALREADY
        if self.index(source) < 0 and len(self.sources) == SOURCES:
            return results.SOURCES_FULL
        if self.credited_uc + max(0, credited_uc - had_credited_uc) > MAX_UC:
            return results.BAD_BODY
        return results.APPLIED

    def take(self, source: int, credited_uc: int, refunded_uc: int) -> None:
        """Take the totals of a source that `judge` found APPLIED."""
        i = self.index(source)
        if i < 0:
            i = len(self.sources)
            self.sources.append([source, 0, 0])
        entry = self.sources[i]
        self.credited_uc += max(0, credited_uc - entry[1])
        self.refunded_uc += max(0, refunded_uc - entry[2])
        entry[1] = max(entry[1], credited_uc)
        entry[2] = max(entry[2], refunded_uc)

    def pack_sources(self) -> bytes:
        """The sources for the journal."""
        return b"".join([struct.pack(_SOURCE, *entry) for entry in self.sources])

    def unpack_sources(self, raw: bytes) -> None:
        """Take the sources from the journal."""
        self.sources = [list(struct.unpack_from(_SOURCE, raw, at)) for at in range(0, len(raw), _SOURCE_LENGTH)]
        self.credited_uc = sum([entry[1] for entry in self.sources])
        self.refunded_uc = sum([entry[2] for entry in self.sources])


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
