"""What can go wrong between a master and a meter on Modbus: one exception, one code for each outcome.

`REFUSED` carries the Modbus exception code (MODBUS Application Protocol Specification V1.1b3, 7).
"""

UNREACHABLE = "unreachable"  # the port cannot be opened, or nobody listens at the address
LOST = "lost"  # the connection broke while an answer was awaited
SILENT = "silent"  # no byte came in time
GARBLED = "garbled"  # bytes came, but no frame
REFUSED = "refused"  # the meter, or a gateway, answered with an exception
FOREIGN = "foreign"  # an answer that does not fit the question
STRANGE = "strange"  # a block that is not what its address promises
TORN = "torn"  # the block changed while it was read in parts
STALE = "stale"  # the block holds the answer to another question
DAMAGED = "damaged"  # a record whose CRC or sequence number is wrong
OTHER_METER = "other_meter"  # another meter answers at this address
BUSY = "busy"  # too much waits for this bus
RESTING = "resting"  # it was silent several times in a row, and is not asked for a while

EXCEPTIONS = {
    1: "illegal function",
    2: "illegal address",
    3: "illegal value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    10: "gateway path unavailable",
    11: "gateway target does not respond",
}


class LinkError(Exception):
    """A transaction that brought nothing. `outcome`: one of this module's codes · the text: a sentence that names it ·
    `exception`: the Modbus exception code where the outcome is `REFUSED`, else 0.
    """

    def __init__(self, outcome: str, sentence: str, exception: int = 0) -> None:
        super().__init__(sentence)
        self.outcome = outcome
        self.exception = exception
