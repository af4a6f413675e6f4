"""Whatever the API document allows in a request has room in it: no list, text or file that fits is too large."""

import json
from math import inf
from re import _parser  # type: ignore[attr-defined] # how long what fits a pattern can be is known to nobody else
from typing import Any

import pytest

from headend.web import openapi
from headend.web.api import OPERATIONS, PREFIX
from headend.web.operations import Nothing, Operation

ESCAPED = 6  # bytes of a character at the most where a client escapes all that is not ASCII, as \u4e2d
FILE = 100_000  # characters; longer texts are files, of ASCII with line ends, which are escaped too
NUMBER = 20  # digits of a number without bounds
BLANKS = 4  # about a name in an object: quotes, colon, comma

_DOCUMENT = openapi.document()
WITH_BODY = [one for one in OPERATIONS if one.body is not Nothing]


def largest(schema: dict[str, Any]) -> float:
    """Bytes of the longest JSON that fits a schema; infinite where nothing bounds it."""
    if "$ref" in schema:
        return largest(_DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return max(largest(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return max(len(json.dumps(one)) for one in schema.get("enum", [schema.get("const")]))
    return _BY_TYPE[schema["type"]](schema)


def _text(schema: dict[str, Any]) -> float:
    if schema.get("format") == "date":
        return len('"2026-01-31"')
    length = schema.get("maxLength", inf)
    if "pattern" in schema:  # of ASCII
        width = _parser.parse(schema["pattern"]).getwidth()[1]
        return 2 + min(length, width if width < _parser.MAXREPEAT else inf)
    return 2 + length * (ESCAPED if length < FILE else 2)


def _number(schema: dict[str, Any]) -> float:
    return max(len(str(schema.get(bound, "9" * NUMBER))) for bound in ("minimum", "maximum"))


def _list(schema: dict[str, Any]) -> float:
    return 2 + schema.get("maxItems", inf) * (1 + largest(schema["items"]))


def _object(schema: dict[str, Any]) -> float:
    named = sum(len(name) + BLANKS + largest(one) for name, one in schema.get("properties", {}).items())
    return 2 + named + (inf if isinstance(schema.get("additionalProperties"), dict) else 0)


_BY_TYPE = {
    "string": _text,
    "integer": _number,
    "array": _list,
    "object": _object,
    "boolean": lambda _: len("false"),
    "null": lambda _: len("null"),
}


@pytest.mark.parametrize("operation", WITH_BODY, ids=lambda one: one.name)
def test_the_longest_request_that_fits_the_document_has_room(operation: Operation[Any, Any]) -> None:
    told = _DOCUMENT["paths"][PREFIX + operation.path][operation.method.lower()]
    assert largest(told["requestBody"]["content"]["application/json"]["schema"]) <= operation.most_bytes


def test_a_bound_is_found_wherever_it_stands() -> None:
    text = {"type": "string", "maxLength": 3}
    assert largest(text) == len(json.dumps("断电啊"))
    assert largest({"type": "array", "maxItems": 2, "items": text}) == len('["",""]') + 2 * 18 + 1
    assert largest({"type": "string", "pattern": "^[0-9]{1,14}$"}) == 16
    assert largest({"type": "array", "items": text}) == largest({"type": "string", "pattern": "^[a-z]+$"}) == inf
