"""Typed tokens that a restored database has lost: each payment that is posted again is the token that was made for it.

The database is a copy of its file that is put back; the signer and its log, and the firmware that types, stay.
"""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row

from headend.engine import Engine
from headend.epochs import adopt, findings
from headend.keys.signer import Signer
from headend.keys.signer_log import SignerLog
from headend.ledger import accounts, balances, payments
from headend.ledger.channels import add_channel
from headend.store import open_store
from headend.tokens import book, helping, making, vending
from meterlink.sts import results
from tests.host.books import CHANNEL, METER
from tests.host.token_rig import CAPS, KWH_UC, TokenPair


class Utility(TokenPair):
    """`backup` and `restore` as an operator does them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.copies = folder, 0
        super().__init__(url=self.url())
        self.log = SignerLog(folder / "signed")
        self.signer = Signer(self.keys, self.log, self.clock, CAPS)
        self.work()

    def url(self) -> str:
        return f"sqlite:///{self.file()}"

    def file(self) -> Path:
        return self.folder / f"books-{self.copies}.sqlite"

    def work(self) -> None:
        self.engine = Engine(self.store, self.keys, self.clock, self.noise, signer=self.signer)

    def backup(self) -> Path:
        self.store.close()
        copy = self.folder / f"backup-{self.copies}.sqlite"
        shutil.copy(self.file(), copy)
        self.store = open_store(self.url())
        self.work()
        return copy

    def put_back(self, copy: Path) -> None:
        """The copy stands where the database was; nobody has adopted an epoch yet."""
        self.store.close()
        self.copies += 1
        shutil.copy(copy, self.file())
        self.store = open_store(self.url())
        self.keys.open_epoch()
        self.work()

    def adopt(self) -> None:
        keys = self.keys
        self.write(adopt.adopt, keys.signing_epoch, keys.source, keys.closed_sources, "restored")

    def restore(self, copy: Path) -> None:
        self.put_back(copy)
        self.adopt()

    def again(self, payment_id: str, amount_uc: int) -> Any:
        return self.vend(payment_id, amount_uc, again=True)

    def lost(self) -> list[str]:
        rows = self.store.read(findings.standing)
        return [row.note for row in rows if row.kind == findings.TOKEN_LOST]

    def kinds(self) -> set[str]:
        return {row.kind for row in self.store.read(findings.standing)}

    def balance(self, account: str) -> int:
        return self.store.read(balances.balance_uc, account)

    def tell(self) -> None:
        """The meter's log and its newest report reach the head end."""
        self.run(1500)

    def check(self, typed_uc: int, paid_uc: int) -> None:
        """The meter has what was typed, the channel owes what was paid, and each unit is explained."""
        self.until(self.settled, 4000)
        self.tell()
        assert self.unit.meter.account.balance_uc() == typed_uc
        assert self.balance(accounts.of_channel(CHANNEL)) == -paid_uc
        assert self.explained().source_shown and self.explained().difference_uc == 0, self.explained()
        assert findings.TOKEN_UNVENDED not in self.kinds()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Utility]:
    made = Utility(tmp_path)
    yield made
    made.store.close()
    made.log.close()


def test_a_payment_posted_again_is_the_token_on_the_slip(pair: Utility) -> None:
    pair.vend("a", KWH_UC)
    copy = pair.backup()
    slip = pair.vend("b", 5 * KWH_UC)
    lines = (pair.folder / "signed").read_bytes()
    pair.restore(copy)
    again = pair.again("b", 5 * KWH_UC)
    assert (again.digits, again.tid, again.state) == (slip.digits, slip.tid, book.VENDED)
    assert (pair.folder / "signed").read_bytes() == lines, "nothing new was made"
    assert pair.again("b", 5 * KWH_UC).digits == slip.digits
    assert pair.type(slip.digits) == results.ACCEPTED
    assert pair.type(again.digits) == results.USED
    pair.check(typed_uc=5 * KWH_UC, paid_uc=6 * KWH_UC)
    assert pair.token_state(again.id) == book.USED
    assert pair.lost() == []


@pytest.mark.parametrize("amount_uc", [4 * KWH_UC, 6 * KWH_UC])
def test_a_payment_of_another_amount_is_another_token(pair: Utility, amount_uc: int) -> None:
    copy = pair.backup()
    slip = pair.vend("b", 5 * KWH_UC)
    pair.restore(copy)
    other = pair.again("c", amount_uc)
    assert other.tid > slip.tid
    assert [pair.type(one.digits) for one in (slip, other)] == [results.ACCEPTED] * 2
    assert pair.again("b", 5 * KWH_UC).digits == slip.digits
    pair.check(typed_uc=5 * KWH_UC + amount_uc, paid_uc=5 * KWH_UC + amount_uc)


