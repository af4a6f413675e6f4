"""Overhears the meters' receipts at the broker, so that the demo checks their MACs itself."""

import threading
from collections import defaultdict

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from meterlink import topics
from openprepay.demo.broker import HOST


class Listener:
    """One more subscriber, beside the head end."""

    def __init__(self, port: int) -> None:
        self._heard: dict[int, list[bytes]] = defaultdict(list)
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="openprepay-demo-listener")
        self._client.on_message = lambda client, data, message: self._take(message)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect(HOST, port)
        self._client.subscribe(f"op/1/+/+/up/{topics.UP_RECEIPT}", qos=1)
        self._client.loop_start()
        if not self._subscribed.wait(10):
            raise OSError(f"The broker at port {port} did not take a subscription within 10 s.")

    def receipts(self, number: int) -> list[bytes]:
        """What a meter sent so far, as it came."""
        return list(self._heard[number])

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, message: MQTTMessage) -> None:
        place = topics.parse(message.topic)
        if place is not None:
            self._heard[place[0]].append(bytes(message.payload))
