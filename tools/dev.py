"""Everything that a developer or a build machine runs, behind the thin Makefile: `python3 tools/dev.py help`.

Needs nothing but the standard library of Python 3.11 and pip. All that it makes lies in .venv/, build/ and var/demo/,
which `clean` removes. Set-up is stamped: it is redone when the locks, pyproject.toml, the Python or the packages
here changed, or when something of what it installed has gone; otherwise a second run starts at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "openprepay-setup.json"
# lock file -> where its MicroPython stubs go: apart, since they carry the names of standard modules and of each other
TYPINGS = {
    "typings.txt": VENV / "typings",
    "typings-esp32.txt": VENV / "typings-esp32",
    "typings-rp2.txt": VENV / "typings-rp2",
}
WASM = VENV / "wasm"  # MicroPython with words of 32 bits, from npm
WASM_LOCK = ROOT / "simulator" / "wasm"
REQUIREMENTS = ROOT / "requirements"
MINIMUM = (3, 11)
# What .venv is made with; run by .venv's own Python, this is the one behind it, so that it never removes itself.
BASE_PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))

# program -> the Debian package that brings it. The tests use them as foreign peers; the demo does without.
PROGRAMS = {
    "mosquitto": "mosquitto",
    "mosquitto_pub": "mosquitto-clients",
    "mbpoll": "mbpoll",
    "softhsm2-util": "softhsm2",
    "node": "nodejs",
    "npm": "npm",
    "systemd-analyze": "systemd",
    "postgres": "postgresql",
    "strace": "strace",
}
# Where Debian puts mosquitto and PostgreSQL's server; not on everyone's PATH.
SYSTEM_FOLDERS = (
    *("/usr/local/sbin", "/usr/sbin", "/sbin"),
    *sorted(str(folder) for folder in Path("/usr/lib/postgresql").glob("*/bin")),
)

# lock file -> what `lock` resolves into it: extras of pyproject.toml, or requirements in a file of that name with .in
LOCKS = {
    "runtime.txt": ["console", "hsm", "postgresql"],
    "dev.txt": ["dev"],
    **{name: [] for name in (*TYPINGS, "lock.txt")},
}


def main(argv: list[str]) -> int:
    """Run one command; the exit code is 0 only when all of it went well."""
    name, arguments = (argv[0], argv[1:]) if argv else ("help", [])
    if name in {"-h", "--help"}:
        name = "help"
    if name not in COMMANDS:
        say(f"dev.py has no command {name!r}; expected one of: {', '.join(COMMANDS)}.")
        return 2
    if sys.version_info < MINIMUM:
        wanted = ".".join(map(str, MINIMUM))
        say(f"openprepay needs Python {wanted} or newer; this is {platform.python_version()} ({sys.executable}).")
        say("Name another one: make PYTHON=python3.12 ...")
        return 2
    os.chdir(ROOT)
    # Images of containers forbid it: then each of the thousand processes of a test run compiles all that it loads anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        return COMMANDS[name](arguments)
    except Failed as failed:
        say(str(failed))
        return failed.code
    except KeyboardInterrupt:
        return 130


class Failed(Exception):
    """Something that a person has to know about; the text is a whole sentence."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def run(*command: str | Path, check: bool = True, env: dict[str, str] | None = None, quiet: bool = False) -> int:
    """Run a command in the project's folder and return its exit code; with `check`, a failure ends dev.py."""
    words = [str(word) for word in command]
    if not quiet:
        say("+ " + shlex.join(words))
    code = subprocess.run(words, cwd=ROOT, env={**os.environ, **(env or {})}, check=False).returncode
    if code and check:
        raise Failed(f"This failed with exit code {code}: {shlex.join(words)}", code)
    return code


# --- set-up -----------------------------------------------------------------------------------------------------------


def setup(arguments: list[str]) -> int:
    """make .venv with the locked packages; install system programs where allowed"""
    ensure_environment()
    ensure_programs(try_again=True)
    ensure_wasm()
    say(f"Ready: {PYTHON.relative_to(ROOT)}")
    return 0


