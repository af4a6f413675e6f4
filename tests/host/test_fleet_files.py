"""Files of the fleet: every line is told of, nothing is stored when one is wrong, and what is written is read again."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from headend.fleet import cli, columns, csv_lines, exporting, grid, importing, life, placement, points, types
from headend.fleet.import_lines import Given
from headend.fleet.meters import get_meter
from headend.fleet.placement import Readings
from headend.refusals import Refused
from headend.store import Store
from headend.store.schema import meter
from headend.store.schema_audit import audit
from tests.host.books import LIMITS, METER, NOW_S, TARIFF, dump, open_books

GIVEN = Given("user:engineer", TARIFF, LIMITS, 3)
GRID = "path,kind,title_en,title_zh\nn,substation,North,北\nn/f-1,feeder,,\nn/f-1/t-1,transformer,T 1,一号台区\n"
TYPES = (
    "type,title_en,title_zh,carriers,phases,relay,limit_w,intervals,tariff,firmware\n"
    "op1,One phase,单相,mqtt modbus,1,1,13200,15 30,steps rates,op\nsum3,Sum,总表,mqtt,3,0,400000,15,,op\n"
)
POINTS = "supply_point,transformer,households\nP-1,n/f-1/t-1,1\nP-2,n/f-1/t-1,51\nP-3,n/f-1/t-1,\nP-4,n/f-1/t-1,2\n"
METERS = (
    "meter,carrier,address,type,serial,label,supply_point,node,since,start_import_wh,start_export_wh,state,area\n"
    "101,mqtt,,op1,SN-1,=1+1,P-1,,2027-01-10T08:00:00Z,120,0,,\n"
    "102,modbus,tcp://10.0.0.8:502?unit=9,op1,SN-2,东门 2 号,P-2,,,,,,\n"
    "103,mqtt,,sum3,,,,n/f-1/t-1,,,,,\n"
    "104,mqtt,,op1,,,,,,,,in_stock,south\n"
    '105,mqtt,,,,"a, ""b""",,,,,,removed,\n'
)
ALL = ((columns.GRID, GRID), (columns.TYPES, TYPES), (columns.POINTS, POINTS), (columns.METERS, METERS))


@pytest.fixture
def store(any_store_url: str) -> Iterator[Store]:
    with open_books(any_store_url, (), inline=True) as opened:
        yield opened


def run(store: Store, kind: str, text: str, now_s: int = NOW_S, **options: Any) -> importing.Report:
    return importing.run(store, now_s, kind, lambda: io.StringIO(text, newline=""), GIVEN, **options)


def fill(store: Store) -> None:
    for kind, text in ALL:
        report = run(store, kind, text)
        assert report.stored and report.clean, report.problems


def exported(store: Store) -> dict[str, str]:
    return {kind: "".join(csv_lines.write(kind, exporting.every(store.read, kind))) for kind in columns.FILES}


def test_a_fleet_is_taken_in_and_written_again(store: Store, tmp_path: Path) -> None:
    fill(store)
    place = store.read(placement.of, 101)
    assert place == ("P-1", "n/f-1/t-1", "n/f-1", "n", 1_799_568_000, "op1")
    assert store.read(placement.of, 103).transformer == "n/f-1/t-1"
    assert store.read(placement.of, 104) == (None, None, None, "south", None, "op1")
    assert (store.read(get_meter, 101).label, store.read(get_meter, 101).tag_key_version) == ("=1+1", 3)
    files = exported(store)
    assert "'=1+1" in files[columns.METERS] and "1,'=" not in files[columns.METERS]
    with open_books("", (), inline=True) as other:
        for kind, text in files.items():
            assert run(other, kind, text, NOW_S + 9).clean
        assert exported(other) == files
    before = dump(store)
    for kind, text in files.items():
        again = run(store, kind, text, NOW_S + 9)
        assert again.counts[importing.SAME] == again.lines, again.problems
    assert dump(store) == before  # what stands already changes nothing


