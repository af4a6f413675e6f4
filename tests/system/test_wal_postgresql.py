"""`openprepay serve` on PostgreSQL: whatever it answered, acknowledged to the broker or sent to a meter, outlives a
power cut of both at that instant, by the server's own recovery. A server that commits before it syncs is found out.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, NullPool, create_engine

from tests import needs
from tests.brokers import Broker
from tests.postgres import Server
from tests.system.disk_model import Disk
from tests.system.head_end import HeadEnd, meter
from tests.system.sync_proof import Said, judge
from tests.system.wal_rig import CARELESS, LOG, NUMBERS, PAYMENTS, live, until

EVERY = 12  # so many promises are passed over for each that power is cut at: a recovery takes its time


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.remove()


class Recovery:
    """Starts a server on an image, looks, and ends it."""

    def __init__(self, url: str) -> None:
        self._name = url.partition("?")[0]
        self.tried = 0

    def look(self, image: Path, fn: Callable[[Connection], list[str]]) -> list[str]:
        self.tried += 1
        data, log = image / "data", image / "log"
        data.chmod(0o700)
        process = subprocess.Popen(
            shlex.split(postgres(data, image)), stdout=log.open("w"), stderr=subprocess.STDOUT, cwd=image
        )
        try:
            until(lambda: process.poll() is not None or is_ready(image), "recovery")
            if process.poll() is not None:
                return [f"the database is lost: {log.read_text()}"]
            with create_engine(f"{self._name}?host={image}", poolclass=NullPool).connect() as conn:
                return fn(conn)
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(60)


def postgres(data: Path, sockets: Path) -> str:
    """A command line that becomes a server, not as root."""
    user = ""
    if os.geteuid() == 0:
        user = "--reuid nobody --regid nogroup --clear-groups"
        subprocess.run(["chown", "-R", "nobody", data], check=True)
        shutil.chown(sockets, "nobody")
    program = needs.postgresql() / "postgres"
    return f"setpriv --pdeathsig QUIT {user} {program} -D {data} -c unix_socket_directories={sockets}"


def is_ready(sockets: Path) -> bool:
    program = needs.postgresql() / "pg_isready"
    return subprocess.run([program, "-q", "-h", sockets, "-d", "postgres"], check=False).returncode == 0


def prove(server: Server, *command: str) -> tuple[Said, list[str], int]:
    url, folder = server.database(), server.folder / "head"
    folder.mkdir()
    with Broker(folder / "broker") as broker, HeadEnd(folder, url) as head_end:
        head_end.environ["OPENPREPAY_MQTT_URL"] = f"mqtt://127.0.0.1:{broker.port}"
        head_end.start()
        for number in NUMBERS:
            assert head_end.ask("POST", "/meters", meter(number))[0] == 201
        assert head_end.end(signal.SIGTERM) == 0
        server.stop()
        root = str(server.folder)
        disk = Disk(server.folder, lambda path: followed(path.removeprefix(root)), server.data)
        ready = f"{needs.postgresql() / 'pg_isready'} -q -h {server.folder} -d postgres"
        started = f"{postgres(server.data, server.folder)} >> {folder}/postgres.log 2>&1 &"
        script = f"{started} until {ready}; do sleep 0.1; done; exec {shlex.join(command)} serve"
        calls = live(head_end, broker, ["sh", "-c", script])
        until(lambda: not (server.data / "postmaster.pid").exists() or gone(server.data), "end of the server")
    recovery = Recovery(url)
    said, wrong = judge(calls, disk, recovery.look, f"head/{LOG}", server.folder / "cuts", every=EVERY)
    return said, wrong, recovery.tried


def followed(path: str) -> bool:
    return (path.startswith("/data/") and not path.endswith("postmaster.pid")) or LOG in path


def gone(data: Path) -> bool:
    pid = int((data / "postmaster.pid").read_text().split()[0])
    time.sleep(0.05)
    return not Path(f"/proc/{pid}").exists()


def test_what_was_said_outlives_a_power_cut(server: Server) -> None:
    said, wrong, tried = prove(server, sys.executable, "-m", "openprepay")
    assert wrong == []
    assert tried >= 4, "databases were recovered"
    assert len(said.payments) >= PAYMENTS and said.acknowledged >= PAYMENTS // 2 and said.orders


def test_a_server_that_answers_a_commit_before_it_syncs_is_found_out(server: Server) -> None:
    """`synchronous_commit=off`, which the head end refuses to work with."""
    _, wrong, _ = prove(server, sys.executable, CARELESS, "postgresql")
    assert any("was answered and is lost" in one for one in wrong)
