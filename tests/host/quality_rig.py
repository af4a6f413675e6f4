"""Households for tests of validation: what a meter recorded, as readings or as records on their way to the store."""

from collections.abc import Iterable, Sequence
from typing import Any

from headend.reads import batches
from headend.reads.series import Reading, decoded
from headend.store import Store
from headend.validation.day import Day, Past, chain, gaps
from meterlink import records
from meterlink.batches import KIND_INTERVALS, MAX_RECORDS, Batch, mac, pack_head
from meterlink.mac import MacKey
from meterlink.reports import NO_NONCE
from tests.host.books import METER

DAY_S = 86_400
PERIOD_S = 900
SLOTS = 96
MONDAY_S = 20_836 * DAY_S  # 2027-01-18, a Monday, UTC
LOG = 7
KEY = MacKey(bytes(32))

# An ordinary day of a household, Wh in a quarter of an hour, never the same twice in a row.
ORDINARY = [40 + at % 3 for at in range(24)] + [90 + at % 5 for at in range(48)] + [150 + at % 7 for at in range(24)]


class House:
    """What one meter records. `records`: by sequence number, all that it made."""

    def __init__(self, number: int = METER, log_id: int = LOG, register_wh: int = 1_000_000) -> None:
        self.number, self.log_id = number, log_id
        self.seq, self.import_reg_wh, self.export_reg_wh = 0, register_wh, 0
        self.records: dict[int, bytes] = {}

    def record(self, start_s: int, wh: int, out_wh: int = 0, flags: int = 0, *, jump_wh: int = 0) -> int:
        """One period; returns its number. `jump_wh`: what the register gains that no interval tells."""
        self.seq += 1
        self.import_reg_wh += wh + jump_wh
        self.export_reg_wh += out_wh
        registers = self.import_reg_wh, self.export_reg_wh
        self.records[self.seq] = records.pack_interval(self.seq, start_s, *registers, wh, out_wh, 15, flags)
        return self.seq

    def live(self, start_s: int, values: Iterable[int], flags: int = 0) -> range:
        """Periods one after the other; returns their numbers."""
        first = self.seq + 1
        for at, wh in enumerate(values):
            self.record(start_s + at * PERIOD_S, wh, flags=flags)
        return range(first, self.seq + 1)

    def weeks(self, day_s: int, values: Sequence[int] = ORDINARY, number: int = 4) -> None:
        """The same weekday in so many weeks before `day_s`, and nothing between."""
        for week in range(number, 0, -1):
            self.live(day_s - week * 7 * DAY_S, values)

    def readings(self, numbers: Iterable[int] | None = None) -> list[Reading]:
        chosen = self.records if numbers is None else numbers
        return [one for seq in chosen for one in decoded(self.log_id, self.records[seq])]

    def arrive(self, store: Store, now_s: int, numbers: Iterable[int] | None = None) -> None:
        """Records reach the head end, in batches under a MAC, each run of numbers by itself."""
        waiting = sorted(self.records if numbers is None else numbers)
        while waiting:
            run = [waiting.pop(0)]
            while waiting and waiting[0] == run[-1] + 1 and len(run) < MAX_RECORDS:
                run.append(waiting.pop(0))
            body = b"".join(self.records[seq] for seq in run)
            head = pack_head(KIND_INTERVALS, self.number, 1, 1, 1, now_s, self.log_id, NO_NONCE, run[0], len(run))
            batch = Batch(head + body + mac(head, body, KEY), KEY)
            store.write(batches.take, now_s, batch, 300).result()


def day(readings: Sequence[Reading], start_s: int = MONDAY_S, **others: Any) -> Day:
    """A day of these readings, with gaps as they follow from them; `others` replace fields."""
    ordered = chain(readings)
    inside = tuple(one for one in ordered if start_s <= one.start_s < start_s + DAY_S)
    at = ordered.index(inside[0]) if inside else 0
    fields: dict[str, Any] = {
        "now_s": start_s + 2 * DAY_S,
        "period_s": PERIOD_S,
        "readings": inside,
        "before": ordered[at - 1] if at else None,
        "gaps": tuple(gaps(ordered, ordered[0].start_s, start_s + DAY_S, PERIOD_S)) if ordered else (),
    }
    return Day(start_s, start_s + DAY_S, **{**fields, **others})


def past(values: Sequence[int] = ORDINARY, number: int = 4, out_wh: int = 0) -> tuple[Past, ...]:
    """The weeks before, each like the other."""
    found = []
    for week in range(1, number + 1):
        start_s = MONDAY_S - week * 7 * DAY_S
        house = House()
        for at, wh in enumerate(values):
            house.record(start_s + at * PERIOD_S, wh, out_wh)
        found.append(Past(start_s, tuple(house.readings())))
    return tuple(found)
