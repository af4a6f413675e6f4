"""Texts for people in English and Chinese: a text is a pair (English, Chinese) with the same fields in braces."""

from collections.abc import Mapping

from meterlink.labels import Text

LANGUAGES = ("en", "zh")
ENGLISH, CHINESE = LANGUAGES


def say(text: Text, language: str, **fields: object) -> str:
    """One text in one language, filled in."""
    return text[LANGUAGES.index(language)].format(**fields)


def name(table: Mapping[str, Text], code: str, language: str) -> str:
    """A code's word; one that has none stands for itself."""
    return table[code][LANGUAGES.index(language)] if code in table else code
