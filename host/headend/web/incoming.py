"""What is read of a request before an operation sees it: the parts of its path, and its body within size and time."""

import asyncio
import re
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request

from headend.web.operations import IF_MATCH, Nothing
from headend.web.problems import Problem

BODY_S = 10.0  # for all of a body to arrive

_IF_MATCH = re.compile(IF_MATCH)


def path_of(request: Request, prefix: str) -> dict[str, str]:
    """The parts of the path as text. A payment's id may hold what a path must quote, so it is unquoted here."""
    parts = dict(request.path_params)
    if "payment_id" in parts:
        raw = request.scope["raw_path"].decode("ascii", "replace")
        parts["payment_id"] = unquote(raw.removeprefix(f"{prefix}/payments/"))
    return parts


def condition_of(request: Request) -> str | None:
    """The request's If-Match; None where it has none. Raises Problem where that is no condition."""
    given = request.headers.get("if-match")
    if given is not None and not _IF_MATCH.fullmatch(given):
        sentence = f"If-Match: {given[:60]!r} given, * or ETags as a GET answered them, with commas between, expected."
        raise Problem("malformed", sentence, field="If-Match")
    return given


async def body_of(request: Request, kind: type[Any], most: int) -> bytes:
    """The bytes of the body; none where the operation has no body. Raises Problem."""
    if kind is Nothing:
        return b""
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        sentence = f"Content-Type: {content_type[:60]!r} given, 'application/json' expected."
        raise Problem("not_json", sentence, field="Content-Type")
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > most:
        raise _too_large(most)
    raw = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > most:
                    raise _too_large(most)
    except TimeoutError:
        raise Problem(
            "too_slow", f"The body did not arrive within {BODY_S:.0f} s.", headers={"Connection": "close"}
        ) from None
    return bytes(raw)


def _too_large(most: int) -> Problem:
    return Problem("too_large", f"body: at most {most} bytes were expected.", headers={"Connection": "close"})