def ensure_environment() -> None:
    """Bring .venv to what the locks say, unless it is already. Safe against another set-up at the same time."""
    with one_at_a_time():
        wanted = {"packages": packages_fingerprint(), "project": project_fingerprint()}
        recorded = read_stamp()
        whole = environment_is_whole(recorded)
        if whole and all(recorded[part] == wanted[part] for part in wanted):
            return
        started = time.monotonic()
        STAMP.unlink(missing_ok=True)
        if not whole or recorded["packages"] != wanted["packages"]:
            make_venv()
            pip_install("--require-hashes", "-r", REQUIREMENTS / "dev.txt")
            for name, folder in TYPINGS.items():
                pip_install("--require-hashes", "--no-deps", "--target", folder, "-r", REQUIREMENTS / name)
        pip_install("--no-deps", "--no-build-isolation", "--editable", ROOT)
        STAMP.write_text(json.dumps({**wanted, "installed": installed()}, indent=1), encoding="utf-8")
        say(f"Set-up took {time.monotonic() - started:.0f} s.")


@contextlib.contextmanager
def one_at_a_time():
    """Hold a lock file while the environment is looked at or changed."""
    folder = ROOT / "build"
    folder.mkdir(exist_ok=True)
    with (folder / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def packages_fingerprint() -> str:
    """A digest of what decides the installed packages: the Python, the place, the locks."""
    digest = hashlib.sha256(f"{sys.version}\n{BASE_PYTHON}\n{ROOT}\n".encode())
    for name in ("dev.txt", *TYPINGS):
        digest.update((REQUIREMENTS / name).read_bytes())
    return digest.hexdigest()


def project_fingerprint() -> str:
    """A digest of what decides how the project itself is installed: pyproject.toml and which packages there are."""
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes())
    for package in sorted(ROOT.glob("*/*/__init__.py")):
        digest.update(str(package.relative_to(ROOT)).encode())
    return digest.hexdigest()


def read_stamp() -> dict:
    """What the last set-up that ended well left behind; empty when there was none."""
    try:
        return json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def environment_is_whole(recorded: dict) -> bool:
    """Whether there was a set-up, all that it installed is still listed, and the interpreter starts."""
    if not {"packages", "project", "installed"} <= set(recorded) or not set(recorded["installed"]) <= set(installed()):
        return False
    try:
        return subprocess.run([PYTHON, "-c", ""], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def installed() -> list[str]:
    """Names and versions of what is installed in .venv, as its folders tell: quick, and no import is needed."""
    folders = [*VENV.glob("lib/python*/site-packages/*.dist-info"), *VENV.glob("typings*/*.dist-info")]
    return sorted({folder.name.removesuffix(".dist-info") for folder in folders if any(folder.iterdir())})


def make_venv() -> None:
    """Make an empty .venv in place of whatever is there.

    Debian splits ensurepip off into python3-venv. Without it the environment is made without pip, and the pip of the
    system installs into it (`pip --python`).
    """
    has_ensurepip = importlib.util.find_spec("ensurepip") is not None
    if not has_ensurepip and importlib.util.find_spec("pip") is None:
        install_system_packages([f"python{sys.version_info.major}.{sys.version_info.minor}-venv"])
        has_ensurepip = True
    if VENV.exists():
        shutil.rmtree(VENV)
    run(BASE_PYTHON, "-m", "venv", *([] if has_ensurepip else ["--without-pip"]), VENV)


def pip_install(*arguments: str | Path) -> None:
    options = ["--disable-pip-version-check", "--no-input", "-qq"]
    if (VENV / "bin" / "pip").exists():
        run(PYTHON, "-m", "pip", "install", *options, *arguments)
    else:
        run(BASE_PYTHON, "-m", "pip", "--python", PYTHON, "install", *options, *arguments)


def ensure_programs(try_again: bool = False) -> None:
    """Install the system programs that are missing where this user may, or say what a person has to do.

    An attempt that failed is remembered until `make setup` is run by hand, so that it costs time once.
    """
    missing = sorted({package for program, package in PROGRAMS.items() if find_program(program) is None})
    if not missing:
        return
    tried = VENV / "openprepay-apt-failed"
    if try_again or not tried.exists():
        try:
            install_system_packages(missing)
            return
        except Failed as failed:
            tried.write_text(str(failed), encoding="utf-8")
    say(f"Not installed: {', '.join(missing)}. Tests that need them are skipped, and fail under CI. A person with root")
    say(f"installs them with: sudo apt-get install {' '.join(missing)}")


def ensure_wasm() -> None:
    """Bring MicroPython's WebAssembly build to what its lock says, unless it is already, or say what is missing."""
    locks = sorted(WASM_LOCK.glob("package*.json"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in locks)).hexdigest()
    stamp = WASM / "lock.sha256"
    if find_program("npm") is None or (stamp.exists() and stamp.read_text(encoding="utf-8") == digest):
        return
    shutil.rmtree(WASM, ignore_errors=True)
    WASM.mkdir(parents=True)
    for path in locks:
        shutil.copy(path, WASM)
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    if run("npm", "ci", *options, "--prefix", WASM, check=False):
        say("Not installed: MicroPython for WebAssembly. Tests that need it are skipped, and fail under CI.")
    else:
        stamp.write_text(digest, encoding="utf-8")


def find_program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS]))


