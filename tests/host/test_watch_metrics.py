"""What a monitor reads: every name that is listed, in the form that Prometheus reads, and true."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headend.orders import statements
from headend.watch.metrics import CONTENT_TYPE, NAMES, Metrics
from meterlink import reasons
from tests.host.books import CHANNEL, METER
from tests.host.peer import CLOSED, OPEN
from tests.host.site import API, ONE, Site, problem

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as made:
        yield made


def metrics_of(site: Site) -> Metrics:
    return Metrics(site.store, lambda: {"mqtt": "There is no connection."}, lambda: {"answer": 3}, lambda _: 2_500_000)


def read(metrics: Metrics, now_s: int) -> Values:
    found: Values = {}
    for family in text_string_to_metric_families(metrics.text(now_s).decode()):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def pay(site: Site, amount: str = "10.00", payment_id: str = "1") -> None:
    body = {"payment_id": payment_id, "meter": str(METER), "amount": amount}
    assert site.client().post(f"{API}/payments", json=body).status_code == 201


def test_every_name_that_is_listed_is_there_and_no_other(site: Site) -> None:
    metrics = metrics_of(site)
    site.store.write(statements.stop, site.clock.now_s(), METER, reasons.HOLD_ARREARS, f"channel:{CHANNEL}").result()
    metrics.answered("take_payment", 201, 0.004)
    families = {
        family.name: family for family in text_string_to_metric_families(metrics.text(site.clock.now_s()).decode())
    }
    assert set(families) == {name.removesuffix("_total") for name in NAMES}
    for name, known in NAMES.items():
        family = families[name.removesuffix("_total")]
        assert family.documentation == known.help
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(known.labels), sample


def test_figures_are_what_the_database_holds(site: Site) -> None:
    metrics = metrics_of(site)
    site.born()
    site.run(5)
    pay(site)
    pay(site, payment_id="2")
    site.clock.advance(40)
    found = read(metrics, site.clock.now_s())
    assert found["openprepay_meters", ()] == found["openprepay_meters_online", ()] == 1
    assert found["openprepay_payments_pending", ()] == 2
    assert found["openprepay_payments_pending_seconds", ()] == 40
    assert found["openprepay_payments_pending_amount", ()] == 20.0
    assert found["openprepay_orders", (("state", "queued"),)] == 1, "one statement carries both"
    assert found["openprepay_orders_oldest_seconds", (("state", "queued"),)] == 40
    assert found["openprepay_orders_unsigned", ()] == 1
    assert found["openprepay_outbox_due_seconds", ()] == 40
    assert found["openprepay_trouble", (("part", "mqtt"),)] == 1
    assert found["openprepay_messages_total", (("outcome", "answer"),)] == 3
    assert found["openprepay_ledger_difference", ()] == 2.5
    site.run(60)
    later = read(metrics, site.clock.now_s())
    assert later["openprepay_payments_pending", ()] == later["openprepay_orders_unsigned", ()] == 0


def test_an_order_is_timed_to_each_state(site: Site) -> None:
    metrics = metrics_of(site)
    site.born()
    metrics.follow(site.clock.now_s())  # what was before is not counted
    pay(site)
    site.run(60)
    found = read(metrics, site.clock.now_s())
    for state in ("queued", "sent", "confirmed"):
        assert found["openprepay_order_seconds_count", (("aspect", "credit"), ("state", state))] == 1
    again = read(metrics, site.clock.now_s())
    assert again == found, "a second look counts nothing twice"


@pytest.mark.parametrize("off_before", [True, False])
def test_a_payment_is_timed_to_power_where_the_meter_was_off(site: Site, off_before: bool) -> None:
    metrics = metrics_of(site)
    peer = site.peer()
    peer.be(**(OPEN if off_before else CLOSED))
    site.born()
    site.run(30)
    metrics.follow(site.clock.now_s())
    pay(site)
    site.run(20)
    metrics.follow(site.clock.now_s())
    peer.be(**CLOSED)
    site.clock.advance(25)
    site.born()
    found = read(metrics, site.clock.now_s())
    counted = found["openprepay_payment_power_seconds_count", ()]
    assert counted == (1 if off_before else 0)
    if off_before:
        assert found["openprepay_payment_power_seconds_sum", ()] == 45


def test_power_that_does_not_come_within_a_day_is_counted_apart(site: Site) -> None:
    metrics = metrics_of(site)
    site.peer().be(**OPEN)
    site.born()
    metrics.follow(site.clock.now_s())
    pay(site)
    metrics.follow(site.clock.now_s())
    site.clock.advance(86_401)
    found = read(metrics, site.clock.now_s())
    assert found["openprepay_payment_power_overdue_total", ()] == 1
    assert found["openprepay_payment_power_seconds_count", ()] == 0


def test_a_reader_of_the_api_reads_them_and_nobody_else(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.desk.metrics = metrics_of(site)
        assert site.client(ONE["payments"]).get("/metrics").status_code == 403
        assert site.client(None).get("/metrics").status_code == 401
        site.client(ONE["read"]).get(f"{API}/meters")
        answer = site.client(ONE["read"]).get("/metrics")
        assert (answer.status_code, answer.headers["content-type"]) == (200, CONTENT_TYPE)
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        counted = [one for one in families["openprepay_http_seconds"].samples if one.name.endswith("_count")]
        assert {(one.labels["operation"], one.labels["status"]): one.value for one in counted} == {
            ("list_meters", "200"): 1
        }
        site.desk.metrics = None
        problem(site.client(ONE["read"]).get("/metrics"), 404, "no_such_path")
