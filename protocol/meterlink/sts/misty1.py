"""MISTY1 (RFC 2994), eight rounds, 128-bit key, 64-bit block: the key schedule and decryption, all that a meter needs.

Everything is done in words of 16 bits, so that no number becomes an object on the heap of a 32-bit port. Names are the
RFC's: FI (2.3.1), FO (2.3.2), FL (2.3.3), EK the expanded key (2.2; its last two parts are cut out where needed).
"""

import struct
from array import array

KEY_LENGTH = 16

_S7 = (
    b"\x1b\x32\x33\x5a\x3b\x10\x17\x54\x5b\x1a\x72\x73\x6b\x2c\x66\x49"
    b"\x1f\x24\x13\x6c\x37\x2e\x3f\x4a\x5d\x0f\x40\x56\x25\x51\x1c\x04"
    b"\x0b\x46\x20\x0d\x7b\x35\x44\x42\x2b\x1e\x41\x14\x4b\x79\x15\x6f"
    b"\x0e\x55\x09\x36\x74\x0c\x67\x53\x28\x0a\x7e\x38\x02\x07\x60\x29"
    b"\x19\x12\x65\x2f\x30\x39\x08\x68\x5f\x78\x2a\x4c\x64\x45\x75\x3d"
    b"\x59\x48\x03\x57\x7c\x4f\x62\x3c\x1d\x21\x5e\x27\x6a\x70\x4d\x3a"
    b"\x01\x6d\x6e\x63\x18\x77\x23\x05\x26\x76\x00\x31\x2d\x7a\x7f\x61"
    b"\x50\x22\x11\x06\x47\x16\x52\x4e\x71\x3e\x69\x43\x34\x5c\x58\x7d"
)

# S9 has algebraic degree 2: it is the 46 coefficients of its normal form, two bytes each, for 1, x0, x1, x0x1, x2 …
# (the inputs with at most two bits set, rising). A seventh of the table, and the table is what they make.
_S9_TERMS = (
    b"\x01\xc3\x01\x08\x00\x90\x01\xc4\x00\x20\x00\x02\x01\x88\x00\x42\x00\x30\x00\x06\x00\x92\x01"
    b"\x04\x00\x85\x00\x60\x00\x0c\x00\x26\x00\x88\x01\x11\x00\x09\x01\x40\x00\x18\x00\x4e\x00\x10"
    b"\x00\x06\x00\xa1\x00\x13\x01\x80\x00\x30\x01\x1c\x00\x22\x01\x80\x00\x0c\x00\x41\x00\x25\x00"
    b"\x80\x00\x60\x00\xb8\x00\x44\x01\x62\x00\x80\x00\x18\x01\x03\x00\x49\x00\x02\x01\x40\x00\x70"
)


def _s9() -> "array[int]":
    """The table of S9: its terms where they belong, then every entry summed over the subsets of its bits."""
    table = array("H", bytes(1024))
    at = 0
    for x in range(512):
        rest = x & (x - 1)
        if rest & (rest - 1) == 0:
            table[x] = _S9_TERMS[at] << 8 | _S9_TERMS[at + 1]
            at += 2
    bit = 1
    while bit < 512:
        for x in range(512):
            if x & bit:
                table[x] ^= table[x ^ bit]
        bit <<= 1
    return table


_S9 = _s9()


def _fi(x: int, key: int) -> int:
    s9 = _S9
    d7 = x & 0x7F
    d9 = s9[x >> 7] ^ d7
    d7 = _S7[d7] ^ d9 & 0x7F ^ key >> 9
    return d7 << 9 | s9[d9 ^ key & 0x1FF] ^ d7


class Misty1:
    """One key, prepared. `key` has 16 bytes; raises ValueError otherwise."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_LENGTH:
            raise ValueError("key: {} bytes given, {} expected".format(len(key), KEY_LENGTH))
        words = struct.unpack(">8H", key)
        self._ek = words + tuple([_fi(words[i], words[i + 1 & 7]) for i in range(8)])

    def decrypt(self, block: bytes) -> bytes:
        """The plain 8 bytes of 8 enciphered ones."""
        c, d, a, b = struct.unpack(">4H", block)
        for k in (8, 6, 4, 2, 0):
            if k < 8:
                x, y = self._fo(c, d, k + 1)
                a ^= x
                b ^= y
                x, y = self._fo(a, b, k)
                c ^= x
                d ^= y
            a, b = self._fl_inverse(a, b, k)
            c, d = self._fl_inverse(c, d, k + 1)
        return struct.pack(">4H", a, b, c, d)

    def _fo(self, a: int, b: int, k: int) -> "tuple[int, int]":
        ek = self._ek
        a = _fi(a ^ ek[k & 7], ek[k + 5 & 7 | 8]) ^ b
        b = _fi(b ^ ek[k + 2 & 7], ek[k + 1 & 7 | 8]) ^ a
        a = _fi(a ^ ek[k + 7 & 7], ek[k + 3 & 7 | 8]) ^ b
        return b ^ ek[k + 4 & 7], a

    def _fl_keys(self, k: int) -> "tuple[int, int]":
        """What is ANDed and what is ORed in FL number k (0..9)."""
        ek = self._ek
        i = k >> 1
        if k & 1:
            return ek[i + 2 & 7 | 8], ek[i + 4 & 7]
        return ek[i & 7], ek[i + 6 & 7 | 8]

    def _fl_inverse(self, a: int, b: int, k: int) -> "tuple[int, int]":
        anded, ored = self._fl_keys(k)
        a ^= b | ored
        return a, b ^ a & anded
