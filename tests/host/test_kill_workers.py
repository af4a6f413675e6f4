"""Several workers on one database: each delivery is one worker's; one that was stopped in its tracks (SIGSTOP) and
wakes after its lease changes nothing; one that was killed leaves nothing but a lease that runs out.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from headend.clock import ManualClock
from headend.fleet.meters import add_meter
from headend.keys.keystore import KeyStore
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.ledger import channels, payments
from headend.orders import signing
from headend.orders.policy import Policy
from headend.store import Store
from headend.store.schema import order, order_history, outbox
from tests.host import lease_worker
from tests.host.books import CHANNEL, open_books, record, start
from tests.host.peer import Noise

METERS = tuple(range(17, 29))
GIVE_UP_S = 60
LONG_S = 600  # a lease that does not run out here
SHORT_S = 1


class Worker:
    """A process; `take()` gives {order id: lease} of what it took to deliver."""

    def __init__(self, url: str, lease_s: int) -> None:
        self.process: subprocess.Popen[str] = start(lease_worker.__file__, url, str(lease_s))

    def ready(self) -> None:
        assert self.listen() == "ready"

    def ask(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def listen(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def take(self) -> dict[int, str]:
        self.ask("due")
        return dict(json.loads(self.listen()))

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(GIVE_UP_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Shop:
    """A database with one signed credit statement for each meter, and workers on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store: Store = open_books(url, ())
        now_s = int(time.time())
        with open_books(url, (), inline=True) as store:
            self._fill(store, now_s)
        signer = Signer(KeyStore.generate(Noise()), SignerLog(None), ManualClock(now_s), Caps(10**12))
        signing.sign_pending(self.store, signer, now_s, Policy())
        self.workers: list[Worker] = []

    def _fill(self, store: Store, now_s: int) -> None:
        store.write(channels.add_channel, now_s, CHANNEL, "op_" + "t" * 43, ("payments",), 10**9).result()
        for number in METERS:
            where = {"carrier": "modbus", "address": f"tcp://127.0.0.1:1?unit={number}"}
            store.write(add_meter, now_s, record(number, **where)).result()
            store.write(payments.take, now_s, CHANNEL, f"p{number}", number, 1_000_000).result()

    def hire(self, count: int, lease_s: int) -> list[Worker]:
        made = [Worker(self.url, lease_s) for _ in range(count)]
        self.workers += made
        for one in made:
            one.ready()
        return made

    def orders(self) -> set[int]:
        return self.store.read(lambda conn: set(conn.execute(select(order.c.id)).scalars()))

    def row(self, order_id: int) -> Any:
        return self.store.read(lambda conn: conn.execute(select(outbox).where(outbox.c.order_id == order_id)).one())

    def history(self) -> list[Any]:
        return self.store.read(lambda conn: list(conn.execute(select(order_history).order_by(order_history.c.id))))

    def close(self) -> None:
        for one in self.workers:
            one.end()
        self.store.close()


@pytest.fixture
def shop(any_store_url: str) -> Iterator[Shop]:
    made = Shop(any_store_url)
    yield made
    made.close()


def test_each_delivery_is_one_workers(shop: Shop) -> None:
    workers = shop.hire(3, LONG_S)
    for worker in workers:
        worker.ask("due")  # all at once
    taken = [json.loads(worker.listen()) for worker in workers]
    rest = [list(worker.take().items()) for worker in workers]
    found = [order_id for some in taken + rest for order_id, _ in some]
    assert sorted(found) == sorted(shop.orders()), "each once, none twice"


def later(shop: Shop, worker: Worker, order_id: int, lease: str) -> None:
    """Let time pass until another worker holds it, or has asked about it since."""
    ends = time.monotonic() + GIVE_UP_S
    while shop.row(order_id).lease == lease:
        assert time.monotonic() < ends, "the lease never ran out"
        worker.take()
        time.sleep(0.1)


def test_a_worker_that_was_stopped_wakes_after_its_lease_and_changes_nothing(shop: Shop) -> None:
    sleeper, other = shop.hire(2, SHORT_S)
    taken = sleeper.take()
    assert taken
    os.kill(sleeper.process.pid, signal.SIGSTOP)
    for order_id, lease in taken.items():
        sleeper.ask("sent", order_id, lease)  # what it is about to say when it wakes
    for order_id, lease in taken.items():
        later(shop, other, order_id, lease)
    before = {order_id: shop.row(order_id) for order_id in taken}, shop.history()
    os.kill(sleeper.process.pid, signal.SIGCONT)
    assert [sleeper.listen() for _ in taken] == ["heard"] * len(taken)
    assert ({order_id: shop.row(order_id) for order_id in taken}, shop.history()) == before


def test_what_a_killed_worker_had_taken_is_another_ones_in_time(shop: Shop) -> None:
    doomed, other = shop.hire(2, SHORT_S)
    taken = doomed.take()
    assert taken
    doomed.process.kill()
    for order_id, lease in taken.items():
        later(shop, other, order_id, lease)
    again: set[int] = set()  # asked about first, then, without an answer, delivered again
    ends = time.monotonic() + GIVE_UP_S
    while again != set(taken):
        assert time.monotonic() < ends, f"never taken up again: {set(taken) - again}"
        again |= set(other.take()) & set(taken)
        time.sleep(0.1)
