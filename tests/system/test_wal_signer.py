"""The signer's log after a power cut in the middle of an append: whatever sectors of it came to the disk."""

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.clock import ManualClock
from headend.keys.sealed import KeyFileError
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_lines import TORN_BYTES
from headend.keys.signer_log import SignerLog
from meterlink.orders import Order
from tests.host.books import NOW_S
from tests.host.signer_rig import KEYS, credit
from tests.system.disk_model import SECTOR, File


def sign(log: SignerLog, totals: range) -> list[bytes]:
    """One append; the digests of its orders."""
    signer = Signer(KEYS, log, ManualClock(NOW_S), Caps(10**9))
    made = signer.sign([credit(total_uc % 3 + 1, total_uc) for total_uc in totals])
    return [Order(raw).digest for raw in made if isinstance(raw, bytes)]


def written(path: Path) -> tuple[bytes, bytes, list[bytes]]:
    """What was synced, what an append then added, and the digests of the orders that left before it."""
    log = SignerLog(path)
    left = sign(log, range(1, 4))
    before = path.read_bytes()
    sign(log, range(4, 10))
    log.close()
    return before, path.read_bytes()[len(before) :], left


@given(st.integers(min_value=0))
def test_what_left_is_there_and_the_signer_goes_on(seed: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        before, added, left = written(path)
        disk = File(before)
        disk.write(1, len(before), added)
        path.write_bytes(disk.image(Random(seed)))
        log = SignerLog(path)
        assert all(log.has(digest) for digest in left)
        later = sign(log, range(20, 22))
        log.close()
        again = SignerLog(path)
        assert again.chain == log.chain and all(again.has(digest) for digest in left + later)
        again.close()


@pytest.mark.parametrize(
    ("at", "byte", "following"),
    [(10, 0, TORN_BYTES + SECTOR), (10, ord("x"), 0)],
    ids=["further from the end than any append", "other bytes than a hole"],
)
def test_a_log_that_was_changed_is_still_refused(tmp_path: Path, at: int, byte: int, following: int) -> None:
    path = tmp_path / "log"
    log = SignerLog(path)
    total = 1
    while path.stat().st_size < max(1_000, following + 1_000):
        sign(log, range(total, total + 400))
        total += 400
    log.close()
    raw = bytearray(path.read_bytes())
    raw[at] = byte
    path.write_bytes(raw)
    with pytest.raises(KeyFileError, match="line 1: it, or a line before it, was changed"):
        SignerLog(path)
