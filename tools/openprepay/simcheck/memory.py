"""Databases in memory: copies are made and put back in no time."""

import sqlite3
from functools import cache

from headend.store import Store, open_store


def copy(store: Store) -> sqlite3.Connection:
    """A copy of a database in memory, as it is now."""
    made = sqlite3.connect(":memory:", check_same_thread=False)
    _raw(store).backup(made)
    return made


def copy_of(kept: sqlite3.Connection) -> Store:
    """A database of its own with the content of a copy. The copy stays as it is."""
    store = Store("sqlite://", inline=True)
    kept.backup(_raw(store))
    return store


@cache
def empty() -> sqlite3.Connection:
    """A database that is up to date and empty; migrating takes as long as half a run."""
    with open_store("sqlite://") as store:
        return copy(store)


def _raw(store: Store) -> sqlite3.Connection:
    held = store.writes.raw_connection()
    try:
        raw = held.driver_connection
    finally:
        held.close()
    assert isinstance(raw, sqlite3.Connection)
    return raw


__all__ = ["copy", "copy_of", "empty"]
