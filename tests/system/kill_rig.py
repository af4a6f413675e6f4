"""A utility whose head end, signer and database are processes that may be killed at any instant, and go on.

`with Rig(folder, database) as rig`: a broker, meters with the firmware itself, a channel that posts payments and posts
again whatever it has no answer to. `rig.kill(who, after_s)` kills and starts again; `rig.check()` looks at all of it;
`rig.settle()` waits until every meter holds what was sold.
"""

import contextlib
import http.client
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy.exc import DBAPIError

from headend.keys.holder import BENCH
from headend.keys.keystore import KeyStore
from tests.brokers import Broker, free_port
from tests.host.books import CHANNEL, TOKEN, open_books
from tests.system import kill_books
from tests.system.children import Children
from tests.system.kill_meters import Meters

NUMBERS = (17, 18, 19)
GIVE_UP_S = 60.0
LOOKS = 10
HEAD_END = "serve"
SIGNER = "signer"
DATABASE = "database"  # all of its processes
CONNECTION = "connection"  # one of them


class Till:
    """A channel in a thread of its own: one payment after the other, each posted until it is answered.

    `taken`: id -> amount of those that were answered · `cut`: tries without an answer · `again`: answers of 200.
    """

    def __init__(self, name: str, port: int, meters: tuple[int, ...], seed: str, token: str = TOKEN) -> None:
        self.taken: dict[str, int] = {}
        self.cut = self.again = 0
        self.failed: BaseException | None = None
        self._name, self._port, self._meters = name, port, meters
        self._token = token
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """What was begun is seen through."""
        self._over.set()
        self._thread.join(GIVE_UP_S)
        assert not self._thread.is_alive(), "a payment was never answered"
        if self.failed is not None:
            raise self.failed

    def _run(self) -> None:
        try:
            number = 0
            while not self._over.is_set():
                number += 1
                self._pay(f"{self._name}-{number}", self._random.choice(self._meters), self._random.randint(1, 99))
                time.sleep(0.01)
        except BaseException as error:  # noqa: BLE001 - the test has to learn of it
            self.failed = error

    def _pay(self, payment_id: str, meter: int, cents: int) -> None:
        body = {"payment_id": payment_id, "meter": str(meter), "amount": f"0.{cents:02d}"}
        answer = self._post(body)
        self.taken[payment_id] = cents * 10_000
        if self._random.random() < 0.1:  # a channel that did not note the answer
            repeated = self._post(body)
            assert (repeated["payment_id"], repeated["amount"]) == (answer["payment_id"], answer["amount"])

    def _post(self, body: dict[str, str]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        ends = time.monotonic() + GIVE_UP_S
        while time.monotonic() < ends:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            try:
                connection.request("POST", "/api/v1/payments", json.dumps(body), headers)
                response = connection.getresponse()
                raw = response.read()
                if response.status in (200, 201):
                    self.again += response.status == 200
                    found: dict[str, Any] = json.loads(raw)
                    return found
                assert response.status in (429, 503), (response.status, raw)
            except (OSError, http.client.HTTPException):
                self.cut += 1
            finally:
                connection.close()
            time.sleep(0.02)
        raise AssertionError(f"{body} was not answered within {GIVE_UP_S} s")


class Rig:
    """`database`: a URL, of a database that is there · `strike[who]()`: kills what is no child of the rig, and starts
    it again.
    """

    def __init__(self, folder: Path, database: str, strike: Mapping[str, Callable[[], None]] | None = None) -> None:
        self.folder = folder
        self.log = folder / "op.signed"
        self._database = database
        self._strike = strike or {}
        self._broker = Broker(folder / "broker")
        self._keys = KeyStore.generate(use=BENCH).without_root()
        self._port = free_port()
        self.tills: list[Till] = []
        folder.mkdir(exist_ok=True)
        self.children = Children(folder, self._keys, GIVE_UP_S)
        open_books(database, NUMBERS).close()
        self._settings = {
            "database": database,
            "signer": f"unix:{folder}/s/signer.sock",
            "signer_log": str(self.log),
            "heads_folder": "",
            "http_port": self._port,
            "mqtt_url": f"mqtt://127.0.0.1:{self._broker.port}",
        }

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._broker)
            self.meters = stack.enter_context(Meters(self._broker, self._keys, NUMBERS))
            stack.enter_context(self.children)
            for who in (SIGNER, HEAD_END):
                self._start(who)
                self.children.until_ready(who)
            self.tills = [Till(f"till{n}", self._port, NUMBERS, f"{self.folder.name} {n}") for n in (1, 2)]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._stack:
            for till in self.tills if error is None else ():  # else the processes go, and nobody answers any more
                till.stop()

    def until_at_work(self) -> None:
        """The head end answers: where a machine is busy, it would else be killed again and again before it did."""
        ends = time.monotonic() + GIVE_UP_S
        while not self.children.is_ready(HEAD_END):
            assert time.monotonic() < ends, f"it does not come up:\n{self.children.told(HEAD_END)}"
            self._raise_up()
            time.sleep(0.02)

    def kill(self, who: tuple[str, ...], after_s: float) -> None:
        """After so long, end these at once and without warning, and start them again; does not wait for them."""
        time.sleep(after_s)
        self._raise_up()
        processes = [one for one in who if one not in self._strike]
        for one in processes:
            os.kill(self.children.pids[one], signal.SIGKILL)
        for one in who:
            if one in self._strike:
                self._strike[one]()
        for one in processes:
            self._buried(one, -signal.SIGKILL)
            self._start(one)

    def _raise_up(self) -> None:
        """Start again what found no database when it began, as whoever watches over it does (`Restart=always`)."""
        for who, pid in list(self.children.pids.items()) if self._strike else ():
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                self._buried(who, 1)
                self._start(who)

    def _buried(self, who: str, code: int) -> None:
        """It has ended with this code; or by itself, where its database goes as well."""
        allowed = {code, 1} if self._strike else {code}
        assert self.children.reaped(who) in allowed, f"{who} ended by itself:\n{self.children.told(who)}"

    def check(self) -> dict[int, int]:
        """See `kill_books.check`."""
        for failed in (self.meters.failed, *(till.failed for till in self.tills)):
            if failed is not None:
                raise failed
        acknowledged = {name: uc for till in self.tills for name, uc in list(till.taken.items())}
        for _ in range(LOOKS):
            try:
                return kill_books.check(self._database, self.log, self.meters, acknowledged, CHANNEL)
            except DBAPIError as error:  # a server whose process was killed closes all its connections, this one too
                if not error.connection_invalidated:
                    raise
                time.sleep(1)
        return kill_books.check(self._database, self.log, self.meters, acknowledged, CHANNEL)

    def settle(self) -> None:
        """No more payments; until every meter holds all that was sold to it, and the books say so."""
        for till in self.tills:
            till.stop()
        ends = time.monotonic() + GIVE_UP_S
        while time.monotonic() < ends:
            self._raise_up()
            sold = self.check()
            if all(self.meters.credited_uc(number) == sold[number] for number in NUMBERS) and self._all_confirmed():
                return
            time.sleep(0.2)
        raise AssertionError(f"not settled within {GIVE_UP_S} s:\n{self.children.told(HEAD_END)}")

    def _all_confirmed(self) -> bool:
        with kill_books.one_moment(self._database) as conn:
            return kill_books.all_confirmed(conn)

    def _start(self, who: str) -> None:
        self.children.start(who, who, self._settings)
