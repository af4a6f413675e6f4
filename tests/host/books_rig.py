"""Books with entries and an audit, sealed, and a head of them, for the tests of seals, heads and the verifier."""

import hashlib
import json
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from headend import audit
from headend.books import chain, export, heads, sealer, verifier
from headend.fleet.meters import add_meter
from headend.keys import heads as signatures
from headend.keys.keystore import KeyStore
from headend.ledger import accounts, channels, payments
from headend.ledger.entries import CONSUMPTION, post
from headend.store import Store, identity, prepared
from headend.store.schema import entry
from tests.host.books import CHANNEL, CURRENCY, LIMIT_UC, METER, NOW_S, SOURCE, TOKEN, record

audit.ACTIONS["test.done"] = ("did something", "操作")


def establish(store: Store, meters: tuple[int, ...] = (METER,)) -> None:
    """What `open_books` makes, in a store of any kind."""
    store.write(identity.establish, NOW_S, 1, SOURCE, CURRENCY).result()
    store.write(channels.add_channel, NOW_S, CHANNEL, TOKEN, ("payments",), LIMIT_UC).result()
    for meter in meters:
        store.write(add_meter, NOW_S, record(meter)).result()


def pay(store: Store, number: int, now_s: int = NOW_S) -> None:
    store.write(payments.take, now_s, CHANNEL, f"p{number}", METER, 1_000_000 + number).result()


def act(store: Store, number: int, now_s: int = NOW_S) -> None:
    """One row in the audit."""
    said = {"note": f"第{number}次", "number": number, "nothing": None}
    store.write(audit.record, now_s, "user:li.wei", "test.done", f"meter:{number}", said).result()


def charge(conn: Connection, now_s: int, amount_uc: int, cause: str) -> int:
    """An entry that no meter has anything to do with."""
    accounts.open_account(conn, accounts.INCOME_ENERGY)
    customer = accounts.of_meter(METER, 1)
    post(conn, now_s, CONSUMPTION, customer, accounts.INCOME_ENERGY, amount_uc, None, cause)
    prepared.flush(conn)
    return int(conn.execute(select(func.max(entry.c.id))).scalar_one())


def fill(store: Store, count: int = 4, now_s: int = NOW_S) -> None:
    """Some of everything: payments, an entry without a meter, acts."""
    for number in range(1, count + 1):
        pay(store, number, now_s)
        act(store, number, now_s)
    store.write(charge, now_s, 77, f"report:{now_s}").result()


def head_of(store: Store, keys: KeyStore, name: str = "first.head", now_s: int = NOW_S) -> verifier.Head:
    """Everything sealed, and a head of it that was read from its file."""
    sealer.seal_all(store, now_s, all_rows=True)
    draft = store.write(heads._draft, now_s, "2027-01-14").result()
    proof = heads._proof(signatures.sign(keys, hashlib.sha256(draft.head.encode()).digest()))
    row = type("Row", (), {"head": draft.head, "proof": proof})
    return verifier.read_head(name, heads.file_of(row))


def exported(store: Store) -> tuple[str, list[Any]]:
    """(origin, rows) as an export has them."""
    first, *lines = store.read(lambda conn: list(export.lines(conn)))
    return str(json.loads(first)["origin"]), list(verifier._lines("export", lines))


def verdict(store: Store, *found: verifier.Head) -> verifier.Verdict:
    """What the verifier says of an export."""
    return verifier.verify(*exported(store), found)


def verdict_of_file(path: Path, *found: verifier.Head) -> verifier.Verdict:
    """What the verifier says of a SQLite file."""
    return verifier.verify(*verifier.from_sqlite(str(path)), found)


COLUMNS = [(name, column.name) for name, one in chain.CHAINS.items() for column in one.columns]
