"""People who sign in: their accounts and what they were granted. Every act leaves its row in the audit.

Nobody grants himself anything, and the last administrator stays. A person's payments go over a desk of his own, a
channel without a token, so that the books know whose drawer the money is in.
"""

import re
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from headend import audit
from headend.access import areas, changes, lockout, rules, sessions
from headend.access.caller import DESK, USER
from headend.access.permissions import PAYMENTS
from headend.access.roles import ADMINISTRATOR, ROLES
from headend.access.words import (
    ROLE_ENDED,
    ROLE_GRANTED,
    USER_ADDED,
    USER_CHANGED,
    USER_RESET,
    USER_UNLOCKED,
)
from headend.language import LANGUAGES
from headend.ledger import accounts
from headend.refusals import Refused
from headend.store.schema import channel
from headend.store.schema_access import channel_access, login, role_grant

ACTIVE, CLOSED = "active", "closed"
STATES = (ACTIVE, CLOSED)
DESK_TOKEN = b""  # no digest is empty

_NAME = re.compile(r"[a-z][a-z0-9._-]{1,31}")
_ROW = insert(login)
_OF = select(login).where(login.c.login == bindparam("of"))
_PAGE = select(login).where(login.c.login > bindparam("after")).order_by(login.c.login).limit(bindparam("most"))
_CHANGE = (
    update(login)
    .where(login.c.login == bindparam("of"))
    .values(state=bindparam("to_state"), language=bindparam("to_language"), version=login.c.version + 1)
)
_RESET = (
    update(login)
    .where(login.c.login == bindparam("of"))
    .values(
        password_hash=bindparam("hash"),
        password_s=bindparam("now"),
        must_change=1,
        totp_secret=None,
        totp_pending=None,
        reset_by=bindparam("by"),
        version=login.c.version + 1,
    )
)
_GRANT = insert(role_grant).returning(role_grant.c.id)
_GRANTS = (
    select(role_grant)
    .where(role_grant.c.login == bindparam("of"), role_grant.c.ended_s.is_(None))
    .order_by(role_grant.c.id)
)
_GRANT_BY_ID = select(role_grant).where(role_grant.c.id == bindparam("of"), role_grant.c.ended_s.is_(None))
_END_GRANT = (
    update(role_grant)
    .where(role_grant.c.id == bindparam("of"), role_grant.c.ended_s.is_(None))
    .values(ended_s=bindparam("now"), ended_by=bindparam("by"))
)
_ADMINISTRATORS = (
    select(role_grant.c.login)
    .join(login, login.c.login == role_grant.c.login)
    .where(
        role_grant.c.role == ADMINISTRATOR,
        role_grant.c.area == "",
        role_grant.c.ended_s.is_(None),
        login.c.state == ACTIVE,
    )
    .with_for_update()  # two administrators who remove each other: the second finds the first gone
)
_DESKS = select(func.count()).select_from(channel).where(channel.c.channel == bindparam("of"))


class UnknownUser(Refused):
    """Nobody has this name."""


class UserExists(Refused):
    """The name is taken."""


class UnknownGrant(Refused):
    """The person has no such grant."""


def add(conn: Connection, now_s: int, actor: str, name: str, password_hash: str, language: str = "en") -> Row[Any]:
    """Add a person who may do nothing yet, and has to change the password first; raises Refused, UserExists.

    name: 2..32 of a-z 0-9 . _ -, a letter first · password_hash: of `passwords.make`.
    """
    if not _NAME.fullmatch(name):
        raise Refused("user", name, "2..32 characters of a-z, 0-9, '.', '_', '-', a letter first")
    _check_language(language)
    if conn.execute(_OF, {"of": name}).one_or_none() is not None:
        raise UserExists("user", name, "a name that is not taken")
    values = {"login": name, "state": ACTIVE, "language": language, "password_hash": password_hash}
    conn.execute(_ROW, {**values, "must_change": 1, "password_s": now_s, "created_s": now_s, "created_by": actor})
    audit.record(conn, now_s, actor, USER_ADDED, USER + name)
    return get(conn, name)


def get(conn: Connection, name: str) -> Row[Any]:
    """A row of `login`; raises UnknownUser."""
    row = conn.execute(_OF, {"of": name}).one_or_none()
    if row is None:
        raise UnknownUser("user", name, "the name of a person who was added")
    return row


def page(conn: Connection, after: str, limit: int) -> list[Row[Any]]:
    """People by name, above `after`."""
    return list(conn.execute(_PAGE, {"after": after, "most": limit}))


