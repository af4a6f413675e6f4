"""What the meter answers to a typed token: one code each, shown where it was typed.

1..15: it was taken; from 16 on it was not, and nothing but the count of wrong entries has changed. The names that
programs and documents use are the constants in lower case (`names.TYPED`).
"""

NONE = 0  # no token was typed yet
ACCEPTED = 1  # done and durable: credit added, setting made, key changed
SECTION_STORED = 2  # a section of a key change; the change happens when its last one is typed
DISPLAY = 3  # class 1: the meter shows or tests what was asked; works on every meter

REJECTED = 16  # the CRC is wrong under this key: mistyped, of another meter or of an old key; counts as a guess
USED = 17  # this token was taken before
OLD = 18  # issued before the oldest token that the meter remembers
KEY_EXPIRED = 19  # issued after the key number's end: the meter needs a key change first
OVERFLOW = 20  # would exceed the credit limit; usable again when the balance has fallen
NOT_IMPLEMENTED = 21  # genuine, and something that this meter does not do
WRONG_UNIT = 22  # credit in another unit than the account's; stays usable
LOCKED = 23  # too many wrong entries: not looked at before the lock-out ends
CAPPED = 24  # would exceed what may be typed in a month; usable next month
OFF = 25  # typed tokens are turned off on this meter
MALFORMED = 26  # not 20 digits, or a number that no token has; not counted as a guess
STORAGE_FAILED = 27  # the meter could not store it; stays usable


def succeeded(code: int) -> bool:
    """Whether the token was taken."""
    return 0 < code < 16
