"""What Prometheus reads: figures of the database, and how long things took since this process began.

`NAMES` is the reference of all of them; docs and tests read it. Amounts are in the books' currency, not in millionths:
a monitor draws them.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from headend.store import Store
from headend.watch.figures import Figures, look
from headend.watch.tail import Tail

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
UC = 1_000_000

disable_created_metrics()  # type: ignore[no-untyped-call]

SECONDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_800, 3_600, 21_600, 86_400)
ANSWER_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Name(NamedTuple):
    """A metric: its help, its labels."""

    help: str
    labels: tuple[str, ...] = ()


NAMES: Mapping[str, Name] = {
    "openprepay_meters": Name("Meters in the fleet."),
    "openprepay_meters_online": Name("Meters that are present at their broker."),
    "openprepay_orders": Name("Orders that have not ended, by state.", ("state",)),
    "openprepay_orders_oldest_seconds": Name("Age of the oldest order in a state.", ("state",)),
    "openprepay_orders_unknown": Name("Orders that were sent and proved by nothing."),
    "openprepay_orders_unsigned": Name("Orders that wait for the signer."),
    "openprepay_outbox_due": Name("Orders that want attention now."),
    "openprepay_outbox_due_seconds": Name("How long the first of them has wanted it."),
    "openprepay_payments_pending": Name("Payments that no report has shown on the meter yet."),
    "openprepay_payments_pending_seconds": Name("Age of the oldest of them."),
    "openprepay_payments_pending_amount": Name("What they add up to, in the books' currency."),
    "openprepay_records": Name(
        "Records of the last local day that is over, by carrier and what became of them.", ("carrier", "state")
    ),
    "openprepay_records_uncounted_seconds": Name("How far the count of records is behind; days are packed behind it."),
    "openprepay_findings": Name("What stands for a person to look into, by kind.", ("kind",)),
    "openprepay_ledger_difference": Name("Sum of what books and meters leave unexplained, in the books' currency."),
    "openprepay_trouble": Name("1 for each part that does not work; nothing when the head end is ready.", ("part",)),
    "openprepay_workers": Name("Workers that share the database; 0 where one process is all there is."),
    "openprepay_leases": Name("Shards, buses and roles that a worker holds, by kind.", ("kind",)),
    "openprepay_leases_free": Name("Those that nobody holds although there are workers.", ("kind",)),
    "openprepay_order_seconds": Name("From stating an order to each state that it came to.", ("aspect", "state")),
    "openprepay_payment_power_seconds": Name("From a payment for a meter that was off to its report that it is on."),
    "openprepay_payment_power_overdue_total": Name("Payments for meters that were off, and still were a day later."),
    "openprepay_messages_total": Name("Messages from meters, by what became of them.", ("outcome",)),
    "openprepay_http_seconds": Name("Answers of the API, by operation and status.", ("operation", "status")),
}


class Metrics:
    """Made once by the service. `text` looks at the database and puts everything into one page.

    `trouble()`: part -> why it does not work · `counts()`: messages by outcome · `difference_uc(conn)`: the ledger's.
    """

    def __init__(
        self,
        store: Store,
        trouble: Callable[[], Mapping[str, str]],
        counts: Callable[[], Mapping[str, int]],
        difference_uc: Callable[..., int] | None = None,
    ) -> None:
        self._store = store
        self._trouble = trouble
        self._counts = counts
        self._difference_uc = difference_uc
        self._tail = Tail()
        self._one = threading.Lock()
        self.registry = CollectorRegistry()
        self._orders = self._histogram("openprepay_order_seconds", SECONDS)
        self._power = self._histogram("openprepay_payment_power_seconds", SECONDS)
        self._answers = self._histogram("openprepay_http_seconds", ANSWER_S)
        name = "openprepay_payment_power_overdue_total"
        self._overdue = Counter(name.removesuffix("_total"), NAMES[name].help, registry=self.registry)

    def answered(self, operation: str, status: int, seconds: float) -> None:
        """The API answered."""
        self._answers.labels(operation, str(status)).observe(seconds)

    def follow(self, now_s: int) -> None:
        """Count what moved since the last time; called every few seconds, scraped or not."""
        with self._one:
            self._follow(now_s)

    def text(self, now_s: int) -> bytes:
        """Everything, in the text format of Prometheus (0.0.4)."""
        with self._one:
            self._follow(now_s)
            figures = self._store.read(look, now_s)
            difference_uc = None if self._difference_uc is None else self._store.read(self._difference_uc)
            now = CollectorRegistry()
            now.register(_Now(list(self._gauges(figures, difference_uc))))
            return generate_latest(now) + generate_latest(self.registry)

    def _follow(self, now_s: int) -> None:
        before = self._tail.overdue
        self._store.read(self._tail.look, now_s, self._moved, self._power.observe)
        self._overdue.inc(self._tail.overdue - before)

    def _moved(self, aspect: str, state: str, seconds: int) -> None:
        self._orders.labels(aspect, state).observe(seconds)

    def _histogram(self, name: str, buckets: tuple[float, ...]) -> Histogram:
        known = NAMES[name]
        return Histogram(name, known.help, known.labels, buckets=buckets, registry=self.registry)

    def _gauges(self, found: Figures, difference_uc: int | None) -> Iterator[Metric]:
        for short, value in (
            ("meters", found.meters),
            ("meters_online", found.online),
            ("orders_unknown", found.orders["unknown"]),
            ("orders_unsigned", found.unsigned),
            ("outbox_due", found.due),
            ("outbox_due_seconds", found.due_age_s),
            ("payments_pending", found.paid),
            ("payments_pending_seconds", found.paid_age_s),
            ("payments_pending_amount", found.paid_uc / UC),
            ("records_uncounted_seconds", found.uncounted_s),
            ("workers", found.workers),
        ):
            yield _gauge(short, {(): value})
        yield _gauge("orders", {(state,): count for state, count in found.orders.items()})
        yield _gauge("orders_oldest_seconds", {(state,): age_s for state, age_s in found.oldest_s.items()})
        yield _gauge("leases", {(kind,): count for kind, count in found.held.items()})
        yield _gauge("leases_free", {(kind,): count for kind, count in found.free.items()})
        yield _gauge("records", {(carrier, state): count for (carrier, state), count in found.records.items()})
        yield _gauge("findings", {(kind,): count for kind, count in found.findings.items()})
        if difference_uc is not None:
            yield _gauge("ledger_difference", {(): difference_uc / UC})
        yield _gauge("trouble", {(part,): 1 for part in self._trouble()})
        name = "openprepay_messages_total"
        messages = CounterMetricFamily(name, NAMES[name].help, labels=NAMES[name].labels)
        for outcome, count in self._counts().items():
            messages.add_metric((outcome,), count)
        yield messages


class _Now(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _gauge(short: str, values: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    name = f"openprepay_{short}"
    known = NAMES[name]
    family = GaugeMetricFamily(name, known.help, labels=known.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
