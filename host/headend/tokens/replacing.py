"""Taking an unused token back over the wire: its worth is delivered there instead, or it is void.

Both go with a credit order that names the token: the meter marks its TID as used in the same commit, or takes no part
of the order where it was typed before. So nothing is settled before the meter has proved which of the two it was.

=========  =====================================  ==================================  ================================
wanted     the order states                       the meter has marked it             it had been typed
=========  =====================================  ==================================  ================================
replace    total + worth                          `replaced`                          `used`; refunded + worth
void       total + worth, refunded + worth        `void`, payment reversed            `used`
=========  =====================================  ==================================  ================================

Totals never fall: what turns out to be stated twice is taken back as a refund, so that an order which was refused once
can be played at any time, under any later key, and changes nothing. One token of a meter is under way at a time, so
that a refusal names it; others wait. Until it is settled every credit order of ours names it.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, select, update

from headend.ledger import accounts, entries
from headend.orders import lifecycle
from headend.orders.credit import credit_statement
from headend.refusals import Refused
from headend.store import identity, lock_meter
from headend.store.prepared import prepared
from headend.store.schema import meter_state, meter_trust, order, payment, token
from headend.tokens import book, decoder, usage
from meterlink import results
from meterlink.orders import ASPECT_CREDIT
from meterlink.sts.token import CREDIT

_WANTED = (book.REPLACING, book.VOIDING)
_DONE = {book.REPLACING: book.REPLACED, book.VOIDING: book.VOID}
_STATE = prepared(select(meter_state).where(meter_state.c.meter == bindparam("of")))


def replace(conn: Connection, now_s: int, token_id: int, actor: str, note: str = "") -> Row[Any]:
    """Deliver an unused token's worth over the wire instead; returns its row. Repeating it changes nothing.

    Raises Refused: UnknownToken, a token that cannot be taken back (any more).
    """
    return _begin(conn, now_s, token_id, book.REPLACING, actor, note)


def void(conn: Connection, now_s: int, token_id: int, actor: str, note: str = "") -> Row[Any]:
    """Take an unused token back, and its payment with it; returns its row. Repeating it changes nothing.

    At once where its digits were never made; else it is `void`, and the payment reversed, when the meter has proved
    that it has stored the token's number. Raises Refused: UnknownToken, a token that cannot be taken back (any more).
    """
    return _begin(conn, now_s, token_id, book.VOIDING, actor, note)


def settle(conn: Connection, now_s: int, meter_id: int) -> None:
    """See whether the meter has proved what became of the token that is under way, and go on with the next.

    Call with the meter's row locked, after a report or events of it were stored. Repeating it changes nothing.
    """
    state = _state(conn, meter_id)
    if state.replacing is None:
        return
    row = book.get(conn, state.replacing)
    if row.account_epoch != book.epoch_of(conn, meter_id):  # what it was stated for is closed
        book.change(conn, now_s, row.id, "leave", book.ALONE, "its account was closed meanwhile", state=book.VENDED)
        _free(conn, meter_id)
    elif row.used_s is not None:
        _typed(conn, now_s, row)
    elif state.on_meter_uc >= _total_uc(conn, row):
        _marked(conn, now_s, row)
    elif not _was_refused(conn, row) or (typed := usage.was_typed(conn, row)) is None:
        return
    elif typed:
        _typed(conn, now_s, row)
    else:
        _marked(conn, now_s, row, "too old for the meter to take, and never typed")
        _state_total(conn, now_s, _state(conn, meter_id))
    _go_on(conn, now_s, meter_id)


def _begin(conn: Connection, now_s: int, token_id: int, wanted: str, actor: str, note: str) -> Row[Any]:
    meter_id = book.get(conn, token_id).meter
    lock_meter(conn, meter_id)
    row = book.get(conn, token_id)
    if row.state in (wanted, _DONE[wanted]):
        return row
    if row.state not in (book.RESERVED, book.VENDED):
        raise Refused("token", token_id, f"one that may still be unused (it is {row.state}: {book.STATES[row.state]})")
    if row._mapping["class"] != CREDIT:
        raise Refused("token", token_id, "a credit token: no order takes another kind back")
    if row.account_epoch != book.epoch_of(conn, meter_id):
        raise Refused("token", token_id, "one of the account in force")
    if row.state == book.RESERVED and wanted == book.VOIDING:
        book.change(conn, now_s, token_id, "void", actor, note, state=book.VOID)
        _reverse(conn, now_s, row)
        return book.get(conn, token_id)
    _check_key(conn, row)
    book.change(conn, now_s, token_id, wanted, actor, note, state=wanted)
    _go_on(conn, now_s, meter_id)
    return book.get(conn, token_id)


def _check_key(conn: Connection, row: Row[Any]) -> None:
    """A meter that holds another key than the token's knows no more whether it was typed: then its log has to say."""
    held = decoder.get(conn, row.meter)
    if (row.supply_group, row.key_revision) == (held.supply_group, held.key_revision):
        return
    if not (usage.log_is_whole(conn, row.meter) and usage.told_of_key(conn, row.meter, held.key_revision)):
        raise Refused(
            "token", row.id, "one of the meter's key in force, until its log tells what was typed under the old"
        )


