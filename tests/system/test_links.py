"""The head end and the firmware under real MicroPython, over every kind of link: a payment reaches the meter and is
proved by its own report, and every interval that it holds is stored once."""

import asyncio
import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, Row
from sqlalchemy import select as choose

from headend.fleet.meters import MeterRecord, add_meter
from headend.keys.holder import BENCH
from headend.keys.keystore import KeyStore
from headend.keys.provision import provision_record
from headend.ledger import channels, payments
from headend.orders.policy import Policy
from headend.reads.completeness import Completeness, completeness
from headend.service import Service
from headend.settings import Settings
from headend.store import MONEY
from headend.store.schema import meter_state, order, payment
from meterlink import bodies, topics
from meterlink.reports import Report
from meterlink.tariff import Tariff
from metersim.board import VirtualBoard
from metersim.child import ChildMeter
from metersim.load import Constant
from metersim.pty_line import PtyLine
from tests.brokers import METER_ACL, Broker, free_port
from tests.system.serial_server import bridge

NUMBER = 260100000017
HISTORY_S = 4200
INTERVALS = HISTORY_S // 60 - 1  # at least: of a minute each
SPEED = 3000
PAID_UC = 50_000_000
LIMIT_S = 120.0
HASTY = Policy(retry_s=1, settle_s=1, gap_s=1, poll_s=2)
LIMITS = bodies.Limits(
    alarm_uc=200_000, alarm2_uc=100_000, trip_delay_s=60, dwell_s=1, spread_s=0, stable_s=1, max_current_ma=0
)


class Place:
    """A meter with an hour of history behind it, and the settings of a head end that reaches it."""

    def __init__(self, folder: Path, kind: str, stack: contextlib.ExitStack) -> None:
        whole = KeyStore.generate(use=BENCH)
        self.keys, self.root = whole.without_root(), whole.root_only()
        self.settings = Settings(
            database=f"sqlite:///{folder}/head-end.sqlite",
            signer_log=str(folder / "signed"),
            heads_folder="",
            http_port=0,
        )
        self.address = ""
        self.carrier = "mqtt" if kind == "mqtt" else "modbus"
        links: dict[str, object] = {}  # of the meter
        if kind == "mqtt":
            broker = stack.enter_context(Broker(folder / "broker", tls=True, acl=METER_ACL))
            ca, certificate, key = map(str, broker.client_files(topics.meter_name(NUMBER)))
            links["mqtt"] = f"{broker.host}:{broker.port}"
            links["tls"] = {"ca": ca, "cert": certificate, "key": key, "server": broker.host}
            ours = map(str, broker.client_files("head-end"))
            names = ("mqtt_ca", "mqtt_certificate", "mqtt_key")
            url = f"mqtts://{broker.host}:{broker.port}"
            self.settings = replace(self.settings, mqtt_url=url, **dict(zip(names, ours, strict=True)))
        elif kind == "tcp":
            links["tcp"] = f"127.0.0.1:{free_port()}"
            self.address = f"tcp://{links['tcp']}?unit=17"
        else:
            line = PtyLine(folder / "line")
            stack.callback(line.close)
            links["serial"] = line.meter_path
            self.address = f"serial:{line.link}?unit=17"
            if kind == "socket":
                self.address = f"socket://127.0.0.1:{stack.enter_context(bridge(str(line.link)))}?unit=17"
        self.record = MeterRecord(
            NUMBER,
            self.carrier,
            self.address,
            Tariff((580_000,)).encode(),
            LIMITS.encode(),
            tag_key_version=self.keys.tag_key_version,
            interval_minutes=1,
        )
        self.board = VirtualBoard(Constant(1200), start_s=int(time.time()) - HISTORY_S, seed=1)
        self._live_an_hour(folder / "meter")
        self.meter = ChildMeter(self.board, folder=folder / "meter", unit=17, **links)  # type: ignore[arg-type]
        stack.callback(self.meter.stop)
        self.meter.start()

    def _live_an_hour(self, folder: Path) -> None:
        """Up to now, in quick motion and without links."""
        with ChildMeter(self.board, folder=folder, record=self._provision(), speed=SPEED) as meter:
            until = time.monotonic() + LIMIT_S
            while self.board.true_s < time.time() - 10:
                meter.check()
                assert time.monotonic() < until
                time.sleep(0.05)
        self.board.lose_power()
        self.board.true_s = max(self.board.true_s, int(time.time()))
        self.board.restore_power()

    def _provision(self) -> bytes:
        return provision_record(
            self.keys,
            meter=NUMBER,
            account_epoch=1,
            tag_key_version=self.record.tag_key_version,
            interval_minutes=1,
            limits=self.record.limits,
            tariff=self.record.tariff,
            currency=156,
            imp_per_kwh=1600,
        )


def _order_and_payment(conn: Connection) -> tuple[Row[tuple[str, bytes]], Row[tuple[int]]]:
    stated = conn.execute(choose(order.c.state, order.c.evidence).where(order.c.meter == NUMBER)).one()
    return stated, conn.execute(choose(payment.c.on_meter_s).where(payment.c.meter == NUMBER)).one()


def _reads(conn: Connection) -> Completeness:
    return completeness(conn, NUMBER)


def _report(conn: Connection) -> bytes | None:
    return conn.execute(choose(meter_state.c.report).where(meter_state.c.meter == NUMBER)).scalar_one()


@pytest.mark.parametrize("kind", ["serial", "socket", "tcp", "mqtt"])
def test_a_payment_and_every_interval_over(kind: str, tmp_path: Path) -> None:
    async def scenario(place: Place) -> None:
        async with Service(place.settings, place.keys, policy=HASTY) as service:
            write, now_s = service.store.write, int(time.time())
            write(add_meter, now_s, place.record).result()
            write(channels.add_channel, now_s, "pos", channels.new_token(os.urandom), ("payments",), PAID_UC).result()
            write(payments.take, now_s, "pos", "receipt 1", NUMBER, PAID_UC, lane=MONEY).result()
            service.wake()
            until = time.monotonic() + LIMIT_S
            while True:
                place.meter.check()
                stated, paid = service.store.read(_order_and_payment)
                reads = service.store.read(_reads)
                if stated.state == "confirmed" and paid.on_meter_s and reads.expected >= INTERVALS and reads.whole:
                    break
                assert time.monotonic() < until, (stated, paid, reads, service.troubles())
                await asyncio.sleep(0.1)
            key = place.keys.mac_key(NUMBER, place.record.tag_key_version)
            evidence = Report(stated.evidence, key)  # the very bytes that prove it
            assert (evidence.meter, evidence.source_credited_uc) == (NUMBER, PAID_UC)
            raw = service.store.read(_report)
            assert raw is not None
            report = Report(raw, key)
            assert report.balances()
            assert reads.expected >= INTERVALS

    with contextlib.ExitStack() as stack:
        asyncio.run(asyncio.wait_for(scenario(Place(tmp_path, kind, stack)), 2 * LIMIT_S))
