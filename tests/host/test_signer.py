"""The signer: what it signs verifies on a meter, and what would mint or belongs to another database it refuses."""

import json
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, update

from headend.clock import ManualClock
from headend.keys.keystore import KeyName, KeyStore, NoSuchKey
from headend.keys.sealed import KeyFileError
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.ledger import payments
from headend.orders import signing, statements
from headend.refusals import Refused
from headend.store import Store
from headend.store.schema import database, order
from meterlink import bodies, ecdsa, reasons
from meterlink.orders import ASPECT_CREDIT, ASPECT_FIRMWARE, ASPECT_SUPPLY, ROLE_CONTROL, ROLE_CREDIT, Order
from tests.host.books import CHANNEL, METER, NOW_S, open_books

KEYS = KeyStore.generate().without_root()
CAP_UC = 10_000_000


@pytest.fixture
def store() -> Iterator[Store]:
    with open_books(meters=(METER, 18)) as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "signed.log"


def signer(log: SignerLog, keys: KeyStore = KEYS, cap_uc: int = CAP_UC) -> Signer:
    return Signer(keys, log, ManualClock(NOW_S), Caps(cap_uc))


def pay(store: Store, payment_id: str, amount_uc: int, meter: int = METER) -> Row[Any]:
    """A payment, and the row that states it."""
    answer = store.write(payments.take, NOW_S, CHANNEL, payment_id, meter, amount_uc).result()
    return next(row for row in waiting(store) if row.id == answer.order_id)


def waiting(store: Store) -> list[Row[Any]]:
    return store.read(signing.unsigned, NOW_S, 100)


def test_a_credit_order_verifies_as_a_meter_would(store: Store) -> None:
    row = pay(store, "p1", 5_000_000)
    made = Order(signer(SignerLog(None)).sign_statement(row))
    assert made.tag_is_genuine(KEYS.mac_key(METER, 1))
    assert not made.tag_is_genuine(KEYS.mac_key(18, 1))
    assert ecdsa.verify(KEYS.public_key(KeyName(ROLE_CREDIT, 1)), made.digest, made.signature)
    stated = made.stated
    assert (stated.aspect, stated.meter, stated.selector, stated.version) == (ASPECT_CREDIT, METER, 1, 0)
    assert (stated.account_epoch, stated.signing_epoch, stated.role) == (1, 1, ROLE_CREDIT)
    assert (stated.issued_s, stated.not_after_s, stated.body) == (NOW_S, 0, row.body)


def test_a_stop_is_signed_with_the_control_key(store: Store) -> None:
    store.write(statements.stop, NOW_S, METER, reasons.HOLD_ARREARS, "clerk").result()
    (row,) = waiting(store)
    made = Order(signer(SignerLog(None)).sign_statement(row))
    assert (made.stated.aspect, made.stated.role) == (ASPECT_SUPPLY, ROLE_CONTROL)
    assert ecdsa.verify(KEYS.public_key(KeyName(ROLE_CONTROL, 1)), made.digest, made.signature)
    assert not ecdsa.verify(KEYS.public_key(KeyName(ROLE_CREDIT, 1)), made.digest, made.signature)


def test_signing_again_gives_the_same_bytes_and_counts_once(store: Store, path: Path) -> None:
    row = pay(store, "p1", CAP_UC)
    log = SignerLog(path)
    first = signer(log).sign_statement(row)
    log.close()
    again = SignerLog(path)
    assert signer(again).sign_statement(row) == first
    assert again.totals == {(METER, 1, 1): CAP_UC}


def test_the_cap_holds_for_what_an_order_adds(store: Store) -> None:
    log = SignerLog(None)
    signs = signer(log)
    signs.sign_statement(pay(store, "p1", CAP_UC))
    signs.sign_statement(pay(store, "p2", CAP_UC))
    over = pay(store, "p3", CAP_UC + 1)
    with pytest.raises(Refused, match=rf"total_uc: {3 * CAP_UC + 1} given, at most {3 * CAP_UC} \(cap of one order\)"):
        signs.sign_statement(over)
    assert log.totals == {(METER, 1, 1): 2 * CAP_UC}


