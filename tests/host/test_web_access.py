"""Who may do what: tokens, scopes, the budget of errors, and where the server may be reached."""

import asyncio
import base64
import hashlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from headend.ledger import channels
from headend.refusals import Refused
from headend.store.schema import channel
from headend.web.access import ErrorBudget
from headend.web.api import OPERATIONS
from headend.web.server import HttpServer, bind
from tests.host.people_rig import add_person, session_of
from tests.host.site import ALL, API, ONE, Site, problem

UNKNOWN = "op_" + "z" * 43


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")) as made:
        for role in PEOPLE.values():
            add_person(made.store, role, (role, ""))
        add_person(made.store, "nobody")
        yield made


class Ones(dict[str, str]):
    def __missing__(self, part: str) -> str:
        return "17" if part == "meter" else "1"


def ask(client: httpx.Client, operation: Any) -> httpx.Response:
    """Ask with empty hands, then hang up: a server takes only so many connections."""
    path = API + operation.path.format_map(Ones())
    with client:
        return client.request(operation.method, path, **({} if operation.method == "GET" else {"json": {}}))


PEOPLE = {"approve": "approver", "users": "administrator", "self": "viewer"}  # what no channel can have -> who has it


def holder_of(site: Site, scope: str) -> str:
    """A token that holds the scope: of a channel with nothing else, or of a person."""
    return session_of(site.store, PEOPLE[scope]) if scope in PEOPLE else ONE[scope]


@pytest.mark.parametrize("operation", OPERATIONS, ids=[one.name for one in OPERATIONS])
def test_each_operation_wants_its_scope(site: Site, operation: Any) -> None:
    """Without a token and with an unknown one 401; without its scope 403; with it the request is looked at."""
    if operation.scope is None:
        assert ask(site.client(None), operation).status_code not in (401, 403)
        return
    for token in (None, UNKNOWN):
        answer = ask(site.client(token), operation)
        problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer ")
    for scope in ("payments", "orders", "read", "admin"):
        if scope != operation.scope:
            answer = ask(site.client(ONE[scope]), operation)
            assert operation.scope in problem(answer, 403, "out_of_scope")["detail"]
    if operation.scope != "self":
        problem(ask(site.client(session_of(site.store, "nobody")), operation), 403, "out_of_scope")
    assert ask(site.client(holder_of(site, operation.scope)), operation).status_code not in (401, 403)


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", f"Token {ALL}", ALL, f"Bearer {ALL[:-1]}", f"Bearer {ALL}a", f"Bearer {ALL.upper()}"],
)
def test_nothing_but_the_whole_token_will_do(site: Site, header: str) -> None:
    problem(site.client(None).get(f"{API}/meters", headers={"Authorization": header}), 401, "unauthorized")


@pytest.mark.parametrize("header", [f"Bearer {ALL}", f"bearer {ALL}", f"BEARER  {ALL}"])
def test_the_scheme_may_be_written_any_way(site: Site, header: str) -> None:
    assert site.client(None).get(f"{API}/meters", headers={"Authorization": header}).status_code == 200


def test_a_token_in_the_url_is_no_token_and_is_not_repeated(site: Site) -> None:
    for name in ("token", "access_token"):
        answer = site.client(None).get(f"{API}/meters", params={name: ALL})
        problem(answer, 401, "unauthorized")
        answer = site.client().get(f"{API}/meters", params={name: ALL})
        problem(answer, 422, "refused")
        assert ALL not in answer.text


def test_only_the_digest_of_a_token_is_kept(site: Site) -> None:
    rows = site.store.read(lambda conn: dict(conn.execute(select(channel.c.channel, channel.c.token_digest)).all()))
    assert rows["all"] == hashlib.sha256(ALL.encode()).digest()
    site.store.write(lambda conn: None).result()
    files = site.stored()
    assert hashlib.sha256(ALL.encode()).digest() in files
    assert ALL.encode() not in files


