"""Signing in by a browser: a form that works without a script, and the cookie of a session."""

import os
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from headend import language as texts
from headend.access import passwords, sign_in
from headend.access.words import PAGE
from headend.refusals import Refused
from headend.web import signin
from headend.web.callers import same_site, set_cookie
from headend.web.desk import Desk
from headend.web.page import SIGN_IN_PATH, Admit, PageQuery, Pages, Serve, go_on, spoken
from headend.web.problems import Problem, of_exception

PATH, PASSWORD_PATH, OUT_PATH = SIGN_IN_PATH, "/sign-in/password", "/sign-out"
MAX_FORM = 2_048


class SignIn:
    """The routes of the form. `admit`: raises Problem while a visitor's budget is spent."""

    def __init__(self, desk: Desk, admit: Admit, pages: Pages) -> None:
        self._desk = desk
        self._admit = admit
        self._pages = pages

    def routes(self) -> dict[str, dict[str, Serve]]:
        """Path -> method -> what serves it."""
        return {
            PATH: {"GET": self.show, "POST": self.enter},
            PASSWORD_PATH: {"GET": self.show_change, "POST": self.change},
            OUT_PATH: {"POST": self.leave},
        }

    async def show(self, request: Request, visitor: Any) -> Response:
        """The form."""
        return self._page(request, 200)

    async def show_change(self, request: Request, visitor: Any) -> Response:
        """The form for another password."""
        return self._page(request, 200, change=True)

    async def enter(self, request: Request, visitor: Any) -> Response:
        """Sign in and go on to the board, or say why not."""
        self._admit(visitor)
        form = await _form(request)
        user = form.get("user", "")
        try:
            same_site(request)
            row, token = await signin.begin(
                self._desk, user, form.get("password", ""), form.get("code") or None, visitor.address
            )
        except (Problem, passwords.Busy) as error:
            problem = error if isinstance(error, Problem) else of_exception(error)
            return self._refused(request, problem, user)
        cookie = set_cookie(self._desk, token, row.ends_s - row.made_s)
        return _go_on(request, PASSWORD_PATH if row.must_change else "/", cookie)

    async def change(self, request: Request, visitor: Any) -> Response:
        """Change the password that somebody else gave, and go on."""
        caller = await visitor.callers.of_request(request, visitor.address)
        form, name, desk = await _form(request), caller.login, self._desk
        old, new = form.get("old_password", ""), form.get("new_password", "")
        if not caller.is_person:
            return _go_on(request, PATH)
        try:
            plain = passwords.check(new, name)
            if old == new:
                raise Refused("new_password", "the old one", "another one")
        except Refused:
            return self._page(request, 422, self._say(request, "password_refused"), change=True)
        try:
            stored = await signin.confirmed(desk, name, old, "old_password", visitor.address)
            made = await desk.hashed(passwords.make, plain, os.urandom)
            await desk.write(sign_in.change_password, desk.clock.now_s(), name, stored, made, caller.session)
        except (Refused, Problem, passwords.Busy) as error:
            problem = error if isinstance(error, Problem) else of_exception(error)
            return self._refused(request, problem, "", change=True)
        return _go_on(request, "/")

    async def leave(self, request: Request, visitor: Any) -> Response:
        """Sign out."""
        caller = await visitor.callers.of_request(request, visitor.address)
        if caller.session is not None:
            await self._desk.write(signin.end, self._desk.clock.now_s(), caller.login, caller.session, False)
        return _go_on(request, PATH, set_cookie(self._desk, "", 0))

    def _refused(self, request: Request, problem: Problem, user: str, *, change: bool = False) -> Response:
        code = problem.code if problem.code in PAGE else "not_signed_in"
        minutes = -(-int(problem.headers.get("Retry-After", "0")) // 60)
        said = self._say(request, code, minutes=minutes)
        return self._page(request, problem.kind.status, said, user[:40], change=change)

    def _say(self, request: Request, key: str, **fields: object) -> str:
        return texts.say(PAGE[key], spoken(request, PageQuery)[1], **fields)

    def _page(self, request: Request, status: int, said: str = "", user: str = "", *, change: bool = False) -> Response:
        query, language = spoken(request, PageQuery)
        values = {
            "said": said,
            "user": user,
            "action": _with(PASSWORD_PATH if change else PATH, query),
            "link": lambda lang: f"?lang={lang}",
        }
        html = self._pages.render("password.html" if change else "signin.html", language, PAGE, **values)
        return self._pages.html(html, language, status, forms=True)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, each once; raises Problem for what is none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Problem("malformed", "Content-Type: a form was expected.")
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_FORM:
            raise Problem("too_large", f"form: at most {MAX_FORM} bytes were expected.")
    try:
        fields = parse_qs(raw.decode("ascii"), max_num_fields=8, keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise Problem("malformed", "The form cannot be read.") from error
    return {name: values[0] for name, values in fields.items()}


def _go_on(request: Request, path: str, cookie: str | None = None) -> Response:
    return go_on(_with(path, spoken(request, PageQuery)[0]), cookie)


def _with(path: str, query: PageQuery) -> str:
    """The path, in the language that was asked for."""
    return f"{path}?lang={query.lang}" if query.lang else path
