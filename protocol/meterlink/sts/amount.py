"""What the 16-bit register of a token says (IEC 62055-41 6.3.6): integers, the unit is the subclass's.

Exponent 2 bits, mantissa 14 bits: a range of 16 384 steps of 1, then of 10, 100 and 1000 units, each beginning where
the one before it ends. 0.1 kWh for electricity, W for limits of power.
"""

MAX_UNITS = 18_201_624

HELP_RELEASE = 0  # the hold for arrears is released; value 0
HELP_ALLOWANCE = 1  # energy for a paid customer whose link is dead; value in 0.1 kWh


def units_of(register: int) -> int:
    """0..MAX_UNITS that a register (0..0xFFFF) stands for."""
    scale = 10 ** (register >> 14)
    return scale * (register & 0x3FFF) + 0x4000 * (scale // 9)


def help_of(register: int) -> "tuple[int, int]":
    """(kind 0..15, value 0..4095) of a supply help token (class 2 subclass 11, our own use of what makers may use)."""
    return register >> 12, register & 0xFFF
