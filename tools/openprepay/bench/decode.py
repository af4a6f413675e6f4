"""Interval records a second from sealed batches to runs that can be stored: MACs, every CRC, every number.

As the dispatcher opens them, many at once. The peer decodes the same bytes and checks nothing.
"""

import struct
from collections.abc import Iterator

from headend.keys.keystore import KeyStore
from headend.reads import sealed
from meterlink import records
from meterlink.batches import HEAD_LENGTH, MAX_RECORDS
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
        opened = sealed.open_all([(raw, key) for raw in raws])
        assert all(one is not None and one.last - one.first + 1 == count for one in opened)

    def bare() -> None:
        for raw in raws:
            rows = list(struct.iter_unpack(layout, raw[HEAD_LENGTH:-MAC_LENGTH]))
            assert len(rows) == count

    ours_s, bare_s = race([timed(ours), timed(bare)], seconds, rounds=2)
    rows = count * len(raws)
    return against(name, rows / ours_s, "rows/s", PEER, rows / bare_s)
