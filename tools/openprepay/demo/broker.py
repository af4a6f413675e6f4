"""An MQTT broker for one run: Mosquitto where it is installed, else amqtt from the simulator extra.

Loopback only, an ephemeral port, nothing kept. The broker is a process of its own that ends when its standard input
does, so it never outlives the program that started it, however that ends.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
MOSQUITTO = "mosquitto"
AMQTT = "amqtt"
KINDS = (MOSQUITTO, AMQTT)

START_LIMIT_S = 30.0
STOP_LIMIT_S = 10.0
_TRIES = 3  # another program may take the port between its choice and its use

# Debian puts mosquitto where not everyone's PATH leads.
_PROGRAM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])

# Runs a program until standard input ends, then ends it in order.
_GUARD = '"$@" <&- & child=$!; while read -r line; do :; done; kill $child 2>/dev/null; wait $child'


class BrokerError(RuntimeError):
    """The broker did not start; the text holds its last words."""


def installed() -> str:
    """The better kind of broker that this machine has."""
    return MOSQUITTO if _mosquitto() else AMQTT


class Broker:
    """One broker with its files in `folder`. kind: MOSQUITTO or AMQTT, the better one that is there by default."""

    def __init__(self, folder: Path, kind: str = "") -> None:
        self.folder = folder
        self.kind = kind or installed()
        self.port = 0
        if self.kind not in KINDS:
            raise ValueError(f"kind: {kind!r} given, one of {', '.join(KINDS)} expected")
        self._log = folder / f"{self.kind}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Returns when it takes connections; BrokerError where it does not in `START_LIMIT_S`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(_TRIES):
            self.port = free_port()
            if self._try():
                return
        raise BrokerError(f"The broker {self.kind} did not start: {self.log()[-2000:]}")

    def stop(self) -> None:
        """End it; returns when it has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self) -> str:
        """What it printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _try(self) -> bool:
        with self._log.open("wb") as log:
            command = ["/bin/sh", "-c", _GUARD, "broker", *self._command()]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        limit = time.monotonic() + START_LIMIT_S
        while time.monotonic() < limit and self._process.poll() is None and not self._port_was_taken():
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
                return True
            time.sleep(0.02)
        self.stop()
        return False

    def _port_was_taken(self) -> bool:
        return "Address already in use" in self.log() or "address already in use" in self.log()

    def _command(self) -> list[str]:
        if self.kind == AMQTT:
            return [sys.executable, "-m", "openprepay.demo.embedded_broker", str(self.port)]
        program = _mosquitto()
        if program is None:
            raise BrokerError("Mosquitto is not installed; amqtt can take its place.")
        config = self.folder / "mosquitto.conf"
        lines = [f"listener {self.port} {HOST}", "allow_anonymous true", "set_tcp_nodelay true", "log_dest stderr"]
        if os.geteuid() == 0:
            lines.append("user root")  # it would leave root for an account that cannot read `folder`
        config.write_text("\n".join(lines) + "\n")
        return [program, "-c", str(config)]


def _mosquitto() -> str | None:
    return shutil.which(MOSQUITTO, path=_PROGRAM_PATH)


def free_port() -> int:
    """A port of the loopback interface that nobody listened on a moment ago."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port
