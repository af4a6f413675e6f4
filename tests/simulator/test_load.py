"""Loads: the standard household profile, and files of one's own with every way in which they can be wrong."""

import datetime
from pathlib import Path

import pytest

from metersim.load import CsvLoad, Household, LoadError

NEW_YEAR_S = int(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).timestamp())
YEAR_S = 365 * 86_400


def test_household_consumes_what_it_was_scaled_to() -> None:
    load = Household(3500)
    energy_wh = sum(load.watts(NEW_YEAR_S + at_s) for at_s in range(0, YEAR_S, 900)) / 4
    assert abs(energy_wh - 3_500_000) < 3500


def test_household_has_a_shape() -> None:
    load = Household(3500)
    night = load.watts(NEW_YEAR_S + 3 * 3600)
    evening = load.watts(NEW_YEAR_S + 19 * 3600)
    assert evening > 2 * night > 0


def test_household_repeats_yearly() -> None:
    load = Household(3500)
    assert (
        load.watts(NEW_YEAR_S + 12_345)
        == load.watts(NEW_YEAR_S + 12_345 + YEAR_S)
        == load.watts(NEW_YEAR_S + 12_345 - YEAR_S)
    )


@pytest.mark.parametrize("kwh", [0, -1, 1_000_001])
def test_household_out_of_range(kwh: int) -> None:
    with pytest.raises(LoadError, match=f"yearly_kwh: {kwh} given"):
        Household(kwh)


def write(folder: Path, text: str) -> Path:
    path = folder / "load.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_holds_each_value_until_the_next_and_repeats(tmp_path: Path) -> None:
    load = CsvLoad(write(tmp_path, "timestamp,watts\n1000,10\n1060,20.4\n1120,0\n"))
    assert [load.watts(at_s) for at_s in (1000, 1059, 1060, 1120, 1179)] == [10, 10, 20, 0, 0]
    assert [load.watts(at_s) for at_s in (1180, 1240, 940, 820)] == [10, 20, 0, 10]


def test_csv_reads_iso_8601(tmp_path: Path) -> None:
    load = CsvLoad(write(tmp_path, "timestamp,watts\n2026-01-01T00:00:00,5\n2026-01-01T01:00:00+00:00,7\n"))
    assert (load.watts(NEW_YEAR_S), load.watts(NEW_YEAR_S + 3600)) == (5, 7)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1"),
        ("time,power\n1,2\n", "header 'timestamp,watts' expected"),
        ("timestamp,watts\n", "at least one expected"),
        ("timestamp,watts\n1\n", "line 2: 1 fields given"),
        ("timestamp,watts\n1,2,3\n", "line 2: 3 fields given"),
        ("timestamp,watts\nnoon,2\n", "line 2: timestamp 'noon'"),
        ("timestamp,watts\n5,2\n5,2\n", "line 3: timestamp '5'"),
        ("timestamp,watts\n1,much\n", "line 2: watts 'much'"),
        ("timestamp,watts\n1,nan\n", "line 2: watts 'nan'"),
        ("timestamp,watts\n1,inf\n", "line 2: watts 'inf'"),
        ("timestamp,watts\n1,-1\n", "line 2: watts '-1'"),
        ("timestamp,watts\n1,1000001\n", "line 2: watts '1000001'"),
    ],
)
def test_a_broken_csv_is_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(LoadError) as caught:
        CsvLoad(write(tmp_path, text))
    assert told in str(caught.value)


def test_a_file_that_is_not_text_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LoadError, match="cannot be read as CSV"):
        CsvLoad(path)
    with pytest.raises(LoadError, match="cannot be read as CSV"):
        CsvLoad(tmp_path / "none.csv")
