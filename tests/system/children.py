"""`kill_children`, which forks head ends, signers and workers, spoken with: `with Children(folder, …) as children`."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from headend.keys.keystore import KeyStore
from headend.keys.sealed import Work
from tests.host.books import ROOT
from tests.system import kill_children

PASSPHRASE = "four words of a test"


class Children:
    """`pids[who]`: the process that is `who` now. What it says goes to `folder/who.log`; its keys are in `folder/keys`.

    Whatever does not come within `give_up_s` fails the test.
    """

    def __init__(self, folder: Path, keys: KeyStore, give_up_s: float) -> None:
        self.pids: dict[str, int] = {}
        self._folder = folder
        self._give_up_s = give_up_s
        self._changed = threading.Condition()
        self._ready: set[int] = set()
        self._codes: dict[int, int] = {}
        self._forked: list[int] = []
        keys.save(folder / "keys", PASSPHRASE, work=Work(1 << 10, 8, 1))

    def __enter__(self) -> Self:
        path = os.pathsep.join(str(ROOT / part) for part in ("protocol", "host", ""))
        self._parent = subprocess.Popen(
            [sys.executable, kill_children.__file__],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for pid in self.pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self._parent.stdin is not None and self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.wait(30)
        self._parent.stdout.close()

    def start(self, who: str, kind: str, settings: dict[str, Any]) -> None:
        """`kind`: see `kill_children`. Does not wait until it answers."""
        keys, log = str(self._folder / "keys"), str(self._folder / f"{who}.log")
        self._ask(start=kind, settings=settings, keys=keys, passphrase=PASSPHRASE, log=log)
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self._forked), self._give_up_s), "nothing was forked"
            self.pids[who] = self._forked.pop()

    def until_ready(self, who: str) -> None:
        with self._changed:
            pid = self.pids[who]
            ready = self._changed.wait_for(lambda: pid in self._ready, self._give_up_s)
        assert ready, f"{who} was not ready in time:\n{self.told(who)}"

    def is_ready(self, who: str) -> bool:
        with self._changed:
            return self.pids[who] in self._ready

    def reaped(self, who: str) -> int:
        """The exit code, once it has ended."""
        pid = self.pids[who]
        self._ask(reap=pid)
        with self._changed:
            assert self._changed.wait_for(lambda: pid in self._codes, self._give_up_s), f"{who} does not end"
            return self._codes.pop(pid)

    def told(self, who: str, length: int = 4_000) -> str:
        """The end of what it said."""
        path = self._folder / f"{who}.log"
        return f"--- {who}\n" + (path.read_text()[-length:] if path.exists() else "")

    def _ask(self, **wanted: Any) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.write(json.dumps(wanted) + "\n")
        self._parent.stdin.flush()

    def _listen(self) -> None:
        assert self._parent.stdout is not None
        for line in self._parent.stdout:
            word, *numbers = line.split()
            with self._changed:
                if word == "forked":
                    self._forked.append(int(numbers[0]))
                elif word == "ready":
                    self._ready.add(int(numbers[0]))
                else:
                    self._codes[int(numbers[0])] = int(numbers[1])
                self._changed.notify_all()
