"""The head end of the demo: the real service in a thread of its own, and the ways in which the demo looks at it.

Payments, operator's orders, reads and reconciliation go through its HTTP API with a channel's token. What the API does
not offer (a question on a subject of one's own choice, the very bytes of a report, the event log) is done with the same
functions as the service uses, on the same store.
"""

import asyncio
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, select

from headend.clock import Clock
from headend.gate import policy
from headend.keys.holder import BENCH
from headend.keys.keystore import KeyStore
from headend.keys.provision import provision_record
from headend.ledger import channels
from headend.links.port import Sent
from headend.orders import questions
from headend.orders.actions import Action, Ask, Deliver
from headend.orders.policy import Policy
from headend.service import Service
from headend.settings import Settings
from headend.store.schema import entry, meter_event, meter_state, order, question
from headend.web import bodies_json, tariff_json
from meterlink.batches import KIND_REPORT
from meterlink.mac import MacKey
from meterlink.orders import ASPECT_CREDIT
from meterlink.reports import Report
from openprepay.demo.broker import AMQTT, Broker
from openprepay.demo.fleet import LIMITS, Point, meter_name

CHANNEL = "demo"
ACCOUNT_EPOCH = 1
TAG_KEY_VERSION = 1
CURRENCY = 156
IMP_PER_KWH = 1600
INTERVAL_MINUTES = 15
MAX_PAYMENT_UC = 100_000_000
OPENED = 50  # orders that may open a relay within an hour

# Virtual seconds, many of which pass while a message is on its way.
POLICY = Policy(retry_s=20, attempts=20, slow_s=600, settle_s=5, lease_s=900, question_s=900, poll_s=300, gap_s=120)
WAKE_S = 0.05  # real: the service sleeps by the machine's clock, so it is woken as virtual time passes
START_LIMIT_S = 60.0
HTTP_LIMIT_S = 30.0
ANSWER_LIMIT_S = 5.0

R = TypeVar("R")


class OfficeError(RuntimeError):
    """The head end did not start, or has ended; the text says why."""


@dataclass(frozen=True)
class Reply:
    """What the API answered: the status, the body as JSON, and the request line for people."""

    status: int
    body: dict[str, Any]
    request: str


