"""The service put together: HTTP, dispatcher, signer and a link in one loop; started, stopped, started again."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from headend import service as service_module
from headend.clock import ManualClock
from headend.engine import Action, Policy
from headend.fleet.meters import add_meter
from headend.keys.keystore import KeyStore
from headend.keys.sealed import KeyFileError
from headend.ledger import channels
from headend.links.port import Carrier, Sent, Up
from headend.orders.actions import Ask, Deliver
from headend.refusals import Refused
from headend.service import Service
from headend.settings import Settings
from headend.store import CommitFailed
from meterlink import reports, topics
from tests import sqlite
from tests.host.books import LIMIT_UC, METER, NOW_S, record
from tests.host.peer import Peer
from tests.host.site import ALL, API
from tests.pki import NOBODY

KEYS = KeyStore.generate().without_root()
PAY = {"payment_id": "1", "meter": "17", "amount": "25.00"}
GIVE_UP_S = 60


class PeerCarrier:
    """A link to one meter that does what it is told: the port of `headend.links`, with `Peer` behind it."""

    name = "mqtt"

    def __init__(self, clock: ManualClock) -> None:
        self.peer = Peer(KEYS, clock)
        self.sent: list[Action] = []
        self.hold = asyncio.Event()  # set: messages go through
        self.hold.set()
        self.changed = asyncio.Condition()

    async def start(self, up: Up) -> None:
        self.up = up

    async def birth(self) -> None:
        await self._up(topics.UP_STATE, self.peer.report(reports.KIND_BIRTH))

    async def send(self, action: Action) -> Sent:
        await self.hold.wait()
        if isinstance(action, Deliver):
            stated = self.peer.hold(action.raw).stated
            if stated.aspect == 1:
                self.peer.totals[stated.selector] = int.from_bytes(stated.body[:8], "big")
            await self._up(topics.UP_RECEIPT, self.peer.receipt(action.raw))
        elif isinstance(action, Ask):
            await self._up(*self.peer.answer(action))
        async with self.changed:
            self.sent.append(action)
            self.changed.notify_all()
        return Sent(True, "The meter has it.")

    def reaches(self, meter: int) -> bool:
        return meter == self.peer.number

    async def stop(self) -> None:
        self.hold.set()

    async def until(self, match: Callable[[Action], bool]) -> None:
        async with asyncio.timeout(GIVE_UP_S), self.changed:
            await self.changed.wait_for(lambda: any(match(action) for action in self.sent))

    async def _up(self, what: str, raw: bytes) -> None:
        for error in await asyncio.to_thread(self.up, [(METER, what, raw)]):
            if error is not None:
                raise error


class Scene:
    """Files of one head end, and its clock. Times of the machine play no part: the dispatcher's own pace is an hour."""

    def __init__(self, folder: Path, database: str = "") -> None:
        self.clock = ManualClock(NOW_S)
        self.settings = Settings(
            database=database or f"sqlite:///{folder}/op.sqlite",
            signer_log=str(folder / "op.signed"),
            heads_folder=str(folder / "heads"),
            http_port=0,
        )
        with sqlite.open_new(self.settings.database, inline=True) as store:
            store.write(channels.add_channel, NOW_S, "all", ALL, channels.SCOPES, LIMIT_UC).result()
            store.write(add_meter, NOW_S, record()).result()
            there = {"carrier": "modbus", "address": "tcp://127.0.0.1:9?unit=1"}
            store.write(add_meter, NOW_S, record(18, **there)).result()

    def service(self, *carriers: Carrier, **options: Any) -> Service:
        return Service(self.settings, KEYS, clock=self.clock, carriers=carriers, **options)

    @asynccontextmanager
    async def passing(self, service: Service) -> AsyncIterator[None]:
        """Let the clock run, faster than the machine's."""

        async def run() -> None:
            while True:
                await asyncio.sleep(0.02)
                self.clock.advance(1)
                service.wake()

        running = asyncio.create_task(run())
        try:
            yield
        finally:
            running.cancel()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def client(service: Service) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {ALL}"}
    usual = {"trust_env": False, "verify": NOBODY, "timeout": GIVE_UP_S}
    return httpx.AsyncClient(base_url=service.url + API, headers=headers, **usual)


