"""Sessions of people: a token of 256 bits, of which the SHA-256 is stored, with an absolute end and an idle one."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from headend import audit
from headend.access import changes, rules
from headend.access.caller import USER, Caller
from headend.access.permissions import SELF
from headend.access.roles import ROLES
from headend.access.words import SIGNED_OUT
from headend.store.schema_access import login, role_grant, session

PREFIX = "ops_"  # tells a session's token from a channel's
TOKEN_LENGTH = len(PREFIX) + 43
MOST = 10  # of one person; the oldest ends
TOUCH_S = 60  # `used_s` is no more exact

_ROW = insert(session).returning(session.c.id)
_BY_DIGEST = (
    select(session, login.c.must_change)
    .join(login, login.c.login == session.c.login)
    .where(session.c.digest == bindparam("of"), login.c.state == "active")
)
_GRANTS = select(role_grant.c.role, role_grant.c.area).where(
    role_grant.c.login == bindparam("of"), role_grant.c.ended_s.is_(None)
)
_OF_LOGIN = select(session).where(session.c.login == bindparam("of")).order_by(session.c.id.desc())
_END = delete(session).where(session.c.id == bindparam("of"))
_END_OTHERS = delete(session).where(session.c.login == bindparam("of"), session.c.id != bindparam("but"))
_OVER = delete(session).where(session.c.ends_s <= bindparam("now"))
_TOUCH = update(session).where(session.c.id == bindparam("of")).values(used_s=bindparam("now"))


def new_token(entropy: Callable[[int], bytes]) -> str:
    """A fresh token of 256 bits; it is shown once and never stored."""
    return PREFIX + base64.urlsafe_b64encode(entropy(32)).decode().rstrip("=")


def begin(conn: Connection, now_s: int, name: str, token: str, address: str) -> Row[Any]:
    """Begin a session of a person; what is over, and the oldest beyond `MOST`, goes."""
    conn.execute(_OVER, {"now": now_s})
    for row in conn.execute(_OF_LOGIN, {"of": name}).all()[MOST - 1 :]:
        conn.execute(_END, {"of": row.id})
    values = {
        "digest": _digest(token),
        "login": name,
        "made_s": now_s,
        "used_s": now_s,
        "ends_s": now_s + rules.get(conn, "session_s"),
        "address": address[:64],
    }
    conn.execute(_ROW, values).scalar_one()
    changes.happened()
    return conn.execute(_BY_DIGEST, {"of": values["digest"]}).one()


def find(conn: Connection, now_s: int, token: str) -> Row[Any] | None:
    """The row of the session that a token belongs to, with `must_change` of the person; None where it is over."""
    if len(token) != TOKEN_LENGTH or not token.startswith(PREFIX):
        return None
    row = conn.execute(_BY_DIGEST, {"of": _digest(token)}).one_or_none()
    if row is None or now_s >= row.ends_s or now_s - row.used_s >= rules.get(conn, "idle_s"):
        return None
    return row


def caller(conn: Connection, now_s: int, row: Row[Any]) -> Caller:
    """What a session's person may do: what the roles allow, and nothing but a new password where one is due."""
    allowed: dict[str, set[str]] = {SELF: {""}}
    if not row.must_change:
        for role, area in conn.execute(_GRANTS, {"of": row.login}):
            for permission in ROLES[role].permissions:
                allowed.setdefault(permission, set()).add(area)
    return Caller(
        USER + row.login,
        {permission: tuple(sorted(at)) for permission, at in allowed.items()},
        rules.get(conn, "desk_payment_uc"),
        session=row.id,
        must_change=bool(row.must_change),
        stale=now_s - row.used_s >= TOUCH_S,
    )


def touch(conn: Connection, now_s: int, session_id: int) -> None:
    """The session was used."""
    conn.execute(_TOUCH, {"of": session_id, "now": now_s})


def of_login(conn: Connection, name: str) -> list[Row[Any]]:
    """A person's sessions, the newest first; some may be over."""
    return list(conn.execute(_OF_LOGIN, {"of": name}))


def end(conn: Connection, now_s: int, actor: str, session_id: int) -> None:
    """Sign out."""
    conn.execute(_END, {"of": session_id})
    audit.record(conn, now_s, actor, SIGNED_OUT, actor)
    changes.happened()


def end_all(conn: Connection, name: str, but: int = 0) -> None:
    """End all sessions of a person, but for one."""
    conn.execute(_END_OTHERS, {"of": name, "but": but})
    changes.happened()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
