"""The meter's uplink on a broker, over a link that fails at the worst moment."""

import asyncio
from pathlib import Path

from meter.core import Meter
from meter.shell.uplink import Uplink
from meterlink import reasons, results, topics
from meterlink.reports import Report
from tests.brokers import Broker
from tests.firmware.mqtt_peers import HeadEnd
from tests.firmware.ramboard import METER, Rig
from tests.proxies import Proxy


def test_a_receipt_under_way_when_the_link_breaks_is_sent_on_the_next(tmp_path: Path) -> None:
    rig = Rig(credit_uc=1_000_000)
    while rig.meter.take_receipt():
        pass
    state, receipt = topics.up(METER, topics.UP_STATE), topics.up(METER, topics.UP_RECEIPT)

    async def scene(proxy: Proxy, office: HeadEnd) -> bytes:
        uplink = asyncio.create_task(Uplink(rig.meter, "127.0.0.1", proxy.port, lambda n: 0).serve())
        assert (await asyncio.to_thread(office.wait)).topic == state  # the birth
        proxy.freeze()
        assert rig.give(rig.hold(reasons.HOLD_LEGAL), Meter.CARRIER_MQTT) == results.APPLIED
        while rig.meter.inbox._unsent:  # noqa: ASYNC110 - the core knows no events
            await asyncio.sleep(0.01)
        proxy.cut()
        while True:
            message = await asyncio.to_thread(office.wait)
            if message.topic == receipt:
                uplink.cancel()
                return bytes(message.payload)

    with Broker(tmp_path) as broker, Proxy(broker.host, broker.port) as proxy:
        with HeadEnd(broker, state, receipt) as office:
            raw = asyncio.run(scene(proxy, office))
    report = Report(raw, rig.mac_key)
    assert (report.result, report.selector) == (results.APPLIED, reasons.HOLD_LEGAL)
