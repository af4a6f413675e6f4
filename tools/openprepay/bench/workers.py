"""One worker and two on one PostgreSQL and one broker: intervals stored a second.

Signer and workers are processes, as `openprepay signer` and `openprepay worker` start them; PostgreSQL and Mosquitto
are real. All meters say one interval after the other, each a message of its own, as fast as one client can publish;
measured is from the first message to the last commit. The peer of two workers is one.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Connection, func, select

from headend.keys.keystore import KeyStore
from headend.store import Store, open_store
from headend.store.schema_readings import meter_reads
from headend.workers import leases
from headend.workers.homes import SHARD, SHARDS
from meterlink import topics
from openprepay.bench import postgres, readings
from openprepay.bench.figure import Figure, against
from openprepay.bench.mqtt import PatientBroker, publish
from openprepay.bench.serving import PASSPHRASE, START_S, Served

METERS, FEW = 1_000, 50
SLOTS = 8  # intervals that each says
LIMIT_S = 120.0


def run(seconds: float) -> Iterator[Figure]:
    """Raises RuntimeError where PostgreSQL is not installed."""
    if not seconds:  # one, and few meters: whether it runs
        yield Figure("workers_1", _measure(1, FEW, 1), "rows/s")
        return
    one, two = _measure(1, METERS, SLOTS), _measure(2, METERS, SLOTS)
    yield Figure("workers_1", one, "rows/s")
    yield against("workers_2", two, "rows/s", "one worker", one)


def _measure(count: int, meters: int, slots: int) -> float:
    """Records a second."""
    with tempfile.TemporaryDirectory(prefix="openprepay-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        folder = Path(name)
        with ExitStack() as stack:
            url = stack.enter_context(postgres.serving(folder))
            broker = stack.enter_context(PatientBroker(folder / "broker"))
            store = stack.enter_context(open_store(url))
            works = _Works(folder, url, broker.port)
            stack.callback(works.stop)
            works.start(count, meters)
            _wait(lambda: _shared(store, count), "the shards are shared")
            return _records(store, works, broker.port, meters, slots)


class _Works:
    """A signer and workers, with their settings and keys in `folder`."""

    def __init__(self, folder: Path, url: str, port: int) -> None:
        self._served = Served(folder, url)
        with (folder / "openprepay.toml").open("a") as file:
            file.write(f'signer = "unix:{folder}/s/signer.sock"\nmqtt_url = "mqtt://127.0.0.1:{port}"\n')
        if self._served.run("keys", "init", "--bench", "--root-key", str(folder / "root")).wait(START_S):
            raise RuntimeError(f"openprepay keys init failed: {(folder / 'log').read_text()[-500:]}")
        self.keys = KeyStore.load(folder / "keys", PASSPHRASE)
        self._log = folder / "log"
        self._running: list[subprocess.Popen[str]] = []

    def start(self, count: int, meters: int) -> None:
        for words in (("signer",), *[("worker", "--roles", "collect,dispatch,sign,seal,bill")] * count):
            process = self._served.run(*words)
            self._running.append(process)
            assert process.stdout is not None
            if not process.stdout.readline():  # said when it runs
                raise RuntimeError(f"openprepay {words[0]} did not start: {self._log.read_text()[-2000:]}")
        self._served.furnish(meters, 1)

    def stop(self) -> None:
        for process in self._running[::-1]:
            process.send_signal(signal.SIGTERM)
            process.wait(START_S)
            if process.stdout is not None:
                process.stdout.close()


def _shared(store: Store, count: int) -> bool:
    held = store.read(leases.standing, SHARD)
    return len(held) == len(SHARDS) and len({one.holder for one in held}) == count


def _records(store: Store, works: _Works, port: int, meters: int, slots: int) -> float:
    made = [
        readings.sealed(works.keys, number, slot, readings.numbered(slot, 1))
        for slot in range(1, slots + 1)
        for number in range(1, meters + 1)
    ]
    began = time.perf_counter()
    publish(port, ((topics.up(number, topics.UP_INTERVALS), raw) for number, raw in made))
    _wait(lambda: store.read(_whole) == len(made), "all records are stored")
    return len(made) / (time.perf_counter() - began)


def _whole(conn: Connection) -> int:
    return int(conn.execute(select(func.coalesce(func.sum(meter_reads.c.interval_whole_to), 0))).scalar_one())


def _wait(happened: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + LIMIT_S
    while not happened():
        if time.monotonic() > ends:
            raise RuntimeError(f"within {LIMIT_S:g} s it did not come to pass that {what}")
        time.sleep(0.05)
