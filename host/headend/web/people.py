"""Whose account it is: persons, found and read by those who may; every look at them is audited.

Search terms travel in a body, not in a URL: those end up in the logs of every proxy. Answers are never kept for an
Idempotency-Key.
"""

import os
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access import areas
from headend.access.areas import EVERYWHERE
from headend.access.permissions import PERSONS
from headend.fleet.meters import get_meter
from headend.keys.sealed import KeyFileError
from headend.people import fields, holdings, persons
from headend.people.keyring import KeyRing, RingFile
from headend.store import wipe
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.problems import Problem
from headend.web.wire import MeterNumber, Moment

PSEUDONYM = r"^[a-z2-7]{26}$"
Pseudonym = Annotated[str, Meta(pattern=PSEUDONYM, examples=["k7q2mzj3vt6w5xnyb4aocd2e3f"])]
FieldName = Literal["name", "phone", "address", "email", "id_number", "bank", "note"]


Words = Annotated[str, Meta(min_length=1, max_length=120)]
Sentences = Annotated[str, Meta(min_length=1, max_length=500)]


class PersonFields(msgspec.Struct, forbid_unknown_fields=True):
    """What is kept of a person; null: nothing."""

    name: Words | None = None
    phone: Words | None = None
    address: Sentences | None = None
    email: Words | None = None
    id_number: Words | None = None
    bank: Words | None = None
    note: Sentences | None = None


class Person(msgspec.Struct):
    """A person."""

    person: Pseudonym
    created: Moment
    fields: PersonFields


class PersonSearch(msgspec.Struct, forbid_unknown_fields=True):
    """A value that is known of a person."""

    field: Literal["name", "phone", "email", "id_number"]
    value: Annotated[str, Meta(min_length=1, max_length=120)]


class PersonsFound(msgspec.Struct):
    """Pseudonyms of persons with that value, at most 50."""

    persons: list[Pseudonym]


class ErasedPerson(msgspec.Struct):
    """A person who was erased; the pseudonym stays in the books."""

    person: Pseudonym


class Account(msgspec.Struct):
    """An account that somebody held."""

    meter: MeterNumber
    account_epoch: int
    person: Pseudonym
    since: Moment
    until: Annotated[Moment | None, Meta(description="null: holds it.")]


class Accounts(msgspec.Struct):
    """Accounts, the newest first."""

    accounts: list[Account]


class HolderRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Whose account it is."""

    person: Pseudonym


async def post_person(call: Call[PersonFields, Nothing]) -> Answer:
    """Keep a person."""
    now_s, ring, given = call.desk.clock.now_s(), _ring(call), _given(call.body)

    def answer(whose: str) -> Answer:
        found = persons.Person(whose, 1, now_s, given)
        return _answer(201, found, {"Location": f"/api/v1/persons/{whose}"})

    return await call.desk.act(persons.add, now_s, ring, os.urandom, given, call.caller.actor, answer=answer)


async def get_person(call: Call[Nothing, Nothing]) -> Answer:
    """What is kept of a person; audited. The answer's ETag is what a change names in If-Match."""
    return _found(await call.desk.write(_read, call.desk.clock.now_s(), _ring(call), call, _whose(call)))


async def put_person(call: Call[PersonFields, Nothing]) -> Answer:
    """Replace what is kept of a person; what was kept before is deleted. Wants If-Match."""
    return await call.desk.act(_replace, call.desk.clock.now_s(), _ring(call), call, answer=_found)


async def erase_person(call: Call[Nothing, Nothing]) -> Answer:
    """Erase a person for good. Wants If-Match.

    Only one who holds no account any more. Pseudonym and former accounts stay; of the rest nothing can be read again.
    """
    desk, whose = call.desk, _whose(call)
    file = _file(call)
    answer = await desk.act(_erase, desk.clock.now_s(), call, whose, answer=lambda _: Answer(200, ErasedPerson(whose)))
    await desk.in_thread(file.note_erased, whose)
    await desk.in_thread(wipe.flush, desk.store.writes)
    return answer


async def find_persons(call: Call[PersonSearch, Nothing]) -> Answer:
    """Find persons by a value, compared without regard to case, width and spaces; audited."""
    found = await call.desk.write(_find, call.desk.clock.now_s(), _ring(call), call)
    return Answer(200, PersonsFound(found))


async def list_accounts(call: Call[Nothing, Nothing]) -> Answer:
    """The accounts that a person holds or held."""
    return _accounts(await call.desk.read(_of_person, call))


async def list_holders(call: Call[Nothing, Nothing]) -> Answer:
    """Who holds the meter's account, and who held its accounts before."""
    return _accounts(await call.desk.read(_of_meter, call.meter))


async def put_holder(call: Call[HolderRequest, Nothing]) -> Answer:
    """Say whose account the one in force on the meter is, from now on."""
    return await call.desk.act(_put, call.desk.clock.now_s(), call, answer=_accounts)


async def end_holder(call: Call[Nothing, Nothing]) -> Answer:
    """Say that the account in force on the meter is nobody's from now on."""
    return await call.desk.act(_end, call.desk.clock.now_s(), call, answer=_accounts)


def _file(call: Call[Any, Nothing]) -> RingFile:
    if call.desk.persons is None:
        raise Problem("no_person_key", "No key file of persons is set up here: `openprepay persons init` makes one.")
    return call.desk.persons


def _ring(call: Call[Any, Nothing]) -> KeyRing:
    """The key of personal data; raises Problem where there is none."""
    try:
        return _file(call).ring()
    except KeyFileError as error:
        raise Problem("no_person_key", str(error)) from error


