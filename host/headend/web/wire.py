"""What goes over the wire: JSON with exact scalars, read strictly.

Amounts are decimal strings in the currency of the books, exact to a micro-currency (10^-6). Meter numbers are strings
of digits, as printed on the meter. A time is an object with both forms: `{"utc": "2026-01-31T23:59:00Z", "s": …}`.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from headend.language import amount, utc
from headend.refusals import MAX_SHOWN, Refused
from headend.web.problems import Problem
from meterlink import topics
from meterlink.bodies import MAX_UC
from meterlink.orders import MAX_METER

__all__ = ["amount", "utc"]  # as `headend.language` writes them

UC = 1_000_000  # micro-currency in one unit of the currency
MAX_QUERY_FIELDS = 16
MAX_TITLE = 80

AMOUNT_PATTERN = r"^-?[0-9]{1,13}(\.[0-9]{1,6})?$"
PAID_PATTERN = r"^[0-9]{1,13}(\.[0-9]{1,6})?$"
METER_PATTERN = r"^[0-9]{1,14}$"

Amount = Annotated[
    str,
    Meta(
        pattern=AMOUNT_PATTERN,
        description="Amount in the currency of the books, a decimal string exact to 0.000001.",
        examples=["25.00"],
    ),
]
PositiveAmount = Annotated[
    str,
    Meta(
        pattern=PAID_PATTERN,
        description="Amount in the currency of the books, a decimal string with at most 6 decimals and no sign.",
        examples=["25.00"],
    ),
]
MeterNumber = Annotated[
    str,
    Meta(
        pattern=METER_PATTERN,
        description="The meter's number as printed on it; leading zeros may be left out.",
        examples=["000000000017"],
    ),
]


class TitleBody(msgspec.Struct, forbid_unknown_fields=True):
    """What people call it, in both languages."""

    en: Annotated[str, Meta(max_length=MAX_TITLE)]
    zh: Annotated[str, Meta(max_length=MAX_TITLE)]


_PAID = re.compile(r"([0-9]{1,13})(?:\.([0-9]{1,6}))?")
_DIGITS = re.compile(r"[0-9]{1,14}")

T = TypeVar("T")


class Moment(msgspec.Struct, frozen=True):
    """A time, in both forms."""

    utc: Annotated[str, Meta(description="ISO 8601, UTC", examples=["2026-01-31T23:59:00Z"])]
    s: Annotated[int, Meta(description="seconds since 1970, UTC")]


def moment(unix_s: int) -> Moment:
    return Moment(utc(unix_s), unix_s)


def moment_or_none(unix_s: int | None) -> Moment | None:
    return None if unix_s is None else moment(unix_s)


def read_amount(field: str, text: str) -> int:
    """Micro-currency of a decimal string without a sign; raises Refused that names the field."""
    found = _PAID.fullmatch(text)
    if found is None:
        raise Refused(field, text, 'an amount such as "25.00", at most 13 digits before and 6 behind the point')
    amount_uc = int(found[1]) * UC + int((found[2] or "").ljust(6, "0"))
    if amount_uc > MAX_UC:
        raise Refused(field, text, f"at most {amount(MAX_UC)}")
    return amount_uc


def meter_name(number: int) -> str:
    return topics.meter_name(number)


def read_meter(text: str, field: str = "meter") -> int:
    """The number of a meter; raises Refused."""
    if not _DIGITS.fullmatch(text) or not 1 <= int(text) <= MAX_METER:
        raise Refused(field, text, f"a meter's number, 1..{MAX_METER}, in digits")
    return int(text)


def etag(*parts: object) -> str:
    """A strong entity tag (RFC 9110 section 8.8.3) of what makes a state differ from another."""
    return f'"{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"'


def read_id(text: str) -> int | None:
    """The number of something that is counted here; None for what is no such number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 16 else None


# --- reading ----------------------------------------------------------------------------------------------------------


def read_json(raw: bytes, kind: type[T]) -> T:
    """Read a body strictly: right types, no unknown field; raises Problem (malformed, refused)."""
    try:
        given = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Problem("malformed", f"The body is not JSON: {reason}.") from error
    return _convert(given, kind, strict=True)


def read_query(raw: bytes, kind: type[T]) -> T:
    """Read a query string by the same rules; every field may stand once."""
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(raw),
            max_num_fields=MAX_QUERY_FIELDS,
            errors="strict",
        )
    except ValueError as error:
        raise Problem("malformed", "The query is not of the form name=value&name=value.") from error
    given = dict(pairs)
    if len(given) != len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise Problem("refused", f"{_shown(twice)} is given twice; once was expected.", field=_plain(twice))
    return _convert(given, kind, strict=False)


def _convert(given: Any, kind: type[T], *, strict: bool) -> T:
    try:
        return msgspec.convert(given, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise _refusal(given, str(error)) from error


_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>[^`]*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_NAMED = re.compile(r"Object (missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_EXPECTED = re.compile(r"Expected (?P<expected>.+?)(?:, got `(?P<got>\w+)`)?", re.DOTALL)
_WORDS = {"str": "text", "int": "a whole number", "bool": "true or false", "object": "an object", "array": "a list"}


def _refusal(given: Any, message: str) -> Problem:
    """Turn msgspec's message into the sentence that this project's refusals have."""
    found = _AT.match(message)
    assert found is not None, message
    path = (found["path"] or "").removeprefix(".")
    named = _NAMED.fullmatch(found["what"])
    if named:
        name = named["name"]
        field = _plain(f"{path}.{name}".removeprefix("."))
        if named[1].startswith("missing"):
            return Problem("refused", f"{field} is missing.", field=field, expected="a value")
        return Problem("refused", f"{field} is not a field that is known here.", field=field, expected="no such field")
    told = _EXPECTED.fullmatch(found["what"])
    expected = _in_words(told["expected"]) if told else found["what"]
    field, value = path or "body", _shown(_at(given, path))
    return Problem(
        "refused", f"{field}: {value} given, {expected} expected.", field=field, value=value, expected=expected
    )


def _in_words(expected: str) -> str:
    text = re.sub(r"`(\w+)( \| null)?`", lambda found: _WORDS.get(found[1], found[1]), expected)
    text = re.sub(r" matching regex '(.*)'$", lambda found: " of the form " + found[1].replace("\\\\", "\\"), text)
    return re.sub(r" of length (<=|>=) (\d+)$", r" of length \1 \2", text)


def _at(given: Any, path: str) -> Any:
    """What stands at a path such as `slots[0].start`."""
    for name, index in _STEP.findall("." + path if path and not path.startswith("[") else path):
        try:
            given = given[name] if name else given[int(index)]
        except (LookupError, TypeError, ValueError):
            return None
    return given


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= MAX_SHOWN else shown[: MAX_SHOWN - 1] + "…"


def _plain(name: str) -> str:
    """A field's name as someone else wrote it, made safe to repeat."""
    return _shown(name)[1:-1] if not name.isidentifier() else name[:MAX_SHOWN]


encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
