"""People sign in and out, and keep their own account: password, second factor, sessions, language."""

import os
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access import lockout, passwords, people, sessions, sign_in, totp
from headend.access.permissions import SELF
from headend.refusals import Refused
from headend.web import wire
from headend.web.callers import set_cookie
from headend.web.desk import Desk
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.problems import Problem
from headend.web.wire import Moment

UserName = Annotated[str, Meta(min_length=1, max_length=40, examples=["li.wei"])]
Password = Annotated[str, Meta(min_length=1, max_length=passwords.MAX_LENGTH)]
Code = Annotated[str, Meta(pattern=r"^[0-9]{6}$", description="What the authenticator shows.", examples=["492039"])]


class SignInRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A name and its password, and a code where a second factor is on."""

    user: UserName
    password: Password
    code: Code | None = None
    cookie: Annotated[bool, Meta(description="Give the session to a browser as a cookie, not as a token.")] = False


class Session(msgspec.Struct):
    """A session that has begun."""

    user: str
    token: Annotated[str | None, Meta(description="Bearer token; null where the cookie carries it.")]
    ends: Moment
    must_change: Annotated[bool, Meta(description="The password has to be changed before anything else.")]


class SessionBrief(msgspec.Struct):
    """A session in a list."""

    session: int
    this: Annotated[bool, Meta(description="Whether this request came in it.")]
    begun: Moment
    used: Annotated[Moment, Meta(description="To the minute.")]
    ends: Moment
    address: str


class Held(msgspec.Struct):
    """A permission, and where it is held."""

    permission: str
    areas: Annotated[list[str], Meta(description='Paths; "" is everything.')]


class Me(msgspec.Struct):
    """The person who asks."""

    user: str
    language: Literal["en", "zh"]
    second_factor: bool
    must_change: bool
    permissions: list[Held]
    sessions: list[SessionBrief]


class LanguageRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What pages and sentences are in."""

    language: Literal["en", "zh"]


class SignOutRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Which sessions end."""

    everywhere: bool = False


class PasswordRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Another password."""

    old_password: Password
    new_password: Annotated[
        Password, Meta(description="12..128 characters, 5 different ones at least, without the name.")
    ]


class FactorRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A code that shows that the secret has arrived."""

    code: Code


class FactorOffRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The password, so that an open session is not enough."""

    password: Password


class Enrolled(msgspec.Struct):
    """A second factor that counts once a code of it was seen."""

    secret: Annotated[str, Meta(description="Base32, for typing into an authenticator.")]
    uri: Annotated[str, Meta(description="otpauth URI, for a QR code.")]


class Done(msgspec.Struct):
    """It is done."""

    done: bool = True


# --- in and out -------------------------------------------------------------------------------------------------------


async def begin_session(call: Call[SignInRequest, Nothing]) -> Answer:
    """Sign in.

    A wrong name and a wrong password are answered alike (401 `not_signed_in`); 401 `code_wanted` means that the
    password is right and a code is needed as well. After five failures the name is locked for 15 minutes, then for
    twice as long each time (429 `too_many_attempts`), whether or not anybody has it; addresses likewise.
    """
    body = call.body
    row, token = await begin(call.desk, body.user, body.password, body.code, call.address)
    headers = {}
    if body.cookie:
        headers["Set-Cookie"] = set_cookie(call.desk, token, row.ends_s - row.made_s)
    shown = None if body.cookie else token
    return Answer(200, Session(row.login, shown, wire.moment(row.ends_s), bool(row.must_change)), headers)


async def begin(desk: Desk, name: str, password: str, code: str | None, address: str) -> tuple[Row[Any], str]:
    """A session and its token; raises Problem."""
    now_s = desk.clock.now_s()
    counted = await desk.write(sign_in.attempt, now_s, name, address)
    if counted.wait_s:
        sentence = f"Too many attempts to sign in; try again in {counted.wait_s} s."
        raise Problem("too_many_attempts", sentence, headers={"Retry-After": str(counted.wait_s)})
    fits = await desk.hashed(passwords.fits, counted.stored, password)
    token = sessions.new_token(os.urandom)
    stored = counted.stored if fits else None
    outcome = await desk.write(sign_in.settle, now_s, name, address, stored, code, token, desk.sealer)
    if outcome.code_wanted:
        raise Problem("code_wanted", "code: nothing given, what the authenticator shows now expected.", field="code")
    if outcome.session is None:
        raise Problem("not_signed_in", "The name, the password or the code is not right.")
    return outcome.session, token


async def end_session(call: Call[SignOutRequest, Nothing]) -> Answer:
    """Sign out, of this session or everywhere."""
    answer = Answer(200, Done(), {"Set-Cookie": set_cookie(call.desk, "", 0)})
    arguments = (call.desk.clock.now_s(), call.caller.login, call.caller.session, call.body.everywhere)
    return await call.desk.act(end, *arguments, answer=lambda _: answer)


def end(conn: Connection, now_s: int, name: str, session_id: int, everywhere: bool) -> None:
    """End a session, or all of a person."""
    sessions.end(conn, now_s, f"user:{name}", session_id)
    if everywhere:
        sessions.end_all(conn, name)


# --- one's own account ------------------------------------------------------------------------------------------------


