"""Payments over HTTP: taken once, on disk before they are answered, followed until the meter shows them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import Connection, func, select

from headend.ledger import balances
from headend.store import open_store
from headend.store.schema import entry, meter_state, order, payment
from tests.host import books
from tests.host.site import ALL, API, ONE, Site, problem

PAY = {"payment_id": "2026/01/31-1", "meter": "000000000017", "amount": "25.00"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as made:
        yield made


def test_a_payment_is_taken_once_and_repeated_with_the_same_answer(site: Site) -> None:
    client = site.client()
    first = client.post(f"{API}/payments", json=PAY)
    assert first.status_code == 201
    site.clock.advance(100)
    again = client.post(f"{API}/payments", json=PAY)
    assert (again.status_code, again.json()) == (200, first.json())
    assert first.json() == {
        "channel": "all",
        "payment_id": "2026/01/31-1",
        "meter": "000000000017",
        "amount": "25.00",
        "total": "25.00",
        "order": first.json()["order"],
        "taken": {"utc": "2027-01-15T08:00:00Z", "s": books.NOW_S},
        "bills": [],
        "taxes": [],
        "rest": "25.00",
        "receipt": None,
    }
    assert site.woken == 1
    same = client.post(f"{API}/payments", json={**PAY, "meter": "17", "amount": "25"})
    assert same.status_code == 200, "the same payment, written otherwise"


def test_another_payment_under_the_same_id_is_a_conflict(site: Site) -> None:
    client = site.client()
    client.post(f"{API}/payments", json=PAY)
    before = books.dump(site.store)
    body = problem(client.post(f"{API}/payments", json={**PAY, "amount": "25.01"}), 409, "payment_conflict")
    assert body["field"] == "payment_id"
    assert books.dump(site.store) == before


def test_ids_belong_to_their_channel(site: Site) -> None:
    assert site.client().post(f"{API}/payments", json=PAY).status_code == 201
    other = site.client(ONE["payments"])
    problem(other.get(f"{API}/payments/{quote(PAY['payment_id'], safe='')}"), 404, "unknown_payment")
    assert other.post(f"{API}/payments", json=PAY).status_code == 201
    assert other.get(f"{API}/payments/{quote(PAY['payment_id'], safe='')}").json()["channel"] == "payments-only"


@pytest.mark.parametrize(
    "payment_id", ["1", "a/b", "a//b/", "../x", "100%", "q?x=1&y#z", "a b", "%2F", '"quoted"', "~" * 64]
)
def test_any_id_that_may_be_posted_can_be_asked_for(site: Site, payment_id: str) -> None:
    client = site.client()
    assert client.post(f"{API}/payments", json={**PAY, "payment_id": payment_id}).status_code == 201
    found = client.get(f"{API}/payments/{quote(payment_id, safe='')}")
    assert (found.status_code, found.json()["payment_id"]) == (200, payment_id)


@pytest.mark.parametrize(
    ("given", "amount_uc", "shown"),
    [
        ("0.000001", 1, "0.000001"),
        ("1", 1_000_000, "1.00"),
        ("0001.5", 1_500_000, "1.50"),
        ("999.999999", 999_999_999, "999.999999"),
    ],
)
def test_amounts_are_exact_to_the_millionth(site: Site, given: str, amount_uc: int, shown: str) -> None:
    taken = site.client().post(f"{API}/payments", json={**PAY, "amount": given}).json()
    assert (taken["amount"], taken["total"]) == (shown, shown)
    assert site.store.read(lambda conn: conn.execute(select(payment.c.amount_uc)).scalar_one()) == amount_uc


def test_it_is_on_the_meter_when_a_report_shows_it(site: Site) -> None:
    client = site.client()
    site.born()
    path = f"{API}/payments/{quote(PAY['payment_id'], safe='')}"
    client.post(f"{API}/payments", json=PAY)
    waiting = client.get(path).json()
    assert (waiting["on_meter"], waiting["on_meter_since"], waiting["order_state"]) == (False, None, "queued")
    site.run(2, 17)
    assert client.get(path).json()["order_state"] == "sent"
    assert client.get(path).json()["on_meter"] is False, "handed to a carrier is not on the meter"
    site.run(30)
    arrived = client.get(path).json()
    assert (arrived["on_meter"], arrived["order_state"]) == (True, "confirmed")
    assert books.NOW_S < arrived["on_meter_since"]["s"] < site.clock.now_s()


def test_what_was_answered_is_on_disk(site: Site) -> None:
    """A second connection to the file sees the payment as soon as it was answered."""
    client = site.client()
    for number in range(5):
        client.post(f"{API}/payments", json={**PAY, "payment_id": str(number)})
        with open_store(site.database, inline=True) as other:
            assert (
                other.read(lambda conn: conn.execute(select(func.count()).select_from(payment)).scalar_one())
                == number + 1
            )


_PAYER = """
import json, sys, httpx
url, token, name, count = sys.argv[1:5]
with httpx.Client(base_url=url, headers={"Authorization": "Bearer " + token}, timeout=60, trust_env=False) as client:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(count)):
        body = {"payment_id": name + "-" + str(number), "meter": "17", "amount": "0.%06d" % (number % 7 + 1)}
        answer = client.post("/api/v1/payments", json=body)
        assert answer.status_code == 201, answer.text
        print(json.dumps(answer.json()), flush=True)
"""


def test_two_processes_of_three_hundred_payments_add_up(site: Site) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _PAYER, site.url, ALL, name, "300"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("left", "right")
    ]
    for one in started:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in started:  # all at once
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    answers = []
    for one in started:
        out, _ = one.communicate(timeout=300)
        assert one.returncode == 0
        answers.append([json.loads(line) for line in out.splitlines()])
    assert [len(each) for each in answers] == [300, 300]
    sum_uc = 2 * sum(number % 7 + 1 for number in range(300))

    def numbers(conn: Connection) -> tuple[int, int, int, int]:
        sold = conn.execute(select(meter_state.c.sold_uc)).scalar_one()
        posted = conn.execute(select(func.sum(entry.c.amount_uc))).scalar_one()
        stated = conn.execute(select(func.max(order.c.total_uc))).scalar_one()
        return sold, posted, stated, balances.balance_uc(conn, "meter:000000000017")

    assert site.store.read(numbers) == (sum_uc,) * 4
    exact = [_uc(taken["total"]) for each in answers for taken in each]
    assert len(set(exact)) == 600 and max(exact) == sum_uc, "no two payments saw the same total"
    assert site.woken == 600


def _uc(text: str) -> int:
    whole, _, decimals = text.partition(".")
    return int(whole) * 1_000_000 + int(decimals.ljust(6, "0"))
