"""Settings of a serial line, as they go into the LINE mailbox: (address, baud, parity, stop bits).

Body: format 1 | address 1 (1..247) | baud 4, one of BAUDS | parity 1, index in PARITIES | stop bits 1 (1 or 2).
Source: MODBUS over Serial Line V1.02, 2.2 (addresses) and 2.5.1 (characters).
"""

import struct

from meterlink.modbus import MAX_ADDRESS

BAUDS = (1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200)
PARITIES = ("none", "even", "odd")
FORMAT = 1
_BODY = ">BBIBB"
LENGTH = struct.calcsize(_BODY)


def pack(address: int, baud: int, parity: int, stop_bits: int) -> bytes:
    """The body for these settings."""
    return struct.pack(_BODY, FORMAT, address, baud, parity, stop_bits)


def unpack(raw: bytes) -> "tuple[int, int, int, int] | None":
    """(address, baud, parity, stop bits) of a body, or None where it is none."""
    if len(raw) != LENGTH:
        return None
    form, address, baud, parity, stop_bits = struct.unpack(_BODY, raw)
    known = form == FORMAT and 1 <= address <= MAX_ADDRESS and baud in BAUDS
    if not known or parity >= len(PARITIES) or not 1 <= stop_bits <= 2:
        return None
    return address, baud, parity, stop_bits
