"""A request that comes again under its key is carried out once; what people edit is not overwritten unseen."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from headend.store.schema import order
from headend.web.rates import Rate, Rates
from tests.host import books
from tests.host.people_rig import add_person, session_of
from tests.host.site import ALL, API, ONE, Site, problem

STOP = f"{API}/meters/17/disconnect"
KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as made:
        add_person(made.store, "admin", ("administrator", ""))
        yield made


def orders(site: Site) -> int:
    return site.store.read(lambda conn: conn.execute(select(func.count()).select_from(order)).scalar_one())


def test_the_same_key_gives_the_same_answer_and_one_order(site: Site) -> None:
    client = site.client()
    first = client.post(STOP, json={"reason": "arrears"}, headers=KEY)
    again = client.post(STOP, json={"reason": "arrears"}, headers={"Idempotency-Key": f'"{KEY["Idempotency-Key"]}"'})
    assert first.status_code == again.status_code == 202
    assert (first.json(), first.headers["location"]) == (again.json(), again.headers["location"])
    assert "idempotent-replayed" not in first.headers and again.headers["idempotent-replayed"] == "true"
    assert orders(site) == 1


def test_a_key_is_of_one_request_and_one_caller(site: Site) -> None:
    client = site.client()
    client.post(STOP, json={"reason": "arrears"}, headers=KEY)
    problem(client.post(STOP, json={"reason": "move_out"}, headers=KEY), 409, "key_reused")
    problem(
        client.post(f"{API}/meters/17/connect", json={"reason": "arrears", "close": "permit"}, headers=KEY),
        409,
        "key_reused",
    )
    assert site.client(ONE["orders"]).post(STOP, json={"reason": "move_out"}, headers=KEY).status_code == 202
    for key in ("", "x" * 101, "a b", "ü".encode()):
        problem(client.post(STOP, json={"reason": "legal"}, headers={"Idempotency-Key": key}), 422, "refused")  # type: ignore[dict-item]


def test_what_was_refused_can_be_tried_again_under_its_key(site: Site) -> None:
    client = site.client()
    problem(client.post(f"{API}/meters/99/disconnect", json={"reason": "arrears"}, headers=KEY), 404, "unknown_meter")
    assert client.post(STOP, json={"reason": "arrears"}, headers=KEY).status_code == 202


def test_a_key_is_kept_for_a_day(site: Site) -> None:
    client = site.client()
    first = client.post(STOP, json={"reason": "arrears"}, headers=KEY).json()["order"]
    site.clock.advance(86_399)
    assert client.post(STOP, json={"reason": "arrears"}, headers=KEY).json()["order"] == first
    site.clock.advance(1)
    assert client.post(STOP, json={"reason": "arrears"}, headers=KEY).json()["order"] != first


def test_many_at_once_under_one_key_are_one(site: Site) -> None:
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(site.client().post(STOP, json={"reason": "arrears"}, headers=KEY))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert orders(site) == 1
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert {answer.json().get("order", answer.json().get("code")) for answer in answers} <= {1, "key_in_use"}
    assert site.client().post(STOP, json={"reason": "arrears"}, headers=KEY).json()["order"] == 1


def test_a_secret_is_not_kept(site: Site) -> None:
    client = site.client(session_of(site.store, "admin"))
    body = {"channel": "bank-1", "scopes": ["payments"], "max_payment": "500"}
    made = client.post(f"{API}/channels", json=body, headers=KEY)
    assert made.status_code == 201
    problem(client.post(f"{API}/channels", json=body, headers=KEY), 409, "key_in_use")
    assert made.json()["token"] not in repr(books.dump(site.store))


# --- editing ----------------------------------------------------------------------------------------------------------


def test_two_people_who_edit_the_same_do_not_undo_each_other(site: Site) -> None:
    client = site.client(session_of(site.store, "admin"))
    client.post(f"{API}/users", json={"user": "li.wei"})
    seen = client.get(f"{API}/users/li.wei").headers["etag"]
    path, body = f"{API}/users/li.wei", {"state": "active", "language": "zh"}
    problem(client.put(path, json=body), 428, "no_condition")
    first = client.put(path, json=body, headers={"If-Match": seen})
    assert first.status_code == 200 and first.headers["etag"] != seen
    problem(client.put(path, json={**body, "state": "closed"}, headers={"If-Match": seen}), 412, "changed_meanwhile")
    assert client.get(path).json()["state"] == "active"
    listed = f'"0", {first.headers["etag"]}'
    assert client.put(path, json={**body, "state": "closed"}, headers={"If-Match": listed}).status_code == 200
    assert client.put(path, json=body, headers={"If-Match": "*"}).status_code == 200


def test_channels_are_managed_and_tokens_change_without_a_gap(site: Site) -> None:
    client = site.client(session_of(site.store, "admin"))
    body = {"channel": "bank-1", "scopes": ["payments", "read"], "max_payment": "500"}
    old = client.post(f"{API}/channels", json=body).json()["token"]
    problem(client.post(f"{API}/channels", json=body), 409, "channel_exists")
    new = client.post(f"{API}/channels/bank-1/token", json={"overlap_s": 600}).json()["token"]
    for token in (old, new):
        assert site.client(token).get(f"{API}/meters").status_code == 200
    site.clock.advance(600)
    problem(site.client(old).get(f"{API}/meters"), 401, "unauthorized")
    terms = {"scopes": ["payments"], "max_payment": "500", "networks": ["192.0.2.0/24"]}
    assert client.put(f"{API}/channels/bank-1", json=terms, headers={"If-Match": "*"}).status_code == 200
    problem(site.client(new).get(f"{API}/meters"), 401, "unauthorized")  # not from there
    terms = {"scopes": ["read"], "networks": ["127.0.0.0/8"], "expires_s": site.clock.now_s() + 60}
    assert client.put(f"{API}/channels/bank-1", json=terms, headers={"If-Match": "*"}).status_code == 200
    assert site.client(new).get(f"{API}/meters").status_code == 200
    problem(site.client(new).post(f"{API}/payments", json={}), 403, "out_of_scope")
    site.clock.advance(60)
    problem(site.client(new).get(f"{API}/meters"), 401, "unauthorized")
    assert client.post(f"{API}/channels/bank-1/close").status_code == 200


def test_nobody_grants_himself_and_one_administrator_stays(site: Site) -> None:
    client = site.client(session_of(site.store, "admin"))
    problem(client.post(f"{API}/users/admin/grants", json={"role": "approver"}), 422, "refused")
    grant = client.get(f"{API}/users/admin").json()["grants"][0]["grant"]
    problem(client.delete(f"{API}/users/admin/grants/{grant}"), 422, "refused")
    add_person(site.store, "second", ("administrator", ""))
    other = site.client(session_of(site.store, "second"))
    assert other.delete(f"{API}/users/admin/grants/{grant}").status_code == 200
    problem(client.get(f"{API}/users"), 403, "out_of_scope")
    closed = {"state": "closed"}
    problem(other.put(f"{API}/users/second", json=closed, headers={"If-Match": "*"}), 422, "refused")


def test_who_manages_an_area_grants_there_alone(site: Site) -> None:
    add_person(site.store, "nora", ("administrator", "north"))
    add_person(site.store, "li.wei")
    client = site.client(session_of(site.store, "nora"))
    path = f"{API}/users/li.wei/grants"
    problem(client.post(path, json={"role": "viewer"}), 403, "out_of_scope")
    problem(client.post(path, json={"role": "viewer", "area": "south"}), 403, "out_of_scope")
    assert client.post(path, json={"role": "viewer", "area": "north/f-1"}).status_code == 200
    problem(client.post(f"{API}/users", json={"user": "new"}), 403, "out_of_scope")


def test_a_cashier_takes_payments_at_a_desk_of_his_own(site: Site) -> None:
    add_person(site.store, "chen", ("cashier", ""))
    paid = site.client(session_of(site.store, "chen")).post(
        f"{API}/payments", json={"payment_id": "1", "meter": "17", "amount": "25"}
    )
    assert paid.status_code == 201 and paid.json()["channel"] == "desk.chen"
    admin = site.client(session_of(site.store, "admin"))
    problem(admin.post(f"{API}/channels/desk.chen/token", json={}), 422, "refused")
    taken = {"channel": "desk.mei", "scopes": ["payments"]}
    problem(admin.post(f"{API}/channels", json=taken), 422, "refused")


# --- every request ----------------------------------------------------------------------------------------------------


def test_one_caller_leaves_room_for_others(tmp_path: Path) -> None:
    now = [100.0]
    limits = Rates({"look": Rate(1.0, 3), "act": Rate(1.0, 3), "pay": Rate(1.0, 3), "open": Rate(1.0, 3)})
    with Site(tmp_path, limits=limits, monotonic=lambda: now[0]) as site:
        client = site.client(ALL)
        answers = [client.get(f"{API}/meters") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[0].headers["ratelimit"] == '"look";r=2;t=3'
        assert answers[3].headers["retry-after"] == "1"
        problem(answers[3], 429, "too_many_requests")
        assert site.client(ONE["read"]).get(f"{API}/meters").status_code == 200
        now[0] += 1.0
        assert client.get(f"{API}/meters").status_code == 200


def test_a_request_is_known_by_its_id(site: Site) -> None:
    client = site.client()
    given = client.get(f"{API}/meters", headers={"X-Request-Id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    for bad in ("a b", "x" * 65, "<script>"):
        made = client.get(f"{API}/meters", headers={"X-Request-Id": bad}).headers["x-request-id"]
        assert made != bad and len(made) == 16


@pytest.mark.parametrize("path", ["/meters", "/payments", "/health"])
def test_options_and_head(site: Site, path: str) -> None:
    client = site.client()
    told = client.options(API + path)
    assert told.status_code == 204 and "OPTIONS" in told.headers["allow"] and not told.content
    if "GET" in told.headers["allow"]:
        head = client.head(API + path)
        assert (head.status_code, head.content) == (200, b"")


def _lists() -> list[Any]:
    from headend.web.api import OPERATIONS

    return [
        one
        for one in OPERATIONS
        if any(name.startswith("next_") for kind in one.answers.values() for name in kind.__struct_fields__)
    ]


@pytest.mark.parametrize("operation", _lists(), ids=lambda one: one.name)
def test_a_list_goes_on_from_a_cursor(operation: Any) -> None:
    fields = set(operation.query.__struct_fields__)
    following = [name for name in operation.answers[200].__struct_fields__ if name.startswith("next_")]
    assert "limit" in fields and next(name.removeprefix("next_") for name in following) in fields
