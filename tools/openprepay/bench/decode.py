"""Interval records a second from sealed batches to rows: MAC, every CRC and decoding, against decoding alone."""

import struct
from collections.abc import Iterator

from headend.keys.keystore import KeyStore
from headend.reads.batches import decode
from meterlink import records
from meterlink.batches import HEAD_LENGTH, MAX_RECORDS, Batch
from meterlink.mac import MAC_LENGTH
from openprepay.bench.figure import Figure, against, race, timed
from openprepay.bench.scene import sealed_batch

PEER = "struct.iter_unpack of the same bytes, nothing checked"


def run(seconds: float) -> Iterator[Figure]:
    """From whole batches, and from the smallest: one record."""
    for name, count in (("decode_rows", MAX_RECORDS), ("decode_rows_single", 1)):
        yield _measure(name, count, seconds / 2)


def _measure(name: str, count: int, seconds: float) -> Figure:
    keys = KeyStore.generate()
    key = keys.mac_key(1, 1)
    raws = [sealed_batch(keys, 1, 1 + count * number, count) for number in range(100)]
    layout = records.INTERVAL_FORMAT

    def ours() -> None:
        for raw in raws:
            rows, bad = decode(Batch(raw, key))
            assert len(rows) == count and not bad

    def bare() -> None:
        for raw in raws:
            rows = list(struct.iter_unpack(layout, raw[HEAD_LENGTH:-MAC_LENGTH]))
            assert len(rows) == count

    ours_s, bare_s = race([timed(ours), timed(bare)], seconds, rounds=2)
    rows = count * len(raws)
    return against(name, rows / ours_s, "rows/s", PEER, rows / bare_s)
