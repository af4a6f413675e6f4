"""`openprepay serve` on SQLite: whatever it answered, acknowledged to the broker or sent to a meter, outlives a power
cut at the instant in which it said so. And a head end that does not sync is found out.
"""

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine

from headend.keys.keystore import KeyStore
from tests.brokers import Broker
from tests.system import disk_trace
from tests.system.disk_model import Disk
from tests.system.head_end import PASSPHRASE, START_S, HeadEnd, meter
from tests.system.kill_meters import Meters
from tests.system.kill_rig import Till
from tests.system.sync_proof import Said, judge

NUMBERS = (17, 18)
PAYMENTS = 12
GIVE_UP_S = 120
DATA = "data/op.sqlite"
LOG = "op.signed"


def look(image: Path, fn: Callable[[Connection], list[str]]) -> list[str]:
    raw = sqlite3.connect(image / DATA)
    try:
        (whole,) = raw.execute("PRAGMA integrity_check").fetchone()
        if whole != "ok":
            return [f"the database is damaged: {whole}"]
    except sqlite3.Error as error:
        return [f"the database is lost: {error}"]
    finally:
        raw.close()
    with create_engine(f"sqlite:///{image / DATA}", poolclass=NullPool).connect() as conn:
        return fn(conn)


def live(folder: Path, *command: str) -> tuple[Disk, list[disk_trace.Call]]:
    """The disk before, and what the head end that `command` runs did while payments came and reached their meters."""
    with Broker(folder / "broker") as broker, HeadEnd(folder) as head_end:
        head_end.environ["OPENPREPAY_MQTT_URL"] = f"mqtt://127.0.0.1:{broker.port}"
        head_end.start()
        for number in NUMBERS:
            assert head_end.ask("POST", "/meters", meter(number))[0] == 201
        assert head_end.end(signal.SIGTERM) == 0
        disk = Disk(folder, lambda path: (DATA in path and not path.endswith("-shm")) or LOG in path)
        keys = KeyStore.load(folder / "op.keys", PASSPHRASE)
        trace = folder / "trace"
        with (folder / "serve.log").open("a") as told:
            process = subprocess.Popen(
                [*disk_trace.command(trace), *command, "serve"],
                env=head_end.environ,
                stdout=subprocess.PIPE,
                stderr=told,
                text=True,
            )
        try:
            assert process.stdout is not None and process.stdout.readline()
            with Meters(broker, keys, NUMBERS) as meters:
                till = Till("till", head_end.port, NUMBERS, "wal", head_end.token)
                _until(lambda: len(till.taken) >= PAYMENTS or till.failed is not None, "payments")
                till.stop()
                owed = sum(till.taken.values())
                _until(lambda: sum(map(meters.credited_uc, NUMBERS)) == owed, "credit on the meters")
                time.sleep(1)  # what the meters still say is acknowledged
        finally:
            process.kill()
            process.wait(START_S)
            assert process.stdout is not None
            process.stdout.close()
        _until(lambda: disk_trace.ended(trace, process.pid), "end of the trace")
        return disk, list(disk_trace.read(trace))


def _until(reached: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + GIVE_UP_S
    while not reached():
        assert time.monotonic() < ends, f"no {what} within {GIVE_UP_S} s"
        time.sleep(0.05)


def prove(folder: Path, *command: str) -> tuple[Said, list[str]]:
    disk, calls = live(folder, *command)
    return judge(calls, disk, look, LOG, folder / "cuts")


def test_what_was_said_outlives_a_power_cut(tmp_path: Path) -> None:
    said, wrong = prove(tmp_path, sys.executable, "-m", "openprepay")
    assert wrong == []
    assert len(said.payments) >= PAYMENTS, "payments were answered"
    assert said.acknowledged >= PAYMENTS // 2, "and reports acknowledged to the broker"
    assert said.orders, "and orders sent"


def test_a_head_end_that_does_not_sync_is_found_out(tmp_path: Path) -> None:
    """It syncs only when it moves the log into the database (`synchronous=NORMAL`), which no kill would ever tell."""
    _, wrong = prove(tmp_path, sys.executable, str(Path(__file__).with_name("careless_serve.py")), "NORMAL")
    assert any("was answered and is lost" in one for one in wrong)
    assert any("was acknowledged and is lost" in one for one in wrong)
