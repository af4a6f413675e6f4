"""A real Mosquitto for tests: `with Broker(tmp_path) as broker: … broker.port`.

    Broker(folder)                              plain TCP on 127.0.0.1, anyone may do anything
    Broker(folder, acl=METER_ACL, tls=True)     TLS that demands client certificates; the common name is the user name
    Broker(folder, persistence=True)            sessions and queues outlive stop() and start(), and most of a kill()

The port is chosen once and kept over restarts. `authority` issues the certificates; `client_files(name)` gives
(ca, cert, key) of a client. `log()` is what the broker has written.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from tests import needs
from tests.pki import Authority

# A meter may write what goes up from it and read what comes down to it; a head end may do both for every meter.
METER_ACL = """\
pattern write op/1/+/%u/up/#
pattern read op/1/+/%u/dn/#

user head-end
topic readwrite op/1/#
"""

_START_LIMIT_S = 20.0
_STOP_LIMIT_S = 20.0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Broker:
    """One Mosquitto process with its files in `folder`. `extra`: further lines of its configuration."""

    host = "127.0.0.1"

    def __init__(
        self,
        folder: Path,
        *,
        tls: bool = False,
        acl: str | None = None,
        persistence: bool = False,
        authority: Authority | None = None,
        server_names: tuple[str, ...] = (),
        extra: Iterable[str] = (),
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.authority = authority or (Authority(folder / "pki") if tls else None)
        self._program = needs.program("mosquitto")
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._config = folder / "mosquitto.conf"
        lines = [f"listener {self.port} {self.host}", "log_dest stderr", "log_type all", "set_tcp_nodelay true"]
        if os.geteuid() == 0:
            lines.append("user root")  # it would leave root for an account that cannot read `folder`
        if tls:
            assert self.authority is not None
            cert, key = self.authority.server(*server_names)
            lines += [
                f"cafile {self.authority.ca}",
                f"certfile {cert}",
                f"keyfile {key}",
                "require_certificate true",
                "use_identity_as_username true",
            ]
        lines.append("allow_anonymous true" if not tls else "allow_anonymous false")
        if acl is not None:
            acl_file = folder / "acl"
            acl_file.write_text(acl)
            acl_file.chmod(0o600)
            lines.append(f"acl_file {acl_file}")
        if persistence:
            lines += [
                "persistence true",
                f"persistence_location {folder}/",
                "autosave_on_changes true",
                "autosave_interval 1",
            ]
        self._config.write_text("\n".join([*lines, *extra]) + "\n")

    def __enter__(self) -> "Broker":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.stop()

    def start(self) -> None:
        """Returns when it accepts connections; RuntimeError with its log if it does not."""
        assert self._process is None, "the broker runs already"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        limit = time.monotonic() + _START_LIMIT_S
        while self._process.poll() is None and time.monotonic() < limit:
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=1):
                return
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"Mosquitto did not start:\n{self.log()}")

    def stop(self) -> None:
        """Ends it in order: with persistence it saves its state."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it without warning (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stops it in its tracks: its connections stay open and nothing is answered, until `thaw`."""
        assert self._process is not None, "the broker does not run"
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None, "the broker does not run"
        self._process.send_signal(signal.SIGCONT)

    def client_files(self, name: str) -> tuple[Path, Path, Path]:
        """Paths of CA, certificate and key of a client that this broker knows as `name`."""
        assert self.authority is not None, "the broker has no TLS"
        cert, key = self.authority.client(name)
        return self.authority.ca, cert, key

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a frozen one ends as well
        try:
            process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
