"""Imports and bills on the meter, over HTTP and by the command."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headend.access.permissions import BOOKS, READ
from headend.gate import pace, proposals
from headend.ledger import bills, channels
from headend.ledger.openings import cli
from tests.host.books import LIMIT_UC, NOW_S
from tests.host.refund_rig import MANAGER
from tests.host.site import API, Site, problem
from tests.host.test_openings import GOOD

BOOKKEEPER = "op_" + "b" * 43


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path, meters=(17, 18)) as made:
        made.store.write(channels.add_channel, NOW_S, "books-1", BOOKKEEPER, (BOOKS, READ), LIMIT_UC).result()
        made.born()
        yield made


def test_an_import_is_tried_proposed_and_booked(site: Site) -> None:
    client = site.client(BOOKKEEPER)
    wanted = {"import_id": "north", "text": GOOD}
    tried = client.post(f"{API}/imports", json=wanted)
    assert tried.status_code == 200 and tried.json()["clean"] and tried.json()["file"] == tried.json()["found"]
    problem(client.get(f"{API}/imports/north"), 404, "unknown_import")
    problem(client.post(f"{API}/imports", json={**wanted, "digest": "0" * 64}), 422, "refused")
    made = client.post(f"{API}/imports", json={**wanted, "digest": tried.json()["digest"]})
    assert (made.status_code, made.json()["state"], made.json()["booked"]) == (202, "proposed", 0)
    row = site.store.read(proposals.get, made.json()["proposal"])
    site.store.write(proposals.approve, NOW_S, row.id, row.digest, MANAGER).result()
    while site.store.write(pace.tick, NOW_S).result():
        pass
    done = client.get(f"{API}/imports/north").json()
    assert (done["state"], done["booked"], done["sums"]) == (
        "done",
        2,
        {"lines": 2, "credit": "25.50", "debt": "12.00"},
    )
    broken = client.post(f"{API}/imports", json={"import_id": "x", "text": GOOD}).json()
    assert not broken["clean"] and broken["problem_count"] == 2


def test_bills_are_moved_to_the_meter_and_back(site: Site) -> None:
    client = site.client(BOOKKEEPER)
    times = {"notice_s": NOW_S, "due_s": NOW_S, "actor": "user:ann"}
    lines = [bills.Line("energy", 30_000_000)]
    owed = site.store.write(lambda conn: bills.issue(conn, NOW_S, 17, "b-1", lines, **times)).result()
    place = {"bills": [owed], "share": 5000}
    made = client.post(f"{API}/meters/17/debts/1/place", json=place)
    assert (made.status_code, made.json()["aspect"]) == (202, "debt")
    shown = client.get(f"{API}/meters/17/debts").json()
    assert (shown["owed"], shown["debts"][0]["placed"]) == ("30.00", "30.00")
    problem(client.post(f"{API}/meters/17/debts/2/place", json=place), 422, "refused")
    problem(client.post(f"{API}/meters/17/debts/2/withdraw", json={}), 422, "refused")
    problem(client.post(f"{API}/meters/17/debts/1/place", json={**place, "bills": [999]}), 404, "unknown_bill")
    back = client.post(f"{API}/meters/17/debts/1/withdraw", json={"note": "agreed"})
    assert back.status_code == 202 and client.get(f"{API}/meters/17/debts").json()["owed"] == "0.00"


def test_the_command_tries_and_proposes(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "op.toml").write_text(f'database = "{site.database}"\n')
    monkeypatch.setenv("OPENPREPAY_CONFIG", str(tmp_path / "op.toml"))
    file = tmp_path / "north.csv"
    file.write_text(GOOD)
    assert cli.main(["openings", str(file), "--dry-run"]) == 0
    told = capsys.readouterr().out
    digest = next(line for line in told.splitlines() if line.startswith("digest")).split()[1]
    assert "2 accounts, owed to 25.50, by 12.00" in told and told.endswith("clean\n")
    assert cli.main(["progress", "north"]) == 1
    assert cli.main(["openings", str(file), "--propose", digest]) == 0
    capsys.readouterr()
    assert cli.main(["progress", "north"]) == 0
    assert "0 of 2 lines booked" in capsys.readouterr().out
    file.write_text(GOOD.replace("25.50,12", "25.51,12"))
    assert cli.main(["openings", str(file), "--id", "other"]) == 1
    assert "not clean" in capsys.readouterr().out
    assert cli.main(["openings"]) == 2
