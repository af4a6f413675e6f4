"""Closed sources, and orders found on meters: the signer states no total that was not signed or proved before."""

from pathlib import Path
from typing import Any

import pytest

from headend.clock import ManualClock
from headend.keys.keystore import KeyStore
from headend.keys.signer import FOREIGN, LOGGED, UNLOGGED, Signer, Stated
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.refusals import Refused
from meterlink import bodies, orders, reasons, stating
from meterlink.bodies_root import Recovered
from meterlink.orders import ASPECT_RECOVER, ASPECT_SUPPLY, ROLE_CREDIT
from tests.host.books import NOW_S
from tests.host.signer_rig import credit


class Case:
    """A database lived as epoch 1 with source 1 and sold 900 to meter 1; now it is epoch 2 with source 2."""

    def __init__(self) -> None:
        self.keys = KeyStore.generate()
        self.old_log = SignerLog(None)
        (self.sold,) = self.signer(self.old_log).sign([credit(1, 900)])
        self.keys.open_epoch()
        assert (self.keys.signing_epoch, self.keys.source, dict(self.keys.closed_sources)) == (2, 2, {1: 1})

    def signer(self, log: SignerLog, keys: KeyStore | None = None) -> Signer:
        return Signer(keys or self.keys, log, ManualClock(NOW_S), Caps(1000))


def closing(total_uc: int, **others: Any) -> Stated:
    """A statement that source 1, which is closed, ended with that total."""
    body = bodies.encode_credit(total_uc, 0, [], closed=True)
    return credit(1, total_uc, signing_epoch=2, database_epoch=2, body=body, **others)


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_closed_source_ends_at_most_where_the_log_saw_it(case: Case) -> None:
    signer = case.signer(case.old_log)
    over, whole, less = signer.sign([closing(901), closing(900), closing(0)])
    assert str(over) == "total_uc: 901 given, at most 900: source 1 is closed expected"
    assert isinstance(whole, bytes) and isinstance(less, bytes)
    assert case.old_log.books.day_uc == 900, "nothing was added"


def test_a_source_that_is_neither_ours_nor_closed_is_refused(case: Case) -> None:
    (made,) = case.signer(case.old_log).sign([credit(1, 1, selector=7, signing_epoch=2, database_epoch=2)])
    assert str(made) == "source: 7 given, 2, the key store's, or a closed one expected"


def test_where_the_log_was_lost_an_order_read_back_proves_the_total(case: Case, tmp_path: Path) -> None:
    log = SignerLog(tmp_path / "new")
    signer = case.signer(log)
    assert "at most 0" in str(signer.sign([closing(900)])[0])
    assert signer.accept_evidence(case.sold) == 900
    assert signer.accept_evidence(case.sold) == 900
    assert "at most 900" in str(signer.sign([closing(901)])[0])
    log.close()
    again = SignerLog(tmp_path / "new")
    assert isinstance(case.signer(again).sign([closing(900)])[0], bytes)
    assert again.books.day_uc == 0
    assert (tmp_path / "new").read_text().count('"kind":"evidence"') == 1


def test_the_evidence_may_come_with_the_statement(case: Case) -> None:
    signer = case.signer(SignerLog(None))
    made, over = signer.sign([closing(900, evidence_order=case.sold), closing(901, evidence_order=case.sold)])
    assert isinstance(made, bytes) and isinstance(over, Refused)


def test_a_recover_order_gives_a_closed_source_no_more_either(case: Case) -> None:
    def recover(total_uc: int) -> Stated:
        body = stating.recover(Recovered(bytes(8), 0, 0, 0, 0, 0, 0, ((1, total_uc, 0),)))
        return credit(1, 0, aspect=ASPECT_RECOVER, selector=0, version=1, body=body, signing_epoch=2, database_epoch=2)

    over, whole = case.signer(case.old_log).sign([recover(901), recover(900)])
    assert "at most 900: source 1 is closed" in str(over) and isinstance(whole, bytes)


def test_what_proves_nothing_is_refused(case: Case) -> None:
    """A changed order, another's key, a key that was retired, another aspect, another meter's, a source in use."""
    log = SignerLog(None)
    signer = case.signer(log)
    stranger = KeyStore.generate()
    (strange,) = case.signer(SignerLog(None), stranger).sign([credit(1, 900)])
    assert isinstance(strange, bytes) and isinstance(case.sold, bytes)
    statement = bytearray(case.sold[: orders.HEAD_LENGTH + 17])
    statement[orders.HEAD_LENGTH + 7] ^= 1
    hold = bodies.encode_supply(bodies.HOLD)
    about = {"aspect": ASPECT_SUPPLY, "selector": reasons.HOLD_ARREARS, "version": 1, "body": hold}
    new = {"signing_epoch": 2, "database_epoch": 2}
    stop, own = signer.sign([credit(1, 0, **about, **new), credit(1, 5, selector=2, **new)])
    for raw, sentence in (
        (bytes(statement) + case.sold[len(statement) :], "the signature of a credit key in force"),
        (strange, "the signature of a credit key in force"),
        (stop, "a credit order of a closed source"),
        (own, "a credit order of a closed source"),
        (case.sold[:-1], "an order"),
        (b"", "an order"),
    ):
        assert isinstance(raw, bytes)
        with pytest.raises(Refused, match=sentence):
            signer.accept_evidence(raw)
    assert log.totals == {(1, 1, 2): 5}
    case.keys.make_signing_key(ROLE_CREDIT)
    case.keys.retire(case.keys.names()[1])
    with pytest.raises(Refused, match="the signature of a credit key in force"):
        signer.accept_evidence(case.sold)


def test_an_order_of_ours_that_the_log_does_not_know_betrays_the_key(case: Case) -> None:
    """Somebody who has the credit key, and not the log, signs for a meter; the order is read back from there."""
    assert isinstance(case.sold, bytes)
    honest = case.signer(case.old_log)
    thief = case.signer(SignerLog(None))
    (forged,) = thief.sign([credit(1, 1000, selector=2, signing_epoch=2, database_epoch=2)])
    (foreign,) = case.signer(SignerLog(None), KeyStore.generate()).sign([credit(1, 5)])
    assert isinstance(forged, bytes) and isinstance(foreign, bytes)
    assert honest.judge_found(case.sold) == LOGGED
    assert honest.judge_found(forged) == UNLOGGED == "unlogged_signature"
    assert honest.judge_found(foreign) == FOREIGN
    assert honest.was_signed(orders.Order(case.sold).digest) and not honest.was_signed(orders.Order(forged).digest)
    with pytest.raises(Refused, match="digest: '0102' given, at least 8 bytes"):
        honest.was_signed(b"\1\2")


def test_the_signing_key_is_one_that_the_meter_holds(case: Case) -> None:
    """After a rotation the old key signs for meters of which it is not known that they have the new one."""
    case.keys.make_signing_key(ROLE_CREDIT)
    row = {"selector": 2, "signing_epoch": 2, "database_epoch": 2}
    made = case.signer(SignerLog(None)).sign([credit(1, 5, key_version=held, **row) for held in (None, 1, 2)])
    assert [orders.Order(raw).stated.key_version for raw in made if isinstance(raw, bytes)] == [1, 1, 2]
