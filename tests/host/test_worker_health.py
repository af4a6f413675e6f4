"""What a monitor on the machine asks a worker, and what the figures say of workers and their leases."""

import asyncio
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from headend.store import Store, sql
from headend.watch.metrics import CONTENT_TYPE, Metrics
from headend.workers import roles
from headend.workers.health import Health
from headend.workers.homes import BUS, SHARD
from headend.workers.tenure import Tenure
from headend.workers.turns import Patience
from tests.brokers import free_port
from tests.host.books import open_books
from tests.pki import NOBODY


class Watched:
    """A worker of which a test says what is wrong."""

    def __init__(self, store: Store) -> None:
        self.trouble: dict[str, str] = {}
        self.metrics = Metrics(store, self.troubles, dict)

    def troubles(self) -> dict[str, str]:
        return self.trouble


async def asked(path: str, watched: Watched, method: str = "GET") -> httpx.Response:
    async with Health(watched, free_port()) as health, httpx.AsyncClient(trust_env=False, verify=NOBODY) as client:
        return await client.request(method, health.url + path)


def test_health_and_readiness() -> None:
    watched = Watched(open_books())
    assert asyncio.run(asked("/health", watched)).json() == {"status": "ok"}
    assert asyncio.run(asked("/ready", watched)).json() == {"ready": True, "trouble": {}}
    watched.trouble["mqtt"] = "There is no connection."
    answer = asyncio.run(asked("/ready", watched))
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "trouble": watched.trouble}


def test_what_is_not_there_and_what_may_not_be_done() -> None:
    watched = Watched(open_books())
    assert asyncio.run(asked("/else", watched)).status_code == 404
    assert asyncio.run(asked("/health", watched, "POST")).status_code == 405


async def said(lines: bytes) -> bytes:
    """What is answered to bytes that are no request."""
    async with Health(Watched(open_books()), free_port()) as health:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(health.url.rpartition(":")[2]))
        writer.write(lines)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer


def test_what_is_no_request_is_let_go() -> None:
    assert asyncio.run(said(b"GET /health")) == b""
    assert asyncio.run(said(b"x" * 20_000 + b"\r\n\r\n")) == b""
    assert asyncio.run(said(b"\xff\xfe\r\n\r\n")).startswith(b"HTTP/1.1 405 ")


def figures(store: Store) -> dict[tuple[str, str], float]:
    answer = asyncio.run(asked("/metrics", Watched(store)))
    assert answer.headers["content-type"] == CONTENT_TYPE
    families: Any = text_string_to_metric_families(answer.text)
    return {(one.name, one.labels.get("kind", "")): one.value for family in families for one in family.samples}


def test_figures_tell_of_leases_that_nobody_holds(any_store: Store, monkeypatch: Any) -> None:
    now_s = [1_800_000_000]
    monkeypatch.setattr(sql, "now_s", lambda conn: now_s[0])
    assert figures(any_store)["openprepay_workers", ""] == 0
    one = Tenure(any_store, "one", {SHARD, BUS, roles.SIGN}, Patience())
    one.beat()
    found = figures(any_store)
    assert found["openprepay_workers", ""] == 1
    assert found["openprepay_leases", SHARD] == 64 and found["openprepay_leases_free", SHARD] == 0
    assert found["openprepay_leases", roles.ROLE] == 1
    now_s[0] += Patience().lease
    assert figures(any_store)["openprepay_leases_free", SHARD] == 64, "it is silent, and nobody else is there"
    one.beat()
    one.end()
    assert ("openprepay_leases_free", SHARD) not in figures(any_store), "no workers, no leases to miss"
