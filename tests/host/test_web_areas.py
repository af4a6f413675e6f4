"""Who may act in one area does nothing in another, and is not told what stands there."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from headend.access import areas, service_tokens
from headend.access.roles import ROLES
from headend.access.service_tokens import Terms
from headend.ledger import channels
from headend.store.schema import meter
from headend.web.api import OPERATIONS
from tests.host import books
from tests.host.api_bodies import BODIES
from tests.host.books import NOW_S
from tests.host.people_rig import add_person, session_of
from tests.host.site import ALL, API, Site, problem

NORTH, SOUTH, NOWHERE = 17, 18, 19
PLACED = [one for one in OPERATIONS if one.placed is not None]
ASKED = [
    (one, who) for one in PLACED for who in ("person", "channel") if who == "person" or one.scope in channels.SCOPES
]
TOKEN = "op_" + "n" * 43


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A meter in the north, one in the south, one nowhere, an order for each; a person and a channel of the north."""
    with Site(tmp_path_factory.mktemp("site"), (NORTH, SOUTH, NOWHERE)) as made:

        def place(conn: Any) -> None:
            for number, area in ((NORTH, "north/f-1"), (SOUTH, "south/f-1")):
                conn.execute(update(meter).where(meter.c.meter == number).values(area=area))

        made.store.write(place).result()
        add_person(made.store, "nora", *((role, "north") for role in ROLES))
        terms = Terms(channels.SCOPES, 10**9, "north")
        made.store.write(service_tokens.add, NOW_S, "system", "north-pos", TOKEN, terms).result()
        for number in (NORTH, SOUTH, NOWHERE):
            made.client().put(f"{API}/meters/{number}/tariff", json={"prices": ["0.5"]})
        yield made


def test_every_part_that_stands_somewhere_is_known() -> None:
    """A part of a path that names something of one meter belongs into `areas.OF`, or the operation looks itself."""
    parts = {part[1:-1] for one in OPERATIONS for part in one.path.split("/") if part.startswith("{")}
    assert {"meter", "order", "token"} <= set(areas.OF) <= parts


@pytest.mark.parametrize(("operation", "who"), [pytest.param(one, who, id=f"{one.name}-{who}") for one, who in ASKED])
def test_an_operation_elsewhere_is_as_if_nothing_was_there(site: Site, operation: Any, who: str) -> None:
    client = site.client(session_of(site.store, "nora") if who == "person" else TOKEN)
    before = books.dump(site.store)
    for there, missing in ((SOUTH, 999), (NOWHERE, 999)):
        answers = [_ask(client, operation, number, site) for number in (there, missing)]
        assert [answer.status_code for answer in answers] == [404, 404], answers[0].text
        codes = {answer.json()["code"] for answer in answers}
        assert codes == {f"unknown_{operation.placed}"}
    assert books.dump(site.store) == before


def _ask(client: httpx.Client, operation: Any, number: int, site: Site) -> httpx.Response:
    """The operation on the meter `number`, or on what belongs to it: orders have been made in the order of meters."""
    ids = {"meter": str(number), "order": str(number - NORTH + 1), "token": str(number)}
    parts = {part[1:-1]: "1" for part in operation.path.split("/") if part.startswith("{")} | ids
    body = {"json": {}} if operation.method != "GET" else {}
    return client.request(operation.method, API + operation.path.format(**parts), headers={"If-Match": "*"}, **body)


def test_the_same_operations_work_at_home(site: Site) -> None:
    client = site.client(TOKEN)
    assert client.get(f"{API}/meters/{NORTH}").status_code == 200
    assert client.put(f"{API}/meters/{NORTH}/tariff", json={"prices": ["0.6"]}).status_code == 202


def test_lists_show_the_area_alone(site: Site) -> None:
    for token in (TOKEN, session_of(site.store, "nora")):
        found = site.client(token).get(f"{API}/meters").json()["meters"]
        assert [int(one["meter"]) for one in found] == [NORTH]
    assert len(site.client().get(f"{API}/meters").json()["meters"]) == 3


def test_money_for_a_meter_elsewhere_is_not_taken(site: Site) -> None:
    client, before = site.client(TOKEN), books.dump(site.store)
    for number in (SOUTH, NOWHERE, 999):
        body = {"payment_id": f"x-{number}", "meter": str(number), "amount": "5"}
        problem(client.post(f"{API}/payments", json=body), 404, "unknown_meter")
    assert books.dump(site.store) == before
    body = {"payment_id": "x-1", "meter": str(NORTH), "amount": "5"}
    assert client.post(f"{API}/payments", json=body).status_code == 201


def test_what_may_be_seen_and_not_done_is_forbidden(site: Site) -> None:
    add_person(site.store, "rita", ("viewer", ""), ("dispatcher", "north"))
    client = site.client(session_of(site.store, "rita"))
    assert client.get(f"{API}/meters/{SOUTH}").status_code == 200
    stop = {"reason": "arrears"}
    problem(client.post(f"{API}/meters/{SOUTH}/disconnect", json=stop), 403, "out_of_scope")


def test_what_concerns_everything_wants_it_everywhere(site: Site) -> None:
    client = site.client(TOKEN)
    body = BODIES["post_meter"](None)[0]
    problem(client.post(f"{API}/meters", json=body), 403, "out_of_scope")
    assert site.client(ALL).post(f"{API}/meters", json=body).status_code == 201