def test_two_lost_tokens_of_one_worth_are_two_payments(pair: Utility) -> None:
    copy = pair.backup()
    slips = [pair.vend(name, 5 * KWH_UC).digits for name in ("b", "c")]
    pair.restore(copy)
    ids = [pair.reserve(name, 5 * KWH_UC, again=True).id for name in ("c", "b")]
    rows = making.make_many(pair.store, pair.signer, pair.clock.now_s(), ids)
    assert sorted(row.digits for row in rows) == sorted(slips)
    third = pair.again("d", 5 * KWH_UC)
    assert third.digits not in slips
    assert [pair.type(digits) for digits in (*slips, third.digits)] == [results.ACCEPTED] * 3
    pair.check(typed_uc=15 * KWH_UC, paid_uc=15 * KWH_UC)


def test_a_new_sale_never_gets_the_digits_of_a_lost_one(pair: Utility) -> None:
    """Not posted again, and for all that the database can tell the very same: meter, minute, worth, even the row."""
    copy = pair.backup()
    slip = pair.vend("b", 5 * KWH_UC)
    pair.restore(copy)
    new = pair.vend("x", 5 * KWH_UC)
    assert new.id == slip.id and new.digits != slip.digits
    assert pair.again("b", 5 * KWH_UC).digits == slip.digits
    assert [pair.type(one.digits) for one in (new, slip)] == [results.ACCEPTED] * 2
    pair.check(typed_uc=10 * KWH_UC, paid_uc=10 * KWH_UC)


def test_typed_before_it_is_posted_again(pair: Utility) -> None:
    copy = pair.backup()
    slip = pair.vend("b", 5 * KWH_UC)
    pair.restore(copy)
    assert pair.type(slip.digits) == results.ACCEPTED
    pair.tell()
    assert pair.balance(accounts.RECOVERED) == -5 * KWH_UC, "whoever took the money still owes it"
    pair.check(typed_uc=5 * KWH_UC, paid_uc=0)
    assert len(pair.lost()) == 1
    again = pair.again("b", 5 * KWH_UC)
    assert (again.digits, again.state) == (slip.digits, book.USED)
    assert pair.store.read(payments.get, CHANNEL, "b").on_meter_s == again.used_s is not None
    assert pair.balance(accounts.RECOVERED) == 0
    pair.check(typed_uc=5 * KWH_UC, paid_uc=5 * KWH_UC)
    assert pair.lost() == []


def test_typed_and_told_before_the_signer_could_be_asked(pair: Utility) -> None:
    copy = pair.backup()
    slip = pair.vend("b", 5 * KWH_UC)
    pair.type(slip.digits)
    pair.put_back(copy)
    pair.engine = Engine(pair.store, pair.keys, pair.clock, pair.noise)
    pair.adopt()
    pair.tell()
    assert findings.TOKEN_UNVENDED in pair.kinds()
    pair.work()
    pair.run(30)
    assert len(pair.lost()) == 1
    assert findings.TOKEN_UNVENDED not in pair.kinds()
    assert pair.again("b", 5 * KWH_UC).state == book.USED
    pair.check(typed_uc=5 * KWH_UC, paid_uc=5 * KWH_UC)


def test_what_nobody_posts_again_is_told(pair: Utility) -> None:
    copy = pair.backup()
    slip = pair.vend("b", 5 * KWH_UC)
    pair.write(helping.engineering_token, CHANNEL, "e", METER, "clear_tamper", 0, "opened for repair")
    pair.run(10)
    pair.restore(copy)
    pair.run(10)
    told = [f"TID {slip.tid}, 5.0 kWh", f"TID {slip.tid + 1}, class 2, subclass 5"]
    assert [note.partition(", made")[0] for note in pair.lost()] == told
    assert all(note.endswith(f" for channel:{CHANNEL}") for note in pair.lost())
    pair.restore(pair.backup())
    pair.run(10)
    assert len(pair.lost()) == 2, "told once"


def test_a_sale_that_the_copy_knows_without_its_token(pair: Utility) -> None:
    """Made and handed out after the copy, under another number than the copy has for it."""
    row = pair.reserve("b", 5 * KWH_UC)
    copy = pair.backup()
    other = pair.reserve("c", KWH_UC)
    pair.make(other.id)
    slip = pair.make(row.id)
    assert slip.tid > row.tid
    pair.restore(copy)
    pair.run(10)
    assert pair.token(row.id).digits == slip.digits
    assert pair.again("b", 5 * KWH_UC).digits == slip.digits
    pair.type(slip.digits)
    pair.check(typed_uc=5 * KWH_UC, paid_uc=5 * KWH_UC)


def test_nothing_is_made_before_the_epoch_is_adopted(pair: Utility) -> None:
    """The copy does not know yet that it is one, so it must not make a second token for a payment."""
    copy = pair.backup()
    slip = pair.vend("b", 5 * KWH_UC)
    pair.put_back(copy)
    with pytest.raises(making.NotMade, match="signing_epoch: 1 given, 2, the key store's"):
        pair.again("b", 5 * KWH_UC)
    pair.adopt()
    assert pair.again("b", 5 * KWH_UC).digits == slip.digits


