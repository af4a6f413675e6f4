"""A head end with meters, for the benchmarks of its database: on disk, as `openprepay serve` runs it."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

from headend.clock import ManualClock
from headend.engine import Engine
from headend.fleet.meters import MeterRecord, add_meter
from headend.keys.keystore import KeyStore
from headend.ledger import channels
from headend.store import Store, identity, open_store
from meterlink import batches, records
from meterlink.reports import NO_NONCE
from metersim.workbench import DEFAULT_LIMITS, DEFAULT_TARIFF

NOW_S = 1_800_000_000
CHANNEL = "counter-1"
LOG_ID = 7
_CURRENCY = 156
_PERIOD_S = 900


class Scene:
    """`meters`: their numbers · `store`, `engine`, `keys`: the head end's · `folder`: of the database, on a disk.

    `database`: the URL of an empty one, where it is no file in `folder`.
    """

    def __init__(self, folder: Path, meters: int, currency: int = _CURRENCY, database: str = "") -> None:
        self.folder = folder
        self.meters = range(1, meters + 1)
        self.keys = KeyStore.generate()
        self.store: Store = open_store(database or f"sqlite:///{folder / 'headend.sqlite'}")
        self.engine = Engine(self.store, self.keys, ManualClock(NOW_S), os.urandom)
        self.store.write(self._furnish, currency).result()

    def _furnish(self, conn: Connection, currency: int) -> None:
        identity.establish(conn, NOW_S, self.keys.signing_epoch, self.keys.source, currency)
        channels.add_channel(conn, NOW_S, CHANNEL, channels.new_token(os.urandom), (channels.PAYMENTS,), 10**9)
        for meter in self.meters:
            tariff, limits = DEFAULT_TARIFF.encode(), DEFAULT_LIMITS.encode()
            add_meter(conn, NOW_S, MeterRecord(meter, "mqtt", "", tariff=tariff, limits=limits))

    def batch(self, meter: int, first: int, count: int = batches.MAX_RECORDS) -> bytes:
        """A sealed batch of interval records first, first + 1, …, as the meter replays it."""
        return sealed_batch(self.keys, meter, first, count)


@contextmanager
def open_scene(meters: int, currency: int = _CURRENCY) -> Iterator[Scene]:
    """A scene in a folder of its own that goes with it; `currency` 0: its books are in kWh."""
    with tempfile.TemporaryDirectory(prefix="openprepay-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        scene = Scene(Path(name), meters, currency)
        try:
            yield scene
        finally:
            scene.store.close()


def sealed_batch(keys: KeyStore, meter: int, first: int, count: int = batches.MAX_RECORDS) -> bytes:
    """See `Scene.batch`."""
    body = b"".join(
        records.pack_interval(seq, NOW_S - _PERIOD_S * (1_000_000 - seq), 137 * seq, 0, 137, 0, 15, 0)
        for seq in range(first, first + count)
    )
    head = batches.pack_head(batches.KIND_INTERVALS, meter, 1, 1, first, NOW_S, LOG_ID, NO_NONCE, first, count)
    return head + body + batches.mac(head, body, keys.mac_key(meter, 1))


def raw_sqlite(path: Path) -> sqlite3.Connection:
    """A plain connection that keeps the promises of ours: WAL, and on disk before a commit is answered."""
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=FULL")
    return raw
