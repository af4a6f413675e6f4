"""DKGA04: a meter's decoder key from the vending key of its supply group (IEC 62055-41 6.5.3; NIST SP 800-108).

The key is the first 16 bytes of HMAC-SHA-256 under a vending key of 20 bytes, over a message of 49 bytes that names the
meter and all that the key is bound to. `message` stands alone, so that a module which keeps the vending key to itself
can make the HMAC.
"""

import hashlib

VENDING_KEY_LENGTH = 20
DECODER_KEY_LENGTH = 16

BASES = (1993, 2014, 2035)  # base dates: 1 January of that year

KT_DITK = 0  # initial key, of the maker
KT_DDTK = 1  # default key of a supply group
KT_DUTK = 2  # unique key of a supply group
KT_DCTK = 3  # common key of a supply group

_INNER = int.from_bytes(b"\x36" * 64, "big")  # RFC 2104
_OUTER = int.from_bytes(b"\x5c" * 64, "big")


class FieldError(ValueError):
    """A value that a key or a token cannot have: `field`, `value` (of a secret: its length) and what was `expected`."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        super().__init__("{}: {} given, {} expected".format(field, value, expected))
        self.field = field
        self.value = value
        self.expected = expected


def in_range(field: str, value: int, least: int, most: int) -> int:
    """`value` where it is in least..most; FieldError otherwise."""
    if not least <= value <= most:
        raise FieldError(field, value, "{}..{}".format(least, most))
    return value


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1, Annex B)."""
    total = 0
    for i in range(len(digits)):
        digit = int(digits[-1 - i]) << (i & 1)
        total += digit // 10 + digit % 10
    return total % 10 == 0


def checked_pan(pan: str) -> str:
    """A PAN: 18 digits (IIN 600727 + DRN of 11, or 0000 + DRN of 13, then the check digit); FieldError otherwise."""
    if len(pan) != 18 or [digit for digit in pan if not "0" <= digit <= "9"]:
        raise FieldError("pan", pan, "18 digits")
    if not luhn(pan):
        raise FieldError("pan", pan, "a check digit (Luhn) that fits the others")
    return pan


class KeyAttributes:
    """What a decoder key is bound to.

    pan: 18 digits with check digit · sgc 0..999999 · ti 0..99 · kt: KT_* · krn 1..9 · base: 1993, 2014 or 2035 ·
    ken 0..255, which goes into key changes and into what may be issued, but not into the key. Raises FieldError.
    """

    def __init__(self, pan: str, sgc: int, ti: int, kt: int, krn: int, base: int, ken: int = 255) -> None:
        self.pan = checked_pan(pan)
        self.sgc = in_range("sgc", sgc, 0, 999_999)
        self.ti = in_range("ti", ti, 0, 99)
        self.kt = in_range("kt", kt, KT_DITK, KT_DCTK)
        self.krn = in_range("krn", krn, 1, 9)
        if base not in BASES:
            raise FieldError("base", base, "1993, 2014 or 2035")
        self.base = base
        self.ken = in_range("ken", ken, 0, 255)


def message(attributes: KeyAttributes) -> bytes:
    """What the HMAC is made over: text fields, each after its length, with an empty one and a constant 4 in the middle;
    then the length of the key in bits."""
    a = attributes
    algorithms = _fields("04", "{:02}".format(a.base % 100), "11", "{:02}".format(a.ti), "")
    identity = _fields("{:06}".format(a.sgc), str(a.kt), str(a.krn), a.pan)
    return b"\x04" + algorithms + b"\x04" + identity + (8 * DECODER_KEY_LENGTH).to_bytes(4, "big")


def _fields(*texts: str) -> bytes:
    return b"".join([bytes([len(text)]) + text.encode() for text in texts])


def derive(vending_key: bytes, attributes: KeyAttributes) -> bytes:
    """The decoder key (16 bytes) under a vending key of 20 bytes; FieldError for another length."""
    if len(vending_key) != VENDING_KEY_LENGTH:
        raise FieldError("vending_key", "{} bytes".format(len(vending_key)), "{} bytes".format(VENDING_KEY_LENGTH))
    padded = int.from_bytes(vending_key + bytes(64 - VENDING_KEY_LENGTH), "big")
    inner = hashlib.sha256((padded ^ _INNER).to_bytes(64, "big") + message(attributes)).digest()
    return hashlib.sha256((padded ^ _OUTER).to_bytes(64, "big") + inner).digest()[:DECODER_KEY_LENGTH]
