"""Whose account it is: a person, by pseudonym, for an account (meter and account epoch) and a time."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend import audit
from headend.people import words  # noqa: F401 - its actions
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.schema import meter
from headend.store.schema_people import holding, person

_EPOCH = select(meter.c.account_epoch).where(meter.c.meter == bindparam("of"))
_OF_ACCOUNT = (
    select(holding)
    .where(holding.c.meter == bindparam("of"), holding.c.account_epoch == bindparam("epoch"))
    .order_by(holding.c.id.desc())
)
_OPEN = _OF_ACCOUNT.where(holding.c.until_s.is_(None))
_OF_METER = select(holding).where(holding.c.meter == bindparam("of")).order_by(holding.c.id.desc())
_OF_PERSON = select(holding).where(holding.c.pseudonym == bindparam("whose")).order_by(holding.c.id.desc())
_NEW = insert(holding)
_END = update(holding).where(holding.c.id == bindparam("of"), holding.c.until_s.is_(None))
_THERE = select(person.c.erased_s).where(person.c.pseudonym == bindparam("whose")).with_for_update()


def put(conn: Connection, now_s: int, meter_id: int, pseudonym: str, actor: str) -> None:
    """The account in force on a meter is this person's from now on; whoever held it does so no more.

    Raises Refused for a person who is not there or was erased, UnknownMeter.
    """
    lock_meter(conn, meter_id)
    found = conn.execute(_THERE, {"whose": pseudonym}).one_or_none()
    if found is None or found.erased_s is not None:
        raise Refused("person", pseudonym, "the pseudonym of a person who was not erased")
    epoch = conn.execute(_EPOCH, {"of": meter_id}).scalar_one()
    standing = conn.execute(_OPEN, {"of": meter_id, "epoch": epoch}).one_or_none()
    if standing is not None and standing.pseudonym == pseudonym:
        return
    _end(conn, now_s, standing, actor)
    _begin(conn, now_s, meter_id, epoch, pseudonym, actor)


def end(conn: Connection, now_s: int, meter_id: int, actor: str) -> None:
    """The account in force is nobody's from now on, as far as is known here; raises Refused where it was nobody's."""
    lock_meter(conn, meter_id)
    epoch = conn.execute(_EPOCH, {"of": meter_id}).scalar_one()
    standing = conn.execute(_OPEN, {"of": meter_id, "epoch": epoch}).one_or_none()
    if standing is None:
        raise Refused("meter", meter_id, "one whose account somebody holds")
    _end(conn, now_s, standing, actor)


def follow(conn: Connection, now_s: int, old: tuple[int, int], new: tuple[int, int] | None, actor: str) -> None:
    """An account ended. `old`, `new`: (meter, account epoch), locked; `new`: the same customer's account from now on,
    or None: the customer has left.
    """
    standing = conn.execute(_OPEN, {"of": old[0], "epoch": old[1]}).one_or_none()
    if standing is None:
        return
    _end(conn, now_s, standing, actor)
    if new is not None:
        _begin(conn, now_s, *new, standing.pseudonym, actor)


def pseudonym_of(conn: Connection, meter_id: int, epoch: int) -> str | None:
    """Who holds an account, or held it last; None where nobody is known."""
    row = conn.execute(_OF_ACCOUNT.limit(1), {"of": meter_id, "epoch": epoch}).one_or_none()
    return None if row is None else str(row.pseudonym)


def of_meter(conn: Connection, meter_id: int) -> list[Row[Any]]:
    """Everybody who held an account on a meter, newest first."""
    return list(conn.execute(_OF_METER, {"of": meter_id}).all())


def of_person(conn: Connection, pseudonym: str) -> list[Row[Any]]:
    """Every account that a person held, newest first."""
    return list(conn.execute(_OF_PERSON, {"whose": pseudonym}).all())


def open_of(conn: Connection, pseudonym: str) -> list[Row[Any]]:
    """The accounts that a person holds."""
    return [row for row in of_person(conn, pseudonym) if row.until_s is None]


def _begin(conn: Connection, now_s: int, meter_id: int, epoch: int, pseudonym: str, actor: str) -> None:
    conn.execute(_NEW, {"meter": meter_id, "account_epoch": epoch, "pseudonym": pseudonym, "since_s": now_s})
    told: dict[str, int | str | None] = {"person": pseudonym, "account_epoch": epoch}
    audit.record(conn, now_s, actor, "person.holds", f"meter:{meter_id}", told)


def _end(conn: Connection, now_s: int, row: Row[Any] | None, actor: str) -> None:
    if row is not None:
        told: dict[str, int | str | None] = {"person": row.pseudonym, "account_epoch": row.account_epoch}
        conn.execute(_END, {"of": row.id, "until_s": now_s})
        audit.record(conn, now_s, actor, "person.leaves", f"meter:{row.meter}", told)
