"""`openprepay sim keypad`: the real firmware behind a keypad, by script and in a terminal."""

import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

from metersim import cli
from metersim.keypad_child import ChildStand
from metersim.stand import EIGHTH_S, HereStand, KeysError

COMMAND = [sys.executable, "-m", "openprepay", "sim", "keypad"]
START_S = 1_767_225_600
GIVE_UP_S = 60


def display(shot: str) -> list[str]:
    """The two lines of the display in a shot."""
    return [line[2:18] for line in shot.splitlines() if line.startswith("║")]


def test_a_token_by_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keypad", "--kwh", "--keys", "[5]t#", "--shot"]) == 0
    shown = capsys.readouterr().out
    assert display(shown) == ["Accepted        ", "T01    +10.00kWh"]
    assert "500 ms" in shown and "relay closed" in shown


def test_lines_of_keys_from_a_pipe() -> None:
    done = subprocess.run(
        [*COMMAND, "--credit", "1.00", "--load", "9000", "--language", "zh", "--shot"],
        input="*01#\n[2000]\nb\n[100]\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    shots = re.split(r"(?m)^(?=\d{12} )", done.stdout)[1:]
    assert len(shots) == 4
    assert display(shots[0]) == ["Credit       *01", "            1.00"]
    assert display(shots[1])[0] == "OFF no credit   " and "继电器 断开" in shots[1]
    assert "继电器 闭合" in shots[3] and "OFF" not in display(shots[3])[0]


def test_numbers_in_place_of_words() -> None:
    stand = HereStand(600_000_000_001, codes=True, start_s=START_S)
    stand.play("*20#")
    assert display(stand.draw()) == ["20      04000402", "    600000000001"]


def test_power_that_fails_starts_the_panel_anew() -> None:
    stand = HereStand(600_000_000_001, credit_uc=20_000_000, start_s=START_S)
    stand.play("*10#")
    assert display(stand.draw())[0] == "Used         *10"
    stand.play("p.")
    assert "*10" not in display(stand.draw())[0] and stand.panel.meter.boot == 2


def test_lamps_relay_and_load_in_a_frame() -> None:
    stand = HereStand(600_000_000_001, credit_uc=20_000_000, load_w=2000, start_s=START_S)
    stand.run(3)
    assert "load 2000 W" in stand.draw() and "relay closed" in stand.draw()
    stand.board.pulses_out = 0
    stand.run(3600)
    assert stand.board.pulses_out == 3200, "2 kWh at 1600 imp/kWh"
    stand.turn_load()
    assert "load 9000 W" in stand.draw()
    lit = {stand.draw(at_s=at * EIGHTH_S) for at in range(16)}
    assert all("○" in frame for frame in lit)


@pytest.mark.parametrize("keys", ["12x", "[", "[abc]", "*10#Q", " "])
def test_keys_that_there_are_not(keys: str, capsys: pytest.CaptureFixture[str]) -> None:
    stand = HereStand(600_000_000_001, start_s=START_S)
    with pytest.raises(KeysError, match="expected"):
        stand.play(keys)
    assert stand.board.true_s == START_S and not stand.sounds, "nothing of it was done"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--id", "0"], "--id: 0 given, 1..99999999999999 expected"),
        (["--load", "-1"], "--load: -1 given, 0..90000 expected"),
        (["--credit", "much"], "--credit: 'much' given"),
        (["--keys", "9z"], "--keys: 'z' at 1 given"),
    ],
)
def test_wrong_arguments(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keypad", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_on_real_micropython() -> None:
    """The image, with the task that runs the panel: a token, an item, a long press, a power cut."""
    with ChildStand(600_000_000_001, kwh=True, load_w=2000, speed=5) as stand:
        stand.play("t#")
        assert stand.lines() == ("Accepted        ", "T01    +10.00kWh")
        stand.play("*20#")
        assert stand.lines() == ("No           *20", "    600000000001")
        stand.play("h")
        assert stand.lines() == ("Supply       *03", "              on")
        assert stand.buzzer() != "0" and stand.lit()
        stand.play("p*62#")
        assert stand.lines() == ("Starts       *62", "               2")


def test_live_in_a_terminal() -> None:
    """A person types: the code of the number, then a token, then quits. The terminal is as before."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, "--kwh"], stdin=theirs, stdout=theirs, stderr=subprocess.STDOUT)
    try:
        wait_for(ours, "keys 0-9")
        os.write(ours, b"*20\n")
        wait_for(ours, "║     600000000001 ║")
        os.write(ours, b"t\n")
        wait_for(ours, "+10.00kWh")
        os.write(ours, b"f")
        wait_for(ours, "×10")
        os.write(ours, b"q")
        assert process.wait(GIVE_UP_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def wait_for(file: int, text: str) -> None:
    """Read a terminal until a text is on it."""
    seen = ""
    until = time.monotonic() + GIVE_UP_S
    while text not in seen:
        assert time.monotonic() < until, seen[-2000:]
        ready, _, _ = select.select([file], [], [], 1)
        if ready:
            seen += os.read(file, 65536).decode(errors="replace")
