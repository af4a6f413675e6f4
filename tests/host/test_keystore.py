"""The key store in memory and on disk."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from headend.keys import sealed
from headend.keys.holder import KeyName, NoSuchKey, VendingName
from headend.keys.keystore import KeyStore
from headend.keys.sealed import KeyFileError, Work
from headend.keys.state import KeyState
from headend.refusals import Refused
from meterlink import ecdsa
from meterlink.orders import ROLE_CONTROL, ROLE_CREDIT, ROLE_ROOT

PASSPHRASE = "correct horse battery"
QUICK = Work(1 << 10, 8, 1)
KEYS = KeyStore.generate()
CREDIT = KeyName(ROLE_CREDIT, 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "head-end.keys"
    KEYS.without_root().save(made, PASSPHRASE, work=QUICK)
    return made


def test_a_file_gives_back_the_same_keys(path: Path) -> None:
    loaded = KeyStore.load(path, PASSPHRASE)
    assert loaded.names() == KEYS.names()
    assert all(loaded.public_key(name) == KEYS.public_key(name) for name in KEYS.names())
    assert loaded.meter_key(17, 1) == KEYS.meter_key(17, 1)
    assert loaded.sign(CREDIT, bytes(32)) == KEYS.sign(CREDIT, bytes(32))
    assert (loaded.signing_epoch, loaded.source, loaded.tag_key_version) == (1, 1, 1)


def test_the_file_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        KEYS.save(tmp_path / "k", PASSPHRASE, work=QUICK)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["k"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_touch_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:04o}; 0600 is expected"):
        KeyStore.load(path, PASSPHRASE)


def test_no_secret_stands_in_the_file(path: Path) -> None:
    raw = path.read_bytes()
    inside = sealed.unseal(raw, PASSPHRASE)
    secrets = [json.loads(inside)["masters"]["1"], *(key[2] for key in json.loads(inside)["private"])]
    assert len(secrets) == 3
    for secret in secrets:
        assert secret.encode() not in raw and bytes.fromhex(secret) not in raw


def test_two_files_of_the_same_keys_share_nothing(tmp_path: Path) -> None:
    for name in ("a", "b"):
        KEYS.save(tmp_path / name, PASSPHRASE, work=QUICK)
    a, b = (json.loads((tmp_path / name).read_text()) for name in ("a", "b"))
    assert not {a["salt"], a["nonce"], a["sealed"]} & {b["salt"], b["nonce"], b["sealed"]}


@pytest.mark.parametrize("wrong", ["", "correct horse batterz", PASSPHRASE + " ", PASSPHRASE.upper()])
def test_a_wrong_passphrase_is_refused(path: Path, wrong: str) -> None:
    with pytest.raises(KeyFileError, match="passphrase is wrong"):
        KeyStore.load(path, wrong)


def flip(field: str, at: int = 0) -> Callable[[dict[str, Any]], None]:
    def change(head: dict[str, Any]) -> None:
        raw = bytearray.fromhex(head[field])
        raw[at] ^= 1
        head[field] = raw.hex()

    return change


TAMPERED: dict[str, Callable[[dict[str, Any]], None]] = {
    "first byte": flip("sealed"),
    "last byte": flip("sealed", -1),
    "salt": flip("salt"),
    "nonce": flip("nonce"),
    "less work": lambda head: head["scrypt"].update(n=512),
    "more passes": lambda head: head["scrypt"].update(p=2),
    "a new field": lambda head: head.update(note="x"),
    "cut short": lambda head: head.update(sealed=head["sealed"][:20]),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_changed_file_is_refused(path: Path, what: str) -> None:
    head = json.loads(path.read_text())
    TAMPERED[what](head)
    path.write_text(json.dumps(head))
    with pytest.raises(KeyFileError, match=str(path)):
        KeyStore.load(path, PASSPHRASE)


@pytest.mark.parametrize(
    "parameters", [{"n": 1 << 40, "r": 8, "p": 1}, {"n": 1000, "r": 8, "p": 1}, {"n": 0, "r": 8, "p": 1}, {"n": 2}, 7]
)
def test_parameters_that_would_eat_the_machine_are_not_tried(path: Path, parameters: Any) -> None:
    head = json.loads(path.read_text())
    path.write_text(json.dumps(head | {"scrypt": parameters}))
    with pytest.raises(KeyFileError, match=r"damaged|not a key file"):
        KeyStore.load(path, PASSPHRASE)


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"[]", b"{}", b'{"sealed": 1}', b"x" * 2_000_000])
def test_what_is_no_key_file_is_named_so(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    with pytest.raises(KeyFileError, match="not a key file"):
        KeyStore.load(path, PASSPHRASE)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"gone cannot be read: No such file"):
        KeyStore.load(tmp_path / "gone", PASSPHRASE)


def test_an_existing_file_is_never_overwritten_unasked(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="not overwritten"):
        KeyStore.generate().save(path, PASSPHRASE, work=QUICK)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    other = KeyStore.generate()
    other.save(path, PASSPHRASE, replace=True, work=QUICK)
    assert KeyStore.load(path, PASSPHRASE).meter_key(17, 1) == other.meter_key(17, 1)


def test_a_short_passphrase_is_refused_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="passphrase: '7 characters' given, at least 12"):
        KEYS.save(tmp_path / "k", "hunter2")
    assert list(tmp_path.iterdir()) == []


def test_the_root_key_can_be_kept_apart() -> None:
    root = KeyName(ROLE_ROOT, 1)
    online, offline = KEYS.without_root(), KEYS.root_only()
    assert online.public_key(root) == offline.public_key(root) == KEYS.public_key(root)
    assert [online.can_sign(name) for name in online.names()] == [False, True, True]
    assert offline.names() == [root] and offline.can_sign(root) and offline.tag_key_versions() == []
    with pytest.raises(NoSuchKey, match=r"key: \(1, 1\) given"):
        online.sign(root, bytes(32))


def test_signatures_are_deterministic_as_rfc_6979_says() -> None:
    """RFC 6979, A.2.5: P-256 with SHA-256, messages "sample" and "test"."""
    scalar = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    keys = KeyStore(KeyState(), {CREDIT: scalar}, {})
    for message, r, s in (
        (
            b"sample",
            "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
            "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
        ),
        (
            b"test",
            "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367",
            "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
        ),
    ):
        hasher = hashes.Hash(hashes.SHA256())
        hasher.update(message)
        assert keys.sign(CREDIT, hasher.finalize()).hex().upper() == r + s


def test_signatures_verify_with_the_meters_verifier_and_with_a_foreign_one() -> None:
    digest = bytes(range(32))
    signature = KEYS.sign(CREDIT, digest)
    public = KEYS.public_key(CREDIT)
    assert ecdsa.verify(public, digest, signature)
    assert not ecdsa.verify(public, bytes(32), signature)
    assert not ecdsa.verify(KEYS.public_key(KeyName(ROLE_CONTROL, 1)), digest, signature)
    foreign = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + public)
    der = utils.encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    foreign.verify(der, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


def test_each_meter_and_version_has_its_own_key() -> None:
    two = KeyStore(KeyState(tag_keys=frozenset({1, 2})), {}, {1: bytes(32), 2: bytes([1]) * 32})
    keys = [two.meter_key(meter, version) for meter in (1, 2, 1 << 46) for version in (1, 2)]
    assert len(set(keys)) == 6 and all(len(key) == 32 for key in keys)
    assert two.mac_key(1, 2) is two.mac_key(1, 2)
    assert two.mac_key(1, 2).check(b"OP1R", b"m", two.mac_key(1, 2).mac(b"OP1R", b"m"))
    assert two.tag_key_version == 2


def test_the_derivation_does_not_change() -> None:
    """Meters in the field hold these bytes: HKDF-Expand-SHA-256, info = purpose, meter (6 bytes), version."""
    master = bytes(range(32))
    info = b"openprepay meter key 1" + (17).to_bytes(6, "big") + b"\x01"
    expected = "024ee29659537cb385dc8791c191d2f4a42bc083b2e03299f069e1ec5372b333"
    assert HKDFExpand(hashes.SHA256(), 32, info).derive(master).hex() == expected
    assert KeyStore(KeyState(tag_keys=frozenset({1})), {}, {1: master}).meter_key(17, 1).hex() == expected


@pytest.mark.parametrize(("meter", "version"), [(0, 1), (1 << 48, 1), (17, 2)])
def test_no_key_for_what_cannot_be(meter: int, version: int) -> None:
    with pytest.raises(Refused):
        KEYS.meter_key(meter, version)


def test_generation_takes_its_entropy_from_where_it_is_told() -> None:
    def entropy() -> Callable[[int], bytes]:
        state = iter(range(1, 1_000))
        return lambda length: bytes([next(state)]) * length

    first, second = KeyStore.generate(entropy()), KeyStore.generate(entropy())
    assert first.public_key(CREDIT) == second.public_key(CREDIT)
    assert first.public_key(CREDIT) != KEYS.public_key(CREDIT)


def test_a_scalar_out_of_range_is_drawn_again() -> None:
    drawn = iter([b"\xff" * 32, bytes(32), b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, b"\x04" * 32])
    keys = KeyStore.generate(lambda length: next(drawn))
    first = KeyStore(KeyState(), {CREDIT: int.from_bytes(b"\x01" * 32, "big")}, {})
    assert keys.public_key(KeyName(ROLE_ROOT, 1)) == first.public_key(CREDIT)


OTHER_POINT = KEYS.public_key(KeyName(ROLE_CONTROL, 1))
REVOKED = {"public": {CREDIT: KEYS.public_key(CREDIT)}, "revoked": frozenset({CREDIT})}


@pytest.mark.parametrize(
    ("stated", "private", "secrets"),
    [
        ({"signing_epoch": 0}, {}, {}),
        ({"signing_epoch": 65_536}, {}, {}),
        ({"source": 65_535}, {}, {}),
        ({"use": "staging"}, {}, {}),
        ({"signing_epoch": 2, "closed_sources": {1: 1}}, {}, {}),
        ({"signing_epoch": 2, "source": 2, "closed_sources": {1: 2}}, {}, {}),
        ({"public": {CREDIT: bytes(64)}}, {}, {}),
        ({"public": {CREDIT: OTHER_POINT}}, {CREDIT: 5}, {}),
        ({"public": {KeyName(9, 1): OTHER_POINT}}, {}, {}),
        ({"revoked": frozenset({CREDIT})}, {}, {}),
        (REVOKED, {CREDIT: 5}, {}),
        ({"tag_keys": frozenset({1})}, {}, {}),
        ({"tag_keys": frozenset({1})}, {}, {1: b"short"}),
        ({"tag_keys": frozenset({256})}, {}, {256: bytes(32)}),
        ({}, {}, {1: bytes(32)}),
        ({"vending": {VendingName(1, 10): None}}, {}, {VendingName(1, 10): bytes(20)}),
        ({"vending": {VendingName(1_000_000, 1): None}}, {}, {VendingName(1_000_000, 1): bytes(20)}),
        ({"vending": {VendingName(1, 1): None}}, {}, {VendingName(1, 1): bytes(32)}),
    ],
)
def test_keys_that_do_not_fit_are_refused(
    stated: dict[str, Any], private: dict[KeyName, int], secrets: dict[Any, bytes]
) -> None:
    with pytest.raises(KeyFileError):
        KeyStore(KeyState(**stated), private, secrets)


def test_a_file_of_another_format_is_named_so(path: Path) -> None:
    """A store of the first format derives other meter keys: it must not be opened as if it were one of today."""
    head = json.loads(path.read_text())
    path.write_text(json.dumps(head | {"format": "openprepay-keys-1"}))
    with pytest.raises(KeyFileError, match=r"The format is 'openprepay-keys-1'; openprepay-keys-2 was expected"):
        KeyStore.load(path, PASSPHRASE)