def test_any_number_of_restores(pair: Utility) -> None:
    first = pair.backup()
    slips = {"a": pair.vend("a", KWH_UC).digits}
    pair.restore(first)
    second = pair.backup()
    slips["b"] = pair.vend("b", KWH_UC).digits
    pair.restore(second)
    slips["c"] = pair.vend("c", 2 * KWH_UC).digits
    pair.restore(first)
    again = {name: pair.again(name, (2 if name == "c" else 1) * KWH_UC).digits for name in "cba"}
    assert sorted(again.values()) == sorted(slips.values())
    assert [pair.type(digits) for digits in slips.values()] == [results.ACCEPTED] * 3
    pair.check(typed_uc=4 * KWH_UC, paid_uc=4 * KWH_UC)


def test_replaced_over_the_wire_by_the_lost_database(pair: Utility) -> None:
    """The slip is worth nothing any more: who voids it and posts the payment for the wire has even books."""
    copy = pair.backup()
    slip = pair.vend("b", 5 * KWH_UC)
    pair.replace(slip.id)
    pair.until(pair.settled, 600)
    pair.tell()
    pair.restore(copy)
    pair.tell()
    assert findings.TOKEN_UNVENDED in pair.kinds()
    again = pair.again("b", 5 * KWH_UC)
    assert (again.digits, pair.type(again.digits)) == (slip.digits, results.USED)
    pair.void(again.id)
    pair.until(pair.settled, 600)
    pair.tell()
    pair.write(payments.take, CHANNEL, "b over the wire", METER, 5 * KWH_UC, again=True)
    pair.tell()
    assert pair.unit.meter.account.balance_uc() == 5 * KWH_UC
    assert (pair.balance(accounts.RECOVERED), pair.explained().difference_uc) == (0, 0)
    assert pair.balance(accounts.of_channel(CHANNEL)) == -5 * KWH_UC


def test_without_a_restore_the_answer_is_as_ever(pair: Utility) -> None:
    row = pair.vend("a", KWH_UC)
    assert pair.again("a", KWH_UC).digits == row.digits
    new = pair.again("b", KWH_UC)
    assert new.digits != row.digits
    kept, repeated = pair.write(vending.vend, CHANNEL, "b", METER, KWH_UC)
    assert (kept.digits, repeated) == (new.digits, True)
    assert pair.lost() == []


def test_another_channels_token_is_not_taken(pair: Utility) -> None:
    copy = pair.backup()
    slip = pair.vend("b", KWH_UC)
    pair.restore(copy)
    pair.run(10)
    rows = pair.lost()
    assert len(rows) == 1
    pair.write(add_channel, "agent-2", f"op_{'2':*<43}", ("payments",), KWH_UC)
    row, _ = pair.write(vending.vend, "agent-2", "b", METER, KWH_UC, again=True)
    assert pair.make(row.id).digits != slip.digits
    assert pair.lost() == rows


@pytest.mark.parametrize("seed", range(10))
def test_whatever_is_restored_every_payment_is_one_token(tmp_path: Path, seed: int) -> None:
    """Of payments of one worth it does not matter which of their tokens is whose; each slip stays good, once."""
    rng = random.Random(seed)
    pair = Utility(tmp_path)
    copies = [pair.backup()]
    paid: dict[str, int] = {}
    slips: set[str] = set()
    typed: set[str] = set()

    def pay() -> Row[Any]:
        paid[f"p{len(paid)}"] = amount_uc = rng.randrange(1, 4) * KWH_UC
        return pair.reserve(f"p{len(paid) - 1}", amount_uc)

    for _ in range(14):
        what = rng.choices(("vend", "pay", "copy", "restore", "type", "run"), (6, 1, 2, 3, 2, 2))[0]
        if what == "vend":
            slips.add(pair.make(pay().id).digits)
        elif what == "pay":
            pay()
        elif what == "copy":
            copies.append(pair.backup())
        elif what == "restore":
            pair.restore(rng.choice(copies))
        elif what == "type" and slips - typed:
            digits = rng.choice(sorted(slips - typed))
            assert pair.type(digits) == results.ACCEPTED
            typed.add(digits)
        else:
            pair.run(rng.choice((3, 70, 1000)))
    names = list(paid)
    rng.shuffle(names)
    final = {name: pair.again(name, paid[name]).digits for name in names}
    assert slips <= set(final.values())
    assert len(set(final.values())) == len(paid)
    for digits in sorted(set(final.values()) - typed):
        assert pair.type(digits) == results.ACCEPTED
    pair.check(typed_uc=sum(paid.values()), paid_uc=sum(paid.values()))
    assert pair.balance(accounts.RECOVERED) == 0
    pair.store.close()
    pair.log.close()
