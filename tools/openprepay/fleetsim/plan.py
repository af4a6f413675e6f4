"""What happens on a simulated day: a table.

A happening begins `at_s` after the day did and ends at `until_s`; `share` is of the meters, in percent. What each name
does, `day.Day` and `live.Live` know.
"""

import random
from math import log
from typing import NamedTuple

from meterlink.labels import Text
from openprepay.fleetsim.loads import Peak
from openprepay.fleetsim.setting import HOUR_S, Setting

STORM, PEAK, OUTAGE, TOP_UP, WIPE, KILL = "storm", "peak", "outage", "top-up", "wipe", "kill"


class Happening(NamedTuple):
    """One line of the table."""

    name: str
    at_s: int
    until_s: int
    share: int
    title: Text


NAMES: dict[str, Text] = {
    STORM: ("every link is lost for five minutes, then all come back", "所有连接中断五分钟,随后全部重连"),
    PEAK: ("evening peak: everybody draws two and a half times as much", "晚高峰:用电量增至两倍半"),
    OUTAGE: ("a part of the grid goes dark, with last gasps", "部分电网停电,电表发出停电告警"),
    TOP_UP: ("many pay at once", "集中充值"),
    WIPE: ("the carrier forgets all that is on its way", "通信通道丢失全部在途消息"),
    KILL: ("the head end's process is killed, another begins", "主站进程被杀,新进程接管"),
}


def _h(hour: float) -> int:
    return round(hour * HOUR_S)


DAY = (
    *(Happening(KILL, _h(hour), 0, 0, NAMES[KILL]) for hour in (1.2, 6.02, 12.4, 18.1, 20.05, 23.99, 24.3, 27.5)),
    *(Happening(WIPE, _h(hour), 0, 0, NAMES[WIPE]) for hour in (3.3, 9.77, 15.02, 20.1, 24.03, 26.2)),
    Happening(STORM, _h(10.5), _h(10.5) + 300, 100, NAMES[STORM]),
    Happening(PEAK, _h(17), _h(21), 250, NAMES[PEAK]),
    Happening(OUTAGE, _h(19.1), _h(19.1) + 2400, 5, NAMES[OUTAGE]),
    Happening(TOP_UP, _h(20), 0, 20, NAMES[TOP_UP]),
)

LIVE = (
    Happening(STORM, 1500, 1800, 100, NAMES[STORM]),
    Happening(PEAK, 1800, 5400, 250, NAMES[PEAK]),
    Happening(OUTAGE, 2400, 3300, 5, NAMES[OUTAGE]),
    Happening(TOP_UP, 3600, 0, 20, NAMES[TOP_UP]),
)
"""For an hour and a half on real carriers."""


def peak(plan: tuple[Happening, ...], start_s: int) -> Peak:
    """The one of the plan, by the clock."""
    for one in plan:
        if one.name == PEAK:
            return Peak(start_s + one.at_s, start_s + one.until_s, one.share)
    return Peak()


class Spell(NamedTuple):
    """A meter that nobody reaches from one second to another."""

    meter: int
    from_s: int
    until_s: int


SHORTEST_S, LONGEST_S = 600, 10 * HOUR_S
LONG_SHARE = 1000  # one meter in so many is away for long, and one at least


def spells(setting: Setting, until_s: int, long_s: int) -> list[Spell]:
    """Who is away when: `setting.offline` percent at any time, from ten minutes to ten hours each (as many between 10
    and 20 minutes as between 5 and 10 hours), and a few from the last two hours of the day on for `long_s`."""
    rng = random.Random(f"spells {setting.seed}")
    span_s = LONGEST_S - SHORTEST_S
    mean_s = span_s / log(LONGEST_S / SHORTEST_S)
    first_s = setting.start_s - LONGEST_S
    count = round(setting.meters * setting.offline / 100 * (until_s - first_s) / mean_s)
    found = []
    for _ in range(count):
        from_s = rng.randrange(first_s, until_s)
        length_s = round(SHORTEST_S * (LONGEST_S / SHORTEST_S) ** rng.random())
        found.append(Spell(setting.number(rng.randrange(setting.meters)), from_s, from_s + length_s))
    for _ in range(max(1, setting.meters // LONG_SHARE) if setting.offline else 0):
        from_s = setting.start_s + 22 * HOUR_S + rng.randrange(2 * HOUR_S)
        found.append(Spell(setting.number(rng.randrange(setting.meters)), from_s, from_s + long_s))
    return [one for one in found if one.until_s > setting.start_s]
