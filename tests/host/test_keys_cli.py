"""`openprepay keys` as a person or a script uses it."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from headend.keys import cli, passphrase, sealed
from headend.keys.keystore import KeyStore
from meterlink import provision
from meterlink.orders import ROLE_CONTROL, ROLE_CREDIT, ROLE_ROOT
from tests.host.books import CURRENCY, LIMITS, METER, TARIFF, open_books

PASSPHRASE = "correct horse battery"


class Place:
    """A folder with a passphrase in the environment; `run` gives exit code, output and errors."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        self.keys, self.root = folder / "head.keys", folder / "root.keys"
        self.all_output = ""

    def run(self, *words: object) -> tuple[int, str, str]:
        code = cli.main([str(word) for word in words])
        seen = self.capsys.readouterr()
        self.all_output += seen.out + seen.err
        return code, seen.out, seen.err

    def init(self, *more: object) -> tuple[int, str, str]:
        return self.run("init", "--keystore", self.keys, "--root-key", self.root, *more)


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(sealed, "DEFAULT_WORK", sealed.Work(1 << 10, 8, 1))  # guesses at this passphrase may be cheap
    monkeypatch.setenv(passphrase.KEYSTORE, PASSPHRASE)
    monkeypatch.delenv(passphrase.ROOT, raising=False)
    monkeypatch.delenv("OPENPREPAY_CONFIG", raising=False)
    return Place(tmp_path, capsys)


def test_init_makes_two_files_for_their_owner(place: Place) -> None:
    code, out, _ = place.init("--signing-epoch", 3, "--source", 4)
    assert code == 0 and "signing epoch 3, credit source 4" in out and "offline" in out
    for path in (place.keys, place.root):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    held, root = KeyStore.load(place.keys, PASSPHRASE), KeyStore.load(place.root, PASSPHRASE)
    assert [held.can_sign(name) for name in held.names()] == [False, True, True]
    assert [root.can_sign(name) for name in root.names()] == [True]
    assert held.public_key(held.newest(ROLE_ROOT)) == root.public_key(root.newest(ROLE_ROOT))


def test_init_overwrites_nothing(place: Place) -> None:
    place.init()
    before = place.keys.read_bytes(), place.root.read_bytes()
    code, _, err = place.init()
    assert code == 1 and "not overwritten" in err
    place.keys.unlink()
    assert place.init()[0] == 1 and not place.keys.exists()
    assert place.root.read_bytes() == before[1]


