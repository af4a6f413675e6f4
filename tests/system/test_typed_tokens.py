"""A token typed with `openprepay field` over the service port of a meter that runs under real MicroPython."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from meterlink.provision import CURRENCY_ENERGY
from meterlink.sts import dkga04, issue
from metersim.board import VirtualBoard
from metersim.child import ChildMeter
from metersim.load import Constant
from metersim.pty_line import PtyLine
from metersim.workbench import KWH_TARIFF, VENDING_KEY, Workbench

NUMBER = 260100000077
BENCH = Workbench(NUMBER, tariff=KWH_TARIFF)
LIMIT_S = 120


class Rig:
    """A meter with two lines: `service` takes tokens, `bus` does not."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.lines = [PtyLine(folder / name) for name in ("service", "bus")]
        for line in self.lines:
            stack.callback(line.close)
        self.service, self.bus = (str(line.link) for line in self.lines)
        board = VirtualBoard(Constant(100), start_s=int(time.time()), seed=3)
        paths = {"service": self.lines[0].meter_path, "serial": self.lines[1].meter_path}
        record = BENCH.record(currency=CURRENCY_ENERGY)
        self.child = stack.enter_context(ChildMeter(board, folder=folder / "meter", record=record, **paths))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(tmp_path, stack)


def openprepay(*arguments: object, lang: str = "en") -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "openprepay.cli", *map(str, arguments)]
    environment = {**os.environ, "LC_ALL": {"en": "C.UTF-8", "zh": "zh_CN.UTF-8"}[lang]}
    return subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False, env=environment)


def issued(*arguments: object) -> str:
    """A token from the command that issues them, for this meter."""
    a = BENCH.decoder
    key = ("--vending-key", VENDING_KEY.hex(), "--pan", a.pan, "--sgc", a.sgc, "--ti", f"{a.ti:02d}", "--kt", a.kt)
    done = openprepay("sts", "issue", *key, "--krn", a.krn, "--ken", a.ken, "--base", a.base, *arguments)
    assert done.returncode == 0, done
    return done.stdout.strip()


def test_a_customer_buys_types_and_mistypes(rig: Rig) -> None:
    digits = issued("--class", 0, "--subclass", 0, "--issued", "2026-03-01T13:00:00", "--rnd", 5, "--units", 255)
    groups = [digits[at : at + 4] for at in range(0, 20, 4)]
    done = openprepay("field", "token", *groups, "--port", rig.bus)
    assert (done.returncode, "service port" in done.stdout) == (1, True), done
    done = openprepay("field", "token", *groups, "--port", rig.service)
    assert done.returncode == 0, done
    assert done.stdout.startswith("The meter says: Accepted.\nCredited: 25.50 kWh.")
    rig.child.power_cycle()
    done = openprepay("field", "token", " ".join(groups), "--port", rig.service, lang="zh")
    assert (done.returncode, done.stdout) == (1, "电表应答：拒绝：该代码已使用过。\n")
    for place in (3, 7, 11):
        mistyped = f"{digits[:place]}{(int(digits[place]) + 5) % 10}{digits[place + 1 :]}"
        done = openprepay("field", "token", mistyped, "--port", rig.service)
        assert (done.returncode, "mistyped" in done.stdout) == (1, True), done
    assert "It takes the next entry in 10 s." in done.stdout
    rig.child.power_cycle()
    done = openprepay("field", "token", digits, "--port", rig.service)
    assert "The meter says: Locked" in done.stdout
    done = openprepay("field", "events", "--port", rig.bus)
    assert "token accepted" in done.stdout and "credit applied" in done.stdout
    done = openprepay("field", "nuisance", "--port", rig.bus)
    assert "token refused" in done.stdout and "keypad locked" in done.stdout


def test_a_key_change_on_the_spot(rig: Rig) -> None:
    a = BENCH.decoder
    new = dkga04.KeyAttributes(a.pan, a.sgc, 2, a.kt, 2, a.base, a.ken)
    new_key = dkga04.derive(VENDING_KEY, new)
    for number, digits in enumerate(issue.key_change(BENCH.decoder_key(), new_key, new)):
        if number == 2:
            rig.child.power_cycle()
        done = openprepay("field", "token", digits, "--port", rig.service)
        assert done.returncode == 0, done
    assert done.stdout == "The meter says: Accepted.\n"
    done = openprepay("field", "token", issue.once(new_key, 0, 0, 1, 6_000_000, 5), "--port", rig.service)
    assert "Credited: 0.50 kWh." in done.stdout
    done = openprepay("field", "read", "--port", rig.service)
    assert "Key revision              2\n" in done.stdout