def test_every_bad_line_is_told_of_and_nothing_is_stored(store: Store) -> None:
    fill(store)
    before = dump(store)
    text = (
        "\ufeffmeter,carrier,address,type,supply_point,since,start_import_wh,account_epoch,tariff\n"
        "201,mqtt,,op1,P-3,,,,\n"
        "202,mqtt,,op1,P-3,,,,\n"  # taken by the line before
        "201,mqtt,,,,,,,\n"  # a meter twice
        "0,mqtt,,,,,,,\n"
        "203,pigeon,,,,,,,\n"
        "204,mqtt,,nothing,,,,,\n"
        "205,mqtt,,op1,P-9,,,,\n"
        "206,mqtt,,op1,P-1,,,,\n"  # another meter stands there
        "207,mqtt,,sum3,P-4,,,,\n"  # three phases, no relay
        "208,modbus,tcp://10.0.0.8:502,,,,,,\n"
        "209,mqtt,,,P-4,yesterday,,,\n"
        "101,mqtt,,,,,,2,\n"  # an import opens no account
        "101,mqtt,,,P-3,,,,\n"  # nor does it move a meter
        "210,mqtt,,,,,,,zz\n"
        "211,mqtt\n"
    )
    report = run(store, columns.METERS, text, dry_run=True)
    found = {one.line: one.field for one in report.problems}
    assert found == {
        3: "supply_point", 4: "meter", 5: "meter", 6: "carrier", 7: "type", 8: "supply_point", 9: "supply_point",
        10: "type", 11: "address unit", 12: "since", 13: "account_epoch", 14: "supply_point", 15: "tariff", 16: "cells",
    }  # fmt: skip
    assert report.counts == {"new": 1, "changed": 0, "same": 0, "problem": 14}
    assert not report.stored and dump(store) == before
    assert not run(store, columns.METERS, text).stored and dump(store) == before
    kept = run(store, columns.METERS, text, skip_bad=True)
    assert kept.stored and kept.counts == report.counts
    assert store.read(placement.of, 201).supply_point == "P-3"


def test_parts_see_what_parts_before_have_taken(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store)
    monkeypatch.setattr(importing, "PART", 2)
    text = "meter,carrier,supply_point\n301,mqtt,\n302,mqtt,P-3\n303,mqtt,P-3\n301,mqtt,\n304,mqtt,\n"
    report = run(store, columns.METERS, text, dry_run=True)
    assert {one.line: one.field for one in report.problems} == {4: "supply_point", 5: "meter"}
    good = run(store, columns.METERS, text, skip_bad=True)
    assert good.counts["new"] == 3 and store.read(placement.of, 302).supply_point == "P-3"


def test_what_stands_is_described_anew(store: Store) -> None:
    fill(store)
    changes = (
        (columns.GRID, "path,kind,title_en,title_zh\nn,substation,North 2,北\n"),
        (columns.POINTS, "supply_point,transformer,households\nP-1,n/f-1/t-1,80\n"),
        (columns.METERS, "meter,carrier,label,serial,supply_point\n104,mqtt,kiosk,SN-4,P-3\n101,mqtt,,,\n"),
    )
    for kind, text in changes:
        assert run(store, kind, text, NOW_S + 5).counts["changed"] == 1
    assert store.read(placement.of, 104).since_s == NOW_S + 5
    assert store.read(lambda conn: grid.at(conn, "n").title_en) == "North 2"  # type: ignore[union-attr]
    for kind, text, field in (
        (columns.GRID, "path,kind\nn,feeder\n", "kind"),
        (columns.GRID, "path,kind\nx/f,feeder\n", "path"),
        (columns.TYPES, TYPES.replace(",1,1,13200", ",2,1,13200"), "phases"),
        (columns.POINTS, "supply_point,transformer\nP-1,n/f-1\n", "node"),
        (columns.METERS, "meter,carrier,state\n101,mqtt,retired\n", "state"),
    ):
        (problem,) = run(store, kind, text).problems
        assert problem.field == field


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "header"),
        ("meter,colour\n", "header: 'meter,colour'"),
        ("carrier\n", "header"),
        ("meter,meter,carrier\n", "header"),
        ('meter,carrier\n1,"mqtt', "line 2: 'what is no CSV'"),
    ],
)
def test_a_file_of_another_form_is_refused(store: Store, text: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        run(store, columns.METERS, text)


def test_an_import_is_told_in_the_audit(store: Store) -> None:
    fill(store)
    actions = store.read(lambda conn: conn.execute(select(audit.c.action, audit.c.actor)).all())
    assert [actor for action, actor in actions if action == "fleet.import"] == ["user:engineer"] * 4


CELL = st.text(st.sampled_from("=+-@'\"ab, ;\t中\u00a0"), max_size=6)


@given(cells=st.lists(st.fixed_dictionaries(dict.fromkeys(columns.names(columns.POINTS), CELL)), max_size=5))
def test_whatever_a_cell_holds_is_read_as_it_was_written(cells: list[dict[str, str]]) -> None:
    text = "".join(csv_lines.write(columns.POINTS, cells))
    assert [line.cells for line in csv_lines.read(columns.POINTS, text.splitlines(keepends=True))] == cells
    for row in csv.reader(io.StringIO(text, newline="")):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row), "a spreadsheet takes none for a formula"


WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=12).filter(
    str.isprintable
)


@settings(max_examples=4, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_fleet_goes_out_and_comes_in_exactly(data: st.DataObject) -> None:
    """Through the functions in, through the file out, and into an empty database."""
    with open_books("sqlite://", (), inline=True) as store, open_books("sqlite://", (), inline=True) as other:
        write = lambda fn, *args, **options: store.write(lambda conn: fn(conn, *args, **options)).result()  # noqa: E731
        top = write(grid.add, NOW_S, "substation", None, "s", (data.draw(WORDS), data.draw(WORDS)), "x")
        feeder = write(grid.add, NOW_S, "feeder", top, "f", ("", ""), "x")
        nodes = [
            write(grid.add, NOW_S, "transformer", feeder, f"t{n}", (data.draw(WORDS), ""), "x")
            for n in range(data.draw(st.integers(1, 3)))
        ]
        for name in "ab":
            relay = name == "a"
            kind = types.MeterType(name, "t", "型", ("mqtt",), 1, relay, 9_000, (15, 30), ("rates",), "fw 1")
            write(types.put, NOW_S, kind, "x")
        count = data.draw(st.integers(1, 6))
        for n in range(count):
            where = data.draw(st.sampled_from(nodes))
            write(points.add, NOW_S, f"P{n}", where, "x", households=data.draw(st.integers(0, 60)))
            text = f"meter,carrier,label,serial,type\n{n + 1},mqtt,,,\n"
            assert run(store, columns.METERS, text).clean
            cells = {
                "label": data.draw(WORDS),
                "serial": data.draw(WORDS),
                "type": data.draw(st.sampled_from(("", "a"))),
            }
            line = "".join(csv_lines.write(columns.METERS, [{"meter": str(n + 1), "carrier": "mqtt", **cells}]))
            assert run(store, columns.METERS, line).clean
            if data.draw(st.booleans()):
                read = Readings(data.draw(st.none() | st.integers(0, 10**12)), None)
                write(life.commission, NOW_S + n, n + 1, placement.Place(f"P{n}"), "x", read=read)
                if data.draw(st.booleans()):
                    write(life.remove, NOW_S + n + 1, n + 1, "x")
        files = exported(store)
        for kind, text in files.items():
            report = run(other, kind, text, NOW_S + 100)
            assert report.clean, report.problems
        assert exported(other) == files


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/fleet.sqlite"
    open_books(url, (METER,), inline=True).close()
    monkeypatch.setenv("OPENPREPAY_DATABASE", url)
    for kind, text in ALL:
        (tmp_path / kind).write_text("\ufeff" + text.replace("2027-", "2026-"), encoding="utf-8")
        bodies = ["--tariff", TARIFF.hex(), "--limits", LIMITS.hex()] if kind == columns.METERS else []
        assert cli.main(["import", kind, str(tmp_path / kind), *bodies]) == 0
    assert "5 lines: 5 new, 0 changed, 0 same, 0 problem; stored" in capsys.readouterr().out
    assert cli.main(["export", "meters", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out").read_text(encoding="utf-8")
    assert len(text.splitlines()) == 7 and "东门 2 号" in text
    assert cli.main(["grid"]) == 0 and cli.main(["grid", "--below", "n/f-1"]) == 0 and cli.main(["types"]) == 0
    told = capsys.readouterr().out
    assert "n/f-1/t-1" in told and "4 supply points, 3 meters, 0 online" in told and '"op1"' in told
    (tmp_path / "bad").write_text("meter,carrier\n900,owl\n901,mqtt\n", encoding="utf-8")
    report = tmp_path / "report"
    arguments = ["import", "meters", str(tmp_path / "bad"), "--report", str(report), *bodies]
    assert cli.main(arguments) == 1 and cli.main([*arguments, "--dry-run"]) == 1
    assert "line 2: carrier: 'owl' given" in capsys.readouterr().out and "owl" in report.read_text(encoding="utf-8")
    assert cli.main([*arguments, "--skip-bad"]) == 0
    assert cli.main(["grid", "--below", "nowhere"]) == 1 and cli.main(["import", "sheep", "x"]) == 2
    with open_books(url, (), inline=True) as store:
        assert store.read(lambda conn: conn.execute(select(func.count()).select_from(meter)).scalar_one()) == 7
