"""Random bytes of a board: what the port gives, mixed with what has been seen before.

ESP32: the hardware generator behind `os.urandom` is a true one only while Wi-Fi, Bluetooth or its ADC source runs
(Espressif, "Random Number Generation"). RP2040: it samples a ring oscillator, of which the vendor promises nothing.
So neither is used as it is: SHA-256 over a pool to which each use adds 32 bytes of the port's and the time in
microseconds; what is given out tells nothing of the pool (NIST SP 800-90A speaks of backtracking resistance).
"""

import hashlib
import os
import struct


class Entropy:
    """`ticks_us()`: the port's microseconds. `seed`: what makes this board differ from others, such as its chip id."""

    def __init__(self, ticks_us, seed: bytes = b"") -> None:
        self._ticks_us = ticks_us
        self._pool = hashlib.sha256(seed).digest()

    def add(self, data: bytes) -> None:
        """Mix something in that nobody can foretell, such as the last digits of a measurement."""
        self._pool = hashlib.sha256(b"in" + self._pool + data).digest()

    def entropy(self, count: int) -> bytes:
        """Random bytes."""
        out = b""
        while len(out) < count:
            self.add(os.urandom(32) + struct.pack(">I", self._ticks_us() & 0xFFFFFFFF))
            out += hashlib.sha256(b"out" + self._pool).digest()
        return out[:count]
