"""Leases: who works on what, until when, by the one clock that all share: the database's.

A lease is (kind, number). Each taking raises its token, so that what an earlier holder does under a lower one can be
told apart; a row stays for ever, and only its holder changes. A holder that is silent for longer than its lease has
lost it, also where nobody took it yet: it has to take it anew.

What a lease is not: a lock. A holder that was stopped (SIGSTOP, a swapped machine, a cut network) may go on for a
moment after it woke, so whatever is done under a lease has to be harmless when it is done twice. Leases keep it from
being done twice all the time.
"""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, Integer, and_, bindparam, insert, or_, select, tuple_, update

from headend.refusals import Refused
from headend.store import sql
from headend.store.prepared import prepared
from headend.store.schema_workers import lease

NOBODY = ""
LONGEST_S = 120  # of any lease: one that stands for longer was taken before the clock was set back, and counts no more


class Lease(NamedTuple):
    """What a holder holds. `until_s`: by the database's clock."""

    kind: str
    number: int
    holder: str
    token: int
    until_s: int


_KEY = (lease.c.kind == bindparam("of_kind"), lease.c.number == bindparam("of_number", type_=Integer))
_NOW = bindparam("now", type_=BigInteger)
_FAR = bindparam("far", type_=BigInteger)
_UNTIL = bindparam("until", type_=BigInteger)
_STANDS = and_(lease.c.until_s > _NOW, lease.c.until_s <= _FAR)

# A row that somebody else changes at this moment is not waited for: who holds it may be cut off from the database in
# the middle of a transaction, and nobody is to lose his own leases over that.
_LOCK = prepared(select(lease.c.token).where(*_KEY).with_for_update(skip_locked=True))
_TAKE = prepared(
    update(lease)
    .where(*_KEY, or_(lease.c.until_s <= _NOW, lease.c.until_s > _FAR))
    .values(holder=bindparam("who"), token=lease.c.token + 1, until_s=_UNTIL)
    .returning(lease.c.token)
)
_KNOWN = prepared(select(lease.c.token).where(*_KEY))
_FIRST = prepared(insert(lease))
_MINE = (*_KEY, lease.c.holder == bindparam("who"), lease.c.token == bindparam("held_token", type_=BigInteger))
_RENEW = prepared(update(lease).where(*_MINE, _STANDS).values(until_s=_UNTIL))
_RELEASE = prepared(update(lease).where(*_MINE).values(holder=NOBODY, until_s=0))
_MINE_NOW = select(lease.c.kind, lease.c.number).where(lease.c.holder == bindparam("who"), _STANDS)
_RENEW_ALL = prepared(
    update(lease)
    .where(tuple_(lease.c.kind, lease.c.number).in_(_MINE_NOW.with_for_update(skip_locked=True)))
    .values(until_s=_UNTIL)
    .returning(*lease.c)
)
_STANDING = prepared(select(lease).where(lease.c.kind == bindparam("of_kind"), _STANDS).order_by(lease.c.number))


def take(conn: Connection, kind: str, number: int, holder: str, ttl_s: int) -> Lease | None:
    """Take what nobody holds, for `ttl_s` from now; None where somebody does, `holder` itself included, or where
    somebody else is about to take or to renew it.
    """
    which = {"of_kind": kind, "of_number": number}
    when = _when(conn, ttl_s)
    until_s = when["until"]
    token = None
    if _LOCK(conn, which).one_or_none() is not None:
        token = _TAKE(conn, {**which, **when, "who": holder}).scalar_one_or_none()
    if token is None:
        if _KNOWN(conn, which).one_or_none() is not None:
            return None
        token = 1
        row = {"kind": kind, "number": number, "holder": holder, "token": token, "until_s": until_s}
        _FIRST(conn, row)
    return Lease(kind, number, holder, token, until_s)


def renew(conn: Connection, held: Lease, ttl_s: int) -> bool:
    """Hold on for `ttl_s` from now; False where it ran out or is another's by now."""
    return _RENEW(conn, {**_which(held), **_when(conn, ttl_s)}).rowcount == 1


def renew_all(conn: Connection, holder: str, ttl_s: int) -> list[Lease]:
    """Hold on to all that `holder` still holds, but for what is being changed; returns that, by kind and number."""
    found = _RENEW_ALL(conn, {"who": holder, **_when(conn, ttl_s)})
    return sorted(Lease(*row) for row in found)


def release(conn: Connection, held: Lease | Iterable[Lease]) -> None:
    """Give back what is held; what another holds by now stays as it is."""
    for one in [held] if isinstance(held, Lease) else held:
        _RELEASE(conn, _which(one))


def standing(conn: Connection, kind: str) -> list[Lease]:
    """What is held at this moment, by number."""
    now_s = sql.now_s(conn)
    return [Lease(*row) for row in _STANDING(conn, {"of_kind": kind, "now": now_s, "far": now_s + LONGEST_S})]


def _when(conn: Connection, ttl_s: int) -> dict[str, int]:
    if not 0 < ttl_s <= LONGEST_S:
        raise Refused("ttl_s", ttl_s, f"1..{LONGEST_S}")
    now_s = sql.now_s(conn)
    return {"now": now_s, "far": now_s + LONGEST_S, "until": now_s + ttl_s}


def _which(held: Lease) -> dict[str, object]:
    return {"of_kind": held.kind, "of_number": held.number, "who": held.holder, "held_token": held.token}
