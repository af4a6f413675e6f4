"""Short checkpoints lead to the values that they were made of, and to no others."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from meter import store, tick
from meterlink import flashmap

COUNT = store.CHECKPOINT_COUNT + 4  # with those of the countdown
WIDE = st.integers(-(2**63), 2**64 - 1)
vectors = st.lists(WIDE, min_size=COUNT, max_size=COUNT).map(tuple)


@given(vectors, vectors, st.binary(min_size=1, max_size=200))
def test_any_values_come_back(before: tuple[int, ...], now: tuple[int, ...], full: bytes) -> None:
    assert tick.unpack(tick.pack(full, before, now), full, before) == now
    assert tick.unpack(tick.pack(full, before, before), full, before) == before


@given(vectors, vectors, st.binary(min_size=1, max_size=50), st.binary(min_size=1, max_size=50))
def test_a_tick_of_another_checkpoint_changes_nothing(
    before: tuple[int, ...], now: tuple[int, ...], full: bytes, other: bytes
) -> None:
    raw = tick.pack(full, before, now)
    assert tick.goes_on(raw, full) and (other == full or not tick.goes_on(raw, other))
    if other != full:
        assert tick.unpack(raw, other, before) == before


@given(st.integers(0, 900), st.integers(0, 3450), st.integers(0, 3))
def test_a_quarter_of_an_hour_at_full_load_is_short(seconds: int, energy_wh: int, rate: int) -> None:
    before = struct.unpack(store.CHECKPOINT, bytes(store.CHECKPOINT_LENGTH))
    now = list(before)
    for place, delta in ((0, seconds), (1, energy_wh), (2, 999), (9, energy_wh * 2000), (10, -energy_wh * 2000)):
        now[place] += delta
    now[11], now[12], now[17 + rate], now[27] = 999, 900, energy_wh, energy_wh
    assert len(tick.pack(b"", before, tuple(now))) <= flashmap.MAX_TICK


def test_the_checkpoint_has_as_many_values_as_the_store_says() -> None:
    assert len(struct.unpack(store.CHECKPOINT, bytes(store.CHECKPOINT_LENGTH))) == store.CHECKPOINT_COUNT
