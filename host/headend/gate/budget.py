"""How many orders that may open a relay have passed, and whether one more may.

One row of the table `gate` is the lock: who counts holds it until the transaction ends, so that two workers never give
away the same place. It is tried for, never waited for, by whoever holds meters: nobody can wait in a circle.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, BindParameter, Connection, String, bindparam, func, insert, select, update

from headend.access.areas import within
from headend.gate.policy import COUNTS, SCOPES, WINDOWS, Policy
from headend.store.prepared import prepared
from headend.store.schema import meter, order
from headend.store.schema_gate import gate, gate_pass

_TRY = select(gate.c.one).with_for_update(skip_locked=True)
_HOLD = update(gate).values(touched=gate.c.touched + 1)
_AREA = prepared(select(meter.c.area).where(meter.c.meter == bindparam("of")))
_PASS = prepared(insert(gate_pass))


@dataclass(frozen=True)
class Place:
    """Whose order it is and where its meter stands: the name of each scope."""

    actor: str
    area: str
    feeder: str
    utility: str = ""

    def name(self, scope: str) -> str:
        return str(getattr(self, scope))


class Room(NamedTuple):
    """How the tightest scope stands: `left` is what it has at least; below 1 the others say which it is."""

    left: int
    scope: str
    name: str
    window: str
    used: int
    limit: int
    free_s: int  # when one more is free there, as far as can be told; 0: now


def try_lock(conn: Connection) -> bool:
    """Hold the gate, where nobody else does."""
    return conn.execute(_TRY).one_or_none() is not None


def lock(conn: Connection) -> None:
    """Wait for the gate and hold it. The first statement of a transaction: whoever holds a meter must not wait here."""
    conn.execute(_HOLD)


def prefix(area: str, level: int) -> str:
    """The first `level` parts of an area's path."""
    return "/".join(area.split("/")[:level])


def place_of(conn: Connection, meter_id: int, actor: str, policy: Policy) -> Place:
    """The scopes of an order of `actor` to a meter."""
    return place(_AREA(conn, {"of": meter_id}).scalar_one(), actor, policy)


def place(area: str, actor: str, policy: Policy) -> Place:
    """As `place_of`, of a meter in this area."""
    return Place(actor, prefix(area, policy.area_level), prefix(area, policy.feeder_level))


def meters_in(conn: Connection, scope: str, name: str, enough: int) -> int:
    """How many meters a scope has, counted up to `enough`; of whoever states orders, the utility's."""
    if not enough:
        return 0
    some = select(meter.c.meter)
    if scope in ("feeder", "area") and name:
        some = some.where(within(meter.c.area, (name,)))
    return int(conn.execute(select(func.count()).select_from(some.limit(enough).subquery())).scalar_one())


_SINCE = bindparam("since", type_=BigInteger)
_NAMED = bindparam("named", type_=String)
_KINDS: BindParameter[Any] = bindparam("kinds", expanding=True)
_AT = {
    scope: (
        select(func.count()).where(gate_pass.c.at_s > _SINCE, gate_pass.c["class"].in_(_KINDS)),
        select(gate_pass.c.at_s)
        .where(gate_pass.c.at_s > _SINCE, gate_pass.c["class"].in_(_KINDS))
        .order_by(gate_pass.c.at_s)
        .limit(1)
        .offset(bindparam("before")),
    )
    for scope in SCOPES
}
_AT |= {
    scope: (used.where(gate_pass.c[scope] == _NAMED), nth.where(gate_pass.c[scope] == _NAMED))
    for scope, (used, nth) in _AT.items()
    if scope != "utility"
}
# Orders that are queued and have not passed yet: they have a place in prospect.
_QUEUED = (
    select(order.c.actor, meter.c.area, func.count().label("number"))
    .join(meter, meter.c.meter == order.c.meter)
    .where(order.c.state == "queued", order.c.gate.in_(_KINDS))
    .group_by(order.c.actor, meter.c.area)
)


class Budget:
    """The limits of one class as they stand in this transaction. What has passed and how many meters a scope has is
    counted once: whoever lets orders pass says so by `take`."""

    def __init__(self, conn: Connection, now_s: int, policy: Policy, kind: str, *, with_queued: bool = False) -> None:
        self._conn = conn
        self._now_s = now_s
        self._policy = policy
        self._kind = kind
        self._counted = list(COUNTS[kind])
        self._meters: dict[tuple[str, str], int] = {}
        self._passed: dict[tuple[str, str, str], int] = {}
        self._taken: dict[tuple[str, str], int] = {}
        if with_queued:
            for row in conn.execute(_QUEUED, {"kinds": self._counted}):
                self.take(place(row.area, row.actor, policy), row.number)

    def take(self, at: Place, number: int = 1) -> None:
        """Count some that had no row when this was made."""
        for scope in SCOPES:
            key = scope, at.name(scope)
            self._taken[key] = self._taken.get(key, 0) + number

    def room(self, at: Place) -> Room:
        """The tightest of all scopes and windows."""
        return min(self._room(scope, at.name(scope), window) for scope in SCOPES for window in WINDOWS)

    def _room(self, scope: str, name: str, window: str) -> Room:
        key = scope, name
        share = self._policy.share(self._kind, scope, window)
        values: dict[str, Any] = {"since": self._now_s - WINDOWS[window], "kinds": self._counted}
        if scope != "utility":
            values["named"] = name
        count, nth = _AT[scope]
        passed = self._passed.get((*key, window))
        if passed is None:
            passed = self._passed[*key, window] = int(self._conn.execute(count, values).scalar_one())
        used = passed + self._taken.get(key, 0)
        limit = share.least if used < share.least else share.of(self._meters_in(scope, name))
        free_s = 0
        if used >= limit:
            before = min(max(used - limit, 0), max(passed - 1, 0))
            at_s = self._conn.execute(nth, {**values, "before": before}).scalar_one_or_none()
            free_s = (self._now_s if at_s is None else at_s) + WINDOWS[window]
        return Room(limit - used, scope, name, window, used, limit, free_s)

    def _meters_in(self, scope: str, name: str) -> int:
        """Counted where the limit depends on it, and once: a fleet is large."""
        key = scope, name
        if key not in self._meters:
            enough = max(self._policy.share(self._kind, scope, window).enough() for window in WINDOWS)
            self._meters[key] = meters_in(self._conn, scope, name, enough)
        return self._meters[key]


def passed(conn: Connection, now_s: int, row: Any, at: Place, kind: str) -> None:
    """Write that an order passes the gate as `kind`."""
    values = {
        "order_id": row.id,
        "at_s": now_s,
        "meter": row.meter,
        "actor": at.actor,
        "area": at.area,
        "feeder": at.feeder,
        "class": kind,
        "proposal": row.proposal,
    }
    _PASS(conn, values)
