"""`openprepay keys` over its whole life, with a key file and with a token of SoftHSM."""

import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headend.keys import cli, passphrase
from headend.keys.holder import KeyName, VendingName
from headend.keys.keystore import KeyStore
from headend.keys.sealed import write_secret
from meterlink.orders import ROLE_CREDIT, ROLE_ROOT
from tests.host.keyplaces import KINDS, KeyPlace, load_anew

ROOT_PASSPHRASE = "another horse, other battery"
VENDING_HEX = bytes(range(50, 70)).hex()


class Desk:
    """`run` types a command; `said` keeps all that was ever shown."""

    def __init__(self, place: KeyPlace, capfd: pytest.CaptureFixture[str]) -> None:
        self.place, self.capfd = place, capfd
        self.root = place.folder / "root.keys"
        self.said = ""

    def run(self, words: str, *more: object) -> tuple[int, str, str]:
        code = cli.main([*words.split(), *map(str, more)])
        seen = self.capfd.readouterr()
        self.said += seen.out + seen.err
        return code, seen.out, seen.err

    def done(self, words: str, *more: object) -> str:
        code, out, err = self.run(words, *more)
        assert (code, err) == (0, "")
        return out

    def refused(self, words: str, *more: object) -> str:
        """One sentence, exit code 1, and nothing has changed."""
        before = {path: path.read_bytes() for path in self.place.folder.rglob("*") if path.is_file()}
        code, out, err = self.run(words, *more)
        assert (code, out, err.count("\n")) == (1, "", 1), err
        assert {path: path.read_bytes() for path in self.place.folder.rglob("*") if path.is_file()} == before
        return err

    def init(self, *more: object) -> str:
        return self.done("init --root-key", self.root, *more)

    def shares(self, *numbers: int) -> list[object]:
        return [word for number in numbers for word in ("--share", f"{self.root}.share-{number}")]


