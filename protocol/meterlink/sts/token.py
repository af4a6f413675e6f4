"""A typed token: 20 digits to fields, as a meter reads it (IEC 62055-41 6.2, 6.3.7, 6.4).

66 bits: two in front, then a block of 64. The class (2 bits, clear) stands in bits 28 and 27, and what those bits of
the block are stands in front. The block, most significant first: subclass 4 | data 44 | CRC 16; enciphered but for
class 1.
Of the data, a token that is used once has RND 4 | TID 24 (minutes since the base date) | register 16.
"""

from meterlink.modbus import crc16  # the same CRC, low byte first as there
from meterlink.sts.misty1 import Misty1
from meterlink.sts.results import MALFORMED, REJECTED

DIGITS = 20

CREDIT = 0  # class 0; subclass 0 electricity, 1 water, 2 gas, 3 time, 4..7 the same in currency
DISPLAY = 1  # class 1
MANAGE = 2  # class 2, subclasses:

SET_POWER = 0  # W
CLEAR_CREDIT = 1
SET_TARIFF = 2
KEY_SECTION_1 = 3
KEY_SECTION_2 = 4
CLEAR_TAMPER = 5
SET_UNBALANCE = 6  # W
SET_WATER_FACTOR = 7
KEY_SECTION_3 = 8
KEY_SECTION_4 = 9
SUPPLY_HELP = 11  # of 11..15, which the standard leaves to makers; `amount.help_of`

KEY_SECTIONS = (KEY_SECTION_1, KEY_SECTION_2, KEY_SECTION_3, KEY_SECTION_4)


class TokenError(ValueError):
    """A token that is not taken; `code` is one of `results`. Nothing of key or token is in the text."""

    def __init__(self, code: int) -> None:
        super().__init__("token: result {}".format(code))
        self.code = code


class Token:
    """What a token says: its class, its subclass and its 44 bits of data.

    tid (0..2^24-1) and register (0..0xFFFF) are cut out of the data; they mean something in a token that is used once,
    and nothing in a section of a key change and in class 1.
    """

    def __init__(self, token_class: int, subclass: int, data: int) -> None:
        self.token_class = token_class
        self.subclass = subclass
        self.data = data
        self.tid = data >> 16 & 0xFFFFFF
        self.register = data & 0xFFFF


def decode(key: bytes, digits: str) -> Token:
    """The token that 20 digits are, under a decoder key of 16 bytes (class 1 is clear and needs none).

    Raises TokenError: MALFORMED for what cannot be a token, REJECTED where the CRC is wrong or the class is reserved.
    """
    for digit in digits:
        if not "0" <= digit <= "9":
            raise TokenError(MALFORMED)
    if len(digits) != DIGITS or int(digits) >> 66:
        raise TokenError(MALFORMED)
    number = int(digits)
    token_class = number >> 27 & 3
    block = number & 0xFFFFFFFFE7FFFFFF | number >> 64 << 27
    octets = block.to_bytes(8, "big")
    if token_class != DISPLAY:
        octets = Misty1(key).decrypt(octets)
    if token_class > MANAGE or crc16(bytes([token_class]) + octets):
        raise TokenError(REJECTED)
    return Token(token_class, octets[0] >> 4, int.from_bytes(octets[:6], "big") & 0xFFFFFFFFFFF)