async def get_me(call: Call[Nothing, Nothing]) -> Answer:
    """Who asks, what this person may do and where, and the sessions that are open."""
    row, mine = await call.desk.read(_me, call.desk.clock.now_s(), call.caller.login)
    held = [Held(name, list(at)) for name, at in sorted(call.caller.allowed.items()) if name != SELF]
    listed = [
        SessionBrief(
            session=one.id,
            this=one.id == call.caller.session,
            begun=wire.moment(one.made_s),
            used=wire.moment(one.used_s),
            ends=wire.moment(one.ends_s),
            address=one.address,
        )
        for one in mine
    ]
    second = row.totp_secret is not None
    return Answer(200, Me(row.login, row.language, second, bool(row.must_change), held, listed))


def _me(conn: Connection, now_s: int, name: str) -> tuple[Row[Any], list[Row[Any]]]:
    return people.get(conn, name), [row for row in sessions.of_login(conn, name) if row.ends_s > now_s]


async def put_my_language(call: Call[LanguageRequest, Nothing]) -> Answer:
    """Set the language of one's own pages."""
    return await call.desk.act(
        _set_language, call.desk.clock.now_s(), call.caller.login, call.body.language, answer=done
    )


def _set_language(conn: Connection, now_s: int, name: str, language: str) -> None:
    people.change(conn, now_s, f"user:{name}", name, people.get(conn, name).state, language)


async def put_my_password(call: Call[PasswordRequest, Nothing]) -> Answer:
    """Change one's own password. All other sessions end."""
    desk, name = call.desk, call.caller.login
    new = passwords.check(call.body.new_password, name)
    if call.body.old_password == call.body.new_password:
        raise Refused("new_password", "the old one", "another one")
    stored = await confirmed(desk, name, call.body.old_password, "old_password", call.address)
    made = await desk.hashed(passwords.make, new, os.urandom)
    arguments = (desk.clock.now_s(), name, stored, made, call.caller.session)
    return await desk.act(sign_in.change_password, *arguments, answer=done)


async def enrol_factor(call: Call[Nothing, Nothing]) -> Answer:
    """Begin with a second factor (TOTP, RFC 6238). It counts once a code of it was sent to `PUT /me/second-factor`."""
    secret = os.urandom(totp.SECRET_LENGTH)
    name = call.caller.login
    answer = Answer(200, Enrolled(totp.base32(secret), totp.uri(secret, name)))
    arguments = (call.desk.clock.now_s(), name, secret, call.desk.sealer)
    return await call.desk.act(sign_in.enrol, *arguments, answer=lambda _: answer)


async def confirm_factor(call: Call[FactorRequest, Nothing]) -> Answer:
    """Turn the enrolled second factor on. From now on signing in takes a code, and each code counts once."""
    arguments = (call.desk.clock.now_s(), call.caller.login, call.body.code, call.desk.sealer)
    return await call.desk.act(sign_in.confirm, *arguments, answer=done)


async def drop_factor(call: Call[FactorOffRequest, Nothing]) -> Answer:
    """Turn the second factor off."""
    desk, name = call.desk, call.caller.login
    stored = await confirmed(desk, name, call.body.password, "password", call.address)
    return await desk.act(sign_in.turn_off, desk.clock.now_s(), name, stored, answer=done)


def done(_: Any) -> Answer:
    """What answers an act that leads to nothing new."""
    return Answer(200, Done())


async def confirmed(desk: Desk, name: str, password: str, field: str, address: str) -> str:
    """The stored hash that the person's password fits; raises Refused. Guesses count as they do at the door."""
    counted = await desk.write(sign_in.attempt, desk.clock.now_s(), name, address)
    if counted.wait_s:
        sentence = f"Too many wrong passwords; try again in {counted.wait_s} s."
        raise Problem("too_many_attempts", sentence, headers={"Retry-After": str(counted.wait_s)})
    if counted.stored is None or not await desk.hashed(passwords.fits, counted.stored, password):
        raise Refused(field, "a password", "the one that holds now")
    await desk.write(lockout.succeeded, name, address)
    return counted.stored


_OWN: dict[str, Any] = {"scope": SELF, "query": Nothing, "by_area": True}
_ATTEMPTS = ("too_many_attempts", "overloaded")

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "POST",
        "/session",
        begin_session,
        scope=None,
        answers={200: Session},
        body=SignInRequest,
        query=Nothing,
        problems=("not_signed_in", "code_wanted", *_ATTEMPTS),
    ),
    Operation("POST", "/session/end", end_session, answers={200: Done}, body=SignOutRequest, **_OWN),
    Operation("GET", "/me", get_me, answers={200: Me}, body=Nothing, **_OWN),
    Operation("PUT", "/me/language", put_my_language, answers={200: Done}, body=LanguageRequest, **_OWN),
    Operation(
        "PUT",
        "/me/password",
        put_my_password,
        answers={200: Done},
        body=PasswordRequest,
        problems=_ATTEMPTS,
        **_OWN,
    ),
    Operation("POST", "/me/second-factor", enrol_factor, answers={200: Enrolled}, body=Nothing, secret=True, **_OWN),
    Operation("PUT", "/me/second-factor", confirm_factor, answers={200: Done}, body=FactorRequest, **_OWN),
    Operation(
        "POST",
        "/me/second-factor/off",
        drop_factor,
        answers={200: Done},
        body=FactorOffRequest,
        problems=_ATTEMPTS,
        **_OWN,
    ),
)
