"""Writing to the audit: in the transaction of the act, so that there is no act without its row."""

import json
from collections.abc import Mapping

from sqlalchemy import Connection, insert

from headend.store.prepared import prepared
from headend.store.schema_audit import audit

# Action -> what it means, in English and Chinese. Each package adds its own.
ACTIONS: dict[str, tuple[str, str]] = {}

MAX_DETAIL = 2000

_ROW = prepared(insert(audit))


def record(
    conn: Connection,
    now_s: int,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, int | str | None] | None = None,
) -> None:
    """Record that `actor` did `action` (one of `ACTIONS`) to `subject`.

    `detail`: what of it is worth keeping; no personal data and no secret. Raises ValueError for an action that is not
    listed, or a detail beyond `MAX_DETAIL` characters.
    """
    if action not in ACTIONS:
        raise ValueError(f"action: {action!r} given, one of {', '.join(sorted(ACTIONS))} expected")
    text = json.dumps(detail or {}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if len(text) > MAX_DETAIL:
        raise ValueError(f"detail: {len(text)} characters given, at most {MAX_DETAIL} expected")
    row = {"at_s": now_s, "actor": actor[:80], "action": action, "subject": subject[:120], "detail": text}
    _ROW(conn, row)
