"""Whether a report proves what an order wanted. Pure: an order, a report, a verdict.

========  ==================================================================================================
wants     is confirmed by
========  ==================================================================================================
off       version >= v, the hold stands, contact open and not meant to be closed, no load current for 2 s
on        version >= v, the hold is cleared, contact closed and meant to be
permit    version >= v, the hold is cleared, ready for reconnection (or connected and closed already)
credit    the source's totals >= those stated, under the same account epoch
version   version >= v
mode      version >= v, and the mode (local, remote, postpaid) that it states rules
tag       version >= v, in a report that is made under the per-meter key that it states first
closed    the source's total >= t, and no order of it is held: with the receipt before it, the meter has folded it
epoch     account epoch >= e
retired   under the same account epoch, the meter says that it is retired
recovered version >= v, and the meter no longer says that its history is lost
========  ==================================================================================================

Versions compare as (signing epoch, version): a higher epoch outranks. The caller sees to it that the report answers an
unexpired question of ours; a report that does not confirms nothing, whatever it says.
"""

from collections.abc import Callable
from dataclasses import dataclass

from meterlink import bodies, bodies_root, names, reasons, results, states
from meterlink.reports import Report

CONFIRMED = "confirmed"
NOT_YET = "not_yet"
CONTRADICTED = "contradicted"  # the meter holds the order, and what it wants failed: `cause` names how
OUTRANKED = "outranked"  # a newer statement than this one rules on the meter
EXPIRED = "expired"  # past its last second by the meter's own clock, and not held

WELDED = "welded"
BYPASSED = "bypassed"
FAILED_TO_CLOSE = "failed_to_close"
CONFLICT = "conflict"  # other content under the same version
HOLD_DIFFERS = "hold_differs"  # the order is held, its hold is not as it states

NO_LOAD_S = 2
CONDITION_S = 30  # between two looks whether an operation that is due has found its conditions


@dataclass(frozen=True)
class Wanted:
    """What of an order a report is compared with; named as the columns of the table `order`."""

    meter: int
    aspect: int
    selector: int
    account_epoch: int
    signing_epoch: int
    version: int
    total_uc: int
    not_after_s: int
    wants: str
    digest: bytes
    body: bytes = b""


@dataclass(frozen=True)
class Verdict:
    """`outcome` (see the constants), a sentence for people, whether the meter holds the order, why it failed.

    `again_s`: for *not_yet*, after how many seconds a further report would tell more, where that is known; else 0.
    """

    outcome: str
    sentence: str
    held: bool = False
    cause: str = ""
    again_s: int = 0


def confirms(order: Wanted, report: Report) -> Verdict:
    """Judge an order by a report on its subject."""
    if (report.meter, report.aspect, report.selector) != (order.meter, order.aspect, order.selector):
        return Verdict(NOT_YET, "The report speaks of another subject.")
    if order.wants == "epoch" and report.account_epoch >= order.account_epoch:
        return Verdict(CONFIRMED, f"The meter serves account epoch {report.account_epoch}.", held=True)
    if report.account_epoch != order.account_epoch:
        return _other_account(order, report)
    if order.wants in _OF_ACCOUNT:
        return _OF_ACCOUNT[order.wants](order, report)
    stands = (report.signing_epoch, report.version)
    wanted = (order.signing_epoch, order.version)
    if stands < wanted:
        return _not_held(order, report)
    if stands == wanted and report.digest != order.digest:
        return Verdict(CONTRADICTED, f"The meter holds other content under version {order.version}.", cause=CONFLICT)
    if order.wants == "recovered" and report.alarms >> states.ALARM_HISTORY_LOST & 1:
        return Verdict(CONTRADICTED, "The meter says that its history is lost.", held=True)
    if order.wants in ("version", "recovered"):
        return Verdict(CONFIRMED, _version(report), held=True)
    if order.wants in _STATED:
        field, shown, stated = _STATED[order.wants](order, report)
        if shown == stated:
            return Verdict(CONFIRMED, f"{_version(report)} Its {field} is {shown}.", held=True)
        if stands > wanted:
            return Verdict(OUTRANKED, f"{_version(report)} It outranks {order.version}.")
        return Verdict(NOT_YET, f"{_version(report)} Its {field} is {shown}, {stated} expected.", held=True)
    if (report.holds >> order.selector & 1) != (bodies.HOLD if order.wants == "off" else bodies.RELEASE):
        if stands > wanted:
            return Verdict(OUTRANKED, f"{_version(report)} It outranks {order.version}.")
        return Verdict(CONTRADICTED, f"{_version(report)} Its hold is not as stated.", held=True, cause=HOLD_DIFFERS)
    return _PHYSICAL[order.wants](report)


def settles_s(report: Report, *, credited: bool) -> int | None:
    """After how many seconds a further report would tell that supply has changed; None: nothing is about to change it.

    credited: this very report confirms credit. The meter may not have acted on it yet: what it senses, and why it is
    off, are as old as its last step.
    """
    if report.pending != states.PENDING_NONE:
        return _until_done_s(report) if report.due_s > report.time_s else CONDITION_S
    held = report.holds & ~(1 << reasons.HOLD_PROTECTION)
    return NO_LOAD_S + 1 if credited and report.contact == states.CONTACT_OPEN and not held else None


def _mode(order: Wanted, report: Report) -> tuple[str, str, str]:
    return "mode", names.of(names.MODE, report.mode), names.of(names.MODE, bodies.decode_mode(order.body)[0])


def _tag(order: Wanted, report: Report) -> tuple[str, int, int]:
    return "tag key", report.tag_key_version, bodies_root.decode_tag_keys(order.body)[0][0]


# Wants -> (what it is about, what the report shows of it, what the order states).
_STATED: dict[str, Callable[[Wanted, Report], tuple[str, object, object]]] = {"mode": _mode, "tag": _tag}


def _other_account(order: Wanted, report: Report) -> Verdict:
    sentence = f"The meter serves account epoch {report.account_epoch}, the order is for {order.account_epoch}."
    if report.account_epoch > order.account_epoch and order.wants != "credit":
        return Verdict(OUTRANKED, sentence)
    return Verdict(NOT_YET, sentence)


def _credit(order: Wanted, report: Report) -> Verdict:
    shown = f"The meter shows {report.source_credited_uc} of source {order.selector}"
    refunded_uc = bodies.decode_credit(order.body)[1] if order.body else 0
    if report.source_credited_uc >= order.total_uc and report.source_refunded_uc < refunded_uc:
        sentence = f"{shown}, and {report.source_refunded_uc} taken back, {refunded_uc} expected."
        return Verdict(NOT_YET, sentence + _last_verdict(report))
    if report.source_credited_uc >= order.total_uc:
        return Verdict(CONFIRMED, f"{shown}.", held=True)
    return Verdict(NOT_YET, f"{shown}, {order.total_uc} expected.{_last_verdict(report)}")


def _closed(order: Wanted, report: Report) -> Verdict:
    shown = f"The meter shows {report.source_credited_uc} of source {order.selector}"
    if report.source_credited_uc >= order.total_uc and report.digest == bytes(len(report.digest)):
        return Verdict(CONFIRMED, f"{shown}, which is closed.", held=True)
    return Verdict(NOT_YET, f"{shown}, which is open.{_last_verdict(report)}")


def _retired(order: Wanted, report: Report) -> Verdict:
    if report.alarms >> states.ALARM_RETIRED & 1:
        return Verdict(CONFIRMED, f"Account epoch {report.account_epoch} is closed for good.", held=True)
    return Verdict(NOT_YET, f"Account epoch {report.account_epoch} is open.{_last_verdict(report)}")


_OF_ACCOUNT: dict[str, Callable[[Wanted, Report], Verdict]] = {
    "credit": _credit,
    "closed": _closed,
    "retired": _retired,
}


def _not_held(order: Wanted, report: Report) -> Verdict:
    if 0 < order.not_after_s < report.time_s and report.clock == states.CLOCK_SET:
        sentence = f"Its last second has passed at the meter, which holds version {report.version}."
        return Verdict(EXPIRED, sentence)
    return Verdict(NOT_YET, f"{_version(report)} {order.version} expected.{_last_verdict(report)}")


def _off(report: Report) -> Verdict:
    if report.contact == states.CONTACT_OPEN:
        if report.diagnosis == states.DIAGNOSIS_BYPASSED or (report.load_ma and not report.no_load_s):
            sentence = f"The contact is open and {report.load_ma} mA flow: bypassed."
            return Verdict(CONTRADICTED, sentence, held=True, cause=BYPASSED)
        if report.control == states.CONTROL_CONNECTED:  # what it senses is as old as its last step; it may just close
            sentence = "The contact is open, and the meter means it to be closed."
            return Verdict(NOT_YET, sentence, held=True, again_s=_until_done_s(report))
        if report.no_load_s < NO_LOAD_S:
            sentence = f"The contact is open; without load for {report.no_load_s} s only."
            return Verdict(NOT_YET, sentence, held=True, again_s=NO_LOAD_S)
        return Verdict(CONFIRMED, f"The contact is open, no load current for {report.no_load_s} s.", held=True)
    if report.contact == states.CONTACT_UNKNOWN:
        return Verdict(NOT_YET, "The meter cannot sense its contact.", held=True)
    if report.diagnosis == states.DIAGNOSIS_WELDED:
        return Verdict(CONTRADICTED, "The contact did not open: welded.", held=True, cause=WELDED)
    if report.pending == states.PENDING_TRIP:
        sentence = f"The contact is closed; the trip is due at {report.due_s}."
        return Verdict(NOT_YET, sentence, held=True, again_s=_until_done_s(report))
    if report.holds >> reasons.HOLD_PROTECTION & 1:
        return Verdict(NOT_YET, "The contact is closed: supply is protected.", held=True)
    return Verdict(NOT_YET, "The contact is still closed.", held=True)


def _on(report: Report) -> Verdict:
    if report.contact == states.CONTACT_CLOSED:
        if report.control == states.CONTROL_CONNECTED:
            return Verdict(CONFIRMED, "The hold is cleared and the contact is closed.", held=True)
        sentence = f"The contact is closed against the meter's intent: welded; {_still_open(report)}"
        return Verdict(CONTRADICTED, sentence, held=True, cause=WELDED)
    if report.diagnosis == states.DIAGNOSIS_FAILED_TO_CLOSE:
        return Verdict(CONTRADICTED, "The contact did not close.", held=True, cause=FAILED_TO_CLOSE)
    again_s = _until_done_s(report) if report.pending == states.PENDING_CLOSE else 0
    return Verdict(NOT_YET, f"Still open because {_still_open(report)}", held=True, again_s=again_s)


def _permit(report: Report) -> Verdict:
    if report.control == states.CONTROL_READY:
        causes = names.of_bits(names.CAUSE, report.causes)
        until = f", once it is no longer {' and '.join(causes)}" if causes else ""
        sentence = f"The hold is cleared; the meter is ready for reconnection by the customer{until}."
        return Verdict(CONFIRMED, sentence, held=True)
    if report.control == states.CONTROL_CONNECTED and report.contact == states.CONTACT_CLOSED:
        return Verdict(CONFIRMED, "The hold is cleared and the contact is closed.", held=True)
    return Verdict(NOT_YET, f"Still open because {_still_open(report)}", held=True)


_PHYSICAL: dict[str, Callable[[Report], Verdict]] = {"off": _off, "on": _on, "permit": _permit}


def _still_open(report: Report) -> str:
    """What keeps supply off, for people: holds, the meter's own causes, an armed operation, a wait for the customer."""
    holds = report.holds & ~(1 << reasons.HOLD_PROTECTION)
    why = [f"hold {name}" for name in names.of_bits(names.HOLD, holds)] + names.of_bits(names.CAUSE, report.causes)
    if report.pending == states.PENDING_CLOSE:
        why.append(f"the close is due at {report.due_s}")
    if waits_for_key(report):
        why.append("the meter waits for the customer's key")
    return (", ".join(why) or "the meter has not closed yet") + "."


def waits_for_key(report: Report) -> bool:
    """Whether nothing but the customer's key is missing: what is ready for reconnection with a cause of its own, or
    with a close that is armed, does not wait for it yet (class 70, states.CONTROL_READY)."""
    causes = report.causes & ~(1 << reasons.CAUSE_REMINDER)  # which the key ends
    return report.control == states.CONTROL_READY and not causes and report.pending == states.PENDING_NONE


def _until_done_s(report: Report) -> int:
    """Seconds from the report until the armed operation is done and can be told from the load."""
    return max(report.due_s - report.time_s, 0) + NO_LOAD_S + 1


def _version(report: Report) -> str:
    return f"The meter holds version {report.version} of signing epoch {report.signing_epoch}."


def _last_verdict(report: Report) -> str:
    """Its last answer on this subject, where that was a refusal (of whichever order: no digest tells)."""
    if report.result < results.BAD_LENGTH:
        return ""
    return f" Its last answer on this subject was {names.of(names.RESULT, report.result)}."
