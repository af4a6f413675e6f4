"""Meters, orders and reads over HTTP: what was ordered, intended and is, kept apart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from headend.orders.actions import Ask
from headend.store.schema import meter
from meterlink import bodies, reasons, reports, states, topics
from meterlink.batches import KIND_INTERVALS, read_ask
from meterlink.reports import Report
from tests.host import readings
from tests.host.books import METER, NOW_S
from tests.host.peer import CLOSED, OPEN
from tests.host.site import API, Site

ME = f"{API}/meters/17"
TARIFF = {"prices": ["0.52", "0.31"], "slots": [{"start": "00:00", "rate": 1}, {"start": "08:00", "rate": 0}]}
LIMITS = {"alarm": "10", "alarm2": "5", "trip_delay_s": 900, "dwell_s": 60, "spread_s": 300, "stable_s": 10}
ARREARS = 1 << reasons.HOLD_ARREARS


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as made:
        yield made


def test_a_meter_that_never_reported_is_not_guessed_about(site: Site) -> None:
    shown = site.client().get(ME).json()
    assert shown["report"] is None
    assert shown["supply"] == {
        "wanted": {"supply": "on", "holds": [], "protected": False},
        "intended": None,
        "physical": None,
        "why_off": "Not known: the meter has not reported yet.",
    }
    assert shown["credit"]["balance"] is None
    assert shown["online"] is False
    assert shown["orders_under_way"] == []


def test_a_disconnection_shows_as_wanted_at_once_and_as_physical_when_it_is(site: Site) -> None:
    client, peer = site.client(), site.born()
    answer = client.post(f"{ME}/disconnect", json={"reason": "arrears", "note": "three bills", "valid_s": 600})
    assert answer.status_code == 202
    order = answer.json()
    assert answer.headers["location"] == f"{API}/orders/{order['order']}"
    assert (order["state"], order["action"], order["reason"], order["wants"]) == ("queued", "hold", "arrears", "off")
    assert order["actor"] == "channel:all" and order["note"] == "three bills"
    assert order["not_after"]["s"] == NOW_S + 600
    assert site.woken == 1

    shown = client.get(ME).json()["supply"]
    assert shown["wanted"]["supply"] == "off"
    assert shown["wanted"]["holds"][0]["state"] == "queued"
    assert (shown["intended"]["control"], shown["physical"]["contact"]) == ("connected", "closed")
    assert shown["why_off"] is None, "ordered off is not off"

    site.run(10)
    assert client.get(answer.headers["location"]).json()["state"] == "accepted", "held, and the contact still closed"
    peer.be(**(OPEN | {"holds": ARREARS}))
    site.run(60)
    found = client.get(answer.headers["location"]).json()
    assert (found["state"], found["ended"]) == ("confirmed", True)
    assert [one["event"] for one in found["history"]][:2] == ["create", "send"]
    evidence = Report(bytes.fromhex(found["evidence"]), peer.key)
    assert (evidence.contact, evidence.time_s) == (states.CONTACT_OPEN, found["confirmed_at"]["s"])
    shown = client.get(ME).json()
    assert (shown["supply"]["intended"]["control"], shown["supply"]["physical"]["contact"]) == ("disconnected", "open")
    expected = f"Off: held for arrears (order {order['order']} by channel:all: “three bills”)."
    assert shown["supply"]["why_off"] == expected
    assert shown["report"]["time"]["s"] <= site.clock.now_s()


def test_connecting_releases_that_hold_and_no_other(site: Site) -> None:
    client, peer = site.client(), site.born()
    for reason in ("arrears", "tamper"):
        client.post(f"{ME}/disconnect", json={"reason": reason})
    peer.be(**(OPEN | {"holds": ARREARS | 1 << reasons.HOLD_TAMPER}))
    site.run(200)
    order = client.post(f"{ME}/connect", json={"reason": "arrears", "close": "direct"}).json()
    assert (order["action"], order["wants"]) == ("release", "on")
    assert [hold["reason"] for hold in client.get(ME).json()["supply"]["wanted"]["holds"]] == ["tamper"]
    peer.be(holds=1 << reasons.HOLD_TAMPER)
    site.run(200)
    found = client.get(f"{API}/orders/{order['order']}").json()
    assert found["state"] == "accepted"
    assert any("hold tamper" in one["note"] for one in found["history"])
    client.post(f"{ME}/connect", json={"reason": "tamper", "close": "permit"})
    peer.be(**(CLOSED | {"holds": 0}))
    site.run(1400)
    assert client.get(f"{API}/orders/{order['order']}").json()["state"] == "confirmed"
    assert client.get(ME).json()["supply"]["why_off"] is None


def test_an_order_that_is_not_answered_is_unknown_and_comes_first(site: Site) -> None:
    client = site.client()
    site.born()
    client.put(f"{ME}/limits", json=LIMITS)
    site.run(1)
    client.post(f"{API}/payments", json={"payment_id": "1", "meter": "17", "amount": "5"})
    site.run(2000, METER)
    client.put(f"{ME}/tariff", json=TARIFF)
    under_way = client.get(ME).json()["orders_under_way"]
    assert [one["state"] for one in under_way] == ["unknown", "unknown", "queued"]
    assert "no proof" in under_way[0]["meaning"]
    only = client.get(f"{ME}/orders?under_way=true").json()["orders"]
    assert len(only) == 3


def test_tariff_and_limits_are_shown_as_last_ordered(site: Site) -> None:
    client = site.client()
    assert client.put(f"{ME}/tariff", json={**TARIFF, "utc_offset_minutes": 480}).status_code == 202
    assert client.put(f"{ME}/limits", json=LIMITS).status_code == 202
    shown = client.get(ME).json()
    assert shown["tariff"] == {
        "prices": ["0.52", "0.31"],
        "slots": [{"start": "00:00", "rate": 1}, {"start": "08:00", "rate": 0}],
        "utc_offset_minutes": 480,
        "activate_s": 0,
        "unknown_time_rate": 0,
        "steps": [],
        "year_from": 0,
        "export_prices": [],
        "charges": [],
        "more_days": [],
        "seasons": [],
        "special_days": [],
        "offsets": [],
    }
    defaults = {
        "max_current_ma": 0,
        "credit_limit": None,
        "typed_cap": None,
        "emergency": "0.00",
        "emergency_from": "0.00",
        "overdraft": "0.00",
        "min_close": "0.00",
        "settlement": "smets2",
        "supply_mode": 0,
        "rules": [],
        "friendly": None,
        "over_voltage_dv": 0,
        "under_voltage_dv": 0,
        "voltage_s": 10,
        "max_temperature_dc": 0,
        "overload": [],
        "overload_rest_s": 60,
        "overload_closes": 0,
    }
    assert shown["limits"] == {**LIMITS, "alarm": "10.00", "alarm2": "5.00", **defaults}


def test_the_rules_of_credit_are_limits_that_come_back_as_they_were_given(site: Site) -> None:
    client = site.client()
    wanted = {
        **LIMITS,
        "alarm": "10.00",
        "alarm2": "5.00",
        "max_current_ma": 60_000,
        "credit_limit": "500.00",
        "typed_cap": None,
        "emergency": "5.00",
        "emergency_from": "1.00",
        "overdraft": "20.00",
        "min_close": "2.50",
        "settlement": "state_grid",
        "supply_mode": 4,
        "rules": ["reminder", "suspend"],
        "friendly": {
            "start": "18:00",
            "end": "07:15",
            "days": ["fri", "sat", "sun"],
            "special_days": True,
            "jitter_s": 900,
        },
        "over_voltage_dv": 2650,
        "under_voltage_dv": 1800,
        "voltage_s": 30,
        "max_temperature_dc": 900,
        "overload": [{"current_ma": 80_000, "after_s": 300}],
        "overload_rest_s": 120,
        "overload_closes": 3,
    }
    assert client.put(f"{ME}/limits", json=wanted).status_code == 202
    assert client.get(ME).json()["limits"] == wanted
    row = site.store.read(lambda conn: conn.execute(select(meter.c.limits)).scalar_one())
    read = bodies.decode_limits(row)
    assert (read.friendly_from, read.friendly_until, read.friendly_days) == (72, 29, 0b11110000)
    assert (read.emergency_uc, read.overdraft_uc, read.rules) == (5_000_000, 20_000_000, 3)
    late = {**wanted, "friendly": {"start": "24:00"}}
    answer = client.put(f"{ME}/limits", json=late)
    assert answer.status_code == 422 and answer.json()["field"] == "friendly.start"


def test_typed_tokens_are_limited_and_turned_off_by_an_order(site: Site) -> None:
    client = site.client()
    for limit, cap, held in (("500.00", "80.00", (500_000_000, 80_000_000)), (None, "0.00", (bodies.MAX_UC, 0))):
        wanted = {**LIMITS, "credit_limit": limit, "typed_cap": cap}
        assert client.put(f"{ME}/limits", json=wanted).status_code == 202
        shown = client.get(ME).json()["limits"]
        assert (shown["credit_limit"], shown["typed_cap"]) == (limit, cap)
        row = site.store.read(lambda conn: conn.execute(select(meter.c.limits)).scalar_one())
        read = bodies.decode_limits(row)
        assert (read.credit_limit_uc, read.typed_cap_uc) == held


def test_orders_come_newest_first_page_by_page(site: Site) -> None:
    client = site.client()
    made = [client.put(f"{ME}/limits", json={**LIMITS, "dwell_s": n}).json()["order"] for n in range(7)]
    found: list[int] = []
    page: dict[str, Any] = {"next_before": 2**53}
    while page["next_before"]:
        page = client.get(f"{ME}/orders", params={"limit": 3, "before": page["next_before"]}).json()
        found += [one["order"] for one in page["orders"]]
    assert found == made[::-1]
    states_of = [one["state"] for one in client.get(f"{ME}/orders").json()["orders"]]
    assert states_of == ["queued"] + ["superseded"] * 6


def test_a_meter_is_added_and_listed(site: Site) -> None:
    client = site.client()
    body = {
        "meter": "18",
        "carrier": "modbus",
        "address": "tcp://127.0.0.1:502?unit=1",
        "tariff": TARIFF,
        "limits": LIMITS,
        "label": "Mill Lane 2",
    }
    answer = client.post(f"{API}/meters", json=body)
    assert (answer.status_code, answer.headers["location"]) == (201, f"{API}/meters/000000000018")
    assert answer.json() == client.get(answer.headers["location"]).json()
    assert (answer.json()["label"], answer.json()["online"]) == ("Mill Lane 2", None)
    first = client.get(f"{API}/meters?limit=1").json()
    assert ([one["meter"] for one in first["meters"]], first["next_after"]) == (["000000000017"], "000000000017")
    second = client.get(f"{API}/meters", params={"limit": 1, "after": first["next_after"]}).json()
    assert [one["meter"] for one in second["meters"]] == ["000000000018"]
    assert client.get(f"{API}/meters", params={"after": second["next_after"]}).json() == {
        "meters": [],
        "next_after": None,
    }


def test_intervals_come_by_number_with_what_is_missing_counted(site: Site) -> None:
    client, peer = site.client(), site.peer()
    empty = client.get(f"{ME}/intervals").json()
    assert (empty["log_id"], empty["intervals"], empty["counts"]["expected"]) == (None, [], 0)
    peer.record(100)
    asks = site.up(topics.UP_STATE, peer.report(reports.KIND_BIRTH))
    first = next(ask for ask in asks if isinstance(ask, Ask) and read_ask(ask.raw)[0] == KIND_INTERVALS)
    site.up(*peer.answer(first))  # 40 records; what is asked for next is not heard
    counts = client.get(f"{ME}/intervals").json()["counts"]
    wanted = {"expected": 100, "stored": 40, "lost": 0, "missing": 60, "doubled": 0, "unchained": 0, "whole": False}
    assert counts == wanted
    assert client.get(ME).json()["reads"] == {"expected": 100, "whole_to": 40}
    site.run(1500)
    found: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = client.get(f"{ME}/intervals", params={"limit": 30, "after": after}).json()
        found += page["intervals"]
        after = page["next_after"]
    assert [one["seq"] for one in found] == list(range(1, 101))
    assert {one["import_wh"] for one in found} == {100}
    assert page["counts"] == {
        "expected": 100,
        "stored": 100,
        "lost": 0,
        "missing": 0,
        "doubled": 0,
        "unchained": 0,
        "whole": True,
    }
    assert client.get(ME).json()["reads"] == {"expected": 100, "whole_to": 100}


def test_readings_come_by_time_of_all_logs(site: Site) -> None:
    day_s, now_s = NOW_S - NOW_S % 86_400, NOW_S + 5 * 86_400
    used = [{"seq": seq, "start_s": day_s + seq * 900, "import_reg_wh": seq, "import_wh": 1} for seq in range(1, 200)]
    rest = {"export_reg_wh": 0, "export_wh": 0, "minutes": 15, "flags": 0}
    made = [{**one, **rest} for one in used]
    site.store.write(readings.put, now_s, METER, 4, made[:150]).result()
    site.store.write(readings.put, now_s, METER, 9, made[100:]).result()  # both logs tell of some periods
    client = site.client()
    found: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = client.get(f"{ME}/readings", params={"limit": 30, "after": after}).json()
        found += page["intervals"]
        after = page["next_after"]
    expected = sorted([(seq, 4) for seq in range(1, 151)] + [(seq, 9) for seq in range(101, 200)])
    assert [(one["seq"], one["log_id"]) for one in found] == expected
    span = {"from_s": day_s + 900, "to_s": day_s + 3600}
    page = client.get(f"{ME}/readings", params=span).json()
    assert [one["start"]["s"] - day_s for one in page["intervals"]] == [900, 1800, 2700]
    assert page["next_after"] is None
    page = client.get(f"{ME}/readings", params={"day": "2027-01-15"}).json()
    assert [one["seq"] for one in page["intervals"]] == [*range(1, 96)]


def test_reconciliation_is_explained_to_the_unit(site: Site) -> None:
    client, peer = site.client(), site.born()
    client.post(f"{API}/payments", json={"payment_id": "1", "meter": "17", "amount": "20.000001"})
    site.run(30)
    peer.be(credited_uc=20_000_001, charged_uc=3_000_000, balance_uc=17_000_001)
    client.post(f"{API}/payments", json={"payment_id": "2", "meter": "17", "amount": "5"})
    site.run(20)
    peer.be(credited_uc=25_000_001, balance_uc=22_000_001)
    site.run(1400)
    whole = client.get(f"{ME}/reconciliation").json()
    assert (whole["difference"], whole["explained"], whole["source_shown"]) == ("0.00", True, True)
    assert (whole["ledger"], whole["on_meter"]) == ("22.000001", "22.000001")
    peer.be(credited_uc=26_000_001, balance_uc=23_000_001)
    site.run(1400)
    wrong = client.get(f"{ME}/reconciliation").json()
    assert (wrong["explained"], wrong["difference"]) == (False, "-1.00")


def test_ready_tells_what_is_wrong(tmp_path: Path) -> None:
    with Site(tmp_path, trouble=lambda: {"mqtt": "There is no connection: refused."}) as site:
        answer = site.client(None).get(f"{API}/ready")
        assert answer.status_code == 503
        assert answer.json() == {"ready": False, "trouble": {"mqtt": "There is no connection: refused."}}
        assert site.client(None).get(f"{API}/health").json()["currency"] == 156


def test_a_database_that_does_not_answer_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site.client(None).get(f"{API}/ready").json() == {"ready": True, "trouble": {}}

    def broken(*_: Any) -> None:
        raise OSError("disk /dev/secret")

    monkeypatch.setattr(site.store, "read", broken)
    answer = site.client(None).get(f"{API}/ready")
    assert answer.json() == {"ready": False, "trouble": {"database": "It does not answer: OSError."}}
