"""`openprepay admin user`: the first person, and help at the machine."""

from pathlib import Path

import pytest

from headend.access import cli, passwords, people
from headend.store import open_store


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path}/books.sqlite"
    monkeypatch.setenv("OPENPREPAY_DATABASE", url)
    return url


def test_the_first_person_is_an_administrator_with_a_password_to_change(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["add", "li.wei", "--language", "zh"]) == 0
    first = capsys.readouterr().out.strip()
    assert cli.main(["add", "wang", "--role", "viewer", "--area", "north"]) == 0
    assert cli.main(["reset", "li.wei"]) == 0
    second = capsys.readouterr().out.split()[-1]
    with open_store(database) as store:
        row = store.read(people.get, "li.wei")
    assert row.must_change and row.language == "zh" and row.created_by.startswith("system:")
    assert passwords.fits(row.password_hash, second) and not passwords.fits(row.password_hash, first)
    assert cli.main(["list"]) == 0
    listed = capsys.readouterr().out
    assert "administrator" in listed and "viewer in north" in listed


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("add X", "user: 'X' given"),
        ("add li.wei --role king", "role: 'king' given, one of viewer"),
        ("add li.wei --area North", "area: 'North' given"),
        ("reset nobody", "user: 'nobody' given, the name of a person"),
    ],
)
def test_what_cannot_be_done_is_named(line: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line.split()) == 1
    assert sentence in capsys.readouterr().err
    assert cli.main(["list"]) == 0
    assert capsys.readouterr().out == "", "nothing was kept"
