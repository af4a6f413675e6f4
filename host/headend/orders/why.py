"""Why supply is off, and whether it can be set off: a sentence with its rule, for API, pages and dispatcher alike.

`can_stop` asks what the gate asks when an order is sent (`gate.checks`), so what it answers is what would happen now.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from headend.gate import budget, checks, policy, words
from headend.gate.budget import Budget
from headend.language import ENGLISH, amount, name, say, utc
from headend.orders import confirm, lifecycle
from headend.orders import facts as facts_of
from headend.orders.facts import Facts
from headend.orders.outbox import MQTT
from headend.orders.statements import MAX_STOP_S
from headend.orders.words import CAN_STOP, STATES, WHY
from headend.refusals import Refused
from headend.store.schema import order
from meterlink import bodies, names, reasons, states
from meterlink.labels import LABEL
from meterlink.orders import ASPECT_SUPPLY
from meterlink.reports import Report

HOLDS, CAUSES = LABEL["hold"], LABEL["cause"]

_WAITING = select(order.c.id, order.c.proposal).where(
    order.c.meter == bindparam("of"),
    order.c.aspect == ASPECT_SUPPLY,
    order.c.selector == bindparam("which"),
    order.c.state.in_(lifecycle.WAITING),
)


@dataclass(frozen=True)
class Answer:
    """`yes`: a stop that is stated now would be sent now · `rule`: what decides, for programs · `sentence`: in words.

    `approval`: it needs a second person first · `later_s`: when it may be tried again, where that is known; else 0.
    """

    yes: bool
    sentence: str
    rule: str
    approval: bool = False
    later_s: int = 0


def can_stop(
    conn: Connection, now_s: int, meter_id: int, reason: int, language: str = ENGLISH, actor: str = "system"
) -> Answer:
    """Whether the hold `reason` (reasons.HOLD_*, not protection) can be set on a meter now, by `actor`, and why (not).

    Changes nothing. Raises UnknownMeter, Refused.
    """
    if not reasons.HOLD_ARREARS <= reason <= reasons.HOLD_SAFETY:
        raise Refused("reason", reason, f"{reasons.HOLD_ARREARS}..{reasons.HOLD_SAFETY}")
    facts = facts_of.of_meter(conn, meter_id)
    rules = policy.get(conn)
    asked = checks.as_stop(meter_id, reason, actor, now_s)
    word = name(HOLDS, names.of(names.HOLD, reason), language)
    standing = next((row for row in facts.wanted_holds if row.selector == reason), None)
    if standing is not None:
        state = name(STATES, standing.state, language)
        told = {"reason": word, "order": standing.id, "actor": standing.actor, "state": state}
        return Answer(False, say(CAN_STOP["held"], language, **told), "order.held")
    for no in checks.forbids(conn, now_s, asked, rules):
        return Answer(False, no.say(language), no.rule, later_s=no.again_s)
    protecting = next((row for row in facts.supply if row.selector == reasons.HOLD_PROTECTION), None)
    if facts.wanted_protection and protecting is not None and reason != reasons.HOLD_SAFETY:
        told = {"order": protecting.id, "actor": protecting.actor}
        return Answer(False, say(CAN_STOP["protected"], language, **told), "order.protected")
    if facts.meter.carrier == MQTT and not facts.state.online:
        return Answer(False, say(CAN_STOP["absent"], language, minutes=MAX_STOP_S // 60), "meter.absent")
    waiting = conn.execute(_WAITING, {"of": meter_id, "which": reason}).one_or_none()
    if waiting is not None:
        told = {"reason": word, "order": waiting.id, "proposal": waiting.proposal}
        return Answer(False, say(CAN_STOP["waiting"], language, **told), "order.waiting", approval=True)
    place = budget.place_of(conn, meter_id, actor, rules)
    room = Budget(conn, now_s, rules, asked.kind, with_queued=True).room(place)
    if room.left < 1:
        no = checks.over_budget(now_s, room, words.BUDGET if asked.kind == policy.SAFETY else words.NEEDS_APPROVAL)
        return Answer(False, no.say(language), no.rule, approval=asked.kind == policy.ALONE, later_s=no.again_s)
    return Answer(True, say(CAN_STOP["yes"], language, reason=word), "gate.free")


def why_off(conn: Connection, now_s: int, meter_id: int, language: str = ENGLISH) -> str | None:
    """Why supply of a meter is off, or still off: holds with their orders, the meter's own causes, and what is under
    way to end it. None where it is on, and meant to be. Raises UnknownMeter."""
    return sentence(facts_of.of_meter(conn, meter_id), language)


def sentence(facts: Facts, language: str = ENGLISH) -> str | None:
    """Why supply is off, of facts that are at hand; None where it is on, and meant to be."""
    report = facts.report
    if report is None:
        return say(WHY["never"], language)
    if report.contact == states.CONTACT_OPEN:
        text = "off"
    elif report.control != states.CONTROL_CONNECTED:
        text = "unsensed" if report.contact == states.CONTACT_UNKNOWN else "not_open"
    elif report.pending == states.PENDING_TRIP:
        text = "tripping"
    else:
        return None
    causes = say(WHY["join"], language).join(_causes(facts, report, language))
    return say(WHY[text], language, causes=causes, time=utc(report.due_s))


def _causes(facts: Facts, report: Report, language: str) -> list[str]:
    """What keeps supply off by the meter's own account, then what is under way to change it."""
    found = [_hold(facts, hold, language) for hold in names.of_bits(names.HOLD, _holds(report))]
    for cause in names.of_bits(names.CAUSE, report.causes):
        if cause in WHY:
            found.append(say(WHY[cause], language, balance=amount(report.balance_uc)))
        else:
            found.append(name(CAUSES, cause, language))
    diagnosis = names.of(names.DIAGNOSIS, report.diagnosis)
    if diagnosis in WHY:
        found.append(say(WHY[diagnosis], language, load_ma=report.load_ma))
    if confirm.waits_for_key(report):
        found.append(say(WHY["ready"], language))
    if report.pending == states.PENDING_CLOSE:
        found.append(say(WHY["closing"], language, time=utc(report.due_s)))
    if not found and report.contact == states.CONTACT_OPEN:
        found.append(say(WHY["not_yet"], language))
    return found + _under_way(facts, report, language)


