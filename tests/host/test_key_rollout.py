"""New keys for a whole fleet: `openprepay admin roll-keys`, with the root key offline and on real firmware."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from headend import cli as head_end
from headend.fleet.meters import add_meter
from headend.keys import cli as keys_cli
from headend.keys import passphrase, root_orders, sealed
from headend.keys.holder import BENCH, KeyName
from headend.keys.keystore import KeyStore
from headend.keys.root_orders import RootOrder
from headend.keys.sealed import KeyFileError, Work
from headend.ledger import payments
from headend.orders import ceremony, rollout, signing, statements, trust
from headend.refusals import Refused
from headend.store.schema import order as order_table
from meterlink import orders, reasons
from meterlink.orders import ROLE_CONTROL, ROLE_CREDIT, ROLE_ROOT
from tests.host.books import CHANNEL, METER, NOW_S, open_books, record
from tests.host.core_rig import Pair

PASSPHRASE = "correct horse battery"
WORK = Work(1 << 10, 8, 1)


def rotated(keys: KeyStore) -> None:
    keys.make_signing_key(ROLE_CREDIT)
    keys.make_signing_key(ROLE_CONTROL)
    keys.make_tag_key()


def rolled(pair: Pair, *, drop_old: bool = False) -> dict[str, str]:
    goal = rollout.goal_of(pair.keys, drop_old=drop_old)
    return {kind: pair.write(rollout.roll, METER, kind, goal, pair.keys, "admin") for kind in rollout.KINDS}


def all_done(pair: Pair, *, drop_old: bool = False) -> bool:
    goal = rollout.goal_of(pair.keys, drop_old=drop_old)
    return all(pair.store.read(rollout.stands, METER, kind, goal) == rollout.DONE for kind in rollout.KINDS)


@pytest.mark.parametrize("carrier", ["mqtt", "modbus"])
def test_new_keys_beside_the_old_then_alone(carrier: str) -> None:
    with Pair(carrier) as pair:
        rotated(pair.keys)
        early = pair.write(payments.take, CHANNEL, "early", METER, 10_000_000).order_id
        assert rolled(pair, drop_old=True)[rollout.TAG] == rollout.BEHIND
        assert set(rolled(pair).values()) == {rollout.STATED}
        assert set(rolled(pair).values()) <= {rollout.UNDER_WAY, rollout.UNSIGNED}
        pair.until(lambda: all_done(pair), 600)
        assert set(rolled(pair).values()) == {rollout.DONE}
        meter = pair.unit.meter
        assert meter.public_key(ROLE_CREDIT, 1) and meter.public_key(ROLE_CREDIT, 2)
        assert pair.trust().old_tag_key_version == 1

        assert set(rolled(pair, drop_old=True).values()) == {rollout.STATED}
        pair.until(lambda: all_done(pair, drop_old=True), 600)
        assert not meter.public_key(ROLE_CREDIT, 1) and meter.public_key(ROLE_CREDIT, 2)
        assert pair.trust().old_tag_key_version is None
        late = pair.write(payments.take, CHANNEL, "late", METER, 10_000_000).order_id
        pair.until(lambda: {pair.state(early), pair.state(late)} <= {"confirmed", "superseded"}, 600)
        assert meter.account.totals(1)[0] == 20_000_000


def test_a_thiefs_order_is_refused_once_the_stolen_key_is_dropped_and_no_payment_is_lost() -> None:
    with Pair() as pair:
        stolen = pair.keys.without_root()
        pair.write(payments.take, CHANNEL, "before", METER, 10_000_000)
        pair.until(lambda: pair.unit.meter.account.totals(1)[0] == 10_000_000, 60)
        pair.keys.make_signing_key(ROLE_CREDIT)
        pair.keys.retire(KeyName(ROLE_CREDIT, 1))  # the drill: at once, without overlap
        during = pair.write(payments.take, CHANNEL, "during", METER, 10_000_000).order_id
        pair.until(lambda: any("unknown_key" in note for _, _, note in pair.history(during)), 300)
        rolled(pair, drop_old=True)
        pair.until(lambda: pair.unit.meter.public_key(ROLE_CREDIT, 2) is not None, 300)
        body = statements.bodies.encode_credit(900_000_000, 0, [])
        theft = orders.Statement(1, METER, 1, ROLE_CREDIT, 1, 1, 1, 1, 0, pair.clock.now_s(), 0, body).encode()
        signature = stolen.sign(KeyName(ROLE_CREDIT, 1), orders.digest(theft))
        forged = orders.seal(theft, signature, stolen.mac_key(METER, 1))
        assert pair.unit.meter.submit(pair.unit.meter.CARRIER_BUS, forged) == orders.results.UNKNOWN_KEY
        pair.until(lambda: pair.state(during) == "confirmed", 1200)
        assert pair.unit.meter.account.totals(1)[0] == 20_000_000


@pytest.mark.parametrize("carrier", ["mqtt", "modbus"])
@pytest.mark.parametrize("seed", range(4))
def test_both_rounds_come_through_a_network_that_loses_a_third_and_mains_that_fail(seed: int, carrier: str) -> None:
    chance = random.Random(seed)
    with Pair(carrier) as pair:
        pair.on_the_way = lambda action: None if chance.random() < 0.33 else action
        pair.heard = lambda what: chance.random() > 0.33
        paid = 0
        for version in (2, 3):
            rotated(pair.keys)
            for drop_old in (False, True):
                rolled(pair, drop_old=drop_old)
                for _ in range(12):
                    paid += 1
                    pair.write(payments.take, CHANNEL, f"payment {paid}", METER, 1_000_000)
                    pair.run(chance.randrange(60))
                    if chance.random() < 0.2:
                        pair.outage()
                    if all_done(pair, drop_old=drop_old):
                        break
                pair.until(lambda drop_old=drop_old: all_done(pair, drop_old=drop_old), 8000)  # type: ignore[misc]
            assert pair.trust().tag_key_version == pair.unit.meter.tag_key_version == version
            assert pair.unit.meter.public_key(ROLE_CREDIT, version)
            assert not pair.unit.meter.public_key(ROLE_CREDIT, version - 1)
        pair.until(lambda: pair.unit.meter.account.totals(1)[0] == paid * 1_000_000, 8000)
        assert pair.engine.counts["forged"] == pair.engine.counts["no_key"] == 0


def test_the_fleet_is_counted() -> None:
    keys = KeyStore.generate(use=BENCH)
    with open_books(meters=(17, 18, 19)) as store:
        rotated(keys)
        goal = rollout.goal_of(keys)
        for number in (17, 18):
            store.write(rollout.roll, NOW_S, number, rollout.SIGNING, goal, keys, "admin").result()
        counts = store.read(rollout.progress, rollout.SIGNING, goal)
        assert counts == {rollout.UNSIGNED: 2, "": 1}
        assert store.read(rollout.progress, rollout.SIGNING, rollout.goal_of(keys, drop_old=True)) == {"": 3}


def test_a_payment_does_not_wait_behind_a_fleet_that_waits_for_root() -> None:
    keys = KeyStore.generate(use=BENCH)
    with open_books(meters=tuple(range(17, 27))) as store:
        goal = rollout.goal_of(keys)
        for number in range(17, 27):
            store.write(rollout.roll, NOW_S, number, rollout.SIGNING, goal, keys, "admin").result()
        store.write(payments.take, NOW_S, CHANNEL, "last", METER, 10_000_000).result()
        first = store.read(signing.unsigned, NOW_S, 1)
        assert [row.aspect for row in first] == [orders.ASPECT_CREDIT]


# --- with the root key offline ----------------------------------------------------------------------------------------


class Desks:
    """The head end's folder and, apart from it, the root key's; `admin` and `keys` give exit code, output, errors."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.capsys = folder, capsys
        self.store = open_books(f"sqlite:///{folder}/op.sqlite")
        whole = KeyStore.generate(use=BENCH)
        whole.root_only().save(folder / "root.keys", PASSPHRASE, work=WORK)
        self.whole = whole
        self.save()
        for name, value in (("KEYSTORE", folder / "op.keys"), ("DATABASE", f"sqlite:///{folder}/op.sqlite")):
            monkeypatch.setenv(f"OPENPREPAY_{name}", str(value))
        monkeypatch.setenv(passphrase.KEYSTORE, PASSPHRASE)
        monkeypatch.delenv(passphrase.ROOT, raising=False)

    def save(self) -> None:
        self.whole.without_root().save(self.folder / "op.keys", PASSPHRASE, work=WORK, replace=True)

    def admin(self, *words: object) -> tuple[int, str, str]:
        return self._run(head_end.admin, words)

    def keys(self, *words: object) -> tuple[int, str, str]:
        return self._run(keys_cli.main, words)

    def _run(self, main: Any, words: tuple[object, ...]) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        seen = self.capsys.readouterr()
        return code, seen.out, seen.err


