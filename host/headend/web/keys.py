"""Idempotency-Key: the first transaction of a request carries the key, so that no request is carried out twice.

`Keeper` goes with a request through `Desk.write`. Where the handler says how the outcome becomes an answer
(`desk.write(…, answer=…)`), that is kept in the same transaction; else right after it.
"""

import hashlib
import json
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection, Row

from headend.access import kept
from headend.refusals import Refused
from headend.web import wire
from headend.web.problems import Problem

HEADER = "Idempotency-Key"
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")

CURRENT: ContextVar["Keeper | None"] = ContextVar("keeper", default=None)

_KEY = re.compile(rf"[!-~]{{1,{kept.MAX_KEY}}}")


class Keeper:
    """One request that carries a key. `done`: its first write was committed."""

    def __init__(self, actor: str, key: str, request: bytes, now_s: int, *, keeps: bool) -> None:
        self.actor = actor
        self.key = key
        self.request = request
        self.now_s = now_s
        self.keeps = keeps
        self._begun = False
        self._answered = False

    def around(self, fn: Callable[..., Any], answer: Callable[[Any], Any] | None) -> Callable[..., Any]:
        """`fn(conn, …)` with what keeps its answer; the request's later writes are left as they are."""
        if self._begun:
            return fn
        self._begun = True

        def keyed(conn: Connection, *args: Any) -> Any:
            kept.begin(conn, self.now_s, self.actor, self.key, self.request)
            value = fn(conn, *args)
            if answer is not None and self.keeps:
                self.keep(conn, answer(value))
            return value

        return keyed

    @property
    def owes(self) -> bool:
        """Whether the act is committed and its answer is still to be kept."""
        return self._begun and self.keeps and not self._answered

    def keep(self, conn: Connection, answer: Any) -> None:
        """Keep an `operations.Answer`."""
        headers = json.dumps(dict(answer.headers))
        kept.answer(conn, self.actor, self.key, answer.status, headers, wire.encode(answer.body))
        self._answered = True

    def find(self, conn: Connection) -> Row[Any] | None:
        return kept.find(conn, self.now_s, self.actor, self.key, self.request)


def read(header: str) -> str:
    """The key of a header, with or without the quotation marks of a structured field; raises Refused."""
    text = header.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if not _KEY.fullmatch(text):
        raise Refused(HEADER, f"{len(text)} characters", f"1..{kept.MAX_KEY} printable ASCII characters")
    return text


def digest(method: str, path: str, query: bytes, body: bytes) -> bytes:
    """What makes two requests the same one."""
    parts = (method.encode(), path.encode(), query, body)
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def replay(row: Row[Any]) -> tuple[int, dict[str, str], bytes]:
    """The first request's answer; raises Problem where that was not kept."""
    if row.status is None:
        sentence = "A request with this Idempotency-Key is being carried out, or was, and its answer was not kept."
        raise Problem("key_in_use", sentence, field=HEADER, headers={"Retry-After": "1"})
    return row.status, {**json.loads(row.headers), "Idempotent-Replayed": "true"}, row.body
