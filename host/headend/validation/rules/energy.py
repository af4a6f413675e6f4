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
    usual = _usual_wh(day)
    if not seen or usual < params["usual_wh"] or _off(day) or day.import_wh:
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
    usual, total = _usual_wh(day), day.import_wh
    if len(day.history) < params["days"] or total * 100 <= usual * params["percent"]:
        return None
    return Found(_starts(day.readings), total, usual) if total - usual >= params["floor_wh"] else None


def low(day: Day, params: Values) -> Found | None:
    """Far less in a day than usual, and supply was on. (Nothing at all is `zero`.)"""
    usual, total = _usual_wh(day), day.import_wh
    whole = len(day.readings) >= day.places
    if len(day.history) < params["days"] or not whole or _off(day) or not total or usual < params["usual_wh"]:
        return None
    return Found(_starts(day.readings), total, usual) if total * 100 < usual * params["percent"] else None


def profile(day: Day, params: Values) -> Found | None:
    """Many periods far from what that time of the same weekday had in the weeks before.

    Mean and deviation of a period are taken over itself and its two neighbours in each of those days.
    """
    if len(day.history) < params["days"]:
        return None
    usual = _by_place(day)
    apart = []
    for one in day.readings:
        place = day.place(one.start_s)
        near = [wh for at in (place - 1, place, place + 1) for wh in usual.get(at, ())]
        if near and _far(one.import_wh, near, params["deviations_10"], params["floor_wh"]):
            apart.append(one)
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


def usual_by_place(day: Day) -> dict[int, int]:
    """Place in the day -> mean import of the days that it is compared with, Wh."""
    return {place: sum(some) // len(some) for place, some in _by_place(day).items()}


def _by_place(day: Day) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for past in day.history:
        for one in past.readings:
            found.setdefault((one.start_s - past.start_s) // day.period_s, []).append(one.import_wh)
    return found


def _far(wh: int, near: list[int], deviations_10: int, floor_wh: int) -> bool:
    number, total = len(near), sum(near)
    spread = number * sum(one * one for one in near) - total * total  # (number x deviation) squared
    away = wh * number - total
    return abs(away) > floor_wh * number and 100 * away * away > deviations_10 * deviations_10 * spread


def _usual_wh(day: Day) -> int:
    """What a day has come to, in the mean."""
    totals = [past.import_wh for past in day.history]
    return sum(totals) // len(totals) if totals else 0


def _off(day: Day) -> bool:
    return any(one.flags & FLAG_SUPPLY_OFF for one in day.readings)


def _starts(readings: Iterable[Reading]) -> tuple[int, ...]:
    return tuple(sorted({one.start_s for one in readings}))
