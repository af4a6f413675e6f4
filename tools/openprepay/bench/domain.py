"""A payment beside the commit that it needs: `payments.take` one by one through the store, on both databases.

The peer changes as many rows as a payment does, in the rawest way there is: the driver alone, nine statements and a
COMMIT for one table with a primary key and nothing else.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from headend.ledger import payments
from headend.store import MONEY
from openprepay.bench import postgres
from openprepay.bench.figure import Figure, against, race, timed
from openprepay.bench.scene import CHANNEL, NOW_S, Scene, raw_sqlite

METERS = 64
ROUND = 16  # payments
# What a payment inserts: itself, an entry, an order, two lines of history, a place in the outbox.
INSERTS = 6
# … and changes: the lock of the meter, what is sold of it, the order before.
UPDATES = 3
_TABLE = "CREATE TABLE bare (id BIGINT PRIMARY KEY, meter BIGINT, at_s BIGINT, name TEXT, body {bytes})"
_DIGEST = bytes(range(64))


def run(seconds: float) -> Iterator[Figure]:
    """SQLite, and PostgreSQL where that is installed."""
    stores = ["sqlite", "postgresql"] if postgres.programs() else ["sqlite"]
    for name in stores:
        folder = os.environ.get("TMPDIR", "/var/tmp")
        with tempfile.TemporaryDirectory(prefix="openprepay-bench-", dir=folder) as made:
            yield _measure(name, Path(made), seconds / len(stores))


def _measure(name: str, folder: Path, seconds: float) -> Figure:
    with _databases(name, folder) as (url, bare):
        scene = Scene(folder, METERS, database=url)
        numbers = count(1)

        def ours() -> None:
            for _ in range(ROUND):
                number = next(numbers)
                arguments = (NOW_S, CHANNEL, f"receipt-{number}", scene.meters[number % METERS], 20_000_000)
                scene.store.write(payments.take, *arguments, lane=MONEY).result()

        try:
            ours()
            ours_s, bare_s = race([timed(ours), timed(bare)], seconds, rounds=2, pick=median)
        finally:
            scene.store.close()
    peer = f"commits of the driver alone, {INSERTS} INSERTs and {UPDATES} UPDATEs each"
    return against(f"payments_domain_{name}", ROUND / ours_s, "payments/s", peer, ROUND / bare_s)


@contextmanager
def _databases(name: str, folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """The URL of an empty database, and what makes as many bare commits in another table of its kind."""
    if name == "sqlite":
        with closing(raw_sqlite(folder / "bare.sqlite")) as raw:
            raw.execute(_TABLE.format(bytes="BLOB"))
            yield f"sqlite:///{folder}/headend.sqlite", _committer(raw.execute, "BEGIN IMMEDIATE", "?")
        return
    import psycopg

    with postgres.serving(folder) as url, psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True) as conn:
        conn.execute(_TABLE.format(bytes="BYTEA"))
        yield url, _committer(conn.execute, "BEGIN", "%s")


def _committer(execute: Callable[..., Any], begin: str, mark: str) -> Callable[[], None]:
    numbers = count(1)
    insert = f"INSERT INTO bare VALUES ({', '.join([mark] * 5)})"  # noqa: S608 - placeholders alone
    update = f"UPDATE bare SET at_s = at_s + 1 WHERE id = {mark}"  # noqa: S608

    def bare() -> None:
        for _ in range(ROUND):
            execute(begin)
            for _ in range(INSERTS):
                number = next(numbers)
                execute(insert, (number, number % METERS, NOW_S, CHANNEL, _DIGEST))
            for back in range(UPDATES):
                execute(update, (number - back,))
            execute("COMMIT")

    return bare
