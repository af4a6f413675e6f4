"""The meter on a broker: connects, keeps the session, carries what `meter.exchange` says and hears."""

import asyncio

from meter.exchange import Exchange
from meter.line import MQTT_DOWN, MQTT_UP
from meter.shell.backoff import Backoff
from meter.shell.mqtt import MqttClient
from meter.shell.mqtt_codec import MqttError
from meter.shell.pause import now_ms, sleep_ms
from meterlink import topics

POLL_MS = 20
FIRST_WAIT_MS = 500
LONGEST_WAIT_MS = 60_000


class Uplink:
    """One broker. `random(n)`: integer 0..n-1 for the back-off · `tls`: None or (context, server name).

    Counters: `connects`; `retained` (retained messages on a down topic, never taken: an order is a live message).
    """

    def __init__(self, meter, host, port, random, tls=None, keepalive_s=60, replay_ms=5000) -> None:
        self._exchange = Exchange(meter, replay_ms)
        self._number = meter.number
        self._line = meter.line
        self._random = random
        unpublished: "tuple[str, bytes] | None" = None
        self._unpublished = unpublished  # said, and not known to have reached the broker: a receipt is said only once
        self.connects = 0
        self.retained = 0
        self._client = MqttClient(
            host,
            port,
            topics.meter_name(meter.number),
            keepalive_s=keepalive_s,
            tls=tls,
            will=(topics.up(meter.number, topics.UP_STATE), meter.will(), True, 1),
            on_message=self._hear,
        )

    def _hear(self, topic, payload, retained):
        """A message from the broker, before it is acknowledged."""
        place = topics.parse(topic.decode())
        if retained:
            self.retained += 1
        elif place and place[0] == self._number:
            self._exchange.hear(place[2], payload)

    async def serve(self):
        """Connect, serve and connect again until cancelled."""
        line = self._line
        line.mqtt_state = MQTT_DOWN
        backoff = Backoff(FIRST_WAIT_MS, LONGEST_WAIT_MS, self._random)
        while True:
            try:
                await self._client.connect()
                self.connects += 1
                line.mqtt_state = MQTT_UP
                line.mqtt_connects = self.connects
                await self._session(backoff)
            except MqttError as error:
                print("mqtt: {}".format(error))
            line.mqtt_state = MQTT_DOWN
            await sleep_ms(backoff.next_ms())

    async def _session(self, backoff):
        link = asyncio.create_task(self._client.run())
        try:
            await self._client.subscribe(topics.down(self._number, "#"))
            state = topics.up(self._number, topics.UP_STATE)
            await self._client.publish(state, self._exchange.birth(), retain=True)
            backoff.reset()
            while not link.done():
                message = self._unpublished or self._exchange.say(now_ms())
                if message:
                    self._unpublished = message
                    await self._client.publish(topics.up(self._number, message[0]), message[1])
                    self._unpublished = None
                    self._exchange.acknowledged()
                else:
                    await sleep_ms(POLL_MS)
            end = await link
            if end is not None:
                raise end
        finally:
            link.cancel()
            await self._client.close()
