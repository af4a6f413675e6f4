"""Typed tokens from the signer: digits that a meter reads, each TID once, energy below the caps whatever restarts."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headend.clock import ManualClock
from headend.keys import signer, signer_tokens
from headend.keys.holder import VendingName
from headend.keys.keystore import KeyStore
from headend.keys.signer import Signer
from headend.keys.signer_books import DAY_S, Caps
from headend.keys.signer_log import SignerLog
from headend.keys.signer_tokens import MAX_AHEAD_S, TokenWanted
from headend.refusals import Refused
from meterlink.sts import amount, dkga04, issue, token
from tests.host.books import NOW_S
from tests.host.signer_rig import SignerProcess

VENDING = bytes(range(20))
PAN = "600727000000000009"
OTHER_PAN = "000000000000000000"
CAPS = Caps(1, token_day_wh=10_000, token_month_wh=25_000)
KWH = 10  # units of 0.1 kWh


def keys(expires_s: int | None = None) -> KeyStore:
    made = KeyStore.generate().without_root()
    made.add_vending_key(VendingName(123457, 1), VENDING, expires_s)
    return made


def wanted(minute: int = 0, units: int = KWH, **others: Any) -> TokenWanted:
    """A credit of so many 0.1 kWh with the TID of a minute after now."""
    tid = issue.tid_of(2014, NOW_S + 60 * minute)
    fields: dict[str, Any] = {"meter": 17, "pan": PAN, "sgc": 123457, "kt": 2, "ti": 1, "krn": 1, "ken": 255}
    fields |= {"base": 2014, "token_class": 0, "subclass": 0, "rnd": 5, "tid": tid, "channel": "channel:pos-1"}
    fields["database_epoch"] = 1
    return TokenWanted(**{**fields, "register": issue.register_of(units), **others})


class Vendor:
    """A signer whose log can be opened anew."""

    def __init__(self, path: Path, held: KeyStore, rotate_bytes: int = 1 << 20) -> None:
        self.clock, self.path, self.keys, self.rotate_bytes = ManualClock(NOW_S), path, held, rotate_bytes
        self.log = SignerLog(path, rotate_bytes=rotate_bytes)
        self.signer = Signer(held, self.log, self.clock, CAPS)

    def restart(self) -> None:
        self.log.close()
        self.log = SignerLog(self.path, rotate_bytes=self.rotate_bytes)
        self.signer = Signer(self.keys, self.log, self.clock, CAPS)

    def refusal(self, one: TokenWanted) -> str:
        """Why it is not made; "" where it is."""
        try:
            self.signer.make_token(one)
        except Refused as refused:
            return str(refused)
        return ""


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    return Vendor(tmp_path / "log", keys())


def test_a_meter_with_that_decoder_key_reads_it(vendor: Vendor) -> None:
    one = wanted(units=87)
    digits = vendor.signer.make_token(one)
    key = dkga04.derive(VENDING, dkga04.KeyAttributes(PAN, 123457, 1, 2, 1, 2014))
    read = token.decode(key, digits)
    assert (read.token_class, read.subclass, read.tid) == (0, 0, one.tid)
    assert amount.units_of(read.register) == 87
    with pytest.raises(token.TokenError):
        token.decode(bytes(16), digits)
    assert digits not in vendor.path.read_text(), "the log is no place to copy tokens from"


def test_the_same_token_again_gives_the_same_digits_and_counts_once(vendor: Vendor) -> None:
    digits = [vendor.signer.make_token(wanted(minute)) for minute in range(3)]
    vendor.restart()
    assert [vendor.signer.make_token(wanted(minute)) for minute in range(3)] == digits
    assert vendor.log.books.token_day_wh == {PAN: 3_000}
    assert vendor.path.read_text().count("\n") == 3


@pytest.mark.parametrize("change", [{"rnd": 6}, {"register": 11}, {"subclass": 1, "token_class": 2}, {"ti": 2}])
def test_a_tid_is_used_for_one_token_alone(vendor: Vendor, change: dict[str, int]) -> None:
    vendor.signer.make_token(wanted(5))
    vendor.restart()
    for minute in (5, 4):
        other = msgspec.structs.replace(wanted(minute), **change)
        assert vendor.refusal(other) == (
            f"tid: {other.tid} given, {wanted(5).tid + 1} or later, or the token that had this one expected"
        )
    assert vendor.refusal(wanted(4, pan=OTHER_PAN)) == ""
    assert vendor.refusal(wanted(6)) == ""


def test_tids_go_on_where_another_base_date_is_taken(vendor: Vendor) -> None:
    """The minute counts: a key change to a later base date begins with low numbers."""
    vendor.clock.advance(2_100_000_000 - NOW_S)
    late_s = 2_100_000_000
    assert vendor.refusal(wanted(tid=issue.tid_of(2014, late_s))) == ""
    assert vendor.refusal(wanted(tid=issue.tid_of(2035, late_s + 60), base=2035)) == ""
    assert "or later" in vendor.refusal(wanted(tid=issue.tid_of(2035, late_s), base=2035, rnd=1))


def test_the_energy_of_a_meter_is_capped_by_day_and_month(vendor: Vendor) -> None:
    assert vendor.refusal(wanted(0, 100)) == ""
    over = "amount_wh: 100 given, at most 0 (cap of one meter and day) expected"
    assert vendor.refusal(wanted(1, 1)) == over
    assert vendor.refusal(wanted(1, 1, meter=18)) == over, "the PAN counts, whatever number is claimed"
    vendor.restart()
    assert vendor.refusal(wanted(1, 1)) == over
    assert vendor.refusal(wanted(1, 1, pan=OTHER_PAN)) == ""
    assert vendor.refusal(wanted(1, token_class=2, subclass=1, register=0xFFFF)) == "", "it gives no energy"
    vendor.clock.advance(DAY_S)
    assert vendor.refusal(wanted(1440, 100)) == ""
    vendor.clock.advance(DAY_S)
    vendor.restart()
    month = "amount_wh: 5100 given, at most 5000 (cap of one meter and month) expected"
    assert vendor.refusal(wanted(2880, 51)) == month
    assert vendor.refusal(wanted(2880, 50)) == ""
    days = 31 - time.gmtime(NOW_S).tm_mday + 1
    vendor.clock.advance((days - 2) * DAY_S)
    assert vendor.refusal(wanted(days * 1440, 51)) == "", "a new month"


def test_a_supply_help_is_energy_too(vendor: Vendor) -> None:
    allowance = issue.help_register(amount.HELP_ALLOWANCE, 101)
    release = issue.help_register(amount.HELP_RELEASE, 0)
    fields = {"token_class": token.MANAGE, "subclass": token.SUPPLY_HELP}
    assert "amount_wh: 10100 given, at most 10000" in vendor.refusal(wanted(1, register=allowance, **fields))
    assert vendor.refusal(wanted(1, register=release, **fields)) == ""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"subclass": 1}, "subclass: 1 given, 0: credit in energy"),
        ({"subclass": 4}, "subclass: 4 given, 0: credit in energy"),
        ({"token_class": 1}, "class: 1 given, 0 or 2"),
        ({"token_class": 2, "subclass": 3}, "subclass: 3 given"),
        ({"pan": "600727000000000008"}, "pan: '600727000000000008' given, a check digit"),
        ({"krn": 2}, r"vending key: (123457, 2) given"),
        ({"base": 1993}, "ken: "),
        ({"base": 2000}, "base: 2000 given"),
        ({"tid": 1 << 24}, "tid: 16777216 given"),
        ({"register": 1 << 16}, "register: 65536 given"),
        ({"rnd": 16}, "rnd: 16 given"),
        ({"tid": issue.tid_of(2014, NOW_S + MAX_AHEAD_S + 120)}, f"at most {MAX_AHEAD_S} s ahead of now"),
    ],
)
def test_what_no_token_can_be_is_refused_and_leaves_no_line(
    vendor: Vendor, change: dict[str, Any], sentence: str
) -> None:
    assert sentence in vendor.refusal(wanted(**{"ken": 100, **change} if "base" in change else change))
    assert vendor.path.read_text() == ""


def test_a_vending_key_that_expired_makes_nothing(tmp_path: Path) -> None:
    vendor = Vendor(tmp_path / "log", keys(expires_s=NOW_S + 60))
    assert vendor.refusal(wanted(0)) == ""
    vendor.clock.advance(60)
    assert vendor.refusal(wanted(1)) == "krn: 1 given, a vending key that has not expired expected"


@pytest.mark.parametrize("rotate_bytes", [1_000, 1 << 20])
def test_the_log_tells_which_tokens_a_meter_had(tmp_path: Path, rotate_bytes: int) -> None:
    vendor = Vendor(tmp_path / "log", keys(), rotate_bytes)
    made = [wanted(minute, 1, pan=pan) for minute in range(12) for pan in (PAN, OTHER_PAN)]
    for one in made:
        vendor.signer.make_token(one)
    vendor.restart()
    for minute in (0, 1, 7, 11, 12):
        lines = vendor.signer.made_tokens(PAN, issue.issued_s(2014, wanted(minute).tid))
        assert [line.tid for line in lines] == [wanted(at).tid for at in range(minute, 12)]
        assert {line.pan for line in lines} <= {PAN}
    assert vendor.signer.made_tokens("600727000000000173", 0) == []
    if rotate_bytes == 1_000:
        (tmp_path / "log.1").unlink()  # put away
        assert vendor.signer.made_tokens(PAN, 0)[-1].tid == wanted(11).tid


def test_one_answer_is_bounded(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signer, "MAX_MADE", 2)
    for minute in range(3):
        vendor.signer.make_token(wanted(minute))
    first = vendor.signer.made_tokens(PAN, 0)
    rest = vendor.signer.made_tokens(PAN, first[-1].tid_s + 60)
    assert [line.tid for line in first + rest] == [wanted(minute).tid for minute in range(3)]


def test_a_database_of_another_epoch_has_nothing_made(vendor: Vendor) -> None:
    assert vendor.refusal(wanted(database_epoch=2)) == "signing_epoch: 2 given, 1, the key store's expected"
    assert vendor.path.read_text() == ""


def test_tokens_come_over_the_socket(tmp_path: Path) -> None:
    now_s = int(time.time())
    one = wanted(tid=issue.tid_of(2014, now_s))
    with SignerProcess(tmp_path / "a", keys(), max_token_day_wh=1_000, max_token_month_wh=1_000) as running:
        client = running.client()
        digits = client.make_token(one)
        assert (len(digits), digits.isdecimal()) == (20, True)
        assert client.make_token(one) == digits
        (line,) = client.made_tokens(PAN, 0)
        assert (line.tid, line.amount_wh, line.digest) == (one.tid, 1_000, signer_tokens.digest(one).hex())
        assert client.made_tokens(PAN, line.tid_s + 60) == []
        with pytest.raises(Refused, match="tid: "):
            client.make_token(msgspec.structs.replace(one, rnd=1))
        with pytest.raises(Refused, match="amount_wh: 1000 given, at most 0"):
            client.make_token(wanted(tid=issue.tid_of(2014, now_s + 120)))
        client.close()
