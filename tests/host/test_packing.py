"""Packed records come back bit for bit, whatever they hold; damaged ones are recognised."""

import zlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headend.reads import packing
from headend.reads.packing import Damaged
from meterlink.records import FLAG_SUPPLY_OFF, RECORD_LENGTH, pack_interval, unpack_interval
from openprepay.bench import household

START_S = 1_800_000_000 // 86_400 * 86_400


@st.composite
def series(draw: st.DrawFn) -> bytes:
    """Records as a meter makes them, with what goes wrong: gaps, clocks, flags, registers and energy at their ends."""
    fields = {"seq": 1, "start_s": START_S, "import_wh": 0, "export_wh": 0, "minutes": 15, "flags": 0}
    registers = [draw(st.sampled_from((0, 12_345, 0xFFFFFF00))), 7]
    made = b""
    energy = st.one_of(st.integers(0, 400), st.sampled_from((0, 0, 0xFFFF, 0x8000)), st.integers(0, 0xFFFF))
    for _ in range(draw(st.integers(1, 30))):
        fields["import_wh"], fields["export_wh"] = draw(energy), draw(st.sampled_from((0, 0, 0, 90, 0xFFFF)))
        registers[0] += fields["import_wh"]
        registers[1] += fields["export_wh"]
        odd = draw(st.sampled_from(("", "", "", "", "seq", "start_s", "minutes", "flags", "register")))
        if odd == "register":
            registers[0] += draw(st.integers(-500, 70_000))
        elif odd:
            top = {"seq": 0xFFFFFFFF, "start_s": 0xFFFFFFFF, "minutes": 60, "flags": 0xFF}[odd]
            fields[odd] = draw(st.integers(0, top))
        made += pack_interval(import_reg_wh=registers[0], export_reg_wh=registers[1], **fields)
        fields["seq"] = (fields["seq"] + 1) % (1 << 32)
        fields["start_s"] = (fields["start_s"] + 60 * fields["minutes"]) % (1 << 32)
    return made


@given(st.one_of(series(), st.integers(1, 12).flatmap(lambda n: st.binary(min_size=24 * n, max_size=24 * n))))
@example(b"\xff" * 24 * packing.MAX_RECORDS)
def test_any_records_come_back(records: bytes) -> None:
    packed = packing.pack(records)
    assert len(packed) <= min(packing.MAX_BYTES, len(records) + 7)
    assert packing.unpack(packed) == records
    number = len(records) // RECORD_LENGTH
    assert packing.count(packed[: packing.HEAD_LENGTH]) == number
    fields = packing.columns(packed)
    assert [len(column) for column in fields] == [number] * len(fields)
    for at in range(number):
        record: dict[str, Any] = {name: column[at] for name, column in fields._asdict().items()}
        off = record.pop("crc_off")
        made = pack_interval(**record)
        assert made[:22] == records[24 * at : 24 * at + 22]
        assert (int.from_bytes(made[22:], "big") + off) % 65536 == int.from_bytes(records[24 * at :][22:24], "big")


@settings(max_examples=40)
@given(series(), st.data())
def test_damage_is_recognised(records: bytes, data: st.DataObject) -> None:
    packed = bytearray(packing.pack(records))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Damaged):
        packing.unpack(bytes(packed))
    with pytest.raises(Damaged):
        packing.columns(bytes(packed))
    with pytest.raises(Damaged):
        packing.unpack(packing.pack(records)[: data.draw(st.integers(0, len(packed) - 1))])


@settings(max_examples=60)
@given(series(), st.data())
def test_other_bytes_under_a_right_crc_are_damaged_or_records(records: bytes, data: st.DataObject) -> None:
    made = bytearray(packing.pack(records)[:-4])
    for _ in range(data.draw(st.integers(1, 3))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    raw = bytes(made[: data.draw(st.integers(0, len(made)))] or made)
    packed = raw + zlib.crc32(raw).to_bytes(4, "big")
    try:
        found = packing.unpack(packed)
    except Damaged:
        return
    assert 1 <= len(found) // RECORD_LENGTH <= packing.MAX_RECORDS


@pytest.mark.parametrize("length", [0, 23, 25, 24 * (packing.MAX_RECORDS + 1)])
def test_what_is_no_records_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="records"):
        packing.pack(bytes(length))


def test_a_measured_household_takes_little() -> None:
    days = household.days()
    packed = [packing.pack(day) for day in days]
    assert [packing.unpack(one) for one in packed] == days
    assert sum(map(len, packed)) < 1.5 * len(days) * 96


def test_what_is_unusual_costs_where_it_is() -> None:
    day = household.days()[0]
    usual = len(packing.pack(day))
    records = [day[at : at + RECORD_LENGTH] for at in range(0, len(day), RECORD_LENGTH)]
    assert len(packing.pack(b"".join(records[:40] + records[41:]))) <= usual + 18, "a gap"
    fields = list(unpack_interval(records[9]))
    fields[-1] = FLAG_SUPPLY_OFF
    records[9] = pack_interval(*fields)
    assert len(packing.pack(b"".join(records))) <= usual + 5, "a flag"
