"""Images of the firmware and how meters are reached, over HTTP, and the page in both languages."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from headend.firmware import deliveries, told
from meterlink import results, states
from meterlink.image import Manifest
from tests.host.people_rig import add_person
from tests.host.site import ALL, API, ONE, Site
from tests.host.test_web_campaigns import READER, approved, person, prepared
from tests.host.test_web_page import Page

METERS = (17, 18, 19)
RAW = bytes(936) + Manifest((0, 2, 0), 1, 2, "unix", bytes(32)).pack()
BUS = "tcp://10.0.0.8:502"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site"), meters=METERS) as made:
        for number in METERS:
            made.born(number)
        for name in ("boss", "second"):
            add_person(made.store, name, *((role, "") for role in ("dispatcher", "approver", "engineer")))
        yield made


def put_in(site: Site, raw: bytes = RAW, **more: Any) -> Any:
    body = {"image": base64.b64encode(raw).decode(), **more}
    return site.client(ALL).post(f"{API}/firmware/images", json=body)


def test_an_image_goes_in_is_brought_and_shown_on_its_way(site: Site) -> None:
    first = put_in(site, note="spread")
    assert first.status_code == 201, first.text
    image = first.json()
    assert (image["release"], image["board"], image["length"], image["records"]) == ("0.2.0", "unix", 1000, 8)
    again = put_in(site)
    assert (again.status_code, again.json()) == (200, image)
    assert person(site).get(first.headers["location"]).json() == image
    assert person(site).get(f"{API}/firmware/images").json()["images"] == [image]

    body = {"kind": "firmware", "image": image["image"], "why": "a patch", "area": "", "plan": {"groups": ["rest"]}}
    made = prepared(site, person(site).post(f"{API}/campaigns", json=body))
    path = approved(site, made)
    assert person(site).get(path).json()["by_group"][0]["bringing"] == 3
    refused, whole, _ = ((made["campaign"], number) for number in METERS)
    now_s = site.clock.now_s()
    for of in (refused, whole):
        assert site.store.write(deliveries.carry, now_s, of).result()
    site.store.write(deliveries.refused, now_s, refused, results.WRONG_BOARD).result()
    site.store.write(told.whole, now_s, whole, states.UPDATE_WHOLE, results.PENDING, 8).result()
    shown = [one["image"] for one in person(site).get(f"{path}/meters").json()["meters"]]
    assert [one["state"] for one in shown] == ["refused", "here", "waiting"]
    assert "board" in shown[0]["why"]["en"] and shown[0]["why"]["zh"] and shown[1]["record"] == 8
    of_meter = person(site).get(f"{API}/meters/18/firmware").json()
    assert of_meter["running"] is None and of_meter["deliveries"][0]["image"] == shown[1]

    for language, words in (("en", "refused by the meter"), ("zh", "电表拒绝")):
        page = site.client(None, auth=READER).get(f"/firmware?lang={language}")
        assert page.status_code == 200 and words in "\n".join(Page(page.text).words), page.text

    gone = site.client(ALL).post(f"{API}/firmware/images/{image['image']}/withdraw", json={"why": "a fault"})
    assert gone.json()["withdrawn"]
    again = person(site).post(f"{API}/campaigns", json=body)
    assert again.status_code == 422 and "withdrawn" in again.json()["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"image": "AAAA"},
        {"image": base64.b64encode(RAW[:-8]).decode()},
        {"image": base64.b64encode(RAW).decode(), "signature": "AAAA"},  # no key is set to verify it with
        {"image": "A"},
    ],
)
def test_what_is_no_image_is_refused(site: Site, change: dict[str, str]) -> None:
    answer = site.client(ALL).post(f"{API}/firmware/images", json=change)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("change", [{"kind": "clock"}, {"image": 99}, {"firmware": {
    "release": [0, 2, 0], "legal_version": 1, "length": 1000, "sha256": "ab" * 32,
}}])  # fmt: skip
def test_an_image_goes_alone_with_its_kind(site: Site, change: dict[str, Any]) -> None:
    number = put_in(site, bytes(8) + RAW).json()["image"]
    body = {"kind": "firmware", "image": number, "why": "a patch", "area": "", **change}
    answer = person(site).post(f"{API}/campaigns", json=body)
    assert answer.status_code == 422, answer.text


def test_only_who_may_puts_images_in_and_moves_meters(site: Site) -> None:
    client = site.client(ONE["read"])
    assert client.post(f"{API}/firmware/images", json={"image": "AAAA"}).status_code == 403
    assert client.patch(f"{API}/meters/17", json={"carrier": "mqtt"}).status_code == 403
    assert client.get(f"{API}/firmware/images").status_code == 200


def test_how_a_meter_is_reached_can_be_changed(site: Site) -> None:
    client, path = site.client(ALL), f"{API}/meters/19"
    moved = client.patch(path, json={"carrier": "modbus", "address": f"{BUS}?unit=3", "new_bus": True})
    assert moved.status_code == 200 and moved.json()["meter"] == "000000000019", moved.text
    for number, unit, status in ((18, 3, 422), (18, 4, 200)):
        body = {"carrier": "modbus", "address": f"{BUS}?unit={unit}"}
        answer = client.patch(f"{API}/meters/{number}", json=body)
        assert answer.status_code == status, answer.text
    assert client.patch(f"{API}/meters/999", json={"carrier": "mqtt"}).status_code == 404
