"""What of a meter differs from what is wanted of it. Pure: facts in, differences out.

An order that is on its way is given `GRACE_S`: until then what the meter reports may still be what held before.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from headend.configuration import words
from headend.language import LANGUAGES, name, say
from headend.orders import lifecycle
from meterlink import bodies, names, states
from meterlink.labels import LABEL, Text
from meterlink.orders import ASPECT_FIRMWARE, ASPECT_KEYS, ASPECT_LIMITS, ASPECT_MODE, ASPECT_TARIFF
from meterlink.reports import Report

GRACE_S = 3_600
CLOCK_UNKNOWN = "unknown"
NONE = ""

# Aspect of the audit -> aspect of its orders, where what is held is compared by version.
BY_VERSION = {
    "tariff": ASPECT_TARIFF,
    "limits": ASPECT_LIMITS,
    "keys": ASPECT_KEYS,
    "firmware": ASPECT_FIRMWARE,
}
ASPECTS = tuple(words.ASPECTS)


class Difference(NamedTuple):
    """`wanted`, `reported`: codes and numbers, which `sentence` puts into words."""

    aspect: str
    wanted: str
    reported: str


@dataclass(frozen=True)
class Facts:
    """What is known of a meter: its newest report and when it was taken, the newest order of each aspect that may rule,
    what it was shown to hold of each aspect, and the per-meter key that was stated and not seen yet."""

    now_s: int
    report: Report | None
    taken_s: int
    wanted: dict[int, Any]  # aspect -> id, state, issued_s, signing_epoch, version, digest, body
    held: dict[int, Any]  # aspect -> signing_epoch, version, digest, taken_s
    coming_key: int | None
    coming_since_s: int | None


Judged = dict[str, Difference | None]
"""Aspect -> what differs, None where it is right; what cannot be told yet is not in it."""


def judge(facts: Facts, drift_s: int) -> Judged:
    """What can be told of a meter."""
    found: Judged = {}
    if facts.report is not None:
        found |= {"clock": _clock(facts, facts.report, drift_s), **_key(facts, facts.report)}
        order = facts.wanted.get(ASPECT_MODE)
        if order is not None and _ripe(facts, order, facts.taken_s):
            found["mode"] = _mode(order, facts.report)
    for aspect, of_order in BY_VERSION.items():
        order, held = facts.wanted.get(of_order), facts.held.get(of_order)
        if held is not None and (order is None or _ripe(facts, order, held.taken_s)):
            found[aspect] = _version(aspect, order, held)
    return found


def _ripe(facts: Facts, order: Any, told_s: int) -> bool:
    """Whether what was told then can be held against an order."""
    if order.state == lifecycle.CONFIRMED:
        return bool(told_s >= order.issued_s)
    return bool(facts.now_s - order.issued_s >= GRACE_S)


def _mode(order: Any, report: Report) -> Difference | None:
    wanted = bodies.decode_mode(order.body)[0]
    if wanted == report.mode:
        return None
    return Difference("mode", names.of(names.MODE, wanted), names.of(names.MODE, report.mode))


def _clock(facts: Facts, report: Report, drift_s: int) -> Difference | None:
    if report.clock != states.CLOCK_SET:
        return Difference("clock", str(drift_s), CLOCK_UNKNOWN)
    off_s = report.time_s - facts.taken_s
    return Difference("clock", str(drift_s), str(off_s)) if abs(off_s) > drift_s else None


def _key(facts: Facts, report: Report) -> Judged:
    since_s = facts.coming_since_s
    if facts.coming_key is None:
        return {"key": None}
    if since_s is None or facts.now_s - since_s < GRACE_S:
        return {}
    return {"key": Difference("key", str(facts.coming_key), str(report.tag_key_version))}


def _version(aspect: str, order: Any, held: Any) -> Difference | None:
    """By version and digest."""
    if order is None:
        return Difference(aspect, NONE, _numbered(held)) if held.version else None
    if (held.signing_epoch, held.version) != (order.signing_epoch, order.version):
        return Difference(aspect, _numbered(order), _numbered(held) if held.version else NONE)
    if order.digest is not None and bytes(held.digest) != bytes(order.digest):
        return Difference(aspect, _numbered(order), f"{_numbered(held)}!")
    return None


def _numbered(one: Any) -> str:
    return f"{one.signing_epoch}.{one.version}"


def sentence(found: Any, language: str) -> str:
    """A finding in words. `found`: its aspect, wanted and reported."""
    if found.aspect == "clock" and found.reported == CLOCK_UNKNOWN:
        return say(words.CLOCK_UNKNOWN, language)
    text = words.FINDINGS[found.aspect]
    told = {"wanted": found.wanted, "reported": found.reported}
    if found.aspect == "mode":
        if found.reported == names.MODE[states.MODE_POSTPAID]:
            text = words.NOT_PREPAID
        told = {field: name(LABEL["mode"], code, language) for field, code in told.items()}
    elif found.aspect in BY_VERSION:
        told = {field: _said(code, language) for field, code in told.items()}
    return say(text, language, **told)


def _said(code: str, language: str) -> str:
    if code == NONE:
        return words.AS_PROVISIONED[LANGUAGES.index(language)]
    text: Text = words.OTHER_CONTENT if code.endswith("!") else words.VERSION
    return say(text, language, version=code.rstrip("!"))
