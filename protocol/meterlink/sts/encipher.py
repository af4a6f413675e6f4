"""MISTY1 (RFC 2994), encryption: what issues tokens has it, a meter has not."""

import struct

from meterlink.sts.misty1 import Misty1


class Encipher(Misty1):
    """One key of 16 bytes that enciphers as well."""

    def encrypt(self, block: bytes) -> bytes:
        """The enciphered 8 bytes of 8 plain ones."""
        a, b, c, d = struct.unpack(">4H", block)
        for k in (0, 2, 4, 6, 8):
            a, b = self._fl(a, b, k)
            c, d = self._fl(c, d, k + 1)
            if k < 8:
                x, y = self._fo(a, b, k)
                c ^= x
                d ^= y
                x, y = self._fo(c, d, k + 1)
                a ^= x
                b ^= y
        return struct.pack(">4H", c, d, a, b)

    def _fl(self, a: int, b: int, k: int) -> "tuple[int, int]":
        anded, ored = self._fl_keys(k)
        b ^= a & anded
        return a ^ (b | ored), b