def _go_on(conn: Connection, now_s: int, meter_id: int) -> None:
    """State the next token that waits its turn."""
    state = _state(conn, meter_id)
    reading_back = conn.execute(
        select(meter_trust.c.readback_source).where(meter_trust.c.meter == meter_id)
    ).scalar_one()
    if state.replacing is not None or reading_back is not None:
        return
    waiting = (
        select(token.c.id)
        .where(token.c.meter == meter_id, token.c.state.in_(_WANTED), token.c.order_id.is_(None))
        .order_by(token.c.id)
        .limit(1)
    )
    token_id = conn.execute(waiting).scalar_one_or_none()
    if token_id is None:
        return
    row = book.get(conn, token_id)
    voided_uc = row.amount_uc if row.state == book.VOIDING else 0
    stated = _raise(conn, meter_id, row.amount_uc, voided_uc, replacing=token_id)
    order_id = _state_total(conn, now_s, stated)
    book.change(conn, now_s, token_id, "state", book.ALONE, f"order {order_id}", order_id=order_id)


def _marked(conn: Connection, now_s: int, row: Row[Any], why: str = "the meter has stored its number") -> None:
    """It can no longer be typed."""
    _free(conn, row.meter)
    if row.state == book.VOIDING:
        _reverse(conn, now_s, row)
    else:
        _arrived(conn, row, _state(conn, row.meter).report_time_s or now_s)
    book.change(conn, now_s, row.id, _DONE[row.state], book.METER, why, state=_DONE[row.state])


def _typed(conn: Connection, now_s: int, row: Row[Any]) -> None:
    """It was typed: the orders that name it are refused, and what they state beyond is taken back."""
    _free(conn, row.meter)
    at_s = row.used_s or _state(conn, row.meter).report_time_s
    _arrived(conn, row, at_s)
    book.change(
        conn,
        now_s,
        row.id,
        "use",
        book.METER,
        "it had been typed before it was taken back",
        state=book.USED,
        used_s=at_s,
    )
    twice_uc = row.amount_uc if row.state == book.REPLACING else 0
    _state_total(conn, now_s, _raise(conn, row.meter, 0, twice_uc, replacing=None))


def _raise(conn: Connection, meter_id: int, credited_uc: int, refunded_uc: int, *, replacing: int | None) -> Row[Any]:
    """Raise the totals of our source; the meter's row as it stands then."""
    raised = (
        update(meter_state)
        .where(meter_state.c.meter == meter_id)
        .values(
            sold_uc=meter_state.c.sold_uc + credited_uc,
            refunded_uc=meter_state.c.refunded_uc + refunded_uc,
            replacing=replacing,
        )
        .returning(*meter_state.c)
    )
    return conn.execute(raised).one()


def _state_total(conn: Connection, now_s: int, state: Row[Any]) -> int:
    return credit_statement(conn, now_s, state, state.sold_uc, book.ALONE)


def _free(conn: Connection, meter_id: int) -> None:
    conn.execute(update(meter_state).where(meter_state.c.meter == meter_id).values(replacing=None))


def _reverse(conn: Connection, now_s: int, row: Row[Any]) -> None:
    entries.post(
        conn,
        now_s,
        entries.REVERSAL,
        debit=accounts.of_meter(row.meter, row.account_epoch),
        credit=accounts.of_channel(row.channel),
        amount_uc=row.amount_uc,
        meter=row.meter,
        cause=f"token:{row.id}",
    )


def _arrived(conn: Connection, row: Row[Any], at_s: int) -> None:
    """What was paid for it is on the meter."""
    its = (payment.c.channel == row.channel) & (payment.c.payment_id == row.payment_id)
    conn.execute(update(payment).where(its, payment.c.on_meter_s.is_(None)).values(on_meter_s=at_s))


def _state(conn: Connection, meter_id: int) -> Row[Any]:
    row: Row[Any] = _STATE(conn, {"of": meter_id}).one()
    return row


def _total_uc(conn: Connection, row: Row[Any]) -> int:
    """The total of our source from which on the meter has taken an order that names the token."""
    return int(conn.execute(select(order.c.total_uc).where(order.c.id == row.order_id)).scalar_one())


def _was_refused(conn: Connection, row: Row[Any]) -> bool:
    """Whether the meter has refused an order that names the token, because it cannot be typed any more."""
    named = exists().where(
        order.c.meter == row.meter,
        order.c.aspect == ASPECT_CREDIT,
        order.c.selector == identity.get(conn).source,
        order.c.id >= row.order_id,
        order.c.state == lifecycle.REFUSED,
        order.c.result == results.ALREADY_TYPED,
    )
    return bool(conn.execute(select(named)).scalar_one())