def test_no_token_is_logged(site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    with caplog.at_level(logging.DEBUG), monkeypatch.context() as broken:
        site.client(UNKNOWN).get(f"{API}/meters")
        site.client().get(f"{API}/meters?token={ALL}")
        broken.setattr(site.desk, "write", fails)
        site.client().post(f"{API}/payments", json={"payment_id": "1", "meter": "17", "amount": "1"})
    theirs = ("httpx", "httpcore")  # the client's own
    records = [record for record in caplog.records if not record.name.startswith(theirs)]
    ours = "\n".join(record.getMessage() + (record.exc_text or "") for record in records)
    assert "ZeroDivisionError" in ours, "the failure itself is logged"
    assert ALL not in ours and UNKNOWN not in ours


def test_a_new_token_ends_the_old_one_and_closing_ends_both(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.store.write(channels.replace_token, "all", UNKNOWN).result()
        problem(site.client(ALL).get(f"{API}/meters"), 401, "unauthorized")
        assert site.client(UNKNOWN).get(f"{API}/meters").status_code == 200
        site.store.write(channels.close, "all").result()
        problem(site.client(UNKNOWN).get(f"{API}/meters"), 401, "unauthorized")


def test_useless_requests_are_bounded_by_caller(tmp_path: Path) -> None:
    """An address that shows no valid token is turned away, a channel with one goes on; and the other way round."""
    now = [1000.0]
    with Site(tmp_path, budget=ErrorBudget(burst=5, refill_per_s=0.5), monotonic=lambda: now[0]) as site:
        stranger, member = site.client(UNKNOWN), site.client()
        codes = [stranger.get(f"{API}/meters").status_code for _ in range(7)]
        assert codes == [401] * 5 + [429] * 2
        answer = stranger.get(f"{API}/meters")
        problem(answer, 429, "too_many_errors")
        assert answer.headers["retry-after"] == "3"
        assert member.get(f"{API}/meters").status_code == 200
        now[0] += 4
        assert [stranger.get(f"{API}/meters").status_code for _ in range(3)] == [401, 401, 429]
        bad, good = {"content": b"{"}, {"json": {"payment_id": "1", "meter": "17", "amount": "1"}}
        json = {"Content-Type": "application/json"}
        for _ in range(5):
            problem(member.post(f"{API}/payments", **bad, headers=json), 400, "malformed")
        problem(member.post(f"{API}/payments", **good), 429, "too_many_errors")
        assert site.client(ONE["payments"]).post(f"{API}/payments", **good).status_code == 201
        now[0] += 100
        assert member.post(f"{API}/payments", **good).status_code == 201


def test_refusals_of_the_business_cost_nothing(tmp_path: Path) -> None:
    with Site(tmp_path, budget=ErrorBudget(burst=3, refill_per_s=0.001)) as site:
        client = site.client()
        for number in range(10):
            body = {"payment_id": str(number), "meter": "999", "amount": "1"}
            problem(client.post(f"{API}/payments", json=body), 404, "unknown_meter")
        assert client.post(f"{API}/payments", json={**body, "meter": "17"}).status_code == 201


def test_the_budget_remembers_a_bounded_number_of_callers() -> None:
    budget = ErrorBudget(burst=2, refill_per_s=1.0, callers=3)
    for caller in "abcdef":
        assert budget.spend(caller, 0.0) is False
        assert budget.spend(caller, 0.0) is True
        assert budget.wait_s(caller, 0.0) == 2
        assert budget.wait_s(caller, 1.5) == 0
    assert budget.wait_s("a", 0.0) == 0, "forgotten, the oldest first"
    assert budget.wait_s("f", 0.0) == 2


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_the_server_stays_on_this_machine_unless_told_otherwise(host: str) -> None:
    with pytest.raises(Refused, match="http_beyond_loopback"):
        bind(host or "0.0.0.0", 0, beyond_loopback=False).close()
    bind("0.0.0.0", 0, beyond_loopback=True).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3"])
def test_loopback_addresses_will_do(host: str) -> None:
    made = bind(host, 0, beyond_loopback=False)
    assert made.proto == socket.IPPROTO_TCP, "asyncio turns Nagle's algorithm off for such alone: 40 ms an answer"
    made.close()


def test_an_address_that_cannot_be_used_is_named() -> None:
    taken = bind("127.0.0.1", 0, beyond_loopback=False)
    with pytest.raises(Refused, match="a port that is free"):
        bind("127.0.0.1", taken.getsockname()[1], beyond_loopback=False)
    taken.close()
    with pytest.raises(Refused, match="http_host: 'no such host' given"):
        bind("no such host", 0, beyond_loopback=False)


def test_a_server_that_stops_finishes_what_it_was_asked(tmp_path: Path) -> None:
    """`stop` lets the answer out that is under way, and takes no more."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        await go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    async def scene() -> tuple[bytes, str]:
        server = HttpServer(app, bind("127.0.0.1", 0, beyond_loopback=False))  # type: ignore[arg-type]
        await server.start()
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as client:
            answer = asyncio.create_task(client.get("/"))
            await asked.wait()
            stopping = asyncio.create_task(server.stop())
            await asyncio.sleep(0)
            go.set()
            body = (await answer).content
            await stopping
            try:
                await client.get("/")
            except httpx.ConnectError:
                return body, "closed"
        return body, "open"

    asked, go = asyncio.Event(), asyncio.Event()
    assert asyncio.run(scene()) == (b"done", "closed")


def test_the_page_takes_the_token_as_a_password(site: Site) -> None:
    answer = site.client(None).get("/")
    problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith('Basic realm="openprepay"')
    for user, token, status in (
        ("read-only", ONE["read"], 200),
        ("all", ALL, 200),
        ("payments-only", ONE["payments"], 403),
        ("someone", ONE["read"], 401),
        ("read-only", UNKNOWN, 401),
        ("read-only", "", 401),
    ):
        assert site.client(None, auth=(user, token)).get("/").status_code == status
    for broken in ("Basic", "Basic !!", "Basic " + base64.b64encode(b"\xff\xfe").decode(), f"Bearer {ONE['read']}"):
        assert site.client(None).get("/", headers={"Authorization": broken}).status_code == 401


def test_an_open_page_is_open_to_this_machine_alone(tmp_path: Path) -> None:
    """A foreign name that points here (DNS rebinding) does not open it; the API stays closed in any case."""
    with Site(tmp_path, page_without_token=True) as site:
        client, port = site.client(None), site.url.rpartition(":")[2]
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost", "[::1]", f"[::1]:{port}"):
            assert client.get("/", headers={"Host": host}).status_code == 200
        for host in (f"evil.example:{port}", "evil.example", f"127.0.0.1.evil.example:{port}", "[::2]", "x[::1]"):
            assert client.get("/", headers={"Host": host}).status_code == 401
        problem(client.get(f"{API}/meters"), 401, "unauthorized")


def test_an_open_page_knows_who_has_signed_in(tmp_path: Path) -> None:
    with Site(tmp_path, page_without_token=True) as site:
        add_person(site.store, "ann", ("viewer", ""))
        known = session_of(site.store, "ann", site.clock.now_s())
        host = {"Host": "localhost"}
        for headers, is_known in (
            ({"Cookie": f"openprepay-session={known}"}, True),
            ({"Cookie": "openprepay-session=another"}, False),
            ({}, False),
        ):
            page = site.client(None).get("/", headers=host | headers)
            assert page.status_code == 200 and ("/sign-out" in page.text and "ann" in page.text) == is_known


def test_every_answer_carries_the_protective_headers(site: Site) -> None:
    for path in (f"{API}/health", f"{API}/meters", "/nowhere", "/", f"{API}/openapi.json"):
        headers = site.client(None).get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers
