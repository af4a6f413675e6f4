"""Why a customer has no supply: one sentence from the facts, for the API, the status page and whoever is asked."""

from headend.language import ENGLISH, name, say
from headend.orders import lifecycle
from headend.web import wire
from headend.web.facts import Facts
from headend.web.words import CAUSES, HOLDS, STATES, WHY
from meterlink import bodies, names, reasons, states
from meterlink.reports import Report


def why_off(facts: Facts, language: str = ENGLISH) -> str | None:
    """The sentence; None where supply is on, and meant to be."""
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
    return say(WHY[text], language, causes=causes, time=wire.utc(report.due_s))


def _causes(facts: Facts, report: Report, language: str) -> list[str]:
    """What keeps supply off by the meter's own account, then what is under way to change it."""
    found = [_hold(facts, hold, language) for hold in names.of_bits(names.HOLD, _holds(report))]
    for cause in names.of_bits(names.CAUSE, report.causes):
        if cause in WHY:
            found.append(say(WHY[cause], language, balance=wire.amount(report.balance_uc)))
        else:
            found.append(name(CAUSES, cause, language))
    diagnosis = names.of(names.DIAGNOSIS, report.diagnosis)
    if diagnosis in WHY:
        found.append(say(WHY[diagnosis], language, load_ma=report.load_ma))
    if report.control == states.CONTROL_READY:
        found.append(say(WHY["ready"], language))
    if report.pending == states.PENDING_CLOSE:
        found.append(say(WHY["closing"], language, time=wire.utc(report.due_s)))
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
        found.append(say(WHY["in_flight"], language, amount=wire.amount(facts.in_flight_uc)))
    return found


def _holds(report: Report) -> int:
    """The holds that keep supply off."""
    return report.holds & ~(1 << reasons.HOLD_PROTECTION)
