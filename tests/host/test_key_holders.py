"""What holds wherever keys live: one suite over the encrypted file and the security module."""

import hmac
import threading
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from headend.keys.holder import KeyHolder, KeyName, NoSuchKey, VendingName
from headend.keys.keystore import KeyStore
from headend.keys.sealed import KeyFileError
from headend.keys.state import KeyState
from headend.refusals import Refused
from meterlink import ecdsa
from meterlink.orders import MAX_METER, ROLE_CONTROL, ROLE_CREDIT, ROLE_ROOT
from tests.host.keyplaces import KeyPlace

DIGEST = bytes(range(100, 132))
ROOT, CREDIT, CONTROL = (KeyName(role, 1) for role in (ROLE_ROOT, ROLE_CREDIT, ROLE_CONTROL))
MASTER = bytes(range(32))
VENDING = VendingName(123_457, 1)
VENDING_KEY = bytes(range(50, 70))


def verifies(public: bytes, digest: bytes, signature: bytes) -> bool:
    """By a foreign verifier and by the meter's own, which have to agree."""
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    foreign = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + public)
    ours = ecdsa.verify(public, digest, signature)
    try:
        foreign.verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except Exception:
        assert not ours
        raise
    return bool(ours)


def state_of(keys: KeyHolder) -> dict[str, Any]:
    """All that can be compared of a holder."""
    return {
        "use": keys.use,
        "epoch": (keys.signing_epoch, keys.source, dict(keys.closed_sources)),
        "signing": {name: (keys.public_key(name), keys.can_sign(name)) for name in [*keys.names(), *keys.revoked()]},
        "revoked": keys.revoked(),
        "tag": {version: keys.check_value(version) for version in keys.tag_key_versions()},
        "vending": {name: (keys.check_value(name), keys.vending_expires_s(name)) for name in keys.vending_names()},
    }


def test_what_was_made_is_there_when_it_is_opened_again(key_place: KeyPlace) -> None:
    keys = key_place.make(use="bench")
    assert state_of(key_place.open()) == state_of(keys)
    assert (keys.use, keys.signing_epoch, keys.source, keys.tag_key_version) == ("bench", 1, 1, 1)
    assert keys.names() == [ROOT, CREDIT, CONTROL]
    assert [keys.can_sign(name) for name in keys.names()] == [False, True, True]
    assert keys.revoked() == [] and keys.vending_names() == [] and keys.unnamed() == set()


def test_signatures_verify_with_the_meters_verifier_and_with_a_foreign_one(key_place: KeyPlace) -> None:
    keys = key_place.make()
    for name in (CREDIT, CONTROL):
        signature = keys.sign(name, DIGEST)
        assert len(signature) == 64 and verifies(keys.public_key(name), DIGEST, signature)
        assert not ecdsa.verify(keys.public_key(name), bytes(32), signature)
    assert not ecdsa.verify(keys.public_key(CONTROL), DIGEST, keys.sign(CREDIT, DIGEST))
    with pytest.raises(NoSuchKey, match=r"key: \(1, 1\) given, one of \[\(2, 1\), \(3, 1\)\] expected"):
        keys.sign(ROOT, DIGEST)
    with pytest.raises(Refused, match="digest: '31 bytes' given, 32 bytes expected"):
        keys.sign(CREDIT, bytes(31))


def test_the_same_master_gives_the_same_meter_keys_everywhere(key_place: KeyPlace) -> None:
    key_place.make()
    with key_place.change() as keeper:
        assert keeper.make_tag_key(MASTER) == 2
    keys = key_place.open()
    for meter in (1, 17, 600_000_000_001, MAX_METER):
        info = b"openprepay meter key 1" + meter.to_bytes(6, "big") + b"\x02"
        assert keys.meter_key(meter, 2) == HKDFExpand(hashes.SHA256(), 32, info).derive(MASTER)
        assert keys.meter_key(meter, 1) != keys.meter_key(meter, 2)
    assert keys.mac_key(17, 2).mac(b"OP1R", b"x") == keys.mac_key(17, 2).mac(b"OP1R", b"x")
    file = KeyStore(KeyState(tag_keys=frozenset({2})), {}, {2: MASTER})
    assert keys.meter_key(17, 2) == file.meter_key(17, 2) and keys.check_value(2) == file.check_value(2)


def test_the_same_vending_key_gives_the_same_decoder_keys_everywhere(key_place: KeyPlace) -> None:
    key_place.make()
    with key_place.change() as keeper:
        keeper.add_vending_key(VENDING, VENDING_KEY, expires_s=1_900_000_000)
        keeper.add_vending_key(VendingName(123_457, 2))
    keys = key_place.open()
    message = bytes.fromhex("04023034023933023131023031000406") + b"123457"
    assert keys.decoder_key(VENDING, message) == hmac.digest(VENDING_KEY, message, "sha256")[:16]
    assert keys.decoder_key(VendingName(123_457, 2), message) != keys.decoder_key(VENDING, message)
    assert keys.vending_names() == [VENDING, VendingName(123_457, 2)]
    assert keys.vending_expires_s(VENDING) == 1_900_000_000
    assert keys.vending_expires_s(VendingName(123_457, 2)) is None
    file = KeyStore(KeyState(vending={VENDING: None}), {}, {VENDING: VENDING_KEY})
    assert keys.check_value(VENDING) == file.check_value(VENDING)
    assert keys.check_value(VENDING) not in VENDING_KEY.hex()


