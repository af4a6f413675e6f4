"""The field tool on the firmware's own registers: what it shows, what it finds, and how it ends."""

import contextlib
import csv
import io
import json
import re
import string
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldtool import values, words
from fieldtool.cli import main
from fieldtool.words import Words, language_of
from headend.links import failures
from meterlink import bodies, names, orders, records, registers, states, stating
from meterlink.bodies_root import Recovered
from meterlink.mac import MacKey
from meterlink.tariff import FRIENDLY, Tariff
from metersim.board import VirtualBoard
from metersim.inprocess import InProcessMeter
from metersim.load import Constant
from metersim.workbench import Workbench
from tests.host.line_rig import Line, Space, line
from tests.host.meter_rig import INTERVALS, NUMBER, START_S, MeterSpace, meter

BENCH = Workbench(NUMBER)


@pytest.fixture(scope="module")
def standing() -> Iterator[tuple[Line, MeterSpace]]:
    """A meter that no test changes."""
    space = MeterSpace(meter())
    with line("tcp", {1: space, 2: Space(2)}) as one:
        yield one, space


@pytest.fixture
def own() -> Iterator[tuple[Line, MeterSpace]]:
    """A meter of the test's own."""
    space = MeterSpace(meter())
    with line("tcp", {1: space}) as one:
        yield one, space


def field(one: Line, *arguments: object, lang: str = "en") -> int:
    """Run the tool on a line; arguments begin with the sub-command."""
    command, *others = map(str, arguments)
    return main([command, "--port", one.port, "--lang", lang, *others])


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(BENCH.tag_key.hex() + "\n")
    return path


# --- read and watch ---------------------------------------------------------------------------------------------------


def test_read_shows_who_and_how(standing: tuple[Line, MeterSpace], capsys: pytest.CaptureFixture[str]) -> None:
    one, space = standing
    assert field(one, "read") == 0
    shown = capsys.readouterr().out
    core = space.one.meter
    balance = values.money(core.committed()[10], "CNY")
    for label, value in (
        ("Meter ", "000000000007"),
        ("Firmware", "0.1.0"),
        ("Balance", balance),
        ("+ credited", "90.00 CNY"),
        ("Price", "0.58 CNY/kWh"),
        ("Contact", "closed"),
        ("Power", "400 W"),
        ("Voltage", "230.0 V"),
        ("Newest interval", str(INTERVALS)),
        ("Alarms", "none"),
    ):
        assert re.search(rf"^  {re.escape(label)}.*  {re.escape(value)}$", shown, re.MULTILINE), (label, value)
    assert shown.endswith("\nSupply is on.\n")


