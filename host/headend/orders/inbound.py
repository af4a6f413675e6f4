"""What meters say about themselves: facts for the meter's row, and verdicts on orders.

The caller has verified the MAC (`meterlink.reports.Report`); here it is decided what a genuine report is good for:

- Facts (balance, supply, what is held) are taken from the newest report only, by (boot, counter). An older one is
  *late*, the same one a *duplicate*. A counter that went back, as after a lost journal, is believed where the report
  answers a question that was asked after the newest report had been taken.
- A *receipt* is true of the order that its digest names, however late it comes; it moves `sent` on to `accepted` or
  `refused`, and confirms nothing.
- An order is judged (`confirm.py`) only by the report that answers a question of ours on its subject: asked after the
  order was sent, not answered before, and answered within the policy's `question_s`. So a report that was held back and
  is played later confirms nothing.
"""

from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, select, update

from headend.configuration import held
from headend.ledger import consumption, debts_on_meter, payments, refunds
from headend.orders import confirm, keys_held, lifecycle, outbox
from headend.orders.policy import Entropy, Policy
from headend.orders.signing import WANTS_CLOSED
from headend.orders.stored import stored_report
from headend.orders.writing import WANTS_CREDIT
from headend.reads import logs
from headend.store import identity, lock_meter
from headend.store.prepared import prepared
from headend.store.schema import meter, meter_state, meter_trust, order, question
from headend.tokens import replacing, usage
from meterlink import names, results, states
from meterlink.batches import KIND_REPORT as ASK_REPORT
from meterlink.orders import ASPECT_CREDIT, ASPECT_DEBT, ASPECT_KEYS
from meterlink.reports import KIND_BIRTH, KIND_RECEIPT, KIND_REPORT, NO_NONCE, Report

# What became of a report; each is counted under its name.
ANSWER = "answer"  # judged the orders on its subject
RECEIPT = "receipt"
BIRTH = "birth"
UNASKED = "unasked"  # answers no question of ours: facts only
STALE = "stale"  # answers a question of ours too late: facts only
LATE = "late"  # older than what is known
DUPLICATE = "duplicate"
RECEIPT_UNKNOWN = "receipt_unknown"  # for no order of ours that is under way

# What a receipt does to an order. What is not listed settles nothing: it passes (an unknown key comes with a `keys`
# order), or other bytes than ours met it.
RECEIPT_EVENT = {
    results.APPLIED: "accept",
    results.ALREADY: "accept",
    results.OLD_VERSION: "supersede",
    results.CONFLICT: "fail",
    results.BAD_FORMAT: "refuse",
    results.UNKNOWN_ASPECT: "refuse",
    results.NOT_IMPLEMENTED: "refuse",
    results.WRONG_METER: "refuse",
    results.WRONG_EPOCH: "refuse",
    results.BAD_SIGNATURE: "refuse",
    results.WRONG_ROLE: "refuse",
    results.BAD_BODY: "refuse",
    results.VERSION_JUMP: "refuse",
    results.SOURCES_FULL: "refuse",
    results.EXPIRY_REQUIRED: "refuse",
    results.BAD_NONCE: "refuse",
    results.SOURCE_CLOSED: "refuse",
    results.ALREADY_TYPED: "refuse",
    results.RETIRED: "refuse",
    results.DOWNGRADE: "refuse",
}

# Statements are built once: to put one together costs several times what it costs to run it.
_OPEN_QUESTION = prepared(
    select(question).where(
        question.c.nonce == bindparam("asked"),
        question.c.meter == bindparam("of"),
        question.c.kind == ASK_REPORT,
        question.c.answered_s.is_(None),
    )
)
_ANSWERED = prepared(update(question).where(question.c.nonce == bindparam("asked")).values(answered_s=bindparam("now")))
_NEWEST = prepared(
    update(meter_state)
    .where(meter_state.c.meter == bindparam("of"))
    .values(
        report=bindparam("raw"),
        report_boot=bindparam("boot"),
        report_counter=bindparam("counter"),
        report_time_s=bindparam("time"),
        report_taken_s=bindparam("now"),
        online=bindparam("present"),
        online_boot=bindparam("present_boot"),
        contact=bindparam("contact_is"),
        control=bindparam("control_is"),
        balance_uc=bindparam("balance"),
        alarms=bindparam("alarm_bits"),
    )
)
_ACCOUNT_EPOCH = prepared(select(meter.c.account_epoch).where(meter.c.meter == bindparam("of")))
_WANTED = tuple(confirm.Wanted.__dataclass_fields__)
_UNDER_WAY = prepared(
    select(order.c.id, order.c.state, order.c.sent_s, *[order.c[name] for name in _WANTED])
    .where(
        order.c.meter == bindparam("of"),
        order.c.aspect == bindparam("about"),
        order.c.selector == bindparam("which"),
        order.c.state.in_(lifecycle.ON_THE_WAY),
    )
    .order_by(order.c.id)
)