def _hold(facts: Facts, hold: str, language: str) -> str:
    """A hold that the meter shows, with the order behind it where that still rules."""
    code = names.code(names.HOLD, hold) if hold in names.HOLD.values() else -1
    ruling = next((row for row in facts.wanted_holds if row.selector == code), None)
    reason = name(HOLDS, hold, language)
    if ruling is None:
        return say(WHY["hold"], language, reason=reason)
    text = WHY["hold_by_note" if ruling.reason_text else "hold_by"]
    return say(text, language, reason=reason, order=ruling.id, actor=ruling.actor, note=ruling.reason_text)


def _under_way(facts: Facts, report: Report, language: str) -> list[str]:
    found = []
    for row in facts.supply:
        standing = _holds(report) >> row.selector & 1
        released = row.state != lifecycle.CONFIRMED and bodies.decode_supply(row.body)[0] == bodies.RELEASE
        if standing and released:
            fields = {
                "reason": name(HOLDS, names.of(names.HOLD, row.selector), language),
                "state": name(STATES, row.state, language),
                "order": row.id,
            }
            found.append(say(WHY["released"], language, **fields))
    if facts.in_flight_uc > 0:
        found.append(say(WHY["in_flight"], language, amount=amount(facts.in_flight_uc)))
    return found


def _holds(report: Report) -> int:
    """The holds that keep supply off."""
    return report.holds & ~(1 << reasons.HOLD_PROTECTION)
