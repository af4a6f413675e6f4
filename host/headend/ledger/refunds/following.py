"""What a meter's report, refusal or closing does to the refund that is under way, and what follows from it.

Proved: the money is off the meter; a transfer is paid to the other meter in the same transaction. Refused: the customer
has it; what a reversed payment leaves owed is decided by the policy. Each function is called with the meter's row
locked, and repeating it changes nothing.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from headend.epochs import findings
from headend.ledger import accounts, entries
from headend.ledger.refunds import life, spent, stating, transferring
from headend.store.schema import meter_state
from headend.store.schema_refunds import refund
from headend.tokens import book, replacing
from meterlink.reports import Report

_LIVE = (
    select(refund)
    .where(refund.c.meter == bindparam("of"), refund.c.account_epoch == bindparam("epoch"))
    .where(refund.c.state.in_(life.LIVE))
    .order_by(refund.c.id)
)


def go_on(conn: Connection, now_s: int, number: int) -> None:
    """State the approved refund whose turn it is, if there is one; what is known to exceed ends here."""
    while (row := stating.next_one(conn, number)) is not None:
        if row.token_id is not None and _void(conn, now_s, row):
            return
        if not row.amount_uc:  # all of the payment had gone to bills
            row = life.move(conn, now_s, row, "state", stating.ACTOR, "nothing of it is on the meter")
            _taken(conn, now_s, row, None, None)
            continue
        if row.token_id is None and stating.state(conn, now_s, row) is not None:
            return
        row = life.get(conn, row.id)
        if row.state == life.APPROVED:
            left_uc = stating.available_uc(stating.standing_of(conn, number))
            row = life.move(conn, now_s, row, "refuse", stating.ACTOR, f"the meter is known to have {left_uc} at most")
            spent.bear(conn, now_s, row, stating.ACTOR)


def shown(conn: Connection, now_s: int, report: Report) -> None:
    """The newest report is about our credit source, in the account in force."""
    row = stating.stated(conn, report.meter)
    if row is None:
        return
    if stating.proves(row, report):
        _taken(conn, now_s, row, report.raw, report.time_s)
        go_on(conn, now_s, report.meter)
    else:
        stating.state_again(conn, now_s, row)


def refused(conn: Connection, now_s: int, report: Report, order_source: int, body: bytes) -> bool:
    """The meter has refused an order with `refund_exceeds`; whether that ends the refund that the order carries."""
    row = stating.stated(conn, report.meter)
    if row is None or not stating.is_refused(row, order_source, body, report):
        return False
    if stating.standing_of(conn, report.meter).readback_source is not None:
        return False  # how the source ends tells
    evidence = {"evidence": report.raw, "evidence_time_s": report.time_s}
    row = life.move(conn, now_s, row, "refuse", stating.METER, "the meter does not hold as much", **evidence)
    stating.give_back(conn, now_s, row, restate=True)
    spent.bear(conn, now_s, row, stating.ACTOR)
    go_on(conn, now_s, report.meter)
    return True


def source_closed(conn: Connection, now_s: int, report: Report, source: int) -> int:
    """A credit source of a former database is closed on the meter, as `report` shows it: how much less its statements
    took off than its totals say, which the source in force is not to credit again.

    What was taken off by statements that the books have lost is booked as found.
    """
    number, epoch, shown_uc = report.meter, report.account_epoch, report.source_refunded_uc
    row = stating.stated(conn, number)
    if row is not None and row.source == source and row.account_epoch == epoch:
        if stating.proves(row, report):
            _taken(conn, now_s, row, report.raw, report.time_s)
        else:
            row = life.move(conn, now_s, row, "refuse", stating.ACTOR, f"source {source} was closed without it")
            stating.give_back(conn, now_s, row, restate=False)
            spent.bear(conn, now_s, row, stating.ACTOR)
    stating.forget_unshown(conn, number, epoch, source, shown_uc)
    stated_uc = conn.execute(select(meter_state.c.refunded_uc).where(meter_state.c.meter == number)).scalar_one()
    if shown_uc > stated_uc:
        _found(conn, now_s, report, source, shown_uc - stated_uc)
    return max(0, int(stated_uc) - shown_uc)


def account_closed(conn: Connection, now_s: int, number: int, epoch: int) -> None:
    """The books have closed an account: whatever its meter did, the money is the customer's, and goes with the rest."""
    for row in conn.execute(_LIVE, {"of": number, "epoch": epoch}).all():
        if row.state == life.STATED and row.token_id is None:
            stating.give_back(conn, now_s, row, restate=False)
        life.move(conn, now_s, row, "close", stating.ACTOR, f"account epoch {epoch} was closed")


def token_settled(conn: Connection, now_s: int, number: int) -> None:
    """Tokens of the meter were settled: see what became of the one that was to be void."""
    row = stating.stated(conn, number)
    if row is None or row.token_id is None:
        return
    token = book.get(conn, row.token_id)
    if token.state == book.VOID:  # its reversal is booked with it
        row = life.move(conn, now_s, row, "take", stating.METER, f"token {token.id} is void")
        spent.take_back(conn, now_s, row, stating.ACTOR)
        transferring.deliver(conn, now_s, row)
    elif token.state in (book.USED, book.VENDED):
        life.move(conn, now_s, row, "typed", stating.METER, f"token {token.id} had been typed", token_id=None)
    else:
        return
    go_on(conn, now_s, number)


def _void(conn: Connection, now_s: int, row: Row[Any]) -> bool:
    """Have a typed token voided instead; whether that is under way."""
    token = book.get(conn, row.token_id)
    if token.state == book.USED:
        conn.execute(update(refund).where(refund.c.id == row.id).values(token_id=None))
        return False
    row = life.move(conn, now_s, row, "state", stating.ACTOR, f"token {token.id} is to be void")
    replacing.void(conn, now_s, token.id, stating.ACTOR, f"refund {row.id}")
    token_settled(conn, now_s, row.meter)
    return True


def _taken(conn: Connection, now_s: int, row: Row[Any], evidence: bytes | None, time_s: int | None) -> None:
    facts = {"evidence": evidence, "evidence_time_s": time_s}
    note = "" if time_s is None else f"shown at {time_s}"
    row = life.move(conn, now_s, row, "take", stating.METER, note, **facts)
    if row.amount_uc:
        stating.pay_out(conn, now_s, row, accounts.of_channel(row.channel))
    spent.take_back(conn, now_s, row, stating.ACTOR)
    transferring.deliver(conn, now_s, row)


def _found(conn: Connection, now_s: int, report: Report, source: int, amount_uc: int) -> None:
    accounts.open_account(conn, accounts.RECOVERED)
    account = accounts.of_meter(report.meter, report.account_epoch)
    cause = stating.found_cause(report.meter, report.account_epoch, source)
    sides = {"debit": account, "credit": accounts.RECOVERED}
    entries.post(conn, now_s, entries.REFUND_FOUND, **sides, amount_uc=amount_uc, meter=report.meter, cause=cause)
    sentence = f"Source {source} had taken back {amount_uc} that the books do not know."
    findings.note(conn, now_s, report.meter, findings.REFUND_FOUND, sentence, amount_uc)