def install_system_packages(packages: list[str]) -> None:
    """apt-get install, with an update of the lists only when the first try does not know the packages."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Failed(f"Set-up needs the system packages {' '.join(packages)} and may not install them.")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", *packages]
    if run(*install, check=False, env=env):
        run("apt-get", "update", "--quiet=2", check=False)
        run(*install, env=env)


# --- checks -----------------------------------------------------------------------------------------------------------


def test(arguments: list[str]) -> int:
    """set-up, lint and all tests (ARGS="-k name" goes to pytest)"""
    ensure_environment()
    ensure_programs()
    ensure_wasm()
    failed = lint_failures(compile_too=True)
    # One more than a small machine has processors: a quarter of the time a test waits, for a child or for a line.
    processes = ["-n", "3", "--dist", "worksteal"] if not {"-n", "--pdb"} & set(arguments) else []
    if run(PYTHON, "-m", "pytest", *processes, *arguments, check=False):
        failed["pytest"] = ""  # what it has to say stands right above
    return report(failed)


def lint(arguments: list[str]) -> int:
    """ruff (rules and format) and mypy, on CPython's and on MicroPython's terms (ARGS=--fix writes what it can)"""
    ensure_environment()
    if "--fix" in arguments:
        run(VENV / "bin" / "ruff", "check", "--quiet", "--fix-only", ".", check=False)
        run(VENV / "bin" / "ruff", "format", "--quiet", ".", check=False)
    return report(dict.fromkeys(lint_failures(), ""))


def lint_failures(compile_too: bool = False) -> dict[str, str]:
    """Run every linter, two at a time and the longest first, also after one has failed: what those said that did.

    `compile_too`: the tests as well, where nothing of them is compiled yet: pytest changes each `assert` for that, and
    every one of its processes would do so for all files.
    """
    checks = {
        "mypy": [PYTHON, "-m", "mypy"],
        "ruff check": [VENV / "bin" / "ruff", "check", "--quiet", "."],
        "ruff format": [VENV / "bin" / "ruff", "format", "--quiet", "--check", "."],
        "mypy (MicroPython)": [PYTHON, "-m", "mypy", "--config-file", "firmware/mypy.ini"],
        "mypy (ESP32)": [PYTHON, "-m", "mypy", "--config-file", "firmware/mypy-esp32.ini"],
        "mypy (RP2)": [PYTHON, "-m", "mypy", "--config-file", "firmware/mypy-rp2.ini"],
    }
    failed = {}
    with ThreadPoolExecutor(2) as pool:
        ends = {name: pool.submit(run_and_hear, *command) for name, command in checks.items()}
        if compile_too and not (ROOT / "tests" / "__pycache__").exists():
            pool.submit(run_and_hear, PYTHON, "-m", "pytest", "--collect-only", "-qq")
        for name, end in ends.items():
            code, said = end.result()
            if said:
                say(f"{name}:\n{said}")
            if code:
                failed[name] = said or f"It ended with exit code {code} and said nothing."
    return failed


def run_and_hear(*command: str | Path) -> tuple[int, str]:
    """Run a command beside others: its exit code and what it said."""
    words = [str(word) for word in command]
    say("+ " + shlex.join(words))
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout.strip()


def report(failed: Mapping[str, str]) -> int:
    """The end of everything, which is what people see: what failed, and what it said if that is far above."""
    if failed:
        say(f"Failed: {', '.join(failed)}.")
    for name, said in failed.items():
        if said:
            say(f"{name}:\n{said}")
    return 1 if failed else 0


# --- programs ---------------------------------------------------------------------------------------------------------


def become_openprepay(*arguments: str) -> int:
    """Turn this process into `openprepay ...`, so that Ctrl-C reaches it alone and it can end in its own order."""
    ensure_environment()
    words = [str(VENV / "bin" / "openprepay"), *arguments]
    say("+ " + shlex.join(words))
    os.execv(words[0], words)


def demo(arguments: list[str]) -> int:
    """the whole loop on real parts; exits 0 only if every step was confirmed"""
    return become_openprepay("demo", *arguments)


def bench(arguments: list[str]) -> int:
    """benchmarks, one JSON line a figure"""
    ensure_environment()
    ensure_wasm()
    return become_openprepay("bench", *arguments)


A_DAY_S = 86_400
MANY_ORDERS = "tests/system/test_many_orders.py"
SIMULATED = "tests/system/test_simcheck.py"
KILLS = ("tests/system/test_kill_cycles.py", "tests/system/test_kill_serve.py")
RESTORES = "tests/system/test_restores.py"
WORKERS = "tests/system/test_workers.py"
LINE_FUZZ = "tests/firmware/test_line_fuzz.py"
INPUTS = "350000"  # to each of its three servers
FLEET = "tests/host/test_fleet_day.py"
LIVES = "tests/firmware/test_life.py"
FUZZ = "tests/firmware/test_fuzz.py"
WIDE = "tests/test_wasm.py"
# A year of life in each mode on CPython, a month on MicroPython, a week on words of 32 bits, and a million orders,
# tokens, pieces and images of flash: hours, once, before the fresh seeds.
YEAR = {
    "OPENPREPAY_LIFE_DAYS": "365",
    "OPENPREPAY_LIFE_DAYS_UPY": "30",
    "OPENPREPAY_LIFE_HOURS_WASM": "168",
    "OPENPREPAY_FUZZ": "500",
}


def soak(arguments: list[str]) -> int:
    """kills, a year of life, then fresh seeds until one fails (ARGS="--minutes 10 --from 1000"; --no-year: these)"""
    year = "--no-year" not in arguments
    arguments = [word for word in arguments if word != "--no-year"]
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    seed = int(options.get("--from", str(int(time.time()))))
    ensure_environment()
    if year:
        kill(seed)
        strike(seed)
        other_database()
        simulate(seed)
        fleet(seed)
        wide()
        live(seed, YEAR)
    ends = time.monotonic() + 60 * float(options.get("--minutes", "10"))
    while time.monotonic() < ends:
        live(seed, {})
        if run(VENV / "bin" / "openprepay", "sim", "check", "--long", "--seed", str(seed), check=False):
            raise Failed(f"Seed {seed} failed; replay it with: .venv/bin/openprepay sim check --long --seed {seed}")
        if long_tests("-q", "-n", "2", RESTORES, env={"OPENPREPAY_SEED": str(seed)}):
            raise Failed(f"Restores failed from seed {seed} on; replay with: OPENPREPAY_SEED={seed} pytest {RESTORES}")
        inputs = {"OPENPREPAY_SEED": str(seed), "OPENPREPAY_INPUTS": INPUTS}
        if long_tests("-q", "-n", "2", LINE_FUZZ, env=inputs):
            settings = " ".join(f"{name}={value}" for name, value in inputs.items())
            raise Failed(f"The lines failed at seed {seed}; replay with: {settings} pytest {LINE_FUZZ}")
        seed += 8
    return 0


def long_tests(*arguments: str | Path, env: dict[str, str]) -> int:
    """pytest for tests that take hours at this scale; its exit status."""
    return run(PYTHON, "-m", "pytest", "-o", f"faulthandler_timeout={A_DAY_S}", *arguments, env=env, check=False)


def strike(seed: int) -> None:
    """Hundreds of times something bad happens to one of three workers."""
    settings = {"OPENPREPAY_SEED": str(seed), "OPENPREPAY_STRIKES": "300"}
    if long_tests("-q", WORKERS, env=settings):
        raise Failed(f"The workers failed; again with: OPENPREPAY_SEED={seed} OPENPREPAY_STRIKES=300 pytest {WORKERS}")


def kill(seed: int) -> None:
    """Head end, signer and database, killed at random instants."""
    chosen = {"OPENPREPAY_SEED": str(seed), "OPENPREPAY_KILLS": "500"}
    if long_tests("-q", "-n", "2", *KILLS, env=chosen):
        words = " ".join([*(f"{name}={value}" for name, value in chosen.items()), ".venv/bin/python -m pytest", *KILLS])
        raise Failed(f"A kill was not survived; try its instants again with: {words}")


def simulate(seed: int) -> None:
    """The whole system on 5 000 fresh seeds, and 100 000 orders for some hundred meters."""
    chosen = {"OPENPREPAY_SEED": str(seed), "OPENPREPAY_SIM_RUNS": "5000"}
    if long_tests("-q", "-n", "2", SIMULATED, "-k", "holds", env=chosen):
        raise Failed(f"A run failed; its seed is in the test's name. Replay with pytest {SIMULATED}, from {seed} on")
    chosen = {"OPENPREPAY_SEED": str(seed), "OPENPREPAY_ORDERS": "100000"}
    if long_tests("-q", "-n", "2", MANY_ORDERS, env=chosen):
        raise Failed(
            f"100 000 orders failed; replay with: OPENPREPAY_SEED={seed} OPENPREPAY_ORDERS=100000 {MANY_ORDERS}"
        )


def fleet(seed: int) -> None:
    """A day of 10 000 meters on a carrier that loses, on both databases."""
    chosen = {"OPENPREPAY_SEED": str(seed), "OPENPREPAY_FLEET": "10000"}
    if long_tests("-q", FLEET, "-k", "test_a_day", env=chosen):
        words = " ".join(f"{name}={value}" for name, value in chosen.items())
        raise Failed(f"A day of a fleet failed; replay it with: {words} .venv/bin/python -m pytest {FLEET}")


def other_database() -> None:
    """Every test of the head end that names no database, on PostgreSQL."""
    chosen = {"OPENPREPAY_TEST_DATABASE": "postgresql", "API_EXAMPLES": "20"}
    if long_tests("-q", "-n", "2", "tests/host", env=chosen):
        raise Failed("Failed; replay with: OPENPREPAY_TEST_DATABASE=postgresql .venv/bin/python -m pytest tests/host")


def wide() -> None:
    """What runs on both interpreters, on words of 32 bits too, the long ones with it."""
    chosen = {"OPENPREPAY_WIDE": "all"}
    if long_tests("-q", "-n", "2", WIDE, env=chosen):
        raise Failed(f"Failed; replay with: OPENPREPAY_WIDE=all .venv/bin/python -m pytest {WIDE}")


def live(seed: int, scale: dict[str, str]) -> None:
    """Lives of meters from a seed, and what may come in, each told as it ends."""
    chosen = {"OPENPREPAY_SEED": str(seed % 1_000_000), **scale}
    options = ["-v", "-n", "2", "--dist", "worksteal"]
    if long_tests(*options, LIVES, FUZZ, env=chosen):
        words = " ".join(f"{name}={value}" for name, value in chosen.items())
        raise Failed(f"A life failed; replay it with: {words} .venv/bin/python -m pytest {LIVES} {FUZZ}")


# --- upkeep -----------------------------------------------------------------------------------------------------------


def docs(arguments: list[str]) -> int:
    """write the generated parts of docs/ anew (tools/gen_*.py; --check only compares)"""
    ensure_environment()
    generators = sorted(ROOT.glob("tools/gen_*.py"))
    failed = [path.name for path in generators if run(PYTHON, path, *arguments, check=False)]
    return report(dict.fromkeys(failed, ""))


def lock(arguments: list[str]) -> int:
    """resolve pyproject.toml into requirements/*.txt with versions and hashes (--upgrade takes newer ones)"""
    ensure_environment()
    tool = ROOT / "build" / "lock-tool"
    pip_install("--require-hashes", "--target", tool, "--upgrade", "-r", REQUIREMENTS / "lock.txt")
    for name, extras in LOCKS.items():
        source = [f for extra in extras for f in ("--extra", extra)] + ["pyproject.toml"]
        if not extras:
            source = [str((REQUIREMENTS / name).with_suffix(".in"))]
        run(
            *(tool / "bin" / "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
            *("--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
            *("--output-file", REQUIREMENTS / name, *arguments, *source),
        )
    return 0


def clean(arguments: list[str]) -> int:
    """remove what can be made again: .venv, build, the demo's files, caches; never a database in var/"""
    for name in (".venv", "build", "var/demo", ".hypothesis", ".pytest_cache", ".mypy_cache", ".ruff_cache"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    for pattern in ("*/**/__pycache__", "*/*.egg-info", "*.egg-info"):
        for folder in list(ROOT.glob(pattern)):
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def help_(arguments: list[str]) -> int:
    """this list"""
    print("make TARGET, or python3 tools/dev.py TARGET:\n")
    for name, function in COMMANDS.items():
        print(f"  {name:<6} {function.__doc__}")
    return 0


COMMANDS = {
    "help": help_,
    "setup": setup,
    "test": test,
    "demo": demo,
    "lint": lint,
    "bench": bench,
    "soak": soak,
    "docs": docs,
    "lock": lock,
    "clean": clean,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
