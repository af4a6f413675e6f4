"""`openprepay serve` as a process of its own, with meters and with callers that have signed in, for benchmarks."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, update

from headend.access import people, sessions
from headend.clock import SystemClock
from headend.fleet.meters import MeterRecord, add_meter
from headend.ledger import channels
from headend.store import open_store
from headend.store.schema_access import login
from metersim.workbench import DEFAULT_LIMITS, DEFAULT_TARIFF

START_S = 120
_ACTOR = "system:bench"
PASSPHRASE = "four words of a benchmark"


class Served:
    """`host`, `port`: where it answers · `tokens`: of channels and of cashiers in a session, who may bring payments."""

    def __init__(self, folder: Path, database: str) -> None:
        self.host, self.port = "127.0.0.1", _free_port()
        self.database = database
        self.tokens: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self._log = folder / "log"
        files = {"keystore": "keys", "signer_log": "signed", "access_key": "access", "persons_key": "persons"}
        lines = [f'database = "{database}"', 'heads_folder = ""', f"http_port = {self.port}"]
        lines += [f'{name} = "{folder / file}"' for name, file in files.items()]
        (folder / "openprepay.toml").write_text("\n".join(lines) + "\n")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENPREPAY_")}
        self.environ = {**kept, "OPENPREPAY_CONFIG": str(folder / "openprepay.toml")}
        self.environ["OPENPREPAY_KEYSTORE_PASSPHRASE"] = PASSPHRASE

    def run(self, *words: str) -> subprocess.Popen[str]:
        """Begin `openprepay …` with these settings."""
        command = [sys.executable, "-m", "openprepay", *words]
        with self._log.open("a") as log:
            return subprocess.Popen(command, env=self.environ, stdout=subprocess.PIPE, stderr=log, text=True)

    def cpu_s(self) -> float:
        """What it has computed so far, in seconds of one core."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime

    def furnish(self, meters: int, callers: int) -> None:
        """Add meters 1, 2, … and as many channels and cashiers in sessions."""
        now_s = SystemClock().now_s()

        def all_of_it(conn: Connection) -> None:
            for number in range(1, meters + 1):
                record = MeterRecord(number, "mqtt", "", DEFAULT_TARIFF.encode(), DEFAULT_LIMITS.encode())
                add_meter(conn, now_s, record)
            for number in range(callers):
                token, name = channels.new_token(os.urandom), f"bank-{number}"
                channels.add_channel(conn, now_s, name, token, (channels.PAYMENTS,), 10**9)
                self.tokens.append(token)
                people.add(conn, now_s, _ACTOR, f"cashier-{number}", "no password")
                people.grant(conn, now_s, _ACTOR, f"cashier-{number}", "cashier")
                conn.execute(update(login).values(must_change=0))
                token = sessions.new_token(os.urandom)
                sessions.begin(conn, now_s, f"cashier-{number}", token, "127.0.0.1")
                self.tokens.append(token)

        with open_store(self.database, inline=True) as store:
            store.write(all_of_it).result()


@contextmanager
def serving(folder: Path, database: str) -> Iterator[Served]:
    """A head end that answers, with its keys and settings in `folder`; it ends with the block. Raises RuntimeError."""
    served = Served(folder, database)
    made = served.run("keys", "init", "--bench", "--root-key", str(folder / "root"))
    if made.wait(START_S):
        raise RuntimeError(f"openprepay keys init failed: {(folder / 'log').read_text()[-500:]}")
    process = served.process = served.run("serve")
    try:
        assert process.stdout is not None
        if not process.stdout.readline():  # said when it answers
            raise RuntimeError(f"openprepay serve did not start: {(folder / 'log').read_text()[-500:]}")
        yield served
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_S)
        if process.stdout is not None:
            process.stdout.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
