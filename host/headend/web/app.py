"""The ASGI application: routes from the table of operations, and what every request goes through.

Token, scope, size, time and form are checked before an operation sees a request; whatever goes wrong is answered as a
problem. Nothing that a caller sent is logged.
"""

import logging
import re
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from starlette.applications import Starlette
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from headend.access import areas
from headend.access.areas import EVERYWHERE
from headend.access.caller import Caller
from headend.access.kept import AlreadyDone, KeyReused
from headend.access.permissions import READ
from headend.store import UnknownMeter
from headend.watch import logs
from headend.web import incoming, keys, metrics, openapi, problems, rates, wire
from headend.web.access import ErrorBudget
from headend.web.api import OPERATIONS, PREFIX
from headend.web.callers import Callers, address_of
from headend.web.desk import Desk
from headend.web.keys import Keeper
from headend.web.operations import Call, Nothing, Operation
from headend.web.problems import Problem
from headend.web.rates import Rates

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
ANONYMOUS = Caller("")

Serve = Callable[[Request, "Visitor"], Awaitable[Response]]


_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

log = logging.getLogger("openprepay.web")


class Visitor:
    """Whose budget pays for a request: the address, and from the token on whoever showed it.

    `request_id` goes with the request through the log and back to the caller; `headers` go with its answer.
    """

    def __init__(self, request: Request, callers: Callers, behind_tls: bool) -> None:
        self.callers = callers
        self.address = address_of(request, behind_tls)
        self.name = f"address {self.address}"
        self.operation = ""  # which one the request turned out to be
        given = request.headers.get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self.headers = {"X-Request-Id": self.request_id}

    def is_known(self, caller: Caller) -> None:
        self.name = caller.actor


class Door:
    """What every request passes: the budget of errors, and problems instead of exceptions."""

    def __init__(self, desk: Desk, budget: ErrorBudget, limits: Rates) -> None:
        self.desk = desk
        self.budget = budget
        self.limits = limits
        self.callers = Callers(desk)

    def route(self, path: str, methods: Mapping[str, Serve]) -> Route:
        """A route that answers other methods with a problem that lists those it knows."""
        known = {*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())}
        allowed = ", ".join(sorted(known))

        async def endpoint(request: Request) -> Response:
            serve = methods.get("GET" if request.method == "HEAD" else request.method)
            if serve is not None:
                return await self._answer(request, serve)
            if request.method == "OPTIONS":
                return Response(status_code=204, headers={**HEADERS, "Allow": allowed})

            async def refuse(_: Request, __: Visitor) -> Response:
                sentence = f"method: {request.method[:20]!r} given, one of {allowed} expected."
                raise Problem("method_not_allowed", sentence, headers={"Allow": allowed})

            return await self._answer(request, refuse)

        every = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
        return Route(path, endpoint, methods=every, include_in_schema=False)

    async def _answer(self, request: Request, serve: Serve) -> Response:
        visitor, began = Visitor(request, self.callers, self.desk.behind_tls), self.desk.monotonic()
        logs.REQUEST.set(visitor.request_id)
        response = await self._respond(request, visitor, serve)
        response.headers.update(visitor.headers)
        if visitor.operation and self.desk.metrics is not None:
            self.desk.metrics.answered(visitor.operation, response.status_code, self.desk.monotonic() - began)
        return response

    async def _respond(self, request: Request, visitor: Visitor, serve: Serve) -> Response:
        try:
            return await serve(request, visitor)
        except Problem as problem:
            answer = problem
        except ClientDisconnect:
            answer = Problem("malformed", "The connection ended before the request was whole.")
        except Exception as error:  # a caller always gets an answer, and the log tells
            answer = problems.of_exception(error)
            if answer.kind.status >= 500:
                foreseen = answer.code != "failed"  # the sentence tells; a traceback for each would bury the log
                log.error("%s: %s.", type(error).__name__, answer.kind.title, exc_info=None if foreseen else error)
        if answer.kind.wasteful and self.budget.spend(visitor.name, self.desk.monotonic()):
            log.warning("Too many useless requests from %s; they are turned away for a while.", visitor.name)
        return _problem(answer)

    def admit(self, visitor: Visitor) -> None:
        """Raise Problem while the visitor's budget is spent."""
        wait_s = self.budget.wait_s(visitor.name, self.desk.monotonic())
        if wait_s:
            sentence = f"Too many requests that could not be served came from here; try again in {wait_s} s."
            raise Problem("too_many_errors", sentence, headers={"Retry-After": str(wait_s)})

    def count(self, visitor: Visitor, kind: str) -> None:
        """Take a request from the visitor's bucket of this kind; raises Problem where it is empty."""
        left, wait_s = self.limits.take(visitor.name, kind, self.desk.monotonic())
        visitor.headers |= self.limits.headers(kind, left, wait_s)
        if wait_s:
            raise Problem("too_many_requests", f"More requests came than one caller may make; wait {wait_s} s.")


class _Whole(PathConvertor):
    """The rest of a path, also where it holds a line break."""

    regex = "(?s:.*)"


register_url_convertor("whole", _Whole())


def build_app(desk: Desk, budget: ErrorBudget | None = None, limits: Rates | None = None) -> Starlette:
    """The application for a desk; `budget` and `limits` are for tests that count."""
    door = Door(desk, budget or ErrorBudget(), limits or Rates())
    by_path: dict[str, dict[str, Serve]] = defaultdict(dict)
    for operation in OPERATIONS:
        by_path[operation.path][operation.method] = _serve(door, operation)
    document = openapi.encoded()
    named_first = sorted(by_path, key=lambda path: [part.startswith("{") for part in path.split("/")])
    routes = [door.route(PREFIX + _pattern(path), by_path[path]) for path in named_first]
    routes.append(door.route(f"{PREFIX}/openapi.json", {"GET": _fixed(document, "application/json")}))
    routes.append(door.route(metrics.PATH, {"GET": _metrics(door)}))
    routes.extend(_pages(door))
    routes.append(door.route("/{path:whole}", dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), _nowhere(door))))
    return Starlette(routes=routes)


