"""`openprepay db` and what is beneath it: a copy while others write, its place, what it lacks, whether it is whole."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, make_url, select, text, update

from headend.books import sealer
from headend.clock import ManualClock
from headend.keys import cli as keys_cli
from headend.keys import passphrase, sealed
from headend.keys.keystore import KeyStore
from headend.keys.signer import Signer
from headend.keys.signer_log import SignerLog
from headend.ledger import payments
from headend.orders import signing
from headend.orders.policy import Policy
from headend.refusals import Refused
from headend.settings import BadSettings, Settings
from headend.store import Store, backup, checking, identity, open_store, retention
from headend.store import cli as db_cli
from headend.store.schema import entry, finding, meter_trust, order, order_history, outbox, payment, question
from tests import postgres
from tests.host.books import CHANNEL, METER, NOW_S, open_books

PASSPHRASE = "correct horse battery"


@pytest.fixture
def empty_place(any_store_url: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a place of the same kind as `any_store_url` where no database is."""
    if make_url(any_store_url).get_backend_name() == "sqlite":
        yield f"sqlite:///{tmp_path}/restored.sqlite"
        return
    url = postgres.server().empty()
    yield url
    postgres.server().drop(url)


def paid(conn: Connection) -> set[str]:
    return set(conn.execute(select(payment.c.payment_id)).scalars())


def problems(conn: Connection) -> list[str]:
    return list(checking.problems(conn))


def pay(store: Store, name: str) -> None:
    store.write(payments.take, NOW_S, CHANNEL, name, METER, 1_000).result()


def test_a_backup_during_writes_is_one_moment(any_store_url: str, empty_place: str, tmp_path: Path) -> None:
    copy, acknowledged, enough, stop = tmp_path / "copy", [], threading.Event(), threading.Event()
    with open_books(any_store_url) as store:

        def go_on() -> None:
            while not stop.is_set():
                pay(store, f"p{len(acknowledged)}")
                acknowledged.append(f"p{len(acknowledged)}")
                if len(acknowledged) == 10:
                    enough.set()

        payer = threading.Thread(target=go_on)
        payer.start()
        enough.wait()
        before = set(acknowledged)
        manifest = backup.make(store, any_store_url, copy, NOW_S)
        stop.set()
        payer.join()
    assert [path.stat().st_mode & 0o777 for path in (copy, backup.manifest_of(copy))] == [0o600, 0o600]
    assert backup.read(copy) == manifest
    backup.put(copy, manifest, empty_place)
    with open_store(empty_place, inline=True) as restored:
        kept = restored.read(paid)
        assert restored.read(problems) == []
        pay(restored, "later")
    assert before <= kept <= set(acknowledged)
    assert manifest.counts["payment"] == len(kept)


