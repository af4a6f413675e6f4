"""What a person does about epochs: keys in one place, the database in another, and a file carried between them."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from headend import cli as headend_cli
from headend.epochs import findings, life
from headend.keys import cli as keys_cli
from headend.keys import passphrase, sealed
from headend.keys.keystore import KeyStore
from headend.ledger import payments
from headend.store import Store, identity, open_store
from headend.store.schema import meter_trust, order, presigned
from meterlink.orders import ASPECT_EPOCH, ASPECT_RETIRE, Order
from tests.host.books import CHANNEL, METER, NOW_S, open_books

PASSPHRASE = "correct horse battery"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(sealed, "DEFAULT_WORK", sealed.Work(1 << 10, 8, 1))
    monkeypatch.setenv(passphrase.KEYSTORE, PASSPHRASE)
    monkeypatch.delenv(passphrase.ROOT, raising=False)
    monkeypatch.delenv("OPENPREPAY_CONFIG", raising=False)
    monkeypatch.setenv("OPENPREPAY_KEYSTORE", str(tmp_path / "head.keys"))
    monkeypatch.setenv("OPENPREPAY_DATABASE", f"sqlite:///{tmp_path}/books.sqlite")

    def made(program: str, *words: object) -> tuple[int, str, str]:
        main = {"keys": keys_cli.main, "admin": headend_cli.admin}[program]
        code = main([str(word) for word in words])
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    assert made("keys", "init", "--root-key", tmp_path / "root.keys")[0] == 0
    open_books(f"sqlite:///{tmp_path}/books.sqlite", inline=True).close()
    return made


@pytest.fixture
def books(tmp_path: Path) -> Callable[[], Store]:
    return lambda: open_store(f"sqlite:///{tmp_path}/books.sqlite", inline=True)


def presign(run: Run, tmp_path: Path, *more: object) -> tuple[int, str, str]:
    assert run("admin", "presigned", "list", tmp_path / "meters.csv")[0] == 0
    files = "--meters", tmp_path / "meters.csv", "--root-key", tmp_path / "root.keys", "--out", tmp_path / "signed.json"
    return run("keys", "epoch", "presign", *files, *more)


def test_accounts_signed_in_advance_open_without_a_ceremony(
    run: Run, books: Callable[[], Store], tmp_path: Path
) -> None:
    code, out, _ = presign(run, tmp_path, "--count", 2)
    assert code == 0 and "5 orders for 1 meters" in out
    code, out, _ = run("admin", "presigned", "import", tmp_path / "signed.json")
    assert (code, out.split(": ")[1]) == (0, "5 taken, 0 there already, 0 refused.\n")
    assert run("admin", "presigned", "import", tmp_path / "signed.json")[1].endswith(
        "0 taken, 5 there already, 0 refused.\n"
    )
    with books() as store:
        order_id = store.write(life.open_epoch, NOW_S, METER, life.TENANT, "operator:ann").result()
        row = store.read(lambda conn: conn.execute(select(order).where(order.c.id == order_id)).one())
        stated = Order(row.signed).stated
        assert (stated.aspect, stated.account_epoch, row.digest) == (ASPECT_EPOCH, 2, Order(row.signed).digest[:8])
        keys = KeyStore.load(tmp_path / "head.keys", PASSPHRASE)
        assert Order(row.signed).tag_is_genuine(keys.mac_key(METER, 1))
        last = store.write(life.retire, NOW_S, METER, "operator:ann").result()
        row = store.read(lambda conn: conn.execute(select(order).where(order.c.id == last)).one())
        assert (Order(row.signed).stated.aspect, Order(row.signed).stated.account_epoch) == (ASPECT_RETIRE, 2)
        used = store.read(lambda conn: conn.execute(select(presigned).where(presigned.c.order_id.is_not(None))).all())
        assert {row.order_id for row in used} == {order_id, last}


def test_holds_that_are_to_stay_wait_for_a_ceremony(run: Run, books: Callable[[], Store], tmp_path: Path) -> None:
    presign(run, tmp_path)
    run("admin", "presigned", "import", tmp_path / "signed.json")
    with books() as store:

        def keep(conn: object) -> int:
            return life.open_epoch(conn, NOW_S, METER, life.REPAIRED, "operator:ann", kept_holds=1 << 4)  # type: ignore[arg-type]

        order_id = store.write(keep).result()
        row = store.read(lambda conn: conn.execute(select(order).where(order.c.id == order_id)).one())
        assert row.signed is None
    code, out, _ = run("admin", "root-orders", "export", tmp_path / "ceremony.json")
    assert code == 0 and "1 statements" in out


def test_what_is_not_the_root_keys_is_refused(run: Run, books: Callable[[], Store], tmp_path: Path) -> None:
    presign(run, tmp_path)
    forged = (tmp_path / "signed.json").read_text().replace('"signature": "', '"signature": "00', 1)
    start = forged.index('"signature": "') + len('"signature": "')
    (tmp_path / "signed.json").write_text(forged[: start + 128] + forged[start + 130 :])
    code, out, err = run("admin", "presigned", "import", tmp_path / "signed.json")
    assert code == 1 and "8 taken" in out and "1 refused" in out
    assert "signature for meter 17" in err and "that of a root key in force" in err


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "meters: "),
        ([["x", "1", "1"]], "meter in line 2: 'x' given, 1..99999999999999 expected"),
        ([["17", "0", "1"]], "account_epoch in line 2: '0' given"),
        ([["17", "1", "1"], ["18", "1", "256"]], "tag_key_version in line 3: '256' given"),
        ([["17", "1"]], "tag_key_version in line 2: None given"),
    ],
)
def test_a_list_that_cannot_be_used_is_named_by_line_and_column(
    run: Run, tmp_path: Path, lines: list[list[str]], sentence: str
) -> None:
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["meter", "account_epoch", "tag_key_version"], *lines])
    files = "--meters", tmp_path / "list.csv", "--root-key", tmp_path / "root.keys", "--out", tmp_path / "signed.json"
    code, _, err = run("keys", "epoch", "presign", *files)
    assert code == 1 and sentence in err
    assert not (tmp_path / "signed.json").exists()


def test_a_database_follows_its_key_store(run: Run, books: Callable[[], Store], tmp_path: Path) -> None:
    assert "Nothing to take over" in run("admin", "adopt-epoch")[1]
    assert run("keys", "epoch", "open")[0] == 0
    code, out, _ = run("admin", "adopt-epoch", "--why", "the disk died")
    assert code == 0 and "Signing epoch 2, credit source 2.\n1 meters are to be read back." in out
    with books() as store:
        standing = store.read(identity.get)
        assert (standing.signing_epoch, standing.source) == (2, 2)
        waiting = store.read(lambda conn: conn.execute(select(meter_trust.c.readback_source)).scalars().all())
        assert waiting == [1]
        taken = store.write(payments.take, NOW_S, CHANNEL, "p1", METER, 1_000).result()
        assert taken.order_id is None


def test_findings_are_listed_and_put_away(run: Run, books: Callable[[], Store], tmp_path: Path) -> None:
    with books() as store:
        store.write(findings.note, NOW_S, METER, findings.UNLOGGED, "Source 1 has stated 5.", 5).result()
    out = run("admin", "findings")[1]
    assert "000000000017  unlogged_credit: Source 1 has stated 5." in out
    number = out.split()[0]
    assert run("admin", "findings", "--settle", number) == (0, "", "")
    assert "the id of a finding that stands" in run("admin", "findings", "--settle", number)[2]
