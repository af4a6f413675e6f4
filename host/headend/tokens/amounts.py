"""What a credit token can be worth: 0.1 kWh units, of which the 16-bit register holds every one only up to 1 638.3 kWh.

Above that it counts in steps of 1, 10 and 100 kWh. A payment has to be worth exactly what the token is, so amounts
between two steps are refused with the two amounts beside them.
"""

from typing import NamedTuple

from headend.refusals import Refused
from meterlink.sts.amount import MAX_UNITS, units_of
from meterlink.sts.issue import register_of

UNIT_UC = 100_000  # 0.1 kWh in the account unit of books in kWh
MAX_AMOUNT_UC = MAX_UNITS * UNIT_UC


class Beside(NamedTuple):
    """The nearest amounts that one token can be worth, at or below and at or above; None where there is none."""

    below_uc: int | None
    above_uc: int | None


class NotOneToken(Refused):
    """No single token is worth this; `beside` holds the nearest ones."""

    def __init__(self, amount_uc: int, near: Beside) -> None:
        super().__init__("amount", kwh(amount_uc), " or ".join(kwh(one_uc) for one_uc in near if one_uc is not None))
        self.beside = near


def kwh(amount_uc: int) -> str:
    """An amount of energy for people: "12.5 kWh"."""
    whole, rest = divmod(amount_uc, 10 * UNIT_UC)
    return f"{whole}.{f'{rest:06d}'.rstrip('0') or '0'} kWh"


def beside(amount_uc: int) -> Beside:
    """What can be sold nearest to `amount_uc`."""
    units, rest = divmod(amount_uc, UNIT_UC)
    if units >= MAX_UNITS:
        return Beside(MAX_AMOUNT_UC, MAX_AMOUNT_UC if amount_uc == MAX_AMOUNT_UC else None)
    register = register_of(units)
    below = units if units_of(register) == units else units_of(register - 1)
    above = units_of(register_of(units + (rest > 0)))
    return Beside(below * UNIT_UC or None, above * UNIT_UC)


def register_for(amount_uc: int) -> int:
    """The register of a token that is worth `amount_uc` (1..); raises NotOneToken."""
    near = beside(amount_uc)
    if amount_uc not in near:
        raise NotOneToken(amount_uc, near)
    return register_of(amount_uc // UNIT_UC)
