"""Persons: adding, changing, reading, finding and erasing them. Every act is audited, with fields and no values."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from headend import audit
from headend.people import fields, holdings
from headend.people import words as _words  # noqa: F401 - its actions
from headend.people.keyring import KEY, Entropy, KeyRing, seal_field, unseal_field
from headend.refusals import Refused
from headend.store.schema_people import person, person_field, person_index, person_key
from headend.store.wipe import overwriting

TABLES = (person, person_key, person_field, person_index)
MAX_FOUND = 50

_ROW = select(person).where(person.c.pseudonym == bindparam("of"))
# Its version is the lock: of two who change the same version, one finds it gone.
_CHANGE = (
    update(person)
    .where(person.c.pseudonym == bindparam("of"), person.c.version == bindparam("at_version"))
    .where(person.c.erased_s.is_(None))
    .values(version=person.c.version + 1)
)
_KEY = select(person_key).where(person_key.c.pseudonym == bindparam("of"))
_FIELDS = select(person_field).where(person_field.c.pseudonym == bindparam("of")).order_by(person_field.c.field)
_FOUND = (
    select(person_index.c.pseudonym)
    .where(person_index.c.field == bindparam("which"), person_index.c.blind.in_(bindparam("blinds", expanding=True)))
    .order_by(person_index.c.pseudonym)
    .limit(MAX_FOUND)
)
_WRAPPED = (
    select(person_key)
    .where(person_key.c.wrapping != bindparam("version"), person_key.c.pseudonym > bindparam("after"))
    .order_by(person_key.c.pseudonym)
    .limit(bindparam("at_most"))
    .with_for_update()
)


@dataclass(frozen=True)
class Person:
    """What is kept of a person: field -> value."""

    pseudonym: str
    version: int
    created_s: int
    values: Mapping[str, str]


class UnknownPerson(Refused):
    """No person has this pseudonym."""

    def __init__(self, pseudonym: object) -> None:
        super().__init__("person", pseudonym, "the pseudonym of a person")


class Erased(Refused):
    """The person was erased: nothing is left to be read or changed."""

    def __init__(self, pseudonym: str) -> None:
        super().__init__("person", pseudonym, "a person who was not erased")


class PersonChanged(Refused):
    """Somebody else has changed it since it was read."""


def new_pseudonym(entropy: Entropy) -> str:
    """128 random bits in base32 (RFC 4648, in small letters, without padding): 26 characters."""
    return base64.b32encode(entropy(16)).decode().rstrip("=").lower()


def add(conn: Connection, now_s: int, ring: KeyRing, entropy: Entropy, values: Mapping[str, str], actor: str) -> str:
    """Keep a person; returns the pseudonym. Raises Refused."""
    fields.check(values)
    pseudonym, key = new_pseudonym(entropy), entropy(KEY)
    conn.execute(insert(person), {"pseudonym": pseudonym, "created_s": now_s})
    version, sealed = ring.wrap(entropy, pseudonym, key)
    conn.execute(insert(person_key), {"pseudonym": pseudonym, "wrapping": version, "sealed": sealed})
    for name, value in values.items():
        _put(conn, now_s, ring, entropy, pseudonym, key, name, value)
    audit.record(conn, now_s, actor, "person.add", f"person:{pseudonym}", {"fields": " ".join(values)})
    return pseudonym


def change(
    conn: Connection,
    now_s: int,
    ring: KeyRing,
    entropy: Entropy,
    pseudonym: str,
    version: int,
    values: Mapping[str, str | None],
    actor: str,
) -> int:
    """Set fields, or delete those whose value is None; what they held is deleted. Returns the new version.

    Raises Refused, UnknownPerson, Erased, PersonChanged.
    """
    fields.check({name: value for name, value in values.items() if value is not None})
    fields.check(dict.fromkeys((name for name, value in values.items() if value is None), "-"))
    _take(conn, pseudonym, version)
    key = _key(conn, ring, pseudonym)
    with overwriting(conn):
        for name, value in values.items():
            for table in (person_field, person_index):
                conn.execute(delete(table).where(table.c.pseudonym == pseudonym, table.c.field == name))
            if value is not None:
                _put(conn, now_s, ring, entropy, pseudonym, key, name, value)
    audit.record(conn, now_s, actor, "person.change", f"person:{pseudonym}", {"fields": " ".join(values)})
    return version + 1


def read(conn: Connection, now_s: int, ring: KeyRing, pseudonym: str, actor: str) -> Person:
    """What is kept of a person. It is audited, so this runs in `Store.write`. Raises UnknownPerson, Erased."""
    row = standing(conn, pseudonym)
    key = _key(conn, ring, pseudonym)
    held = {one.field: unseal_field(key, pseudonym, one.field, one.sealed) for one in _held(conn, pseudonym)}
    audit.record(conn, now_s, actor, "person.read", f"person:{pseudonym}", {"fields": " ".join(held)})
    return Person(pseudonym, row.version, row.created_s, held)


def find(conn: Connection, now_s: int, ring: KeyRing, field: str, value: str, actor: str) -> list[str]:
    """Pseudonyms of up to 50 persons with this value, as `fields` compares it; audited. Raises Refused."""
    if field not in fields.SOUGHT:
        raise Refused("field", field, f"one of {', '.join(fields.SOUGHT)}")
    fields.check({field: value})
    form = fields.sought(field, value)
    if form is None:
        raise Refused(field, f"{len(value)} characters", "something that can be sought")
    found = conn.execute(_FOUND, {"which": field, "blinds": ring.blinds(field, form)}).scalars().all()
    audit.record(conn, now_s, actor, "person.find", "persons", {"field": field, "found": len(found)})
    return list(found)


def erase(conn: Connection, now_s: int, pseudonym: str, version: int, actor: str) -> None:
    """Delete a person's key, and all that it sealed; the pseudonym stays, with the accounts that it held.

    Raises UnknownPerson, Erased, PersonChanged, Refused while the person holds an account. Call `wipe.flush` behind it.
    """
    _take(conn, pseudonym, version)  # from here on nobody gives this person an account
    held = holdings.open_of(conn, pseudonym)
    if held:
        raise Refused("person", pseudonym, f"one who holds no account any more (meter {held[0].meter} is held)")
    with overwriting(conn):
        for table in (person_key, person_index, person_field):
            conn.execute(delete(table).where(table.c.pseudonym == pseudonym))
    conn.execute(update(person).where(person.c.pseudonym == pseudonym).values(erased_s=now_s))
    audit.record(conn, now_s, actor, "person.erase", f"person:{pseudonym}")


def get(conn: Connection, pseudonym: str) -> Row[Any]:
    """The row of `person`; raises UnknownPerson."""
    row = conn.execute(_ROW, {"of": pseudonym}).one_or_none()
    if row is None:
        raise UnknownPerson(pseudonym)
    return row


def standing(conn: Connection, pseudonym: str) -> Row[Any]:
    """The row of `person`; raises UnknownPerson, Erased."""
    row = get(conn, pseudonym)
    if row.erased_s is not None:
        raise Erased(pseudonym)
    return row


def rewrap(conn: Connection, ring: KeyRing, entropy: Entropy, after: str, limit: int) -> str | None:
    """Seal up to `limit` persons' keys under the ring's newest version, with their index.

    `after`: the pseudonym that the call before returned ("" at first). Returns None when there is no more.
    """
    rows = conn.execute(_WRAPPED, {"version": ring.newest, "after": after, "at_most": limit}).all()
    with overwriting(conn):
        for row in rows:
            key = ring.unwrap(row.pseudonym, row.wrapping, row.sealed)
            version, sealed = ring.wrap(entropy, row.pseudonym, key)
            mine = person_key.c.pseudonym == row.pseudonym
            conn.execute(update(person_key).where(mine).values(wrapping=version, sealed=sealed))
            for one in _held(conn, row.pseudonym):
                value = unseal_field(key, row.pseudonym, one.field, one.sealed)
                _index(conn, ring, row.pseudonym, one.field, value)
    return rows[-1].pseudonym if len(rows) == limit else None


def wrapped_under(conn: Connection) -> set[int]:
    """The versions under which persons' keys are sealed."""
    return set(conn.execute(select(person_key.c.wrapping).distinct()).scalars())


