"""Tokens that a lost database made: the signer's log knows them, and this database, put back from a copy, does not.

Each is still good: the customer has its digits. When the channel posts its payment again, the sale becomes that very
token, and nothing new is made. One that is typed before that is booked against `clearing:recovered`, as a sale that is
found on a meter is (`ledger.recovered`): whoever took the money still owes it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, func, insert, or_, select, update

from headend.epochs import findings
from headend.keys.signer_lines import TokenLine
from headend.ledger import accounts, entries
from headend.store import lock_meter
from headend.store.prepared import prepared
from headend.store.schema import lost_token, payment
from headend.tokens import amounts, book
from meterlink import topics
from meterlink.sts.token import CREDIT

_WH_UC = 1_000  # a watt-hour in books in kWh

_NAMED = select(lost_token).where(
    lost_token.c.meter == bindparam("of"),
    lost_token.c.tid == bindparam("named"),
    lost_token.c["class"] == bindparam("kind"),
    lost_token.c.subclass == bindparam("sub"),
)
_OF_WORTH = (
    select(lost_token)
    .where(lost_token.c.meter == bindparam("of"), lost_token.c.amount_uc == bindparam("worth"))
    .where(lost_token.c.actor == bindparam("by"), lost_token.c.token_id.is_(None), lost_token.c.digits.is_not(None))
    .where(or_(lost_token.c.used_s.is_(None), lost_token.c.account_epoch == bindparam("epoch")))
    .order_by(lost_token.c.tid)
    .limit(1)
)
_TYPED = prepared(
    select(func.coalesce(func.sum(lost_token.c.amount_uc), 0)).where(
        lost_token.c.meter == bindparam("of"),
        lost_token.c.account_epoch == bindparam("epoch"),
        lost_token.c.used_s.is_not(None),
        lost_token.c.token_id.is_(None),
    )
)


class Found(NamedTuple):
    """A line of the signer's log, and the token's digits; None where it was made under a key that is not known."""

    line: TokenLine
    digits: str | None


def note(conn: Connection, now_s: int, held: Row[Any], found: Sequence[Found]) -> int:
    """Keep what is not known yet, as a finding each; returns how many that were. `held`: the `decoder` row."""
    new = 0
    for line, digits in found:
        if _find(conn, held.meter, line.tid, line.token_class, line.subclass) is not None:
            continue
        row = {
            "meter": held.meter,
            "tid": line.tid,
            "class": line.token_class,
            "subclass": line.subclass,
            "supply_group": held.supply_group,
            "key_revision": held.key_revision,
            "amount_uc": line.amount_wh * _WH_UC if line.token_class == CREDIT else 0,
            "digits": digits,
            "actor": line.channel,
            "made_s": line.at_s,
        }
        kept = conn.execute(insert(lost_token).values(row).returning(*lost_token.c)).one()
        findings.note_each(conn, now_s, held.meter, findings.TOKEN_LOST, _text(kept), kept.amount_uc)
        new += 1
    return new


def typed(conn: Connection, now_s: int, meter_id: int, tid: int, kind: int, sub: int, at_s: int) -> bool:
    """The meter says that it has taken this token: whether it is one of the lost. Repeating it changes nothing.

    Call with the meter's row locked.
    """
    row = _find(conn, meter_id, tid, kind, sub)
    if row is None:
        return False
    if row.used_s is not None:
        return True
    epoch = book.epoch_of(conn, meter_id)
    conn.execute(update(lost_token).where(lost_token.c.id == row.id).values(used_s=at_s, account_epoch=epoch))
    if row.amount_uc:
        accounts.open_account(conn, accounts.RECOVERED)
        entries.post(
            conn,
            now_s,
            entries.RECOVERED,
            debit=accounts.RECOVERED,
            credit=accounts.of_meter(meter_id, epoch),
            amount_uc=row.amount_uc,
            meter=meter_id,
            cause=_cause(row),
        )
    return True


def typed_uc(conn: Connection, meter_id: int, epoch: int) -> int:
    """What lost tokens that no sale was found to be have credited in an account."""
    return int(_TYPED(conn, {"of": meter_id, "epoch": epoch}).scalar_one())


def take_over(conn: Connection, now_s: int, token_id: int) -> bool:
    """Make a reserved sale the oldest lost token of its channel that has its worth; whether there was one.

    It was typed for this account, or was not typed yet.
    """
    lock_meter(conn, book.get(conn, token_id).meter)
    sale = book.get(conn, token_id)
    wanted = {"of": sale.meter, "worth": sale.amount_uc, "by": sale.actor, "epoch": sale.account_epoch}
    row = conn.execute(_OF_WORTH, wanted).one_or_none()
    if row is None or sale.state != book.RESERVED:
        return False
    state = book.VENDED if row.used_s is None else book.USED
    facts = {name: row._mapping[name] for name in ("tid", "supply_group", "key_revision", "digits", "used_s")}
    book.change(conn, now_s, sale.id, "find", book.ALONE, "the signer had made it before", state=state, **facts)
    conn.execute(update(lost_token).where(lost_token.c.id == row.id).values(token_id=sale.id))
    findings.settle_noted(conn, now_s, sale.meter, findings.TOKEN_LOST, _text(row))
    if row.used_s is not None:
        its = (payment.c.channel == sale.channel) & (payment.c.payment_id == sale.payment_id)
        conn.execute(update(payment).where(its).values(on_meter_s=row.used_s))
        entries.post(
            conn,
            now_s,
            entries.REPOSTED,
            debit=accounts.of_meter(sale.meter, sale.account_epoch),
            credit=accounts.RECOVERED,
            amount_uc=row.amount_uc,
            meter=sale.meter,
            cause=_cause(row),
        )
    return True


def _find(conn: Connection, meter_id: int, tid: int, kind: int, sub: int) -> Row[Any] | None:
    return conn.execute(_NAMED, {"of": meter_id, "named": tid, "kind": kind, "sub": sub}).one_or_none()


def _text(row: Row[Any]) -> str:
    kind = amounts.kwh(row.amount_uc) if row.amount_uc else f"class {row._mapping['class']}, subclass {row.subclass}"
    under = "" if row.digits or not row.amount_uc else ", under a key that is not known"
    return f"TID {row.tid}, {kind}, made at {row.made_s} for {row.actor}{under}"


def _cause(row: Row[Any]) -> str:
    return f"lost_token:{topics.meter_name(row.meter)}:{row.tid}:{row.made_s}"
