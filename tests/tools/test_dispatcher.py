"""`openprepay` finds sub-commands in its table, hands over the arguments, and says clearly what is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from openprepay import cli

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path for modules that a test plants, and a table that knows them."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("planted_one", "planted_two", "planted_needy"):
        sys.modules.pop(name, None)
    monkeypatch.setattr(
        cli,
        "COMMANDS",
        {
            "one": cli.Command("planted_one:main", "first"),
            "one two": cli.Command("planted_two:main", "second"),
            "needy": cli.Command("planted_needy:main", "wants a package", "simulator"),
        },
    )
    (tmp_path / "planted_one.py").write_text("def main(argv):\n    print('one', argv)\n    return 7\n")
    (tmp_path / "planted_needy.py").write_text("import a_package_that_is_not_there\n")
    return tmp_path


def test_arguments_and_exit_code_pass_through(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["one", "--deep", "x y"]) == 7
    assert capsys.readouterr().out == "one ['--deep', 'x y']\n"


def test_two_words_outrank_one(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (planted / "planted_two.py").write_text("def main(argv):\n    print('two', argv)\n    return 0\n")
    assert cli.main(["one", "two", "three"]) == 0
    assert capsys.readouterr().out == "two ['three']\n"


def test_a_sub_command_that_is_not_there_yet(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["one", "two"]) == cli.UNAVAILABLE
    assert (
        capsys.readouterr().err == "openprepay one two is not part of this version (there is no module planted_two).\n"
    )


def test_a_package_that_is_not_installed(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["needy"]) == cli.UNAVAILABLE
    error = capsys.readouterr().err
    assert "needs the Python module 'a_package_that_is_not_there', which is not installed" in error
    assert 'pip install "openprepay[simulator]"' in error


def test_ctrl_c_ends_quietly(planted: Path) -> None:
    (planted / "planted_one.py").write_text("def main(argv):\n    raise KeyboardInterrupt\n")
    assert cli.main(["one"]) == cli.INTERRUPTED


def test_an_unknown_sub_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sell"]) == cli.USAGE_ERROR
    error = capsys.readouterr().err
    assert "no sub-command 'sell'" in error and "serve" in error


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_sub_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown and command.help in shown for name, command in cli.COMMANDS.items())


def test_the_installed_command_tells_its_version() -> None:
    """The console command of the environment is this dispatcher, and knows the version of pyproject.toml."""
    command = Path(sys.executable).parent / "openprepay"
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    name, version = done.stdout.split()
    assert name == "openprepay"
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
