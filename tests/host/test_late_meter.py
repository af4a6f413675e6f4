"""Odd meters on a real broker: one that answers before the broker has acknowledged the order, one that says all twice,
one that stays silent at first, one whose answers come when nobody waits for them any more. Nothing is confirmed that a
timely answer has not shown.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from headend.clock import SystemClock
from headend.engine import Policy
from headend.fleet.meters import add_meter
from headend.keys.keystore import KeyStore
from headend.ledger import channels, payments
from headend.orders.actions import Ask
from headend.service import Service
from headend.settings import Settings
from headend.store import open_store
from headend.store.schema import order, payment
from meterlink import reports, topics
from meterlink.bodies import decode_credit
from meterlink.orders import ASPECT_CREDIT
from tests.brokers import Broker
from tests.host import mqtt_rig, peer
from tests.host.books import CHANNEL, LIMIT_UC, METER, SOURCE, record

KEYS = KeyStore.generate().without_root()
POLICY = Policy(retry_s=1, retry_max_s=1, slow_s=1, settle_s=1, lease_s=2, question_s=2, poll_s=3600, attempts=2)
PAID_UC = 5_000_000
LATE_S = POLICY.question_s + 1.5


class OddMeter:
    """`habit`: at once, twice, silent (at the first questions) or late; may be changed."""

    def __init__(self, broker: Broker, habit: str) -> None:
        self.meter = peer.Peer(KEYS, SystemClock())  # type: ignore[arg-type]
        self.habit = habit
        self.asked = 0
        self.timers: list[threading.Timer] = []
        self.client = mqtt_rig.Peer(broker, topics.meter_name(METER))
        self.client.listen(topics.down(METER, "#"))
        self.client._client.on_message = lambda _c, _u, message: self._heard(message.topic, bytes(message.payload))
        self.client.say(METER, topics.UP_STATE, self.meter.report(reports.KIND_BIRTH), retain=True)

    def _heard(self, topic: str, raw: bytes) -> None:
        what = topic.rpartition("/")[2]
        if what == topics.DN_ORDER:
            stated = self.meter.hold(raw).stated
            if stated.aspect == ASPECT_CREDIT:
                self.meter.totals[SOURCE] = decode_credit(stated.body)[0]
            if self.habit != "silent":
                self._say(topics.UP_RECEIPT, self.meter.receipt(raw))
        elif what == topics.DN_ASK:
            self.asked += 1
            if self.habit == "silent" and self.asked < 4:
                return
            self._say(*self.meter.answer(Ask(METER, raw)))

    def _say(self, what: str, raw: bytes) -> None:
        def say() -> None:
            for _ in range(2 if self.habit == "twice" else 1):
                self.client._client.publish(topics.up(METER, what), raw, qos=1)

        if self.habit == "late":
            self.timers.append(threading.Timer(LATE_S, say))
            self.timers[-1].start()
        else:
            say()

    def close(self) -> None:
        for timer in self.timers:
            timer.cancel()
        self.client.close()


async def until(reached: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + mqtt_rig.LIMIT_S
    while not reached():
        assert time.monotonic() < ends, what
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("habit", ["at once", "twice", "silent", "late"])
def test_a_payment_to(tmp_path: Path, habit: str) -> None:
    with Broker(tmp_path / "broker") as broker:
        odd = OddMeter(broker, habit)
        try:
            mqtt_rig.run(sell(tmp_path, broker, odd))
        finally:
            odd.close()


async def sell(folder: Path, broker: Broker, odd: OddMeter) -> None:
    settings = Settings(
        database=f"sqlite:///{folder}/op.sqlite",
        signer_log=str(folder / "op.signed"),
        http_port=0,
        mqtt_url=f"mqtt://127.0.0.1:{broker.port}",
    )
    now_s = int(time.time())
    with open_store(settings.database, inline=True) as store:
        store.write(channels.add_channel, now_s, CHANNEL, "op_" + "t" * 43, ("payments",), LIMIT_UC).result()
        store.write(add_meter, now_s, record()).result()
    async with Service(settings, KEYS, policy=POLICY) as service:

        def row(table: Any) -> Any:
            return service.store.read(lambda conn: conn.execute(select(table)).one())

        paid = service.store.write(payments.take, now_s, CHANNEL, "1", METER, PAID_UC)
        await asyncio.wrap_future(paid)
        service.wake()
        if odd.habit == "late":
            await until(lambda: service.engine.counts["stale"] >= 2, "answers come late")
            # Its total, which only grows, is known from then on; the order is not called confirmed by it.
            assert row(order).state in ("sent", "unknown", "accepted"), "a late answer confirms nothing"
            odd.habit = "at once"
        await until(lambda: row(order).state == "confirmed", f"{row(order).state}, {service.engine.counts}")
        shown = reports.Report(row(order).evidence, odd.meter.key)
        assert shown.source_credited_uc == PAID_UC and shown.nonce != reports.NO_NONCE
        assert row(payment).on_meter_s is not None
        if odd.habit == "twice":
            await until(lambda: service.engine.counts["duplicate"] > 0, "what came twice is counted")