def test_read_for_programs_holds_every_register(
    standing: tuple[Line, MeterSpace], capsys: pytest.CaptureFixture[str]
) -> None:
    one, space = standing
    assert field(one, "read", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    for block_id, _, name, fields in registers.BLOCKS:
        if block_id in (registers.IDENT, registers.HOT):
            assert {entry[0] for entry in fields} <= set(shown[name])
    assert shown["ident"]["meter"] == NUMBER
    assert shown["hot"]["balance_uc"] == space.one.meter.committed()[10]
    assert (shown["hot"]["contact_name"], shown["hot"]["holds_names"]) == ("closed", [])
    assert bytes.fromhex(shown["hot"]["fresh"]) == space.one.meter.clock.nonce


def test_read_says_why_supply_is_off(own: tuple[Line, MeterSpace], capsys: pytest.CaptureFixture[str]) -> None:
    one, space = own
    now_s = space.one.meter.now_s()
    space.one.meter.submit(
        0, BENCH.order(orders.ASPECT_SUPPLY, bodies.encode_supply(bodies.HOLD, 0, 0), 1, not_after_s=now_s + 60)
    )
    space.one.settle()
    space.one.run(1000)  # the limits' trip delay is 900 s
    assert field(one, "read") == 0
    assert capsys.readouterr().out.endswith("\nSupply is off: held for arrears.\n")
    assert field(one, "read", lang="zh") == 0
    assert capsys.readouterr().out.endswith("\n已停电：因欠费停电。\n")


def test_read_of_a_meter_that_is_not_commissioned(capsys: pytest.CaptureFixture[str]) -> None:
    space = MeterSpace(InProcessMeter(VirtualBoard(Constant(100), start_s=START_S, seed=1)))
    with line("tcp", {1: space}) as one:
        assert field(one, "read") == 0
        assert "The meter is not commissioned" in capsys.readouterr().out
        assert field(one, "intervals") == 0
        assert "holds no such records" in capsys.readouterr().out
        assert field(one, "report") == 4
        assert field(one, "scan", "--to", 1, "--wait", 2) == 0
        assert "unit 1: a meter not commissioned yet, firmware 0.1.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "Supply is on."),
        ({"holds": 1 << 8}, "Supply is on: protected against being switched off."),
        (
            {"pending": 1, "due_s": 0, "causes": 1},
            "Supply is on: out of credit, it goes off at 1970-01-01 00:00:00 UTC.",
        ),
        ({"contact": 0, "control": 2}, "Supply is off: it waits for the customer's key."),
        ({"contact": 0, "control": 0, "holds": 2, "causes": 1}, "Supply is off: held for arrears, out of credit."),
        ({"contact": 0, "control": 1, "diagnosis": 2}, "Supply is off: failed to close."),
        ({"contact": 0, "control": 1}, "Supply is off: no reason is shown."),
        ({"control": 0, "diagnosis": 1, "holds": 2}, "The contact is closed although supply is to be off: held for"),
        ({"contact": 2, "control": 0}, "The contact cannot be sensed; supply is meant to be off: no reason is shown."),
    ],
)
def test_the_sentence_on_supply(given: dict[str, int], says: str) -> None:
    facts = {"control": 1, "contact": 1, "diagnosis": 0, "pending": 0, "due_s": 0, "holds": 0, "causes": 0}
    assert values.why_off(Words("en"), {**facts, **given}).startswith(says)


def test_watch_writes_a_line_each_time(own: tuple[Line, MeterSpace], capsys: pytest.CaptureFixture[str]) -> None:
    one, _ = own
    assert field(one, "watch", "--count", 2, "--every", 0.1) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["time", "(UTC)", "power", "current", "voltage", "balance", "supply", "alarms"]
    assert len(rows) == 2
    assert all("400 W" in row and "closed" in row for row in rows)
    failing = iter([b"", b""])
    one.faults.extend([lambda reply: reply, lambda reply: next(failing), lambda reply: reply])
    assert field(one, "watch", "--count", 2, "--every", 0.1) == 0
    _, first, second = capsys.readouterr().out.splitlines()
    assert "does not answer" in first
    assert "400 W" in second


# --- records ----------------------------------------------------------------------------------------------------------


def test_intervals_go_into_a_file_whole_and_genuine(
    standing: tuple[Line, MeterSpace], tmp_path: Path, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, space = standing
    path = tmp_path / "intervals.csv"
    assert field(one, "intervals", "--from", 1, "--csv", path, "--key-file", key_file) == 0
    told = capsys.readouterr()
    assert f"{INTERVALS} records, 1 to {INTERVALS}, without a gap" in told.out
    assert "The MAC of each of 3 batches is genuine." in told.out
    assert told.err == f"{INTERVALS} of {INTERVALS} records\n"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    record = bytearray(records.RECORD_LENGTH)
    for seq, row in enumerate(rows, 1):
        assert space.one.meter.store.intervals.read_into(seq, record)
        held = records.unpack_interval(bytes(record))
        assert (int(row["seq"]), values.utc(held[1])) == (held[0], row["start_utc"])
        assert [int(row[name]) for name in ("import_reg_wh", "export_reg_wh", "import_wh", "export_wh", "minutes")] == [
            *held[2:7]
        ]
        assert row["flags"] == " + ".join(names.of_flags(names.FLAG, held[7]))
    assert field(one, "intervals", "--csv", path) == 2
    assert "cannot be made anew" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "first", "last", "code"),
    [
        ((), INTERVALS - 95, INTERVALS, 0),
        (("--count", 5), INTERVALS - 4, INTERVALS, 0),
        (("--from", 41, "--count", 41), 41, 81, 0),
        (("--from", INTERVALS, "--count", 9), INTERVALS, INTERVALS, 0),
        (("--from", INTERVALS + 1), 0, -1, 1),
    ],
)
def test_which_intervals_are_read(
    standing: tuple[Line, MeterSpace],
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[object, ...],
    first: int,
    last: int,
    code: int,
) -> None:
    assert field(standing[0], "intervals", *arguments) == code
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines() if re.match(r"\d+ +\d{4}-", line)]
    assert shown == [str(seq) for seq in range(first, last + 1)]