def change(conn: Connection, now_s: int, actor: str, name: str, state: str, language: str) -> Row[Any]:
    """Close an account or open it again, or set its language; raises Refused, UnknownUser."""
    row = get(conn, name)
    if state not in STATES:
        raise Refused("state", state, f"one of {', '.join(STATES)}")
    _check_language(language)
    if state != row.state:
        _not_oneself(actor, name)
    if state == CLOSED:
        _one_administrator_stays(conn, name)
    conn.execute(_CHANGE, {"of": name, "to_state": state, "to_language": language})
    if state == CLOSED:
        sessions.end_all(conn, name)
    audit.record(conn, now_s, actor, USER_CHANGED, USER + name, {"state": state, "language": language})
    changes.happened()
    return get(conn, name)


def reset(conn: Connection, now_s: int, actor: str, name: str, password_hash: str) -> Row[Any]:
    """Give a person another password, which is to be changed at once; the second factor and all sessions end."""
    get(conn, name)
    _not_oneself(actor, name)
    conn.execute(_RESET, {"of": name, "hash": password_hash, "now": now_s, "by": actor})
    sessions.end_all(conn, name)
    lockout.unlock(conn, name)
    audit.record(conn, now_s, actor, USER_RESET, USER + name)
    return get(conn, name)


def unlock(conn: Connection, now_s: int, actor: str, name: str) -> Row[Any]:
    """Let a person who gave wrong passwords try again now."""
    row = get(conn, name)
    lockout.unlock(conn, name)
    audit.record(conn, now_s, actor, USER_UNLOCKED, USER + name)
    return row


# --- grants -----------------------------------------------------------------------------------------------------------


def grant(conn: Connection, now_s: int, actor: str, name: str, role: str, area: str = "") -> Row[Any]:
    """Grant a role for an area; one that stands already stays as it is. Raises Refused, UnknownUser."""
    get(conn, name)
    _not_oneself(actor, name)
    if role not in ROLES:
        raise Refused("role", role, f"one of {', '.join(ROLES)}")
    areas.check(area)
    for row in grants(conn, name):
        if (row.role, row.area) == (role, area):
            return row
    values = {"login": name, "role": role, "area": area, "granted_s": now_s, "granted_by": actor}
    grant_id = conn.execute(_GRANT, values).scalar_one()
    if PAYMENTS in ROLES[role].permissions:
        _open_desk(conn, now_s, name)
    audit.record(conn, now_s, actor, ROLE_GRANTED, USER + name, {"role": role, "area": area})
    changes.happened()
    return conn.execute(_GRANT_BY_ID, {"of": grant_id}).one()


def end_grant(conn: Connection, now_s: int, actor: str, name: str, grant_id: int) -> None:
    """End a grant; raises UnknownGrant, Refused where it is the last administrator's."""
    row = conn.execute(_GRANT_BY_ID, {"of": grant_id}).one_or_none()
    if row is None or row.login != name:
        raise UnknownGrant("grant", grant_id, f"a grant of {name} that stands")
    if row.role == ADMINISTRATOR and row.area == "":
        _one_administrator_stays(conn, name)
    conn.execute(_END_GRANT, {"of": grant_id, "now": now_s, "by": actor})
    audit.record(conn, now_s, actor, ROLE_ENDED, USER + name, {"role": row.role, "area": row.area})
    changes.happened()


def grants(conn: Connection, name: str) -> list[Row[Any]]:
    """A person's standing rows of `role_grant`."""
    return list(conn.execute(_GRANTS, {"of": name}))


def _open_desk(conn: Connection, now_s: int, name: str) -> None:
    """The channel that a person's payments go over. It has no token; its first limit is a rule (`desk_payment_uc`)."""
    desk = DESK + name
    if conn.execute(_DESKS, {"of": desk}).scalar_one():
        return
    row = {"channel": desk, "token_digest": DESK_TOKEN, "scopes": PAYMENTS, "added_s": now_s}
    conn.execute(insert(channel).values(**row, max_payment_uc=rules.get(conn, "desk_payment_uc")))
    conn.execute(insert(channel_access).values(channel=desk, created_by=USER + name, token_by=USER + name))
    accounts.open_account(conn, accounts.of_channel(desk))


def _not_oneself(actor: str, name: str) -> None:
    if actor == USER + name:
        raise Refused("user", name, "somebody else than who asks")


def _one_administrator_stays(conn: Connection, name: str) -> None:
    standing = set(conn.execute(_ADMINISTRATORS).scalars())
    if standing == {name}:
        raise Refused("user", name, "another administrator to be there first")


def _check_language(language: str) -> None:
    if language not in LANGUAGES:
        raise Refused("language", language, f"one of {', '.join(LANGUAGES)}")
