"""`openprepay readings`: what is exported is what is stored, whole or not at all; packing and counting by hand."""

from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Connection, select, update

from headend.access.areas import EVERYWHERE
from headend.reads import cli, export, packer, recent
from headend.refusals import Refused
from headend.store import Store, open_store
from headend.store.schema import meter
from headend.store.schema_audit import audit
from headend.store.schema_readings import reading_day
from openprepay.bench import household
from tests.host.books import METER, NOW_S, open_books
from tests.host.books_rig import establish

NORTH, SOUTH = METER, 18
LOG = 0xFFFF_FFFF
DAYS = 6


def fill(conn: Connection) -> None:
    """Six days of two meters, four of them packed."""
    conn.execute(update(meter).where(meter.c.meter == NORTH).values(area="north/t-1"))
    conn.execute(update(meter).where(meter.c.meter == SOUTH).values(area="south"))
    days = household.days()
    for day in range(DAYS):
        for number in (NORTH, SOUTH):
            run = number, LOG, 1 + 96 * day, days[day]
            recent.put(conn, household.START_S + (day + 1) * 86_400, [run])
    packer.pack(conn, 0, 99, packer.due(household.START_S + 4 * 86_400 + packer.AFTER_S))


@pytest.fixture
def filled(any_store: Store) -> Store:
    establish(any_store, meters=(NORTH, SOUTH))
    any_store.write(fill).result()
    return any_store


def write(store: Store, path: Path, area: str = EVERYWHERE, days: tuple[int, int] = (0, DAYS)) -> int:
    since, until = (household.START_S + day * 86_400 for day in days)
    return export.to_parquet(store, NOW_S, "user:a", path, since, until, area)


def test_a_file_holds_what_is_stored(filled: Store, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    assert write(filled, path) == 2 * DAYS * 96
    found = pl.read_parquet(path)
    assert found.schema["start"] == pl.Datetime("ms", "UTC")
    assert pl.read_parquet_metadata(path)["openprepay.units"].startswith("meter: number of the meter; ")
    used_wh = household.energy_wh()[: DAYS * 96]
    for number in (NORTH, SOUTH):
        mine = found.filter(pl.col("meter") == number)
        assert mine["import_wh"].to_list() == used_wh
        assert mine["seq"].to_list() == list(range(1, DAYS * 96 + 1))
        assert mine["start"].is_sorted()
        assert mine["start"][0].timestamp() == household.START_S
        assert mine["import_reg_wh"][-1] == 1_000_000 + sum(used_wh)
        assert set(mine["log_id"]) == {LOG} and set(mine["minutes"]) == {15} and set(mine["flags"]) == {0}
    (row,) = filled.read(lambda conn: conn.execute(select(audit).where(audit.c.action == "reads.export")).all())
    assert row.actor == "user:a"


def test_an_area_and_a_span(filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROWS", 100)  # several parts
    path = tmp_path / "out.parquet"
    assert write(filled, path, "north", (3, 5)) == 2 * 96
    found = pl.read_parquet(path)
    assert set(found["meter"]) == {NORTH}
    assert found["import_wh"].to_list() == household.energy_wh()[3 * 96 : 5 * 96]
    assert write(filled, path, "west") == 0, "the file is written anew"
    assert pl.read_parquet(path).shape == (0, 10)


def test_what_cannot_be_written_whole_leaves_what_was_there(filled: Store, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    path.write_bytes(b"before")
    broken = update(reading_day).where(reading_day.c.meter == SOUTH).values(packed=b"\1\0\4damaged")
    filled.write(lambda conn: conn.execute(broken)).result()
    with pytest.raises(ValueError, match="CRC"):
        write(filled, path)
    with pytest.raises(Refused):
        write(filled, path, days=(1, 1))
    assert list(tmp_path.glob("out*")) == [path]
    assert path.read_bytes() == b"before"


def test_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/op.sqlite"
    monkeypatch.setenv("OPENPREPAY_DATABASE", url)
    open_books(url, meters=(NORTH, SOUTH), inline=True).close()
    with open_store(url, inline=True) as store:
        store.write(fill).result()
    assert cli.main(["pack"]) == 0
    assert capsys.readouterr().out == f"{2 * (DAYS - 4) * 96} records packed.\n"
    assert cli.main(["stat"]) == 0
    recent_line, packed_line, each = capsys.readouterr().out.splitlines()
    assert recent_line.split()[:2] == ["recent", "0"]
    assert packed_line.split()[:2] == ["packed", str(2 * DAYS * 96)]
    assert each.split()[0].startswith("1.")
    out = tmp_path / "out.parquet"
    span = ["--from", "2008-01-02", "--to", "2008-01-03T00:00:00Z"]
    assert cli.main(["export", *span, "--area", "south", "--out", str(out)]) == 0
    assert pl.read_parquet(out)["import_wh"].sum() == sum(household.energy_wh()[96:192])
    assert cli.main(["export", "--from", "yesterday", "--to", "2008-01-03", "--out", str(out)]) == 1
    assert "from: 'yesterday' given" in capsys.readouterr().err