@pytest.fixture
def desk(key_place: KeyPlace, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv("OPENPREPAY_CONFIG", raising=False)
    monkeypatch.setenv("OPENPREPAY_KEYSTORE", key_place.setting)
    monkeypatch.setenv(passphrase.KEYSTORE, key_place.secret)
    monkeypatch.setenv(passphrase.ROOT, ROOT_PASSPHRASE)
    return Desk(key_place, capfd)


def test_init_begins_in_an_empty_folder(desk: Desk) -> None:
    out = desk.init("--bench", "--signing-epoch", 3, "--source", 4)
    assert "keys for signing epoch 3, credit source 4, use bench" in out
    keys = desk.place.open()
    assert (keys.use, keys.signing_epoch, keys.source) == ("bench", 3, 4)
    assert stat.S_IMODE(desk.place.file.parent.stat().st_mode) == 0o700
    for path in (desk.place.file, desk.root):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    root = KeyStore.load(desk.root, ROOT_PASSPHRASE)
    assert root.can_sign(KeyName(ROLE_ROOT, 1)) and root.use == "bench"
    assert root.public_key(KeyName(ROLE_ROOT, 1)) == keys.public_key(KeyName(ROLE_ROOT, 1))
    assert [keys.can_sign(name) for name in keys.names()] == [False, True, True]


def test_init_overwrites_nothing_and_leaves_nothing_half_made(desk: Desk) -> None:
    share = Path(f"{desk.root}.share-2")
    write_secret(share, b"somebody's")
    assert "share-2 is there already" in desk.refused("init --custodians 2/3 --root-key", desk.root)
    share.unlink()
    assert "custodians: '3/2' given" in desk.refused("init --custodians 3/2 --root-key", desk.root)
    desk.init()
    assert "not overwritten" in desk.refused("init --root-key", desk.root)
    assert "not overwritten" in desk.refused("init --root-key", desk.place.folder / "second.keys")


def test_a_short_root_passphrase_makes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(passphrase.ROOT, "short")
    assert "passphrase: '5 characters' given, at least 12" in desk.refused("init --root-key", desk.root)
    monkeypatch.setenv(passphrase.ROOT, ROOT_PASSPHRASE)
    desk.init()


def test_custodians_hold_the_root_key_together(desk: Desk) -> None:
    out = desk.init("--custodians", "2/3")
    assert "any 2 of these 3 open it" in out
    shares = [Path(f"{desk.root}.share-{number}") for number in (1, 2, 3)]
    assert all(stat.S_IMODE(share.stat().st_mode) == 0o600 for share in shares)
    assert all(len(share.read_text().split()) == 33 for share in shares)
    rotate = "rotate root --root-key"
    assert "name each with --share" in desk.refused(rotate, desk.root)
    assert "1 different shares were given; 2 are needed" in desk.refused(rotate, desk.root, *desk.shares(3))
    assert "root 2 was made" in desk.done(rotate, desk.root, *desk.shares(3, 1))
    assert "root 3 was made" in desk.done(rotate, desk.root, *desk.shares(1, 2, 3))
    assert desk.place.open().newest(ROLE_ROOT) == KeyName(ROLE_ROOT, 3)
    for words in (share.read_text().split() for share in shares):
        assert not [run for run in zip(words, words[1:], words[2:], strict=False) if " ".join(run) in desk.said]


def test_root_is_rotated_with_its_passphrase(desk: Desk) -> None:
    desk.init()
    assert "root-key: None given, the root key's file" in desk.refused("rotate root")
    assert "cannot be read" in desk.refused("rotate root --root-key", desk.place.folder / "gone")
    desk.done("rotate root --root-key", desk.root)
    keys, root = desk.place.open(), KeyStore.load(desk.root, ROOT_PASSPHRASE)
    for name in (KeyName(ROLE_ROOT, 1), KeyName(ROLE_ROOT, 2)):
        assert root.can_sign(name) and root.public_key(name) == keys.public_key(name)


def test_a_root_file_from_before_a_rotation_is_not_taken_for_the_newest(desk: Desk) -> None:
    desk.init()
    before = desk.root.read_bytes()
    desk.done("rotate root --root-key", desk.root)
    desk.root.write_bytes(before)
    assert "key: (1, 2) given, a version that is not there yet" in desk.refused("rotate root --root-key", desk.root)


def test_keys_are_rotated_and_retired(desk: Desk) -> None:
    desk.init()
    out = desk.done("rotate credit")
    assert "credit 2 was made.\ncredit 1 stays in force until it is retired.\n" in out
    assert "control 2 was made.\ncontrol 1 is retired.\n" in desk.done("rotate control --drop")
    assert "tag 2 was made." in desk.done("rotate tag")
    assert "credit 1 is retired" in desk.done("retire-version credit 1")
    shown = desk.done("show")
    standing = {tuple(line.split()[:2]): line.split("   ")[-1] for line in shown.splitlines()}
    assert standing[("root", "1")] == "public half only"
    assert standing[("credit", "1")] == standing[("control", "1")] == "revoked"
    assert standing[("credit", "2")] == standing[("control", "2")] == "signs"
    assert {("tag", "1"), ("tag", "2")} <= standing.keys()
    exported = desk.done("export-public")
    keys = desk.place.open()
    assert keys.public_key(KeyName(ROLE_CREDIT, 2)).hex() in exported
    assert keys.public_key(KeyName(ROLE_CREDIT, 1)).hex() not in exported


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("rotate mint", "key: 'mint' given, root, credit, control, tag or vending/SGC expected"),
        ("rotate vending/12345x", "key: 'vending/12345x' given"),
        ("rotate vending/5", "sgc: 5 given, one of [] expected"),
        ("retire-version credit 1", "a key that is not the last of its kind"),
        ("retire-version credit 2", "key: (2, 2) given"),
        ("retire-version tag 1", "a key that is not the last of its kind"),
        ("retire-version vending/5 1", "vending key: (5, 1) given"),
        ("vending add --sgc 1000000 --krn 1", "sgc: 1000000 given, 0..999999 expected"),
        ("vending add --sgc 5 --krn 10", "krn: 10 given, 1..9 expected"),
        ("vending add --sgc 5 --krn 1 --expires 2030-12-31", "expires: '2030-12-31' given, a time such as"),
        ("vending add --sgc 5 --krn 1 --expires soon", "expires: 'soon' given, a time such as"),
        ("vending add --sgc 5 --krn 1 --import /no/such", "/no/such cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_by_name(desk: Desk, words: str, sentence: str) -> None:
    desk.init()
    assert sentence in desk.refused(words)


def test_vending_keys_are_made_imported_and_rotated(desk: Desk) -> None:
    desk.init()
    file = desk.place.folder / "vending.hex"
    write_secret(file, VENDING_HEX.upper().encode() + b"\n")
    made = desk.done("vending add --sgc 123457 --krn 1 --expires 2030-12-31T08:00:00+08:00 --import", file)
    check = re.search(r"check value is ([0-9a-f]{6})\.", made)
    assert check and desk.place.open().check_value(VendingName(123_457, 1)) == check[1]
    desk.done("rotate vending/123457")
    desk.done("vending add --sgc 7 --krn 9")
    assert "krn: 10 given" in desk.refused("rotate vending/7")
    shown = desk.done("show")
    assert f"vending/123457 1   check value {check[1]}   expires 2030-12-31T00:00:00Z" in shown
    assert "vending/123457 2   check value" in shown and "vending/000007 9   check value" in shown
    assert "vending/000007 9 is retired" in desk.done("retire-version vending/7 9")
    assert desk.place.open().vending_names() == [VendingName(123_457, 1), VendingName(123_457, 2)]


@pytest.mark.parametrize("text", [VENDING_HEX[:-2], VENDING_HEX + "00", "z" * 40, "", "\xff"])
def test_a_file_that_is_no_vending_key_is_refused_without_its_content(desk: Desk, text: str) -> None:
    desk.init()
    file = desk.place.folder / "vending.hex"
    write_secret(file, text.encode("latin-1"))
    told = desk.refused("vending add --sgc 1 --krn 1 --import", file)
    assert "does not hold 40 hexadecimal digits" in told and (not text or text not in told)
    file.chmod(0o644)
    assert "0600 is expected" in desk.refused("vending add --sgc 1 --krn 1 --import", file)


def test_an_epoch_is_opened(desk: Desk) -> None:
    desk.init("--source", 7)
    out = desk.done("epoch open")
    assert "Signing epoch 2 is open, with credit source 8." in out
    assert "Source 7 is closed; its last signing epoch was 1." in out
    desk.done("epoch open")
    keys = desk.place.open()
    assert (keys.signing_epoch, keys.source, dict(keys.closed_sources)) == (3, 9, {7: 1, 8: 2})
    shown = desk.done("show")
    assert "closed source  7, its last signing epoch was 1\nclosed source  8, its last signing epoch was 2\n" in shown


def test_a_wrong_passphrase_or_pin_changes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.init()
    forget: dict[str, Callable[[], None]] = {"file": lambda: None, "hsm": load_anew}
    assert forget.keys() == set(KINDS)
    monkeypatch.setenv(passphrase.KEYSTORE, "9" * 12)
    for words in ("show", "rotate credit", "epoch open", "export-public"):
        forget[desk.place.kind]()
        assert re.search(r"passphrase is wrong|PIN of the token \S+ is wrong", desk.refused(words))
    assert "9" * 12 not in desk.said


def test_no_secret_is_ever_shown(desk: Desk) -> None:
    """Searched: everything that any command printed, and every file that is not meant to be secret."""
    desk.init("--custodians", "2/2")
    file = desk.place.folder / "vending.hex"
    write_secret(file, VENDING_HEX.encode())
    desk.done("vending add --sgc 1 --krn 1 --import", file)
    desk.done("vending add --sgc 1 --krn 2")
    secrets = set(desk.place.secrets())
    for words in ("rotate credit --drop", "rotate tag --drop", "rotate vending/1", "epoch open", "show"):
        desk.done(words)
        secrets |= set(desk.place.secrets())
    desk.done("rotate root --root-key", desk.root, *desk.shares(1, 2))
    desk.done("export-public --out", desk.place.folder / "public.json")
    shares = [Path(f"{desk.root}.share-{number}").read_text().strip() for number in (1, 2)]
    secrets |= {VENDING_HEX, *shares}
    seen = desk.said + (desk.place.folder / "public.json").read_text() + desk.place.file.read_text()
    assert len(secrets) >= 4 and "check value" in seen
    assert not [secret for secret in secrets if secret in seen]


def test_without_the_extra_a_token_is_a_sentence(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "headend.keys.hsm", None)
    monkeypatch.setenv("OPENPREPAY_KEYSTORE", "pkcs11:token=a?module-path=/x.so")
    assert "pip install 'openprepay[hsm]' brings it" in desk.refused("show")


def test_bad_usage_has_its_code(desk: Desk) -> None:
    for words in ("epoch", "epoch shut", "rotate", "retire-version tag", "vending add --sgc 1", "retire-version tag x"):
        assert desk.run(words)[0] == 2
