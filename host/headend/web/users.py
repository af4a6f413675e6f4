"""People who sign in, their roles, and the rules of access, for who manages them."""

import base64
import os
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access import lockout, passwords, people, rules
from headend.access.areas import MAX_LENGTH
from headend.access.permissions import USERS
from headend.access.roles import ROLES
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation, ok
from headend.web.signin import Done, done
from headend.web.wire import Moment

MAX_PAGE = 500
MAX_ID = 2**53

RoleName = Annotated[str, Meta(max_length=20, examples=sorted(ROLES))]
Area = Annotated[
    str,
    Meta(max_length=MAX_LENGTH, description='This one and all below it; "" is everything.', examples=["north/f-3"]),
]


class UserRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A person to be added."""

    user: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9._-]{1,31}$", examples=["li.wei"])]
    language: Literal["en", "zh"] = "en"


class UserChange(msgspec.Struct, forbid_unknown_fields=True):
    """What of a person's account others set."""

    state: Annotated[Literal["active", "closed"], Meta(description="`closed`: signs in no more; all sessions end.")]
    language: Literal["en", "zh"] = "en"


class GrantRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A role, and where."""

    role: RoleName
    area: Area = ""


class Grant(msgspec.Struct):
    """A role that somebody was granted."""

    grant: int
    role: RoleName
    area: Area
    granted: Moment
    granted_by: str


class User(msgspec.Struct):
    """A person who signs in."""

    user: str
    state: Literal["active", "closed"]
    language: Literal["en", "zh"]
    second_factor: bool
    must_change: bool
    added: Moment
    added_by: str
    seen: Annotated[Moment | None, Meta(description="Last signed in.")]
    locked_until: Annotated[Moment | None, Meta(description="After too many wrong passwords.")]
    grants: list[Grant]


class FreshUser(msgspec.Struct):
    """A person with a first password, which is shown this once and has to be changed at once."""

    user: User
    password: str


class UserPage(msgspec.Struct):
    """People by name."""

    users: list[User]
    next_after: Annotated[str | None, Meta(description="`after` of the next page; null on the last one.")]


class UsersQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which people."""

    after: Annotated[str, Meta(max_length=40)] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class RoleState(msgspec.Struct):
    """A role and what it may do."""

    role: RoleName
    title: Annotated[dict[str, str], Meta(description="By language.")]
    permissions: list[str]


class Roles(msgspec.Struct):
    """All roles."""

    roles: list[RoleState]


class AccessRule(msgspec.Struct):
    """A rule of access."""

    rule: str
    value: int
    default: int
    lowest: int
    highest: int
    meaning: Annotated[dict[str, str], Meta(description="By language.")]


class AccessRules(msgspec.Struct):
    """All rules of access."""

    rules: list[AccessRule]


class RuleRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a rule says from now on."""

    value: Annotated[int, Meta(ge=0, le=2**53)]


# --- people -----------------------------------------------------------------------------------------------------------


Tagged = tuple[User, str]  # with its ETag


async def list_users(call: Call[Nothing, UsersQuery]) -> Answer:
    """People by name."""
    query = call.query
    found = await call.desk.read(_page, call.desk.clock.now_s(), query.after, query.limit)
    more = found[-1].user if len(found) == query.limit else None
    return Answer(200, UserPage(found, more))


async def get_user(call: Call[Nothing, Nothing]) -> Answer:
    """One person, with roles. The answer's ETag is what a change names in If-Match."""
    return _tagged(await call.desk.read(_user, call.desk.clock.now_s(), call.path["user"]))


async def post_user(call: Call[UserRequest, Nothing]) -> Answer:
    """Add a person, who may do nothing before a role is granted."""
    name = call.body.user
    password, made = await _fresh_password(call)

    def answer(found: Tagged) -> Answer:
        return Answer(201, FreshUser(found[0], password), {"Location": f"/api/v1/users/{name}", "ETag": found[1]})

    arguments = (call.desk.clock.now_s(), call.caller.actor, name, made, call.body.language)
    return await call.desk.act(_add, *arguments, answer=answer)


