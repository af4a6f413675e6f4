"""Limits of the audit, with their history: each change is a new version, the newest rules."""

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from headend import audit
from headend.configuration import words  # noqa: F401 - the words of the audit
from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema_configuration import configuration_policy

_BOUNDS = {"drift_s": (5, 3_600), "fresh_s": (3_600, 90 * 86_400)}
_NEWEST = prepared(
    select(configuration_policy.c.drift_s, configuration_policy.c.fresh_s)
    .order_by(configuration_policy.c.id.desc())
    .limit(1)
)


@dataclass(frozen=True)
class Policy:
    """`drift_s`: how far off a clock is let be · `fresh_s`: a meter that showed what it holds longer ago is asked."""

    drift_s: int = 120
    fresh_s: int = 86_400


def get(conn: Connection) -> Policy:
    """What rules."""
    row = _NEWEST(conn).one_or_none()
    return Policy() if row is None else Policy(row.drift_s, row.fresh_s)


def put(conn: Connection, now_s: int, actor: str, rules: Policy) -> None:
    """Put limits in force; raises Refused."""
    for name, (low, high) in _BOUNDS.items():
        value = getattr(rules, name)
        if not low <= value <= high:
            raise Refused(name, value, f"{low}..{high}")
    row = {"since_s": now_s, "actor": actor, "drift_s": rules.drift_s, "fresh_s": rules.fresh_s}
    conn.execute(insert(configuration_policy), row)
    told = {"drift_s": rules.drift_s, "fresh_s": rules.fresh_s}
    audit.record(conn, now_s, actor, "configuration.policy", "configuration", told)