@pytest.fixture
def desks(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Desks]:
    monkeypatch.setattr(sealed, "DEFAULT_WORK", WORK)
    made = Desks(tmp_path, capsys, monkeypatch)
    yield made
    made.store.close()


def test_what_only_root_may_sign_goes_to_it_and_comes_back(desks: Desks) -> None:
    rotated(desks.whole)
    desks.save()
    assert "signing keys: 1 not told yet" in desks.admin("roll-keys", "--show")[1]
    code, said, _ = desks.admin("roll-keys")
    assert code == 0 and "signing keys: 1 stated" in said and "per-meter key: 1 stated" in said
    out, back = desks.folder / "to-root.json", desks.folder / "from-root.json"
    assert "2 statements" in desks.admin("root-orders", "export", out)[1]
    code, said, _ = desks.keys("sign-orders", out, "--root-key", desks.folder / "root.keys", "--out", back, "--yes")
    newest = desks.whole.fingerprint(KeyName(ROLE_CREDIT, 2))
    assert code == 0 and f"credit 2 {newest}" in said and "1 × meters use per-meter key 2 (new) beside 1" in said
    code, said, err = desks.admin("root-orders", "import", back)
    assert (code, err) == (0, "") and "2 orders taken, 0 refused" in said
    assert "1 under way" in desks.admin("roll-keys")[1]
    code, _, err = desks.admin("root-orders", "import", back)  # they wait no more
    assert code == 1 and err.count("an order that waits for the root key") == 2
    for raw in desks.store.read(lambda conn: list(conn.execute(select(order_table.c.signed)).scalars())):
        order = orders.Order(raw)
        assert order.stated.role == ROLE_ROOT and order.tag_is_genuine(desks.whole.mac_key(METER, 1))