async def put_user(call: Call[UserChange, Nothing]) -> Answer:
    """Close a person's account, or open it again, or set its language. Wants If-Match."""
    return await call.desk.act(_change, call.desk.clock.now_s(), call, answer=_tagged)


async def reset_user(call: Call[Nothing, Nothing]) -> Answer:
    """Give a person a new password and take the second factor away, as after a loss. All sessions end.

    Who did this counts as a maker of the account: he approves nothing of that person's, nor that person of his.
    """
    password, made = await _fresh_password(call)
    arguments = (call.desk.clock.now_s(), call.caller.actor, call.path["user"], made)
    return await call.desk.act(_reset, *arguments, answer=lambda found: Answer(200, FreshUser(found[0], password)))


async def unlock_user(call: Call[Nothing, Nothing]) -> Answer:
    """Let a person who gave too many wrong passwords try again now."""
    return await call.desk.act(
        people.unlock, call.desk.clock.now_s(), call.caller.actor, call.path["user"], answer=done
    )


# --- roles ------------------------------------------------------------------------------------------------------------


async def post_grant(call: Call[GrantRequest, Nothing]) -> Answer:
    """Grant a role for an area. Nobody grants himself one."""
    return await call.desk.act(_grant, call.desk.clock.now_s(), call, answer=_tagged)


async def delete_grant(call: Call[Nothing, Nothing]) -> Answer:
    """End a grant. The last administrator stays."""
    number = call.number("grant", lambda text: people.UnknownGrant("grant", text, "the number of a grant that stands"))
    return await call.desk.act(_end_grant, call.desk.clock.now_s(), call, number, answer=_tagged)


async def list_roles(call: Call[Nothing, Nothing]) -> Answer:
    """Roles and what each may do."""
    listed = [
        RoleState(name, dict(zip(("en", "zh"), role.title, strict=True)), sorted(role.permissions))
        for name, role in ROLES.items()
    ]
    return Answer(200, Roles(listed))


async def list_rules(call: Call[Nothing, Nothing]) -> Answer:
    """Rules of access as they stand."""
    return ok(await call.desk.read(_rules))


async def put_rule(call: Call[RuleRequest, Nothing]) -> Answer:
    """Set a rule of access."""
    arguments = (call.desk.clock.now_s(), call.caller.actor, call.path["rule"], call.body.value)
    return await call.desk.act(_put_rule, *arguments, answer=ok)


# --- parts ------------------------------------------------------------------------------------------------------------


async def _fresh_password(call: Call[Any, Any]) -> tuple[str, str]:
    """A password of 120 bits to be handed over, and what is stored of it."""
    password = base64.b32encode(os.urandom(15)).decode().lower()
    return password, await call.desk.hashed(passwords.make, password, os.urandom)


def _add(conn: Connection, now_s: int, actor: str, name: str, password_hash: str, language: str) -> Tagged:
    people.add(conn, now_s, actor, name, password_hash, language)
    return _user(conn, now_s, name)


def _tagged(found: Tagged) -> Answer:
    return Answer(200, found[0], {"ETag": found[1]})


def _change(conn: Connection, now_s: int, call: Call[UserChange, Nothing]) -> Tagged:
    name = call.path["user"]
    call.expect(_etag(conn, people.get(conn, name)))
    people.change(conn, now_s, call.caller.actor, name, call.body.state, call.body.language)
    return _user(conn, now_s, name)


def _reset(conn: Connection, now_s: int, actor: str, name: str, password_hash: str) -> Tagged:
    people.reset(conn, now_s, actor, name, password_hash)
    return _user(conn, now_s, name)


def _grant(conn: Connection, now_s: int, call: Call[GrantRequest, Nothing]) -> Tagged:
    name = call.path["user"]
    call.caller.need(USERS, call.body.area)
    people.grant(conn, now_s, call.caller.actor, name, call.body.role, call.body.area)
    return _user(conn, now_s, name)