def _take(conn: Connection, pseudonym: str, version: int) -> None:
    """Raise the version of a person: whoever changed it in the meantime comes first."""
    if not conn.execute(_CHANGE, {"of": pseudonym, "at_version": version}).rowcount:
        row = standing(conn, pseudonym)
        raise PersonChanged("version", version, f"{row.version}, as it stands now")


def _key(conn: Connection, ring: KeyRing, pseudonym: str) -> bytes:
    row = conn.execute(_KEY, {"of": pseudonym}).one()
    return ring.unwrap(pseudonym, row.wrapping, row.sealed)


def _held(conn: Connection, pseudonym: str) -> list[Row[Any]]:
    return list(conn.execute(_FIELDS, {"of": pseudonym}).all())


def _put(
    conn: Connection, now_s: int, ring: KeyRing, entropy: Entropy, pseudonym: str, key: bytes, name: str, value: str
) -> None:
    sealed = seal_field(entropy, key, pseudonym, name, value)
    conn.execute(insert(person_field), {"pseudonym": pseudonym, "field": name, "sealed": sealed, "set_s": now_s})
    _index(conn, ring, pseudonym, name, value)


def _index(conn: Connection, ring: KeyRing, pseudonym: str, name: str, value: str) -> None:
    """Write the index entry of a value, in the place of one that is there."""
    form = fields.sought(name, value)
    if form is None:
        return
    conn.execute(delete(person_index).where(person_index.c.pseudonym == pseudonym, person_index.c.field == name))
    conn.execute(insert(person_index), {"pseudonym": pseudonym, "field": name, "blind": ring.blind(name, form)})
