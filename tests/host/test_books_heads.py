"""A day is closed with a signed head and a report; the verifier stands by itself and says what is wrong."""

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import given, settings
from hypothesis import strategies as st

from headend.books import cli, day, heads, sealer, verifier
from headend.clock import ManualClock
from headend.keys.heads import digest_of
from headend.keys.holder import KeyName
from headend.keys.keystore import KeyStore
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.ledger import zone
from headend.refusals import Refused
from headend.store import Store, open_store
from meterlink.orders import ROLE_CONTROL
from tests import sqlite
from tests.host import books_rig as rig
from tests.host.books import NOW_S
from tests.host.peer import Noise

KEYS = KeyStore.generate(Noise())
SIGNER = Signer(KEYS, SignerLog(None), ManualClock(NOW_S), Caps(10**12))
CONTROL = KEYS.public_key(KEYS.newest(ROLE_CONTROL))
DAY_S = 86_400
MIDNIGHT_S = NOW_S - NOW_S % DAY_S + DAY_S  # in UTC, the zone where none is set


# --- signatures -------------------------------------------------------------------------------------------------------


def judged(public: bytes, digest: bytes, signature: bytes) -> bool:
    """What another implementation says."""
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + public)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        key.verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True


@settings(max_examples=30, deadline=None)
@given(
    st.binary(min_size=32, max_size=32),
    st.integers(1, 2**255),
    st.sampled_from(["as it is", "digest", "r", "s", "key", "r = 0", "s = n", "other key"]),
    st.integers(0, 255),
)
def test_the_verifier_judges_signatures_as_others_do(digest: bytes, private: int, spoilt: str, bit: int) -> None:
    key = ec.derive_private_key(private, ec.SECP256R1())
    numbers = key.public_key().public_numbers()
    public = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    r, s = utils.decode_dss_signature(key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256()))))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    if spoilt == "digest":
        digest = bytes([digest[0] ^ 1]) + digest[1:]
    elif spoilt == "r":
        r ^= 1 << bit
    elif spoilt == "s":
        s ^= 1 << bit
    elif spoilt == "r = 0":
        r = 0
    elif spoilt == "s = n":
        s = order
    elif spoilt == "key":
        public = public[:40] + bytes([public[40] ^ 1]) + public[41:]
    elif spoilt == "other key":
        public = CONTROL
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert verifier.verify_signature(public, digest, signature) == judged(public, digest, signature)
    assert verifier.verify_signature(public, digest, signature) == (spoilt == "as it is")


def test_a_head_signature_is_by_the_control_key_under_a_label_of_its_own() -> None:
    line = hashlib.sha256(b"line").digest()
    signed = SIGNER.sign_head(line)
    assert KeyName(signed.role, signed.version) == KEYS.newest(ROLE_CONTROL)
    assert verifier.head_digest(b"line") == digest_of(line)
    assert judged(signed.public, digest_of(line), signed.signature)
    assert not judged(signed.public, line, signed.signature)
    with pytest.raises(Refused, match="digest: '31 bytes' given"):
        SIGNER.sign_head(bytes(31))


# --- a day ------------------------------------------------------------------------------------------------------------


def test_a_day_is_closed_once_when_it_has_ended(any_store: Store, tmp_path: Path) -> None:
    rig.establish(any_store)
    rig.fill(any_store, 2)
    folder = tmp_path / "heads"
    assert heads.daily(any_store, SIGNER, MIDNIGHT_S, str(folder)) == "2027-01-15"
    rig.fill(any_store, 0, MIDNIGHT_S + 60)
    assert heads.daily(any_store, SIGNER, MIDNIGHT_S + DAY_S - 1, str(folder)) is None
    assert sorted(path.name for path in folder.iterdir()) == ["2027-01-15.head", "2027-01-15.report.json"]
    assert heads.daily(any_store, SIGNER, MIDNIGHT_S + 3 * DAY_S, str(folder)) == "2027-01-18"
    first, second = (
        verifier.read_head(name, (folder / name).read_bytes(), [CONTROL])
        for name in ("2027-01-15.head", "2027-01-18.head")
    )
    assert [head.stated["chains"]["entry"]["seq"] for head in (first, second)] == [3, 4]
    assert rig.verdict(any_store, first, second).wrong == []
    report = (folder / "2027-01-18.report.json").read_bytes()
    assert second.stated["report"] == hashlib.sha256(report).hexdigest()


def test_a_day_ends_at_local_midnight(any_store: Store) -> None:
    rig.establish(any_store)
    any_store.write(zone.put, NOW_S, "Asia/Shanghai", "user:admin").result()
    local_s = MIDNIGHT_S - 8 * 3600
    assert heads.daily(any_store, SIGNER, local_s - 1) == "2027-01-14"
    assert heads.daily(any_store, SIGNER, local_s) == "2027-01-15"


def test_a_lost_file_is_written_again(tmp_path: Path) -> None:
    with sqlite.open_new("sqlite://") as store:
        rig.establish(store)
        heads.daily(store, SIGNER, MIDNIGHT_S, str(tmp_path))
        before = (tmp_path / "2027-01-15.head").read_bytes()
        (tmp_path / "2027-01-15.head").unlink()
        assert heads.daily(store, SIGNER, MIDNIGHT_S + 5, str(tmp_path)) is None
        assert (tmp_path / "2027-01-15.head").read_bytes() == before


