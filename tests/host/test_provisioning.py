"""Provisioning records, one or many, and labels: `openprepay keys provision|label` as people use it."""

import csv
import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from headend.fleet import meters
from headend.keys import cli, label, passphrase, provision_batch, provision_csv, sealed
from headend.keys.holder import BENCH, KeyName, VendingName
from headend.keys.keystore import KeyStore
from headend.keys.label import Label
from headend.keys.provision import public_keys
from headend.keys.provision_csv import BadLine, Wanted
from headend.orders import keys_held
from headend.store import open_store
from headend.store.schema import meter as meter_table
from headend.tokens import decoder
from headend.tokens.decoder import Decoder
from meterlink import provision
from meterlink.orders import ROLE_CONTROL, ROLE_CREDIT, ROLE_ROOT
from meterlink.sts import dkga04
from tests import sqlite
from tests.host.books import METER, TARIFF, open_books

PASSPHRASE = "correct horse battery"
VENDING = bytes(range(20))
SGC = 123_457
TARIFF_JSON = {"prices": ["0.53"]}
LIMITS_JSON = {"alarm": "10.00", "alarm2": "5.00", "trip_delay_s": 900, "dwell_s": 60, "spread_s": 300, "stable_s": 10}


class Works:
    """A maker's desk: key store, database and the files of a batch."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        self.keys = KeyStore.generate(use=BENCH).without_root()
        self.keys.add_vending_key(VendingName(SGC, 1), VENDING)
        self.save()
        self.url = sqlite.place(folder / "store.sqlite")
        self.out = folder / "records"
        for name, held in (("tariff", TARIFF_JSON), ("limits", LIMITS_JSON)):
            (folder / f"{name}.json").write_text(json.dumps(held))

    def save(self) -> None:
        self.keys.save(self.folder / "head.keys", PASSPHRASE, work=sealed.Work(1 << 10, 8, 1), replace=True)

    def run(self, *words: object) -> tuple[int, str, str]:
        """Exit code, output and errors."""
        common = ("--keystore", self.folder / "head.keys", "--database", self.url)
        code = cli.main([str(word) for word in (*words, *common)])
        seen = self.capsys.readouterr()
        return code, seen.out, seen.err

    def file(self, text: str | bytes, name: str = "meters.csv") -> Path:
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def batch(self, text: str | bytes, *more: object, add: bool = True) -> tuple[int, str, str]:
        adding = ("--add", "--tariff", self.folder / "tariff.json", "--limits", self.folder / "limits.json")
        words = ("provision", "--csv", self.file(text), "--out", self.out, *(adding if add else ()))
        return self.run(*words, *more)

    def record(self, number: int) -> provision.Provision:
        return provision.decode((self.out / f"{number:012d}.provision").read_bytes())

    def report(self) -> list[dict[str, str]]:
        with (self.out / provision_batch.REPORT).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def fleet(self) -> list[int]:
        with open_store(self.url, inline=True) as store:
            return [row.meter for row in store.read(meters.list_meters)]


@pytest.fixture
def works(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Works:
    monkeypatch.setenv(passphrase.KEYSTORE, PASSPHRASE)
    monkeypatch.delenv("OPENPREPAY_CONFIG", raising=False)
    return Works(tmp_path, capsys)


# --- one record -------------------------------------------------------------------------------------------------------


def test_a_record_holds_the_use_of_the_keys_and_every_key_in_force(works: Works) -> None:
    open_books(works.url, inline=True).close()
    for _ in range(2):
        works.keys.make_signing_key(ROLE_CREDIT)
    works.keys.retire(KeyName(ROLE_CREDIT, 1))
    works.keys.make_signing_key(ROLE_CONTROL)
    works.save()
    out = works.folder / "one.provision"
    assert works.run("provision", METER, "--out", out)[0] == 0
    made = provision.decode(out.read_bytes())
    assert (made.use, made.decoder) == (provision.USE_BENCH, None)
    names = [(ROLE_ROOT, 1), (ROLE_CREDIT, 2), (ROLE_CREDIT, 3), (ROLE_CONTROL, 1), (ROLE_CONTROL, 2)]
    assert [key[:2] for key in made.keys] == names
    works.keys.make_signing_key(ROLE_CREDIT)  # a third in force: the two newest go to the meter
    assert [key[1] for key in public_keys(works.keys) if key[0] == ROLE_CREDIT] == [3, 4]


def test_the_decoder_key_is_that_of_its_attributes(works: Works) -> None:
    store = open_books(works.url, inline=True)
    held = Decoder(decoder.pan_of(METER), SGC, tariff_index=7)
    store.write(decoder.put, METER, held).result()
    store.close()
    out = works.folder / "one.provision"
    code, said, _ = works.run("provision", METER, "--out", out)
    made = provision.decode(out.read_bytes())
    wanted = dkga04.derive(VENDING, held.attributes())
    assert (code, made.decoder) == (0, (wanted, (SGC, 2, 7, 1, 255, 1)))
    assert wanted.hex() not in said


def test_the_same_record_again_is_no_harm_and_another_is_not_written_over_it(works: Works) -> None:
    open_books(works.url, inline=True).close()
    out = works.folder / "one.provision"
    works.run("provision", METER, "--out", out)
    before = out.read_bytes()
    code, said, _ = works.run("provision", METER, "--out", out)
    assert code == 0 and "there already" in said
    works.keys.make_signing_key(ROLE_CREDIT)
    works.save()
    code, _, err = works.run("provision", METER, "--out", out)
    assert code == 1 and "another record; it is not overwritten" in err
    assert out.read_bytes() == before


@pytest.mark.parametrize("words", [(), (METER, "--csv", "x.csv"), ("0",), ("1e3",)])
def test_one_meter_or_a_file_of_them(works: Works, words: tuple[Any, ...]) -> None:
    assert works.run("provision", *words, "--out", works.out)[0] == 2


# --- many -------------------------------------------------------------------------------------------------------------

GOOD = (
    "meter,label,carrier,address,supply_group,tariff_index,imp_per_kwh\n"
    '000000000021,"Mill Lane 1, left",mqtt,,123457,3,1600\n'
    "22,磨坊路2号,modbus,tcp://10.0.0.8:502?unit=1,,,\n"
)


def test_a_batch_adds_meters_and_writes_their_records(works: Works) -> None:
    code, said, err = works.batch("\ufeff" + GOOD)
    assert (code, err) == (0, "") and "2 records, 0 there already, 2 meters added, 0 lines refused" in said
    assert works.fleet() == [21, 22]
    first, second = works.record(21), works.record(22)
    assert (first.imp_per_kwh, first.currency, first.tariff) == (1600, 156, TARIFF)
    assert first.decoder is not None and first.decoder[1] == (SGC, 2, 3, 1, 255, 1)
    assert (second.imp_per_kwh, second.decoder) == (1000, None)
    assert first.tag_key == works.keys.meter_key(21, 1) != second.tag_key
    assert stat.S_IMODE(works.out.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in works.out.iterdir()} == {0o600}
    with open_store(works.url, inline=True) as store:
        row = store.read(lambda conn: conn.execute(select(meter_table).where(meter_table.c.meter == 22)).one())
        assert (row.label, row.address) == ("磨坊路2号", "tcp://10.0.0.8:502?unit=1")
        assert store.read(keys_held.versions, 21) == (1, None, None)
    assert [row["outcome"] for row in works.report()] == ["written", "written"]


def test_a_batch_again_changes_nothing_and_finishes_what_is_left(works: Works) -> None:
    works.batch(GOOD)
    before = {path.name: path.read_bytes() for path in works.out.glob("*.provision")}
    (works.out / "000000000022.provision").unlink()
    code, said, _ = works.batch(
        GOOD.replace("\n", "\r\n").replace(",", ";").replace('"Mill Lane 1; left"', '"Mill Lane 1, left"')
    )
    assert code == 0 and "1 records, 1 there already, 0 meters added" in said
    assert {path.name: path.read_bytes() for path in works.out.glob("*.provision")} == before


# A line of its own -> the field that is named, and a word of what is expected.
BAD = {
    "23,x,mqtt,,,,0": ("imp_per_kwh", "1..1000000"),
    "1.23E+11,x,mqtt,,,,": ("meter", "digits alone"),
    ",x,mqtt,,,,": ("meter", "1..99999999999999"),
    "24,x,mqtt,,,": ("cells", "7, as in the first line"),
    "25,=HYPERLINK(1),mqtt,,,,": ("label", "formula"),
    "26,x,@mqtt,,,,": ("carrier", "formula"),
    "27, +1 555,mqtt,,,,": ("label", "formula"),
    "28,x,pigeon,,,,": ("carrier", "one of mqtt, modbus"),
    "29,x,modbus,tcp://10.0.0.8:502,,,": ("address unit", "1..247"),
    "30,x,mqtt,,1234567,,": ("supply_group", "0..999999"),
    "31,x,mqtt,,999999,,": ("vending key", "one of"),
    "32,x,mqtt,,,5,": ("supply_group", "where a cell on the decoder key is given"),
    "22,twice,mqtt,,,,": ("meter", "line 3 has it too"),
}


def test_every_bad_line_is_reported_and_the_good_ones_are_carried_out(works: Works) -> None:
    code, said, err = works.batch(GOOD + "\n".join(BAD) + "\n33,last,mqtt,,,,\n")
    assert code == 1 and f"3 records, 0 there already, 3 meters added, {len(BAD)} lines refused" in said
    assert works.fleet() == [21, 22, 33]
    assert sorted(path.name for path in works.out.glob("*.provision")) == [f"{n:012d}.provision" for n in (21, 22, 33)]
    rows = works.report()
    for at, (field, expected) in enumerate(BAD.values(), 4):
        (row,) = [one for one in rows if one["line"] == str(at)]
        assert (row["outcome"], row["field"]) == ("refused", field)
        assert expected in row["expected"]
        assert f"line {at}: {field}" in err
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]
    assert any("=HYPERLINK(1)" in row["value"] for row in rows)


def test_a_rehearsal_says_what_would_be_done_and_does_nothing(works: Works) -> None:
    code, said, err = works.batch(GOOD + "23,x,pigeon,,,,\n", "--dry-run")
    assert code == 1 and "It would be: 2 records, 0 there already, 2 meters added, 1 lines refused" in said
    assert "line 4: carrier: 'pigeon' given" in err
    assert works.fleet() == [] and not works.out.exists()


def test_without_add_only_meters_of_the_fleet_are_provisioned_as_the_fleet_has_them(works: Works) -> None:
    open_books(works.url, inline=True).close()
    text = f"meter,interval_minutes,supply_group\n{METER},15,{SGC}\n18,15,\n{METER + 2},,\n"
    code, _, err = works.batch(text, add=False)
    assert code == 1 and works.record(METER).decoder is not None
    assert err.count("a meter of the fleet, or --add") == 2
    (works.out / f"{METER:012d}.provision").unlink()
    code, _, err = works.batch(f"meter,interval_minutes,supply_group\n{METER},30,{SGC}\n", add=False)
    assert code == 1 and "interval_minutes: 30 given, 15, as the fleet has it" in err
    code, _, err = works.batch(f"meter,supply_group,key_type\n{METER},{SGC},1\n", add=False)
    assert code == 1 and "key_type: 1 given, 2, as the decoder key is bound to" in err


def test_a_line_that_cannot_be_written_leaves_no_meter_behind(works: Works) -> None:
    works.out.mkdir(mode=0o700)
    (works.out / "000000000021.provision").mkdir()
    code, _, err = works.batch(GOOD)
    assert code == 1 and "line 2: record" in err
    assert works.fleet() == [22]


def test_a_folder_that_others_can_read_takes_no_record(works: Works) -> None:
    works.out.mkdir(mode=0o755)
    works.out.chmod(0o755)
    code, _, err = works.batch(GOOD)
    assert code == 1 and "has mode 0755; 0700 is expected" in err
    assert works.fleet() == [] and not list(works.out.iterdir())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "header: 'nothing' given"),
        ("label,carrier\nx,mqtt\n", "header"),
        ("meter,colour\n1,red\n", "header: 'colour' given"),
        ("meter,meter\n1,1\n", "header"),
        ("meter,label\n1,caf\xe9\n".encode("latin-1"), "encoding: 'byte 0xe9 in line 2' given, UTF-8 expected"),
        ("meter\n1\0\n", "encoding"),
    ],
)
def test_a_file_that_cannot_be_one_is_refused_as_a_whole(works: Works, text: str | bytes, says: str) -> None:
    code, _, err = works.batch(text)
    assert code == 1 and says in err
    assert not works.out.exists()


def test_what_new_meters_begin_with_has_to_be_said(works: Works) -> None:
    words = ("provision", "--csv", works.file(GOOD), "--out", works.out, "--add")
    assert "--tariff: 'nothing' given" in works.run(*words)[2]
    works.file('{"prices": ["0.53"], "discount": 1}', "wrong.json")
    code, _, err = works.run(*words, "--tariff", works.folder / "wrong.json", "--limits", works.folder / "limits.json")
    assert code == 1 and "discount" in err


cells = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@given(st.lists(st.lists(cells, min_size=1, max_size=4), max_size=6))
def test_no_content_of_a_file_is_more_than_lines_good_or_bad(tmp_path_factory: Any, rows: list[list[str]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "any.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["meter", "label"], *rows])
    for one in provision_csv.read(path):
        assert isinstance(one, BadLine | Wanted)
        if isinstance(one, Wanted):
            assert one.meter >= 1
            assert not [cell for cell in one.given.values() if str(cell).startswith(("=", "+", "-", "@"))]


# --- labels -----------------------------------------------------------------------------------------------------------

PIXELS = 6


def scan(drawing: str) -> str:
    """What a scanner reads from the code in a label: its squares, painted, for a decoder of another make."""
    inner = re.search(r'viewBox="0 0 (\d+) \1" shape-rendering="crispEdges"><path d="([^"]+)"', drawing)
    assert inner is not None
    width = int(inner[1]) * PIXELS
    rows = [bytearray(b"\xff" * width) for _ in range(width)]
    for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", inner[2]):
        for row in rows[int(y) * PIXELS : (int(y) + 1) * PIXELS]:
            row[int(x) * PIXELS : (int(x) + 1) * PIXELS] = bytes(PIXELS)
    image = memoryview(b"".join(rows)).cast("B", shape=(width, width))
    (found,) = zxingcpp.read_barcodes(image)
    return str(found.text)


@pytest.mark.parametrize("number", [1, 17, 123_456_789_012, 99_999_999_999_999])
def test_a_label_reads_back_by_another_decoder(number: int) -> None:
    pan = decoder.pan_of(number) if number < 10**13 else ""
    text = scan(label.svg(Label(number, pan)))
    assert text == (f"OPENPREPAY:1:{number:012d}:{pan}" if pan else f"OPENPREPAY:1:{number:012d}")


def test_a_sheet_has_each_label_once_in_both_languages(works: Works) -> None:
    works.batch(GOOD)
    sheet = works.folder / "labels.html"
    code, said, _ = works.run("label", "--csv", works.file(GOOD), "--out", sheet, "--bench")
    assert code == 0 and "2 labels" in said
    drawn = sheet.read_text(encoding="utf-8")
    found = re.findall(r"<svg xmlns.*?</g></svg>", drawn)
    pan = decoder.pan_of(21)
    assert [scan(one) for one in found] == [f"OPENPREPAY:1:000000000021:{pan}", "OPENPREPAY:1:000000000022"]
    assert drawn.count("Meter No. 表号") == drawn.count("BENCH 试验") == 2
    assert f"{pan[:6]} {pan[6:10]} {pan[10:14]} {pan[14:]}" in drawn
    assert not [secret for secret in (works.keys.meter_key(21, 1), VENDING) if secret.hex() in drawn]


def test_many_labels_fill_several_pages() -> None:
    drawn = label.sheet([Label(number) for number in range(1, 30)])
    assert drawn.count('<section class="page">') == 2
    first = drawn.split('<section class="page">')[1]
    assert first.count("<svg xmlns") == label.COLUMNS * label.ROWS == 27


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((METER, "--out", "x.png"), "--out"),
        ((99, "--out", "x.svg"), "meter: 99 given"),
        (("--csv", "nowhere.csv", "--out", "x.html"), "a file that can be read"),
    ],
)
def test_a_label_that_cannot_be_drawn_is_refused(works: Works, words: tuple[Any, ...], says: str) -> None:
    open_books(works.url, inline=True).close()
    code, _, err = works.run("label", *words)
    assert code == 1 and says in err


def test_one_label_is_a_drawing_of_its_own(works: Works) -> None:
    open_books(works.url, inline=True).close()
    out = works.folder / "one.svg"
    assert works.run("label", METER, "--out", out)[0] == 0
    assert scan(out.read_text(encoding="utf-8")) == f"OPENPREPAY:1:{METER:012d}"
    assert 'width="60mm" height="30mm"' in out.read_text(encoding="utf-8")
