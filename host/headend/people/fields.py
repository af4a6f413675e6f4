"""What is kept of a person, as a table: the longest value, and how one is found by it."""

import unicodedata
from collections.abc import Callable, Mapping
from typing import NamedTuple

from headend.refusals import Refused
from meterlink.labels import Text


def _words(value: str) -> str:
    return " ".join(value.casefold().split())


def _digits(value: str) -> str:
    """Digits alone; a country's prefix is written in one way: +86 and 0086 are the same."""
    digits = "".join(sign for sign in value if sign.isdigit())
    return digits.removeprefix("00") if not value.strip().startswith("+") else digits


def _compact(value: str) -> str:
    return "".join(value.split()).casefold()


class Field(NamedTuple):
    """`title`: for people · `longest`: characters · `sought_as`: the form under which it is found; None: it is not."""

    title: Text
    longest: int
    sought_as: Callable[[str], str] | None = None


FIELDS: Mapping[str, Field] = {
    "name": Field(("name", "姓名"), 120, _words),
    "phone": Field(("phone", "电话"), 40, _digits),
    "address": Field(("address", "地址"), 300),
    "email": Field(("e-mail", "电子邮箱"), 120, _compact),
    "id_number": Field(("identity number", "证件号码"), 60, _compact),
    "bank": Field(("bank account", "银行账号"), 80),
    "note": Field(("note", "备注"), 500),
}
SOUGHT = tuple(name for name, field in FIELDS.items() if field.sought_as)


def check(values: Mapping[str, str]) -> None:
    """Raise Refused for a field that is not kept, or a value that does not fit. It is not repeated in the refusal."""
    for name, value in values.items():
        field = FIELDS.get(name)
        if field is None:
            raise Refused("field", name, f"one of {', '.join(FIELDS)}")
        if not value.strip() or len(value) > field.longest or not value.isprintable():
            raise Refused(name, f"{len(value)} characters", f"1..{field.longest} printable characters")


def sought(name: str, value: str) -> bytes | None:
    """The form of a value under which it is found; None for a field that is not sought, or where nothing is left."""
    field = FIELDS[name]
    if field.sought_as is None:
        return None
    return field.sought_as(unicodedata.normalize("NFKC", value)).encode() or None
