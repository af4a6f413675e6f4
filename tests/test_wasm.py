"""The tests of both interpreters once more, on words of 32 bits, where an integer of more than 31 bits is an object.

As on a meter's controller: a balance above 1 073.74 in currency, a date after January 2004, a register above 1 073 MWh.
`OPENPREPAY_WIDE=all` runs also the long ones, as `make soak` does.
"""

import ast
import os
from pathlib import Path

import pytest

from metersim import wasm
from tests import needs, upyhost

TESTS = Path(__file__).resolve().parent
HEAP = 4 << 20
FOLDERS = ("protocol", "firmware", "simulator/metersim", "tests")

# What is not run here, and why. A key is a file, or a file and a function.
_HARDWARE = "a chip's model on a wire: no number there is wider than a word, and most of it wants a loop for tasks"
_SWEEP = "the same journal cut at every operation, minutes long; test_both_journal.py runs"
_LIVES = "no number is wider there than in those that run, and the lives of test_life.py run all of it on 32 bits"
_HEAP = "looks at the heap in the middle, where this build collects no garbage; the figures heap32_* tell"
LEFT_OUT = {
    "firmware/test_both_boards.py": _HARDWARE,
    "firmware/test_both_drivers_coils.py": _HARDWARE,
    "firmware/test_both_drivers_flash.py": _HARDWARE,
    "firmware/test_both_drivers_i2c.py": _HARDWARE,
    "firmware/test_both_drivers_line.py": _HARDWARE,
    "firmware/test_both_drivers_metering.py": _HARDWARE,
    "firmware/test_both_drivers_panel.py": _HARDWARE,
    "firmware/test_both_credit_power.py": _SWEEP,
    "firmware/test_both_meter_power.py": _SWEEP,
    "firmware/test_both_trust_power.py": _SWEEP,
    "firmware/test_both_typed_power.py": _SWEEP,
    "firmware/test_both_meter_heap.py": _HEAP,
    "firmware/test_both_debts.py::test_a_timed_debt_is_collected_when_a_local_day_week_or_month_begins": _LIVES,
    "firmware/test_both_debts.py::test_a_tenth_capped_at_five_a_week_with_ten_every_day": _LIVES,
    "firmware/test_both_credit_rules.py::test_the_end_of_a_friendly_time_is_jittered": _LIVES,
    "firmware/test_both_mqtt_codec.py::test_an_endless_message_takes_no_memory": _HEAP,
    "firmware/test_both_flashmap.py": _LIVES,
    "firmware/test_both_logs.py": _LIVES,
    "firmware/test_both_panel.py": _LIVES,
    "firmware/test_both_supply_modes.py": _LIVES,
    "firmware/test_both_typed.py": _LIVES,
    "firmware/test_both_update.py": _LIVES,
}
# Long, and what of them is wide is in the lives of test_life.py, which run on 32 bits every time.
LONG = [
    "firmware/test_both_clock_profile.py",
    "firmware/test_both_credit_rules.py",
    "firmware/test_both_debts.py",
    "firmware/test_both_modes.py",
    "firmware/test_both_senses.py",
    "firmware/test_both_supply.py",
    "firmware/test_both_supply_causes.py",
]
_NOW = {*LEFT_OUT} if os.environ.get("OPENPREPAY_WIDE") == "all" else {*LEFT_OUT, *LONG}
BOTH = [path for path in sorted(TESTS.rglob("test_both_*.py")) if str(path.relative_to(TESTS)) not in _NOW]

# There is no loop for tasks but JavaScript's: a function that wants one is left as soon as it says so.
_PREPARE = """
import asyncio, os, random
os.chdir("/repo")
os.urandom = lambda count: bytes([random.getrandbits(8) for _ in range(count)])
class NoLoop(Exception):
    pass
def run(task):
    task.close()
    raise NoLoop
asyncio.run = run
"""
_STEP = """
try:
    tests.{0}()
    print("ok", "{0}")
except NoLoop:
    print("left", "{0}")
"""


def _functions(file: Path) -> list[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [one.name for one in tree.body if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")]


@pytest.mark.parametrize("file", BOTH, ids=lambda path: str(path.relative_to(TESTS)))
def test_on_32_bits(file: Path) -> None:
    """All functions of the file pass; what they print is shown when one does not."""
    needs.wasm()
    name = str(file.relative_to(TESTS))
    steps = [("prepare", _PREPARE), ("import", f"import {file.stem} as tests")]
    steps += [(one, _STEP.format(one)) for one in _functions(file) if f"{name}::{one}" not in LEFT_OUT]
    folders = {f"/repo/{one}": upyhost.ROOT / one for one in FOLDERS}
    path = [f"/repo/{one}" for one in (*upyhost.PATH, "simulator")] + ["/repo", f"/repo/tests/{file.parent.name}"]
    done = wasm.run(steps, folders, path, HEAP)
    print(done.stdout)
    assert "ok test_" in done.stdout and done.returncode == 0, done.stderr


def test_a_step_that_fails_is_told_and_the_others_run() -> None:
    needs.wasm()
    steps = [("one", "print(1)"), ("two", "assert 1 == 2, 'planted'"), ("three", "print(1 << 40, 7 // 0 if 0 else 3)")]
    done = wasm.run(steps, {}, [], HEAP)
    assert (done.returncode, done.stdout.split()) == (1, ["1", "1099511627776", "3"])
    assert done.stderr.startswith("two: Traceback") and "AssertionError: planted" in done.stderr


def test_integers_of_more_than_31_bits_are_objects_here() -> None:
    """What these tests are for: a build with wider small integers would show nothing."""
    needs.wasm()
    program = "import gc, sys\ndef taken(n):\n    a = gc.mem_alloc(); n + 1; return gc.mem_alloc() - a\n"
    program += "taken(1)\nprint(sys.maxsize, taken(1 << 20), taken((1 << 30) - 2) > 0, taken(1 << 30) > 0)\n"
    done = wasm.run([("look", program)], {}, [], HEAP)
    assert done.stdout.split() == ["2147483647", "0", "False", "True"], done.stderr


def test_what_is_left_out_is_there() -> None:
    for key in [*LEFT_OUT, *LONG]:
        file, _, function = key.partition("::")
        assert (TESTS / file).exists(), key
        assert not function or function in _functions(TESTS / file), key