@pytest.mark.parametrize(
    ("name", "key", "sentence"),
    [
        (VendingName(1_000_000, 1), None, "sgc: 1000000 given, 0..999999 expected"),
        (VendingName(1, 0), None, "krn: 0 given, 1..9 expected"),
        (VENDING, bytes(19), "vending key: '19 bytes' given, 20 bytes expected"),
        (VendingName(7, 7), None, r"vending key: \(7, 7\) given, a name that is not there yet"),
    ],
)
def test_a_vending_key_that_cannot_be_is_refused(
    key_place: KeyPlace, name: VendingName, key: bytes | None, sentence: str
) -> None:
    key_place.make()
    with key_place.change() as keeper:
        keeper.add_vending_key(VendingName(7, 7))
        before = state_of(keeper)
        with pytest.raises(Refused, match=sentence):
            keeper.add_vending_key(name, key)
        assert state_of(keeper) == before
    assert state_of(key_place.open()) == before


@pytest.mark.parametrize("version", [2, 300])
def test_a_key_that_is_not_here_is_named(key_place: KeyPlace, version: int) -> None:
    keys = key_place.make()
    for ask in (lambda: keys.meter_key(17, version), lambda: keys.check_value(version)):
        with pytest.raises(NoSuchKey, match=rf"tag_key_version: {version} given, one of \[1\] expected"):
            ask()
    with pytest.raises(NoSuchKey, match=r"vending key: \(123457, 1\) given, one of \[\]"):
        keys.decoder_key(VENDING, b"")
    with pytest.raises(NoSuchKey, match=r"role: 9 given, one of \[1, 2, 3\]"):
        keys.newest(9)
    with pytest.raises(Refused, match="meter: 0 given"):
        keys.meter_key(0, 1)


def test_a_rotation_keeps_what_was_issued_good(key_place: KeyPlace) -> None:
    before = key_place.make()
    signature, meter_key = before.sign(CREDIT, DIGEST), before.meter_key(17, 1)
    with key_place.change() as keeper:
        assert keeper.make_signing_key(ROLE_CREDIT) == KeyName(ROLE_CREDIT, 2)
        assert keeper.make_tag_key() == 2
    after = key_place.open()
    assert after.newest(ROLE_CREDIT) == KeyName(ROLE_CREDIT, 2) and after.newest(ROLE_CONTROL) == CONTROL
    assert verifies(after.public_key(CREDIT), DIGEST, signature)
    assert verifies(after.public_key(CREDIT), DIGEST, after.sign(CREDIT, DIGEST)), "the old one signs when it is named"
    assert verifies(after.public_key(KeyName(2, 2)), DIGEST, after.sign(KeyName(2, 2), DIGEST))
    assert after.meter_key(17, 1) == meter_key and after.tag_key_version == 2


def test_a_retired_key_is_destroyed_and_its_version_never_given_again(key_place: KeyPlace) -> None:
    before = key_place.make()
    public = before.public_key(CREDIT)
    with key_place.change() as keeper:
        keeper.make_signing_key(ROLE_CREDIT)
        keeper.make_tag_key()
        keeper.add_vending_key(VENDING)
    gone = set(key_place.secrets())
    with key_place.change() as keeper:
        for name in (KeyName(ROLE_CREDIT, 2), 2, VENDING):
            keeper.retire(name)
    after = key_place.open()
    assert after.revoked() == [KeyName(ROLE_CREDIT, 2)] and after.newest(ROLE_CREDIT) == CREDIT
    assert after.public_key(CREDIT) == public and after.fingerprint(KeyName(ROLE_CREDIT, 2))
    assert after.tag_key_versions() == [1] and after.vending_names() == [] and after.unnamed() == set()
    for ask in (
        lambda: after.sign(KeyName(ROLE_CREDIT, 2), DIGEST),
        lambda: after.meter_key(17, 2),
        lambda: after.decoder_key(VENDING, b"x"),
    ):
        with pytest.raises(NoSuchKey):
            ask()
    if key_place.kind == "file":
        assert len(gone - set(key_place.secrets())) == 3
    with key_place.change() as keeper:
        assert keeper.make_signing_key(ROLE_CREDIT) == KeyName(ROLE_CREDIT, 3)
        assert keeper.make_tag_key() == 3
        keeper.retire(KeyName(ROLE_CREDIT, 2))  # again: nothing is left to do
    assert state_of(key_place.open())["revoked"] == [KeyName(ROLE_CREDIT, 2)]


