"""`openprepay serve` and `openprepay admin`: what cannot be done is refused by name, and nothing changes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from headend import cli
from headend.keys.keystore import KeyStore
from headend.keys.sealed import Work

PASSPHRASE = "four words of a test"

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("head-end")
    KeyStore.generate().without_root().save(made / "op.keys", PASSPHRASE, work=Work(1 << 10, 8, 1))
    return made


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a function of the command line with an environment; its exit code, output and errors."""
    base = {
        "OPENPREPAY_DATABASE": f"sqlite:///{folder}/op.sqlite",
        "OPENPREPAY_KEYSTORE": f"{folder}/op.keys",
        "OPENPREPAY_SIGNER_LOG": f"{folder}/op.signed",
        "OPENPREPAY_KEYSTORE_PASSPHRASE": PASSPHRASE,
    }

    def run(function: Callable[[list[str]], int], arguments: str, **environ: str) -> tuple[int, str, str]:
        for name, value in {**base, **environ}.items():
            monkeypatch.setenv(name, value)
        code = function(arguments.split())
        for name in environ:
            monkeypatch.delenv(name)
        told = capsys.readouterr()
        return code, told.out, told.err

    assert run(cli.admin, "channel list")[0] == 0
    if "all " not in run(cli.admin, "channel list")[1]:
        code, token, _ = run(cli.admin, "channel add all --scopes payments,read --max 500.00")
        assert code == 0 and token.startswith("op_") and len(token.strip()) == 46
    return run


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        (
            {"OPENPREPAY_HTTP_HOST": "0.0.0.0"},
            "openprepay serve: http_host: '0.0.0.0' given, an address of this machine",
        ),
        ({"OPENPREPAY_HTTP_PORT": "many"}, "OPENPREPAY_HTTP_PORT: 'many' given, a whole number expected"),
        ({"OPENPREPAY_HTTP_BEYOND_LOOPBACK": "maybe"}, "'maybe' given, true or false expected"),
        ({"OPENPREPAY_COLOUR": "red"}, "OPENPREPAY_COLOUR is not a setting"),
        ({"OPENPREPAY_CONFIG": "/no/such.toml"}, "/no/such.toml cannot be read"),
        ({"OPENPREPAY_KEYSTORE_PASSPHRASE": "not those four words"}, "The passphrase is wrong"),
        ({"OPENPREPAY_KEYSTORE": "/no/such.keys"}, "/no/such.keys cannot be read"),
        ({"OPENPREPAY_DATABASE": "postgresql://x/y"}, "a URL such as sqlite"),
        ({"OPENPREPAY_CURRENCY": "1000"}, "an ISO 4217 number"),
    ],
)
def test_a_wrong_setting_is_named(command: Command, environ: dict[str, str], sentence: str) -> None:
    code, out, err = command(cli.serve, "", **environ)
    assert (code, out) == (1, "")
    assert sentence in err
    assert err.count("\n") == 1, "one sentence"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ("channel add all --scopes read", 1, "channel: 'all' given, a name that is not taken expected"),
        ("channel add Pos --scopes read", 1, "channel: 'Pos' given"),
        ("channel add pos --scopes mint", 1, "scope: 'mint' given, one of payments, "),
        ("channel add pos --scopes payments", 1, "max: '0.00' given, the largest single payment"),
        ("channel add pos --scopes payments --max 5,00", 1, "max: '5,00' given, an amount"),
        ("channel token nobody", 1, "channel: 'nobody' given, the name of a channel expected"),
        ("channel close nobody", 1, "channel: 'nobody' given, the name of a channel expected"),
        ("channel add pos", 2, "--scopes"),
        ("channel", 2, "COMMAND"),
        ("", 2, "THING"),
    ],
)
def test_what_cannot_be_administered_is_named(command: Command, arguments: str, code: int, sentence: str) -> None:
    before = command(cli.admin, "channel list")
    found, out, err = command(cli.admin, arguments)
    assert (found, out) == (code, "")
    assert sentence in err
    assert command(cli.admin, "channel list") == before
