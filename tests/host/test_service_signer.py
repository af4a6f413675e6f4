"""The head end with a signer of its own process: it holds no key, and goes on taking money while the signer is away."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from headend import cli
from headend.keys.signer_wire import SignerAway
from headend.refusals import Refused
from headend.service import Service
from tests.host.signer_rig import SignerProcess
from tests.host.test_service import GIVE_UP_S, KEYS, PAY, PeerCarrier, Scene, client, is_credit, play


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[SignerProcess]:
    made = SignerProcess(tmp_path / "a", KEYS)
    yield made
    if made.process is not None:
        made.stop()


@pytest.fixture
def scene(tmp_path: Path, signer: SignerProcess) -> Scene:
    made = Scene(tmp_path)
    made.settings = replace(made.settings, signer=signer.url, keystore="/no/such/keys")
    return made


def service(scene: Scene, *carriers: PeerCarrier) -> Service:
    return Service(scene.settings, None, clock=scene.clock, carriers=carriers)


async def until(http: httpx.AsyncClient, path: str, match: Any) -> Any:
    """What is there when it matches."""
    found = None
    async with asyncio.timeout(GIVE_UP_S):
        while found is None or not match(found):
            found = (await http.get(path)).json()
    return found


def test_a_payment_is_signed_there_and_reaches_the_meter(scene: Scene, signer: SignerProcess) -> None:
    async def act() -> None:
        carrier = PeerCarrier(scene.clock)
        async with service(scene, carrier) as head, client(head) as http, scene.passing(head):
            await carrier.birth()  # its report is verified with a key that the signer gave
            assert (await http.post("/payments", json=PAY)).status_code == 201
            await until(http, "/payments/1", lambda payment: payment["on_meter"])
            assert (await http.get("/ready")).status_code == 200

    signer.start()
    play(act())
    assert [line["total_uc"] for line in signer.lines()] == [25_000_000]


def test_while_it_is_away_payments_are_taken_and_orders_wait_and_say_why(scene: Scene, signer: SignerProcess) -> None:
    async def act() -> None:
        carrier = PeerCarrier(scene.clock)
        async with service(scene, carrier) as head, client(head) as http, scene.passing(head):
            await carrier.birth()
            await asyncio.to_thread(signer.kill)
            answer = await http.post("/payments", json=PAY)
            assert answer.status_code == 201
            order = f"/orders/{answer.json()['order']}"
            await until(http, order, lambda told: any("does not answer" in one["note"] for one in told["history"]))
            told = (await http.get("/ready")).json()
            assert set(told["trouble"]) == {"signer"} and "does not answer" in told["trouble"]["signer"]
            assert (await http.get(order)).json()["state"] == "queued"
            assert not any(map(is_credit, carrier.sent))
            await asyncio.to_thread(signer.start)
            await until(http, "/payments/1", lambda payment: payment["on_meter"])
            assert (await http.get("/ready")).status_code == 200

    signer.start()
    play(act())


def test_a_report_is_not_lost_while_its_key_cannot_be_had(scene: Scene, signer: SignerProcess) -> None:
    """What cannot be verified now is not acknowledged, so that the carrier brings it again; it is not called forged."""

    async def act() -> None:
        carrier = PeerCarrier(scene.clock)
        async with service(scene, carrier) as head:
            await asyncio.to_thread(signer.kill)
            with pytest.raises(SignerAway, match="does not answer"):
                await carrier.birth()
            assert set(head.engine.counts) <= {"not_sent_ask"}, "nothing that came up was judged"
            await asyncio.to_thread(signer.start)
            async with asyncio.timeout(GIVE_UP_S):
                while not head.engine.counts["birth"]:
                    with suppress(SignerAway):
                        await carrier.birth()
            assert {"forged", "no_key"}.isdisjoint(head.engine.counts)

    signer.start()
    play(act())


def test_it_starts_without_the_signer_once_the_database_is_set_up(scene: Scene, signer: SignerProcess) -> None:
    async def act() -> None:
        async with service(scene) as head, client(head) as http:
            assert (await http.post("/payments", json=PAY)).status_code == 201
            told = (await http.get("/ready")).json()["trouble"]
            assert "does not answer" in told["signer"]

    with pytest.raises(Refused, match="a database that was set up"):
        play(act())

    async def once() -> None:
        async with service(scene):
            pass

    with signer:
        play(once())
    play(act())


def test_what_the_signer_refuses_stays_in_the_outbox_and_says_so(scene: Scene, tmp_path: Path) -> None:
    async def act() -> None:
        async with service(scene) as head, client(head) as http, scene.passing(head):
            order = (await http.post("/payments", json=PAY)).json()["order"]
            cap = "total_uc: 25000000 given, at most 10000000 (cap of one meter and day) expected"
            await until(http, f"/orders/{order}", lambda told: any(one["note"] == cap for one in told["history"]))
            assert (await http.get(f"/orders/{order}")).json()["state"] == "queued"

    with SignerProcess(tmp_path / "a", KEYS, max_meter_day_uc=10_000_000):
        play(act())


def test_serve_asks_for_no_key_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENPREPAY_SIGNER", f"unix:{tmp_path}/none")
    monkeypatch.setenv("OPENPREPAY_KEYSTORE", "/no/such.keys")
    monkeypatch.setenv("OPENPREPAY_DATABASE", f"sqlite:///{tmp_path}/op.sqlite")
    monkeypatch.setenv("OPENPREPAY_HTTP_PORT", "1")
    assert cli.serve([]) == 1
    told = capsys.readouterr().err
    assert "a database that was set up" in told or "http_port" in told
    assert "/no/such.keys" not in told
