"""Rules of how much: against what the connection carries, and against the meter's own history."""

from collections.abc import Iterable
from itertools import groupby

from headend.reads.series import Reading
from headend.validation.day import Day
from headend.validation.rules.kinds import Found, Values
from meterlink.records import FLAG_SUPPLY_OFF


def capacity(day: Day, params: Values) -> Found | None:
    """More than the connection carries."""
    most_w = params["most_w"] or day.most_w
    if not most_w:
        return None
    over = [
        one
        for one in day.readings
        if max(one.import_wh, one.export_wh) * 3600 * 100 > most_w * one.minutes * 60 * params["percent"]
    ]
    if not over:
        return None
    most = max(max(one.import_wh, one.export_wh) * 60 // one.minutes for one in over)
    return Found(_starts(over), most, most_w)


def spike(day: Day, params: Values) -> Found | None:
    """One period far above all of the days that it is compared with."""
    usual = max((one.import_wh for past in day.history for one in past.readings), default=None)
    if usual is None:
        return None
    limit = max(usual * params["percent"], params["floor_wh"] * 100)
    over = [one for one in day.readings if one.import_wh * 100 > limit]
    return Found(_starts(over), max(one.import_wh for one in over), usual) if over else None


def zero(day: Day, params: Values) -> Found | None:
    """Nothing at all all day, where there usually is something, and supply was on."""
    seen = len(day.readings) * 100 >= day.places * params["seen_percent"]
    usual = day.usual_wh
    if not seen or usual < params["usual_wh"] or day.was_off or day.import_wh:
        return None
    return Found(_starts(day.readings), 0, usual)


def stuck(day: Day, params: Values) -> Found | None:
    """The same value again and again."""
    found: list[Reading] = []
    for wh, some in groupby(day.readings, key=lambda one: one.import_wh):
        run = list(some)
        if wh >= params["floor_wh"] and len(run) >= params["times"]:
            found += run
    return Found(_starts(found), found[0].import_wh, params["times"]) if found else None


def high(day: Day, params: Values) -> Found | None:
    """Far more in a day than usual."""
    usual, total = day.usual_wh, day.import_wh
    if len(day.history) < params["days"] or total * 100 <= usual * params["percent"]:
        return None
    return Found(_starts(day.readings), total, usual) if total - usual >= params["floor_wh"] else None


def low(day: Day, params: Values) -> Found | None:
    """Far less in a day than usual, and supply was on. (Nothing at all is `zero`.)"""
    usual, total = day.usual_wh, day.import_wh
    whole = len(day.readings) >= day.places
    if len(day.history) < params["days"] or not whole or day.was_off or not total or usual < params["usual_wh"]:
        return None
    return Found(_starts(day.readings), total, usual) if total * 100 < usual * params["percent"] else None


def profile(day: Day, params: Values) -> Found | None:
    """Many periods far from what that time of the same weekday had in the weeks before.

    Mean and deviation of a period are taken over itself and its two neighbours in each of those days.
    """
    if len(day.history) < params["days"]:
        return None
    usual = _Usual(day)
    deviations_10, floor_wh = params["deviations_10"], params["floor_wh"]
    apart = [
        one for one in day.readings if usual.is_far(day.place(one.start_s), one.import_wh, deviations_10, floor_wh)
    ]
    return Found(_starts(apart), len(apart), params["periods"]) if len(apart) >= params["periods"] else None


def reversed_flow(day: Day, params: Values) -> Found | None:
    """Energy fed in by a meter that never did: swapped wires, or a generator that nobody knows of."""
    fed = [one for one in day.readings if one.export_wh]
    total = sum(one.export_wh for one in fed)
    known = any(one.export_wh for past in day.history for one in past.readings)
    return None if known or total < params["floor_wh"] else Found(_starts(fed), total, 0)


def load_while_off(day: Day, params: Values) -> Found | None:
    """Energy in a period in which supply was off, as it was before and after it."""
    off = [bool(one.flags & FLAG_SUPPLY_OFF) for one in day.readings]
    found = [
        one
        for at, one in enumerate(day.readings)
        if 0 < at < len(off) - 1 and off[at - 1] and off[at] and off[at + 1] and one.import_wh >= params["floor_wh"]
    ]
    return Found(_starts(found), sum(one.import_wh for one in found), 0) if found else None


class _Usual:
    """What each period of the days before had: how many, their sum, and the sum of their squares."""

    def __init__(self, day: Day) -> None:
        places = day.places + 2  # one more at either end, for the neighbours
        self.number, self.total, self.squares = [0] * places, [0] * places, [0] * places
        for past in day.history:
            for one in past.readings:
                place = (one.start_s - past.start_s) // day.period_s + 1
                if place < places:
                    self.number[place] += 1
                    self.total[place] += one.import_wh
                    self.squares[place] += one.import_wh * one.import_wh

    def is_far(self, place: int, wh: int, deviations_10: int, floor_wh: int) -> bool:
        """Whether a value is further from the mean of its place and the two beside it than so many deviations."""
        near = slice(place, place + 3)
        number, total = sum(self.number[near]), sum(self.total[near])
        away = abs(wh * number - total)
        if not number or away <= floor_wh * number:
            return False
        spread = number * sum(self.squares[near]) - total * total  # (number x deviation) squared
        return 100 * away * away > deviations_10 * deviations_10 * spread


def _starts(readings: Iterable[Reading]) -> tuple[int, ...]:
    return tuple(sorted({one.start_s for one in readings}))
