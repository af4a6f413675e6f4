"""Sums over the entries. Nothing here is stored: the entries are the books."""

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, func, select

from headend.store.prepared import Prepared, prepared
from headend.store.schema import account, entry


def _sum_of(*where: ColumnElement[bool]) -> Prepared:
    return prepared(select(func.coalesce(func.sum(entry.c.amount_uc), 0)).where(*where))


_OF: Any = bindparam("of")
_KIND: Any = bindparam("which")
_CREDITED = _sum_of(entry.c.credit == _OF)
_DEBITED = _sum_of(entry.c.debit == _OF)
_BOOKED = _sum_of(entry.c.debit == _OF, entry.c.kind == _KIND)
_GIVEN = _sum_of(entry.c.credit == _OF, entry.c.kind == _KIND)
_MOVED = _sum_of(entry.c.debit == _OF, entry.c.kind == _KIND, entry.c.credit == bindparam("into"))


class AccountSums(NamedTuple):
    """Everything ever debited from and credited to an account."""

    account: str
    kind: str
    debit_uc: int
    credit_uc: int

    @property
    def balance_uc(self) -> int:
        return self.credit_uc - self.debit_uc


def balance_uc(conn: Connection, name: str) -> int:
    """Credits minus debits of an account; 0 for one without entries."""
    return _sum(conn, _CREDITED, of=name) - _sum(conn, _DEBITED, of=name)


def booked_uc(conn: Connection, kind: str, debit: str) -> int:
    """All that entries of `kind` have taken from the account `debit`."""
    return _sum(conn, _BOOKED, of=debit, which=kind)


def given_uc(conn: Connection, kind: str, credit: str) -> int:
    """All that entries of `kind` have brought to the account `credit`."""
    return _sum(conn, _GIVEN, of=credit, which=kind)


def moved_uc(conn: Connection, kind: str, debit: str, credit: str) -> int:
    """What entries of `kind` have moved from one account to another, less what they have moved back."""
    there = _sum(conn, _MOVED, of=debit, which=kind, into=credit)
    return there - _sum(conn, _MOVED, of=credit, which=kind, into=debit)


def trial_balance(conn: Connection) -> list[AccountSums]:
    """All accounts, by name. The books are whole while their balances sum to zero: a side that stands on no account
    shows there.
    """
    debited, credited = _by(conn, entry.c.debit), _by(conn, entry.c.credit)
    rows = conn.execute(select(account.c.account, account.c.kind).order_by(account.c.account))
    return [AccountSums(name, kind, debited.get(name, 0), credited.get(name, 0)) for name, kind in rows]


def _sum(conn: Connection, statement: Prepared, **values: Any) -> int:
    return int(statement(conn, values).scalar_one())


def _by(conn: Connection, side: ColumnElement[str]) -> dict[str, int]:
    return {name: int(total) for name, total in conn.execute(select(side, func.sum(entry.c.amount_uc)).group_by(side))}
