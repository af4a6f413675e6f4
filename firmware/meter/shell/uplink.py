"""The meter's side of MQTT: who it is, what it answers, and the replay of what the head end has not acknowledged.

The record rings are the outbox: a batch is published, and published again after `replay_ms`, until the head end's own
acknowledgement has moved the cursor; a PUBACK means only that the broker has it. Everything that comes down is
bounded: one order under verification, at most four questions waiting (a further one is dropped: the head end asks
again).
"""

import asyncio

from meter.shell.backoff import Backoff
from meter.shell.mqtt import MqttClient
from meter.shell.mqtt_codec import MqttError
from meter.shell.pause import sleep_ms, ticks_diff, ticks_ms
from meterlink import batches, reports, topics
from meterlink.batches import BatchError

MAX_ASKS = 4
POLL_MS = 20
_ANSWER_TOPIC = {
    batches.KIND_INTERVALS: topics.UP_INTERVALS,
    batches.KIND_EVENTS: topics.UP_EVENTS,
    batches.KIND_REPORT: topics.UP_REPORT,
    batches.KIND_ORDER: topics.UP_ORDER,
}


class Uplink:
    """One broker. `random(n)`: integer 0..n-1 for the back-off. `tls`: None or (context, server name).

    Counters: `connects`, `bad_asks` (questions and acknowledgements that were not taken), `retained` (retained
    messages on a down topic: never taken, an order is a live message).
    """

    def __init__(self, meter, host, port, random, tls=None, keepalive_s=60, replay_ms=5000):
        self._meter = meter
        self._random = random
        self._replay_ms = replay_ms
        self._asks = []
        self._published = {}  # record kind -> ticks of the last publication
        self.connects = 0
        self.bad_asks = 0
        self.retained = 0
        number = meter.number
        self._client = MqttClient(
            host,
            port,
            topics.meter_name(number),
            keepalive_s=keepalive_s,
            tls=tls,
            will=(topics.up(number, topics.UP_STATE), meter.will(), True, 1),
            on_message=self._take,
        )

    def _topic(self, what):
        return topics.up(self._meter.number, what)

    def _take(self, topic, payload, retained):
        """A message from the broker, before it is acknowledged; cheap checks only."""
        if retained:
            self.retained += 1
            return
        place = topics.parse(topic.decode())
        if place is None or place[0] != self._meter.number:
            self.bad_asks += 1
        elif place[2] == topics.DN_ORDER:
            self._meter.submit(self._meter.CARRIER_MQTT, payload)
        elif place[2] == topics.DN_ASK:
            if len(self._asks) < MAX_ASKS:
                self._asks.append(payload)
        else:
            self._acknowledged(payload)

    def _acknowledged(self, payload):
        try:
            self._meter.ack(payload)
            self._published.clear()
        except BatchError:
            self.bad_asks += 1

    async def serve(self):
        """Connect, serve and connect again until cancelled."""
        backoff = Backoff(500, 60_000, self._random)
        while True:
            try:
                await self._client.connect()
                self.connects += 1
                await self._session(backoff)
            except MqttError as error:
                print("mqtt: {}".format(error))
            await sleep_ms(backoff.next_ms())

    async def _session(self, backoff):
        link = asyncio.create_task(self._client.run())
        try:
            await self._client.subscribe(topics.down(self._meter.number, "#"))
            birth = self._meter.report(reports.KIND_BIRTH, reports.NO_NONCE, 0, 0)
            await self._client.publish(self._topic(topics.UP_STATE), birth, retain=True)
            backoff.reset()
            self._published.clear()
            while not link.done():
                if not await self._speak():
                    await sleep_ms(POLL_MS)
            await link
        finally:
            link.cancel()
            await self._client.close()

    async def _speak(self):
        """Publish one message if one is due: receipts before answers before replay. Whether something was said."""
        receipt = self._meter.take_receipt()
        if receipt:
            await self._client.publish(self._topic(topics.UP_RECEIPT), receipt)
            return True
        if self._asks:
            await self._answer(self._asks.pop(0))
            return True
        for kind in (batches.KIND_INTERVALS, batches.KIND_EVENTS):
            last_ms = self._published.get(kind)
            if last_ms is not None and ticks_diff(ticks_ms(), last_ms) < self._replay_ms:
                continue
            batch = self._meter.replay(kind)
            if batch:
                self._published[kind] = ticks_ms()
                await self._client.publish(self._topic(_ANSWER_TOPIC[kind]), batch)
                return True
        return False

    async def _answer(self, ask):
        try:
            kind, reply = self._meter.ask(ask)
        except BatchError:
            self.bad_asks += 1
            return
        await self._client.publish(self._topic(_ANSWER_TOPIC[kind]), reply)
