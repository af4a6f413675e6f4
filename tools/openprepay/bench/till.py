"""Payments a second over HTTP into `openprepay serve`, on SQLite and on PostgreSQL, every caller signed in.

The head end and the client are processes of their own; keep-alive connections of channels with service tokens and of
cashiers in sessions post each its next payment as soon as the one before was answered, which is after its COMMIT is on
disk. Beside it, in the same run and in turn: bare commits of one row into the same kind of store, from as many
connections as the head end writes with, and the same client asking the same server for `/health`.
"""

import json
import os
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from meterlink import topics
from openprepay.bench import postgres
from openprepay.bench.figure import Figure, against
from openprepay.bench.scene import raw_sqlite
from openprepay.bench.serving import Served, serving

METERS = 256
CALLERS = 4  # channels, and as many cashiers
CONNECTIONS = 32
HEALTHY = 400  # questions in a round: a caller without a token may ask so often at once
LEAST = 2 * CONNECTIONS
RATE = 500  # payments a second that the design asks for …
BUDGET_MS = 100.0  # … and that 99 of 100 payments may take

Commit = Callable[[], object]


def run(seconds: float) -> Iterator[Figure]:
    """Rounds of some seconds on each store; the median of them."""
    stores = ["sqlite", "postgresql"] if postgres.programs() else ["sqlite"]
    for store in stores:
        folder = os.environ.get("TMPDIR", "/var/tmp")
        with tempfile.TemporaryDirectory(prefix="openprepay-bench-", dir=folder) as made:
            yield from _measure(store, Path(made), seconds / len(stores))


def _measure(name: str, folder: Path, seconds: float) -> Iterator[Figure]:
    with _database(name, folder) as (url, commits), serving(folder, url) as served:
        served.furnish(METERS, CALLERS)
        rounds = max(1, min(5, round(seconds / 4)))
        payments_s, bare_s, health_s, times_s, cpu_ms = [], [], [], [], []
        _ask(served, 0.5 if seconds else 0, LEAST, _payments(served))
        for _ in range(rounds):
            bare_s.append(commits(seconds / rounds / 4))
            told = _ask(served, 0, HEALTHY if seconds else 1, [_request(served, "GET", "/health")])
            health_s.append(len(told["times_s"]) / told["seconds"])
            before_s = served.cpu_s()
            told = _ask(served, seconds / rounds / 2, LEAST, _payments(served))
            cpu_ms.append(1000 * (served.cpu_s() - before_s) / len(told["times_s"]))
            if set(told["answers"]) != {"201"}:
                raise RuntimeError(f"payments were answered with {told['answers']}")
            payments_s.append(len(told["times_s"]) / told["seconds"])
            times_s.extend(told["times_s"])
    value = median(payments_s)
    bare = "bare commits of one row, from as many connections as the head end writes with"
    yield against(f"http_payments_{name}", value, "payments/s", bare, median(bare_s))
    healthy = "GET /health of the same server, asked by the same client"
    yield against(f"http_payments_{name}_health", value, "payments/s", healthy, median(health_s))
    enough = f"what {RATE} payments a second leave for each on one core"
    yield against(f"http_payments_{name}_cpu", median(cpu_ms), "ms", enough, 1000 / RATE)
    times_s.sort()
    p99_ms = 1000 * times_s[len(times_s) * 99 // 100]
    yield against(f"http_payments_{name}_p99", p99_ms, "ms", "what the design allows", BUDGET_MS)


def _payments(served: Served) -> list[str]:
    """A request of each caller for each meter, under ids that no other round has used."""
    once = secrets.token_hex(4)
    asked = []
    for place in range(METERS):
        body = {"payment_id": f"{once}-{{number}}", "meter": topics.meter_name(place + 1), "amount": "20.00"}
        asked.append(_request(served, "POST", "/payments", served.tokens[place % len(served.tokens)], body))
    return asked


def _request(served: Served, method: str, path: str, token: str = "", body: dict[str, Any] | None = None) -> str:
    """The bytes of a request as text, `{number}` in it as twelve digits."""
    text = json.dumps(body) if body else ""
    length = len(text.replace("{number}", 12 * "0"))
    head = [f"{method} /api/v1{path} HTTP/1.1", f"Host: {served.host}:{served.port}"]
    head += [f"Authorization: Bearer {token}"] * bool(token)
    head += ["Content-Type: application/json", f"Content-Length: {length}"] * bool(body)
    return "\r\n".join([*head, "", text])


def _ask(served: Served, seconds: float, least: int, requests: list[str]) -> dict[str, Any]:
    """What the client heard."""
    given = {"host": served.host, "port": served.port, "connections": CONNECTIONS, "seconds": seconds, "least": least}
    done = subprocess.run(
        [sys.executable, "-m", "openprepay.bench.till_client"],
        input=json.dumps({**given, "requests": requests}),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=seconds + 60,
    )
    if done.returncode:
        raise RuntimeError("the client failed")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@contextmanager
def _database(name: str, folder: Path) -> Iterator[tuple[str, Callable[[float], float]]]:
    """The URL of an empty database, and what measures bare commits a second into another one beside it."""
    if name == "sqlite":
        path = folder / "bare.sqlite"
        with closing(raw_sqlite(path)) as raw:
            raw.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, text TEXT)")
        yield f"sqlite:///{folder}/headend.sqlite", lambda seconds: _commits(seconds, 1, lambda: _in_sqlite(path))
        return
    import psycopg

    from headend.store.postgres import REACH

    with postgres.serving(folder) as url:
        plain = url.replace("+psycopg", "", 1)
        with psycopg.connect(plain) as conn:
            conn.execute("CREATE TABLE bare (id BIGSERIAL PRIMARY KEY, text TEXT)")

        @contextmanager
        def session() -> Iterator[Commit]:
            with psycopg.connect(plain, autocommit=True) as conn:
                yield lambda: conn.execute("INSERT INTO bare (text) VALUES ('x')")

        yield url, lambda seconds: _commits(seconds, len(REACH), session)


@contextmanager
def _in_sqlite(path: Path) -> Iterator[Commit]:
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as raw:
        raw.execute("PRAGMA synchronous=FULL")
        yield lambda: raw.execute("INSERT INTO bare (text) VALUES ('x')")


def _commits(seconds: float, connections: int, session: Callable[[], Any]) -> float:
    """Commits a second of so many connections, each in a thread."""
    counts: list[int] = []
    began = time.perf_counter()

    def work() -> None:
        done = 0
        with session() as commit:
            while done < LEAST or time.perf_counter() - began < seconds:
                commit()
                done += 1
        counts.append(done)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)
