"""What an account stood at when it was closed, and where what was left of it goes.

`begin` closes an account in the books, provisionally: by the newest report of it. `book` takes the meter's own closing
statement, which is final to the unit; what it changes follows. An account that is closed has no balance: `sweep` moves
whatever it shows to the account that the row of `closing` names, so late facts need no rule of their own.

- Heir: the account of the same customer on this or another meter (exchange, repair, import). Credit is stated to that
  meter; a debt is charged there, as part of what the head end has charged in all (`adjusted`).
- Former customer (change of tenant, retirement): an account in the books alone, until it is paid out or in.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, or_, select, update

from headend.epochs import findings
from headend.ledger import accounts, balances, debts_on_meter, entries, refunds
from headend.orders import credit, lifecycle, trust
from headend.orders.stored import stored_report
from headend.store import lock_meter
from headend.store.schema import closing, entry, meter, meter_state, meter_trust, order
from meterlink import bodies, states, topics
from meterlink.orders import ASPECT_CREDIT, ASPECT_MODE
from meterlink.reports import Report

ACTOR = "head-end:closing"

BOOKED = "closing_booked"
DUPLICATE = "closing_duplicate"
NOT_CLOSED = "closing_of_no_account"  # of an account that the books have not closed

_ROW = select(closing).where(closing.c.meter == bindparam("of"), closing.c.account_epoch == bindparam("epoch"))
_NEWEST = (
    select(closing)
    .where(closing.c.meter == bindparam("of"))
    .where(
        or_(
            closing.c.account_epoch < bindparam("serves"),
            (closing.c.account_epoch == bindparam("serves")) & (bindparam("retired") == 1),
        )
    )
    .order_by(closing.c.account_epoch.desc())
    .limit(1)
)
_ACCOUNT = (
    select(meter.c.account_epoch, meter_trust.c.readback_source, meter_trust.c.withheld_uc, meter_trust.c.adjusted_uc)
    .join(meter_trust, meter_trust.c.meter == meter.c.meter)
    .where(meter.c.meter == bindparam("of"))
)
_NOT_TAKEN_BACK = (entries.CONSUMPTION, entries.ADJUSTED, entries.MOVED)


def begin(conn: Connection, now_s: int, state: Row[Any], epoch: int, cause: str, moved_to: str) -> None:
    """Close the account `epoch` of a meter in the books; `state`: its locked row, still that account's.

    What it stands at is provisional: as the newest report of that account shows it. Call `sweep` when the heir stands.
    """
    newest = stored_report(state.report)
    known = newest if newest is not None and newest.account_epoch == epoch else None
    accounts.open_account(conn, moved_to)
    row = {
        "meter": state.meter,
        "account_epoch": epoch,
        "statement": None,
        "provisional": 1,
        "cause": cause,
        "moved_to": moved_to,
        "taken_s": now_s,
    }
    conn.execute(insert(closing).values({**row, **_figures(known), "closed_s": now_s}))
    refunds.account_closed(conn, now_s, state.meter, epoch)
    debts_on_meter.account_closed(conn, now_s, state.meter, epoch)


def book(conn: Connection, now_s: int, statement: Report) -> str:
    """Take a genuine closing statement: book the account to the unit, and correct what was moved provisionally."""
    number, epoch = statement.meter, statement.account_epoch
    row = conn.execute(_ROW, {"of": number, "epoch": epoch}).one_or_none()
    if row is None:
        return NOT_CLOSED
    if not row.provisional:
        return DUPLICATE
    _book_terms(conn, now_s, statement)
    figures = {**_figures(statement), "statement": statement.raw, "provisional": 0, "taken_s": now_s}
    mine = closing.c.meter == number, closing.c.account_epoch == epoch
    conn.execute(update(closing).where(*mine).values(figures))
    _check_credit(conn, now_s, statement)
    _settle_orders(conn, now_s, number, epoch)
    sweep(conn, now_s, number, epoch, "statement")
    return BOOKED


def follow(conn: Connection, now_s: int, report: Report) -> bool:
    """Follow a genuine report, the newest one; returns whether the meter can give a closing statement that is wanted.

    A report of an account that is closed in the books, and not yet on the meter, makes the provisional figures better.
    """
    own = conn.execute(_ROW, {"of": report.meter, "epoch": report.account_epoch}).one_or_none()
    if own is not None and own.provisional:
        _book_terms(conn, now_s, report)
        mine = closing.c.meter == report.meter, closing.c.account_epoch == report.account_epoch
        conn.execute(update(closing).where(*mine).values(_figures(report)))
        sweep(conn, now_s, report.meter, report.account_epoch, f"report:{report.boot}:{report.counter}")
    retired = report.alarms >> states.ALARM_RETIRED & 1
    last = conn.execute(_NEWEST, {"of": report.meter, "serves": report.account_epoch, "retired": retired}).one_or_none()
    return last is not None and bool(last.provisional)


def sweep(conn: Connection, now_s: int, number: int, epoch: int, what: str) -> int:
    """Move what a closed account shows to where it goes; returns how much (negative: a debt). `what` names the
    occasion, once per account."""
    row = conn.execute(_ROW, {"of": number, "epoch": epoch}).one()
    account = accounts.of_meter(number, epoch)
    left_uc = balances.balance_uc(conn, account)
    if not left_uc:
        return 0
    debit, credit = (account, row.moved_to) if left_uc > 0 else (row.moved_to, account)
    cause = f"closed:{topics.meter_name(number)}:{epoch}:{what}"
    entries.post(conn, now_s, entries.MOVED, debit, credit, abs(left_uc), number, cause)
    heir = accounts.place_of(row.moved_to)
    if heir is not None:
        _inherit(conn, now_s, *heir, left_uc, cause)
    return left_uc


def _inherit(conn: Connection, now_s: int, number: int, epoch: int, moved_uc: int, cause: str) -> None:
    """State to the heir's meter what its account was given, or charged."""
    state = lock_meter(conn, number)
    standing = conn.execute(_ACCOUNT, {"of": number}).one()
    if standing.account_epoch != epoch or conn.execute(_ROW, {"of": number, "epoch": epoch}).first() is not None:
        sweep(conn, now_s, number, epoch, cause)  # that account is closed as well
    elif moved_uc < 0:
        trust.set_mode(conn, now_s, number, _mode(conn, number), ACTOR, adjusted_uc=standing.adjusted_uc - moved_uc)
    elif standing.readback_source is not None:
        withheld_uc = standing.withheld_uc + moved_uc
        conn.execute(update(meter_trust).where(meter_trust.c.meter == number).values(withheld_uc=withheld_uc))
    else:
        total_uc = state.sold_uc + moved_uc
        credit.credit_statement(conn, now_s, state, total_uc, ACTOR)
        conn.execute(update(meter_state).where(meter_state.c.meter == number).values(sold_uc=total_uc))