def test_a_wrong_key_shows_that_nothing_is_genuine(
    standing: tuple[Line, MeterSpace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key"
    key.write_bytes(bytes(32))
    assert field(standing[0], "intervals", "--count", 50, "--key-file", key) == 1
    assert "The MAC of 2 of 2 batches is NOT genuine." in capsys.readouterr().out
    assert field(standing[0], "report", "--key-file", key) == 1
    assert "NOT genuine: report: the MAC is not genuine." in capsys.readouterr().out


def test_gaps_are_reported(
    own: tuple[Line, MeterSpace],
    monkeypatch: pytest.MonkeyPatch,
    key_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one, space = own
    ring = space.one.meter.store.intervals
    read_into = ring.read_into
    monkeypatch.setattr(ring, "read_into", lambda seq, out: seq not in (50, 51, 99, 100) and read_into(seq, out))
    assert field(one, "intervals", "--from", 1, "--key-file", key_file) == 1
    told = capsys.readouterr().out
    assert "Missing: 50 to 51.\nMissing: 99 to 100.\n96 records read, 4 missing.\n" in told
    assert "is genuine" in told


def test_a_damaged_record_ends_it_and_what_came_is_kept(
    own: tuple[Line, MeterSpace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, space = own

    def spoil(file: int, record: int, out: memoryview, offset: int) -> None:
        if record > 40:
            out[offset + 5] ^= 1

    space.spoil = spoil
    path = tmp_path / "some.csv"
    assert field(one, "intervals", "--from", 1, "--csv", path) == 4
    assert "a wrong CRC or number" in capsys.readouterr().err
    assert len(path.read_text().splitlines()) == 41


def test_events_tell_what_happened(
    own: tuple[Line, MeterSpace], tmp_path: Path, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, space = own
    now_s = space.one.meter.now_s()
    body = bodies.encode_supply(bodies.HOLD, 0, 0)
    space.one.meter.submit(0, BENCH.order(orders.ASPECT_SUPPLY, body, 4, not_after_s=now_s + 60))
    space.one.settle()
    space.one.run(1000)  # the limits' trip delay is 900 s
    assert field(one, "events", "--from", 1, "--key-file", key_file) == 0
    told = capsys.readouterr().out
    assert re.search(r"power up", told)
    assert re.search(r"hold set .* tampering", told)
    assert re.search(r"relay opened .* tampering", told)
    assert re.search(r"order applied .* supply 4", told)
    path = tmp_path / "events.csv"
    assert field(one, "events", "--from", 1, "--csv", path) == 0
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row["event"]: row for row in csv.DictReader(file)}
    assert (rows["hold_set"]["about"], rows["hold_set"]["detail"]) == ("tamper", "4")
    assert rows["order_applied"]["about"] == "supply 4"


# --- orders -----------------------------------------------------------------------------------------------------------


def test_an_order_is_shown_handed_over_and_judged(
    own: tuple[Line, MeterSpace], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, space = own
    path = tmp_path / "order"
    path.write_bytes(BENCH.credit(120_000_000))
    assert field(one, "order", path) == 0
    told = capsys.readouterr()
    assert "credit: source 1 has credited 120.00 CNY and refunded 0.00 CNY in total" in told.out
    assert told.out.endswith("The meter says: Applied: done, and stored durably.\n")
    assert space.one.meter.account.totals(1) == (120_000_000, 0)
    path.write_text(BENCH.credit(120_000_000).hex() + "\n")
    assert field(one, "order", path, lang="zh") == 0
    assert capsys.readouterr().out.endswith("电表判定：无变化：电表此前已处于该状态。\n")
    forged = bytearray(BENCH.credit(900_000_000))
    forged[60] ^= 1
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(forged))))
    assert field(one, "order", "-") == 1
    assert "The meter says: Refused: its tag was not made with this meter's key." in capsys.readouterr().out
    assert space.one.meter.account.totals(1) == (120_000_000, 0)


def test_a_long_tariff_is_told_and_handed_over_with_its_order(
    own: tuple[Line, MeterSpace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, space = own
    holidays = tuple((26, 1, day, 1 if day % 2 else 1 | FRIENDLY) for day in range(1, 31))
    plan = Tariff((1_000_000, 2_000_000), more_days=(((0, 1),),), special_days=holidays)
    order, body = tmp_path / "order", tmp_path / "body"
    order.write_bytes(BENCH.order(orders.ASPECT_TARIFF, stating.apart(plan.encode()), flags=1))
    body.write_text(plan.encode().hex())
    assert field(one, "order", order, "--body", body, lang="zh") == 0
    assert "2026-01-02 为日类型 1，友好日" in capsys.readouterr().out
    assert space.one.meter.pricing.active.encode() == plan.encode()
    body.write_bytes(Tariff((3,)).encode())
    assert field(one, "order", order, "--body", body) == 2
    assert "is not the body that the order names" in capsys.readouterr().err


def test_an_order_for_another_meter_is_not_sent(
    own: tuple[Line, MeterSpace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, space = own
    path = tmp_path / "order"
    path.write_bytes(Workbench(8).credit(5_000_000))
    pending = space.one.meter.result(0).pending_id
    assert field(one, "order", path) == 1
    assert "nothing was sent" in capsys.readouterr().out
    assert space.one.meter.result(0).pending_id == pending


RULED = bodies.Limits(
    9,
    5,
    900,
    10,
    30,
    10,
    0,
    emergency_uc=5_000_000,
    emergency_from_uc=1_000_000,
    overdraft_uc=20_000_000,
    settlement=bodies.SETTLEMENT_STATE_GRID,
    supply_mode=4,
    rules=bodies.RULE_REMINDER,
    friendly_from=72,
    friendly_until=29,
    friendly_days=0b1100000,
    over_voltage_dv=2650,
)


@pytest.mark.parametrize(
    ("aspect", "selector", "body", "says"),
    [
        (orders.ASPECT_SUPPLY, 1, bodies.encode_supply(1, 0, 60), "supply: off, for arrears; delay 60 s"),
        (
            orders.ASPECT_SUPPLY,
            2,
            bodies.encode_supply(0, 1),
            "the customer's request is released; the meter closes by itself, spread over as its limits say",
        ),
        (orders.ASPECT_SUPPLY, 8, bodies.encode_supply(1), "supply: protection"),
        (orders.ASPECT_TARIFF, 0, Tariff((580_000,)).encode(), "tariff: prices per kWh 0.58 CNY, from at once"),
        (
            orders.ASPECT_TARIFF,
            0,
            Tariff((320_000, 640_000), ((0, 0), (25, 1)), 32, START_S).encode(),
            "by local time (UTC+08:00): 00:00 0, 06:15 1",
        ),
        (
            orders.ASPECT_TARIFF,
            0,
            Tariff((100_000, 200_000), steps_wh=(180_500,), charges=((1, 250_000),), year_from=4).encode(),
            "from at once, beyond 180.5 kWh 0.20 CNY, steps by the consumption of the year from month 4 on, 0.25 CNY a",
        ),
        (
            orders.ASPECT_TARIFF,
            0,
            Tariff((1, 2), more_days=(((0, 1),),), seasons=((4, 1, 0, 0, 0, 0, 0, 1, 1),)).encode(),
            "days of type 1: 00:00 1, from 04-01 on Monday .. Sunday are of type 0 0 0 0 0 1 1",
        ),
        (
            orders.ASPECT_LIMITS,
            0,
            bodies.Limits(10_000_000, 5_000_000, 900, 10, 30, 10, 32_000).encode(),
            "trip delay 900 s, dwell 10 s, spread 30 s, stable 10 s; current limit 32.0 A",
        ),
        (orders.ASPECT_CLOCK, 0, bodies.encode_clock(bytes(8), START_S), "clock: it is 2026-05-28 20:26:40 UTC"),
        (
            orders.ASPECT_LIMITS,
            0,
            bodies.Limits(9, 5, 900, 10, 30, 10, 0, 500_000_000, 80_000_000).encode(),
            "credit above a balance of 500.00 CNY waits, a typed token above it is refused, typed tokens up to 80.00",
        ),
        (orders.ASPECT_LIMITS, 0, RULED.encode(), "emergency credit of 5.00 CNY, offered at 1.00 CNY or below, over"),
        (orders.ASPECT_LIMITS, 0, RULED.encode(), "what is below zero first, then debts, trips once at the second al"),
        (orders.ASPECT_LIMITS, 0, RULED.encode(), "no trip for want of credit from 18:00 to 07:15 on Sat, Sun, mode"),
        (orders.ASPECT_LIMITS, 0, RULED.encode(), "mode 4 of disconnect control, off above 265.0 V for 10 s"),
        (
            orders.ASPECT_DEBT,
            2,
            bodies.DebtTerms(90_000_000, 10_000_000, bodies.DEBT_SHARED, 1250, 0, 1, 0, 5_000_000).encode(),
            "debt 2: 90.00 CNY placed, 10.00 CNY withdrawn in all, 12.50 % of each top-up, at most 5.00 CNY a week",
        ),
        (
            orders.ASPECT_DEBT,
            1,
            bodies.DebtTerms(90_000_000, 0, bodies.DEBT_TIMED, 0, 1_500_000, 2, 0, 0).encode(),
            "0.00 CNY withdrawn in all, 1.50 CNY a month",
        ),
        (
            orders.ASPECT_LOAD,
            0,
            bodies.encode_load(((START_S, 2000), (START_S + 3600, 0))),
            "from 2026-05-28 20:26:40 UTC at most 2000 W, from 2026-05-28 21:26:40 UTC no limit",
        ),
        (
            orders.ASPECT_MODE,
            0,
            stating.mode(states.MODE_REMOTE, 7_000_000, 1_234_500, -500_000, 2_000, 3600),
            "remote, supply up to a register of 1234.500 kWh; balance -0.50 CNY, then a grace of 2.000 kWh or 3600 s",
        ),
        (
            orders.ASPECT_CREDIT,
            3,
            bodies.encode_credit(9_000_000, 0, [], True, ((1, 5_871_660),)),
            "the source is closed, in place of the typed token 5871660 of key revision 1",
        ),
        (orders.ASPECT_FIRMWARE, 0, stating.firmware((1, 2, 3), 4, 99, bytes(32)), "run version 1.2.3 (legal part 4)"),
        (
            orders.ASPECT_CLEAR,
            0,
            stating.clear(5, 77),
            "flash damaged, many wrong tokens cleared, as far as set up to event 77",
        ),
        (
            orders.ASPECT_EPOCH,
            0,
            stating.epoch(2, 1 << 7),
            "a new account is open: change of tenant; holds that stay: safety",
        ),
        (orders.ASPECT_RETIRE, 0, stating.retire(3), "the account is closed for good: exchange of the meter"),
        (
            orders.ASPECT_RECOVER,
            0,
            stating.recover(Recovered(bytes(8), 0, 0, 3_000_000, 0, 5_500, 0, ((1, 9_000_000, 0),))),
            "go on from a balance of 6.00 CNY and 5.500 kWh; 1 credit sources",
        ),
        (
            orders.ASPECT_KEYS,
            orders.KEYS_TAG,
            stating.tag_keys([1], (2, bytes(32)), MacKey(bytes(32)), NUMBER, 1, 1),
            "the meter's own keys are versions 2, 1, the first in use",
        ),
        (
            orders.ASPECT_KEYS,
            orders.KEYS_DECODER,
            stating.decoder(bytes(16), (123457, 2, 1, 3, 255, 1), MacKey(bytes(32)), NUMBER, 1, 1),
            "decoder key of supply group 123457, revision 3, tariff index 01",
        ),
        (orders.ASPECT_CLEAR, 0, b"\x01\x02", "clear: 2 bytes 0102"),
        (orders.ASPECT_TARIFF, 0, b"\xff", "tariff: 1 bytes ff"),
    ],
)
def test_what_an_order_states(
    own: tuple[Line, MeterSpace],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    aspect: int,
    selector: int,
    body: bytes,
    says: str,
) -> None:
    path = tmp_path / "order"
    plain = aspect in orders.UNVERSIONED
    dated = {"version": 0} if plain else {"version": 3, "not_after_s": START_S + 10**6}
    path.write_bytes(BENCH.order(aspect, body, selector, **dated))
    assert field(own[0], "order", path) in (0, 1)
    told = capsys.readouterr().out
    assert says in told
    assert plain or re.search(r"^  Version +3 of signing epoch 1$", told, re.MULTILINE)


def test_a_verdict_that_does_not_come_is_no_success(
    own: tuple[Line, MeterSpace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, space = own
    space.looks = 1
    other = BENCH.credit(130_000_000)

    def on_read(address: int) -> None:
        if address == registers.BLOCKS[2][1] and space.looks == 0:
            space.on_read = lambda address: None
            space.one.settle()
            space.one.meter.submit(space._carrier, other)

    space.on_read = on_read
    path = tmp_path / "order"
    path.write_bytes(BENCH.credit(120_000_000))
    assert field(one, "order", path) == 1
    assert "The meter holds it; no verdict: Unit 1 shows the verdict on another order." in capsys.readouterr().out


# --- report -----------------------------------------------------------------------------------------------------------


def test_a_report_is_asked_shown_and_verified(
    standing: tuple[Line, MeterSpace], key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, _ = standing
    assert field(one, "report", "--key-file", key_file) == 0
    told = capsys.readouterr().out
    assert re.search(r"^  Credited by the source +90.00 CNY$", told, re.MULTILINE)
    assert told.endswith(
        "Supply is on.\nThe money adds up.\nGenuine: made with the meter's key, for the question just asked.\n"
    )
    assert field(one, "report", "--aspect", "supply", "--selector", 2) == 0
    told = capsys.readouterr().out
    assert "Credited by the source" not in told
    assert told.endswith("Not checked for being genuine: that takes the meter's key (--key-file).\n")
    assert field(one, "report", "--json", "--key-file", key_file) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["meter"], shown["genuine"], shown["balances"]) == (NUMBER, True, True)
    assert len(bytes.fromhex(shown["raw"])) == 222


# --- scan -------------------------------------------------------------------------------------------------------------


def test_scan_finds_meters_and_tells_other_devices_apart(
    standing: tuple[Line, MeterSpace], capsys: pytest.CaptureFixture[str]
) -> None:
    one, _ = standing
    assert field(one, "scan", "--to", 4, "--wait", 1) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "unit 1: meter 000000000007, firmware 0.1.0, bench (keys are readable)"
    assert told[1].startswith("unit 2: something answers (The answer is from no openprepay meter")
    assert told[2] == "2 found in units 1 to 4."
    assert field(one, "scan", "--from", 3, "--to", 4) == 1


def test_scan_over_a_serial_line_passes_the_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with line("serial", {3: MeterSpace(meter()), 5: Space(5)}) as one:
        port = one.port.partition(":")[2]
        assert main(["scan", "--port", port, "--baud", "115200", "--to", "6", "--wait", "0.6", "--lang", "zh"]) == 0
        told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("地址 3：表 000000000007")
    assert told[1].startswith("地址 5：有应答")
    assert told[2] == "地址 1 至 6 共发现 2 个。"


# --- how it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["read"], 2, "--port"),
        (["paint", "--port", "x"], 2, "invalid choice"),
        (["read", "--port", "x", "--unit", "0"], 2, "'0' given, 1..247 expected"),
        (["read", "--port", "x", "--unit", "²"], 2, "1..247 expected"),
        (["read", "--port", "x", "--baud", "9601"], 2, "9601"),
        (["read", "--port", "http://x"], 2, "'http://x' given, the path of a serial device, socket://HOST:PORT or"),
        (["read", "--port", "tcp://x"], 2, "'tcp://x' given"),
        (["read", "--port", "/nowhere/at/all"], 4, "cannot be opened: No such file or directory."),
        (["order", "--port", "/nowhere", "/nowhere/order"], 2, "FILE: /nowhere/order cannot be read"),
        (["order", "--port", "/nowhere", "/etc/hostname"], 2, "holds no order"),
        (["report", "--port", "/nowhere", "--key-file", "/etc/hostname"], 2, "holds no key; 32 bytes or 64"),
        (["watch", "--port", "/nowhere", "--every", "0"], 2, "0.1..86400 expected"),
        (["intervals", "--port", "/nowhere", "--from", "0"], 2, "1..4294967295 expected"),
    ],
)
def test_what_cannot_be_done_is_told_and_coded(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--lang", "en"] if len(arguments) > 1 else arguments) == code
    told = capsys.readouterr()
    assert says in told.err
    assert told.out == ""


def test_a_meter_that_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with line("socket") as one:
        assert main(["read", "--port", one.port, "--unit", "13", "--lang", "zh"]) == 4
    assert capsys.readouterr().err.startswith("openprepay field: 没有应答：")


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "Exit codes: 0 done; 1" in capsys.readouterr().out


# --- words ------------------------------------------------------------------------------------------------------------


def test_every_outcome_of_a_line_has_its_words() -> None:
    outcomes = {value for name, value in vars(failures).items() if name.isupper() and isinstance(value, str)}
    assert set(words.CODE["outcome"]) == outcomes


def test_every_register_shown_has_a_label_and_every_label_a_use() -> None:
    listed = {name for _, _, names_ in words.SECTIONS for name in names_}
    assert listed <= set(words.FIELD)
    for block_id, _, name, fields in registers.BLOCKS:
        if block_id in (registers.IDENT, registers.HOT, registers.TOKEN):
            shown = {one for _, block, names_ in words.SECTIONS if block == name for one in names_}
            unseen = {"self_test", "block_id", "block_length", "snapshot", "fresh"}
            if block_id == registers.TOKEN:  # of the last entry, which `token` shows, and which the log keeps
                unseen |= {"time_s", "typed_class", "typed_subclass", "typed_tid", "typed_amount_uc", "typed_control"}
            assert shown == {entry[0] for entry in fields} - unseen


def _fields(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_languages_say_the_same_fields() -> None:
    for key, (english, chinese) in words.SAY.items():
        if key != "failed":  # English has the link's sentence, which Chinese puts a word in front of
            assert _fields(english) == _fields(chinese), key
        assert english
        assert chinese
    used = "".join(path.read_text(encoding="utf-8") for path in Path(words.__file__).parent.glob("*.py"))
    for key in words.SAY:
        assert re.search(rf'(say|progress)\(\s*"{key}"|"{key}" if ', used) or f'else "{key}"' in used, (
            f"{key} is unused"
        )


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LC_ALL": "", "LANG": "en_US"}, "en"),
    ],
)
def test_the_language_follows_the_environment(environment: dict[str, str], language: str) -> None:
    assert language_of(environment) == language


@pytest.mark.parametrize(
    ("value", "exponent", "places", "shown"),
    [
        (0, -6, 2, "0.00"),
        (1, -6, 2, "0.000001"),
        (-59_740, -6, 2, "-0.05974"),
        (58_000_000, -6, 2, "58.00"),
        (-1_500_000, -6, 2, "-1.50"),
        (1252, -3, 3, "1.252"),
        (2300, -1, 1, "230.0"),
        (2**63, -6, 2, "9223372036854.775808"),
        (7, 0, 0, "7"),
        (1000, -3, 0, "1"),
    ],
)
def test_numbers_are_exact(value: int, exponent: int, places: int, shown: str) -> None:
    assert values.decimal(value, exponent, places) == shown


def test_columns_stand_under_each_other_in_chinese() -> None:
    rows = values.table([["序号", "x"], ["1", "y"]])
    assert rows == ["序号  x", "1     y"]


def test_output_that_nobody_reads_to_the_end_is_no_error(
    standing: tuple[Line, MeterSpace], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def fileno(self) -> int:
            return file.fileno()

    with (tmp_path / "out").open("w") as file, contextlib.redirect_stdout(Gone()):
        assert field(standing[0], "read") == 0
