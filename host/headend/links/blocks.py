"""Blocks of registers, from the bytes that a meter sends to named values, by the table of `meterlink.registers`."""

import struct
from dataclasses import dataclass
from typing import Any

from headend.links import failures
from headend.links.failures import LinkError
from meterlink import registers

Value = int | str | bytes | None

# What a meter sends where it does not measure a thing; shown as None.
NOT_MEASURED = {"voltage_dv": 0xFFFF, "power_w": 0xFFFFFFFF}

_BY_ID = {block[0]: block for block in registers.BLOCKS}


@dataclass(frozen=True)
class Block:
    """One block: its name in the map, and the value of each field; None where the meter has none to give."""

    name: str
    values: dict[str, Value]

    def number(self, field: str) -> int:
        """The value of a field that is always a number."""
        value = self.values[field]
        assert isinstance(value, int), field
        return value

    def octets(self, field: str) -> bytes:
        """The value of a field of raw bytes."""
        value = self.values[field]
        assert isinstance(value, bytes), field
        return value


def place(block_id: int) -> tuple[int, int]:
    """(address, length in registers) of a block."""
    return _BY_ID[block_id][1], registers.block_length(_BY_ID[block_id][3])


def offset(block_id: int, name: str) -> int:
    """Where a field starts, in registers from the start of its block."""
    at = 0
    for field in _BY_ID[block_id][3]:
        if field[0] == name:
            return at
        at += registers.registers_of(field[1])
    raise KeyError(name)


def fields(block_id: int) -> tuple[tuple[str, str, int, str], ...]:
    """(name, type, exponent of ten, unit) of the block's fields, in order."""
    listed: tuple[tuple[str, str, int, str], ...] = _BY_ID[block_id][3]
    return listed


def decode(block_id: int, data: bytes) -> Block:
    """The block in `data` (all its registers); LinkError(STRANGE) where the header is not this block's.

    A block may be longer than this version knows: fields are only ever added behind.
    """
    _, address, name, listed = _BY_ID[block_id]
    found = iter(struct.unpack(registers.block_struct(listed), data))
    values = {field[0]: _value(field, found) for field in listed}
    made = Block(name, values)
    if "self_test" in values and made.number("self_test") != registers.SELF_TEST:
        found_words = f"register 0 reads {made.number('self_test'):08x}, {registers.SELF_TEST:08x}"
        raise _strange("is from no openprepay meter, or its bytes are swapped", found_words)
    if made.number("block_id") != block_id:
        raise _strange("is of another map", f"block {made.number('block_id')} at 0x{address:04x}, {block_id} ({name})")
    known = registers.block_length(listed)
    if made.number("block_length") < known:
        words = f"block {name} has {made.number('block_length')} registers, {known} or more"
        raise _strange("is of an older map", words)
    return made


def _strange(meaning: str, found: str) -> LinkError:
    return LinkError(failures.STRANGE, f"The answer {meaning}: {found} expected.")


def _value(field: tuple[str, str, int, str], found: Any) -> Value:
    name, kind = field[0], field[1]
    value: int | bytes = next(found)
    if kind == "u48":
        high, low = value, next(found)
        assert isinstance(high, int)
        return int(high << 32 | low)
    if kind[0] == "s":
        assert isinstance(value, bytes)
        return value.rstrip(b"\0").decode("ascii", "replace")
    return None if NOT_MEASURED.get(name) == value else value
