"""What lies in deploy/ fits what is built: units that systemd takes, settings that load, alerts on metrics that are."""

import re
import subprocess
from pathlib import Path

import pytest

from headend.settings import Settings
from headend.watch.metrics import NAMES
from tests import needs

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
UNITS = sorted(path.name for path in DEPLOY.glob("*.service")) + sorted(path.name for path in DEPLOY.glob("*.timer"))


@pytest.mark.parametrize("name", ["openprepay.toml", "signer.toml"])
def test_the_settings_load(name: str) -> None:
    Settings.load(DEPLOY / name, {})


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_the_unit(unit: str, tmp_path: Path) -> None:
    program = needs.program("systemd-analyze")
    for path in DEPLOY.iterdir():  # where the program will be, is none yet
        text = path.read_text(encoding="utf-8").replace("/opt/openprepay/bin/openprepay", "/bin/true")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    name = unit.replace("@", "@openprepay.service") if "@" in unit else unit
    done = subprocess.run(
        [program, "verify", "--man=no", str(tmp_path / name)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if str(tmp_path) in line or line.startswith(name)]
    assert done.returncode == 0 and complaints == []


@pytest.mark.parametrize(("unit", "most"), [("openprepay.service", 1.5), ("openprepay-signer.service", 1.0)])
def test_a_service_is_closed_in(unit: str, most: float) -> None:
    program = needs.program("systemd-analyze")
    rated = [program, "security", "--no-pager", "--offline=true", f"--threshold={round(most * 10)}", str(DEPLOY / unit)]
    done = subprocess.run(rated, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout.splitlines()[-1:]


def test_alerts_watch_metrics_that_there_are() -> None:
    text = (DEPLOY / "openprepay-alerts.yml").read_text(encoding="utf-8")
    watched = set(re.findall(r"\bopenprepay_[a-z_]+", text))
    assert watched and watched <= set(NAMES) | {f"{name}_bucket" for name in NAMES}


def test_every_file_is_told_of() -> None:
    page = (DEPLOY.parent / "docs" / "operate.md").read_text(encoding="utf-8")
    untold = [path.name for path in DEPLOY.iterdir() if path.name not in page and path.suffix not in (".timer",)]
    assert untold == []
