"""Which bytes of a row are sealed, and how seals hang together. docs/books.md has it byte by byte.

A chain begins with SHA-256("openprepay chain 1:" + name of the chain + ":" + origin); each further hash is
SHA-256(the hash before it, 32 bytes + the row's bytes). A row's bytes are its columns in the order of `CHAINS`, each as
a netstring: length in decimal digits, ":", the value, ","; a whole number as decimal digits, text in UTF-8, no value as
"-,". So no two rows have the same bytes.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import Column, Table

from headend.store.schema import entry
from headend.store.schema_audit import audit

ENTRY = "entry"
AUDIT = "audit"


class Chain(NamedTuple):
    """What is chained: every column of `table`; `kind` names the rows for the sums, `amount` what is summed."""

    table: Table
    columns: tuple[Column[Any], ...]
    kind: int  # place in `columns`
    amount: int | None


CHAINS = {
    ENTRY: Chain(
        entry,
        (
            entry.c.id,
            entry.c.at_s,
            entry.c.kind,
            entry.c.debit,
            entry.c.credit,
            entry.c.amount_uc,
            entry.c.meter,
            entry.c.cause,
        ),
        kind=2,
        amount=5,
    ),
    AUDIT: Chain(
        audit,
        (audit.c.id, audit.c.at_s, audit.c.actor, audit.c.action, audit.c.subject, audit.c.detail),
        kind=3,
        amount=None,
    ),
}


def first(chain: str, origin: str) -> bytes:
    """The hash that a chain begins with."""
    return hashlib.sha256(f"openprepay chain 1:{chain}:{origin}".encode()).digest()


def row_bytes(row: Iterable[Any]) -> bytes:
    """The bytes of a row, its values in the order of the chain's columns."""
    return b"".join([b"-," if value is None else _netstring(str(value).encode()) for value in row])


def following(before: bytes, row: Iterable[Any]) -> bytes:
    """The hash of a row behind the hash `before`."""
    return hashlib.sha256(before + row_bytes(row)).digest()


def _netstring(raw: bytes) -> bytes:
    return b"%d:%b," % (len(raw), raw)
