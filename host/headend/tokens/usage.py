"""What meters say of typed tokens: which were typed, and whether each of those was ours.

Events name a token by its TID; the report's total of all that was typed tells, before the events have come, and where
one is missing, what they must add up to. A token that was typed and never vended is a finding: whoever made it has the
meter's decoder key, or vended in a time that a restored database has lost.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, select, update

from headend.epochs import findings
from headend.reads import cursors
from headend.store.prepared import prepared
from headend.store.schema import (
    closing,
    finding,
    lost_range,
    meter,
    meter_event,
    meter_trust,
    payment,
    token,
)
from headend.tokens import book, lost
from meterlink import events
from meterlink.batches import KIND_EVENTS
from meterlink.orders import KEYS_DECODER
from meterlink.reports import Report
from meterlink.sts.token import KEY_SECTIONS, MANAGE

KINDS = (findings.TOKEN_UNVENDED, findings.TOKEN_LOST, findings.TOKEN_TWICE, findings.TOKEN_OF_FORMER)

_TYPED_KEY_CHANGE = 16  # in the detail of KEYS_CHANGED: and the new key revision

_TOLD = prepared(
    select(meter_event.c.code, meter_event.c.argument, meter_event.c.detail, meter_event.c.time_s)
    .where(meter_event.c.meter == bindparam("of"), meter_event.c.log_id == bindparam("log"))
    .where(meter_event.c.seq >= bindparam("first"))
    .where(meter_event.c.code.in_((events.TOKEN_TYPED, events.TOKEN_REPLACED, events.KEYS_CHANGED)))
    .order_by(meter_event.c.seq)
)
_NAMED = (
    select(token)
    .where(token.c.meter == bindparam("of"), token.c.tid == bindparam("named"))
    .where(token.c["class"] == bindparam("kind"), token.c.subclass == bindparam("sub"), token.c.digits.is_not(None))
    .order_by(token.c.id.desc())
    .limit(1)
)
_TYPED = prepared(
    update(meter_trust)
    .where(meter_trust.c.meter == bindparam("of"), meter_trust.c.typed_uc != bindparam("typed"))
    .where(
        select(meter.c.account_epoch).where(meter.c.meter == bindparam("of")).scalar_subquery() == bindparam("epoch")
    )
    .values(typed_uc=bindparam("typed"))
)


_CLOSED = select(closing.c.closed_s).where(
    closing.c.meter == bindparam("of"), closing.c.account_epoch == bindparam("epoch")
)


def shown(conn: Connection, report: Report) -> None:
    """The newest report: keep what it says was typed in all, where it speaks of the account in force."""
    _TYPED(conn, {"of": report.meter, "typed": report.typed_uc, "epoch": report.account_epoch})


def told(conn: Connection, now_s: int, meter_id: int, log_id: int, first: int) -> None:
    """Events from `first` on are stored of a meter's log: take what they say of tokens. Repeating it changes nothing.

    Call with the meter's row locked.
    """
    for row in _TOLD(conn, {"of": meter_id, "log": log_id, "first": first}):
        if row.code == events.TOKEN_TYPED:
            _typed(conn, now_s, meter_id, row)
        elif row.code == events.TOKEN_REPLACED:
            _marked(conn, now_s, meter_id, row)
        elif row.detail >= _TYPED_KEY_CHANGE:
            _key_changed(conn, now_s, meter_id, row)


def unvended_tokens(conn: Connection, meter_id: int | None = None) -> list[Row[Any]]:
    """Findings that are not settled: tokens that were typed and not vended, or typed after they were taken back, or for
    an account that was closed, or that a lost database made; of one meter where it is given. The newest first.
    """
    open_ones = select(finding).where(finding.c.kind.in_(KINDS), finding.c.settled_s.is_(None))
    if meter_id is not None:
        open_ones = open_ones.where(finding.c.meter == meter_id)
    return list(conn.execute(open_ones.order_by(finding.c.id.desc())))


def was_typed(conn: Connection, row: Row[Any]) -> bool | None:
    """Whether a token that the meter will not take any more was typed, or is too old; None while its log has to come.

    Where a part of the log is lost, what was typed in all decides.
    """
    if row.used_s is not None:
        return True
    state = cursors.of(conn, row.meter)
    if state.event_whole_to < state.event_newest:
        return None
    if log_is_whole(conn, row.meter):
        return False
    typed_uc = conn.execute(select(meter_trust.c.typed_uc).where(meter_trust.c.meter == row.meter)).scalar_one()
    sums_uc = book.sums_uc(conn, row.meter, row.account_epoch)
    known_uc = sum(total_uc for (state_of, _), total_uc in sums_uc.items() if state_of == book.USED)
    known_uc += lost.typed_uc(conn, row.meter, row.account_epoch)
    return bool(typed_uc - known_uc >= row.amount_uc)


def log_is_whole(conn: Connection, meter_id: int) -> bool:
    """Whether every event that the meter is known to have logged is stored, none of this log having been lost."""
    state = cursors.of(conn, meter_id)
    lost = exists().where(
        lost_range.c.meter == meter_id, lost_range.c.log_id == state.log_id, lost_range.c.kind == KIND_EVENTS
    )
    return state.event_whole_to >= state.event_newest and not conn.execute(select(lost)).scalar_one()


def told_of_key(conn: Connection, meter_id: int, key_revision: int) -> bool:
    """Whether the meter has logged that it holds this key revision."""
    said = exists().where(
        meter_event.c.meter == meter_id,
        meter_event.c.code == events.KEYS_CHANGED,
        meter_event.c.detail.in_((KEYS_DECODER, _TYPED_KEY_CHANGE + key_revision)),
    )
    return bool(conn.execute(select(said)).scalar_one())


def _typed(conn: Connection, now_s: int, meter_id: int, said: Any) -> None:
    kind, sub = said.detail >> 4, said.detail & 15
    if kind == MANAGE and sub in KEY_SECTIONS:  # they have no TID; the key change itself is told
        return
    row = conn.execute(_NAMED, {"of": meter_id, "named": said.argument, "kind": kind, "sub": sub}).one_or_none()
    if row is None:
        text = f"TID {said.argument}, class {kind}, subclass {sub}, at {said.time_s}"
        if lost.typed(conn, now_s, meter_id, said.argument, kind, sub, said.time_s):
            findings.settle_noted(conn, now_s, meter_id, findings.TOKEN_UNVENDED, text)
            return
        findings.note_each(conn, now_s, meter_id, findings.TOKEN_UNVENDED, text)
    elif row.used_s is None:
        _use(conn, now_s, row, said.time_s)


def _use(conn: Connection, now_s: int, row: Row[Any], at_s: int) -> None:
    facts: dict[str, Any] = {"used_s": at_s}
    if row.state == book.VENDED or (row.state in book.OPEN and row.order_id is None):
        facts["state"] = book.USED
        its = (payment.c.channel == row.channel) & (payment.c.payment_id == row.payment_id)
        conn.execute(update(payment).where(its, payment.c.on_meter_s.is_(None)).values(on_meter_s=at_s))
    elif row.state in (book.VOID, book.REPLACED):
        text = f"token {row.id} is {row.state}, and was typed at {at_s}"
        findings.note_each(conn, now_s, row.meter, findings.TOKEN_TWICE, text, row.amount_uc)
    closed_s = conn.execute(_CLOSED, {"of": row.meter, "epoch": row.account_epoch}).scalar_one_or_none()
    if closed_s is not None and closed_s < at_s:
        text = f"token {row.id} of a closed account, typed at {at_s}"
        findings.note_each(conn, now_s, row.meter, findings.TOKEN_OF_FORMER, text, row.amount_uc)
    book.change(conn, now_s, row.id, "type", book.METER, **facts)


def _marked(conn: Connection, now_s: int, meter_id: int, said: Any) -> None:
    """The meter has stored a token's number with an order of ours; what that settles, its report proves."""
    named = select(token.c.id).where(token.c.meter == meter_id, token.c.tid == said.argument)
    token_id = conn.execute(named.where(token.c.order_id.is_not(None))).scalars().first()
    if token_id is None:
        text = f"TID {said.argument}, replaced by an order at {said.time_s}"
        findings.note_each(conn, now_s, meter_id, findings.TOKEN_UNVENDED, text)
    elif all(row.event != "store" for row in book.history(conn, token_id)):
        book.record(conn, now_s, token_id, "store", book.METER, "the meter has stored its number")


def _key_changed(conn: Connection, now_s: int, meter_id: int, said: Any) -> None:
    """A typed key change has taken effect: its sections are used."""
    for row in book.of_meter(conn, meter_id, states=(book.VENDED,)):
        if book.is_section(row) and row.issued_s <= said.time_s:
            book.change(conn, now_s, row.id, "type", book.METER, state=book.USED, used_s=said.time_s)
