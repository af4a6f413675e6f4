"""The database, SQLite or PostgreSQL: who writes, who reads, migrations, and the row lock of a meter.

`open_store(url)` brings the tables up to date and returns a `Store`. Domain code sees connections only: plain functions
`fn(conn, …)` are handed to `Store.write` or `Store.read`. `schema.py` holds every table.
"""

from headend.store.jobs import MONEY, ORDERS, READS, CommitFailed, Lane, OutcomeUnknown, Overloaded, StoreClosed
from headend.store.locks import UnknownMeter, lock_meter
from headend.store.store import Store, open_store

__all__ = [
    "MONEY",
    "ORDERS",
    "READS",
    "CommitFailed",
    "Lane",
    "OutcomeUnknown",
    "Overloaded",
    "Store",
    "StoreClosed",
    "UnknownMeter",
    "lock_meter",
    "open_store",
]