def test_what_is_no_backup_or_no_empty_place_is_refused(any_store_url: str, empty_place: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with open_books(any_store_url, inline=True) as store:
        manifest = backup.make(store, any_store_url, copy, NOW_S)
        with pytest.raises(Refused, match="nothing yet"):
            backup.make(store, any_store_url, copy, NOW_S)
    with pytest.raises(Refused, match="never overwritten"):
        backup.put(copy, manifest, any_store_url)
    other = "sqlite:///x.sqlite" if manifest.kind == "postgresql" else "postgresql+psycopg://h/x"
    with pytest.raises(Refused, match=f"a {manifest.kind} database"):
        backup.put(copy, manifest, other)
    raw = bytearray(copy.read_bytes())
    raw[len(raw) // 2] ^= 1
    copy.write_bytes(raw)
    with pytest.raises(Refused, match="digest"):
        backup.read(copy)
    backup.manifest_of(copy).unlink()
    with pytest.raises(Refused, match="manifest"):
        backup.read(copy)
    assert not Path(str(make_url(empty_place).database)).exists()


def test_a_database_is_put_back_with_an_epoch_of_its_own_and_what_it_lacks_is_told(
    any_store_url: str,
    empty_place: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sealed, "DEFAULT_WORK", sealed.Work(1 << 10, 8, 1))
    monkeypatch.setenv(passphrase.KEYSTORE, PASSPHRASE)
    monkeypatch.delenv("OPENPREPAY_CONFIG", raising=False)
    monkeypatch.setenv("OPENPREPAY_KEYSTORE", str(tmp_path / "head.keys"))
    monkeypatch.setenv("OPENPREPAY_DATABASE", any_store_url)
    log, copy = tmp_path / "signed", tmp_path / "copy"
    monkeypatch.setenv("OPENPREPAY_SIGNER_LOG", str(log))
    assert keys_cli.main(["init", "--root-key", str(tmp_path / "root.keys")]) == 0
    keys = KeyStore.load(tmp_path / "head.keys", PASSPHRASE)
    held = SignerLog(log)
    signer = Signer(keys, held, ManualClock(NOW_S), Settings().caps())

    def sign(store: Store) -> None:
        assert signing.sign_pending(store, signer, NOW_S, Policy()) == 1

    with open_books(any_store_url, inline=True) as store:
        pay(store, "kept")
        sign(store)
        assert db_cli.main(["backup", str(copy)]) == 0
        pay(store, "lost")
        sign(store)
    held.close()
    monkeypatch.setenv("OPENPREPAY_DATABASE", empty_place)
    capsys.readouterr()
    assert db_cli.main(["restore", str(copy)]) == 0
    said = capsys.readouterr().out
    assert "tells of 1 orders and tokens that the backup lacks" in said
    assert "000000000017  1 orders, 0.001 of credit" in said
    assert "Signing epoch 2 and credit source 2 are open; 1 meters are to be read back." in said
    with open_store(empty_place, inline=True) as store:
        assert store.read(paid) == {"kept"}
        assert tuple(store.read(identity.get))[1:3] == (2, 2)
        assert store.read(lambda conn: conn.execute(select(meter_trust.c.readback_source)).scalar_one()) == 1
    assert KeyStore.load(tmp_path / "head.keys", PASSPHRASE).signing_epoch == 2
    assert db_cli.main(["restore", str(copy)]) == 1
    assert "never overwritten" in capsys.readouterr().err
    assert db_cli.main(["check"]) == 0


UNGUARDED = {"sqlite": "DROP TRIGGER {0}", "postgresql": "DROP TRIGGER {0} ON {1}"}


def unguarded(conn: Connection, guard: str, table: str) -> None:
    """What somebody does who has the database's own password."""
    conn.execute(text(UNGUARDED[conn.dialect.name].format(guard, table)))


def lose_outbox(conn: Connection) -> None:
    conn.execute(delete(outbox))


def change_amount(conn: Connection) -> None:
    unguarded(conn, "entry_update", "entry")
    conn.execute(update(entry).values(amount_uc=999))


def delete_entry(conn: Connection) -> None:
    unguarded(conn, "entry_delete", "entry")
    conn.execute(delete(entry))


def two_unsent(conn: Connection) -> None:
    conn.execute(text("DROP INDEX uq_order_unsent"))
    row = conn.execute(select(order).where(order.c.state == "queued")).one()
    again = {**row._mapping, "id": row.id + 1}
    conn.execute(insert(order).values(again))
    conn.execute(insert(outbox).values(order_id=row.id + 1, meter=row.meter, next_s=0))


DAMAGE: dict[str, tuple[Any, tuple[str, ...]]] = {
    "an order without attention": (lose_outbox, ("has no row in the outbox",)),
    "an amount": (change_amount, ("no entry of that amount", "chain of entry breaks at seal 1: row")),
    "a lost entry": (delete_entry, ("no entry of that amount", "chain of entry breaks at seal 1: its row")),
    "two unsent orders": (two_unsent, ("Meter 17 has 2 unsent orders",)),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_wrong_is_said(any_store_url: str, what: str) -> None:
    damage, expected = DAMAGE[what]
    with open_books(any_store_url, inline=True) as store:
        pay(store, "p1")
        sealer.seal_all(store, NOW_S)
        assert store.read(problems) == []
        store.write(damage).result()
        said = store.read(problems)
    assert len(said) == len(expected)
    assert all(words in sentence for words, sentence in zip(expected, said, strict=True))


def test_pages_that_decayed_are_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/books.sqlite"
    with open_books(url, inline=True) as store:
        for number in range(50):
            pay(store, f"p{number}")
        pages = "SELECT rootpage FROM sqlite_master WHERE name = 'ix_entry_debit'"
        page = store.read(lambda conn: conn.execute(text(pages)).scalar_one())
        size = store.read(lambda conn: conn.execute(text("PRAGMA page_size")).scalar_one())
    with (tmp_path / "books.sqlite").open("r+b") as file:
        file.seek((page - 1) * size + size - 20)
        file.write(b"\xff" * 10)
    with Store(url, inline=True) as store:
        assert any("malformed" in sentence or "damage" in sentence for sentence in store.read(problems))


# --- retention --------------------------------------------------------------------------------------------------------


def test_what_is_old_goes_and_money_and_orders_stay(any_store_url: str) -> None:
    day_s = retention.DAY_S
    with open_books(any_store_url, inline=True) as store:
        pay(store, "p1")

        def fill(conn: Connection) -> None:
            one = {"meter": METER, "kind": 1, "aspect": 1, "selector": 0, "first": 0, "count": 0}
            order_id = conn.execute(select(order.c.id)).scalar_one()
            for age in (29, 31, 200):
                at_s = NOW_S - age * day_s
                conn.execute(insert(question).values(**one, nonce=bytes([age] * 8), asked_s=at_s))
                note = {"order_id": order_id, "at_s": at_s, "state": "sent"}
                conn.execute(insert(order_history).values(**note, event="carrier"))
                conn.execute(insert(order_history).values(**note, event="send"))
            for settled_s in (None, NOW_S - 1000 * day_s):
                conn.execute(
                    insert(finding).values(
                        meter=METER, kind="x", note="", found_s=NOW_S - 2000 * day_s, settled_s=settled_s
                    )
                )

        def counts(conn: Connection) -> list[int]:
            tables = question, order_history, finding, entry, payment, order
            return [len(conn.execute(select(table)).all()) for table in tables]

        store.write(fill).result()
        before = store.read(counts)
        for_ever = retention.days("questions=0 carrier_notes=0 findings=0")
        assert not retention.prune_some(store, NOW_S, for_ever)
        assert store.read(counts) == before
        assert store.write(retention.prune, NOW_S, retention.days(""), 1).result()["questions"] == 1
        assert not retention.prune_some(store, NOW_S, retention.days(""))
        after = store.read(counts)
    assert [b - a for b, a in zip(before, after, strict=True)] == [2, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("value", ["questions", "questions=x", "questions=-1", "carrier_notes=6", "entries=5"])
def test_a_retention_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(BadSettings, match="RETENTION"):
        Settings.load(None, {"OPENPREPAY_RETENTION": value})
    assert Settings.load(None, {"OPENPREPAY_RETENTION": "questions=14 findings=0"}).retention


def test_pruning_by_hand_says_what_went(
    any_store_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENPREPAY_DATABASE", any_store_url)
    assert db_cli.main(["prune"]) == 0
    assert "questions               0 deleted, kept 30 days" in capsys.readouterr().out
