"""Whether the reads of a meter are complete, counted from the stored records themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Row

from headend.reads import cursors, logs, series
from headend.reads.series import Reading
from meterlink import records
from meterlink.batches import KIND_INTERVALS

_REGISTER = 0xFFFFFFFF
_CLOCK_MOVED = records.FLAG_CLOCK_UNKNOWN | records.FLAG_CLOCK_CHANGED


@dataclass(frozen=True)
class Completeness:
    """Of the interval log that the meter writes at present; `expected` = `stored` + `lost` + `missing`.

    Each figure is counted by itself, so that the sum is a check and not a definition.
    """

    log_id: int | None
    expected: int  # records that the meter said it made
    stored: int
    lost: int  # declared lost: the meter no longer held them
    missing: int  # neither stored nor lost
    doubled: int  # periods stored more than once, leaving out those in which the clock was moved or unknown
    unchained: int  # neighbours whose registers do not differ by the energy between them

    @property
    def whole(self) -> bool:
        """Every record is stored once, none is lost, and the energy adds up from record to record."""
        return self.stored == self.expected and not (self.lost or self.missing or self.doubled or self.unchained)


def completeness(conn: Connection, meter: int) -> Completeness:
    """Count the intervals of a meter, every record of its present log looked at; raises UnknownMeter."""
    state = cursors.of(conn, meter)
    found = [] if state.log_id is None else series.numbered(conn, meter, state.log_id, 1, state.interval_newest)
    return _counted(conn, state, len(found), found)


def of_some(conn: Connection, meter: int, found: Sequence[Reading]) -> Completeness:
    """The same, but that `doubled` and `unchained` are counted among the records `found` alone: the others are not
    looked at, however many there are."""
    state = cursors.of(conn, meter)
    stored = 0 if state.log_id is None else series.count(conn, meter, state.log_id)
    return _counted(conn, state, stored, found)


def _counted(conn: Connection, state: Row[Any], stored: int, found: Sequence[Reading]) -> Completeness:
    if state.log_id is None:
        return Completeness(None, 0, 0, 0, 0, 0, 0)
    log = logs.LOGS[KIND_INTERVALS]
    sure = [one.start_s for one in found if not one.flags & _CLOCK_MOVED]
    return Completeness(
        log_id=state.log_id,
        expected=state.interval_newest,
        stored=stored,
        lost=_sum(logs.lost(conn, state.meter, state.log_id, log, 0)),
        missing=_sum(logs.holes(conn, state, log, 1, state.interval_newest)),
        doubled=len(sure) - len(set(sure)),
        unchained=sum(_broken(before, after) for before, after in pairwise(found) if after.seq == before.seq + 1),
    )


def _sum(found: Sequence[logs.Range]) -> int:
    return sum(last - first + 1 for first, last in found)


def _broken(before: Reading, after: Reading) -> bool:
    """Whether the registers are not those of the record before plus their own energy."""
    return _differs(after.import_reg_wh, before.import_reg_wh, after.import_wh) or _differs(
        after.export_reg_wh, before.export_reg_wh, after.export_wh
    )


def _differs(register: int, before: int, energy: int) -> bool:
    """Registers are modulo 2^32; a saturated energy says nothing."""
    return energy != records.DELTA_LARGE and (register - before) & _REGISTER != energy
