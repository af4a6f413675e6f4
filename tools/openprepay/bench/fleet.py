"""A fleet in this process: the memory of a meter, and a day of many on a carrier that loses.

The memory is that of a process of its own with meters that sleep between events, after a day, with the records of that
day; their flashes lie in a file. The day is that of `openprepay sim fleet --day`: 5 % of messages lost each way, 2 % of
the meters out of reach, head ends killed, the carrier wiped.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from headend.store import open_store
from meterlink.flashmap import SECTOR_BYTES, TOTAL_SECTORS
from openprepay.bench.figure import Figure, against
from openprepay.fleetsim.day import Day, Outcome
from openprepay.fleetsim.setting import DAY_S, HOUR_S, Setting

_LARGE = 1000  # meters; as many and more live in processes of their own


def run(seconds: float) -> Iterator[Figure]:
    """Memory, then the day."""
    sleepers = max(50, min(5000, int(seconds * 50)))
    taken = _memory(sleepers)
    yield against("fleet_memory", taken, "bytes/meter", "its flash image", TOTAL_SECTORS * SECTOR_BYTES)
    meters = max(10, min(10_000, int(seconds * 6)))
    outcome = _day(Setting(meters, processes=1 if meters < _LARGE else 2, round_s=180 if meters < _LARGE else 60))
    yield Figure("fleet_day_meters", outcome.meters, "meters")
    yield Figure("fleet_day_by_six", outcome.by_six_percent, "percent")
    yield Figure("fleet_day_whole", outcome.whole_percent, "percent")
    yield Figure("fleet_day_whole_after", outcome.whole_after_s / 3600, "hours")
    days = outcome.meters * outcome.whole_after_s / DAY_S
    if outcome.meters_cpu_s:
        peer = "the firmware of the meters over the same time"
        yield against("fleet_day_cpu", outcome.head_cpu_s / days, "s/meter-day", peer, outcome.meters_cpu_s / days)
    else:
        yield Figure("fleet_day_cpu", outcome.head_cpu_s / days, "s/meter-day")


def _day(setting: Setting) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="openprepay-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        with open_store(f"sqlite:///{folder}/headend.sqlite", inline=True) as store:
            outcome = Day(store, setting, folder=folder, long_s=(30 if setting.meters >= _LARGE else 6) * HOUR_S).run()
    if not outcome.holds:
        raise RuntimeError(f"the day does not hold: {outcome.as_json()}")
    return outcome


def _memory(meters: int) -> float:
    """What a sleeping meter adds to a process that has nothing else to hold."""
    done = subprocess.run([sys.executable, "-c", _SLEEPERS, str(meters)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the meters did not live: {done.stderr}")
    return float(done.stdout)


_SLEEPERS = """
import os, sys
from metersim.workbench import Workbench
from openprepay.fleetsim.crew import memory
from openprepay.fleetsim.flock import Flock
from openprepay.fleetsim.loads import Peak
from openprepay.fleetsim.setting import DAY_S, Setting

def flock(meters, first):
    setting = Setting(meters, on_bus=0, awake=1)
    made = {first + at: Workbench(1).record() for at in range(meters)}
    return Flock(setting, made, Peak(), os.environ.get("TMPDIR", "/var/tmp")), setting.start_s

def day(flock, start_s):
    for at_s in range(0, DAY_S, 14400):
        flock.live(start_s + at_s + 14400)

before = flock(50, 1)
day(*before)
start = memory(before[0])[0]
fleet = flock(int(sys.argv[1]), 1000)
day(*fleet)
print((memory(fleet[0])[0] - start) / int(sys.argv[1]))
"""
