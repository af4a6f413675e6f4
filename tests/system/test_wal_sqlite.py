"""`openprepay serve` on SQLite: whatever it answered, acknowledged to the broker or sent to a meter, outlives a power
cut at the instant in which it said so. And a head end that does not sync is found out.
"""

import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine

from tests.brokers import Broker
from tests.system.disk_model import Disk
from tests.system.head_end import HeadEnd, meter
from tests.system.sync_proof import Said, judge
from tests.system.wal_rig import CARELESS, LOG, NUMBERS, PAYMENTS, live

DATA = "data/op.sqlite"


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


def prove(folder: Path, *command: str) -> tuple[Said, list[str]]:
    with Broker(folder / "broker") as broker, HeadEnd(folder) as head_end:
        head_end.environ["OPENPREPAY_MQTT_URL"] = f"mqtt://127.0.0.1:{broker.port}"
        head_end.start()
        for number in NUMBERS:
            assert head_end.ask("POST", "/meters", meter(number))[0] == 201
        assert head_end.end(signal.SIGTERM) == 0
        disk = Disk(folder, lambda path: (DATA in path and not path.endswith("-shm")) or LOG in path)
        return judge(live(head_end, broker, [*command, "serve"]), disk, look, LOG, folder / "cuts")


def test_what_was_said_outlives_a_power_cut(tmp_path: Path) -> None:
    said, wrong = prove(tmp_path, sys.executable, "-m", "openprepay")
    assert wrong == []
    assert len(said.payments) >= PAYMENTS, "payments were answered"
    assert said.acknowledged >= PAYMENTS // 2, "and reports acknowledged to the broker"
    assert said.orders, "and orders sent"


def test_a_head_end_that_does_not_sync_is_found_out(tmp_path: Path) -> None:
    """It syncs only when it moves the log into the database (`synchronous=NORMAL`), which no kill would ever tell."""
    _, wrong = prove(tmp_path, sys.executable, CARELESS, "NORMAL")
    assert any("was answered and is lost" in one for one in wrong)
    assert any("was acknowledged and is lost" in one for one in wrong)
