"""`openprepay field token` on the firmware's own registers, over a service port and over a line that is none."""

import json
from collections.abc import Iterator

import pytest

from fieldtool.cli import main
from fieldtool.token import PAGES
from headend.links import blocks
from meter.registers import MeterRegisters
from meterlink import registers
from meterlink.provision import CURRENCY_ENERGY
from meterlink.sts import issue
from metersim.board import VirtualBoard
from metersim.inprocess import InProcessMeter
from metersim.load import Constant
from metersim.workbench import KWH_TARIFF, VENDING_KEY, Workbench
from tests.host.line_rig import Line, line, silent

NUMBER = 7
START_S = 1_767_225_600
BENCH = Workbench(NUMBER, tariff=KWH_TARIFF)
TID = issue.tid_of(2014, START_S)


class Port(MeterRegisters):
    """The registers of one link of a meter."""

    def __init__(self, one: InProcessMeter, carrier: int) -> None:
        super().__init__(one.meter, carrier)
        self.one = one


@pytest.fixture
def service() -> Iterator[tuple[Line, InProcessMeter]]:
    """A meter whose account counts kWh; unit 1 is its service port, unit 2 the same meter on a bus."""
    one = InProcessMeter(VirtualBoard(Constant(0), start_s=START_S, seed=1), BENCH.record(currency=CURRENCY_ENERGY))
    one.run(20)
    units = {1: Port(one, one.meter.CARRIER_LOCAL), 2: Port(one, one.meter.CARRIER_BUS)}
    with line("tcp", units) as made:
        yield made, one


def token(made: Line, *digits: str, unit: int = 1, lang: str = "en") -> int:
    return main(["token", *digits, "--port", made.port, "--unit", str(unit), "--lang", lang])


def grouped(digits: str) -> list[str]:
    return [digits[at : at + 4] for at in range(0, 20, 4)]


def test_credit_is_typed_once(service: tuple[Line, InProcessMeter], capsys: pytest.CaptureFixture[str]) -> None:
    made, one = service
    digits = BENCH.token(0, 0, TID, issue.register_of(255))
    assert token(made, *grouped(digits)) == 0
    assert capsys.readouterr().out == "The meter says: Accepted.\nCredited: 25.50 kWh. Balance: 25.50 kWh.\n"
    assert token(made, digits) == 1
    assert capsys.readouterr().out == "The meter says: Rejected: this token was used before.\n"
    assert token(made, " ".join(grouped(digits)), lang="zh") == 1
    assert capsys.readouterr().out == "电表应答：拒绝：该代码已使用过。\n"
    assert one.meter.account.balance_uc() == 25_500_000


def test_what_is_no_token_is_not_sent(service: tuple[Line, InProcessMeter], capsys: pytest.CaptureFixture[str]) -> None:
    made, one = service
    for wrong in ("1234", "1" * 21, "12345678901234567x90", "１２３４５６７８９０１２３４５６７８９０", ""):
        assert token(made, wrong) == 2
        assert "20 digits expected" in capsys.readouterr().err
    assert one.meter.typed.count == 0
    assert not made.requests


def test_wrong_entries_show_the_wait(service: tuple[Line, InProcessMeter], capsys: pytest.CaptureFixture[str]) -> None:
    made, one = service
    for wrong in range(3):
        assert token(made, f"{wrong * 10**15:020d}") == 1
    assert "It takes the next entry in 10 s." in capsys.readouterr().out
    assert token(made, BENCH.token(0, 0, TID, 1)) == 1
    assert capsys.readouterr().out.startswith("The meter says: Locked after wrong entries")
    one.run(10)
    assert token(made, BENCH.token(0, 0, TID, 1)) == 0


def test_a_bus_takes_no_token(service: tuple[Line, InProcessMeter], capsys: pytest.CaptureFixture[str]) -> None:
    made, one = service
    assert token(made, BENCH.token(0, 0, TID, 1), unit=2) == 1
    assert "service port" in capsys.readouterr().out
    assert one.meter.typed.count == 0
    assert one.meter.account.balance_uc() == 0


def test_a_lost_answer_is_found_in_the_block(
    service: tuple[Line, InProcessMeter], capsys: pytest.CaptureFixture[str]
) -> None:
    """Sent once: the block tells that the meter has it."""
    made, one = service
    made.faults.extend([lambda reply: reply, lambda reply: reply, silent])  # two readings, then the mailbox
    assert token(made, BENCH.token(0, 0, TID, 10)) == 0
    assert "Credited: 1.00 kWh" in capsys.readouterr().out
    assert one.meter.typed.count == 1


def test_sections_of_a_key_change(service: tuple[Line, InProcessMeter], capsys: pytest.CaptureFixture[str]) -> None:
    made, _ = service
    sections = issue.key_change(BENCH.decoder_key(), bytes(range(16)), BENCH.decoder)
    assert token(made, sections[2]) == 0
    assert capsys.readouterr().out.endswith("Sections still to be typed: 1, 2, 4.\n")
    for section in (sections[0], sections[3], sections[1]):
        assert token(made, section) == 0
    assert capsys.readouterr().out.endswith("The meter says: Accepted.\n")


def test_a_display_token_shows_what_it_asks_for(
    service: tuple[Line, InProcessMeter], capsys: pytest.CaptureFixture[str]
) -> None:
    made, _ = service
    assert token(made, "56493153725450313471") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("The meter says: Shown on the display.\n")
    assert len(shown.splitlines()) == 1 + len(PAGES)
    assert "\n  Supply group       123457\n" in shown
    assert token(made, issue.display(0, 1 << 15, 0)) == 0
    assert capsys.readouterr().out.endswith("\n  Supply group  123457\n")


def test_events_tell_what_was_typed(service: tuple[Line, InProcessMeter], capsys: pytest.CaptureFixture[str]) -> None:
    made, one = service
    for _ in range(2):
        token(made, BENCH.token(2, 0, TID, 1500))
    one.run(1)
    capsys.readouterr()
    assert main(["events", "--port", made.port, "--lang", "en"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert any("token accepted" in line and line.endswith(" 2/0") for line in told)
    assert main(["nuisance", "--port", made.port, "--lang", "en"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert any("token refused" in line and line.endswith("this token was used before.") for line in told)


def test_read_shows_how_typed_tokens_stand(
    service: tuple[Line, InProcessMeter], capsys: pytest.CaptureFixture[str]
) -> None:
    made, _ = service
    token(made, BENCH.token(0, 0, TID, 10))
    capsys.readouterr()
    assert main(["read", "--port", made.port, "--json"]) == 0
    raw = capsys.readouterr().out
    shown = json.loads(raw)["token"]
    assert (shown["typed_result_name"], shown["typed_tid"], shown["typed_uc"]) == ("accepted", TID, 1_000_000)
    assert {field[0] for field in blocks.fields(registers.TOKEN)} <= set(shown)
    assert main(["read", "--port", made.port, "--lang", "en"]) == 0
    text = capsys.readouterr().out
    assert "Key type                  unique to the meter" in text
    for secret in (BENCH.decoder_key().hex(), VENDING_KEY.hex()):
        assert secret not in raw.lower() + text.lower()
