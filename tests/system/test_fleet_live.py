"""A few meters on a real broker and behind real Modbus gateways: a connection storm, an outage with last gasps,
payments; in the end everything is there, bit for bit."""

from pathlib import Path

import pytest

from openprepay.fleetsim import cli, live, plan
from openprepay.fleetsim.live import FilesError, Live
from openprepay.fleetsim.plan import NAMES, OUTAGE, STORM, TOP_UP, Happening
from openprepay.fleetsim.setting import Setting

PLAN = (
    Happening(STORM, 600, 660, 100, NAMES[STORM]),
    Happening(TOP_UP, 800, 0, 50, NAMES[TOP_UP]),
    Happening(OUTAGE, 950, 1100, 30, NAMES[OUTAGE]),
)


def test_a_small_fleet_on_real_carriers(tmp_path: Path) -> None:
    setting = Setting(meters=10, on_bus=40, step_s=60, spread_s=50, awake=4)
    run = Live(setting, speed=60, lasts_s=1500, folder=tmp_path, plan=PLAN)
    outcome = run.run()
    on_broker = outcome.meters - outcome.on_bus
    assert outcome.on_bus >= 2 and on_broker >= 3
    assert [one.name for _, one in run.stories] == [STORM, TOP_UP, OUTAGE]
    assert outcome.intervals_held >= 2 * outcome.meters
    assert outcome.wrong == []
    assert outcome.payments_on_meters == outcome.payments == 5
    assert outcome.gasps == outcome.warned == 3
    assert outcome.holds
    assert outcome.acknowledged > on_broker and outcome.heard > on_broker and outcome.transactions > outcome.on_bus


def test_too_few_files_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(live.resource, "getrlimit", lambda _: (256, 1024))
    with pytest.raises(FilesError, match="5000 meters need 5300 open files, and 1024 are allowed: ulimit -Hn 5300"):
        live.want_files(5000)
    assert cli.main(["--meters", "5000"]) == 3
    assert "ulimit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--meters", "0"], "--meters: 0 given, 1..1000000 expected"),
        (["--step", "7"], "--step: 7 given, a divisor of 900 expected"),
        (["--database", "sqlite://"], "--database goes with --day"),
        (["--on-bus", "101"], "--on-bus: 101 given, 0..100 expected"),
    ],
)
def test_wrong_arguments(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert told in capsys.readouterr().err


def test_every_happening_has_its_words_in_two_languages() -> None:
    for one in (*plan.DAY, *plan.LIVE):
        english, chinese = one.title
        assert english.isascii() and not chinese.isascii()
