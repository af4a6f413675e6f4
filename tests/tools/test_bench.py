"""Every benchmark runs in its smallest size and prints well-formed lines. How fast anything is, no test asks."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from metersim import build
from openprepay import bench
from openprepay.bench import cli
from openprepay.bench.figure import race

ROOT = Path(__file__).resolve().parents[2]
FIELDS = ["name", "value", "unit", "peer", "ratio"]


@pytest.mark.parametrize("name", cli.BENCHES)
def test_a_benchmark_yields_figures(name: str) -> None:
    """Each in a process of its own, as people run it: a library for security modules reads its settings once."""
    command = [sys.executable, "-m", "openprepay.cli", "bench", name, "--seconds", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found
    for figure in found:
        assert list(figure) == FIELDS
        assert isinstance(figure["name"], str) and re.fullmatch(r"[a-z][a-z0-9_]+", figure["name"])
        assert isinstance(figure["value"], int | float) and figure["value"] > 0
        assert isinstance(figure["unit"], str) and figure["unit"]
        assert (figure["peer"] is None) is (figure["ratio"] is None)
        if figure["peer"] is not None:
            assert isinstance(figure["peer"], str) and figure["peer"]
            assert isinstance(figure["ratio"], int | float) and figure["ratio"] > 0
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert [figure["name"] for figure in found if f"`{figure['name']}`" not in page] == []
    assert len({figure["name"] for figure in found}) == len(found)


def test_wrong_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["speed"]) == 2
    assert "no benchmark 'speed'; expected some of: verify, step" in capsys.readouterr().err
    assert bench.main(["decode", "--seconds", "-1"]) == 2
    assert "--seconds: -1 given, 0..3600 expected" in capsys.readouterr().err


def test_one_that_cannot_run_is_named_and_the_others_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Path:
        raise build.BuildError(f"{name}: not found")

    monkeypatch.setattr(build, "program", missing)
    assert bench.main(["step", "decode", "--seconds", "0"]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["name"] for line in out.splitlines()] == ["decode_rows", "decode_rows_single"]
    assert "step: micropython: not found" in err and err.endswith("failed: step\n")


def test_a_race_takes_turns_and_keeps_the_best() -> None:
    taken = {"a": [3.0, 1.0, 2.0], "b": [5.0, 6.0, 4.0]}
    order = []

    def runner(name: str) -> float:
        order.append(name)
        return taken[name].pop(0)

    assert race([lambda: runner("a"), lambda: runner("b")], 0, rounds=3) == [1.0, 4.0]
    assert order == ["a", "b"] * 3
