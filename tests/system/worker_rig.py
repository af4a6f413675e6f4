"""Several workers on one PostgreSQL and one broker, each behind proxies of its own, and a signer: real processes.

`with Works(folder, url, count) as works`: `works.strike(dice)` does something bad to one of them, at random, and undoes
it; `works.pay()` sells; `works.settle()` waits until everything is where it belongs, and `works.check()` holds it
against what the meters know.
"""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import func, select

from headend.keys.holder import BENCH
from headend.keys.keystore import KeyStore
from headend.ledger import payments
from headend.reads import series
from headend.store import Store, open_store
from headend.store.schema import order, payment
from headend.store.schema_readings import reading_day, reading_recent
from headend.workers import leases
from headend.workers.homes import SHARD, SHARDS
from meterlink.records import RECORD_LENGTH
from tests.brokers import Broker
from tests.host.books import CHANNEL, open_books
from tests.proxies import Proxy
from tests.system import kill_books, kill_children
from tests.system.children import Children
from tests.system.crowd import Crowd

NUMBERS = tuple(range(17, 17 + 24))
GIVE_UP_S = 120.0
SIGNER = "signer"
LEASE_S = kill_children.PATIENCE.lease


class Works:
    """`url`: of a PostgreSQL at a socket, `host=FOLDER` in it."""

    def __init__(self, folder: Path, url: str, count: int, seed: str) -> None:
        self.folder = folder
        self.names = tuple(f"w{number}" for number in range(1, count + 1))
        self.struck: Counter[str] = Counter()
        self._url = url
        self._keys = KeyStore.generate(use=BENCH).without_root()
        self.broker = Broker(folder / "broker", persistence=True)
        self._dice = random.Random(seed)
        self._seed = seed
        self._paid = 0
        self.children = Children(folder, self._keys, GIVE_UP_S)
        open_books(url, NUMBERS).close()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.broker)
            self.store: Store = stack.enter_context(open_store(self._url))
            before, _, socket = self._url.partition("@/")
            name, _, where = socket.partition("?host=")
            self._databases = {one: stack.enter_context(Proxy(f"{where}/.s.PGSQL.5432", 0)) for one in self.names}
            self._brokers = {one: stack.enter_context(Proxy(self.broker.host, self.broker.port)) for one in self.names}
            common = {"signer": f"unix:{self.folder}/s/signer.sock", "signer_log": str(self.folder / "op.signed")}
            common |= {"heads_folder": "", "access_key": str(self.folder / "access")}
            self._settings: dict[str, dict[str, Any]] = {SIGNER: {**common, "database": self._url}}
            for one in self.names:
                self._settings[one] = {
                    **common,
                    "database": f"{before}@127.0.0.1:{self._databases[one].port}/{name}",
                    "mqtt_url": f"mqtt://127.0.0.1:{self._brokers[one].port}",
                    "roles": "collect,dispatch,sign,seal,bill",
                }
            self.crowd = stack.enter_context(Crowd(self.broker, self._keys, NUMBERS, self._seed))
            stack.enter_context(self.children)
            for who in (SIGNER, *self.names):
                self._start(who)
                self.children.until_ready(who)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    # --- what happens -------------------------------------------------------------------------------------------------

    def pay(self, count: int = 1) -> None:
        """Sell to `count` meters, into the database itself."""
        for _ in range(count):
            self._paid += 1
            arguments = (CHANNEL, f"p{self._paid}", self._dice.choice(NUMBERS), 10_000 * self._dice.randint(1, 99))
            self.store.write(payments.take, int(time.time()), *arguments).result()

    def strike(self) -> None:
        """Something bad happens to one worker; afterwards it can work again, though it may not know yet."""
        who = self._dice.choice(self.names)
        kind = self._dice.choice(sorted(_STRIKES))
        self.struck[kind] += 1
        _STRIKES[kind](self, who)

    def kill(self, who: str) -> None:
        os.kill(self.children.pids[who], signal.SIGKILL)
        assert self.children.reaped(who) == -signal.SIGKILL, f"{who} had ended by itself:\n{self.children.told(who)}"
        self._start(who)

    def end(self, who: str) -> None:
        """In order."""
        self.children.until_ready(who)
        os.kill(self.children.pids[who], signal.SIGTERM)
        assert self.children.reaped(who) == 0, f"{who} did not end in order:\n{self.children.told(who)}"

    def begin(self, who: str) -> None:
        self._start(who)
        self.children.until_ready(who)

    def pause(self, who: str, seconds: float | None = None) -> None:
        """Stopped in its tracks, every other time until others have what it held."""
        os.kill(self.children.pids[who], signal.SIGSTOP)
        self._work_on(self._away_s() if seconds is None else seconds)
        os.kill(self.children.pids[who], signal.SIGCONT)

    def part(self, proxies: dict[str, Proxy], who: str) -> None:
        """Its connections pass nothing any more, and then break."""
        proxies[who].part()
        self._work_on(self._away_s())
        proxies[who].heal()

    def part_from_database(self, who: str) -> None:
        self.part(self._databases, who)

    def part_from_broker(self, who: str) -> None:
        self.part(self._brokers, who)

    def cut(self, who: str) -> None:
        """Every connection breaks, once."""
        self._databases[who].cut()
        self._brokers[who].cut()

    def wipe_broker(self) -> None:
        """The broker dies, and begins again without anything that it knew."""
        self.broker.kill()
        for path in self.broker.folder.glob("*.db*"):
            path.unlink()
        self.broker.start()

    def _away_s(self) -> float:
        return self._dice.choice((self._dice.uniform(0.1, 1.0), self._dice.uniform(LEASE_S, LEASE_S + 2)))

    def _work_on(self, seconds: float) -> None:
        """The others, and whoever sells."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.pay()
            time.sleep(min(0.2, max(0.0, ends - time.monotonic())))

    # --- what has to hold ---------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """No more sales, no more records; until all of them are where they belong."""
        self.crowd.recording = False
        ends = time.monotonic() + GIVE_UP_S
        while not (self.crowd.waiting() == 0 and self._all_confirmed() and self._shares_even()):
            assert time.monotonic() < ends, f"not settled: {self._standing()}\n" + "".join(map(self._doing, self.names))
            assert self.crowd.failed is None, self.crowd.failed
            time.sleep(0.2)

    def check(self) -> None:
        """Every record stored once, bit for bit; every payment on its meter; no order under two versions."""
        assert self.crowd.failed is None
        assert self.crowd.forked == [], "an order came with other bytes under the same version or total"
        for number in NUMBERS:
            recorded = self.crowd.records(number)
            count = len(recorded) // RECORD_LENGTH
            assert self.store.read(series.raw, number, 7, 1, count) == recorded, f"records of meter {number}"
            assert self.store.read(_stored, number) == count, f"records of meter {number}, each once"
            assert self.store.read(_sold_uc, number) == self.crowd.credited_uc(number), f"credit of meter {number}"
        assert self.store.read(lambda conn: conn.execute(_PAYMENTS).scalar_one()) == self._paid
        twins = self.store.read(lambda conn: conn.execute(_TWINS).all())
        assert twins == [], "two orders of one meter under one version or total"

    def holders(self) -> Counter[str]:
        """How many shards each holder has now."""
        return Counter(one.holder for one in self.store.read(leases.standing, SHARD))

    def _shares_even(self) -> bool:
        shares = self.holders()
        return (
            len(shares) == len(self.names)
            and sum(shares.values()) == len(SHARDS)
            and max(shares.values()) - min(shares.values()) <= 1
        )

    def _all_confirmed(self) -> bool:
        return bool(self.store.read(kill_books.all_confirmed))

    def _standing(self) -> dict[str, object]:
        return {"records": self.crowd.behind(), "paid": self._all_confirmed(), "shares": self.holders()}

    def _doing(self, who: str) -> str:
        """What its threads are doing now, and what it said before."""
        os.kill(self.children.pids[who], signal.SIGUSR1)
        time.sleep(0.5)
        return self.children.told(who, 12_000)

    def _start(self, who: str) -> None:
        self.children.start(who, "signer" if who == SIGNER else "worker", self._settings[who])


_STRIKES: dict[str, Callable[[Works, str], None]] = {
    "kill": Works.kill,
    "pause": Works.pause,
    "part from database": Works.part_from_database,
    "part from broker": Works.part_from_broker,
    "cut": Works.cut,
}

_PAYMENTS = select(func.count()).select_from(payment).where(payment.c.on_meter_s.is_not(None))
_TWINS = (
    select(order.c.meter, order.c.aspect, order.c.selector, order.c.version, order.c.total_uc)
    .where(order.c.signed.is_not(None))
    .group_by(order.c.meter, order.c.aspect, order.c.selector, order.c.signing_epoch, order.c.version, order.c.total_uc)
    .having(func.count() > 1)
)


def _stored(conn: Any, number: int) -> int:
    recent = select(func.coalesce(func.sum(func.length(reading_recent.c.records)), 0)).where(
        reading_recent.c.meter == number
    )
    packed = select(func.coalesce(func.sum(reading_day.c.last - reading_day.c.first + 1), 0)).where(
        reading_day.c.meter == number
    )
    return int(conn.execute(recent).scalar_one()) // RECORD_LENGTH + int(conn.execute(packed).scalar_one())


def _sold_uc(conn: Any, number: int) -> int:
    return int(conn.execute(select(func.sum(payment.c.amount_uc)).where(payment.c.meter == number)).scalar_one() or 0)
