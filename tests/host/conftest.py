"""Fixtures that several files of this folder use."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.keys import sealed
from headend.keys.sealed import Work
from headend.store import Store, open_store
from tests import sqlite
from tests.host.keyplaces import KINDS, KeyPlace, configure
from tests.host.peer import Bench


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The path of SoftHSM's module, with tokens in a folder of this run."""
    before = os.environ.get("SOFTHSM2_CONF")
    yield configure(tmp_path_factory.mktemp("softhsm"))
    if before is None:
        del os.environ["SOFTHSM2_CONF"]


@pytest.fixture(params=["sqlite", "postgresql"])
def any_store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with today's tables and nothing in them, on each kind of server in turn."""
    if request.param == "sqlite":
        yield sqlite.place(tmp_path / "any.sqlite")
        return
    from tests import postgres

    url = postgres.server().database()
    yield url
    postgres.server().drop(url)


@pytest.fixture
def any_store(any_store_url: str) -> Iterator[Store]:
    """`any_store_url`, opened; writes run at once in the calling thread."""
    with open_store(any_store_url, inline=True) as store:
        yield store


@pytest.fixture
def bench(any_store_url: str) -> Iterator[Bench]:
    """A head end with one meter, on each kind of database in turn."""
    made = Bench(url=any_store_url)
    yield made
    made.close()


@pytest.fixture(params=KINDS)
def key_place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyPlace:
    """An empty place of each kind in turn."""
    return _place(request.param, request, tmp_path, monkeypatch)


@pytest.fixture
def token_place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyPlace:
    """An empty token."""
    return _place("hsm", request, tmp_path, monkeypatch)


def _place(kind: str, request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> KeyPlace:
    monkeypatch.setattr(sealed, "DEFAULT_WORK", Work(1 << 10, 8, 1))  # guesses at this passphrase may be cheap
    return KeyPlace(kind, folder, request.getfixturevalue("softhsm") if kind == "hsm" else "")
