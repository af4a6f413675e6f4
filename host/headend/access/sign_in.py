"""Signing in, in three steps, so that no transaction waits for a password: `attempt`, the password, `settle`.

The answer to a wrong name, a wrong password and a closed account is the same, after the same work.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from headend import audit
from headend.access import lockout, sessions, totp
from headend.access.caller import USER
from headend.access.people import ACTIVE
from headend.access.sealing import Sealer
from headend.access.words import (
    PASSWORD_CHANGED,
    SECOND_FACTOR_OFF,
    SECOND_FACTOR_ON,
    SIGN_IN_FAILED,
    SIGNED_IN,
)
from headend.refusals import Refused
from headend.store.schema_access import login

MAX_NAME = 40

_OF = select(login).where(login.c.login == bindparam("of"))
_SEEN = (
    update(login).where(login.c.login == bindparam("of")).values(seen_s=bindparam("now"), totp_step=bindparam("step"))
)
_PASSWORD = (
    update(login)
    .where(login.c.login == bindparam("of"))
    .values(password_hash=bindparam("hash"), password_s=bindparam("now"), must_change=0)
)
_FACTOR = (
    update(login)
    .where(login.c.login == bindparam("of"))
    .values(totp_secret=bindparam("secret"), totp_pending=bindparam("pending"), totp_step=bindparam("step"))
)


@dataclass(frozen=True)
class Attempt:
    """An attempt that was counted: what the password is held against, or how long to wait."""

    stored: str | None = None
    wait_s: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of it: a session; or none, and whether a code is all that is missing."""

    session: Row[Any] | None = None
    code_wanted: bool = False


def attempt(conn: Connection, now_s: int, name: str, address: str) -> Attempt:
    """Count the attempt. `stored` is None where nobody signs in under this name."""
    wait_s = lockout.attempt(conn, now_s, name[:MAX_NAME], address)
    if wait_s:
        return Attempt(wait_s=wait_s)
    row = _active(conn, name)
    return Attempt(row.password_hash if row is not None else None)


def settle(
    conn: Connection,
    now_s: int,
    name: str,
    address: str,
    stored: str | None,
    code: str | None,
    token: str,
    sealer: Sealer | None,
) -> Outcome:
    """Begin a session with `token` where the password fitted `stored` (else None) and the code, if any, is right."""
    row = _active(conn, name)
    if row is None or stored is None or row.password_hash != stored:
        return _failed(conn, now_s, name, address)
    step = row.totp_step
    if row.totp_secret is not None:
        if code is None:
            lockout.succeeded(conn, name, address)
            return Outcome(code_wanted=True)
        found = totp.step_of(_need(sealer).open(row.totp_secret, name), code, now_s, step)
        if found is None:
            return _failed(conn, now_s, name, address)
        step = found
    lockout.succeeded(conn, name, address)
    conn.execute(_SEEN, {"of": name, "now": now_s, "step": step})
    audit.record(conn, now_s, USER + name, SIGNED_IN, USER + name, {"address": address})
    return Outcome(sessions.begin(conn, now_s, name, token, address))


def change_password(conn: Connection, now_s: int, name: str, stored: str, new_hash: str, session_id: int) -> None:
    """Give oneself another password, after the old one fitted `stored`; all other sessions end. Raises Refused."""
    row = _active(conn, name)
    if row is None or row.password_hash != stored:
        raise Refused("old_password", "a password", "the one that holds now")
    conn.execute(_PASSWORD, {"of": name, "hash": new_hash, "now": now_s})
    sessions.end_all(conn, name, but=session_id)
    audit.record(conn, now_s, USER + name, PASSWORD_CHANGED, USER + name)


def enrol(conn: Connection, now_s: int, name: str, secret: bytes, sealer: Sealer | None) -> None:
    """Begin with a second factor: it counts once `confirm` has seen a code of it. Raises Refused where one stands."""
    row = _standing(conn, name)
    if row.totp_secret is not None:
        raise Refused("second_factor", "on", "off: turn the old one off first")
    pending = _need(sealer).seal(secret, name)
    conn.execute(_FACTOR, {"of": name, "secret": None, "pending": pending, "step": row.totp_step})


def confirm(conn: Connection, now_s: int, name: str, code: str, sealer: Sealer | None) -> None:
    """Turn the enrolled second factor on; raises Refused."""
    row = _standing(conn, name)
    if row.totp_pending is None:
        raise Refused("second_factor", "not enrolled", "one that was enrolled")
    step = totp.step_of(_need(sealer).open(row.totp_pending, name), code, now_s, row.totp_step)
    if step is None:
        raise Refused("code", "a code", "the one that the authenticator shows now")
    conn.execute(_FACTOR, {"of": name, "secret": row.totp_pending, "pending": None, "step": step})
    audit.record(conn, now_s, USER + name, SECOND_FACTOR_ON, USER + name)


def turn_off(conn: Connection, now_s: int, name: str, stored: str) -> None:
    """Turn the second factor off, after the password fitted `stored`; raises Refused."""
    row = _standing(conn, name)
    if row.password_hash != stored:
        raise Refused("password", "a password", "the one that holds now")
    conn.execute(_FACTOR, {"of": name, "secret": None, "pending": None, "step": row.totp_step})
    audit.record(conn, now_s, USER + name, SECOND_FACTOR_OFF, USER + name)


def stored_hash(conn: Connection, name: str) -> str:
    """What a person's password is held against."""
    return str(_standing(conn, name).password_hash)


def _active(conn: Connection, name: str) -> Row[Any] | None:
    row = conn.execute(_OF, {"of": name[:MAX_NAME]}).one_or_none()
    return row if row is not None and row.state == ACTIVE else None


def _standing(conn: Connection, name: str) -> Row[Any]:
    row = _active(conn, name)
    if row is None:
        raise Refused("user", name, "a person who may sign in")
    return row


def _failed(conn: Connection, now_s: int, name: str, address: str) -> Outcome:
    """The name is on record only where somebody has it: people type passwords into the wrong field."""
    known = conn.execute(_OF, {"of": name[:MAX_NAME]}).one_or_none() is not None
    subject = USER + name if known else "user:(unknown)"
    audit.record(conn, now_s, "anonymous", SIGN_IN_FAILED, subject, {"address": address})
    return Outcome()


def _need(sealer: Sealer | None) -> Sealer:
    if sealer is None:
        raise Refused("access_key", "none", "a key for second factors on this head end")
    return sealer
