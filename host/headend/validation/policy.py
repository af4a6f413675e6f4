"""How severe each rule is, by which figures it judges, and after how long a silent meter is visited.

Data with its history: each change is a new version. A policy is a list of scopes, each for an area and all below it, a
type of meters, both or all; what a narrower scope says overrides a wider one, and what none says is as by default.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from headend import audit
from headend.access import areas
from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema_quality import quality_policy
from headend.validation import words
from headend.validation.rules import RULES, SEVERITIES
from headend.validation.rules.kinds import Values

CARRIERS = ("mqtt", "modbus")
SILENT_S = 86_400
LEAST_SILENT_S, MOST_SILENT_S = 3_600, 60 * 86_400
MAX_SCOPES = 200
MAX_TYPE = 40
_KEYS = ("area", "meter_type", "rules", "silent_s")


@dataclass(frozen=True)
class Rules:
    """What holds for a meter. `severities`, `params`: of each rule · `silent_s`: carrier -> seconds."""

    version: int
    severities: Mapping[str, str]
    params: Mapping[str, Values]
    silent_s: Mapping[str, int]


@dataclass(frozen=True)
class Policy:
    """What stands: `version` 0 is what holds until somebody sets another. `scopes`: as JSON, checked."""

    version: int = 0
    scopes: tuple[Mapping[str, Any], ...] = ()

    @cached_property
    def _known(self) -> dict[tuple[str, str], Rules]:
        return {}

    @cached_property
    def least_silent_s(self) -> int:
        """After how long the first of all meters is visited."""
        given: list[int] = [one for scope in self.scopes for one in scope["silent_s"].values()]
        return min([SILENT_S, *given])

    def of(self, area: str, meter_type: str = "") -> Rules:
        """What holds for a meter of this type in this area."""
        known = self._known.get((area, meter_type))
        if known is None:
            known = self._known[area, meter_type] = self._merged(area, meter_type)
        return known

    def _merged(self, area: str, meter_type: str) -> Rules:
        severities = {code: rule.severity for code, rule in RULES.items()}
        params = {code: {name: one.default for name, one in rule.params.items()} for code, rule in RULES.items()}
        silent_s = dict.fromkeys(CARRIERS, SILENT_S)
        for scope in sorted(self.scopes, key=_width):
            if not areas.covers(scope["area"], area) or scope["meter_type"] not in ("", meter_type):
                continue
            for code, given in scope["rules"].items():
                severities[code] = given.get("severity", severities[code])
                params[code].update({name: value for name, value in given.items() if name != "severity"})
            silent_s.update(scope["silent_s"])
        return Rules(self.version, severities, params, silent_s)


def _width(scope: Mapping[str, Any]) -> tuple[int, bool]:
    """Wider scopes first."""
    return len(scope["area"].split("/")) if scope["area"] else 0, bool(scope["meter_type"])


_NEWEST = prepared(
    select(quality_policy.c.version, quality_policy.c.scopes).order_by(quality_policy.c.version.desc()).limit(1)
)
_SET = insert(quality_policy).returning(quality_policy.c.version)


def get(conn: Connection) -> Policy:
    """The policy in force."""
    row = _NEWEST(conn).one_or_none()
    return Policy() if row is None else Policy(row.version, tuple(json.loads(row.scopes)))


def history(conn: Connection, limit: int = 100) -> list[Row[Any]]:
    """The newest versions, newest first: rows of `quality_policy`."""
    return list(conn.execute(select(quality_policy).order_by(quality_policy.c.version.desc()).limit(limit)))


def put(conn: Connection, now_s: int, scopes: Any, actor: str, why: str) -> int:
    """Set another policy; returns its version. Raises Refused."""
    checked = read(scopes)
    row = {"since_s": now_s, "actor": actor, "why": why[:200], "scopes": json.dumps(checked, sort_keys=True)}
    version = int(conn.execute(_SET, row).scalar_one())
    audit.record(conn, now_s, actor, words.POLICY_SET, f"quality_policy:{version}", {"why": why[:200]})
    return version


def read(scopes: Any) -> list[dict[str, Any]]:
    """Scopes with all their keys; raises Refused that names what does not fit."""
    if not isinstance(scopes, list) or len(scopes) > MAX_SCOPES:
        raise Refused("scopes", scopes, f"a list of at most {MAX_SCOPES} objects")
    found = [_scope(f"scopes[{at}]", one) for at, one in enumerate(scopes)]
    places = [(one["area"], one["meter_type"]) for one in found]
    for at, place in enumerate(places):
        if place in places[:at]:
            raise Refused(f"scopes[{at}]", place, "another area or type than the scopes before")
    return found


def _scope(where: str, given: Any) -> dict[str, Any]:
    _known(where, given, _KEYS)
    area, meter_type = given.get("area", ""), given.get("meter_type", "")
    if not isinstance(area, str):
        raise Refused(f"{where}.area", area, "a path")
    areas.check(area, f"{where}.area")
    if not isinstance(meter_type, str) or len(meter_type) > MAX_TYPE or not (meter_type.isprintable()):
        raise Refused(f"{where}.meter_type", meter_type, f"the name of a type, at most {MAX_TYPE} characters")
    rules = given.get("rules", {})
    _known(f"{where}.rules", rules, tuple(RULES))
    silent = given.get("silent_s", {})
    _known(f"{where}.silent_s", silent, CARRIERS)
    for carrier, value in silent.items():
        _whole(f"{where}.silent_s.{carrier}", value, LEAST_SILENT_S, MOST_SILENT_S)
    return {
        "area": area,
        "meter_type": meter_type,
        "rules": {code: _rule(f"{where}.rules.{code}", code, one) for code, one in rules.items()},
        "silent_s": silent,
    }


def _rule(where: str, code: str, given: Any) -> dict[str, Any]:
    params = RULES[code].params
    _known(where, given, ("severity", *params))
    for name, value in given.items():
        if name != "severity":
            _whole(f"{where}.{name}", value, params[name].low, params[name].high)
        elif value not in SEVERITIES:
            raise Refused(f"{where}.severity", value, f"one of {', '.join(SEVERITIES)}")
    return dict(given)


def _known(where: str, given: Any, names: tuple[str, ...]) -> None:
    if not isinstance(given, dict):
        raise Refused(where, given, f"an object with some of {', '.join(names)}")
    for name in given:
        if name not in names:
            raise Refused(where, name, f"one of {', '.join(names)}")


def _whole(where: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Refused(where, value, f"a whole number, {low}..{high}")
