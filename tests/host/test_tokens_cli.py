"""`openprepay token`: a small utility sells tokens from the command line."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from headend import cli as head_end
from headend.fleet.meters import add_meter
from headend.keys.sealed import Work
from headend.keys.signer_log import SignerLog
from headend.ledger import channels
from headend.store import identity
from headend.tokens import cli
from meterlink.provision import CURRENCY_ENERGY
from meterlink.sts import dkga04, token
from tests import sqlite
from tests.host.books import NOW_S, record
from tests.host.token_rig import GROUP, HELD, vending_key, vending_keys

PASSPHRASE = "four words of a test"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in a folder with keys, an established database, a channel `till` and meters 17 and 18."""
    vending_keys().without_root().save(tmp_path / "op.keys", PASSPHRASE, work=Work(1 << 10, 8, 1))
    for name, value in {
        "DATABASE": f"sqlite:///{tmp_path}/op.sqlite",
        "KEYSTORE": f"{tmp_path}/op.keys",
        "SIGNER_LOG": f"{tmp_path}/op.signed",
        "KEYSTORE_PASSPHRASE": PASSPHRASE,
        "CURRENCY": "0",
    }.items():
        monkeypatch.setenv(f"OPENPREPAY_{name}", value)
    with sqlite.open_new(f"sqlite:///{tmp_path}/op.sqlite", inline=True) as store:
        store.write(identity.establish, NOW_S, 1, 1, CURRENCY_ENERGY).result()
        for meter in (17, 18):
            store.write(add_meter, NOW_S, record(meter)).result()
        token_of = random.Random(1).randbytes
        store.write(channels.add_channel, NOW_S, "till", channels.new_token(token_of), ("payments",), 10**9).result()

    def run(arguments: str, main: Callable[[list[str]], int] = cli.main) -> tuple[int, str, str]:
        code = main(arguments.split())
        told = capsys.readouterr()
        return code, told.out, told.err

    assert run(f"decoder 17 --sgc {GROUP}") == (0, f"PAN {HELD.pan}\n", "")
    return run


def worth(printed: str) -> int:
    """Units of 0.1 kWh that the meter would read."""
    digits = printed.strip().replace(" ", "")
    return token.decode(dkga04.derive(vending_key(1), HELD.attributes()), digits).register


def test_sold_printed_again_listed_and_taken_back(run: Run) -> None:
    code, printed, _ = run("vend 17 12.5 --channel till --payment p1")
    assert (code, worth(printed)) == (0, 125)
    assert len(printed.split()) == 5, "groups of four"
    assert run("vend 17 12.5 --channel till --payment p1")[1] == printed
    assert run("reprint 1")[1] == printed
    listed = run("list 17")[1]
    assert "12.5 kWh" in listed and "vended" in listed and printed.strip() not in listed
    code, said, _ = run("void 1 --note spoiled")
    assert code == 0 and said.startswith("voiding: ")
    code, said, refused = run("replace 1")
    assert (code, said) == (1, "") and "it is voiding" in refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("vend 17 1.25 --channel till --payment p1", "1.2 kWh or 1.3 kWh expected"),
        ("vend 18 1 --channel till --payment p1", "a meter whose decoder key is known"),
        ("vend 19 1 --channel till --payment p1", "the number of a meter of this fleet"),
        ("vend 17 1 --channel nobody --payment p1", "a channel of this head end"),
        ("vend x 1 --channel till --payment p1", "meter: 'x' given"),
        ("reprint 7", "the id of a token"),
        ("void seven", "a whole number"),
        ("decoder 18 --sgc 1000000", "supply_group: 1000000 given, 0..999999 expected"),
        ("batch /no/such.csv --channel till", "a CSV file"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(run: Run, arguments: str, said: str) -> None:
    code, out, err = run(arguments)
    assert (code, out) == (1, "")
    assert err.startswith("openprepay token: ") and said in err


def test_a_batch_tells_every_bad_line_and_may_be_repeated(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    lines = ["payment_id,meter,energy,remark", "b1,17,1.5,", "b2,18,1.5,no key", "b3,17,x,", "b4,17,2", ",17,3,"]
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    code, out, err = run(f"batch {file} --channel till")
    assert code == 1
    assert [line.split("  ")[0] for line in out.splitlines()] == ["b1", "b4"]
    assert [worth(line.split("  ")[3]) for line in out.splitlines()] == [15, 20]
    told = err.splitlines()
    assert [line.split(": ")[0].rpartition(" ")[2] for line in told[:-1]] == ["3", "4", "6"]
    assert told[-1] == "2 sold, 3 refused"
    assert run(f"batch {file} --channel till")[1] == out


def test_beside_a_head_end_that_has_the_signer_the_digits_are_waited_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "WAIT_S", 0.3)
    held = SignerLog(tmp_path / "op.signed")
    code, out, err = run("vend 17 1 --channel till --payment p1")
    assert (code, out) == (1, "") and "The payment is taken" in err
    held.close()
    code, out, _ = run("vend 17 1 --channel till --payment p1")
    assert (code, worth(out)) == (0, 10)


def test_the_key_store_is_never_needed_to_look(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENPREPAY_KEYSTORE_PASSPHRASE")
    assert run("list 17") == (0, "", "")
    assert run("channel list", head_end.admin)[0] == 0
