"""The dry run of one meter: is it in, as wanted already, or excluded, by which rule and on what evidence.

What the gate and the registry would say of an order is asked of them, not said again here.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Row, bindparam, select

from headend import registry
from headend.campaigns import lifecycle, words
from headend.campaigns.plan import Plan
from headend.firmware import images
from headend.firmware import rules as firmware
from headend.firmware import words as firmware_words
from headend.gate import admission, checks, policy
from headend.gate import words as gate_words
from headend.gate.checks import Asked
from headend.gate.kinds import LISTS, selector_of
from headend.language import LANGUAGES, say
from headend.orders.stored import stored_report
from headend.store.prepared import prepared
from headend.store.schema_campaign import campaign, campaign_meter
from meterlink import bodies, reasons, states
from meterlink.labels import Text

IN, THERE, BARRED = "in", "there", "barred"
MAX_SAID = 300
ACTOR = "campaign:dry-run"  # no person looks at the one meter, so old data bars it

_OTHER = prepared(
    select(campaign.c.id, campaign.c.state)
    .join(campaign_meter, campaign_meter.c.campaign == campaign.c.id)
    .where(
        campaign_meter.c.meter == bindparam("of", type_=BigInteger),
        campaign_meter.c.verdict == IN,
        campaign.c.kind == bindparam("kind"),
        campaign.c.id != bindparam("but", type_=BigInteger),
        campaign.c.state.in_((lifecycle.PROPOSED, lifecycle.RUNNING, lifecycle.HELD, lifecycle.PAUSED)),
    )
    .limit(1)
)


class Task(NamedTuple):
    """What a campaign is to do: `terms` of its kind, with the meters `chosen`, by `plan`."""

    campaign: int
    kind: str
    terms: dict[str, Any]
    chosen: dict[str, Any]
    plan: Plan


class Verdict(NamedTuple):
    """What a dry run says of a meter; `said`: in English and Chinese."""

    verdict: str
    rule: str = ""
    evidence: int | None = None
    said: tuple[str, str] = ("", "")


def check(conn: Connection, now_s: int, task: Task, facts: Row[Any] | None) -> Verdict:
    """`facts`: as `selection.some` has them; None: there is no such meter."""
    if facts is None:
        return _barred(words.UNKNOWN, words.RULES[words.UNKNOWN], {})
    found = next(_bars(conn, now_s, task, facts), None)
    if found is not None:
        return found
    kind, terms = task.kind, task.terms
    if "image" in terms and firmware.runs_it(conn, images.get(conn, terms["image"]), facts.meter):
        return Verdict(THERE, words.RUNS, None, words.RULES[words.RUNS])
    before = admission.before(conn, facts.meter, LISTS[kind].aspect, selector_of(kind, terms))
    if "image" not in terms and _THERE[kind](terms, before):
        return Verdict(THERE, words.THERE, None, words.RULES[words.THERE])
    return Verdict(IN)


def _bars(conn: Connection, now_s: int, task: Task, facts: Row[Any]) -> Iterator[Verdict]:
    kind, terms = task.kind, task.terms
    for rule, told in _own(kind, task.chosen, facts):
        yield _barred(rule, words.RULES[rule], told)
    other = _OTHER(conn, {"of": facts.meter, "kind": kind, "but": task.campaign}).one_or_none()
    if other is not None:
        told = {"campaign": other.id, "state": lifecycle.STATES[other.state]}
        yield _barred(words.OTHER_CAMPAIGN, words.RULES[words.OTHER_CAMPAIGN], told, other.id)
    if "image" in terms:
        image, alarms = images.get(conn, terms["image"]), facts.alarms or 0
        for rule, told, evidence in firmware.bars(conn, image, facts.meter, facts.type, facts.family, alarms):
            yield _barred(rule, firmware_words.RULES[rule], told, evidence)
    if kind not in ("stop", "unprotect"):
        return
    selector = selector_of(kind, terms)
    asked = Asked(facts.meter, LISTS[kind].aspect, selector, policy.APPROVED, ACTOR, now_s, now_s)
    for no in checks.forbids(conn, now_s, asked, policy.get(conn)):
        if no.rule not in (gate_words.FROZEN, "calendar"):
            yield _barred(no.rule, no.text, no.fields, no.fields.get("exclusion"))
    for bar in registry.bars(conn, max(now_s, task.plan.start_s), facts.meter, selector):
        if bar.rule == "calendar":
            yield _barred(bar.rule, bar.text, bar.fields, bar.fields["version"])
    if kind == "stop" and _protected(facts.report):
        yield _barred(words.PROTECTED, words.RULES[words.PROTECTED], {})


def _own(kind: str, chosen: dict[str, Any], facts: Row[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the meter itself says against it."""
    if facts.life in ("removed", "retired"):
        yield words.LIFE, {"state": facts.life}
    if (facts.alarms or 0) >> states.ALARM_RETIRED & 1:
        yield words.RETIRED, {}
    if chosen.get("type") and facts.type != chosen["type"]:
        yield words.OTHER_TYPE, {"type": facts.type or "-", "wanted": chosen["type"]}
    if chosen.get("carrier") and facts.carrier != chosen["carrier"]:
        yield words.OTHER_CARRIER, {"carrier": facts.carrier, "wanted": chosen["carrier"]}
    if kind in ("stop", "connect") and facts.relay == 0:
        yield words.NO_RELAY, {"type": facts.type}


def _protected(raw: bytes | None) -> bool:
    report = stored_report(raw)
    return report is not None and bool(report.holds >> reasons.HOLD_PROTECTION & 1)


def _barred(rule: str, text: Text, fields: dict[str, Any], evidence: int | None = None) -> Verdict:
    said = []
    for at, language in enumerate(LANGUAGES):
        told = {name: value[at] if isinstance(value, tuple) else value for name, value in fields.items()}
        said.append(say(text, language, **told)[:MAX_SAID])
    return Verdict(BARRED, rule, evidence, (said[0], said[1]))


def _holds(_terms: dict[str, Any], before: bytes | None) -> bool:
    return before is not None and bodies.decode_supply(before)[0] == bodies.HOLD


def _does_not_hold(_terms: dict[str, Any], before: bytes | None) -> bool:
    return before is None or bodies.decode_supply(before)[0] != bodies.HOLD


def _same_body(terms: dict[str, Any], before: bytes | None) -> bool:
    return before is not None and before.hex() == terms["body"]


def _never(_terms: dict[str, Any], _before: bytes | None) -> bool:
    return False


# Kind -> whether what was sent before says the same already.
_THERE: dict[str, Callable[[dict[str, Any], bytes | None], bool]] = {
    "stop": _holds,
    "connect": _does_not_hold,
    "unprotect": _does_not_hold,
    "tariff": _same_body,
    "limits": _same_body,
    "load": _same_body,
    "firmware": _same_body,
    "mode": _never,
    "clock": _never,
}
