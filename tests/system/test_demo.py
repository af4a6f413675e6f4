"""`openprepay demo` passes; with one thing broken it fails and names the step; it always cleans up after itself."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from openprepay.demo import cli
from openprepay.demo.faults import FAULTS
from openprepay.demo.steps import NAMES
from tests import needs

ROOT = Path(__file__).resolve().parent.parent.parent
RECHECK = ROOT / "tools" / "openprepay" / "demo" / "recheck.py"
LIMIT_S = 400  # a demo that hangs; its own waits are shorter


def command(folder: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "openprepay", "demo", "--folder", str(folder), *options]


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = command(folder, "--once", *options)
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_S)


def recheck(folder: Path) -> subprocess.CompletedProcess[str]:
    """As a stranger would: no environment, no path to the project, nothing but the standard library."""
    words = [sys.executable, "-I", "-S", str(RECHECK), str(folder)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def left_running(folder: Path) -> list[str]:
    """Command lines of processes that work in the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in line:
                found.append(line)
    return found


def facts(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "trace.jsonl").read_text(encoding="utf-8").splitlines()]


def test_every_step_is_confirmed_and_the_trace_proves_it(tmp_path: Path) -> None:
    """The whole demo, as `make demo` runs it: the long one."""
    words = [sys.executable, "-m", "openprepay", "demo", "--once"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    tmp_path /= "var/demo"
    told = facts(tmp_path)
    assert [name for name in NAMES if any(fact["step"] == name for fact in told)] == list(NAMES)
    proved = {(fact["step"], fact["meter"][-1]) for fact in told if fact["kind"] == "confirmed"}
    for step in ("alarm", "cut-off", "payment", "reconnection", "disconnect", "connect", "repeats", "forgery"):
        assert {(step, "1"), (step, "2")} <= proved, step
    for step in ("first-credit", "intervals", "ledger"):
        assert {(step, digit) for digit in "12345"} <= proved, step
    assert any("hot block" in fact["read_from"] for fact in told)
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    assert not left_running(tmp_path)
    assert not list(tmp_path.glob("line-*"))
    genuine = recheck(tmp_path)
    assert genuine.returncode == 0, genuine.stdout
    counted = sum(fact["kind"] in ("confirmed", "receipt") for fact in told)
    assert genuine.stdout.startswith(f"{counted} ")
    refuse_forged_traces(tmp_path, told)


def refuse_forged_traces(folder: Path, told: list[dict[str, str]]) -> None:
    """A byte of a report, its nonce, its meter: whatever is changed in the trace, the script notices."""
    first = next(number for number, fact in enumerate(told) if fact["kind"] == "confirmed")
    fact = told[first]
    other = next(one["meter"] for one in told if one["kind"] == "confirmed" and one["meter"] != fact["meter"])
    raw = fact["report"]
    flipped = raw[:200] + ("0" if raw[200] != "0" else "1") + raw[201:]
    for change in ({"report": flipped}, {"nonce": "00" * 8}, {"meter": other}, {"kind": "receipt"}):
        forged = [*told[:first], {**fact, **change}, *told[first + 1 :]]
        text = "\n".join(json.dumps(one) for one in forged)
        (folder / "trace.jsonl").write_text(text, encoding="utf-8")
        refused = recheck(folder)
        assert refused.returncode == 1, change
        assert f"line {first + 1}" in refused.stdout


@pytest.mark.parametrize(
    ("fault", "meter", "step", "read"),
    [
        ("weld", "A", "cut-off", "contact closed, .*diagnosis welded"),
        ("drop-receipts", "B", "first-credit", "order 1 is (sent|unknown)"),
        ("corrupt-record", "B", "intervals", "stored 3, lost 0, missing [1-9]"),
        ("hold-payment", "B", "payment", "order 2 is (sent|unknown)"),
    ],
)
def test_a_broken_part_is_noticed(tmp_path: Path, fault: str, meter: str, step: str, read: str) -> None:
    done = run(tmp_path, "--fault", fault, "--only-meters", meter, "--minutes", "50", "--patience", "20")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"FAILED: step {step}, {meter}\n" in done.stdout
    assert re.search(read, done.stdout.partition("FAILED")[2])
    assert not left_running(tmp_path)


def test_every_fault_has_its_test() -> None:
    mark = test_a_broken_part_is_noticed.pytestmark[0]  # type: ignore[attr-defined]
    assert {row[0] for row in mark.args[1]} == set(FAULTS)


def test_it_needs_no_broker_on_the_machine(tmp_path: Path) -> None:
    """amqtt from the simulator extra takes Mosquitto's place; in Chinese."""
    done = run(tmp_path, "--broker", "amqtt", "--lang", "zh", "--only-meters", "B,C", "--until", "first-credit")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "全部步骤已确认" in done.stdout
    assert recheck(tmp_path).returncode == 0
    assert not left_running(tmp_path)


def test_a_heap_that_is_too_small_is_told(tmp_path: Path) -> None:
    done = run(tmp_path, "--heap", "96K", "--only-meters", "A", "--until", "boot")
    assert done.returncode == 1
    assert "MemoryError" in done.stdout
    assert not left_running(tmp_path)


class OnTerminal:
    """A short demo on a terminal of its own, which somebody reads all the time."""

    def __init__(self, folder: Path) -> None:
        self.text = ""
        self._master, slave = pty.openpty()
        words = command(folder, "--only-meters", "B,C", "--until", "boot", "--broker", "mosquitto")
        self.process = subprocess.Popen(
            words, cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> "OnTerminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._master)

    def wait_for(self, words: str) -> None:
        until = time.monotonic() + 120
        while words not in self.text:
            assert time.monotonic() < until and self.process.poll() is None, self.text
            time.sleep(0.02)

    def _read(self) -> None:
        data = b""
        with contextlib.suppress(OSError):  # its end
            while part := os.read(self._master, 4096):
                data += part
                self.text = data.decode(errors="replace")


def test_on_a_terminal_the_page_stays_up_until_ctrl_c(tmp_path: Path) -> None:
    needs.program("mosquitto")
    with OnTerminal(tmp_path) as demo:
        demo.wait_for("Ctrl-C ends.")
        found = re.search(r"stay up: (http://127\.0\.0\.1:\d+)", demo.text)
        assert found, demo.text
        with urllib.request.urlopen(found[1], timeout=30) as page:
            assert page.status == 200
            assert b"260100000002" in page.read()
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(60) == 0
    assert not left_running(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_it_however_it_ends(tmp_path: Path, number: signal.Signals) -> None:
    needs.program("mosquitto")
    with OnTerminal(tmp_path) as demo:
        demo.wait_for("boot")
        demo.process.send_signal(number)
        code = demo.process.wait(60)
        assert code == -signal.SIGKILL if number == signal.SIGKILL else code in (0, 130)  # 0: it had just been done
    until = time.monotonic() + 60
    while left_running(tmp_path) and time.monotonic() < until:  # after SIGKILL its children notice by themselves
        time.sleep(0.1)
    assert not left_running(tmp_path)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--only-meters", "A,Z"], "--only-meters: 'A,Z' given"),
        (["--fault", "weld", "--only-meters", "B"], "--fault: weld breaks meter A"),
        (["--minutes", "1"], "--minutes: 1 given, 50..600 expected"),
    ],
)
def test_a_wrong_argument_is_named(
    tmp_path: Path, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--folder", str(tmp_path), *options]) == 2
    assert sentence in capsys.readouterr().err


def test_two_demos_do_not_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cli.main(["--folder", str(tmp_path), "--only-meters", "C", "--until", "boot"]) == 1
    assert "another demo runs in" in capsys.readouterr().err
