"""`token`: types a token over the service port and says what the meter made of it."""

import argparse

from fieldtool import values
from fieldtool.session import DONE, NOT_SO, Session, UsageError
from headend.links.blocks import Block
from headend.links.failures import LinkError
from meterlink import names, registers
from meterlink.sts import results

DIGITS = 20
_ILLEGAL_ADDRESS = 2

# What a token of class 1 asks for (IEC 62055-41 6.3.8, table 27), as far as the meter's registers tell it: bit of the
# control field, block, field.
PAGES = (
    (2, "hot", "import_wh"),
    (3, "token", "key_revision"),
    (4, "token", "tariff_index"),
    (6, "token", "power_limit_w"),
    (7, "hot", "latches"),
    (8, "hot", "power_w"),
    (9, "ident", "firmware"),
    (12, "hot", "rate"),
    (15, "token", "supply_group"),
    (16, "token", "key_expiry"),
    (17, "ident", "meter"),
)


def digits_of(groups: list[str]) -> str:
    """20 digits, however they are grouped."""
    digits = "".join(groups).replace(" ", "").replace("-", "")
    if len(digits) != DIGITS or not (digits.isascii() and digits.isdigit()):
        raise UsageError(f"DIGITS: {' '.join(groups)!r} given, {DIGITS} digits expected")
    return digits


async def token(session: Session, given: argparse.Namespace) -> int:
    """Type it once, show the result."""
    digits = digits_of(given.digits)
    ident = await session.meter.block(registers.IDENT)
    try:
        shown = await session.meter.type_token(digits)
    except LinkError as error:
        if error.exception != _ILLEGAL_ADDRESS:
            raise
        session.say("typed_elsewhere")
        return NOT_SO
    code = shown.number("typed_result")
    hot = await session.meter.block(registers.HOT)
    unit = values.currency(ident.values["currency"])
    session.say("typed_says", result=session.words.code("typed", names.of(names.TYPED, code)))
    if shown.number("typed_amount_uc"):
        amount, balance = (values.money(uc, unit) for uc in (shown.number("typed_amount_uc"), hot.number("balance_uc")))
        session.say("typed_credited", amount=amount, balance=balance)
    if shown.number("lockout_s"):
        session.say("typed_locked", seconds=shown.number("lockout_s"))
    if code == results.SECTION_STORED:
        missing = [str(n + 1) for n in range(4) if not shown.number("sections") >> n & 1]
        session.say("typed_sections", sections=session.words.join(missing))
    if code == results.DISPLAY:
        _pages(session, {"ident": ident, "hot": hot, "token": shown}, unit)
    return DONE if results.succeeded(code) else NOT_SO


def _pages(session: Session, blocks: dict[str, Block], unit: str) -> None:
    """What the token asks for, in the order of its bits."""
    control, words = blocks["token"].number("typed_control"), session.words
    rows = [
        (words.field(field), values.shown(words, field, blocks[block].values[field], unit))
        for bit, block, field in PAGES
        if control >> bit & 1
    ]
    if rows:
        session.pairs(rows)
