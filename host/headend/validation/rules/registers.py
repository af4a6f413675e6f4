"""Rules that hold intervals against registers."""

from collections.abc import Iterator

from headend.reads.series import Reading
from headend.validation.day import REGISTER, Day, grown
from headend.validation.rules.kinds import Found, Values
from meterlink.records import DELTA_LARGE


def register(day: Day, _: Values) -> Found | None:
    """The registers of two neighbours do not differ by the energy between them."""
    wrong = [(b, _off_wh(a, b)) for a, b in _unchained(day) if b.seq == a.seq + 1 and not _fell(a, b)]
    starts = [(one.start_s, off) for one, off in wrong if off]
    return _found(starts, sum(off for _, off in starts))


def negative(day: Day, _: Values) -> Found | None:
    """A register went back."""
    fell = [(b.start_s, _least(a, b)) for a, b in _unchained(day) if _fell(a, b)]
    return _found(fell, min((least for _, least in fell), default=0))


def unplaced(day: Day, params: Values) -> Found | None:
    """Energy flowed between two readings, and there is no period that it could belong to."""
    found = []
    for gap in day.gaps:
        here = gap.after is not None and day.within(gap.after.start_s)
        wh = (gap.import_wh or 0) + (gap.export_wh or 0)
        if here and gap.after and wh >= params["floor_wh"] and (gap.made_none or not gap.slots):
            found.append((gap.after.start_s, wh))
    return _found(found, sum(wh for _, wh in found))


def _unchained(day: Day) -> Iterator[tuple[Reading, Reading]]:
    """Neighbours whose registers do not differ by exactly the energy of the second: nearly none."""
    for a, b in day.steps():
        into, out = (a.import_reg_wh + b.import_wh) % REGISTER, (a.export_reg_wh + b.export_wh) % REGISTER
        if into != b.import_reg_wh or out != b.export_reg_wh:
            yield a, b


def _off_wh(a: Reading, b: Reading) -> int:
    into = 0 if b.import_wh == DELTA_LARGE else grown(a.import_reg_wh, b.import_reg_wh) - b.import_wh
    out = 0 if b.export_wh == DELTA_LARGE else grown(a.export_reg_wh, b.export_reg_wh) - b.export_wh
    return abs(into) + abs(out)


def _least(a: Reading, b: Reading) -> int:
    return min(grown(a.import_reg_wh, b.import_reg_wh), grown(a.export_reg_wh, b.export_reg_wh))


def _fell(a: Reading, b: Reading) -> bool:
    return b.seq > a.seq and _least(a, b) < 0


def _found(starts: list[tuple[int, int]], value: int) -> Found | None:
    return Found(tuple(sorted({start for start, _ in starts})), value, 0) if starts else None
