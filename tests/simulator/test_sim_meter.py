"""`openprepay sim meter`, as a person runs it: read by a foreign master, stopped with Ctrl-C, wrong arguments named."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meterlink import registers
from metersim import cli
from tests import needs
from tests.brokers import free_port

GIVE_UP_S = 120


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "openprepay", "sim", "meter", "--id", "600000000321", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def introduction(process: subprocess.Popen[str]) -> str:
    """What it prints until it is ready."""
    assert process.stdout is not None
    told = ""
    for line in process.stdout:
        told += line
        if line.startswith("registers"):
            return told
    raise AssertionError(told)


def interrupt(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGINT)
    return process.wait(GIVE_UP_S)


def poll(*arguments: str) -> str:
    """What mbpoll (libmodbus) reads; a few tries, as the meter's port opens a moment after its introduction."""
    for _ in range(20):
        done = subprocess.run([needs.program("mbpoll"), *arguments], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout
        time.sleep(0.2)
    raise AssertionError(done.stdout + done.stderr)


def values(read: str) -> list[str]:
    """The registers in what mbpoll printed."""
    return [line.split()[-1] for line in read.splitlines() if line.startswith("[")]


def address_of(name: str) -> int:
    """Where a field of the hot block stands."""
    _, address, _, fields = next(block for block in registers.BLOCKS if block[0] == registers.HOT)
    for field, kind, _, _ in fields:
        if field == name:
            return address
        address += registers.registers_of(kind)
    raise AssertionError(name)


@pytest.mark.parametrize("interpreter", [["--micropython"], []])
def test_a_foreign_master_reads_it(tmp_path: Path, interpreter: list[str]) -> None:
    needs.program("mbpoll")
    link = tmp_path / "line" / "meter"
    tcp = f"127.0.0.1:{free_port()}"
    links = ("--serial", str(link), "--tcp", tcp, "--unit", "9")
    process = start(*links, "--credit", "12.50", "--speed", "100", *interpreter)
    try:
        told = introduction(process)
        assert "meter       600000000321" in told
        line = ("-m", "rtu", "-b", "9600", "-P", "even", "-a", "9", "-0", "-1")
        for function in ("3:hex", "4:hex"):
            read = poll(*line, "-r", "0", "-c", "2", "-t", function, str(link))
            assert values(read) == ["0x0102", "0x0304"]
        host, port = tcp.split(":")
        where = ("-r", str(address_of("credited_uc")), "-c", "4")
        read = poll("-m", "tcp", "-p", port, "-a", "9", "-0", "-1", *where, "-t", "4:hex", host)
        assert values(read) == [f"0x{12_500_000 >> shift & 0xFFFF:04X}" for shift in (48, 32, 16, 0)]
        assert interrupt(process) == 0
        assert not link.is_symlink()
    finally:
        process.kill()
        process.wait()


def test_the_command_that_it_prints_makes_a_token_for_it(tmp_path: Path) -> None:
    link = tmp_path / "service"
    process = start("--kwh", "--service-port", str(link))
    try:
        told = introduction(process)
        assert f"service     {link}" in told
        command = next(line for line in told.splitlines() if line.startswith("tokens")).split()[2:]
        run = [sys.executable, "-m", "openprepay"]
        made = subprocess.run([*run, *command], capture_output=True, text=True, check=True).stdout.strip()
        typing = [*run, "field", "token", made, "--port", str(link), "--parity", "N", "--lang", "en"]
        done = subprocess.run(typing, capture_output=True, text=True, timeout=GIVE_UP_S, check=False)
        assert (done.returncode, "Credited: 10.00 kWh" in done.stdout) == (0, True), done
        assert interrupt(process) == 0
        assert not link.is_symlink()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--id", "0"], "--id: 0 given"),
        (["--id", "100000000000000"], "--id:"),
        (["--id", "5", "--unit", "248"], "--unit: 248 given, 1..247 expected"),
        (["--id", "5", "--speed", "0"], "--speed: 0 given"),
        (["--id", "5", "--baud", "50"], "--baud: 50 given"),
        (["--id", "5", "--tcp", "nowhere"], "--tcp: 'nowhere' given, HOST:PORT expected"),
        (["--id", "5", "--mqtt", "http://x"], "--mqtt:"),
        (["--id", "5", "--credit", "much"], "--credit: 'much' given"),
        (["--id", "5", "--credit", "-1"], "--credit:"),
        (["--id", "5", "--credit", "0.0000001"], "--credit:"),
        (["--id", "5", "--load", "/none.csv"], "/none.csv"),
        (["--id", "5", "--yearly-kwh", "0"], "yearly_kwh: 0 given"),
        (["--id", "5", "--provision", "/none.bin"], "--provision: /none.bin"),
        (["--id", "5", "--provision", "/none.bin", "--kwh"], "--kwh: only with bench keys"),
        (["--id", "5", "--serial", "/tmp/line", "--service-port", "/tmp/line"], "--service-port: /tmp/line given"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["meter", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_file_in_the_way_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    assert cli.main(["meter", "--id", "5", "--serial", str(path)]) == 2
    assert "will not be replaced" in capsys.readouterr().err
    assert path.read_text() == "data"