def _whose(call: Call[Any, Nothing]) -> str:
    return call.path["person"]


def _given(body: PersonFields) -> dict[str, str]:
    return {name: value for name, value in msgspec.structs.asdict(body).items() if value is not None}


def _within(conn: Connection, call: Call[Any, Nothing], whose: str) -> None:
    """Raise UnknownPerson unless an account of this person lies in the caller's areas, or it never had one."""
    if EVERYWHERE in call.caller.areas:
        return
    held = {row.meter for row in holdings.of_person(conn, whose)}
    if held and not any(call.caller.sees(areas.area_of(conn, "meter", meter) or "") for meter in held):
        raise persons.UnknownPerson(whose)


def _read(conn: Connection, now_s: int, ring: KeyRing, call: Call[Any, Nothing], whose: str) -> persons.Person:
    _within(conn, call, whose)
    return persons.read(conn, now_s, ring, whose, call.caller.actor)


def _replace(conn: Connection, now_s: int, ring: KeyRing, call: Call[PersonFields, Nothing]) -> persons.Person:
    whose, given = _whose(call), _given(call.body)
    version, created_s = _expected(conn, call, whose)
    values: dict[str, str | None] = {**dict.fromkeys(fields.FIELDS), **given}
    after = persons.change(conn, now_s, ring, os.urandom, whose, version, values, call.caller.actor)
    return persons.Person(whose, after, created_s, given)


def _erase(conn: Connection, now_s: int, call: Call[Any, Nothing], whose: str) -> None:
    version, _ = _expected(conn, call, whose)
    persons.erase(conn, now_s, whose, version, call.caller.actor)


def _expected(conn: Connection, call: Call[Any, Nothing], whose: str) -> tuple[int, int]:
    _within(conn, call, whose)
    row = persons.standing(conn, whose)
    call.expect(_etag(whose, row.version))
    return row.version, row.created_s


def _find(conn: Connection, now_s: int, ring: KeyRing, call: Call[PersonSearch, Nothing]) -> list[str]:
    found = persons.find(conn, now_s, ring, call.body.field, call.body.value, call.caller.actor)
    seen = []
    for whose in found:
        try:
            _within(conn, call, whose)
        except persons.UnknownPerson:
            continue
        seen.append(whose)
    return seen


def _of_person(conn: Connection, call: Call[Any, Nothing]) -> list[Row[Any]]:
    whose = _whose(call)
    _within(conn, call, whose)
    persons.get(conn, whose)
    return holdings.of_person(conn, whose)


def _of_meter(conn: Connection, meter: int) -> list[Row[Any]]:
    get_meter(conn, meter)
    return holdings.of_meter(conn, meter)


def _put(conn: Connection, now_s: int, call: Call[HolderRequest, Nothing]) -> list[Row[Any]]:
    holdings.put(conn, now_s, call.meter, call.body.person, call.caller.actor)
    return holdings.of_meter(conn, call.meter)


def _end(conn: Connection, now_s: int, call: Call[Any, Nothing]) -> list[Row[Any]]:
    holdings.end(conn, now_s, call.meter, call.caller.actor)
    return holdings.of_meter(conn, call.meter)


def _etag(whose: str, version: int) -> str:
    return wire.etag("person", whose, version)


def _answer(status: int, found: persons.Person, headers: dict[str, str] | None = None) -> Answer:
    shown = Person(found.pseudonym, wire.moment(found.created_s), PersonFields(**found.values))
    return Answer(status, shown, {**(headers or {}), "ETag": _etag(found.pseudonym, found.version)})


def _found(found: persons.Person) -> Answer:
    return _answer(200, found)


def _accounts(rows: list[Row[Any]]) -> Answer:
    return Answer(200, Accounts([_account(row) for row in rows]))


def _account(row: Row[Any]) -> Account:
    since, until = wire.moment(row.since_s), wire.moment_or_none(row.until_s)
    return Account(wire.meter_name(row.meter), row.account_epoch, row.pseudonym, since, until)


_ALL: dict[str, Any] = {"scope": PERSONS, "query": Nothing, "by_area": True, "secret": True}
_ONE: dict[str, Any] = {**_ALL, "problems": ("unknown_person", "person_erased", "no_person_key")}
_METER: dict[str, Any] = {
    "scope": PERSONS,
    "query": Nothing,
    "answers": {200: Accounts},
    "problems": ("unknown_meter",),
}

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "POST",
        "/persons",
        post_person,
        answers={201: Person},
        body=PersonFields,
        problems=("no_person_key",),
        **_ALL,
    ),
    Operation(
        "POST",
        "/persons/search",
        find_persons,
        answers={200: PersonsFound},
        body=PersonSearch,
        problems=("no_person_key",),
        **_ALL,
    ),
    Operation("GET", "/persons/{person}", get_person, answers={200: Person}, body=Nothing, **_ONE),
    Operation("PUT", "/persons/{person}", put_person, answers={200: Person}, body=PersonFields, edits=True, **_ONE),
    Operation(
        "DELETE", "/persons/{person}", erase_person, answers={200: ErasedPerson}, body=Nothing, edits=True, **_ONE
    ),
    Operation("GET", "/persons/{person}/accounts", list_accounts, answers={200: Accounts}, body=Nothing, **_ONE),
    Operation("GET", "/meters/{meter}/holders", list_holders, body=Nothing, **_METER),
    Operation("PUT", "/meters/{meter}/holder", put_holder, body=HolderRequest, **_METER),
    Operation("DELETE", "/meters/{meter}/holder", end_holder, body=Nothing, **_METER),
)
