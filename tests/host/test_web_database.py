"""What a till is told while the database fails under it: the connection breaks at the COMMIT, or nothing is written."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import event, func, select

from headend.access import service_tokens
from headend.store import Store
from headend.store.schema import entry, payment
from tests import postgres
from tests.host import books
from tests.host.site import API, Site, problem
from tests.proxies import Proxy

PAID = {"payment_id": "1", "meter": "17", "amount": "25.00"}


def pay(site: Site) -> httpx.Response:
    return site.client().post(f"{API}/payments", json=PAID)


def booked(store: Store) -> tuple[int, int]:
    """Payments, and entries of payments."""
    counts = select(func.count()).select_from(payment), select(func.count()).select_from(entry)
    made = store.read(lambda conn: [conn.execute(count).scalar_one() for count in counts])
    return made[0], made[1]


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    """One of this test's own, which is stopped and started."""
    made = postgres.Server()
    yield made
    made.remove()


@pytest.fixture
def on_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(books, "database", "postgresql")
    with Site(tmp_path) as site:
        yield site


@pytest.mark.parametrize("answered", [False, True], ids=["before it arrives", "behind it"])
@pytest.mark.parametrize("key", [None, "k-1"])
def test_a_connection_that_breaks_at_the_commit(on_postgresql: Site, answered: bool, key: str | None) -> None:
    site, direct = on_postgresql, on_postgresql.store
    url = urlsplit(site.database)
    folder = parse_qs(url.query)["host"][0]
    headers = {"Idempotency-Key": key} if key else {}
    with Proxy(f"{folder}/.s.PGSQL.5432", 0) as proxy:
        through = f"{url.scheme}://{url.username}@127.0.0.1:{proxy.port}{url.path}"
        with Store(through) as store:
            store.write(service_tokens.used, books.NOW_S, "all").result()  # else that is noted at any time
            site.desk.store = store
            first = {name: f"{value}-first" for name, value in headers.items()}
            made = site.client().post(f"{API}/payments", json={**PAID, "payment_id": "0"}, headers=first)
            assert made.status_code == 201  # there are connections now
            proxy.cut_at(b"COMMIT\0", behind=b"READ WRITE", answered=answered)
            lost = site.client().post(f"{API}/payments", json=PAID, headers=headers)
            assert "detail" in problem(lost, 503, "outcome_unknown") and lost.headers["retry-after"]
            assert booked(direct) == (1 + answered, 1 + answered)
            again = site.client().post(f"{API}/payments", json=PAID, headers=headers)
            assert again.status_code == (200 if answered and key is None else 201)
            assert again.json()["payment_id"] == "1"
            assert booked(direct) == (2, 2)
            site.desk.store = direct


def test_while_the_database_is_away_and_while_it_cannot_be_written(
    server: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "new_place", server.database)
    monkeypatch.setattr(books, "database", "postgresql")
    standby = server.data / "standby.signal"
    with Site(tmp_path) as site:
        ready = f"{API}/ready"
        assert site.client().get(ready).json() == {"ready": True, "trouble": {}}
        assert site.client().get(f"{API}/meters/17").status_code == 200  # who asks is known from here on

        server.stop()
        problem(pay(site), 503, "not_stored")
        problem(site.client().get(f"{API}/meters/17"), 503, "no_database")
        told = site.client().get(ready)
        assert told.status_code == 503 and "does not answer" in told.json()["trouble"]["database"]

        standby.touch()  # it comes back as one that follows another server, as behind a failover
        shutil.chown(standby, *_owner(server.data))
        server.start()
        problem(pay(site), 503, "not_stored")
        assert site.client().get(f"{API}/meters/17").status_code == 200
        told = site.client().get(ready)
        assert told.status_code == 503 and "written" in told.json()["trouble"]["database"]

        server.stop()
        standby.unlink()
        server.start()
        assert pay(site).status_code == 201 and booked(site.store) == (1, 1)
        assert site.client().get(ready).status_code == 200


def test_a_database_that_is_read_only_by_default_is_written_all_the_same(on_postgresql: Site) -> None:
    server = postgres.server()
    server.set("default_transaction_read_only", "on")
    try:
        assert pay(on_postgresql).status_code == 201
    finally:
        server.set("default_transaction_read_only", None)


def test_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "site.sqlite"

    def read_only(*_: Any) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)

    monkeypatch.setattr(books, "database", "sqlite")
    with Site(tmp_path) as site:
        writes = site.store.writes
        event.listen(writes, "do_connect", read_only)
        writes.dispose()
        problem(pay(site), 503, "no_database")
        assert site.client().get(f"{API}/meters/17").status_code == 200
        told = site.client().get(f"{API}/ready")
        assert told.status_code == 503 and "written" in told.json()["trouble"]["database"]
        event.remove(writes, "do_connect", read_only)
        writes.dispose()
        assert pay(site).status_code == 201 and booked(site.store) == (1, 1)


def _owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid
