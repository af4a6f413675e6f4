"""A key change at the meter: four sections, typed in any order, that take effect together (IEC 62055-41 6.2).

| section | subclass | 44 bits of data |
|---|---|---|
| 1 | 3 | KEN high 4, KRN 4, rollover 1, 3KCT 1, KT 2, NK-HO 32 |
| 2 | 4 | KEN low 4, TI 8, NK-LO 32 |
| 3 | 8 | SGC low 12, NK-MO2 32 |
| 4 | 9 | SGC high 12, NK-MO1 32 |

The new key is NK-HO, NK-MO2, NK-MO1, NK-LO. A key of EA11 has 128 bits, so nothing less than four sections is a change:
3KCT, which announces a third and last section, belongs to ciphers with 64 bits.
"""

import struct

from meterlink.sts.results import NOT_IMPLEMENTED
from meterlink.sts.token import (
    KEY_SECTION_1,
    KEY_SECTION_2,
    KEY_SECTION_3,
    KEY_SECTION_4,
    KEY_SECTIONS,
    TokenError,
)


class NewKey:
    """A decoder key (16 bytes) and its attributes: kt 0..3, krn, ken 0..255, ti, sgc, and whether the base date rolls
    over."""

    def __init__(self, sections: "dict[int, int]") -> None:
        one = sections[KEY_SECTION_1]
        two = sections[KEY_SECTION_2]
        three = sections[KEY_SECTION_3]
        four = sections[KEY_SECTION_4]
        mask = 0xFFFFFFFF
        self.key = struct.pack(">4I", one & mask, three & mask, four & mask, two & mask)
        self.kt = one >> 32 & 3
        self.rollover = bool(one >> 35 & 1)
        self.krn = one >> 36 & 15
        self.ken = one >> 40 << 4 | two >> 40
        self.ti = two >> 32 & 0xFF
        self.sgc = four >> 32 << 12 | three >> 32


class KeyChange:
    """The sections stored so far. `stored` is what `pack` gave, whole; empty when there are none."""

    def __init__(self, stored: bytes = b"") -> None:
        self._sections = {}  # type: dict[int, int]
        for at in range(0, len(stored), 7):
            self._sections[stored[at]] = int.from_bytes(stored[at + 1 : at + 7], "big")

    def pack(self) -> bytes:
        """What to store: subclass 1 and data 6 for each section; at most 28 bytes. It holds key material."""
        stored = b""
        for subclass, data in sorted(self._sections.items()):
            stored += bytes([subclass]) + data.to_bytes(6, "big")
        return stored

    def missing(self) -> "list[int]":
        """The numbers 1..4 of the sections that are still to be typed."""
        return [n + 1 for n in range(4) if KEY_SECTIONS[n] not in self._sections]

    def take(self, subclass: int, data: int) -> "NewKey | None":
        """Store a section; the new key once all four are there.

        A section that says something else than the one with its number begins another change: those of the first are
        dropped, for together they would make a key that nobody has. Raises TokenError(NOT_IMPLEMENTED) for a change of
        three sections; then nothing is stored.
        """
        if subclass == KEY_SECTION_1 and data >> 34 & 1:
            raise TokenError(NOT_IMPLEMENTED)
        if self._sections.get(subclass, data) != data:
            self._sections = {}
        self._sections[subclass] = data
        return None if self.missing() else NewKey(self._sections)
