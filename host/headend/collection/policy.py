"""Which meter is asked for what, and when: rules as data with their history, each change a new version.

A rule is for an area, a carrier and a type of meter, each of which it may leave open. Of those that fit a meter the one
with the narrowest area holds, then the one that names the carrier, then the one that names the type.
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, insert, select

from headend import audit
from headend.access import areas
from headend.collection.words import POLICY_SET
from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema_collection import collection_policy

FOLLOW = "follow"  # whatever a report shows to be missing is asked for at once
PUSH = "push"  # the meter brings its records by itself; what it leaves out is asked for
DAILY = "daily"  # intervals are fetched once a day, in the meter's own minute of the window
PROFILES = (FOLLOW, PUSH, DAILY)
MAX_RULES = 1000

_NUMBERS = {
    "report_s": (60, 86_400),
    "gap_s": (10, 3600),
    "from_minute": (0, 1439),
    "spread_minutes": (1, 1440),
    "deadline_minute": (1, 1440),
}
_PATTERN = ("area", "carrier", "meter_type")


@dataclass(frozen=True)
class Rule:
    """How meters are asked. Seconds, and minutes of the utility's local day.

    `report_s`: between two reports asked of a meter · `gap_s`: before missing records are asked for again; doubles each
    time, up to `FILL_MAX_S` · `from_minute`, `spread_minutes`: the window of the daily look; each meter has its own
    moment in it · `deadline_minute`: of the next day, until when a day counts as read in time.
    """

    area: str = ""
    carrier: str = ""
    meter_type: str = ""
    profile: str = FOLLOW
    report_s: int = 900
    gap_s: int = 60
    from_minute: int = 15
    spread_minutes: int = 345
    deadline_minute: int = 360

    def fits(self, area: str, carrier: str, meter_type: str) -> bool:
        """Whether it is for such a meter."""
        named = self.carrier in ("", carrier) and self.meter_type in ("", meter_type)
        return named and areas.covers(self.area, area)

    def narrowness(self) -> tuple[int, bool, bool]:
        """By what the narrowest of several that fit is found."""
        return len(self.area), bool(self.carrier), bool(self.meter_type)


@dataclass(frozen=True)
class Policy:
    """The rules in force, narrowest first; the last one is for all meters. `version` 0: nobody has set any."""

    version: int
    rules: tuple[Rule, ...]

    def of(self, area: str, carrier: str, meter_type: str = "") -> Rule:
        """The rule for such a meter."""
        return next(rule for rule in self.rules if rule.fits(area, carrier, meter_type))

    @property
    def deadline_minute(self) -> int:
        """Of the utility: the one of the rule for all meters."""
        return self.rules[-1].deadline_minute


def read(version: int, given: Any, base: Rule = Rule()) -> Policy:
    """The policy of a list of rules; what a rule leaves out is as in `base`. Raises Refused for what does not fit."""
    if not isinstance(given, list) or len(given) > MAX_RULES:
        raise Refused("rules", str(given)[:40], f"a list of at most {MAX_RULES} rules")
    rules = [_rule(number, one, base) for number, one in enumerate(given)]
    patterns = [tuple(getattr(rule, name) for name in _PATTERN) for rule in rules]
    twice = next((pattern for pattern in patterns if patterns.count(pattern) > 1), None)
    if twice is not None:
        raise Refused("rules", " ".join(twice) or "everything", "one rule for the same area, carrier and type")
    if ("", "", "") not in patterns:
        rules.append(base)
    return Policy(version, tuple(sorted(rules, key=Rule.narrowness, reverse=True)))


def _rule(number: int, given: Any, base: Rule) -> Rule:
    where = f"rules[{number}]"
    known = (*_PATTERN, "profile", *_NUMBERS)
    if not isinstance(given, dict):
        raise Refused(where, str(given)[:40], f"an object with some of {', '.join(known)}")
    for name, value in given.items():
        field = f"{where}.{name}"
        if name not in known:
            raise Refused(where, name, f"one of {', '.join(known)}")
        if name in _NUMBERS:
            low, high = _NUMBERS[name]
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise Refused(field, value, f"a whole number, {low}..{high}")
        elif not isinstance(value, str) or len(value) > areas.MAX_LENGTH or not value.isprintable():
            raise Refused(field, str(value)[:40], "a name")
        elif name == "area":
            areas.check(value, field)
        elif name == "carrier" and value not in ("", "mqtt", "modbus"):
            raise Refused(field, value, "mqtt, modbus, or nothing for both")
        elif name == "profile" and value not in PROFILES:
            raise Refused(field, value, f"one of {', '.join(PROFILES)}")
    return replace(base, **given)


def put(conn: Connection, now_s: int, actor: str, rules: list[dict[str, Any]], why: str) -> Policy:
    """Set the rules, all of them; raises Refused."""
    checked = read(0, rules)
    row = {"since_s": now_s, "actor": actor[:80], "why": why[:200], "rules": json.dumps(rules, separators=(",", ":"))}
    version = int(conn.execute(insert(collection_policy).returning(collection_policy.c.version), row).scalar_one())
    audit.record(conn, now_s, actor, POLICY_SET, f"collection:{version}", {"rules": len(rules), "why": why[:200]})
    return replace(checked, version=version)


_NEWEST = prepared(select(collection_policy).order_by(collection_policy.c.version.desc()).limit(1))
_HISTORY = select(collection_policy).order_by(collection_policy.c.version.desc()).limit(bindparam("n", type_=Integer))


def standing(conn: Connection, base: Rule = Rule()) -> Policy:
    """The rules in force; what they leave open is as in `base`."""
    row = _NEWEST(conn).one_or_none()
    return Policy(0, (base,)) if row is None else _read_kept(row.version, row.rules, base)


_kept: dict[tuple[int, str, Rule], Policy] = {}


def _read_kept(version: int, text: str, base: Rule) -> Policy:
    """As `read`, of what is stored: rules are read much more often than they are set."""
    key = version, text, base
    if key not in _kept:
        _kept.clear()
        _kept[key] = read(version, json.loads(text), base)
    return _kept[key]


def history(conn: Connection, limit: int = 100) -> list[Any]:
    """Versions (rows of `collection_policy`), newest first."""
    return list(conn.execute(_HISTORY, {"n": limit}))


def rules_of(policy: Policy) -> list[dict[str, Any]]:
    """The rules, every field of them, as JSON takes them."""
    return [asdict(rule) for rule in policy.rules]
