"""The OpenAPI 3.1 document, made from the table of operations: `docs/openapi.json`, served at /api/v1/openapi.json."""

import inspect
import json
from functools import cache
from typing import Any

import msgspec

from headend.access.rules import RULES
from headend.web import keys
from headend.web.api import OPERATIONS, PREFIX
from headend.web.callers import COOKIE
from headend.web.operations import IF_MATCH, Nothing, Operation
from headend.web.problems import CODES, CONTENT_TYPE, ProblemDetails

API_VERSION = "1.0.0"  # of the interface; raised with every change that a caller can see
REF = "#/components/schemas/{name}"

_DESCRIPTION = """\
The head end of openprepay. Amounts are decimal strings in the currency of the books (see `GET /health`), exact to
0.000001; times carry ISO 8601 UTC and seconds; energy is in watt-hours.

An order is a signed statement of a wanted state. *Confirmed* has one meaning: a report that the meter authenticated and
that answers a question of ours shows that state. An order that was sent and has no such answer is *unknown*.

Errors are problem details (RFC 9457) with a `code` for programs and a sentence for people; nothing has changed then.
"""

_PATH_PARAMETERS: dict[str, dict[str, Any]] = {
    "exception": {"schema": {"type": "string", "pattern": "^[a-z_]{1,32}$"}, "description": "A kind of exception."},
    "meter": {
        "description": "The meter's number; leading zeros may be left out.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,14}$"},
        "example": "000000000017",
    },
    "node": {"description": "The id of a part of the grid.", "schema": {"type": "integer", "minimum": 1}, "example": 3},
    "point": {
        "description": "The code of a supply point.",
        "schema": {"type": "string", "pattern": "^[A-Z0-9][A-Z0-9-]{0,39}$"},
        "example": "GP-0017",
    },
    "type": {
        "description": "A meter type.",
        "schema": {"type": "string", "pattern": "^[a-z][a-z0-9._-]{0,39}$"},
        "example": "op-1p",
    },
    "debt": {
        "description": "Number of the debt on the meter.",
        "schema": {"type": "string", "pattern": "^[1-3]$"},
        "example": "1",
    },
    "payment_id": {
        "description": "The channel's own id, percent-encoded where needed.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 64},
        "example": "2026-01-31-000017",
    },
    "token": {"description": "The token's id.", "schema": {"type": "integer", "minimum": 1}, "example": 7},
    "user": {
        "description": "A person's name.",
        "schema": {"type": "string", "pattern": "^[a-z][a-z0-9._-]{1,31}$"},
        "example": "li.wei",
    },
    "grant": {"description": "The grant's number.", "schema": {"type": "integer", "minimum": 1}, "example": 3},
    "rule": {
        "description": "A rule of access.",
        "schema": {"type": "string", "enum": sorted(RULES)},
        "example": "idle_s",
    },
    "channel": {
        "description": "A channel's name.",
        "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,39}$"},
        "example": "bank-1",
    },
    "bill": {"description": "The bill's id.", "schema": {"type": "integer", "minimum": 1}, "example": 3},
    "receipt": {"description": "The receipt's id.", "schema": {"type": "integer", "minimum": 1}, "example": 5},
    "day": {
        "description": "A local day.",
        "schema": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
        "example": "2026-01-31",
    },
    "order": {"description": "The order's id.", "schema": {"type": "integer", "minimum": 1}, "example": 12},
    "proposal": {"description": "The proposal's id.", "schema": {"type": "integer", "minimum": 1}, "example": 9},
    "campaign": {"description": "The campaign's id.", "schema": {"type": "integer", "minimum": 1}, "example": 3},
    "image": {"description": "The number of an image.", "schema": {"type": "integer", "minimum": 1}, "example": 3},
    "exclusion": {"description": "The exclusion's id.", "schema": {"type": "integer", "minimum": 1}, "example": 5},
    "case": {
        "description": "The id of what is held for review.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 8,
    },
    "pause": {"description": "The pause's id.", "schema": {"type": "integer", "minimum": 1}, "example": 3},
    "read": {"description": "The id of a request to read.", "schema": {"type": "integer", "minimum": 1}, "example": 7},
    "visit": {"description": "The visit's id.", "schema": {"type": "integer", "minimum": 1}, "example": 6},
    "person": {
        "description": "The person's pseudonym.",
        "schema": {"type": "string", "pattern": "^[a-z2-7]{26}$"},
        "example": "k7q2mzj3vt6w5xnyb4aocd2e3f",
    },
    "refund": {"description": "The refund's id.", "schema": {"type": "integer", "minimum": 1}, "example": 4},
    "import_id": {
        "description": "The import's id, as its author gave it.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        "example": "2026-01-north",
    },
}

_STATUS = {
    200: "Done.",
    201: "Made.",
    202: "On disk, and on its way to the meter.",
    503: "Not ready.",
}


def document() -> dict[str, Any]:
    """The whole document."""
    schemas = _components()[1]
    queries = {_name(one.query) for one in OPERATIONS if one.query is not Nothing}
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "openprepay head end",
            "version": API_VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {name: _tidy(schema) for name, schema in sorted(schemas.items()) if name not in queries},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Token of a channel, made by `openprepay admin channel add`. Each operation names "
                    "the scope that the token must hold. Also the token of a person's session (`POST /session`).",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": COOKIE,
                    "description": "Session of a person in a browser. Unsafe requests have to come from this site.",
                },
            },
        },
    }


