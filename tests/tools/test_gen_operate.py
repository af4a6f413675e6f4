"""docs/operate.md tells of every setting, metric and exception that there is."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import gen_operate
from headend.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_the_sources_say() -> None:
    tool = str(ROOT / "tools" / "gen_operate.py")
    done = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_setting_says_what_it_is() -> None:
    told = gen_operate.comments()
    assert set(told) == {field.name for field in fields(Settings)}
    assert [name for name, what in told.items() if not what] == []
