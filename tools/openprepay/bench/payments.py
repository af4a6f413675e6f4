"""Payments a second into SQLite: each one answered only after its COMMIT is on disk (WAL, synchronous=FULL).

A payment is taken as the HTTP API takes it: money, ledger entry, credit statement and outbox row in one commit. One by
one each has a commit of its own; in groups, as many as come meanwhile share one. The peer is the least that could be
called taking a payment: two bare INSERTs, the payment and the order that it leads to, with as many payments in a
commit.
"""

import os
from collections.abc import Callable, Iterator
from itertools import count
from statistics import median

from sqlalchemy import event

from headend.ledger import payments
from headend.store import MONEY
from openprepay.bench.figure import Figure, against, race, timed
from openprepay.bench.scene import CHANNEL, NOW_S, Scene, open_scene, raw_sqlite

METERS = 64
AHEAD = 64  # payments that are under way at once, in groups

_TABLES = """
CREATE TABLE payment (channel TEXT, payment_id TEXT, meter INT, amount_uc INT, digest BLOB, total_uc INT,
                      order_id INT, taken_s INT, PRIMARY KEY (channel, payment_id));
CREATE TABLE outgoing (id INTEGER PRIMARY KEY, meter INT, body BLOB, issued_s INT, next_s INT);
"""
_PAYMENT = "INSERT INTO payment VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_ORDER = "INSERT INTO outgoing (meter, body, issued_s, next_s) VALUES (?, ?, ?, ?)"
_DIGEST = os.urandom(32)
_BODY = os.urandom(49)


def run(seconds: float) -> Iterator[Figure]:
    """One by one, then in groups."""
    with open_scene(METERS) as scene:
        till = Till(scene)
        yield till.measure("payments_single", 1, 8, seconds / 2)
        yield till.measure("payments_grouped", AHEAD, 2 * AHEAD, seconds / 2)
        till.close()


class Till:
    """Takes payments for the meters of a scene in turn, and beside it writes them to a bare database."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._numbers = count(1)
        self._commits = 0
        event.listen(scene.store.writes, "commit", self._count)
        self._peer = raw_sqlite(scene.folder / "peer.sqlite")
        self._peer.executescript(_TABLES)

    def close(self) -> None:
        """Let go of the bare database."""
        self._peer.close()

    def measure(self, name: str, ahead: int, number: int, seconds: float) -> Figure:
        """Payments a second with so many under way at once; `number` in a round."""
        rounds = 0
        self._commits = 0

        def ours() -> float:
            nonlocal rounds
            rounds += 1
            return timed(lambda: self._take(number, ahead))()

        def in_commit() -> int:
            return max(1, round(rounds * number / self._commits))

        ours_s, bare_s = race([ours, timed(lambda: self._insert(number, in_commit()))], seconds, rounds=2, pick=median)
        peer = f"two INSERTs into sqlite3 alone, {in_commit()} payments in a commit alike"
        return against(name, number / ours_s, "payments/s", peer, number / bare_s)

    def _take(self, number: int, ahead: int) -> None:
        under_way: list[Callable[[], payments.PaymentAnswer]] = []
        for _ in range(number):
            place = next(self._numbers)
            meter = self._scene.meters[place % METERS]
            arguments = (NOW_S, CHANNEL, f"receipt-{place}", meter, 20_000_000)
            under_way.append(self._scene.store.write(payments.take, *arguments, lane=MONEY).result)
            if len(under_way) == ahead:
                under_way.pop(0)()
        for answer in under_way:
            assert not answer().repeated

    def _insert(self, number: int, in_commit: int) -> None:
        for at in range(0, number, in_commit):
            self._peer.execute("BEGIN IMMEDIATE")
            for _ in range(min(in_commit, number - at)):
                place = next(self._numbers)
                meter = place % METERS + 1
                made = self._peer.execute(_ORDER, (meter, _BODY, NOW_S, NOW_S)).lastrowid
                row = (CHANNEL, f"receipt-{place}", meter, 20_000_000, _DIGEST, 20_000_000 * place, made, NOW_S)
                self._peer.execute(_PAYMENT, row)
            self._peer.execute("COMMIT")

    def _count(self, _: object) -> None:
        self._commits += 1