def test_the_report_of_a_day_adds_up(any_store: Store) -> None:
    rig.establish(any_store)
    rig.fill(any_store, 3)
    heads.daily(any_store, SIGNER, MIDNIGHT_S)
    rig.pay(any_store, 50, MIDNIGHT_S + 1)
    heads.daily(any_store, SIGNER, MIDNIGHT_S + DAY_S)
    reports = [json.loads(row.report) for row in reversed(any_store.read(heads.before))]
    payments = {"counted": 3, "amount_uc": 3_000_006}
    assert reports[0]["by_kind"] == {"payment": payments, "consumption": {"counted": 1, "amount_uc": 77}}
    assert reports[0]["by_channel"] == {"pos-1": {"taken": payments, "given_back": {"counted": 0, "amount_uc": 0}}}
    assert reports[0]["by_area"] == {"": {"payment": payments}}
    assert reports[1]["by_kind"] == {"payment": {"counted": 1, "amount_uc": 1_000_050}}
    assert reports[1]["entries"] == {"first": 5, "last": 5}
    for report in reports:
        assert report["zero"]["sum_uc"] == 0 < report["zero"]["debit_uc"] == report["zero"]["credit_uc"]


def test_a_report_reads_in_both_languages(any_store: Store) -> None:
    rig.establish(any_store)
    rig.fill(any_store, 2)
    heads.daily(any_store, SIGNER, MIDNIGHT_S)
    row = any_store.read(heads.newest)
    assert row is not None
    english, chinese = ("\n".join(day.lines(row.report, language)) for language in ("en", "zh"))
    assert "payments: 2 rows, 2.000003" in english
    assert "缴费：2 笔，2.000003" in chinese
    assert ("balances come to 0.00" in english, "余额合计 0.00" in chinese) == (True, True)


@pytest.mark.parametrize(("amount_uc", "text"), [(0, "0.00"), (-1, "-0.000001"), (1_500_000, "1.50"), (10, "0.00001")])
def test_amounts_keep_every_unit(amount_uc: int, text: str) -> None:
    assert day.money(amount_uc) == text


# --- by itself --------------------------------------------------------------------------------------------------------


def alone(script: Path, *arguments: str) -> tuple[int, str]:
    """The copied verifier, without any package of ours."""
    command = [sys.executable, "-I", "-S", str(script), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=script.parent, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_the_verifier_stands_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database, script, exported = tmp_path / "books.sqlite", tmp_path / "verify.py", tmp_path / "books.jsonl"
    with open_store(f"sqlite:///{database}", inline=True) as store:
        rig.establish(store)
        rig.fill(store)
        heads.daily(store, SIGNER, MIDNIGHT_S, str(tmp_path))
        store.read(lambda conn: exported.write_text("".join(cli.export.lines(conn)), encoding="utf-8"))
    assert cli.main(["verifier"]) == 0
    script.write_text(capsys.readouterr().out, encoding="utf-8")
    head = str(tmp_path / "2027-01-15.head")
    for source in (["--export", str(exported)], ["--database", str(database)]):
        code, text = alone(script, "--head", head, "--key", CONTROL.hex(), *source)
        assert (code, "entry: 5 rows as they were sealed, 0 not sealed yet." in text) == (0, True)
    code, text = alone(script, "--head", head, "--export", str(exported))
    assert (code, f"signed by key {verifier.fingerprint(CONTROL)} (compare" in text) == (0, True)
    other = KEYS.public_key(KeyName(2, 1)).hex()
    assert alone(script, "--head", head, "--key", other, "--export", str(exported))[0] == 3
    assert alone(script, "--export", str(exported))[0] == 2
    shutil.copy(exported, tmp_path / "spoilt.jsonl")
    spoilt = exported.read_text(encoding="utf-8").replace("1000002", "1000003")
    exported.write_text(spoilt, encoding="utf-8")
    code, text = alone(script, "--head", head, "--export", str(exported))
    assert code == 1
    assert "entry: row 2 and seal 2 are not of each other: id 2, at_s 1800000000, kind payment" in text
    with sqlite3.connect(database) as conn:
        conn.execute("DROP TRIGGER entry_delete")
        conn.execute("DELETE FROM entry WHERE id = 5")
    code, text = alone(script, "--head", head, "--database", str(database))
    assert (code, "entry: number 5 is sealed and its row is gone." in text) == (1, True)


def test_a_head_that_was_changed_is_not_believed() -> None:
    with sqlite.open_new("sqlite://") as store:
        rig.establish(store)
        heads.daily(store, SIGNER, MIDNIGHT_S)
        row = store.read(heads.newest)
    assert row is not None
    raw = heads.file_of(row)
    with pytest.raises(verifier.Unreadable, match="its signature is wrong"):
        verifier.read_head("h", raw.replace(b'"made_s":1', b'"made_s":2'))
    with pytest.raises(verifier.Unreadable, match="is not a head file"):
        verifier.read_head("h", raw.split(b"\n")[0])


def test_the_command_line_reads_the_database_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENPREPAY_DATABASE", f"sqlite:///{tmp_path}/books.sqlite")
    with sqlite.open_new(f"sqlite:///{tmp_path}/books.sqlite", inline=True) as store:
        rig.establish(store)
        rig.fill(store, 1)
        assert cli.main(["head"]) == 1
        assert "a day that was closed" in capsys.readouterr().err
        heads.daily(store, SIGNER, MIDNIGHT_S)
        sealer.seal_all(store, MIDNIGHT_S)
    assert cli.main(["head", "--out", str(tmp_path / "out")]) == 0
    head = capsys.readouterr().out.strip()
    assert cli.main(["verify", "--head", head, "--key", CONTROL.hex()]) == 0
    assert cli.main(["day", "--language", "zh"]) == 0
    assert "2027-01-15 账务日结" in capsys.readouterr().out
    assert cli.main(["export", str(tmp_path / "books.jsonl")]) == 0
    assert cli.main(["verify", "--head", head, "--export", str(tmp_path / "books.jsonl")]) == 0
    assert cli.main(["verify", "--head", head, "--export", head]) == 3
