"""The budgets and rules of the gate: data with its history, each change a new version.

An order that may open a relay counts in four scopes at once (who states it, feeder, area, utility), over the last hour
and the last day. What one person may do alone, what an approved proposal may do, and safety holds have limits of
their own.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, select

from headend import audit
from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema_gate import gate_policy

# As what an order passes the gate; "" in `order.gate`: it opens nothing and passes freely.
ALONE = "alone"
APPROVED = "approved"
SAFETY = "safety"
RESTATED = "restated"  # what was in force before a meter lost its history, stated again
REFUND = "refund"  # credit that takes more than it gives; approved where the refund was
CLASSES = (ALONE, APPROVED, SAFETY, RESTATED, REFUND)

SCOPES = ("actor", "feeder", "area", "utility")
WINDOWS = {"hour": 3600, "day": 86_400}
LIMITED = (ALONE, APPROVED, SAFETY)
# What counts against the limits of a class: whatever was approved shares the network with what was not.
COUNTS = {ALONE: (ALONE,), APPROVED: (ALONE, APPROVED), SAFETY: (SAFETY,)}

MAX_LIMIT = 1_000_000
PER = 100_000
_FIELDS = {
    "area_level": (1, 6),
    "feeder_level": (1, 6),
    "proposal_s": (600, 30 * 86_400),
    "recall_s_per_meter": (0, 60),
    "stale_s": (3600, 30 * 86_400),
}


@dataclass(frozen=True)
class Share:
    """How many in a window: so many of 100 000 meters of the scope, at least `least`, at most `most`."""

    least: int
    most: int
    per_100k: int

    def of(self, meters: int) -> int:
        """The limit for a scope of so many meters."""
        return max(self.least, min(self.most, meters * self.per_100k // PER))

    def enough(self) -> int:
        """From so many meters on the limit grows no more."""
        return -(-self.most * PER // self.per_100k) if self.per_100k else 0


_ALONE = Share(1, 50, 100)
_DEFAULT = {
    ALONE: {"hour": _ALONE, "day": _ALONE},
    APPROVED: {"hour": Share(10, 1_000, 1_000), "day": Share(50, 5_000, 5_000)},
    SAFETY: {"hour": Share(10, 50, 100), "day": Share(20, 100, 200)},
}


@dataclass(frozen=True)
class Policy:
    """What stands: `version` 0 is what holds until somebody sets another.

    `limits`: class -> scope -> window -> Share · `always`: what one person never states alone: names of aspects
    ("tariff"), or of holds ("supply:legal") · `feeder_level`, `area_level`: how many parts of a meter's area name its
    feeder, its area · `proposal_s`: how long a proposal stays open · `recall_s_per_meter`: a recall spreads the closing
    over so many seconds for each meter of a feeder · `stale_s`: a meter that was not heard for longer is not stopped
    automatically.
    """

    version: int = 0
    limits: dict[str, dict[str, dict[str, Share]]] = field(
        default_factory=lambda: {kind: dict.fromkeys(SCOPES, windows) for kind, windows in _DEFAULT.items()}
    )
    always: tuple[str, ...] = ()
    area_level: int = 1
    feeder_level: int = 2
    proposal_s: int = 86_400
    recall_s_per_meter: int = 2
    stale_s: int = 86_400

    def share(self, kind: str, scope: str, window: str) -> Share:
        return self.limits[kind][scope][window]

    def rules(self) -> dict[str, Any]:
        """As JSON: `read` takes it."""
        limits = {
            kind: {
                scope: {window: [share.least, share.most, share.per_100k] for window, share in windows.items()}
                for scope, windows in scopes.items()
            }
            for kind, scopes in self.limits.items()
        }
        return {"limits": limits, "always": list(self.always), **{name: getattr(self, name) for name in _FIELDS}}


def flat(limit: int) -> dict[str, Any]:
    """Rules with one limit for everything that is limited: for a bench, a desk, a demonstration."""
    share = Share(limit, limit, 0)
    return Policy(limits={kind: {scope: dict.fromkeys(WINDOWS, share) for scope in SCOPES} for kind in LIMITED}).rules()


def read(version: int, rules: dict[str, Any]) -> Policy:
    """A policy of its rules; what is left out is as by default. Raises Refused that names what does not fit."""
    known = {"limits", "always", *_FIELDS}
    unknown = sorted(set(rules) - known)
    if unknown:
        raise Refused("rules", unknown[0], f"one of {', '.join(sorted(known))}")
    values: dict[str, Any] = {}
    for name, (low, high) in _FIELDS.items():
        value = rules.get(name, getattr(Policy, name))
        if not _whole(value, low, high):
            raise Refused(name, value, f"a whole number, {low}..{high}")
        values[name] = value
    always = rules.get("always", [])
    if not (isinstance(always, list) and all(isinstance(one, str) and one.isprintable() for one in always)):
        raise Refused("always", always, 'a list of names such as "tariff" or "supply:legal"')
    return Policy(version, _limits(rules.get("limits", {})), tuple(always), **values)


def _limits(given: Any) -> dict[str, dict[str, dict[str, Share]]]:
    limits = {kind: {scope: dict(windows) for scope in SCOPES} for kind, windows in _DEFAULT.items()}
    for kind, scopes in _items("limits", given, LIMITED):
        for scope, windows in _items(f"limits.{kind}", scopes, SCOPES):
            for window, share in _items(f"limits.{kind}.{scope}", windows, tuple(WINDOWS)):
                where = f"limits.{kind}.{scope}.{window}"
                whole = isinstance(share, list) and len(share) == 3 and all(_whole(one, 0, MAX_LIMIT) for one in share)
                if not whole or share[0] > share[1]:
                    raise Refused(where, share, f"[least, most, of each {PER} meters], each 0..{MAX_LIMIT}")
                limits[kind][scope][window] = Share(*share)
    return limits


def _items(where: str, given: Any, names: tuple[str, ...]) -> list[tuple[str, Any]]:
    if not isinstance(given, dict):
        raise Refused(where, given, f"an object with some of {', '.join(names)}")
    for name in given:
        if name not in names:
            raise Refused(where, name, f"one of {', '.join(names)}")
    return list(given.items())


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


_NEWEST = prepared(select(gate_policy.c.version, gate_policy.c.rules).order_by(gate_policy.c.version.desc()).limit(1))
_SET = insert(gate_policy).returning(gate_policy.c.version)


def get(conn: Connection) -> Policy:
    """The policy in force."""
    row = _NEWEST(conn).one_or_none()
    return Policy() if row is None else read(row.version, json.loads(row.rules))


def history(conn: Connection, limit: int = 100) -> list[Any]:
    """The newest versions, newest first: rows of `gate_policy`."""
    return list(conn.execute(select(gate_policy).order_by(gate_policy.c.version.desc()).limit(limit)))


def put(conn: Connection, now_s: int, actor: str, rules: dict[str, Any], why: str) -> int:
    """Put rules in force, whole; returns their version. What was proposed under the ones before lapses.

    Whoever calls this has the right to: the machine's own operator, or an approved proposal.
    """
    whole = read(0, rules).rules()
    row = {"since_s": now_s, "actor": actor, "why": why, "rules": json.dumps(whole, sort_keys=True)}
    version = int(conn.execute(_SET, row).scalar_one())
    audit.record(conn, now_s, actor, "gate.policy", f"policy:{version}", {"why": why})
    return version
