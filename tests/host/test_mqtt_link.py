"""The MQTT link under TLS with client certificates, on an embedded broker, and with wrong settings."""

import asyncio
from pathlib import Path

import pytest

from headend.links.mqtt import MqttCarrier
from headend.links.mqtt_options import V5, V311, MqttOptions
from headend.orders.actions import Ask
from headend.refusals import Refused
from meterlink import topics
from tests import needs
from tests.brokers import METER_ACL, Broker, free_port
from tests.host.mqtt_rig import HEAD_END, Peer, Store, carrier, options, peer, run, until
from tests.host.upward import singly
from tests.pki import Authority

METER = 7
NAME = topics.meter_name(METER)


def secured(broker: Broker, files: tuple[Path, Path, Path], **others: object) -> MqttOptions:
    ca, certificate, key = map(str, files)
    return options(broker, tls=True, ca=ca, certificate=certificate, key=key, **others)


@pytest.mark.parametrize("version", [V5, V311])
def test_under_tls_each_is_known_by_its_certificate(tmp_path: Path, version: str) -> None:
    async def scenario() -> None:
        store = Store()
        with Broker(tmp_path, tls=True, acl=METER_ACL) as broker:
            with peer(broker, NAME, tls=broker.client_files(NAME)) as meter:
                meter.listen(topics.down(METER, "#"))
                how = secured(broker, broker.client_files(HEAD_END), version=version)
                async with carrier(store, how) as link:
                    meter.say(8, topics.UP_REPORT, b"in another meter's name")  # the broker drops it
                    batches = [bytes([number]) * 1016 for number in range(50)]
                    for batch in batches:  # longer than one TLS record's worth when they come together
                        meter.say(METER, topics.UP_INTERVALS, batch)
                    await until(lambda: store.has(*batches), "all came")
                    assert {number for number, _, _ in store.committed} == {METER}
                    assert await link.send(Ask(METER, b"question"))
                    await until(lambda: len(meter.heard) == 1, "it came")

    run(scenario())


@pytest.mark.parametrize("case", ["stranger to us", "strangers to it", "no certificate", "no such file", "no tls"])
def test_a_connection_that_cannot_be_trusted_is_refused_by_name(tmp_path: Path, case: str) -> None:
    async def scenario() -> None:
        other = Authority(tmp_path / "other", "another authority")
        with Broker(tmp_path / "broker", tls=True) as broker:
            ca, certificate, key = broker.client_files(HEAD_END)
            theirs = other.client(HEAD_END)
            how = {
                "stranger to us": secured(broker, (other.ca, certificate, key)),
                "strangers to it": secured(broker, (ca, *theirs)),
                "no certificate": options(broker, tls=True, ca=str(ca)),
                "no such file": secured(broker, (tmp_path / "nowhere.pem", certificate, key)),
                "no tls": options(broker),
            }[case]
            link = MqttCarrier(how)
            await link.start(singly(Store().up))
            try:
                await until(lambda: link.session.counts["connections"] >= 2, "it tried twice")
                await until(lambda: link.session.trouble not in ("", "not started"), "it says why")
                assert not link.session.connected
                refused = await link.send(Ask(METER, b"question"))
                assert not refused.ok
                assert link.session.trouble in refused.note
                if case == "stranger to us":
                    assert "CERTIFICATE_VERIFY_FAILED" in link.session.trouble
                if case == "no such file":
                    assert "No such file" in link.session.trouble
            finally:
                await link.stop()

    run(scenario())


def test_the_embedded_broker_serves_a_demonstration(tmp_path: Path) -> None:
    """amqtt speaks 3.1.1 and forgets what was not acknowledged; the link goes on, and meters say things again."""
    amqtt = needs.module("amqtt.broker", "simulator")

    async def scenario() -> None:
        store = Store()
        port = free_port()
        settings = {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}", "max_connections": 100}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
        embedded = amqtt.Broker(settings)
        await embedded.start()
        how = MqttOptions("127.0.0.1", port, HEAD_END, version=V311, first_wait_s=0.05, longest_wait_s=0.5)
        try:
            async with carrier(store, how) as link:
                where = Broker(tmp_path)
                where.port = port
                meter = await asyncio.to_thread(Peer, where, NAME)
                await asyncio.to_thread(meter.listen, topics.down(METER, "#"))
                payloads = [b"message %d" % number for number in range(50)]
                for payload in payloads:
                    await asyncio.to_thread(meter.say, METER, topics.UP_REPORT, payload)
                await until(lambda: store.has(*payloads), "all came")
                assert await link.send(Ask(METER, b"question"))
                await until(lambda: len(meter.heard) == 1, "it came")
                store.fail(b"lost", 1)
                await asyncio.to_thread(meter.say, METER, topics.UP_REPORT, b"lost")
                await until(lambda: link.session.counts["failed"] == 1, "it could not be stored")
                number = 0
                while not store.has(b"again %d" % number):
                    number += 1
                    await until(lambda: link.session.connected, "it is connected again")
                    await asyncio.to_thread(meter.say, METER, topics.UP_REPORT, b"again %d" % number)
                    await asyncio.sleep(0.2)
                    assert number < 100
                await asyncio.to_thread(meter.close)
        finally:
            await embedded.shutdown()

    run(scenario())


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"version": "4"}, "mqtt_version"),
        ({"shards": frozenset()}, "mqtt_shards"),
        ({"shards": frozenset({64})}, "mqtt_shards"),
        ({"certificate": "a.pem"}, "mqtt_key"),
    ],
)
def test_settings_that_make_no_session_are_refused(given: dict[str, object], field: str) -> None:
    with pytest.raises(Refused) as refused:
        MqttOptions("127.0.0.1", 1883, HEAD_END, **given)  # type: ignore[arg-type]
    assert refused.value.field == field


def test_a_url_names_host_port_and_tls() -> None:
    plain = MqttOptions.of_url("mqtt://broker.example", HEAD_END)
    assert (plain.host, plain.port, plain.tls) == ("broker.example", 1883, False)
    secure = MqttOptions.of_url("mqtts://[::1]:9999", HEAD_END, version=V311)
    assert (secure.host, secure.port, secure.tls, secure.version) == ("::1", 9999, True, V311)
    assert MqttOptions.of_url("mqtts://broker.example", HEAD_END).port == 8883
    for wrong in ("http://broker", "mqtt://", "mqtt://broker:0", "mqtt://broker:99999", "broker"):
        with pytest.raises(Refused):
            MqttOptions.of_url(wrong, HEAD_END)
