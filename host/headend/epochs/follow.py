"""What a genuine message of a meter means for its accounts: called by the engine, in the transaction that takes it."""

from typing import Any

from sqlalchemy import Connection, bindparam, exists, select, update

from headend.epochs import closing, findings, readback
from headend.keys.signer import FOREIGN, LOGGED
from headend.orders import inbound
from headend.orders.stored import stored_report
from headend.store import lock_meter
from headend.store.next_report import ask_by
from headend.store.prepared import prepared
from headend.store.schema import closing as closing_row
from headend.store.schema import finding, meter, question
from meterlink import bodies, results, states
from meterlink.batches import KIND_CLOSING, KIND_ORDER
from meterlink.orders import ASPECT_CREDIT, Order
from meterlink.reports import KIND_RECEIPT, Report

# What became of an order that was read back, or of a closing statement; each is counted under its name.
READ_BACK = "read_back"
NOT_ASKED = "not_asked"  # nothing of ours asked for it, or not any more
FOREIGN_ORDER = "foreign_order"

# One look decides whether there is anything to be done, which on almost every report there is not.
_STANDING = prepared(
    select(
        meter.c.account_epoch,
        exists().where(finding.c.meter == meter.c.meter, finding.c.settled_s.is_(None)).label("has_findings"),
        exists().where(closing_row.c.meter == meter.c.meter, closing_row.c.provisional == 1).label("has_provisional"),
    ).where(meter.c.meter == bindparam("of"))
)
_OPEN = select(question.c.nonce, question.c.asked_s).where(
    question.c.meter == bindparam("of"),
    question.c.kind == bindparam("what"),
    question.c.selector == bindparam("which"),
    question.c.answered_s.is_(None),
)


def report(conn: Connection, now_s: int, told: Report, taken: inbound.TakenReport) -> list[tuple[int, int]]:
    """Follow a report that `inbound` has taken; returns the questions that it raises: (batches.KIND_*, credit source or
    0).
    """
    if not taken.newest:
        return []
    standing: Any = _STANDING(conn, {"of": told.meter}).one()
    _look(conn, now_s, told, standing)
    wanted: list[tuple[int, int]] = []
    receipt = told.kind == KIND_RECEIPT and results.succeeded(told.result)
    if (taken.outcome == inbound.ANSWER or receipt) and readback.heard(conn, now_s, told):
        wanted.append((KIND_ORDER, told.selector))
    if standing.has_provisional:
        can_tell = closing.follow(conn, now_s, told)
        if can_tell and taken.outcome in (inbound.ANSWER, inbound.RECEIPT):
            wanted.append((KIND_CLOSING, 0))
    return wanted


def order_held(conn: Connection, now_s: int, held: Order, verdict: str) -> str:
    """Take an order that was asked for with KIND_ORDER; `verdict`: what the signer says of its signature."""
    number, source = held.stated.meter, held.stated.selector
    state = lock_meter(conn, number)
    asked = conn.execute(_OPEN, {"of": number, "what": KIND_ORDER, "which": source}).all()
    if held.stated.aspect != ASPECT_CREDIT or not asked or state.report is None:
        return NOT_ASKED
    conn.execute(update(question).where(question.c.nonce.in_([row.nonce for row in asked])).values(answered_s=now_s))
    if verdict == FOREIGN:
        readback.foreign(conn, now_s, number, source, bodies.decode_credit(held.stated.body)[0])
        return FOREIGN_ORDER
    newest = stored_report(state.report)
    assert newest is not None
    if readback.found(conn, now_s, held.raw, verdict == LOGGED, newest):
        return READ_BACK
    ask_by(conn, number, now_s)
    return NOT_ASKED


def closing_statement(conn: Connection, now_s: int, statement: Report, question_s: int) -> str:
    """Take a genuine closing statement that answers a question of ours."""
    lock_meter(conn, statement.meter)
    asked = [
        row
        for row in conn.execute(_OPEN, {"of": statement.meter, "what": KIND_CLOSING, "which": 0})
        if row.nonce == statement.nonce and now_s - row.asked_s <= question_s
    ]
    if not asked:
        return NOT_ASKED
    conn.execute(update(question).where(question.c.nonce == statement.nonce).values(answered_s=now_s))
    return closing.book(conn, now_s, statement)


def _look(conn: Connection, now_s: int, told: Report, standing: Any) -> None:
    """What a person has to look at."""
    ahead = told.account_epoch > standing.account_epoch
    lost = bool(told.alarms >> states.ALARM_HISTORY_LOST & 1)
    sentences = {
        findings.ACCOUNT_AHEAD: f"It serves account epoch {told.account_epoch}, the books {standing.account_epoch}.",
        findings.HISTORY_LOST: f"Since its report of {told.time_s} (meter time).",
    }
    for kind, stands in ((findings.ACCOUNT_AHEAD, ahead), (findings.HISTORY_LOST, lost)):
        if stands:
            findings.note(conn, now_s, told.meter, kind, sentences[kind])
        elif standing.has_findings:
            findings.settle(conn, now_s, told.meter, kind)
