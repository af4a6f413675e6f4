"""The head end's web layer on a real server for tests: `with Site(tmp_path) as site: site.client().get("/api/v1/…")`.

A uvicorn in a thread of this process, on a database file. Every answer of the API that a test gets is checked against
the OpenAPI document: its status has to be listed there and its body has to fit the schema.
"""

import asyncio
import random
import re
import threading
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from openapi_schema_validator import OAS31Validator
from referencing import Registry, Resource

from headend.clock import ManualClock
from headend.engine import Engine
from headend.keys.keystore import KeyStore
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.ledger import channels
from headend.orders.actions import Action, Ask, Deliver
from headend.store import Store
from headend.web import openapi
from headend.web.access import ErrorBudget
from headend.web.app import build_app
from headend.web.desk import Desk
from headend.web.rates import RATES, Rate, Rates
from headend.web.server import HttpServer, bind
from meterlink import reports, topics
from tests.host import books
from tests.host.books import CURRENCY, LIMIT_UC, METER, NOW_S, open_books
from tests.host.peer import Peer
from tests.pki import NOBODY

API = "/api/v1"
ALL = "op_" + "a" * 43  # a token with every scope
ONE = {scope: f"op_{scope:_<43}" for scope in channels.SCOPES}  # one with each


class Site:
    """`clock`, `store`, `keys` and `desk` are at hand; `woken` counts how often the dispatcher was woken."""

    def __init__(
        self,
        folder: Path,
        meters: tuple[int, ...] = (METER,),
        budget: ErrorBudget | None = None,
        limits: Rates | None = None,
        currency: int = CURRENCY,
        **desk: Any,
    ) -> None:
        self.clock = ManualClock(NOW_S)
        self.keys = KeyStore.generate()
        self._folder = folder
        self.database = f"sqlite:///{folder}/site.sqlite" if books.database == "sqlite" else books.new_place()
        self.store: Store = open_books(self.database, meters, currency)
        for name, token in ONE.items():
            self._channel(f"{name}-only", token, (name,))
        self._channel("all", ALL, channels.SCOPES)
        self.woken = 0
        signer = Signer(self.keys, SignerLog(None), self.clock, Caps(10**15, token_day_wh=10**9, token_month_wh=10**9))
        self.desk = Desk(self.store, self.clock, currency, wake=self._wake, maker=signer)
        for field, value in desk.items():
            setattr(self.desk, field, value)
        self._budget = budget or ErrorBudget(burst=100_000)
        self._limits = limits or Rates(dict.fromkeys(RATES, Rate(10_000, 100_000)))
        entropy = random.Random(7).randbytes  # the same jitter in each run
        self._engine = Engine(self.store, self.keys, self.clock, entropy, signer=signer)
        self._peers: dict[int, Peer] = {}
        self._clients: list[httpx.Client] = []
        self._ready: Future[str] = Future()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None

    def _channel(self, name: str, token: str, scopes: tuple[str, ...]) -> None:
        self.store.write(channels.add_channel, NOW_S, name, token, scopes, LIMIT_UC).result()

    def stored(self) -> bytes:
        """All that stands in the database, as whoever has its files could read it."""
        files = b"".join(path.read_bytes() for path in self._folder.glob("site.sqlite*"))
        return files or repr(books.dump(self.store)).encode()

    def _wake(self) -> None:
        self.woken += 1

    async def _serve(self) -> None:
        server = HttpServer(build_app(self.desk, self._budget, self._limits), bind("127.0.0.1", 0, False))
        await server.start()
        self._ready.set_result(server.url)
        await self._stop.wait()
        await server.stop()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()
        self.url = self._ready.result(20)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Without `with`, a site serves nobody and has only this to be done."""
        for client in self._clients:
            client.close()
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(20)
        self.desk.close()
        self.store.close()
        self._loop.close()

    def client(self, token: str | None = ALL, **options: Any) -> httpx.Client:
        """A client with a token; its API answers are checked against the document."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        hooks = {"response": [check_answer]}
        usual = {"headers": headers, "event_hooks": hooks, "timeout": 60}
        client = httpx.Client(base_url=self.url, trust_env=False, verify=NOBODY, **(options or usual))
        self._clients.append(client)
        return client

    def peer(self, number: int = METER) -> Peer:
        """The meter `number`, present at its broker."""
        if number not in self._peers:
            self._peers[number] = Peer(self.keys, self.clock, number)
        return self._peers[number]

    def up(self, what: str, raw: bytes, number: int = METER) -> list[Action]:
        return self._engine.up(number, what, raw, "mqtt")

    def run(self, seconds: int, *silent: int) -> None:
        """Let time pass: meters hold what they are sent and answer what they are asked, but for those in `silent`."""
        for _ in range(seconds):
            self._carry(self._engine.due(self.clock.now_s()), silent)
            self.clock.advance(1)

    def _carry(self, todo: list[Action], silent: tuple[int, ...] = ()) -> None:
        while todo:
            action = todo.pop(0)
            self._engine.sent(action, True)
            if action.meter not in silent:
                todo += self._answer(action)

    def _answer(self, action: Action) -> list[Action]:
        peer = self.peer(action.meter)
        if isinstance(action, Deliver):
            stated = peer.hold(action.raw).stated
            if stated.aspect == 1:
                peer.totals[stated.selector] = int.from_bytes(stated.body[:8], "big")
        elif isinstance(action, Ask):
            return self.up(*peer.answer(action), action.meter)
        return []

    def born(self, number: int = METER) -> Peer:
        """The meter comes to its broker and says how it stands."""
        peer = self.peer(number)
        self._carry(self.up(topics.UP_STATE, peer.report(reports.KIND_BIRTH), number))
        return peer


@lru_cache(1)
def _document() -> tuple[dict[str, Any], Registry[Any], list[tuple[re.Pattern[str], str]]]:
    document = openapi.document()
    patterns = []
    for path in document["paths"]:
        part = r".+" if "payment_id" in path else "[^/]+"
        patterns.append((re.compile(re.sub(r"\{\w+\}", part, path)), path))
    patterns.sort(key=lambda one: "{" in one[1])
    registry: Registry[Any] = Registry().with_resource("urn:api", Resource.opaque(document))
    return document, registry, patterns


def check_answer(response: httpx.Response) -> None:
    """An answer has to be one that the document lists."""
    document, registry, patterns = _document()
    path = response.request.url.path
    template = next((template for pattern, template in patterns if pattern.fullmatch(path)), None)
    operation = document["paths"].get(template, {}).get(response.request.method.lower())
    if operation is None:
        return
    response.read()
    listed = operation["responses"].get(str(response.status_code))
    assert listed is not None, f"{response.request.method} {template}: {response.status_code} is not documented"
    kind = response.headers["content-type"]
    schema = listed["content"][kind]["schema"]
    reference = {"$ref": "urn:api" + schema["$ref"]}
    OAS31Validator(reference, registry=registry).validate(response.json())


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The body of a problem, after the checks that hold for each."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:openprepay:problem:{code}")
    assert body["detail"].endswith(".") and body["title"]
    return body


__all__ = ["ALL", "API", "ONE", "Site", "check_answer", "problem"]