class TakenReport(NamedTuple):
    """What became of a report, whether it is the newest that is known of its meter, and after how many seconds supply
    should have followed (`confirm.settles_s`)."""

    outcome: str
    newest: bool
    settles_s: int | None = None


def take(conn: Connection, now_s: int, report: Report, carrier: str, policy: Policy, entropy: Entropy) -> TakenReport:
    """Take a genuine report; raises UnknownMeter. Repeating it changes nothing."""
    state = lock_meter(conn, report.meter)
    taken = _take(conn, now_s, state, report, carrier, policy, entropy)
    if state.replacing is not None:
        replacing.settle(conn, now_s, report.meter)
        refunds.token_settled(conn, now_s, report.meter)
    return taken


def _take(
    conn: Connection, now_s: int, state: Row[Any], report: Report, carrier: str, policy: Policy, entropy: Entropy
) -> TakenReport:
    seen, told = (state.report_boot, state.report_counter), (report.boot, report.counter)
    known = state.report_boot is not None
    if known and told == seen:
        return TakenReport(DUPLICATE, newest=False)
    asked, outcome = _question(conn, now_s, report, policy)
    newest = not known or told > seen or (asked is not None and asked.asked_s > state.report_taken_s)
    if newest:
        _facts(conn, now_s, state, report, carrier)
    if report.kind == KIND_RECEIPT:
        return TakenReport(_receipt(conn, now_s, report, policy, entropy), newest)
    if not newest:
        return TakenReport(LATE, newest)
    credited = asked is not None and _judge(conn, now_s, asked, report, policy, entropy)
    return TakenReport(outcome, newest, confirm.settles_s(report, credited=credited))


def gone(conn: Connection, meter_id: int, boot: int) -> bool:
    """The broker played the meter's will: it is absent. False for the will of a boot that another has followed."""
    state = lock_meter(conn, meter_id)
    if state.online_boot is not None and boot < state.online_boot:
        return False
    conn.execute(update(meter_state).where(meter_state.c.meter == meter_id).values(online=0, online_boot=boot))
    return True


def _question(conn: Connection, now_s: int, report: Report, policy: Policy) -> tuple[Row[Any] | None, str]:
    """The question that a report answers, marked as answered; None and why where it answers none that counts."""
    if report.kind == KIND_BIRTH:
        return None, BIRTH
    if report.kind != KIND_REPORT or report.nonce == NO_NONCE:
        return None, UNASKED
    row = _OPEN_QUESTION(conn, {"asked": report.nonce, "of": report.meter}).one_or_none()
    if row is None:
        return None, UNASKED
    _ANSWERED(conn, {"asked": report.nonce, "now": now_s})
    if not 0 <= now_s - row.asked_s <= policy.question_s:  # also one that was asked before the clock went back
        return None, STALE
    return row, ANSWER


def _facts(conn: Connection, now_s: int, state: Row[Any], report: Report, carrier: str) -> None:
    """The newest report: keep it, follow the meter's logs and money, and note that an MQTT meter is there."""
    present = carrier == outbox.MQTT
    if report.alarms >> states.ALARM_HISTORY_LOST & 1:
        _keep_whole(conn, state)
    _NEWEST(
        conn,
        {
            "of": report.meter,
            "raw": report.raw,
            "boot": report.boot,
            "counter": report.counter,
            "time": report.time_s,
            "now": now_s,
            "present": 1 if present else state.online,
            "present_boot": report.boot if present else state.online_boot,
            "contact_is": report.contact,
            "control_is": report.control,
            "balance": report.balance_uc,
            "alarm_bits": report.alarms,
        },
    )
    if present and (not state.online or report.kind == KIND_BIRTH):
        outbox.wake(conn, now_s, report.meter)
    logs.seen(conn, now_s, report)
    consumption.book(conn, now_s, report)
    if report.aspect == ASPECT_CREDIT and report.selector == identity.source_of(conn, report.meter):
        epoch = _ACCOUNT_EPOCH(conn, {"of": report.meter}).scalar_one()
        if report.account_epoch == epoch:
            payments.shown(conn, report.meter, report.source_credited_uc, report.time_s)
            if state.refunded_uc:
                refunds.shown(conn, now_s, report)
    usage.shown(conn, report)


def _keep_whole(conn: Connection, state: Row[Any]) -> None:
    """The meter has lost its history: what it proved before is what it can be given back."""
    before = stored_report(state.report)
    if before is not None and not before.alarms >> states.ALARM_HISTORY_LOST & 1:
        conn.execute(update(meter_trust).where(meter_trust.c.meter == state.meter).values(whole_report=state.report))


def _under_way(conn: Connection, report: Report) -> list[Row[Any]]:
    """Orders on the report's subject that the meter may hold, or come to hold."""
    subject = {"of": report.meter, "about": report.aspect, "which": report.selector}
    return _UNDER_WAY(conn, subject).all()


