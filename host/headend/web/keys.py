"""Idempotency-Key: the act of a request and its answer are stored in one transaction, under the request's key.

`Keeper` goes with a request to `Desk.act`. A request that has an id of its own, and acts in several transactions, is
repeated by that id; its last answer is kept behind it (`behind`), and its key bars no repetition before that.
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
    """One request that carries a key. `acted`: its act is under way or done, and keeps its answer itself."""

    def __init__(self, actor: str, key: str, request: bytes, now_s: int, *, keeps: bool) -> None:
        self.actor = actor
        self.key = key
        self.request = request
        self.now_s = now_s
        self.keeps = keeps
        self.acted = False

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        """`act(conn, …)`, which returns an `operations.Answer`, with what keeps that."""
        if self.acted:
            raise RuntimeError("A request acted twice: its answer is kept with its one act.")
        self.acted = True

        def keyed(conn: Connection, *args: Any) -> Any:
            kept.begin(conn, self.now_s, self.actor, self.key, self.request)
            answer = act(conn, *args)
            self._keep(conn, answer)
            return answer

        return keyed

    def behind(self, conn: Connection, answer: Any) -> None:
        """Keep the answer of a request that did not `act`; raises AlreadyDone, KeyReused where another came first."""
        kept.begin(conn, self.now_s, self.actor, self.key, self.request)
        self._keep(conn, answer)

    def _keep(self, conn: Connection, answer: Any) -> None:
        if self.keeps:
            headers = json.dumps(dict(answer.headers))
            kept.answer(conn, self.actor, self.key, answer.status, headers, wire.encode(answer.body))

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
