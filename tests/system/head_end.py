"""`openprepay serve` as a process of its own, set up from nothing by the commands that a person types."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.brokers import free_port

PASSPHRASE = "four words of a test"
START_S = 120


class HeadEnd:
    """A head end in `folder`: keys and settings are there at once, `start` runs it. `token` holds every scope.

    `database`: the URL of its database, where that is none in the folder.
    """

    def __init__(self, folder: Path, database: str = "") -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "openprepay.toml").write_text(
            f'database = "{database or f"sqlite:///{folder}/data/op.sqlite"}"\n'
            f'keystore = "{folder}/op.keys"\n'
            f'signer_log = "{folder}/op.signed"\n'
            f'heads_folder = "{folder}/heads"\n'
            f"http_port = {self.port}\n"
        )
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OPENPREPAY_")},
            "OPENPREPAY_CONFIG": str(folder / "openprepay.toml"),
            "OPENPREPAY_KEYSTORE_PASSPHRASE": PASSPHRASE,
        }
        self._process: subprocess.Popen[str] | None = None
        if database:
            self.token = self.set_up()
            return
        files, self.token = _set_up()
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o600)

    def set_up(self) -> str:
        """What a person types first; the token."""
        self.run("keys", "init", "--bench", "--root-key", str(self.folder / "root.keys"))
        made = self.run("admin", "channel", "add", "all", "--scopes", "payments,orders,read,admin", "--max", "500.00")
        return made.strip()

    def command(self, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """Run `openprepay …` to its end."""
        words = [sys.executable, "-m", "openprepay", *arguments]
        env = {**self.environ, **environ}
        return subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=START_S)

    def run(self, *arguments: str) -> str:
        """The same, which has to go well; what it printed."""
        done = self.command(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def launch(self, *arguments: str) -> None:
        """Begins, and does not wait until it answers."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "openprepay", "serve", *arguments],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "serve.log").open("a"),
            text=True,
        )

    def start(self, *arguments: str) -> str:
        """Returns its first line, printed when it answers."""
        self.launch(*arguments)
        assert self._process is not None and self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.log()
        return line

    def log(self) -> str:
        return (self.folder / "serve.log").read_text()

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait; the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(START_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
        return code

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """Status and JSON of an API request."""
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.load(refusal)
        except urllib.error.URLError as error:
            code = self._process.poll() if self._process else "not started"
            raise AssertionError(f"{method} {path}: {error.reason}; exit code {code}; log:\n{self.log()}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self.end(signal.SIGKILL)


@cache
def _set_up() -> tuple[dict[str, bytes], str]:
    """The files of a head end that was set up, and its token: once for all tests of a process."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        head_end = HeadEnd(folder, f"sqlite:///{folder}/data/op.sqlite")
        paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".toml"]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}, head_end.token


TARIFF = {"prices": ["0.52"]}
LIMITS = {"alarm": "10", "alarm2": "5", "trip_delay_s": 0, "dwell_s": 0, "spread_s": 0, "stable_s": 0}


def meter(number: int, address: str = "", carrier: str = "mqtt") -> dict[str, Any]:
    """The body that adds a meter."""
    return {"meter": str(number), "carrier": carrier, "address": address, "tariff": TARIFF, "limits": LIMITS}