def _end_grant(conn: Connection, now_s: int, call: Call[Nothing, Nothing], number: int) -> Tagged:
    name = call.path["user"]
    area = next((row.area for row in people.grants(conn, name) if row.id == number), "")
    call.caller.need(USERS, area)
    people.end_grant(conn, now_s, call.caller.actor, name, number)
    return _user(conn, now_s, name)


def _page(conn: Connection, now_s: int, after: str, limit: int) -> list[User]:
    return [_shown(conn, now_s, row) for row in people.page(conn, after, limit)]


def _user(conn: Connection, now_s: int, name: str) -> Tagged:
    row = people.get(conn, name)
    return _shown(conn, now_s, row), _etag(conn, row)


def _etag(conn: Connection, row: Row[Any]) -> str:
    return wire.etag(row.login, row.version, [one.id for one in people.grants(conn, row.login)])


def _shown(conn: Connection, now_s: int, row: Row[Any]) -> User:
    return User(
        user=row.login,
        state=row.state,
        language=row.language,
        second_factor=row.totp_secret is not None,
        must_change=bool(row.must_change),
        added=wire.moment(row.created_s),
        added_by=row.created_by,
        seen=wire.moment_or_none(row.seen_s),
        locked_until=wire.moment_or_none(lockout.locked_until(conn, now_s, row.login)),
        grants=[
            Grant(one.id, one.role, one.area, wire.moment(one.granted_s), one.granted_by)
            for one in people.grants(conn, row.login)
        ],
    )


def _put_rule(conn: Connection, *arguments: Any) -> AccessRules:
    rules.put(conn, *arguments)
    return _rules(conn)


def _rules(conn: Connection) -> AccessRules:
    listed = [
        AccessRule(
            name,
            rules.get(conn, name),
            rule.default,
            rule.lowest,
            rule.highest,
            dict(zip(("en", "zh"), rule.text, strict=True)),
        )
        for name, rule in rules.RULES.items()
    ]
    return AccessRules(listed)


_ALL: dict[str, Any] = {"scope": USERS, "by_area": True}
_ONE: dict[str, Any] = {"scope": USERS, "query": Nothing, "problems": ("unknown_user",)}

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation("GET", "/users", list_users, answers={200: UserPage}, body=Nothing, query=UsersQuery, **_ALL),
    Operation(
        "POST",
        "/users",
        post_user,
        answers={201: FreshUser},
        body=UserRequest,
        query=Nothing,
        scope=USERS,
        problems=("user_exists", "overloaded"),
        secret=True,
    ),
    Operation("GET", "/users/{user}", get_user, answers={200: User}, body=Nothing, **_ONE, by_area=True),
    Operation("PUT", "/users/{user}", put_user, answers={200: User}, body=UserChange, edits=True, **_ONE),
    Operation("POST", "/users/{user}/reset", reset_user, answers={200: FreshUser}, body=Nothing, secret=True, **_ONE),
    Operation("POST", "/users/{user}/unlock", unlock_user, answers={200: Done}, body=Nothing, **_ONE),
    Operation("POST", "/users/{user}/grants", post_grant, answers={200: User}, body=GrantRequest, **_ONE, by_area=True),
    Operation(
        "DELETE",
        "/users/{user}/grants/{grant}",
        delete_grant,
        answers={200: User},
        body=Nothing,
        query=Nothing,
        scope=USERS,
        problems=("unknown_user", "unknown_grant"),
        by_area=True,
    ),
    Operation("GET", "/roles", list_roles, answers={200: Roles}, body=Nothing, query=Nothing, **_ALL),
    Operation("GET", "/access-rules", list_rules, answers={200: AccessRules}, body=Nothing, query=Nothing, **_ALL),
    Operation(
        "PUT",
        "/access-rules/{rule}",
        put_rule,
        answers={200: AccessRules},
        body=RuleRequest,
        query=Nothing,
        scope=USERS,
    ),
)