def _mode(conn: Connection, number: int) -> int:
    """The mode that was last ordered for the account in force."""
    newest = (
        select(order.c.body)
        .join(meter, (meter.c.meter == order.c.meter) & (meter.c.account_epoch == order.c.account_epoch))
        .where(order.c.meter == number, order.c.aspect == ASPECT_MODE)
        .order_by(order.c.id.desc())
        .limit(1)
    )
    body = conn.execute(newest).scalar_one_or_none()
    return states.MODE_LOCAL if body is None else int(bodies.decode_mode(body)[0])


def _figures(known: Report | None) -> dict[str, Any]:
    """The columns of `closing` that tell what the account stood at."""
    names = ("import_wh", "export_wh", "balance_uc", "credited_uc", "charged_uc")
    figures: dict[str, Any] = {name: 0 if known is None else getattr(known, name) for name in names}
    if known is not None:
        figures["closed_s"] = known.time_s
    return figures


def _book_terms(conn: Connection, now_s: int, told: Report) -> None:
    """Book what a closed account's meter charged and earned beyond what the books have."""
    number, epoch = told.meter, told.account_epoch
    account = accounts.of_meter(number, epoch)
    accounts.open_account(conn, accounts.INCOME_ENERGY)
    charged_uc = told.charged_uc - balances.booked_uc(conn, entries.CONSUMPTION, account)
    earned_uc = told.earned_uc - balances.given_uc(conn, entries.EARNED, account)
    cause = f"closed:{topics.meter_name(number)}:{epoch}:{told.boot}:{told.counter}"
    if charged_uc > 0:
        sides = {"debit": account, "credit": accounts.INCOME_ENERGY}
        entries.post(conn, now_s, entries.CONSUMPTION, **sides, amount_uc=charged_uc, meter=number, cause=cause)
    if earned_uc > 0:
        sides = {"debit": accounts.INCOME_ENERGY, "credit": account}
        entries.post(conn, now_s, entries.EARNED, **sides, amount_uc=earned_uc, meter=number, cause=cause)


def _check_credit(conn: Connection, now_s: int, statement: Report) -> None:
    """Credit on the account that the books never gave it is nobody's yet: a person has to look."""
    account = accounts.of_meter(statement.meter, statement.account_epoch)
    total = select(func.coalesce(func.sum(entry.c.amount_uc), 0))
    given = total.where(entry.c.credit == account, entry.c.kind != entries.EARNED)
    taken = total.where(entry.c.debit == account, entry.c.kind.not_in(_NOT_TAKEN_BACK))
    kept_uc = statement.credited_uc - statement.refunded_uc
    unsold_uc = kept_uc - (conn.execute(given).scalar_one() - conn.execute(taken).scalar_one())
    if unsold_uc > 0:
        sentence = f"Account epoch {statement.account_epoch} had {unsold_uc} more credit than the books ever gave it."
        findings.note(conn, now_s, statement.meter, findings.UNSOLD, sentence, unsold_uc)


def _settle_orders(conn: Connection, now_s: int, number: int, epoch: int) -> None:
    """What became of credit that was on its way to the account, the statement has told."""
    open_orders = select(order.c.id).where(
        order.c.meter == number,
        order.c.account_epoch == epoch,
        order.c.aspect == ASPECT_CREDIT,
        order.c.state.in_(lifecycle.ON_THE_WAY),
    )
    for order_id in conn.execute(open_orders.order_by(order.c.id)).scalars().all():
        lifecycle.move(conn, now_s, order_id, "settle", "the closing statement is booked")