# --- receipts ---------------------------------------------------------------------------------------------------------


def _receipt(conn: Connection, now_s: int, report: Report, policy: Policy, entropy: Entropy) -> str:
    """Move the order that the receipt names, with the receipt as evidence of a refusal; a repeated one changes
    nothing."""
    named = [row for row in _under_way(conn, report) if row.digest == report.digest]
    if not named:
        return RECEIPT_UNKNOWN
    for row in named:
        said = f"receipt: {names.of(names.RESULT, report.result)}"
        event = RECEIPT_EVENT.get(report.result)
        if row.state == lifecycle.ACCEPTED:
            continue  # what it holds it holds, whatever it says of a further copy
        if report.result == results.REFUND_EXCEEDS and refunds.refused(conn, now_s, report, row.selector, row.body):
            event = "refuse"
        if event is None:
            lifecycle.remark(conn, now_s, row.id, "receipt", said)
            if report.result == results.EXPIRED:
                outbox.ask_at(conn, row.id, now_s)
            elif report.result == results.BODY_MISSING:
                outbox.deliver_again(conn, now_s, row.id, policy, entropy)
            continue
        if (row.state, event) not in lifecycle.table_of(row.aspect):
            event = "refuse"  # credit knows no other end
        evidence: dict[str, Any] = (
            {} if event == "accept" else {"evidence": report.raw, "evidence_time_s": report.time_s}
        )
        state = lifecycle.move(conn, now_s, row.id, event, said, result=report.result, **evidence)
        outbox.next_in_line(conn, now_s, report.meter)
        if state == lifecycle.ACCEPTED:
            outbox.ask_at(conn, row.id, now_s, fresh=True)
    return RECEIPT


# --- answers ----------------------------------------------------------------------------------------------------------


def _judge(conn: Connection, now_s: int, asked: Row[Any], report: Report, policy: Policy, entropy: Entropy) -> bool:
    """Hold every order on the subject against the report. Whether it confirmed credit."""
    if (asked.aspect, asked.selector) != (report.aspect, report.selector):
        return False
    held.shown(conn, now_s, report)
    credited = False
    for row in _under_way(conn, report):
        if row.wants == WANTS_CLOSED and row.state != lifecycle.ACCEPTED:
            continue  # a report alone does not tell a source that was folded from one that was never stated
        if row.sent_s <= asked.asked_s:
            wanted = confirm.Wanted(**{name: getattr(row, name) for name in _WANTED})
            verdict = confirm.confirms(wanted, report)
            _settle(conn, now_s, row, verdict, report, policy, entropy)
            credited = credited or (row.wants == WANTS_CREDIT and verdict.outcome == confirm.CONFIRMED)
    return credited


def _settle(
    conn: Connection,
    now_s: int,
    row: Row[Any],
    verdict: confirm.Verdict,
    report: Report,
    policy: Policy,
    entropy: Entropy,
) -> None:
    """Carry a verdict over to the order, with the report as its evidence."""
    event = "fail" if verdict.cause == confirm.CONFLICT else _END.get(verdict.outcome)
    if event is not None and (row.state, event) in lifecycle.table_of(row.aspect):
        facts: dict[str, Any] = {"evidence": report.raw, "evidence_time_s": report.time_s}
        lifecycle.move(conn, now_s, row.id, event, verdict.sentence, **facts)
        if event == "confirm" and row.aspect == ASPECT_KEYS:
            keys_held.confirmed(conn, now_s, row)
        if event == "confirm" and row.aspect == ASPECT_DEBT:
            debts_on_meter.follow(conn, now_s, row.meter)
        return
    state = row.state
    if verdict.held and state != lifecycle.ACCEPTED:
        state = lifecycle.move(conn, now_s, row.id, "accept", "a report shows that the meter holds it")
        outbox.ask_at(conn, row.id, now_s + policy.wait_s(1, entropy), fresh=True)
    failing = verdict.outcome != confirm.NOT_YET or not verdict.held
    if state != lifecycle.ACCEPTED or not failing:
        lifecycle.remark(conn, now_s, row.id, "report", verdict.sentence)
    elif lifecycle.last_note(conn, row.id) != verdict.sentence:
        lifecycle.move(conn, now_s, row.id, "contradict", verdict.sentence)
    if state != lifecycle.ACCEPTED and report.result in _REFUSALS:  # perhaps of another order: the receipt names it
        outbox.ask_receipt(conn, row.id, now_s)
    if verdict.again_s:
        outbox.ask_at(conn, row.id, now_s + min(verdict.again_s, policy.slow_s))


_REFUSALS = frozenset(code for code, event in RECEIPT_EVENT.items() if event == "refuse") | {results.REFUND_EXCEEDS}
_END = {confirm.CONFIRMED: "confirm", confirm.OUTRANKED: "supersede", confirm.EXPIRED: "expire"}
