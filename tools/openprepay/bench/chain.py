"""Sealed books: entries verified a second by the stand-alone verifier, and rows sealed a second.

Verifying reads a SQLite file, hashes each row behind the one before, and adds up counts, sums and balances. Its peer
is SHA-256 over the same bytes, which lie ready in memory, and nothing else. Sealing reads what is not sealed, hashes it
and stores the seals, 500 to a transaction on a disk; its peer stores as many rows of the same size in the same way.
"""

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median

from sqlalchemy import insert

from headend.books import chain, sealer, verifier
from headend.ledger import accounts
from headend.store import Store, identity, open_store
from headend.store.schema import account, entry
from headend.store.schema_books import seal
from openprepay.bench.figure import Figure, against, race, timed
from openprepay.bench.scene import NOW_S

ENTRIES = 1_000_000
FEW = 2_000
CHANNELS, METERS = 20, 1_000
SEALED = 10 * sealer.BATCH  # rows of a round
READY = "SHA-256 over the same bytes, ready in memory"
BARE = "as many rows of the same size stored in as large transactions, and nothing else"

Row = tuple[int, int, str, str, str, int, int, str]


def run(seconds: float) -> Iterator[Figure]:
    """A file of `ENTRIES` entries; few of them where there is no time."""
    folder = os.environ.get("TMPDIR", "/var/tmp")
    with tempfile.TemporaryDirectory(prefix="openprepay-bench-", dir=folder) as made:
        yield _verified(Path(made) / "books.sqlite", ENTRIES if seconds else FEW, seconds / 2)
        yield _sealed(Path(made) / "sealed.sqlite", seconds / 2)


def _verified(path: Path, entries: int, seconds: float) -> Figure:
    origin, pieces = _write(path, entries)

    def ours() -> None:
        found = verifier.verify(*verifier.from_sqlite(str(path)), [])
        assert not found.wrong and found.sealed["entry"] == entries

    def bare() -> None:
        last = chain.first(chain.ENTRY, origin)
        sha256 = hashlib.sha256
        for piece in pieces:
            last = sha256(last + piece).digest()

    ours_s, bare_s = race([timed(ours), timed(bare)], seconds, rounds=1)
    return against("chain_verified", entries / ours_s, "entries/s", READY, entries / bare_s)


def _row(number: int) -> Row:
    meter = number % METERS + 1
    debit, credit = accounts.of_channel(f"pos-{number % CHANNELS}"), accounts.of_meter(meter, 1)
    return number, NOW_S + number, "payment", debit, credit, 20_000_000, meter, f"payment:pos:{number:012d}"


def _write(path: Path, entries: int) -> tuple[str, list[bytes]]:
    """Sealed books, put into the file as the sealer would; (origin, bytes of each row)."""
    with _open(path, entries):
        pass
    origin, pieces, seals = "0" * 32, [], []
    last = chain.first(chain.ENTRY, origin)
    for number in range(1, entries + 1):
        piece = chain.row_bytes(_row(number))
        last = hashlib.sha256(last + piece).digest()
        pieces.append(piece)
        seals.append((chain.ENTRY, number, number, last))
    with sqlite3.connect(path) as conn:
        conn.execute("UPDATE seal_chain SET origin = ?", (origin,))
        conn.executemany("INSERT INTO seal (chain, seq, row_id, hash) VALUES (?, ?, ?, ?)", seals)
    return origin, pieces


def _sealed(path: Path, seconds: float) -> Figure:
    next_id = count(1)
    with _open(path, 0) as store:

        def add() -> None:
            rows = [dict(zip(entry.c.keys(), _row(next(next_id)), strict=True)) for _ in range(SEALED)]
            store.write(lambda conn: conn.execute(insert(entry), rows)).result()

        def ours() -> float:
            add()
            return timed(lambda: sealer.seal_all(store, NOW_S))()

        others = count(1)

        def bare() -> None:
            for _ in range(SEALED // sealer.BATCH):
                numbers = [next(others) for _ in range(sealer.BATCH)]
                rows = [{"chain": "bare", "seq": one, "row_id": one, "hash": bytes(32)} for one in numbers]
                store.write(lambda conn, rows=rows: conn.execute(insert(seal), rows)).result()

        ours_s, bare_s = race([ours, timed(bare)], seconds, rounds=2, pick=median)
    return against("chain_sealed", SEALED / ours_s, "rows/s", BARE, SEALED / bare_s)


def _open(path: Path, entries: int) -> Store:
    """A database with accounts and so many entries."""
    store = open_store(f"sqlite:///{path}", inline=True)
    store.write(identity.establish, NOW_S, 1, 1, 156).result()
    names = [accounts.of_channel(f"pos-{number}") for number in range(CHANNELS)]
    names += [accounts.of_meter(number, 1) for number in range(1, METERS + 1)]
    opened = [{"account": name, "kind": accounts.kind_of(name)} for name in names]
    store.write(lambda conn: conn.execute(insert(account), opened)).result()
    with sqlite3.connect(path) as conn:
        conn.executemany(
            "INSERT INTO entry (id, at_s, kind, debit, credit, amount_uc, meter, cause) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            map(_row, range(1, entries + 1)),
        )
    return store
