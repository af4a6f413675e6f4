"""What the meter answers to an order: one code each.

0 means that nothing was ever answered; 1..15 are successes; from 16 on a refusal, which has changed nothing.
The names that programs and documents use are the constants in lower case (`names.RESULT`).
"""

NONE = 0
APPLIED = 1  # done and durable
ALREADY = 2  # the meter stood there before: the same order again, or a total it has reached
PENDING = 3  # stored whole, not judged yet

BAD_LENGTH = 16  # shorter or longer than its fields say, or over 240 bytes
BAD_FORMAT = 17  # unknown format byte, unknown flag, or a field that must be zero is not
UNKNOWN_ASPECT = 18
NOT_IMPLEMENTED = 19  # a known aspect that this firmware does not carry out
WRONG_METER = 20
WRONG_EPOCH = 21  # of an account that is closed, or not yet opened, on this meter
OLD_VERSION = 22
CONFLICT = 23  # the version that the meter holds, with other content
EXPIRED = 24
CLOCK_UNKNOWN = 25  # takes something away and expires, and the meter does not know the time
BAD_TAG = 26
BAD_SIGNATURE = 27
WRONG_ROLE = 28  # genuine, but signed by a key that may not order this
UNKNOWN_KEY = 29  # key version or tag key version that the meter does not hold
BAD_BODY = 30
VERSION_JUMP = 31  # more than 1 000 ahead without the root key
BUSY = 32  # a verification from this carrier is running and this order is not newer
STORAGE_FAILED = 33
HISTORY_LOST = 34  # only a `recover` order is taken
SOURCES_FULL = 35  # a source that the meter does not know, and no room for it
EXPIRY_REQUIRED = 36  # a stop without a not-after
SUPERSEDED = 37  # gave way to a newer order before it was judged
BAD_NONCE = 38  # answers no nonce of this meter, or moves the clock too far without one
BODY_MISSING = 39  # the body travels apart and has not arrived
BAD_CRC = 40  # mailbox: the bytes are not those that were sent
SOURCE_CLOSED = 41  # a credit source whose final totals are folded already, and these are higher
ALREADY_TYPED = 42  # a typed token that the order replaces was used at the meter: no part of the order applies
RETIRED = 43  # the account is closed for good; only an `epoch` order opens another
DOWNGRADE = 44  # an image older than the one that runs
REFUND_EXCEEDS = 49  # more would be taken back than the order brings and the account holds
DEBT_BELOW = 51  # a debt's placed or withdrawn total below the one that the meter holds
NOT_IN_MODE = 50  # a release that closes, or permits to, as the mode of disconnect control does not list
BAD_IMAGE = 53  # an image that is not what was offered, or not what its order says
WRONG_BOARD = 54  # an image for another board
JOURNAL_NEWER = 55  # an image that writes a journal which the running one could not read after a rollback
ROLLED_BACK = 56  # an image that was started and did not pass its self-test
SEALED = 57  # calibration, while the seal switch is closed


def succeeded(code: int) -> bool:
    """Whether the order's wanted state holds on the meter."""
    return code == APPLIED or code == ALREADY