def test_a_refusal_stands_in_its_place_and_stops_nobody_else(store: Store) -> None:
    over, fits = pay(store, "p1", CAP_UC + 1), pay(store, "q1", CAP_UC, meter=18)
    made = signer(SignerLog(None)).sign_statements([over, fits, over])
    assert [type(one) for one in made] == [Refused, bytes, Refused]


def test_the_cap_rests_on_the_signers_own_log_not_on_the_database(store: Store, path: Path) -> None:
    log = SignerLog(path)
    signer(log).sign_statement(pay(store, "p1", CAP_UC))
    log.close()
    forged = pay(store, "p2", CAP_UC + 1)  # whatever else the database says was signed before
    with pytest.raises(Refused, match="cap of one order"):
        signer(SignerLog(path)).sign_statement(forged)


def test_a_total_that_the_body_does_not_state_is_refused(store: Store) -> None:
    pay(store, "p1", 1_000)
    rich = bodies.encode_credit(CAP_UC, 0, [])
    store.write(lambda conn: conn.execute(update(order).values(body=rich))).result()
    with pytest.raises(Refused, match=f"total_uc: 1000 given, {CAP_UC}, which the body states"):
        signer(SignerLog(None)).sign_statement(waiting(store)[0])


@pytest.mark.parametrize("body", [b"", bytes(16), bytes(138)])
def test_a_body_that_is_none_is_refused(store: Store, body: bytes) -> None:
    pay(store, "p1", 1_000)
    store.write(lambda conn: conn.execute(update(order).values(body=body))).result()
    with pytest.raises(Refused, match="body: "):
        signer(SignerLog(None)).sign_statement(waiting(store)[0])


def test_a_statement_that_cannot_be_encoded_is_refused(store: Store) -> None:
    store.write(statements.stop, NOW_S, METER, reasons.HOLD_ARREARS, "clerk").result()
    store.write(lambda conn: conn.execute(update(order).values(version=0))).result()
    with pytest.raises(Refused, match=r"a statement that can be encoded \(version: 0 given"):
        signer(SignerLog(None)).sign_statement(waiting(store)[0])


def test_another_databases_statements_are_refused(store: Store) -> None:
    row = pay(store, "p1", 1_000)
    restored = KeyStore.generate(signing_epoch=2, source=2).without_root()
    with pytest.raises(Refused, match="signing_epoch: 1 given, 2, the key store's"):
        signer(SignerLog(None), restored).sign_statement(row)


def test_the_database_row_is_compared_not_only_the_order(store: Store) -> None:
    pay(store, "p1", 1_000)
    store.write(lambda conn: conn.execute(update(database).values(signing_epoch=2))).result()
    with pytest.raises(Refused, match="signing_epoch: 2 given, 1, the key store's"):
        signer(SignerLog(None)).sign_statement(waiting(store)[0])


def test_another_source_is_refused(store: Store) -> None:
    row = pay(store, "p1", 1_000)
    with pytest.raises(Refused, match="source: 1 given, 2, the key store's"):
        signer(SignerLog(None), KeyStore.generate(source=2)).sign_statement(row)


def test_what_only_root_may_state_is_refused(store: Store) -> None:
    store.write(statements.stop, NOW_S, METER, reasons.HOLD_ARREARS, "clerk").result()
    store.write(lambda conn: conn.execute(update(order).values(aspect=ASPECT_FIRMWARE, selector=0))).result()
    with pytest.raises(NoSuchKey, match=r"key: \(1, 1\) given"):
        signer(SignerLog(None)).sign_statement(waiting(store)[0])
    store.write(lambda conn: conn.execute(update(order).values(aspect=99))).result()
    with pytest.raises(Refused, match="aspect: 99 given"):
        signer(SignerLog(None)).sign_statement(waiting(store)[0])