def encoded() -> bytes:
    """The document as it is served and stored."""
    return (json.dumps(document(), indent=1, ensure_ascii=False) + "\n").encode()


def _operation(one: Operation[Any, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    summary, _, rest = inspect.cleandoc(one.handler.__doc__ or "").partition("\n")
    made: dict[str, Any] = {
        "operationId": one.name,
        "tags": [one.path.split("/")[1]],
        "summary": summary.rstrip("."),
        "description": rest.strip() or summary,
        "parameters": _parameters(one, schemas),
        "responses": {**_answers(one), **_problems(one)},
        "security": [] if one.scope is None else [{"token": [one.scope]}, {"session": [one.scope]}],
    }
    if one.body is not Nothing:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(one.body)}}}
    return made


def _parameters(one: Operation[Any, Any], schemas: dict[str, Any]) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in one.path.split("/") if part.startswith("{")]
    found = [{"name": name, "in": "path", "required": True, **_PATH_PARAMETERS[name]} for name in names]
    query = {} if one.query is Nothing else schemas[_name(one.query)]
    for name, schema in query.get("properties", {}).items():
        shape = dict(schema)
        described = {"description": shape.pop("description")} if "description" in shape else {}
        required = name in query.get("required", ())
        found.append({"name": name, "in": "query", "required": required, **described, "schema": shape})
    if takes_key(one):
        found.append(_KEY)
    if one.edits:
        found.append(_IF_MATCH)
    return found


def takes_key(one: Operation[Any, Any]) -> bool:
    """Whether a request may carry an Idempotency-Key."""
    return one.scope is not None and one.method in keys.UNSAFE


_KEY = {
    "name": keys.HEADER,
    "in": "header",
    "required": False,
    "description": "Made by the caller, fresh for each act: the same request with the same key within a day is answered"
    " as the first one was, and carried out once. Where the answer holds a secret, a repetition is answered 409.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,100}$"},
}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The ETag of the state that the change is meant for, or `*`; several stand with commas between.",
    "schema": {"type": "string", "pattern": IF_MATCH},
}


def _answers(one: Operation[Any, Any]) -> dict[str, Any]:
    return {
        str(status): {
            "description": _STATUS[status],
            "content": {"application/json": {"schema": _ref(kind)}},
            **({"headers": headers} if (headers := _headers(one, status)) else {}),
        }
        for status, kind in one.answers.items()
    }


def _problems(one: Operation[Any, Any]) -> dict[str, Any]:
    """The problems of an operation, by status: its own, and those that its traits bring along."""
    codes = ["failed", "too_many_requests", "malformed", "head_too_large", "too_many_connections", *one.problems]
    if one.scope is not None:
        codes += ["unauthorized", "out_of_scope", "cross_site", "too_many_errors", "no_database"]
    if one.method in keys.UNSAFE:
        codes += ["not_stored", "outcome_unknown", "overloaded", "stopping"]
    if takes_key(one):
        codes += ["key_reused", "key_in_use"]
    if one.edits:
        codes += ["no_condition", "changed_meanwhile"]
    if one.body is not Nothing:
        codes += ["too_slow", "too_large", "not_json"]
    codes += ["refused"]  # at least an unknown field in the query
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(CODES[code].status, []).append(code)
    return {
        str(status): {
            "description": "; ".join(f"`{code}`: {CODES[code].title}" for code in listed) + ".",
            "content": {CONTENT_TYPE: {"schema": _ref(ProblemDetails)}},
        }
        for status, listed in sorted(by_status.items())
        if status not in one.answers
    }


def _headers(one: Operation[Any, Any], status: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if status in (201, 202):
        shape = {"type": "string", "format": "uri-reference"}
        found["Location"] = {"description": "Where it is found.", "schema": shape}
    if one.edits:
        found["ETag"] = {"description": "Of the state that is answered.", "schema": {"type": "string"}}
    return found


def _ref(kind: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": REF.format(name=_name(kind))}


@cache
def _components() -> tuple[dict[type[Any], str], dict[str, Any]]:
    """The name of each kind of body, query and answer, and the schemas by name.

    A name is that of the class; no two share one, or msgspec would put their modules before it.
    """
    used: list[type[Any]] = [
        ProblemDetails,
        *(kind for one in OPERATIONS for kind in (one.body, one.query, *one.answers.values())),
    ]
    kinds = list(dict.fromkeys(kind for kind in used if kind is not Nothing))
    references, schemas = msgspec.json.schema_components(kinds, ref_template=REF)
    names = [reference["$ref"].rpartition("/")[2] for reference in references]
    return dict(zip(kinds, names, strict=True)), schemas


def _name(kind: type[msgspec.Struct]) -> str:
    return _components()[0][kind]


def _tidy(schema: Any) -> Any:
    """Descriptions without the indentation of docstrings."""
    if isinstance(schema, dict):
        return {key: _clean(key, value) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_tidy(one) for one in schema]
    return schema


def _clean(key: str, value: Any) -> Any:
    return inspect.cleandoc(value) if key == "description" and isinstance(value, str) else _tidy(value)
