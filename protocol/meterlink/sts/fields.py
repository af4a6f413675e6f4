"""A decoded token in words and numbers, for people and programs. For the host: a meter does not carry it."""

from meterlink.sts.amount import help_of, units_of
from meterlink.sts.issue import issued_s
from meterlink.sts.token import CREDIT, DISPLAY, KEY_SECTIONS, MANAGE, SET_POWER, SET_UNBALANCE, SUPPLY_HELP, Token

# (class, subclass) -> what the token is for
NAMES = {
    (0, 0): "electricity credit",
    (0, 1): "water credit",
    (0, 2): "gas credit",
    (0, 3): "time credit",
    (0, 4): "electricity credit in currency",
    (0, 5): "water credit in currency",
    (0, 6): "gas credit in currency",
    (0, 7): "time credit in currency",
    (1, 0): "test or display",
    (1, 1): "test or display",
    (2, 0): "set maximum power",
    (2, 1): "clear credit",
    (2, 2): "set tariff rate",
    (2, 3): "key change, section 1",
    (2, 4): "key change, section 2",
    (2, 5): "clear tamper",
    (2, 6): "set maximum phase power unbalance",
    (2, 7): "set water meter factor",
    (2, 8): "key change, section 3",
    (2, 9): "key change, section 4",
    (2, 11): "supply help",
}

_ENERGY = {0: "0.1 kWh", 1: "0.1 m3", 2: "0.1 m3", 3: "0.1 min"}


def unit(token_class: int, subclass: int) -> str:
    """The unit of an amount; empty where the register is a plain number."""
    if token_class == CREDIT:
        return _ENERGY.get(subclass, "currency")
    return "W" if token_class == MANAGE and subclass in (SET_POWER, SET_UNBALANCE) else ""


def describe(token: Token, base: "int | None" = None) -> "dict[str, object]":
    """Every field by name; with a base date also the minute of issue, in seconds since 1970 UTC. Secret key halves are
    left out of sections of a key change."""
    kind = token.token_class, token.subclass
    found = {"class": kind[0], "subclass": kind[1], "name": NAMES.get(kind, "reserved")}  # type: dict[str, object]
    if token.token_class == DISPLAY:
        bits = 16 if token.subclass else 8
        found["control"] = ("{:07x}" if token.subclass else "{:09x}").format(token.data >> bits)
        found["mfr"] = token.data & (1 << bits) - 1
    elif token.token_class == MANAGE and token.subclass in KEY_SECTIONS:
        found.update(_section(KEY_SECTIONS.index(token.subclass), token.data >> 32))
    else:
        found.update(_once(token, base))
    return found


def _once(token: Token, base: "int | None") -> "dict[str, object]":
    found = {"rnd": token.data >> 40, "tid": token.tid}  # type: dict[str, object]
    if base is not None:
        found["issued_s"] = issued_s(base, token.tid)
    found["register"] = "{:04x}".format(token.register)
    name = unit(token.token_class, token.subclass)
    if name:
        found["units"] = units_of(token.register)
        found["unit"] = name
    elif token.token_class == MANAGE and token.subclass == SUPPLY_HELP:
        found["kind"], found["value"] = help_of(token.register)
    return found


def _section(index: int, head: int) -> "dict[str, object]":
    """The 12 bits in front of a section's quarter of the new key."""
    if index == 0:
        return {
            "section": 1, "ken_high": head >> 8, "krn": head >> 4 & 15, "rollover": head >> 3 & 1,
            "flag_3kct": head >> 2 & 1, "kt": head & 3,
        }  # fmt: skip
    if index == 1:
        return {"section": 2, "ken_low": head >> 8, "ti": head & 0xFF}
    return {"section": index + 1, "sgc_low" if index == 2 else "sgc_high": head}
