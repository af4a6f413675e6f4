"""`openprepay field` as it is called, on a meter that runs the firmware under real MicroPython."""

import csv
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from metersim.board import VirtualBoard
from metersim.child import ChildMeter
from metersim.load import Constant
from metersim.pty_line import PtyLine
from metersim.workbench import Workbench
from tests.brokers import free_port
from tests.system.serial_server import bridge

NUMBER = 260100000042
BENCH = Workbench(NUMBER)
HISTORY_S = 3 * 3600
LIMIT_S = 120


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A meter with three hours behind it, on a pty, behind a serial server, and on Modbus TCP."""
    folder = tmp_path_factory.mktemp("meter")
    with ExitStack() as stack:
        line = PtyLine(folder / "line")
        stack.callback(line.close)
        tcp = f"127.0.0.1:{free_port()}"
        board = VirtualBoard(Constant(600), start_s=int(time.time()) - HISTORY_S, seed=1)
        record = BENCH.record(interval_minutes=5)
        first = [BENCH.credit(80_000_000)]
        with ChildMeter(board, folder=folder / "meter", record=record, speed=3000, orders=first) as quick:
            until = time.monotonic() + LIMIT_S
            while board.true_s < time.time() - 10:
                quick.check()
                assert time.monotonic() < until
                time.sleep(0.05)
        board.lose_power()
        board.restore_power()
        stack.enter_context(ChildMeter(board, folder=folder / "meter", serial=line.meter_path, tcp=tcp))
        port = stack.enter_context(bridge(str(line.link)))
        yield {"pty": str(line.link), "socket": f"socket://127.0.0.1:{port}", "tcp": f"tcp://{tcp}"}


def field(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "openprepay.cli", "field", *map(str, arguments), "--lang", "en"]
    return subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def settled(*where: str) -> dict[str, Any]:
    """What the meter shows once it has lived the first second after its start."""
    until = time.monotonic() + LIMIT_S
    while True:
        done = field("read", *where, "--json")
        assert done.returncode == 0, done
        shown: dict[str, Any] = json.loads(done.stdout)
        if shown["hot"]["contact_name"] == "closed":
            return shown
        assert time.monotonic() < until, shown


# One after the other on one line: a serial port and its server would be two masters on it.
@pytest.mark.parametrize("kind", ["pty", "socket", "tcp"])
def test_a_visit_to_a_meter(kind: str, ports: dict[str, str], tmp_path: Path) -> None:
    where = ("--port", ports[kind])
    shown = settled(*where)
    assert shown["ident"]["meter"] == NUMBER
    newest = shown["hot"]["interval_newest"]
    assert newest >= HISTORY_S // 300 - 1
    key, path = tmp_path / "key", tmp_path / "intervals.csv"
    key.write_text(BENCH.tag_key.hex())
    done = field("intervals", *where, "--from", 1, "--csv", path, "--key-file", key)
    assert done.returncode == 0, done
    assert "is genuine" in done.stdout
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["seq"]) for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) >= newest
    registers = [int(row["import_reg_wh"]) for row in rows]
    assert registers == sorted(registers)
    assert registers[-1] > 1000
    order = tmp_path / "order"
    total_uc = {"pty": 90_000_000, "socket": 91_000_000, "tcp": 92_000_000}[kind]
    order.write_bytes(BENCH.credit(total_uc))
    for verdict in ("Applied", "Already"):
        done = field("order", *where, order)
        assert (done.returncode, f"The meter says: {verdict}" in done.stdout) == (0, True), done
    done = field("report", *where, "--key-file", key)
    assert done.returncode == 0, done
    assert re.search(rf"^  Credited by the source +{total_uc // 1_000_000}.00 ", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("Genuine: made with the meter's key, for the question just asked.\n")
    done = field("events", *where)
    assert "credit applied" in done.stdout
    done = field("scan", *where, "--to", 2, "--wait", 2)
    assert f"unit 1: meter {NUMBER:012d}" in done.stdout
