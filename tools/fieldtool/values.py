"""Values as people read them: integers of the wire to numbers with units, times, lists of names; and text tables."""

import datetime
import unicodedata
from collections.abc import Mapping, Sequence

from fieldtool.words import Words
from headend.links.blocks import Value
from meterlink import names, reasons, topics
from meterlink.registers import BLOCKS

# ISO 4217 numeric -> alphabetic, where the tool knows it; others are shown as their number.
CURRENCIES = {
    0: "kWh", 36: "AUD", 50: "BDT", 116: "KHR", 156: "CNY", 356: "INR", 360: "IDR", 404: "KES", 458: "MYR", 566: "NGN",
    586: "PKR", 608: "PHP", 646: "RWF", 704: "VND", 710: "ZAR", 764: "THB", 800: "UGX", 826: "GBP", 834: "TZS",
    840: "USD", 936: "GHS", 978: "EUR",
}  # fmt: skip

# Fields that hold a code or a word of bits: the table of names, the table of words.
_CODES = {
    "control": (names.CONTROL, "control"),
    "contact": (names.CONTACT, "contact"),
    "diagnosis": (names.DIAGNOSIS, "diagnosis"),
    "pending": (names.PENDING, "pending"),
    "clock": (names.CLOCK, "clock"),
    "aspect": (names.ASPECT, "aspect"),
    "kind": (names.REPORT, "report"),
    "result": (names.RESULT, "result"),
    "mode": (names.MODE, "mode"),
    "typed_result": (names.TYPED, "typed"),
    "key_type": (dict(enumerate(("ditk", "ddtk", "dutk", "dctk"))), "key_type"),
    "board_class": ({1: "bench", 2: "sealed"}, "board_class"),
}
_BITS = {
    "holds": (names.HOLD, "hold"),
    "causes": (names.CAUSE, "cause"),
    "alarms": (names.ALARM, "alarm"),
    "latches": (names.LATCH, "latch"),
    "sections": ({n: str(n + 1) for n in range(4)}, "section"),
}
# What stands for "none" in fields that have no other word for it.
_NONE = {
    "supply_group": 0xFFFFFFFF,
    "key_revision": 0,
    "typed_tid": 0xFFFFFFFF,
    "power_limit_w": 0,
    "sections": 0,
    "until_wh": 0,
}
_BASES = {0: "1993", 1: "2014", 2: "2035"}
_SATURATED = 0xFFFF
_TIMES = ("time_s", "due_s")
_SCALE = {field[0]: (field[2], field[3]) for _, _, _, fields in BLOCKS for field in fields}


def decimal(value: int, exponent: int, places: int = 0) -> str:
    """value * 10 ** exponent (exponent <= 0), exact, with at least `places` decimals and no more zeros than that."""
    if exponent == 0:
        return str(value)
    sign, digits = ("-" if value < 0 else ""), str(abs(value)).rjust(1 - exponent, "0")
    whole, rest = digits[:exponent], digits[exponent:]
    rest = rest.rstrip("0").ljust(places, "0")
    return f"{sign}{whole}.{rest}" if rest else sign + whole


def currency(code: object) -> str:
    """The name of a currency by its ISO 4217 number."""
    return CURRENCIES.get(code, f"ISO 4217 no. {code}") if isinstance(code, int) else ""


def money(amount_uc: int, unit: str = "") -> str:
    """Micro-currency as an amount, exact, with two decimals at least."""
    return f"{decimal(amount_uc, -6, 2)} {unit}".rstrip()


def utc(unix_s: int) -> str:
    """A UTC second."""
    return datetime.datetime.fromtimestamp(unix_s, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def code_name(field: str, value: int) -> str | list[str] | None:
    """The names that programs use for a code or a word of bits; None for a field that is neither."""
    if field in _CODES:
        return names.of(_CODES[field][0], value)
    if field in _BITS:
        return names.of_bits(_BITS[field][0], value)
    return None


def shown(words: Words, field: str, value: Value, unit: str) -> str:
    """A value of a block or report for people; `unit`: the currency."""
    if value is None:
        return words.say("not_measured")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        return value
    if _NONE.get(field) == value:
        return words.say("none")
    if field == "base_date":
        return _BASES.get(value, str(value))
    if field == "supply_group":
        return f"{value:06d}"
    if field in _BITS:
        table, word = _BITS[field]
        return words.join([words.code(word, name) for name in names.of_bits(table, value)])
    if field in _CODES:
        table, word = _CODES[field]
        return words.code(word, names.of(table, value))
    if field in _TIMES:
        return f"{utc(value)} UTC" if value else words.say("none")
    if field == "meter":
        return topics.meter_name(value)
    if field == "currency":
        return currency(value)
    if field.endswith("_uc"):
        return money(value, unit)
    if field.endswith("_wh"):
        return f"{decimal(value, -3, 3)} kWh"
    if (field, value) == ("no_load_s", _SATURATED):
        return words.say("or_more", value=words.say("seconds", count=value))
    exponent, name = _SCALE.get(field, (0, ""))
    name = name.replace("currency", unit)
    return f"{decimal(value, exponent, 2 if unit and unit in name else -exponent)} {name}".rstrip()


def width(text: str) -> int:
    """Columns that a text takes on a terminal: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def padded(text: str, columns: int) -> str:
    return text + " " * (columns - width(text))


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the columns under each other; the first row is the heading."""
    widths = [max(width(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(padded(cell, columns) for cell, columns in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def why_off(words: Words, values: Mapping[str, int]) -> str:
    """A sentence on supply, from the fields that `hot` and reports have in common."""
    holds = names.of_bits(names.HOLD, values["holds"] & ~(1 << reasons.HOLD_PROTECTION))
    parts = [words.say("hold", reason=words.code("hold", name)) for name in holds]
    parts += [words.code("cause", name) for name in names.of_bits(names.CAUSE, values["causes"])]
    control = names.of(names.CONTROL, values["control"])
    pending = names.of(names.PENDING, values["pending"])
    if values["diagnosis"]:
        parts.append(words.code("diagnosis", names.of(names.DIAGNOSIS, values["diagnosis"])))
    if pending == "close":
        parts.append(words.say("closing", time=utc(values["due_s"])))
    if pending == "trip":
        parts.append(words.say("tripping", time=utc(values["due_s"])))
    if control == "ready" and not parts:
        parts.append(words.say("waits"))
    contact = names.of(names.CONTACT, values["contact"])
    if values["holds"] >> reasons.HOLD_PROTECTION & 1:
        parts.append(words.say("protected"))
    why = words.join(parts) if parts else words.say("no_reason")
    if contact == "unknown":
        return words.say("unsensed", control=words.code("control", control), why=why)
    if contact == "open":
        return words.say("off", why=why)
    if control != "connected" and pending != "trip":
        return words.say("on_against", why=why)
    return words.say("on_but", why=why) if parts else words.say("on")