def test_signatures_of_another_root_and_changed_statements_are_not_taken(desks: Desks) -> None:
    goal = rollout.goal_of(desks.whole)
    desks.store.write(rollout.roll, NOW_S, METER, rollout.SIGNING, goal, desks.whole, "admin").result()
    (one,) = desks.store.read(ceremony.waiting, desks.whole)
    (genuine,) = root_orders.sign(desks.whole, [one])
    (foreign,) = root_orders.sign(KeyStore.generate(), [one])
    changed = bytearray(genuine.statement)
    changed[25] ^= 1  # issued_s
    for wrong, says in (
        (foreign, "signature of order 1"),
        (RootOrder(1, bytes(changed), one.apart, genuine.signature), "statement of order 1"),
        (RootOrder(2, genuine.statement, one.apart, genuine.signature), "order: 2 given"),
    ):
        (refused,) = desks.store.write(ceremony.take, NOW_S, desks.whole, [wrong]).result()
        assert says in str(refused)
    assert desks.store.write(ceremony.take, NOW_S, desks.whole, [genuine]).result() == []


def test_root_signs_nothing_that_another_key_may_and_no_body_that_is_not_the_one_named(desks: Desks) -> None:
    desks.store.write(statements.release, NOW_S, METER, reasons.HOLD_LEGAL, "desk").result()
    assert desks.store.read(ceremony.waiting, desks.whole) == []
    goal = rollout.goal_of(desks.whole)
    desks.store.write(rollout.roll, NOW_S, METER, rollout.SIGNING, goal, desks.whole, "admin").result()
    (one,) = desks.store.read(ceremony.waiting, desks.whole)
    for apart in (None, b"", (one.apart or b"")[:-1] + b"\0"):
        with pytest.raises(Refused, match="apart of order"):
            root_orders.sign(desks.whole, [RootOrder(one.order_id, one.statement, apart)])
    body = statements.bodies.encode_credit(1, 0, [])
    credit = orders.Statement(1, METER, 1, ROLE_ROOT, 1, 1, 1, 1, 0, 0, 0, body).encode()
    with pytest.raises(Refused, match="only the root key may sign"):
        root_orders.sign(desks.whole, [RootOrder(9, credit)])


def test_nobody_there_to_say_yes(desks: Desks, monkeypatch: pytest.MonkeyPatch) -> None:
    desks.store.write(trust.set_firmware, NOW_S, METER, (9, 1, 2), 1, 90_000, bytes(range(32)), "desk").result()
    out, back = desks.folder / "to-root.json", desks.folder / "from-root.json"
    desks.admin("root-orders", "export", out)
    words = ("sign-orders", out, "--root-key", desks.folder / "root.keys", "--out", back)
    monkeypatch.setattr("sys.stdin", open("/dev/null"))
    code, said, err = desks.keys(*words)
    assert code == 1 and "--yes" in err and "firmware 9.1.2 (legal version 1), 90000 bytes" in said
    assert not back.exists()
    shutil.copy(out, back)
    assert "not overwritten" in desks.keys(*words, "--yes")[2]


@pytest.mark.parametrize("text", ["", "{}", '{"format": "x", "orders": []}', '{"format": "openprepay-root-orders-1"}'])
def test_a_file_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(KeyFileError):
        root_orders.read(path)
    good = {"order": 1, "statement": "00", "apart": None, "signature": "00"}
    path.write_text(json.dumps({"format": root_orders.FORMAT, "orders": [good]}))
    with pytest.raises(KeyFileError, match="damaged"):
        root_orders.read(path)


def test_a_meter_that_is_added_meanwhile_is_told_too(desks: Desks) -> None:
    rotated(desks.whole)
    desks.save()
    desks.admin("roll-keys", "--only", "tag", "--limit", 0)
    desks.store.write(add_meter, NOW_S, record(18, tag_key_version=2)).result()
    said = desks.admin("roll-keys", "--only", "tag")[1]
    assert said == "per-meter key: 1 done, 1 stated\n"
