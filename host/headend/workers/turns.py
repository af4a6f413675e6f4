"""One beat of a worker: it says that it is there, holds on to what it has, takes its share of what nobody holds.

Everybody sees the same workers in the database and comes to the same plan (`sharing`). What nobody holds goes to whom
the plan names, at once. What somebody holds moves only by being given back, to workers who have been there for a
while without a break: one that starts, stumbles and starts again moves nothing.
"""

from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, bindparam, delete, insert, select, update

from headend.store import sql
from headend.store.prepared import prepared
from headend.store.schema_workers import worker
from headend.workers import leases, roles, sharing
from headend.workers.leases import Lease

FORGET_S = 86_400  # a worker that was not heard of for so long


class Patience(NamedTuple):
    """Seconds."""

    lease: int = 15  # how long a worker may be silent before others take what it holds
    beat: int = 4  # between two beats
    settle: int = 10  # a worker that came is given nothing that others hold before it was there for so long
    away: int = 20  # without a connection to the broker, before it leaves its shards to others


class Turn(NamedTuple):
    """`held`: what the worker holds now · `surplus`: of that, what is to go to others: to be given back (`release`)
    when nothing is done under it any more.
    """

    held: list[Lease]
    surplus: list[Lease]


_SEEN = prepared(select(worker).where(worker.c.name == bindparam("of")))
_COME = prepared(insert(worker))
_STAY = prepared(
    update(worker)
    .where(worker.c.name == bindparam("of"))
    .values(serves=bindparam("what"), since_s=bindparam("since"), seen_s=bindparam("now"))
)
_GO = prepared(delete(worker).where(worker.c.name == bindparam("of")))
_FORGET = prepared(delete(worker).where(worker.c.seen_s < bindparam("before", type_=BigInteger)))
_THERE = prepared(
    select(worker)
    .where(
        worker.c.seen_s > bindparam("after", type_=BigInteger), worker.c.seen_s < bindparam("before", type_=BigInteger)
    )
    .order_by(worker.c.name)
)


def turn(conn: Connection, name: str, serves: frozenset[str], patience: Patience) -> Turn:
    """`name`: of this process and no other, also not of one before it · `serves`: what it can take on now."""
    now_s = sql.now_s(conn)
    _announce(conn, now_s, name, serves, patience.lease)
    held = leases.renew_all(conn, name, patience.lease)
    there = _THERE(conn, {"after": now_s - patience.lease, "before": now_s + patience.lease}).all()
    surplus = [one for one in held if _name_of(one) not in serves]
    for what, kind, numbers in roles.contended(serves):
        standing = [one for one in leases.standing(conn, kind) if one.number in numbers]
        holders = {one.number: one.holder for one in standing}
        able = [one for one in there if what in one.serves.split()]
        steady = {one.name for one in able if one.since_s <= now_s - patience.settle or one.name in holders.values()}
        mine = sharing.plan(numbers, steady or {one.name for one in able})
        surplus += [one for one in held if one.kind == kind and one.number in numbers and mine[one.number] != name]
        for number in numbers:
            if mine[number] == name and number not in holders:
                taken = leases.take(conn, kind, number, name, patience.lease)
                held += [taken] if taken is not None else []
    return Turn(sorted(held), sorted(surplus))


def leave(conn: Connection, name: str) -> None:
    """Give everything back, and be gone."""
    for kind in (*roles.KINDS,):
        leases.release(conn, [one for one in leases.standing(conn, kind) if one.holder == name])
    _GO(conn, {"of": name})


def _name_of(held: Lease) -> str:
    """What a worker has to serve to hold this."""
    return roles.ALONE[held.number] if held.kind == roles.ROLE else held.kind


def _announce(conn: Connection, now_s: int, name: str, serves: frozenset[str], lease_s: int) -> None:
    known = _SEEN(conn, {"of": name}).one_or_none()
    words = " ".join(sorted(serves))
    if known is None:
        _FORGET(conn, {"before": now_s - FORGET_S})
        _COME(conn, {"name": name, "serves": words, "since_s": now_s, "seen_s": now_s})
        return
    broken = not 0 <= now_s - known.seen_s < lease_s or set(known.serves.split()) != serves
    since_s = now_s if broken else known.since_s
    _STAY(conn, {"of": name, "what": words, "since": since_s, "now": now_s})