def play(act: Coroutine[Any, Any, None]) -> None:
    """Run one act with a limit that only a hang reaches."""

    async def limited() -> None:
        async with asyncio.timeout(2 * GIVE_UP_S):
            await act

    asyncio.run(limited())


def is_credit(action: Action) -> bool:
    return isinstance(action, Deliver) and action.raw[1] == 1


def test_a_payment_goes_out_at_once(tmp_path: Path, any_store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dispatcher would sleep for an hour: it is woken by the commit."""
    scene = Scene(tmp_path, any_store_url)
    monkeypatch.setattr(service_module, "ROUND_S", 3600.0)

    async def act() -> None:
        carrier = PeerCarrier(scene.clock)
        async with scene.service(carrier) as service, client(service) as http:
            await carrier.birth()
            await carrier.until(lambda action: isinstance(action, Ask))
            assert (await http.post("/payments", json=PAY)).status_code == 201
            await carrier.until(is_credit)
            async with scene.passing(service):
                await shown(http)

    async def shown(http: httpx.AsyncClient) -> None:
        on_meter = False
        async with asyncio.timeout(GIVE_UP_S):
            while not on_meter:
                on_meter = (await http.get("/payments/1")).json()["on_meter"]

    play(act())


def test_what_comes_up_is_committed_when_the_link_hears_so(scene: Scene) -> None:
    async def act() -> None:
        carrier = PeerCarrier(scene.clock)
        async with scene.service(carrier) as service, client(service) as http:
            await carrier.birth()
            assert (await http.get("/meters/17")).json()["online"] is True
            service.store.close()
            with pytest.raises(Exception, match="closed"):
                await carrier.birth()

    play(act())


def test_all_is_there_after_a_restart(scene: Scene) -> None:
    async def act() -> None:
        async with scene.service() as service, client(service) as http:
            taken = (await http.post("/payments", json=PAY)).json()
            stop = (await http.post("/meters/17/disconnect", json={"reason": "arrears", "note": "x"})).json()
            before = [(await http.get(path)).json() for path in ("/payments/1", "/meters/17/reconciliation")]
        carrier = PeerCarrier(scene.clock)
        async with scene.service(carrier) as service, client(service) as http:
            again = await http.post("/payments", json=PAY)
            assert (again.status_code, again.json()) == (200, taken)
            after = [(await http.get(path)).json() for path in ("/payments/1", "/meters/17/reconciliation")]
            assert after == before
            assert (await http.get(f"/orders/{stop['order']}")).json()["note"] == "x"
            async with scene.passing(service):
                await carrier.birth()
                await carrier.until(is_credit)

    play(act())


def test_a_meter_without_a_link_is_told_in_the_history(scene: Scene) -> None:
    async def act() -> None:
        async with scene.service() as service, client(service) as http:
            order = (await http.post("/payments", json={**PAY, "meter": "18"})).json()["order"]
            notes: list[str] = []
            async with asyncio.timeout(GIVE_UP_S):
                while "The link of this meter is not set up here." not in notes:
                    notes = [one["note"] for one in (await http.get(f"/orders/{order}")).json()["history"]]

    play(act())


def test_a_dispatcher_in_trouble_is_not_ready_and_comes_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "TROUBLED_S", 0.05)
    broken = threading.Event()

    async def act() -> None:
        async with scene.service(PeerCarrier(scene.clock)) as service, client(service) as http:
            due = service.engine.due

            def fails(now_s: int) -> list[Action]:
                if broken.is_set():
                    raise CommitFailed("the disk is full")
                return due(now_s)

            monkeypatch.setattr(service.engine, "due", fails)
            assert (await http.get("/ready")).status_code == 200
            broken.set()
            service.wake()
            await ready(http, False)
            told = (await http.get("/ready")).json()["trouble"]
            assert told == {"dispatcher": "Its last round failed: CommitFailed."}
            assert (await http.post("/payments", json=PAY)).status_code == 201, "money is still taken"
            broken.clear()
            await ready(http, True)

    async def ready(http: httpx.AsyncClient, wanted: bool) -> None:
        found = not wanted
        async with asyncio.timeout(GIVE_UP_S):
            while found is not wanted:
                found = (await http.get("/ready")).json()["ready"]

    play(act())


def test_stopping_gives_up_what_hangs(scene: Scene) -> None:
    """A carrier that never comes back holds up neither the stop nor the next start; its order goes out then."""

    async def act() -> None:
        class Hung(PeerCarrier):
            async def send(self, action: Action) -> Sent:
                started.set()
                await asyncio.Event().wait()
                raise AssertionError

        started = asyncio.Event()
        hung = Hung(scene.clock)
        async with scene.service(hung) as service, client(service) as http:
            await hung.birth()
            await http.post("/payments", json=PAY)
            await asyncio.wait_for(started.wait(), GIVE_UP_S)
        scene.clock.advance(Policy().lease_s + 1)
        carrier = PeerCarrier(scene.clock)
        async with scene.service(carrier) as service, scene.passing(service):
            await carrier.birth()
            await carrier.until(is_credit)

    play(act())


def test_what_keeps_it_from_running_is_named_and_nothing_stays_open(scene: Scene) -> None:
    async def act() -> None:
        async with scene.service() as service:
            with pytest.raises(KeyFileError, match="held by another signer"):
                await scene.service().start()
            port = int(service.url.rpartition(":")[2])
        async with scene.service():
            pass
        scene.settings = replace(scene.settings, http_port=port)
        async with scene.service() as service:
            assert service.url.endswith(f":{port}")
            scene.settings = replace(scene.settings, signer_log="")
            with pytest.raises(Refused, match="a port that is free"):
                await scene.service().start()

    play(act())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"http_host": "0.0.0.0"}, "http_beyond_loopback"),
        ({"currency": 978}, "in which this database keeps its books"),
        ({"database": "sqlite:////no/such/folder/x.sqlite"}, "a file in a folder that exists"),
        ({"mqtt_url": "mqtt://127.0.0.1:1", "mqtt_key": "only-one-of-two"}, "a certificate and its key"),
    ],
)
def test_settings_that_do_not_fit_are_refused(scene: Scene, change: dict[str, Any], sentence: str) -> None:
    async def act() -> None:
        async with scene.service():
            pass
        with pytest.raises(Refused, match=sentence):
            await Service(replace(scene.settings, **change), KEYS, clock=scene.clock).start()
        async with scene.service():
            pass

    play(act())


def test_the_database_of_other_keys_is_refused(scene: Scene) -> None:
    """A database restored under its old epoch must not go on: the key store says which epoch is in force."""

    async def act() -> None:
        async with scene.service():
            pass
        later = KeyStore.generate(signing_epoch=2)
        said = r"signing_epoch of the database: 1 given, 2, the key store's .openprepay admin adopt-epoch. expected"
        with pytest.raises(Refused, match=said):
            await Service(scene.settings, later, clock=scene.clock, carriers=()).start()

    play(act())


def test_a_broker_that_is_not_there_makes_it_not_ready(scene: Scene) -> None:
    async def act() -> None:
        settings = replace(scene.settings, mqtt_url="mqtt://127.0.0.1:1")
        async with Service(settings, KEYS, clock=scene.clock) as service, client(service) as http:
            assert set(service.carriers) == {"modbus", "mqtt"}
            answer = await http.get("/ready")
            assert answer.status_code == 503
            assert answer.json()["trouble"]["mqtt"].startswith("There is no connection: ")
            assert (await http.post("/payments", json=PAY)).status_code == 201

    play(act())


def test_a_part_that_ends_by_itself_is_noticed(scene: Scene) -> None:
    """So that whoever supervises the process starts it again."""

    async def act() -> None:
        async with scene.service() as service:
            over = asyncio.create_task(service.over())
            assert await asyncio.wait({over}, timeout=0.3) == (set(), {over})
            assert service._rounds is not None
            service._rounds.cancel()
            await asyncio.wait({over}, timeout=GIVE_UP_S)
            assert over.done()

    play(act())
