"""The CRC of a whole batch gives the same verdict on each record as the CRC of one."""

from hypothesis import given
from hypothesis import strategies as st

from headend.reads import crc
from meterlink import records
from meterlink.modbus import crc16

RECORD = st.binary(min_size=records.RECORD_LENGTH, max_size=records.RECORD_LENGTH)
GENUINE = st.builds(
    records.pack_interval,
    *(st.integers(0, 0xFFFFFFFF) for _ in range(4)),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
    st.integers(0, 255),
    st.integers(0, 255),
)


@given(st.lists(RECORD | GENUINE, max_size=45))
def test_one_verdict(batch: list[bytes]) -> None:
    wrong = crc.wrong(b"".join(batch))
    assert len(wrong) == len(batch)
    for bad, record in zip(wrong, batch, strict=True):
        assert (bad == 0) is (crc16(record, 22) == int.from_bytes(record[22:], "big"))


@given(GENUINE, st.integers(0, 8 * records.RECORD_LENGTH - 1))
def test_every_single_bit_is_seen(record: bytes, bit: int) -> None:
    flipped = bytearray(record)
    flipped[bit >> 3] ^= 1 << (bit & 7)
    assert list(map(bool, crc.wrong(record + bytes(flipped) + record))) == [False, True, False]