class Office:
    """One head end with its files in `folder`, its own keys, and `clock` as its time."""

    def __init__(self, folder: Path, clock: Clock, broker: Broker, port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.keys = KeyStore.generate(use=BENCH).without_root()
        self.token = channels.new_token(os.urandom)
        self._clock = clock
        self._settings = Settings(
            database=f"sqlite:///{folder.resolve()}/head-end.sqlite",
            signer_log=str(folder / "head-end.signed"),
            heads_folder=str(folder / "heads"),
            currency=CURRENCY,
            http_port=port,
            page_without_token=True,
            mqtt_url=f"mqtt://{broker.address}",
            mqtt_version="3.1.1" if broker.kind == AMQTT else "5",
        )
        self._service: Service | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._stopping: asyncio.Event | None = None
        self._trouble: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="head end", daemon=True)

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Returns when HTTP answers; OfficeError otherwise."""
        self._thread.start()
        if not self._started.wait(START_LIMIT_S):
            raise OfficeError(f"The head end has not started within {START_LIMIT_S:g} s.")
        self.check()
        scopes = (channels.PAYMENTS, channels.ORDERS, channels.READ, channels.ADMIN)
        arguments = (self._clock.now_s(), CHANNEL, self.token, scopes, MAX_PAYMENT_UC)
        self.service.store.write(channels.add_channel, *arguments).result()
        why = "a fleet of a few meters, and one operator"
        self.service.store.write(policy.put, self._clock.now_s(), "system", policy.flat(OPENED), why).result()

    def stop(self) -> None:
        """Stop the service; returns when all of it is closed."""
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def check(self) -> None:
        """Raise OfficeError where the head end no longer runs."""
        if self._trouble is not None:
            raise OfficeError(f"The head end has ended: {type(self._trouble).__name__}: {self._trouble}")

    @property
    def service(self) -> Service:
        assert self._service is not None, "the head end runs"
        return self._service

    @property
    def url(self) -> str:
        return self.service.url

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - told by `check`, in the thread that asks
            self._trouble = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        async with Service(self._settings, self.keys, clock=self._clock, policy=POLICY) as service:
            self._service = service
            self._started.set()
            while not self._stopping.is_set():
                service.wake()
                await asyncio.sleep(WAKE_S)

    # -- the fleet -----------------------------------------------------------------------------------------------------

    def add(self, point: Point, address: str) -> bytes:
        """Take a meter into the fleet through the API; its provisioning record."""
        tariff, limits = point.tariff.encode(), LIMITS.encode()
        body = {
            "meter": meter_name(point),
            "carrier": point.carrier,
            "address": address,
            "label": f"{point.name}: {point.where}",
            "tariff": msgspec.to_builtins(tariff_json.write_tariff(tariff)),
            "limits": msgspec.to_builtins(bodies_json.write_limits(limits)),
            "interval_minutes": INTERVAL_MINUTES,
            "account_epoch": ACCOUNT_EPOCH,
        }
        reply = self.post("/meters", body)
        if reply.status != 201:
            raise OfficeError(f"Meter {point.name} was not taken into the fleet: {reply.body}")
        return provision_record(
            self.keys,
            meter=point.number,
            account_epoch=ACCOUNT_EPOCH,
            tag_key_version=TAG_KEY_VERSION,
            interval_minutes=INTERVAL_MINUTES,
            limits=limits,
            tariff=tariff,
            currency=CURRENCY,
            imp_per_kwh=IMP_PER_KWH,
        )

    def mac_key(self, point: Point) -> MacKey:
        """The key that the meter shares with the head end."""
        return self.keys.mac_key(point.number, TAG_KEY_VERSION)

    # -- the API -------------------------------------------------------------------------------------------------------

    def get(self, path: str) -> Reply:
        return self._request("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Reply:
        return self._request("POST", path, body)

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> Reply:
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=HTTP_LIMIT_S) as answer:
                status, raw = answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                status, raw = refusal.code, refusal.read()
        return Reply(status, json.loads(raw), f"{method} /api/v1{path}")

    # -- meters --------------------------------------------------------------------------------------------------------

    def ask(self, point: Point, aspect: int = ASPECT_CREDIT, selector: int | None = None) -> Report | None:
        """A report that answers a fresh question on a subject (by default our credit source), verified again here;
        None where none came in `ANSWER_LIMIT_S`."""
        subject = (aspect, self.keys.source if selector is None else selector)
        asked = self._write(_ask, self._clock.now_s(), point.number, *subject)
        if not self._carry(point, asked):
            return None
        nonce = asked.raw[2:10]
        until = time.monotonic() + ANSWER_LIMIT_S
        while time.monotonic() < until:
            # Once it is answered, a report that came after it on the same subject is as good.
            answered = self._read(_answered, nonce)
            report = self.newest(point)
            if report is not None and (report.nonce == nonce or (answered and _subject(report) == subject)):
                return report
            if answered:
                return None
            time.sleep(0.005)
        return None

    def newest(self, point: Point) -> Report | None:
        """The newest report that the head end has of a meter, verified again; None before the first."""
        raw = self._read(_report_of, point.number)
        return None if raw is None else Report(raw, self.mac_key(point))

    def deliver(self, point: Point, raw: bytes) -> str:
        """Put order bytes on the meter's link, past the dispatcher; what the carrier said."""
        return self._carry(point, Deliver(point.number, 0, raw)).note

    def _carry(self, point: Point, action: Action) -> Sent:
        assert self._loop is not None, "the head end runs"
        carrier = self.service.carriers[point.carrier]
        return asyncio.run_coroutine_threadsafe(carrier.send(action), self._loop).result(HTTP_LIMIT_S)

    def events(self, point: Point, code: int) -> list[Any]:
        """Stored rows of the meter's event log with a code (`meterlink.events`), oldest first."""
        return self._read(_events, point.number, code)

    def signed(self, order_id: int) -> bytes:
        """The bytes of an order as they go to the meter; none while it is unsigned."""
        return self._read(_signed, order_id)

    def ledger_entry(self, cause: str) -> Any:
        """The ledger's row with a cause."""
        return self._read(_entry, cause)

    def read(self, fn: Callable[..., R], *args: Any) -> R:
        """Read the store."""
        return self._read(fn, *args)

    def _read(self, fn: Callable[..., R], *args: Any) -> R:
        return self.service.store.read(fn, *args)

    def _write(self, fn: Callable[..., R], *args: Any) -> R:
        return self.service.store.write(fn, *args).result()


def _subject(report: Report) -> tuple[int, int]:
    return report.aspect, report.selector


def _ask(conn: Connection, now_s: int, number: int, aspect: int, selector: int) -> Ask:
    return questions.ask(conn, now_s, os.urandom, number, KIND_REPORT, aspect=aspect, selector=selector)


def _answered(conn: Connection, nonce: bytes) -> bool:
    return conn.execute(select(question.c.answered_s).where(question.c.nonce == nonce)).scalar_one_or_none() is not None


def _report_of(conn: Connection, number: int) -> bytes | None:
    raw: bytes | None = conn.execute(select(meter_state.c.report).where(meter_state.c.meter == number)).scalar_one()
    return raw


def _events(conn: Connection, number: int, code: int) -> list[Any]:
    mine = (meter_event.c.meter == number) & (meter_event.c.code == code)
    return list(conn.execute(select(meter_event).where(mine).order_by(meter_event.c.seq)).all())


def _signed(conn: Connection, order_id: int) -> bytes:
    return conn.execute(select(order.c.signed).where(order.c.id == order_id)).scalar_one() or b""


def _entry(conn: Connection, cause: str) -> Any:
    return conn.execute(select(entry).where(entry.c.cause == cause)).one()