def test_the_last_key_of_a_kind_stays(key_place: KeyPlace) -> None:
    key_place.make()
    with key_place.change() as keeper:
        before = state_of(keeper)
        for name in (ROOT, CREDIT, CONTROL, 1):
            with pytest.raises(Refused, match=r"a key that is not the last of its kind"):
                keeper.retire(name)
        for missing in (KeyName(ROLE_CREDIT, 9), 9, VENDING):
            with pytest.raises(NoSuchKey):
                keeper.retire(missing)
    assert state_of(key_place.open()) == before


def test_versions_end_at_one_byte() -> None:
    keys = KeyStore(KeyState(tag_keys=frozenset({255})), {KeyName(ROLE_CREDIT, 255): 5}, {255: MASTER})
    with pytest.raises(Refused, match="version: 256 given"):
        keys.make_signing_key(ROLE_CREDIT)
    with pytest.raises(Refused, match="tag_key_version: 256 given"):
        keys.make_tag_key()


def test_a_change_that_fails_changes_nothing(key_place: KeyPlace) -> None:
    """A token keeps what was made in it before the failure: nobody uses that, its number is passed over, and it can be
    destroyed.
    """
    before = state_of(key_place.make())
    with pytest.raises(RuntimeError, match="power cut"), key_place.change() as keeper:
        keeper.make_signing_key(ROLE_CREDIT)
        keeper.make_tag_key()
        keeper.retire(CREDIT)
        keeper.open_epoch()
        raise RuntimeError("power cut")
    assert state_of(key_place.open()) == before
    left_over = {KeyName(ROLE_CREDIT, 2), 2} if key_place.kind == "hsm" else set()
    assert key_place.open().unnamed() == left_over
    with key_place.change() as keeper:
        made = keeper.make_signing_key(ROLE_CREDIT)
        assert made.version == (3 if left_over else 2)
        for name in left_over:
            keeper.retire(name)
    assert key_place.open().unnamed() == set()
    assert verifies(key_place.open().public_key(made), DIGEST, key_place.open().sign(made, DIGEST))


def test_an_epoch_opens_with_a_source_that_was_never_used(key_place: KeyPlace) -> None:
    key_place.make()
    for epoch in (2, 3):
        with key_place.change() as keeper:
            keeper.open_epoch()
        keys = key_place.open()
        assert (keys.signing_epoch, keys.source) == (epoch, epoch)
        assert dict(keys.closed_sources) == {closed: closed for closed in range(1, epoch)}


def test_epochs_and_sources_end_where_the_wire_does() -> None:
    for state, sentence in (
        (KeyState(signing_epoch=65_535), "signing_epoch: 65536 given, 1..65535"),
        (KeyState(source=65_534), "source: 65535 given, 1..65534"),
        (KeyState(2, 7, closed_sources={65_534: 1}), "source: 65535 given"),
    ):
        with pytest.raises(Refused, match=sentence):
            state.following_epoch()
    assert KeyState(2, 7, closed_sources={9: 1}).following_epoch().source == 10


def test_two_changes_at_once_are_not_made(key_place: KeyPlace) -> None:
    key_place.make()
    with key_place.change() as keeper:
        with pytest.raises(KeyFileError, match="are being changed by another process"):
            key_place.change().__enter__()
        keeper.open_epoch()
    assert key_place.open().signing_epoch == 2


def test_nothing_is_made_where_keys_are(key_place: KeyPlace) -> None:
    before = state_of(key_place.make())
    with pytest.raises(KeyFileError, match="not overwritten"):
        key_place.make()
    assert state_of(key_place.open()) == before


def test_many_threads_get_what_is_theirs(key_place: KeyPlace) -> None:
    keys = key_place.make()
    wanted = {meter: keys.meter_key(meter, 1) for meter in range(1, 9)}
    wrong: list[Any] = []

    def work(meter: int) -> None:
        for turn in range(20):
            digest = bytes([meter, turn]) * 16
            name = (CREDIT, CONTROL)[turn % 2]
            if keys.meter_key(meter, 1) != wanted[meter] or not verifies(
                keys.public_key(name), digest, keys.sign(name, digest)
            ):
                wrong.append((meter, turn))

    threads = [threading.Thread(target=work, args=(meter,)) for meter in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_no_secret_is_shown_by_what_holds_it(key_place: KeyPlace) -> None:
    key_place.make()
    with key_place.change() as keeper:
        keeper.add_vending_key(VENDING, VENDING_KEY)
        with pytest.raises(Refused) as refused:
            keeper.add_vending_key(VendingName(1, 1), VENDING_KEY + b"x")
    keys = key_place.open()
    seen = "".join(
        map(repr, (keys, keys.state, key_place.place, key_place.place.hsm, refused.value, refused.value.args))
    )
    assert "VendingName" in seen
    secrets = [*key_place.secrets(), VENDING_KEY.hex(), repr(VENDING_KEY)[2:-1]]
    assert not [secret for secret in secrets if secret in seen]
