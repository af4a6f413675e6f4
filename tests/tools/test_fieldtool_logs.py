"""The field tool on the smaller logs of a meter, and the wear budget."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldtool import values
from fieldtool.cli import main
from meterlink import flashmap, records
from tests.host.line_rig import Line, line
from tests.host.meter_rig import MeterSpace, meter


@pytest.fixture(scope="module")
def standing() -> Iterator[tuple[Line, MeterSpace]]:
    space = MeterSpace(meter())
    with line("tcp", {1: space}) as one:
        yield one, space


def field(one: Line, command: str, *arguments: object, lang: str = "en") -> int:
    return main([command, "--port", one.port, "--lang", lang, *map(str, arguments)])


def held(space: MeterSpace, kind: int) -> list[tuple[int, ...]]:
    """The records of a kind that the meter holds."""
    ring = space.one.meter.store.logs[kind]
    record = bytearray(records.TOPUP_LENGTH if kind == records.KIND_TOPUP else records.FREEZE_LENGTH)
    return [records.unpack(kind, bytes(record)) for seq in range(1, ring.newest + 1) if ring.read_into(seq, record)]


def test_topups_are_shown_and_written(
    standing: tuple[Line, MeterSpace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, space = standing
    told = held(space, records.KIND_TOPUP)
    assert told
    assert field(one, "topups") == 0
    shown = capsys.readouterr().out
    assert values.money(told[-1][5]) in shown and f"{len(told)} records, 1 to {len(told)}" in shown
    assert "no MAC" in shown
    path = tmp_path / "topups.csv"
    assert field(one, "topups", "--csv", path, "--count", 1) == 0
    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    last = told[-1]
    assert (int(row["seq"]), row["time_utc"], int(row["source"])) == (last[0], values.utc(last[1]), last[2])
    assert (row["amount"], row["balance"], row["tid"]) == (values.money(last[5]), values.money(last[10]), "")
    capsys.readouterr()
    assert field(one, "topups", lang="zh") == 0
    assert "没有 MAC" in capsys.readouterr().out


def test_days_are_shown_with_their_registers(
    standing: tuple[Line, MeterSpace], capsys: pytest.CaptureFixture[str]
) -> None:
    one, space = standing
    days = held(space, records.KIND_DAILY)
    assert field(one, "freezes") == 0
    shown = capsys.readouterr().out
    if days:
        assert str(days[-1][6]) in shown and values.utc(days[-1][1]) in shown
    else:
        assert "holds no such records" in shown
    assert field(one, "freezes", "--months") == 0
    assert field(one, "nuisance") == 0
    assert "holds no such records" in capsys.readouterr().out


def test_wear_is_told_by_the_figures_of_the_firmware(capsys: pytest.CaptureFixture[str]) -> None:
    for lang, journal, lasts in (("en", "journal", "are promised"), ("zh", "账本", "承诺")):
        assert main(["wear", "--lang", lang]) == 0
        shown = capsys.readouterr().out
        for _, wh_a_day in flashmap.LOADS:
            region = flashmap.journal(wh_a_day, 15)
            (row,) = [row for row in shown.splitlines() if row.startswith(journal) and str(region.bytes) in row]
            assert row.split()[-1] == str(region.years())
        assert lasts in shown


def test_wear_says_where_it_is_not_enough(capsys: pytest.CaptureFixture[str]) -> None:
    """At 60 A without end, minutes are too many."""
    assert main(["wear", "--minutes", "1", "--lang", "en"]) == 1
    assert "less than the 15" in capsys.readouterr().out
    assert main(["wear", "--minutes", "0"]) == 2
