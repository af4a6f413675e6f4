"""tools/dev.py: the stamp that makes a second set-up quick, and sentences where it may not go on."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program as a module that believes a temporary folder to be the project, and runs nothing."""
    spec = importlib.util.spec_from_file_location("dev", ROOT / "tools" / "dev.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "requirements").mkdir()
    for name in ("pyproject.toml", "requirements/dev.txt", *(f"requirements/{one}" for one in module.TYPINGS)):
        (tmp_path / name).write_text(name, encoding="utf-8")
    folders = {
        "ROOT": ".", "VENV": ".venv", "PYTHON": ".venv/bin/python", "STAMP": ".venv/stamp.json",
        "REQUIREMENTS": "requirements", "WASM": ".venv/wasm", "WASM_LOCK": "simulator/wasm",
    }  # fmt: skip
    for name, folder in folders.items():
        monkeypatch.setattr(module, name, tmp_path / folder)
    monkeypatch.setattr(module, "TYPINGS", {name: module.VENV / Path(name).stem for name in module.TYPINGS})
    return module


@pytest.fixture
def steps(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of set-up that were taken; instead of packages from a registry each lays down one folder."""
    taken: list[str] = []

    def make_venv() -> None:
        taken.append("venv")
        dev.PYTHON.parent.mkdir(parents=True, exist_ok=True)
        dev.PYTHON.unlink(missing_ok=True)
        dev.PYTHON.symlink_to(sys.executable)

    def pip_install(*arguments: object) -> None:
        words = list(map(str, arguments))
        taken.append("project" if "--editable" in words else Path(words[-1]).name)
        package = dev.VENV / "lib" / "python3.11" / "site-packages" / f"{len(taken)}-1.0.dist-info"
        package.mkdir(parents=True, exist_ok=True)
        (package / "METADATA").touch()

    monkeypatch.setattr(dev, "make_venv", make_venv)
    monkeypatch.setattr(dev, "pip_install", pip_install)
    return taken


EVERYTHING = ["venv", "dev.txt", "typings.txt", "typings-esp32.txt", "typings-rp2.txt", "project"]


def test_a_second_set_up_does_nothing(dev: ModuleType, steps: list[str]) -> None:
    dev.ensure_environment()
    assert steps == EVERYTHING
    dev.ensure_environment()
    assert steps == EVERYTHING


@pytest.mark.parametrize("name", ["requirements/dev.txt", "requirements/typings.txt"])
def test_another_lock_rebuilds(dev: ModuleType, steps: list[str], name: str) -> None:
    dev.ensure_environment()
    (dev.ROOT / name).write_text("another", encoding="utf-8")
    dev.ensure_environment()
    assert steps == EVERYTHING * 2


def test_another_pyproject_or_package_reinstalls_the_project_alone(dev: ModuleType, steps: list[str]) -> None:
    dev.ensure_environment()
    (dev.ROOT / "pyproject.toml").write_text("another", encoding="utf-8")
    dev.ensure_environment()
    (dev.ROOT / "host" / "headend").mkdir(parents=True)
    (dev.ROOT / "host" / "headend" / "__init__.py").touch()
    dev.ensure_environment()
    assert steps == [*EVERYTHING, "project", "project"]


@pytest.mark.parametrize("broken", ["stamp", "half a stamp", "package", "interpreter"])
def test_a_broken_environment_is_rebuilt(dev: ModuleType, steps: list[str], broken: str) -> None:
    dev.ensure_environment()
    if broken == "stamp":
        dev.STAMP.unlink()
    elif broken == "half a stamp":
        dev.STAMP.write_text(json.dumps({"packages": dev.packages_fingerprint()}), encoding="utf-8")
    elif broken == "package":
        next(dev.VENV.glob("lib/*/site-packages/*/METADATA")).unlink()
    else:
        dev.PYTHON.unlink()
        dev.PYTHON.symlink_to("/nowhere/python")
    dev.ensure_environment()
    assert steps[len(EVERYTHING) :] == EVERYTHING


def test_a_set_up_that_failed_half_way_leaves_no_stamp(
    dev: ModuleType, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise dev.Failed("no network")

    with monkeypatch.context() as patch:
        patch.setattr(dev, "pip_install", fails)
        with pytest.raises(dev.Failed):
            dev.ensure_environment()
    assert not dev.STAMP.exists()


def test_missing_programs_are_named_with_the_command(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without root nothing is installed and nothing fails; a person is told what to run."""
    monkeypatch.setattr(dev, "find_program", lambda name: None if name == "mbpoll" else "/usr/bin/" + name)
    monkeypatch.setattr(dev.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(dev, "run", lambda *command, **options: pytest.fail(f"ran {command}"))
    dev.VENV.mkdir()
    dev.ensure_programs()
    assert "sudo apt-get install mbpoll\n" in capsys.readouterr().err


def test_apt_lists_are_updated_only_when_needed(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, ...]] = []
    answers = iter([100, 0, 0])
    monkeypatch.setattr(dev.os, "geteuid", lambda: 0)
    monkeypatch.setattr(dev.shutil, "which", lambda name: "/usr/bin/" + name)
    monkeypatch.setattr(dev, "run", lambda *command, **options: (ran.append(command), next(answers))[1])
    dev.install_system_packages(["mbpoll"])
    assert [words[1] for words in ran] == ["install", "update", "install"]


def test_the_wasm_build_follows_its_lock(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed once for a lock; an install that failed is tried again; without npm nothing is done."""
    ran: list[tuple[object, ...]] = []
    answers = iter([1, 0, 0])
    monkeypatch.setattr(dev, "run", lambda *command, **options: (ran.append(command), next(answers))[1])
    monkeypatch.setattr(dev, "find_program", lambda name: None)
    dev.WASM_LOCK.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        (dev.WASM_LOCK / name).write_text(name, encoding="utf-8")
    dev.ensure_wasm()
    assert ran == [] and not dev.WASM.exists()
    monkeypatch.setattr(dev, "find_program", lambda name: "/usr/bin/" + name)
    for times in (1, 2, 2):
        dev.ensure_wasm()
        assert len(ran) == times
    assert (dev.WASM / "package-lock.json").read_text(encoding="utf-8") == "package-lock.json"
    (dev.WASM_LOCK / "package-lock.json").write_text("another", encoding="utf-8")
    dev.ensure_wasm()
    dev.ensure_wasm()
    assert len(ran) == 3


def test_the_lock_of_the_wasm_build_is_exact_and_names_no_host() -> None:
    """One version, its hash, and no address: each machine's npm knows its own."""
    wanted = json.loads((ROOT / "simulator" / "wasm" / "package.json").read_text(encoding="utf-8"))["dependencies"]
    locked = json.loads((ROOT / "simulator" / "wasm" / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    for name, version in wanted.items():
        entry = locked["node_modules/" + name]
        assert entry["version"] == version and entry["integrity"].startswith("sha512-")
    assert len(locked) == len(wanted) + 1 and not any("resolved" in entry for entry in locked.values())


def test_help_lists_the_make_targets() -> None:
    """Every target of the Makefile is a command, and both helps agree."""
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = next(line for line in makefile.splitlines() if line.startswith("TARGETS :=")).split()[2:]
    assert len(targets) >= 8
    assert all(f"\n  {target} " in shown.stdout for target in targets)


def test_a_linter_that_failed_says_why_at_the_end_of_everything(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """All of them run, and so does pytest; what is far above by then is said again."""
    for program, does in {
        "ruff": 'test $1 = format || { echo "$1: line too long"; exit 1; }',
        "python": "echo $2",
    }.items():
        path = dev.VENV / "bin" / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{does}\n")
        path.chmod(0o755)
    for step in ("ensure_environment", "ensure_programs", "ensure_wasm"):
        monkeypatch.setattr(dev, step, lambda: None)
    assert dev.test([]) == 1
    told = capfd.readouterr()
    assert told.err.count("mypy (RP2):\nmypy\n") == 1
    assert told.out == "pytest\n"
    assert told.err.endswith("Failed: ruff check.\nruff check:\ncheck: line too long\n")


def test_an_unknown_command_is_refused(dev: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main(["deploy"]) == 2
    assert "no command 'deploy'" in capsys.readouterr().err


def test_locks_are_exact_and_hashed() -> None:
    """Every requirement of every lock has one version and at least one SHA-256, and no lock names an address."""
    for file in (ROOT / "requirements").glob("*.txt"):
        text = file.read_text(encoding="utf-8")
        assert "://" not in text
        entries = text.replace("\\\n", " ").splitlines()
        assert entries
        for entry in entries:
            assert "==" in entry.split()[0] and "--hash=sha256:" in entry, entry
