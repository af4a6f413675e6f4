"""Guessing is bounded: by name, whether or not anybody has it, and by address.

An attempt is counted before the password is looked at, so that many at once get no further than one after the other.
After `lock_after` without success the name is locked for `lock_s`, then for twice as long, up to a day; an address
likewise after `address_lock_after`. Whoever signs in at last begins anew, and what is a day old is forgotten.
"""

import hashlib

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from headend.access import rules
from headend.store.schema_access import sign_in_failure

LONGEST_S = 86_400

_OF = select(sign_in_failure).where(sign_in_failure.c.subject == bindparam("of"))
_OLD = delete(sign_in_failure).where(
    sign_in_failure.c.changed_s < bindparam("before"), sign_in_failure.c.locked_until_s < bindparam("before")
)
_ROW = insert(sign_in_failure)
_CHANGE = (
    update(sign_in_failure)
    .where(sign_in_failure.c.subject == bindparam("of"))
    .values(
        failed=bindparam("failed"),
        locks=bindparam("locks"),
        locked_until_s=bindparam("locked_until_s"),
        changed_s=bindparam("changed_s"),
    )
)
_FORGET = delete(sign_in_failure).where(sign_in_failure.c.subject == bindparam("of"))


def attempt(conn: Connection, now_s: int, name: str, address: str) -> int:
    """Count an attempt; 0 when it may go on, else the seconds until the next one may. Locks where it is due."""
    conn.execute(_OLD, {"before": now_s - LONGEST_S})
    most = {_name(name): rules.get(conn, "lock_after"), _address(address): rules.get(conn, "address_lock_after")}
    standing = {subject: conn.execute(_OF, {"of": subject}).one_or_none() for subject in most}
    locked_s = max((row.locked_until_s - now_s for row in standing.values() if row is not None), default=0)
    if locked_s > 0:
        return int(locked_s)
    lock_s = rules.get(conn, "lock_s")
    for subject, row in standing.items():
        failed, locks, until_s = (row.failed, row.locks, row.locked_until_s) if row is not None else (0, 0, 0)
        failed += 1
        if failed >= most[subject]:  # in case it fails; `succeeded` takes it back
            until_s, locks, failed = now_s + min(lock_s << min(locks, 16), LONGEST_S), locks + 1, 0
        values = {"failed": failed, "locks": locks, "locked_until_s": until_s, "changed_s": now_s}
        if row is None:
            conn.execute(_ROW, {"subject": subject, **values})
        else:
            conn.execute(_CHANGE, {"of": subject, **values})
    return 0


def succeeded(conn: Connection, name: str, address: str) -> None:
    """The attempt was no guess: forget the name's, and take this one from the address's."""
    conn.execute(_FORGET, {"of": _name(name)})
    subject = _address(address)
    row = conn.execute(_OF, {"of": subject}).one_or_none()
    if row is None:
        return
    values = {"failed": row.failed - 1, "locks": row.locks, "locked_until_s": row.locked_until_s}
    if not row.failed:  # this attempt had locked it
        values = {"failed": rules.get(conn, "address_lock_after") - 1, "locks": row.locks - 1, "locked_until_s": 0}
    conn.execute(_CHANGE, {"of": subject, **values, "changed_s": row.changed_s})


def unlock(conn: Connection, name: str) -> None:
    """Let a name try again now."""
    conn.execute(_FORGET, {"of": _name(name)})


def locked_until(conn: Connection, now_s: int, name: str) -> int | None:
    """Until when a name is locked, if it is."""
    row = conn.execute(_OF, {"of": _name(name)}).one_or_none()
    return row.locked_until_s if row is not None and row.locked_until_s > now_s else None


def _name(name: str) -> str:
    return "name:" + hashlib.sha256(name.encode()).hexdigest()


def _address(address: str) -> str:
    return "address:" + address[:64]
