"""Who calls: a bearer token or a session's cookie, looked up at most once in `FRESH_S`.

A look-up costs a thread and a few statements, which is more than the rest of taking a payment costs the loop. So what
was found is kept for `FRESH_S` seconds of the head end's clock, and no longer than until something that callers may do
is changed in this process (`access.changes`). What another process changes counts after `FRESH_S`.

A token stands in a header alone, never in a URL; what the database holds of it is its SHA-256. Nothing here logs a
header. Pages take a session's cookie, or a channel's token as the password of HTTP Basic with the channel as the user.
"""

import base64
import binascii
import hashlib
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection
from starlette.requests import Request

from headend.access import changes, service_tokens, sessions
from headend.access.caller import CHANNEL, Caller
from headend.ledger import channels
from headend.store import READS, Overloaded, StoreClosed
from headend.web.desk import Desk
from headend.web.keys import UNSAFE
from headend.web.problems import Problem

FRESH_S = 2
KEPT = 4096
REALM = "openprepay"
COOKIE = "openprepay-session"


class Callers:
    """Finds callers, and remembers them for a moment."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._found: OrderedDict[bytes, tuple[Caller, int, int]] = OrderedDict()

    async def of_request(self, request: Request, address: str) -> Caller:
        """Who makes this request; raises Problem."""
        header = request.headers.get("authorization")
        if header is None:
            token = self.cookie(request)
            if token is not None:
                same_site(request)
                return await self.of(token, address)
        return await self.of(bearer(header), address)

    async def of_page(self, request: Request, address: str) -> Caller:
        """Who looks at a page: by the session's cookie, or by HTTP Basic with a channel's name and token."""
        header, token = request.headers.get("authorization"), self.cookie(request)
        if header is None and token is not None:
            return await self.of(token, address, scheme="Basic")
        user, token = password(header)
        return await self.of(token, address, user, "Basic")

    async def of(self, token: str, address: str, channel: str | None = None, scheme: str = "Bearer") -> Caller:
        """Whose token this is, shown from `address`; of `channel`, where that is given. Raises Problem."""
        now_s, count = self._desk.clock.now_s(), changes.count()
        key = hashlib.sha256(f"{address}\n{token}".encode()).digest()
        caller, at_s, known = self._found.get(key, (None, 0, 0))
        if caller is None or known != count or not 0 <= now_s - at_s < FRESH_S:
            caller = await self._desk.read(find, now_s, token, address)
            if caller is not None:
                self._keep(key, caller, now_s, count)
        if caller is None or channel not in (None, caller.channel):
            raise unauthorized(scheme, "Authorization: the token is not one of this head end.")
        return caller

    def cookie(self, request: Request) -> str | None:
        """The token in the session's cookie."""
        with suppress(CookieError):
            found = SimpleCookie(request.headers.get("cookie", "")).get(cookie_name(self._desk))
            return found.value if found is not None else None
        return None

    def _keep(self, key: bytes, caller: Caller, now_s: int, count: int) -> None:
        self._found[key] = (caller, now_s, count)
        self._found.move_to_end(key)
        while len(self._found) > KEPT:
            self._found.popitem(last=False)
        if caller.stale:
            with suppress(Overloaded, StoreClosed):  # the next look-up writes it down
                self._desk.store.write(_use(caller), now_s, lane=READS)


def find(conn: Connection, now_s: int, token: str, address: str) -> Caller | None:
    """The caller whose token this is: a session's, or a channel's."""
    if token.startswith(sessions.PREFIX):
        row = sessions.find(conn, now_s, token)
        return None if row is None else sessions.caller(conn, now_s, row)
    row = channels.authenticate(conn, now_s, token, address)
    if row is None:
        return None
    allowed = dict.fromkeys(row.scopes.split(), (row.area,))
    stale = row.used_s is None or now_s - row.used_s >= sessions.TOUCH_S
    return Caller(CHANNEL + row.channel, allowed, row.max_payment_uc, stale=stale)


def _use(caller: Caller) -> Any:
    if caller.session is not None:
        return partial(_touch_session, session_id=caller.session)
    return partial(_touch_channel, name=caller.channel)


def _touch_session(conn: Connection, now_s: int, session_id: int) -> None:
    sessions.touch(conn, now_s, session_id)


def _touch_channel(conn: Connection, now_s: int, name: str) -> None:
    service_tokens.used(conn, now_s, name)


def bearer(authorization: str | None) -> str:
    """The token of an Authorization header; raises Problem where there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise unauthorized("Bearer", "Authorization: nothing usable given, Bearer and a token expected.")
    return token.strip()


def password(authorization: str | None) -> tuple[str, str]:
    """User and password of HTTP Basic (RFC 7617); raises Problem that makes a browser ask for them."""
    scheme, _, encoded = (authorization or "").partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError
        user, _, token = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        sentence = "Authorization: the name of a channel and its token expected, as user and password."
        raise unauthorized("Basic", sentence) from None
    return user, token


def unauthorized(scheme: str, sentence: str) -> Problem:
    return Problem("unauthorized", sentence, headers={"WWW-Authenticate": f'{scheme} realm="{REALM}", charset="UTF-8"'})


def cookie_name(desk: Desk) -> str:
    """Behind TLS the name itself keeps other hosts and plain HTTP from setting it (RFC 6265bis 4.1.3.2)."""
    return f"__Host-{COOKIE}" if desk.behind_tls else COOKIE


def set_cookie(desk: Desk, token: str, ends_in_s: int) -> str:
    """The value of Set-Cookie; an empty token takes the cookie away."""
    secure = "; Secure" if desk.behind_tls else ""
    age_s = ends_in_s if token else 0
    return f"{cookie_name(desk)}={token}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}"


def same_site(request: Request) -> None:
    """Raise Problem where a browser was made to send an unsafe request from another site."""
    if request.method not in UNSAFE:
        return
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    if origin is None:
        ours = request.headers.get("sec-fetch-site") == "same-origin"
    else:
        ours = bool(host) and urlsplit(origin).netloc.lower() == host.lower()
    if not ours:
        raise Problem("cross_site", f"Origin: {(origin or 'none')[:60]!r} given, this site's own expected.")


def address_of(request: Request, behind_tls: bool) -> str:
    """Where a request comes from; behind a proxy on this machine, what that proxy says."""
    peer = request.client.host if request.client else "unknown"
    forwarded = request.headers.get("x-forwarded-for", "") if behind_tls else ""
    with suppress(ValueError):
        if forwarded and ip_address(peer).is_loopback:
            return str(ip_address(forwarded.rpartition(",")[2].strip()))
    return peer