def test_the_root_key_may_have_a_passphrase_of_its_own(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(passphrase.ROOT, "another passphrase")
    assert place.init()[0] == 0
    KeyStore.load(place.root, "another passphrase")
    KeyStore.load(place.keys, PASSPHRASE)


def test_the_passphrase_may_stand_in_a_file(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(passphrase.KEYSTORE)
    file = place.folder / "passphrase"
    sealed.write_secret(file, PASSPHRASE.encode() + b"\nsecond line\n")
    assert place.init("--passphrase-file", file)[0] == 0
    assert KeyStore.load(place.keys, PASSPHRASE).names()
    file.chmod(0o644)
    code, _, err = place.run("show", "--keystore", place.keys, "--passphrase-file", file)
    assert code == 1 and "mode 0644; 0600 is expected" in err


def test_without_a_passphrase_and_nobody_to_ask_it_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(passphrase.KEYSTORE)
    monkeypatch.setattr("sys.stdin", open("/dev/null"))
    code, _, err = place.init()
    assert code == 1 and passphrase.KEYSTORE in err


def test_a_person_types_it_twice(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(passphrase.KEYSTORE)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    typed = iter([PASSPHRASE, "correct horse batterx"])
    monkeypatch.setattr(passphrase.getpass, "getpass", lambda prompt: next(typed))
    code, _, err = place.init()
    assert code == 1 and "differ" in err and not place.keys.exists()


def test_a_passphrase_is_not_an_argument(place: Place) -> None:
    assert place.init("--passphrase", PASSPHRASE)[0] == 2


def test_show_tells_what_is_there(place: Place) -> None:
    place.init()
    code, out, _ = place.run("show", "--keystore", place.keys)
    keys = KeyStore.load(place.keys, PASSPHRASE)
    assert code == 0
    for role, half in (("root", "public half only"), ("credit", "signs"), ("control", "signs")):
        assert any(line.startswith(role) and line.endswith(half) for line in out.splitlines())
    assert all(keys.fingerprint(name) in out for name in keys.names())


def test_public_keys_are_exported_as_json(place: Place) -> None:
    place.init()
    keys = KeyStore.load(place.keys, PASSPHRASE)
    wanted = [
        {"role": role, "key_version": 1, "public_key": keys.public_key(keys.newest(number)).hex()}
        for role, number in (("root", ROLE_ROOT), ("credit", ROLE_CREDIT), ("control", ROLE_CONTROL))
    ]
    code, out, _ = place.run("export-public", "--keystore", place.keys)
    assert code == 0 and json.loads(out) == {"curve": "P-256", "keys": wanted}
    assert place.run("export-public", "--keystore", place.keys, "--out", place.folder / "public.json")[0] == 0
    assert json.loads((place.folder / "public.json").read_text())["keys"] == wanted


def provisioned(place: Place, *more: object) -> tuple[int, str, str]:
    url = f"sqlite:///{place.folder}/store.sqlite"
    if not (place.folder / "store.sqlite").exists():
        open_books(url, inline=True).close()
    out = place.folder / "meter.bin"
    return place.run("provision", "--keystore", place.keys, "--database", url, "--out", out, *more)


def test_a_meter_is_provisioned_from_store_and_database(place: Place) -> None:
    place.init()
    code, out, _ = provisioned(place, METER, "--imp-per-kwh", 1600)
    path = place.folder / "meter.bin"
    made = provision.decode(path.read_bytes())
    keys = KeyStore.load(place.keys, PASSPHRASE)
    assert code == 0 and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (made.meter, made.account_epoch, made.tag_key_version, made.imp_per_kwh) == (METER, 1, 1, 1600)
    assert (made.interval_minutes, made.currency, made.limits, made.tariff) == (15, CURRENCY, LIMITS, TARIFF)
    assert made.tag_key == keys.meter_key(METER, 1)
    assert made.keys == tuple((name.role, name.version, keys.public_key(name)) for name in keys.names())
    assert made.tag_key.hex() not in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [((99,), "meter: 99 given"), ((METER, "--imp-per-kwh", 0), "imp_per_kwh: 0 given")],
)
def test_provisioning_refuses_by_name_and_writes_nothing(place: Place, words: tuple[Any, ...], sentence: str) -> None:
    place.init()
    code, _, err = provisioned(place, *words)
    assert code == 1 and sentence in err and not (place.folder / "meter.bin").exists()


def test_no_secret_is_ever_printed(place: Place) -> None:
    place.init()
    place.run("show", "--keystore", place.keys)
    place.run("export-public", "--keystore", place.keys)
    provisioned(place, METER)
    inside = json.loads(sealed.unseal(place.keys.read_bytes(), PASSPHRASE))
    root = json.loads(sealed.unseal(place.root.read_bytes(), PASSPHRASE))
    secrets = [PASSPHRASE, *inside["masters"].values(), *(key[2] for key in inside["private"] + root["private"])]
    secrets.append(KeyStore.load(place.keys, PASSPHRASE).meter_key(METER, 1).hex())
    assert len(secrets) == 6 and place.all_output
    assert not [secret for secret in secrets if secret in place.all_output]


def test_bad_usage_and_bad_settings_have_their_codes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert place.run("mint")[0] == 2
    assert place.run("--help")[0] == 0
    monkeypatch.setenv("OPENPREPAY_CURRENCY", "yuan")
    code, _, err = place.run("show")
    assert code == 1 and "OPENPREPAY_CURRENCY: 'yuan' given, a whole number expected" in err
