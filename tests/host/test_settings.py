"""Settings from file and environment, each refused by name when it does not fit; and the clock."""

from pathlib import Path

import pytest

from headend.clock import Clock, ManualClock, SystemClock
from headend.settings import BadSettings, Settings


def test_without_anything_the_defaults_stand() -> None:
    assert Settings.load(None, {"HOME": "/root"}) == Settings()
    assert Settings().http_host == "127.0.0.1"


def test_the_environment_overrules_the_file(tmp_path: Path) -> None:
    file = tmp_path / "openprepay.toml"
    file.write_text('currency = 978\nhttp_port = 9000\nkeystore = "a.keys"\n')
    environ = {"OPENPREPAY_HTTP_PORT": "9001", "OPENPREPAY_KEYSTORE_PASSPHRASE": "x", "OPENPREPAY_NO_SKIP": "1"}
    wanted = Settings(currency=978, http_port=9001, keystore="a.keys")
    assert Settings.load(file, environ) == wanted
    assert Settings.load(None, environ | {"OPENPREPAY_CONFIG": str(file)}) == wanted


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("colour = 1", "colour is not a setting; expected one of database, "),
        ("http_port = 0", r"http_port: 0 given, 1\.\.65535 expected"),
        ("http_port = true", "http_port: True given, a whole number expected"),
        ("http_port = 80.5", "http_port: 80.5 given, a whole number expected"),
        ("keystore = 5", "keystore: 5 given, text expected"),
        ("keystore = ''", "keystore: '' given, the path of a file, or pkcs11:token=… expected"),
        ("database = 'postgresql://x'", "database: 'postgresql://x' given, a URL such as sqlite"),
        ("mqtt_url = 'tcp://x'", "mqtt_url: 'tcp://x' given"),
        ("mqtt_url = 'mqtt://x:99999'", "mqtt_url: "),
        ("max_increase_uc = 0", "max_increase_uc: 0 given"),
        ("[store]\nurl = 1", "store is not a setting"),
        ("http_port =", "is not TOML"),
        ('a = "\\ud800"', "is not TOML"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "openprepay.toml"
    file.write_text(text)
    with pytest.raises(BadSettings, match=sentence) as refused:
        Settings.load(file, {})
    assert str(file) in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("OPENPREPAY_HTTP_PORT", "many", "OPENPREPAY_HTTP_PORT: 'many' given, a whole number expected"),
        ("OPENPREPAY_HTTP_PORT", "70000", r"OPENPREPAY_HTTP_PORT: 70000 given, 1\.\.65535 expected"),
        ("OPENPREPAY_COLOUR", "red", "OPENPREPAY_COLOUR is not a setting"),
        ("OPENPREPAY_CONFIG", "/no/such.toml", "/no/such.toml cannot be read: No such file"),
    ],
)
def test_a_variable_that_does_not_fit_is_refused(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(BadSettings, match=sentence):
        Settings.load(None, {variable: value})


def test_a_manual_clock_moves_only_forward_and_when_told() -> None:
    clock = ManualClock(100)
    assert (clock.now_s(), clock.now_s(), clock.advance(5), clock.now_s()) == (100, 100, 105, 105)
    with pytest.raises(ValueError, match="seconds: -1"):
        clock.advance(-1)


def test_both_clocks_are_clocks() -> None:
    clocks: list[Clock] = [ManualClock(1), SystemClock()]
    assert all(isinstance(clock.now_s(), int) for clock in clocks)
