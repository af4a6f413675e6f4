"""What the signer's tests share: statements as rows of `order` make them, and a signer in a real process of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from headend.keys.keystore import KeyStore
from headend.keys.sealed import Work
from headend.keys.signer import Stated
from headend.keys.signer_client import SignerClient
from meterlink import bodies
from meterlink.orders import ASPECT_CREDIT
from tests.host.books import NOW_S, ROOT

PASSPHRASE = "four words of a test"
KEYS = KeyStore.generate().without_root()
CHANNEL = "channel:pos-1"


def credit(meter: int, total_uc: int, **others: Any) -> Stated:
    """A statement that source 1 has credited `total_uc`; `others` replace fields, `refunded_uc` goes to the body."""
    body = bodies.encode_credit(total_uc, others.pop("refunded_uc", 0), [])
    fields: dict[str, Any] = {"id": 1, "meter": meter, "aspect": ASPECT_CREDIT, "selector": 1, "account_epoch": 1}
    fields |= {"signing_epoch": 1, "version": 0, "total_uc": total_uc, "issued_s": NOW_S, "not_after_s": 0}
    fields |= {"body": body, "actor": CHANNEL, "tag_key_version": 1, "database_epoch": 1}
    return Stated(**{**fields, **others})


class SignerProcess:
    """`openprepay signer` on keys, log and socket in a folder; `with` starts it and ends it in order.

    `settings`: further ones, by name. The folder is made, with the keys in it, where it is not there.
    """

    def __init__(self, folder: Path, keys: KeyStore = KEYS, **settings: object) -> None:
        self.folder = folder
        self.log = folder / "signed"
        self.url = f"unix:{folder}/s/signer.sock"
        folder.mkdir(mode=0o700, exist_ok=True)
        if not (folder / "keys").exists():
            keys.save(folder / "keys", PASSPHRASE, work=Work(1 << 10, 8, 1))
        held = {"keystore": folder / "keys", "signer_log": self.log, "signer": self.url, **settings}
        self._environ = {f"OPENPREPAY_{name.upper()}": str(value) for name, value in held.items()}
        self.process: subprocess.Popen[str] | None = None

    def start(self, **environ: str) -> Self:
        """Returns when it answers."""
        self.process = self.run(**environ)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert self.url in said, said
        return self

    def run(self, *arguments: str, **environ: str) -> "subprocess.Popen[str]":
        """The command with these arguments, in the environment of this signer."""
        path = os.pathsep.join(str(ROOT / folder) for folder in ("protocol", "host", "tools"))
        own = {"PYTHONPATH": path, "OPENPREPAY_KEYSTORE_PASSPHRASE": PASSPHRASE, **self._environ, **environ}
        env = {name: value for name, value in os.environ.items() if not name.startswith("OPENPREPAY_")}
        command = [sys.executable, "-m", "openprepay", "signer", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=env | own, stdout=pipe, stderr=pipe, text=True)

    def kill(self) -> None:
        """As a power cut ends it."""
        assert self.process is not None
        self.process.kill()
        self._wait()

    def stop(self) -> int:
        """As an operator ends it; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self._wait()

    def client(self, **options: Any) -> SignerClient:
        return SignerClient(self.url, **options)

    def lines(self) -> list[dict[str, Any]]:
        """The lines of the log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def _wait(self) -> int:
        assert self.process is not None
        self.process.communicate(timeout=60)
        code, self.process = self.process.returncode, None
        return code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process is not None:
            self.stop()
