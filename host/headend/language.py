"""Texts for people in English and Chinese: a text is a pair (English, Chinese) with the same fields in braces."""

from collections.abc import Mapping
from datetime import UTC, datetime

from meterlink.labels import Text

LANGUAGES = ("en", "zh")
ENGLISH, CHINESE = LANGUAGES


def say(text: Text, language: str, **fields: object) -> str:
    """One text in one language, filled in."""
    return text[LANGUAGES.index(language)].format(**fields)


def counted_meters(count: int) -> Text:
    """So many meters, in words."""
    return f"{count} meter{'' if count == 1 else 's'}", f"{count} 户"


def name(table: Mapping[str, Text], code: str, language: str) -> str:
    """A code's word; one that has none stands for itself."""
    return table[code][LANGUAGES.index(language)] if code in table else code


def utc(unix_s: int) -> str:
    """A time, as people and programs read it: ISO 8601 with seconds and Z."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def amount(amount_uc: int) -> str:
    """Micro-currency as a decimal string with two to six decimals."""
    whole, rest = divmod(abs(amount_uc), 1_000_000)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount_uc < 0 else ''}{whole}.{decimals}"
