"""How a campaign goes: groups, pace, what has to be confirmed before the next group, when it is stopped.

Shares are in 1/10 000. A plan is JSON; `read` checks it and fills in what is left out.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

from headend.refusals import Refused

WHOLE = 10_000
MAX_GROUPS = 12
REST = "rest"


@dataclass(frozen=True)
class Plan:
    """`groups`: how many meters one after the other, each "10" (meters), "1%" (of all that are in) or "rest".

    `per_minute`: orders stated in a minute · `per_feeder`: … to one feeder, 0: no limit of its own · `confirm`: share
    of a group's sent orders that are confirmed before the next group begins · `answer_s`: how long an answer may take
    until it counts as missing · `abort`: the share of failed, refused, unknown and missing among those that answered or
    are overdue above which the campaign is stopped, `abort_after` so many of them at least · `start_s`: not before ·
    `deliver_s`: of firmware, how long a meter may be tried in vain with its image.
    """

    groups: tuple[str, ...] = ("10", "1%", "10%", REST)
    per_minute: int = 600
    per_feeder: int = 0
    confirm: int = 9_500
    answer_s: int = 300
    abort: int = 200
    abort_after: int = 50
    start_s: int = 0
    deliver_s: int = 21_600


_BOUNDS = {
    "per_minute": (1, 60_000),
    "per_feeder": (0, 60_000),
    "confirm": (0, WHOLE),
    "answer_s": (10, 86_400),
    "abort": (0, WHOLE),
    "abort_after": (1, 100_000),
    "start_s": (0, 0xFFFFFFFF),
    "deliver_s": (600, 2_592_000),
}


def read(given: Any) -> Plan:
    """A plan from JSON; raises Refused that names what does not fit."""
    if not isinstance(given, dict):
        raise Refused("plan", given, "an object")
    known = {field.name for field in fields(Plan)}
    for name, value in given.items():
        if name not in known:
            raise Refused("plan", name, f"one of {', '.join(sorted(known))}")
        if name in _BOUNDS:
            low, high = _BOUNDS[name]
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise Refused(f"plan.{name}", value, f"a whole number, {low}..{high}")
    groups = given.get("groups", Plan.groups)
    if not isinstance(groups, list | tuple) or not 1 <= len(groups) <= MAX_GROUPS or groups[-1] != REST:
        raise Refused("plan.groups", groups, f'1..{MAX_GROUPS} groups such as "10" or "1%", the last one "rest"')
    for one in groups[:-1]:
        _share(one)
    return Plan(**{**given, "groups": tuple(groups)})


def written(plan: Plan) -> dict[str, Any]:
    """As JSON."""
    return {**asdict(plan), "groups": list(plan.groups)}


def sizes(plan: Plan, meters: int) -> list[int]:
    """How many meters each group has; together all. A group of which nothing is left is empty."""
    found, left = [], meters
    for one in plan.groups[:-1]:
        number, of = _share(one)
        size = min(left, number if of == 0 else max(1, -(-meters * number // of)))
        found.append(size)
        left -= size
    return [*found, left]


def _share(one: Any) -> tuple[int, int]:
    """(number, 0) for so many meters, (number, 100) for a share of all."""
    text = one if isinstance(one, str) else ""
    number = text.removesuffix("%")
    if not (number.isascii() and number.isdigit() and len(number) <= 6 and int(number) > 0):
        raise Refused("plan.groups", one, 'meters such as "10", or a share of all such as "1%"')
    if text.endswith("%"):
        if int(number) > 100:
            raise Refused("plan.groups", one, "at most 100%")
        return int(number), 100
    return int(number), 0
