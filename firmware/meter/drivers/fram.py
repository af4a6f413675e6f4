"""The witness in an FRAM on I2C (MB85RC64 … MB85RC256V, FM24CL64 …), outside the main flash.

Source: Fujitsu DS501-00017, "MB85RC256V": addresses of two bytes, writes without delay, each byte durable as soon as it
is acknowledged. So a power cut leaves a record of which the first bytes are new and the rest old.

Two places take turns; each holds `>QII`: value, how often it was written, CRC-32 over both. The place with the lower
value is overwritten, so the other one always says at least what was said before the write.
"""

import struct
from binascii import crc32

ADDRESS = 0x50
PLACES = (0x0000, 0x0040)  # apart, so that no run of wrong addresses meets both
_RECORD = ">QII"
_LENGTH = 16


class Witness:
    """A value that only rises. `i2c`: with `readfrom_mem_into` and `writeto_mem` · faults: transfers that failed or
    did not take · torn: places that held no whole record at the start."""

    def __init__(self, i2c, address: int = ADDRESS) -> None:
        self._i2c = i2c
        self._address = address
        self.faults = 0
        self.torn = 0
        found = [self._read(place) for place in PLACES]
        for record in found:
            if record is None:
                self.torn += 1
        first, second = [record or (0, 0) for record in found]
        self._next = 0 if first <= second else 1  # the place that may be lost
        self._value, self._writes = max(first, second)

    def witness(self) -> int:
        """The highest value that was ever kept, 0 in a new chip and in one that does not answer."""
        return self._value

    def set_witness(self, value: int) -> None:
        """Keep a value; a lower one than that which is kept changes nothing."""
        if value <= self._value:
            return
        self._value = value
        self._writes = self._writes + 1 & 0xFFFFFFFF
        head = struct.pack(">QI", value, self._writes)
        try:
            self._i2c.writeto_mem(self._address, PLACES[self._next], head + struct.pack(">I", crc32(head)), addrsize=16)
        except OSError:
            self.faults += 1
            return
        if self._read(PLACES[self._next]) == (value, self._writes):
            self._next ^= 1
        else:
            self.faults += 1  # the same place again next time: the other one is whole

    def _read(self, place: int) -> "tuple[int, int] | None":
        """(value, writes) of a place; (0, 0) of one that was never written, None where it holds no whole record."""
        raw = bytearray(_LENGTH)
        try:
            self._i2c.readfrom_mem_into(self._address, place, raw, addrsize=16)
        except OSError:
            self.faults += 1
            return None
        if crc32(raw[:12]) == int.from_bytes(raw[12:], "big"):
            value, writes, _ = struct.unpack(_RECORD, raw)
            return value, writes
        return (0, 0) if raw in (b"\x00" * _LENGTH, b"\xff" * _LENGTH) else None
