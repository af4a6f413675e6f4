"""Numbers of varying length in packed records, seven bits a byte, low ones first; and reading them with every end
checked.
"""

_LONGEST = 5  # bytes of a varint: 35 bits


class Damaged(ValueError):
    """These bytes are no packed records, or not all of them."""


def varint(number: int) -> bytes:
    """A number from 0 on."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


class Source:
    """Bytes that are read one after the other; Damaged where they end too early."""

    def __init__(self, raw: bytes, at: int = 0) -> None:
        self._raw = raw
        self._at = at

    def take(self, length: int) -> bytes:
        """The next bytes."""
        found = self._raw[self._at : self._at + length]
        if len(found) != length:
            raise Damaged("packed records end too early")
        self._at += length
        return found

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self, length: int) -> int:
        """A big-endian number."""
        return int.from_bytes(self.take(length), "big")

    def varint(self) -> int:
        number = 0
        for place in range(_LONGEST):
            byte = self.byte()
            number |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return number
        raise Damaged("a number is too long")

    def end(self) -> None:
        """Raise Damaged where bytes are left."""
        if self._at != len(self._raw):
            raise Damaged("something stands behind packed records")
