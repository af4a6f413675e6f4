"""What `openprepay serve` on SQLite takes of RAM in a day of a large fleet on a broker.

The head end is a process of its own, put together as `openprepay serve` puts it together, but for its clock, which it
is told: a day goes by in some minutes. Mosquitto is real, and every message passes through it: births, all intervals in
batches of `BATCH`, reports that the head end asks for, and of one meter in a hundred a payment over HTTP, its order,
receipt and proof. Then the clock goes on to where the day is packed.

Births and intervals are those of all meters. Reports and packing have some time each and get as far as they get: how
far is told. What they take does not grow with it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, func, select, update

from headend.collection import policy
from headend.fleet.meters import MeterRecord, add_meter
from headend.keys.keystore import KeyStore
from headend.ledger import channels
from headend.store import Store, open_store
from headend.store.schema import meter_state, payment
from headend.store.schema_readings import meter_reads, reading_day
from meterlink import topics
from metersim.workbench import DEFAULT_LIMITS, DEFAULT_TARIFF
from openprepay.bench.brief_meters import BriefMeters
from openprepay.bench.figure import Figure, against
from openprepay.bench.mqtt import PatientBroker
from openprepay.bench.serving import PASSPHRASE, START_S, Served

START_DAY_S = 1_799_971_200  # 2027-01-15 00:00 UTC
DAY_S, HOUR_S, PERIOD_S = 86_400, 3_600, 900
WHOLE = 100_000  # meters that the design speaks of …
WHOLE_FROM_S = 300.0  # … and from how many seconds on they all are there
FEW, A_SECOND = 40, 150  # meters with no time at all, and more for each second
BATCH = 16  # intervals
PAYING = 100  # one meter in so many
MOST_MB = 500.0  # that the design allows
ASKED_S, PACKED_S = 150.0, 30.0  # of the machine
LIMIT_S = 600.0
TICK_S = 0.25  # of the machine, for a second of the day
STEP_S = 600  # by which the day goes on once all who were to be asked are
TOGETHER = 2_000  # meters added in a transaction
MB = 1_000_000
REPORTS_S = START_DAY_S + DAY_S  # from then on …
SPREAD_S = 6 * HOUR_S  # … and over so long

_REPORTED = select(func.count()).where(meter_state.c.report_taken_s >= REPORTS_S)
_PRESENT = select(func.count()).where(meter_state.c.online == 1)
_SHORT = select(func.count()).where(
    func.coalesce(meter_reads.c.interval_whole_to, 0) < DAY_S // PERIOD_S, meter_reads.c.meter > 0
)
_PROVED = select(func.count()).where(payment.c.on_meter_s.is_not(None))
_LATER = update(meter_state).values(next_ask_s=REPORTS_S + meter_state.c.meter % SPREAD_S)
_WAITING = select(func.count()).where(meter_state.c.report_taken_s < REPORTS_S)
_PACKED = select(func.count()).select_from(reading_day)


def run(seconds: float) -> Iterator[Figure]:
    """As many meters as there is time for."""
    meters = WHOLE if seconds >= WHOLE_FROM_S else FEW + int(seconds * A_SECOND)
    with tempfile.TemporaryDirectory(prefix="openprepay-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        folder = Path(name)
        with PatientBroker(folder / "broker") as broker, closing(_HeadEnd(folder, broker.port)) as head_end:
            yield from _day(head_end, broker.port, meters, 1.0 if seconds else 0.1)


class _HeadEnd:
    """The process and its clock, which goes on by a second in `TICK_S`, and further where it is told to (`go_to`)."""

    def __init__(self, folder: Path, port: int) -> None:
        url = f"sqlite:///{folder}/headend.sqlite"
        served = Served(folder, url)
        with (folder / "openprepay.toml").open("a") as file:
            file.write(f'mqtt_url = "mqtt://127.0.0.1:{port}"\n')
        if served.run("keys", "init", "--bench", "--root-key", str(folder / "root")).wait(START_S):
            raise RuntimeError(f"openprepay keys init failed: {(folder / 'log').read_text()[-500:]}")
        self.keys = KeyStore.load(folder / "keys", PASSPHRASE)
        self.time_s = START_DAY_S
        self._one = threading.Lock()
        self._over = threading.Event()
        self._log = folder / "log"
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "openprepay.bench.served_day", str(START_DAY_S)],
                env=served.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()  # said when it answers
        if not self.url:
            raise RuntimeError(f"the head end did not start: {self._log.read_text()[-500:]}")
        self.store: Store = open_store(url, inline=True)
        self._ticking = threading.Thread(target=self._tick, daemon=True)
        self._ticking.start()

    def memory(self, what: str) -> float:
        """Its `what` of /proc/PID/status (VmRSS: now, VmHWM: the most so far), in MB."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(what)).split()[1]) * 1024 / MB

    def now_s(self) -> int:
        return self.time_s

    def go_to(self, time_s: int) -> None:
        """It is this time, unless it is later already."""
        with self._one:
            self.time_s = max(self.time_s, time_s)
            assert self._process.stdin is not None
            self._process.stdin.write(f"{self.time_s}\n")
            self._process.stdin.flush()

    def _tick(self) -> None:
        while not self._over.wait(TICK_S):
            self.go_to(self.time_s + 1)

    def pay(self, token: str, meter: int) -> None:
        body = {"payment_id": f"day-{meter}", "meter": topics.meter_name(meter), "amount": "20.00"}
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        asked = urllib.request.Request(f"{self.url}/api/v1/payments", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(asked, timeout=START_S) as answer:
            if answer.status != 201:
                raise RuntimeError(f"a payment was answered with {answer.status}")

    def until(self, counted: Callable[[Connection], int], wanted: int, what: str) -> None:
        """Wait until that many are counted."""
        ends = time.monotonic() + LIMIT_S
        while (found := self.store.read(counted)) != wanted:
            if time.monotonic() > ends or self._process.poll() is not None:
                raise RuntimeError(f"{what}: {found} of {wanted}; {self._log.read_text()[-2000:]}")
            time.sleep(0.2)

    def close(self) -> None:
        self._over.set()
        self._ticking.join()
        self.store.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(START_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _day(head_end: _HeadEnd, port: int, number: int, share: float) -> Iterator[Figure]:
    empty = head_end.memory("VmRSS")
    token = _furnish(head_end.store, number)
    meters = BriefMeters(head_end.keys, number, head_end.now_s, START_DAY_S - PERIOD_S)
    meters.connect(port)
    try:
        meters.be_born()
        head_end.until(_count(_PRESENT), number, "meters are there")
        _say(f"{number} meters are there, {head_end.memory('VmRSS'):.0f} MB")
        paying = meters.meters[::PAYING]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(partial(head_end.pay, token), paying))
        head_end.until(_count(_PROVED), len(paying), "payments are on their meters")
        _say(f"{len(paying)} payments are on their meters")
        for said in range(BATCH, DAY_S // PERIOD_S + 1, BATCH):
            head_end.go_to(START_DAY_S + said * PERIOD_S)
            meters.bring(BATCH)
            _say(f"{said} intervals of {number} meters said, {head_end.memory('VmRSS'):.0f} MB")
        head_end.until(_count(_SHORT), 0, "logs are short")
        reported = _ask(head_end, ASKED_S * share)
        _say(f"{reported} meters have reported")
        full = head_end.memory("VmRSS")
        head_end.go_to(START_DAY_S + DAY_S + 37 * HOUR_S)
        ends = time.monotonic() + PACKED_S * share
        while time.monotonic() < ends and head_end.store.read(_count(_PACKED)) < number:
            time.sleep(0.2)
        packed = head_end.store.read(_count(_PACKED))
        _say(f"the days of {packed} meters are packed")
        peak = head_end.memory("VmHWM")
    finally:
        meters.leave()
    yield Figure("serve_memory_meters", number, "meters")
    yield Figure("serve_memory_reports", reported, "meters")
    yield Figure("serve_memory_empty", empty, "MB")
    yield against("serve_memory", full, "MB", "what the design allows for 100 000 meters", MOST_MB)
    yield against("serve_memory_peak", peak, "MB", "the same", MOST_MB)


def _furnish(store: Store, number: int) -> str:
    """Add the meters, who bring their records and are asked for a report at the end of the day; a channel's token."""
    token = channels.new_token(os.urandom)

    def rules(conn: Connection) -> None:
        policy.put(conn, START_DAY_S, "bench", [{"profile": policy.PUSH, "report_s": DAY_S}], "")
        channels.add_channel(conn, START_DAY_S, "bank", token, (channels.PAYMENTS,), 10**9)

    def some(conn: Connection, numbers: range) -> None:
        for one in numbers:
            add_meter(conn, START_DAY_S, MeterRecord(one, "mqtt", "", DEFAULT_TARIFF.encode(), DEFAULT_LIMITS.encode()))

    store.write(rules).result()
    for first in range(1, number + 1, TOGETHER):
        store.write(some, range(first, min(first + TOGETHER, number + 1))).result()
    store.write(lambda conn: conn.execute(_LATER)).result()  # a meter that is new is asked at once
    return token


def _ask(head_end: _HeadEnd, seconds: float) -> int:
    """Let time go on to where reports are asked for, and on as they come; how many came."""
    ends = time.monotonic() + seconds
    for step_s in range(STEP_S, SPREAD_S + 1, STEP_S):
        head_end.go_to(REPORTS_S + step_s)
        waiting = _WAITING.where(meter_state.c.next_ask_s <= REPORTS_S + step_s)
        while head_end.store.read(_count(waiting)):
            if time.monotonic() > ends:
                return head_end.store.read(_count(_REPORTED))
            time.sleep(0.2)
    return head_end.store.read(_count(_REPORTED))


def _count(query: object) -> Callable[[Connection], int]:
    return lambda conn: int(conn.execute(query).scalar_one())  # type: ignore[call-overload]


def _say(sentence: str) -> None:
    print(f"openprepay bench: serve_memory: {sentence}", file=sys.stderr, flush=True)
