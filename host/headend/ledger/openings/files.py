"""Reading a file of openings: CSV or JSON Lines, exact and strict.

CSV: a line of names first (`COLUMNS` in any order), one account a line. JSONL: one object a line with those names.
Either ends with the file's own sums, as its author knows them: CSV `control,<lines>,<credit>,<debt>`, JSONL
`{"control": {"lines": n, "credit": "…", "debt": "…"}}`. Amounts are decimal strings exact to a micro-currency; a
balance with a minus is owed by the customer. Dates are ISO 8601 days (UTC).
"""

import csv
import io
import json
import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

from headend.refusals import Refused
from meterlink.bodies import MAX_UC
from meterlink.orders import MAX_METER

CSV, JSONL = "csv", "jsonl"
FORMATS = (CSV, JSONL)
COLUMNS = ("meter", "account_epoch", "balance", "class", "reference", "person", "as_of")
OPTIONAL = ("person",)
MAX_LINES = 200_000

_AMOUNT = re.compile(r"(-?)([0-9]{1,13})(?:\.([0-9]{1,6}))?")
_REFERENCE = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,62}[\x21-\x7e])?")
_PERSON = re.compile(r"[A-Za-z0-9_-]{1,40}")


class Opening(NamedTuple):
    """One account. line: 1.. in the file · balance_uc: negative is owed · person: a pseudonym, or "" · as_of_s: the day
    that the balance is of."""

    line: int
    meter: int
    account_epoch: int
    balance_uc: int
    customer_class: str
    reference: str
    person: str
    as_of_s: int


class Sums(NamedTuple):
    """Both sides: how many accounts, what customers are owed, what they owe."""

    lines: int
    credit_uc: int
    debt_uc: int


class File(NamedTuple):
    """What a file says; `problems`: line -> what is wrong with it."""

    openings: tuple[Opening, ...]
    control: Sums
    problems: dict[int, str]


def read(text: str, kind: str) -> File:
    """Read a file. What is wrong with a line is its problem; raises Refused where the file has no lines or no sums."""
    if kind not in FORMATS:
        raise Refused("format", kind, f"one of {', '.join(FORMATS)}")
    rows, control = _csv(text) if kind == CSV else _jsonl(text)
    if control is None:
        raise Refused("control", "nothing", "the file's own sums in its last line")
    if not 1 <= len(rows) <= MAX_LINES:
        raise Refused("lines", len(rows), f"1..{MAX_LINES}")
    found, problems = [], {}
    for number, row in rows:
        try:
            found.append(_opening(number, row))
        except Refused as refused:
            problems[number] = str(refused)
    return File(tuple(found), control, problems)


def sums_of(openings: tuple[Opening, ...]) -> Sums:
    """What the lines add up to."""
    credit_uc = sum(one.balance_uc for one in openings if one.balance_uc > 0)
    return Sums(len(openings), credit_uc, -sum(one.balance_uc for one in openings if one.balance_uc < 0))


def amount(amount_uc: int) -> str:
    """Micro-currency as a decimal string."""
    whole, rest = divmod(abs(amount_uc), 1_000_000)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount_uc < 0 else ''}{whole}.{decimals}"


def _csv(text: str) -> tuple[list[tuple[int, dict[str, Any]]], Sums | None]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        raise Refused("lines", "what is no CSV", f"lines of values with commas between them ({error})") from None
    if not rows or set(rows[0]) - set(COLUMNS) or set(COLUMNS) - set(OPTIONAL) - set(rows[0]):
        raise Refused("header", ",".join(rows[0]) if rows else "", ",".join(COLUMNS))
    found: list[tuple[int, dict[str, Any]]] = []
    control = None
    for number, row in enumerate(rows[1:], 1):
        if row[0] == "control" and number == len(rows) - 1:
            control = _control(dict(zip(("lines", "credit", "debt"), row[1:], strict=False)))
        else:
            found.append((number, dict(zip(rows[0], row, strict=False))))
    return found, control


def _jsonl(text: str) -> tuple[list[tuple[int, dict[str, Any]]], Sums | None]:
    found: list[tuple[int, dict[str, Any]]] = []
    control = None
    lines = [line for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise Refused("line", number, f"a JSON object ({error})") from None
        if not isinstance(row, dict):
            raise Refused("line", number, "a JSON object")
        if "control" in row and number == len(lines):
            control = _control(row["control"] if isinstance(row["control"], dict) else {})
        else:
            found.append((number, row))
    return found, control


def _control(row: dict[str, Any]) -> Sums:
    lines = str(row.get("lines", ""))
    if not lines.isascii() or not lines.isdigit():
        raise Refused("control lines", lines, "how many accounts the file has")
    return Sums(int(lines[:9]), _amount("control credit", row.get("credit")), _amount("control debt", row.get("debt")))


def _opening(number: int, row: dict[str, Any]) -> Opening:
    unknown = sorted(set(row) - set(COLUMNS))
    if unknown:
        raise Refused(str(unknown[0]), row[unknown[0]], "nothing of that name")
    texts = {name: str(row.get(name) if row.get(name) is not None else "").strip() for name in COLUMNS}
    if not _REFERENCE.fullmatch(texts["reference"]):
        raise Refused("reference", texts["reference"], "1..64 printable ASCII characters")
    if texts["person"] and not _PERSON.fullmatch(texts["person"]):
        raise Refused("person", texts["person"], "a pseudonym")
    return Opening(
        number,
        _number("meter", texts["meter"], MAX_METER),
        _number("account_epoch", texts["account_epoch"], 0xFFFF),
        _amount("balance", texts["balance"]),
        texts["class"],
        texts["reference"],
        texts["person"],
        _day("as_of", texts["as_of"]),
    )


def _number(field: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 14 and 1 <= int(text) <= most):
        raise Refused(field, text, f"1..{most}")
    return int(text)


def _amount(field: str, given: Any) -> int:
    found = _AMOUNT.fullmatch(given) if isinstance(given, str) else None
    if found is None:
        raise Refused(field, given, 'an amount such as "25.00", at most 6 digits behind the point')
    amount_uc = int(found[2]) * 1_000_000 + int((found[3] or "").ljust(6, "0"))
    if amount_uc > MAX_UC:
        raise Refused(field, given, f"at most {amount(MAX_UC)}")
    return -amount_uc if found[1] else amount_uc


def _day(field: str, text: str) -> int:
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise Refused(field, text, "a day such as 2026-01-31") from None