def test_the_log_says_what_was_signed_and_is_for_its_owner_alone(store: Store, path: Path) -> None:
    log = SignerLog(path)
    made = Order(signer(log).sign_statement(pay(store, "p1", 1_000)))
    (line,) = map(json.loads, path.read_text().splitlines())
    assert (line["meter"], line["total_uc"], line["digest"], line["at_s"]) == (METER, 1_000, made.digest.hex(), NOW_S)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_is_on_disk_before_the_signature_leaves(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, order_of_things = pay(store, "p1", 1_000), []
    real = os.fsync

    def sync(descriptor: int) -> None:
        order_of_things.append(path.read_bytes().count(b"\n"))
        real(descriptor)

    log = SignerLog(path)
    monkeypatch.setattr(os, "fsync", sync)
    signer(log).sign_statements([row, pay(store, "q1", 1_000, meter=18)])
    assert order_of_things == [2]  # both lines, one sync


@pytest.mark.parametrize("room", [0, 100])
def test_no_signature_leaves_when_the_log_cannot_be_written(store: Store, path: Path, room: int) -> None:
    """The file may not grow by more than `room` bytes: a real write fails, or ends in the middle of a line."""
    first, second = pay(store, "p1", 1_000), pay(store, "q1", 1_000, meter=18)
    log = SignerLog(path)
    signer(log).sign_statement(first)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, hard))
    try:
        with pytest.raises(KeyFileError, match="cannot be written"):
            signer(log).sign_statement(second)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(KeyFileError, match="started again"):
        signer(log).sign_statement(second)
    log.close()
    again = SignerLog(path)
    assert again.totals == {(METER, 1, 1): 1_000}
    signer(again).sign_statement(second)


def three_lines(store: Store, path: Path) -> list[bytes]:
    log = SignerLog(path)
    for number in range(3):
        signer(log).sign_statement(pay(store, f"p{number}", CAP_UC))
    log.close()
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("torn", [1, 40, -1])
def test_a_torn_last_line_is_a_signature_that_never_left(store: Store, path: Path, torn: int) -> None:
    first, second, third = three_lines(store, path)
    path.write_bytes(first + second + third[:torn])
    log = SignerLog(path)
    assert log.totals == {(METER, 1, 1): 2 * CAP_UC}
    assert path.read_bytes() == first + second
    (row,) = waiting(store)
    signer(log).sign_statement(row)
    log.close()
    assert path.read_bytes() == first + second + third  # the same statement, the same line
    assert SignerLog(path).totals == {(METER, 1, 1): 3 * CAP_UC}


@pytest.mark.parametrize(
    ("what", "line"),
    [("changed", 2), ("taken out", 2), ("swapped", 2), ("put in", 3), ("not JSON", 2), ("another object", 2)],
)
def test_a_log_that_was_changed_is_refused(store: Store, path: Path, what: str, line: int) -> None:
    first, second, third = three_lines(store, path)
    path.write_bytes(
        {
            "changed": first + second.replace(b'"total_uc":2', b'"total_uc":1') + third,
            "taken out": first + third,
            "swapped": first + third + second,
            "put in": first + second + second + third,
            "not JSON": first + b"xx\n" + third,
            "another object": first + b'{"chain":""}\n' + third,
        }[what]
    )
    with pytest.raises(KeyFileError, match=f"line {line}: "):
        SignerLog(path)


def test_one_signer_at_a_time_holds_the_log(path: Path) -> None:
    first = SignerLog(path)
    with pytest.raises(KeyFileError, match="held by another signer"):
        SignerLog(path)
    first.close()
    SignerLog(path).close()


@pytest.mark.parametrize("cap_uc", [0, -1, 2**63])
def test_a_cap_that_is_none_is_refused(cap_uc: int) -> None:
    with pytest.raises(Refused, match="max_increase_uc"):
        signer(SignerLog(None), cap_uc=cap_uc)
