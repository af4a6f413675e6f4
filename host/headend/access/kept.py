"""Requests that come again: an answer is kept under the caller's key, in the transaction of the act itself.

So whoever had no answer repeats the request with the same Idempotency-Key and gets the first one's answer, for a day
(draft-ietf-httpapi-idempotency-key-header). An answer with a secret in it is not kept, only that the act was done.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from headend.refusals import Refused
from headend.store.schema_access import kept_answer

KEPT_S = 86_400
MAX_KEY = 100

_OF = select(kept_answer).where(kept_answer.c.actor == bindparam("who"), kept_answer.c.key == bindparam("under"))
_ROW = insert(kept_answer)
_OLD = delete(kept_answer).where(kept_answer.c.at_s < bindparam("before"))
_ANSWER = (
    update(kept_answer)
    .where(kept_answer.c.actor == bindparam("who"), kept_answer.c.key == bindparam("under"))
    .values(status=bindparam("to_status"), headers=bindparam("to_headers"), body=bindparam("to_body"))
)


class KeyReused(Refused):
    """The key was used for another request."""


class AlreadyDone(Exception):
    """The request was carried out before; `row` holds its answer, if that was kept."""

    def __init__(self, row: Row[Any]) -> None:
        super().__init__("The request was carried out before.")
        self.row = row


def find(conn: Connection, now_s: int, actor: str, key: str, request: bytes) -> Row[Any] | None:
    """What is kept under a caller's key; raises KeyReused where it is of another request (`request`: its SHA-256)."""
    row = conn.execute(_OF, {"who": actor, "under": key}).one_or_none()
    if row is None or row.at_s <= now_s - KEPT_S:
        return None
    if row.request != request:
        raise KeyReused("Idempotency-Key", key, "a key that was not used for another request")
    return row


def begin(conn: Connection, now_s: int, actor: str, key: str, request: bytes) -> None:
    """Write down that the request is being carried out; raises AlreadyDone, KeyReused. What is a day old goes."""
    conn.execute(_OLD, {"before": now_s - KEPT_S + 1})
    row = find(conn, now_s, actor, key, request)
    if row is not None:
        raise AlreadyDone(row)
    conn.execute(_ROW, {"actor": actor, "key": key, "request": request, "at_s": now_s})


def answer(conn: Connection, actor: str, key: str, status: int, headers: str, body: bytes) -> None:
    """Keep the answer."""
    values = {"to_status": status, "to_headers": headers, "to_body": body}
    conn.execute(_ANSWER, {"who": actor, "under": key, **values})
