"""`openprepay sts` as it is called: all known answers through the real command, and what it says to bad options."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from meterlink.sts.token import decode
from openprepay import cli

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
ROWS: list[dict[str, Any]] = [
    json.loads(line)
    for name in ("sts.jsonl", "sts_more.jsonl")
    for line in (VECTORS / name).read_text(encoding="utf-8").splitlines()
]
DERIVATION = next(row for row in ROWS if row["kind"] == "dkga04")
VENDING_KEY = DERIVATION["vending_key"]
KEYED = {
    "--vending-key": VENDING_KEY, "--pan": "600727000000000009", "--sgc": "123457", "--ti": "01", "--kt": "2",
    "--krn": "1", "--ken": "255", "--base": "1993",
}  # fmt: skip
CREDIT = {**KEYED, "--class": "0", "--subclass": "0", "--issued": "2004-03-01T13:00:00", "--units": "1"}


def of(kind: str) -> Any:
    rows = [row for row in ROWS if row["kind"] == kind]
    return pytest.mark.parametrize("row", rows, ids=[row.get("case", kind) for row in rows])


def words(command: str, options: dict[str, str | None]) -> list[str]:
    """A command line; an option whose value is None is left out, one whose value is empty is a flag."""
    pairs = [(name, value) for name, value in options.items() if value is not None]
    return ["sts", command, *[word for name, value in pairs for word in (name, value) if word]]


def keyed(row: dict[str, Any], pan: str) -> dict[str, str]:
    names = ("sgc", "ti", "kt", "krn", "base")
    return {**KEYED, "--pan": pan, **{f"--{name}": str(row[name]) for name in names}}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(command: str, options: dict[str, str | None], *rest: str) -> tuple[int, str, str]:
        code = cli.main([*words(command, options), *rest])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@of("dkga04")
def test_derive(row: dict[str, Any], run: Any) -> None:
    assert run("derive", keyed(row, row["pan"])) == (0, row["key"] + "\n", "")


@of("token")
def test_issue(row: dict[str, Any], run: Any) -> None:
    issued = datetime.strptime(row["issued"], "%d/%m/%Y %H:%M:%S").isoformat()  # noqa: DTZ007 - UTC is the default
    options = {
        **keyed(row, row["pan"]), "--class": str(row["cls"]), "--subclass": str(row["sub"]), "--rnd": "5",
        "--issued": issued,
    }  # fmt: skip
    if "value" in row:
        assert run("issue", {**options, "--units": str(row["value"])}) == (0, row["token"] + "\n", "")
    if "reg16" in row:
        assert run("issue", {**options, "--register": row["reg16"]}) == (0, row["token"] + "\n", "")


@of("token")
def test_decode(row: dict[str, Any], run: Any) -> None:
    key = row.get("key") or run("derive", keyed(row, row["pan"]))[1].strip()
    code, out, _ = run("decode", {"--key": key, "--base": row["base"]}, row["token"])
    found = json.loads(out)
    assert code == 0
    assert (found["class"], found["subclass"], found["rnd"]) == (row["cls"], row["sub"], 5)
    assert found["tid"] == row.get("tid", found["tid"])
    assert found["register"] == row.get("reg16", found["register"])
    if "value" in row:
        assert row["value"] <= found["units"] < row["value"] + 1000


@of("class1")
def test_class_1(row: dict[str, Any], run: Any) -> None:
    options = {"--class": "1", "--subclass": str(row["sub"]), "--control": row["control"], "--mfr": str(row["mfr"])}
    assert run("issue", options) == (0, row["token"] + "\n", "")
    code, out, _ = run("decode", {}, row["token"])
    found = json.loads(out)
    assert code == 0 and (found["control"], found["mfr"]) == (row["control"], row["mfr"])


@of("kct")
def test_keychange(row: dict[str, Any], run: Any) -> None:
    new = row.get("new") or {**DERIVATION, "krn": row["krn"], "ti": row["ti"], "sgc": row["sgc"]}
    pan = row.get("pan", DERIVATION["pan"])
    options = keyed(row.get("old", DERIVATION), pan) | {"--ken": str(row["ken"])}
    options |= {f"--new-{name}": str(new[name]) for name in ("ti", "krn", "sgc", "base")}
    if row["rollover"]:
        options["--rollover"] = ""
    options["--sections"] = str(len(row["sections"]))
    assert run("keychange", options) == (0, "".join(f"{token}\n" for token in row["sections"].values()), "")
    if len(row["sections"]) == 4:
        assert run("keychange", {**options, "--sections": None})[1].split() == list(row["sections"].values())
        assert run("keychange", {**options, "--sections": "2"})[1].split() == list(row["sections"].values())[:2]


def test_a_key_change_carries_the_new_key_and_its_attributes(run: Any) -> None:
    options = {**KEYED, "--new-ti": "42", "--new-krn": "9", "--new-ken": "171", "--new-kt": "3", "--new-sgc": "987654"}
    old_key = run("derive", KEYED)[1].strip()
    new = {**KEYED, "--ti": "42", "--krn": "9", "--kt": "3", "--sgc": "987654"}
    new_key = run("derive", new)[1].strip()
    parts = [json.loads(run("decode", {"--key": old_key}, token)[1]) for token in run("keychange", options)[1].split()]
    found = {name: value for part in parts for name, value in part.items()}
    assert [part["section"] for part in parts] == [1, 2, 3, 4]
    assert (found["ken_high"] << 4 | found["ken_low"], found["krn"], found["kt"], found["ti"]) == (171, 9, 3, 42)
    assert (found["flag_3kct"], found["rollover"], found["sgc_high"] << 12 | found["sgc_low"]) == (0, 0, 987654)
    one, two, three, four = (part["new_key_part"] for part in parts)
    assert one + three + four + two == new_key


def test_a_random_number_is_drawn(run: Any) -> None:
    key = bytes.fromhex(run("derive", KEYED)[1].strip())
    drawn = {decode(key, run("issue", CREDIT)[1].strip()).data >> 40 for _ in range(200)}
    assert len(drawn) > 8


def test_times_with_a_zone_and_groups_of_digits(run: Any) -> None:
    same = {run("issue", {**CREDIT, "--rnd": "5", "--issued": time})[1] for time in (
        "2004-03-01T13:00:00", "2004-03-01T13:00:59", "2004-03-01 13:00", "2004-03-01T13:00:00Z",
        "2004-03-01T15:00:00+02:00", "20040301T130000",
    )}  # fmt: skip
    assert same == {"59386323472137426967\n"}
    key = run("derive", KEYED)[1].strip()
    whole = run("decode", {"--key": key}, "59386323472137426967")
    assert whole[0] == 0
    assert run("decode", {"--key": key}, "5938", "6323", "4721", "3742", "6967") == whole
    assert run("decode", {"--key": key}, "5938-6323-4721-3742-6967") == whole


def test_the_special_minute(run: Any) -> None:
    tokens = [run("issue", {**CREDIT, "--rnd": "5", "--issued": f"2004-03-29T00:0{m}:00"})[1] for m in range(4)]
    assert tokens[1] == tokens[2] and len(set(tokens)) == 3


def test_keys_from_a_file(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "vending.hex"
    file.write_text(VENDING_KEY + "\n")
    assert run("derive", {**KEYED, "--vending-key": f"@{file}"}) == run("derive", KEYED)
    code, _, error = run("derive", {**KEYED, "--vending-key": f"@{tmp_path / 'none'}"})
    assert code == 2 and "none cannot be read" in error


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"--pan": "600727000000000008"}, r"--pan: 600727000000000008 given, a check digit \(Luhn\)"),
        ({"--pan": "60072700000000009"}, "--pan: 60072700000000009 given, 18 digits expected"),
        ({"--sgc": "1234567"}, r"--sgc: 1234567 given, 0\.\.999999 expected"),
        ({"--ti": "100"}, r"--ti: 100 given, 0\.\.99 expected"),
        ({"--kt": "4"}, r"--kt: 4 given, 0\.\.3 expected"),
        ({"--krn": "0"}, r"--krn: 0 given, 1\.\.9 expected"),
        ({"--ken": "256"}, r"--ken: 256 given, 0\.\.255 expected"),
        ({"--ken": "88"}, "--ken: 88 given, at least 89"),
        ({"--rnd": "16"}, r"--rnd: 16 given, 0\.\.15 expected"),
        ({"--units": "18201625"}, r"--units: 18201625 given, 0\.\.18201624 expected"),
        ({"--subclass": "8"}, "--subclass: 8 given, 0 or 1 or"),
        ({"--subclass": "4"}, r"--subclass: 4 given, 0\.\.3 \(currency is experimental"),
        ({"--class": "2", "--subclass": "3"}, "--subclass: 3 given"),
        ({"--class": "2", "--subclass": "1", "--units": "65536"}, r"--units: 65536 given, 0\.\.65535"),
        (
            {"--issued": "1992-12-31T23:59:59"},
            r"--issued: 1992-12-31T23:59:59\+00:00 given, a time that base 1993 holds",
        ),
        ({"--issued": "2024-11-24T20:16:00"}, r"1993-01-01T00:00\.\.2024-11-24T20:15 UTC, expected"),
        ({"--base": "2014"}, r"--issued: 2004-03-01T13:00:00\+00:00 given, a time that base 2014 holds"),
        ({"--base": "2035", "--issued": "2034-12-31T23:59:00"}, "--issued"),
    ],
)
def test_refused_values(changed: dict[str, str], told: str, run: Any) -> None:
    code, out, error = run("issue", CREDIT | changed)
    assert (code, out) == (1, "")
    assert re.search(told, error) and error.count("\n") == 1
    assert VENDING_KEY not in error


@pytest.mark.parametrize(
    ("command", "changed", "told"),
    [
        ("issue", {"--vending-key": VENDING_KEY[:-2]}, "--vending-key: a value of 38 characters given; 40 hexadecimal"),
        ("issue", {"--vending-key": "x" * 40}, "--vending-key: a value of 40 characters given"),
        ("issue", {"--vending-key": None}, "needed and not given: --vending-key"),
        ("issue", {"--pan": None, "--krn": None}, "needed and not given: --pan, --krn"),
        ("issue", {"--units": None}, "one of --units and --register is needed"),
        ("issue", {"--register": "0001"}, "not allowed with argument"),
        ("issue", {"--units": None, "--register": "001"}, "'001' given, 4 hexadecimal digits expected"),
        ("issue", {"--units": "1.5"}, "'1.5' given, a whole number expected"),
        ("issue", {"--units": "-1"}, "'-1' given, a whole number expected"),
        ("issue", {"--issued": "yesterday"}, "'yesterday' given, a time of ISO 8601"),
        ("issue", {"--base": "1994"}, "--base"),
        ("issue", {"--class": "3"}, "--class"),
        ("issue", {"--class": None}, "--class"),
        ("issue", {"--class": "1"}, "needed and not given: --control, --mfr"),
        ("issue", {"--class": "1", "--control": "1", "--mfr": "0"}, "not for this class: --units"),
        ("issue", {"--control": "1"}, "not for this class: --control"),
        ("issue", {"--class": "1", "--control": "1" * 10, "--mfr": "0"}, "up to 9 hexadecimal digits"),
        ("keychange", {"--sections": "3"}, "--sections"),
        ("derive", {"--base": None}, "needed and not given: --base"),
    ],
)  # fmt: skip
def test_wrong_command_lines(command: str, changed: dict[str, str | None], told: str, run: Any) -> None:
    options = {**(CREDIT if command == "issue" else KEYED), **changed}
    code, out, error = run(command, options)
    assert (code, out) == (2, "")
    assert told in error and VENDING_KEY not in error and VENDING_KEY[:-2] not in error


def test_new_values_are_refused_under_their_own_name(run: Any) -> None:
    code, _, error = run("keychange", {**KEYED, "--new-krn": "10"})
    assert code == 1 and "--new-krn: 10 given, 1..9 expected" in error


def test_currency_is_experimental(run: Any) -> None:
    code, out, _ = run("issue", {**CREDIT, "--subclass": "5", "--experimental-currency": ""})
    key = run("derive", KEYED)[1].strip()
    assert code == 0
    found = json.loads(run("decode", {"--key": key}, out.strip())[1])
    assert (found["subclass"], found["unit"]) == (5, "currency")


def test_supply_help(run: Any) -> None:
    options = {**CREDIT, "--class": "2", "--subclass": "11", "--units": None, "--register": "10c8"}
    key = run("derive", KEYED)[1].strip()
    found = json.loads(run("decode", {"--key": key}, run("issue", options)[1].strip())[1])
    assert (found["name"], found["kind"], found["value"]) == ("supply help", 1, 200)


@pytest.mark.parametrize(
    ("token", "code", "told"),
    [
        ("59386323472137426968", 1, "rejected"),
        ("5938632347213742696", 1, "malformed"),
        ("99999999999999999999", 1, "malformed"),
        ("5938632347213742696x", 1, "malformed"),
        ("٥938632347213742696٧", 1, "malformed"),
    ],
)
def test_tokens_that_are_none(token: str, code: int, told: str, run: Any) -> None:
    key = run("derive", KEYED)[1].strip()
    found, out, error = run("decode", {"--key": key}, token)
    assert (found, out) == (code, "") and told in error and key not in error


def test_decode_needs_a_key_but_for_class_1(run: Any) -> None:
    code, _, error = run("decode", {}, "59386323472137426967")
    assert code == 2 and "--key is needed" in error


def test_every_command_has_an_example_that_works(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vending.hex").write_text(VENDING_KEY)
    Path("decoder.hex").write_text(DERIVATION["key"])
    for command in ("issue", "keychange", "decode", "derive"):
        code, text, _ = run(command, {}, "--help")
        assert code == 0
        example = " ".join(text.split("example: openprepay ")[1].split())
        assert run(command, {}, *example.split()[2:])[0] == 0
