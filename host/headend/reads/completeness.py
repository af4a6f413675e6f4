"""Whether the reads of a meter are complete, counted from the stored rows themselves."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from headend.reads import logs
from headend.store import UnknownMeter
from headend.store.schema import interval, lost_range, meter_state
from meterlink import records
from meterlink.batches import KIND_INTERVALS

Register = ColumnElement[int]

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
    """Count the intervals of a meter; raises UnknownMeter."""
    state = conn.execute(
        select(meter_state.c.log_id, meter_state.c.interval_newest).where(meter_state.c.meter == meter)
    ).one_or_none()
    if state is None:
        raise UnknownMeter(meter)
    if state.log_id is None:
        return Completeness(None, 0, 0, 0, 0, 0, 0)
    log = logs.LOGS[KIND_INTERVALS]
    mine = and_(interval.c.meter == meter, interval.c.log_id == state.log_id, interval.c.seq <= state.interval_newest)
    sure = and_(mine, interval.c.flags.bitwise_and(_CLOCK_MOVED) == 0)
    holes = logs.holes(conn, meter, state.log_id, log, 1, state.interval_newest)
    return Completeness(
        log_id=state.log_id,
        expected=state.interval_newest,
        stored=_count(conn, select(func.count()).where(mine)),
        lost=_lost(conn, meter, state.log_id),
        missing=sum(last - first + 1 for first, last in holes),
        doubled=_count(conn, select(func.count() - func.count(interval.c.start_s.distinct())).where(sure)),
        unchained=_unchained(conn, mine),
    )


def _lost(conn: Connection, meter: int, log_id: int) -> int:
    """Records within the lost ranges that did not turn up after all."""
    mine = and_(lost_range.c.meter == meter, lost_range.c.log_id == log_id, lost_range.c.kind == KIND_INTERVALS)
    listed = _count(conn, select(func.coalesce(func.sum(lost_range.c.last - lost_range.c.first + 1), 0)).where(mine))
    within = and_(
        interval.c.meter == meter,
        interval.c.log_id == log_id,
        interval.c.seq.between(lost_range.c.first, lost_range.c.last),
    )
    return listed - _count(conn, select(func.count()).select_from(interval.join(lost_range, within)).where(mine))


def _unchained(conn: Connection, mine: ColumnElement[bool]) -> int:
    """Records whose registers are not those of the record before plus their own energy."""
    seq = interval.c.seq
    pairs = (
        select(
            interval.c.seq,
            interval.c.import_wh,
            interval.c.export_wh,
            interval.c.import_reg_wh,
            interval.c.export_reg_wh,
            func.lag(interval.c.seq).over(order_by=seq).label("before"),
            func.lag(interval.c.import_reg_wh).over(order_by=seq).label("import_before_wh"),
            func.lag(interval.c.export_reg_wh).over(order_by=seq).label("export_before_wh"),
        )
        .where(mine)
        .subquery()
    )
    broken = or_(
        _differs(pairs.c.import_reg_wh, pairs.c.import_before_wh, pairs.c.import_wh),
        _differs(pairs.c.export_reg_wh, pairs.c.export_before_wh, pairs.c.export_wh),
    )
    return _count(conn, select(func.count()).select_from(pairs).where(pairs.c.before == pairs.c.seq - 1, broken))


def _differs(register: Register, before: Register, energy: Register) -> ColumnElement[bool]:
    """Registers are modulo 2^32; a saturated energy says nothing."""
    grown = (register - before).bitwise_and(_REGISTER)
    return and_(energy != records.DELTA_LARGE, grown != energy)


def _count(conn: Connection, query: Select[Any]) -> int:
    return int(conn.execute(query).scalar_one())
