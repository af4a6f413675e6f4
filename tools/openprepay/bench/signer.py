"""Credit orders a second on one core: what a statement costs from its row in the database to the bytes for the meter.

Encoding, caps, signature (ECDSA P-256, deterministic), tag and the line of the signer's log; with the log on a disk,
100 orders to a sync. The peer is what nothing can go below: as many calls of the signing function, and nothing else.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from headend.clock import ManualClock
from headend.keys.keystore import KeyStore
from headend.keys.signer import Signer, Stated
from headend.keys.signer_books import Caps
from headend.keys.signer_lines import OrderLine
from headend.keys.signer_log import SignerLog
from meterlink import bodies
from meterlink.bodies import MAX_UC
from meterlink.orders import ASPECT_CREDIT
from openprepay.bench.figure import Figure, against, race, timed
from openprepay.bench.scene import CHANNEL, NOW_S

METERS = 200
BATCH = 100
PEER = "that many deterministic signatures of a digest by cryptography"


def run(seconds: float) -> Iterator[Figure]:
    """Into memory, onto a disk, and how long opening a full file of the log takes."""
    with tempfile.TemporaryDirectory(prefix="openprepay-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        yield _measure("sign_orders", SignerLog(None), seconds / 3, min)
        log = SignerLog(Path(folder) / "log")
        yield _measure("sign_orders_logged", log, seconds / 3, median)
        log.close()
        yield _opening(Path(folder) / "long", 100_000 if seconds else 1_000)


def _measure(name: str, log: SignerLog, seconds: float, pick: Callable[[list[float]], float]) -> Figure:
    signer = Signer(KeyStore.generate(), log, ManualClock(NOW_S), Caps(MAX_UC))
    key = ec.generate_private_key(ec.SECP256R1())
    scheme = ec.ECDSA(utils.Prehashed(hashes.SHA256()), deterministic_signing=True)
    digest = os.urandom(32)
    sales = count(5)
    batches = _batches(next(sales))

    def ours() -> None:
        for batch in batches:
            assert all(isinstance(made, bytes) for made in signer.sign(batch))

    def bare() -> None:
        for _ in range(METERS):
            key.sign(digest, scheme)

    def in_turn() -> float:
        nonlocal batches
        batches = _batches(next(sales))
        return timed(ours)()

    ours()  # the per-meter keys are derived once
    ours_s, bare_s = race([in_turn, timed(bare)], seconds, rounds=2, pick=pick)
    return against(name, METERS / ours_s, "orders/s", PEER, METERS / bare_s)


def _batches(sale: int) -> list[list[Stated]]:
    """A statement for each meter after one more sale of 20.00, with the last four sales."""
    amount_uc = 20_000_000
    totals = [(number * amount_uc, amount_uc) for number in range(sale - 3, sale + 1)]
    body = bodies.encode_credit(sale * amount_uc, 0, totals)
    rows = [
        Stated(sale, meter, ASPECT_CREDIT, 1, 1, 1, 0, sale * amount_uc, NOW_S, 0, body, CHANNEL, 1, 1)
        for meter in range(1, METERS + 1)
    ]
    return [rows[at : at + BATCH] for at in range(0, METERS, BATCH)]


def _opening(path: Path, number: int) -> Figure:
    """The lines of a log that lie in one file, read and counted; what lies in full files costs nothing."""
    log = SignerLog(path)
    for at in range(0, number, 1000):
        lines = [
            OrderLine(NOW_S, one, one % 5000 + 1, 1, ASPECT_CREDIT, 1, 1, 0, one, 0, 1, 0, CHANNEL, f"{one:064x}")
            for one in range(at, at + 1000)
        ]
        for line in lines:
            log.books.count(line)
        log.append(lines)
    log.close()
    (taken_s,) = race([timed(lambda: SignerLog(path).close())], 0, rounds=3)
    return Figure("sign_log_open", number / taken_s, "lines/s")
