"""What the display shows for a token of class 1: pages by the number of the test (IEC 62055-41 6.3.8, table 27).

Test n is bit n - 1 of the control field. Nothing is switched: such a token needs no key, so anybody can make it.
"""

from meter.release import VERSION

EA = 11  # encryption algorithm
KEY_CHANGE_TOKENS = 4

DISPLAY = 2
ENERGY = 3
KEYPAD = 6

# test, value: energy in Wh, power in W, latches as bits, ASCII, the meter's number; None: the display or the keypad
_PAGES = (
    (DISPLAY, None),
    (ENERGY, lambda meter: meter.committed()[1]),
    (4, lambda meter: meter.typed.attributes[3]),
    (5, lambda meter: meter.typed.attributes[2]),
    (KEYPAD, None),
    (7, lambda meter: meter.supply.power_limit_w),
    (8, lambda meter: meter.latches.word),
    (9, lambda meter: meter.board.power_w()),
    (10, lambda meter: VERSION.encode()),
    (13, lambda meter: meter.pricing.rate),
    (14, lambda meter: EA),
    (15, lambda meter: KEY_CHANGE_TOKENS),
    (16, lambda meter: meter.typed.attributes[0]),
    (17, lambda meter: meter.typed.attributes[4]),
    (18, lambda meter: meter.number),
)


def pages(meter, control: int) -> "list[tuple[int, int | bytes | None]]":
    """(test, value) of what a control field asks for, in order; tests that this meter does not have are left out."""
    found = []
    for test, value in _PAGES:
        if control >> test - 1 & 1:
            found.append((test, value(meter) if value else None))
    return found