def _pages(door: Door) -> list[Route]:
    """The pages, where their template engine is installed (the extra `console`)."""
    try:
        from headend.web import pages
    except ModuleNotFoundError as missing:
        if missing.name != "jinja2":
            raise
        log.warning('There are no pages: pip install "openprepay[console]" brings what it needs.')
        return []
    return [door.route(path, methods) for path, methods in pages.routes(door.desk, door.admit).items()]


def _serve(door: Door, operation: Operation[Any, Any]) -> Serve:
    async def serve(request: Request, visitor: Visitor) -> Response:
        visitor.operation = operation.name
        caller = await _caller(door, request, visitor, operation.scope, operation.method)
        path = incoming.path_of(request, PREFIX)
        await _placed(door, caller, operation, path)
        raw = await incoming.body_of(request, operation.body, operation.most_bytes)
        query = request.scope["query_string"]
        call = Call(
            desk=door.desk,
            caller=caller,
            path=path,
            body=Nothing() if operation.body is Nothing else wire.read_json(raw, operation.body),
            query=wire.read_query(query, operation.query),
            if_match=incoming.condition_of(request) if operation.edits else None,
            address=visitor.address,
        )
        header = request.headers.get(keys.HEADER)
        if header is None or operation.scope is None or operation.method not in keys.UNSAFE:
            answer = await operation.handler(call)
            return _response(answer.status, answer.headers, wire.encode(answer.body))
        digest = keys.digest(request.method, request.url.path, query, raw)
        keeper = Keeper(caller.actor, keys.read(header), digest, door.desk.clock.now_s(), keeps=not operation.secret)
        return await _once(door.desk, keeper, operation, call)

    return serve


async def _once(desk: Desk, keeper: Keeper, operation: Operation[Any, Any], call: Call[Any, Any]) -> Response:
    """Carry out a request that carries a key, or answer as it was answered before."""
    before = await desk.read(keeper.find)
    if before is not None:
        return _response(*keys.replay(before))
    token = keys.CURRENT.set(keeper)
    try:
        answer = await operation.handler(call)
    except AlreadyDone as done:
        return _response(*keys.replay(done.row))
    finally:
        keys.CURRENT.reset(token)
    if not keeper.acted and keeper.keeps and answer.status != 202:  # 202: not yet the last answer
        with suppress(AlreadyDone, KeyReused):
            await desk.write(keeper.behind, answer)
    return _response(answer.status, answer.headers, wire.encode(answer.body))


def _response(status: int, headers: Mapping[str, str], body: bytes) -> Response:
    return Response(body, status, {**HEADERS, **headers}, media_type="application/json")


def _metrics(door: Door) -> Serve:
    async def serve(request: Request, visitor: Visitor) -> Response:
        await _caller(door, request, visitor, READ)
        return await metrics.page(door.desk, HEADERS)

    return serve


def _nowhere(door: Door) -> Serve:
    async def serve(request: Request, visitor: Visitor) -> Response:
        door.admit(visitor)
        raise Problem("no_such_path", f"There is nothing at this path; {PREFIX}/openapi.json lists what there is.")

    return serve


def _fixed(content: bytes, media_type: str) -> Serve:
    async def serve(request: Request, visitor: Visitor) -> Response:
        return Response(content, 200, HEADERS, media_type=media_type)

    return serve


async def _caller(door: Door, request: Request, visitor: Visitor, scope: str | None, method: str = "GET") -> Caller:
    kind = rates.kind_of(method, scope)
    if scope is None:
        door.count(visitor, kind)
        return ANONYMOUS
    try:
        caller = await door.callers.of_request(request, visitor.address)
    except Problem:
        door.admit(visitor)
        raise
    visitor.is_known(caller)
    door.admit(visitor)
    door.count(visitor, kind)
    return caller.at(scope)


async def _placed(door: Door, caller: Caller, operation: Operation[Any, Any], path: Mapping[str, str]) -> None:
    """Raise unless the caller may do this where the thing in the path stands.

    What lies outside all areas of a caller is answered as if it did not exist.
    """
    scope, part = operation.scope, operation.placed
    if scope is None or EVERYWHERE in caller.areas:
        return
    if part is None:
        if not operation.by_area:
            caller.need(scope)
        return
    number = wire.read_meter(path[part]) if part == "meter" else wire.read_id(path[part])
    area = None if number is None else await door.desk.read(areas.area_of, part, number)
    if area is None or not (caller.sees(area) or caller.may(READ, area)):
        raise _unknown(part, path[part], number)
    caller.need(scope, area)


def _unknown(part: str, text: str, number: int | None) -> Exception:
    if part == "meter" and number is not None:
        return UnknownMeter(number)
    sentence = f"{part}: {text[:20]!r} given, the id of one that this caller may see expected."
    return Problem(f"unknown_{part}", sentence, field=part)


def _problem(problem: Problem) -> Response:
    return Response(
        wire.encode(problem.body()),
        problem.kind.status,
        {**HEADERS, **problem.headers},
        media_type=problems.CONTENT_TYPE,
    )


def _pattern(path: str) -> str:
    return path.replace("{payment_id}", "{payment_id:whole}")
