"""Money over the API: bills, quotes, sales, receipts, limits, settlement."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host.books import METER, NOW_S
from tests.host.money_rig import DAY
from tests.host.site import API, ONE, Site, problem

BILL = {
    "reference": "2026-12/17",
    "period": "2026-12",
    "lines": [{"kind": "energy", "amount": "40.00"}, {"kind": "tax:vat", "amount": "10.00"}],
    "notice_s": NOW_S - 35 * DAY,
    "due_s": NOW_S - 20 * DAY,
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as made:
        yield made


def test_from_a_bill_to_its_receipt(site: Site) -> None:
    client = site.client()
    made = client.post(f"{API}/meters/{METER}/bills", json=BILL)
    assert made.status_code == 201 and made.json()["late_fee_due"] == "1.00"
    assert client.post(f"{API}/meters/{METER}/bills", json=BILL).json() == made.json()
    other = client.post(f"{API}/meters/{METER}/bills", json={**BILL, "period": "2027-01"})
    problem(other, 409, "bill_conflict")
    owed = client.get(f"{API}/meters/{METER}/bills").json()
    assert (owed["owed"], owed["late_fees"]) == ("50.00", "1.00")

    quoted = client.get(f"{API}/meters/{METER}/quote", params={"amount": "104.00", "language": "zh"}).json()
    assert [(part["late_fee"], part["principal"], part["settled"]) for part in quoted["bills"]] == [
        ("1.00", "50.00", True)
    ]
    assert (quoted["credit"], quoted["energy_wh"], quoted["reconnect"]) == ("53.00", 100_000, "0.00")
    assert quoted["assumed"][-1] == "电量按当前费率估算"

    pay = {"payment_id": "1", "meter": "17", "amount": "104.00", "quote": quoted["quote"], "receipt": True}
    sold = client.post(f"{API}/payments", json=pay)
    assert sold.status_code == 201
    body = sold.json()
    assert body["bills"] == [{"bill": made.json()["bill"], "late_fee": "1.00", "principal": "50.00"}]
    assert (body["total"], body["rest"], body["taxes"]) == ("53.00", "53.00", [])
    assert client.post(f"{API}/payments", json=pay).json() == body

    receipt = client.get(f"{API}/receipts/{body['receipt']}").json()
    assert [line["kind"] for line in receipt["lines"]] == ["late_fee", "bill", "credit"]
    assert receipt["name"] == "all/20270115/000001" and "104.00" in receipt["text"]
    again = client.post(f"{API}/receipts", json={"payment_id": "1"}).json()
    assert again == receipt
    copy = client.post(f"{API}/receipts/{body['receipt']}/reprint", params={"language": "zh"}).json()
    assert copy["copies"] == 1 and "补打第 1 次" in copy["text"]
    noted = client.put(f"{API}/receipts/{body['receipt']}/invoice", json={"invoice": "24-7"}).json()
    assert noted["invoice"] == "24-7"

    detail = client.get(f"{API}/bills/{made.json()['bill']}").json()
    assert (detail["state"], detail["paid"], detail["late_fee_paid"]) == ("paid", "50.00", "1.00")
    assert [event["event"] for event in detail["history"]] == ["issued", "paid"]
    assert detail["payments"][0]["cause"] == "payment:all:1"


def test_a_sale_is_held_to_its_quote_unless_it_accepts_changes(site: Site) -> None:
    client = site.client()
    quoted = client.get(f"{API}/meters/{METER}/quote", params={"amount": "60.00"}).json()
    client.post(f"{API}/meters/{METER}/bills", json=BILL)
    pay = {"payment_id": "1", "meter": "17", "amount": "60.00", "quote": quoted["quote"]}
    problem(client.post(f"{API}/payments", json=pay), 409, "quote_changed")
    assert client.post(f"{API}/payments", json={**pay, "accept_changes": True}).json()["rest"] == "9.00"


def test_a_bill_is_cancelled_once(site: Site) -> None:
    client = site.client()
    number = client.post(f"{API}/meters/{METER}/bills", json=BILL).json()["bill"]
    cancelled = client.post(f"{API}/bills/{number}/cancel", json={"note": "read wrongly"})
    assert cancelled.json()["state"] == "cancelled"
    problem(client.post(f"{API}/bills/{number}/cancel", json={"note": "again"}), 422, "refused")
    problem(client.get(f"{API}/bills/99"), 404, "unknown_bill")
    problem(client.get(f"{API}/receipts/99"), 404, "unknown_receipt")
    problem(client.post(f"{API}/receipts", json={"payment_id": "none"}), 404, "unknown_payment")


def test_a_guarantee_pays_bills_when_people_say_so(site: Site) -> None:
    client = site.client()
    deposit = {"payment_id": "1", "meter": "17", "amount": "60.00", "purpose": "deposit"}
    assert client.post(f"{API}/payments", json=deposit).json()["total"] == "0.00"
    client.post(f"{API}/meters/{METER}/bills", json=BILL)
    for used in ("51.00", "0.00"):
        answer = client.post(f"{API}/meters/{METER}/deposit/use")
        assert answer.json() == {"used": used, "left": "9.00"}
    assert client.get(f"{API}/meters/{METER}/bills").json()["owed"] == "0.00"


def test_receipts_are_the_channels_own(site: Site) -> None:
    mine, other = site.client(ONE["payments"]), site.client()
    mine.post(f"{API}/payments", json={"payment_id": "1", "meter": "17", "amount": "1.00"})
    number = mine.post(f"{API}/receipts", json={"payment_id": "1"}).json()["receipt"]
    assert mine.get(f"{API}/receipts/{number}").status_code == 200
    other.post(f"{API}/payments", json={"payment_id": "1", "meter": "17", "amount": "1.00"})
    foreign = other.post(f"{API}/receipts", json={"payment_id": "1"}).json()["receipt"]
    problem(mine.get(f"{API}/receipts/{foreign}"), 404, "unknown_receipt")
    problem(mine.post(f"{API}/receipts/{foreign}/reprint"), 404, "unknown_receipt")
    problem(mine.put(f"{API}/receipts/{number}/invoice", json={"invoice": "1"}), 403, "out_of_scope")


POLICIES: list[tuple[str, str, dict[str, Any]]] = [
    (
        "POST",
        "/policies/late-fees",
        {"customer_class": "other", "from_day": "2027-02-01", "year_ppm": 1, "later_ppm": 2},
    ),
    ("POST", "/policies/shares", {"share_ppm": 500_000, "area": "north"}),
    ("POST", "/policies/taxes", {"name": "vat", "ppm": 130_000, "mode": "added"}),
    ("PUT", "/policies/zone", {"name": "Asia/Shanghai"}),
    ("PUT", f"/meters/{METER}/class", {"customer_class": "other"}),
]


@pytest.mark.parametrize(("method", "path", "body"), POLICIES)
def test_policies_are_set_by_who_may(site: Site, method: str, path: str, body: dict[str, Any]) -> None:
    answer = site.client().request(method, API + path, json=body)
    assert answer.status_code in (200, 201) and answer.json() == {"noted": True}
    problem(site.client(ONE["payments"]).request(method, API + path, json=body), 403, "out_of_scope")


def test_an_agents_float_over_the_api(site: Site) -> None:
    client, agent = site.client(), site.client(ONE["payments"])
    limits = {"kind": "agent", "overdraft": "5.00", "low": "3.00", "max_day": "100.00"}
    path = f"{API}/channels/payments-only"
    problem(client.get(f"{path}/limits"), 404, "unknown_channel")
    assert client.put(f"{path}/limits", json=limits).json()["held"] == "0.00"
    pay = {"payment_id": "1", "meter": "17", "amount": "4.00"}
    assert agent.post(f"{API}/payments", json=pay).status_code == 201
    refused = problem(agent.post(f"{API}/payments", json={**pay, "payment_id": "2"}), 422, "over_limit")
    assert "float" in refused["expected"]
    assert [row["channel"] for row in client.get(f"{API}/low-floats").json()["channels"]] == ["payments-only"]
    hand_over = {"request_id": "slip 1", "amount": "20.00"}
    for _ in range(2):
        assert client.post(f"{path}/hand-overs", json=hand_over).json() == {"channel": "payments-only", "held": "16.00"}
    problem(client.post(f"{path}/hand-overs", json={**hand_over, "amount": "1.00"}), 409, "request_conflict")
    standing = client.get(f"{path}/limits").json()
    assert (standing["held"], standing["today"], standing["low_since"]) == ("16.00", "4.00", None)
    problem(agent.put(f"{path}/limits", json=limits), 403, "out_of_scope")


def test_a_channel_settles_its_day(site: Site) -> None:
    channel, books = site.client(ONE["payments"]), site.client()
    for number in ("1", "2"):
        channel.post(f"{API}/payments", json={"payment_id": number, "meter": "17", "amount": "4.00"})
    theirs = {
        "count": 2,
        "sum": "9.00",
        "payments": [{"payment_id": "1", "amount": "4.00"}, {"payment_id": "3", "amount": "5.00"}],
    }
    path = f"{API}/settlements/2027-01-15"
    problem(channel.put(path, json=theirs), 422, "refused")
    problem(channel.get(path), 404, "unknown_settlement")
    site.clock.advance(DAY)
    settled = channel.put(path, json=theirs, params={"language": "zh"})
    assert settled.status_code == 200
    assert [(one["payment_id"], one["kind"]) for one in settled.json()["differences"]] == [
        ("2", "short"),
        ("3", "long"),
    ]
    assert settled.json()["differences"][1]["action"].startswith("长款")
    assert channel.get(path).json()["theirs"] == "9.00"
    problem(channel.put(path, json={"count": 0, "sum": "0.00", "payments": []}), 409, "settlement_conflict")
    deal = {"channel": "payments-only", "day": "2027-01-15", "payment_id": "3", "note": "posted"}
    assert books.post(f"{API}/differences/settle", json=deal).status_code == 200
    assert [one["payment_id"] for one in books.get(f"{API}/differences").json()["differences"]] == ["2"]


def test_a_day_of_a_busy_channel_fits(site: Site) -> None:
    """Twenty thousand payments are more than other requests may bring."""
    site.clock.advance(DAY)
    items = [{"payment_id": f"2027-01-15/{number:08d}", "amount": "4.00"} for number in range(20_000)]
    theirs = {"count": len(items), "sum": "80000.00", "payments": items}
    client = site.client(ONE["payments"])
    client.event_hooks = {}  # one answer of 20 000 differences is checked by the test above
    settled = client.put(f"{API}/settlements/2027-01-15", json=theirs)
    assert settled.status_code == 200 and len(settled.json()["differences"]) == 20_000
