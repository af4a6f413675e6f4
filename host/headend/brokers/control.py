"""Carries commands of dynamic security to a broker, and its answers back."""

import queue
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage

from headend.brokers import dynsec
from headend.links.mqtt_options import MqttOptions

ANSWER_S = 20.0


class BrokerControl:
    """`with BrokerControl(options, user, password) as control: …`: a client that may administer the plugin.

    One message at a time, so that answers belong to what was asked. Raises OSError where the broker is not reached or
    refuses, TimeoutError where it does not answer.
    """

    def __init__(self, options: MqttOptions, user: str = "", password: str = "") -> None:
        self._options = options
        self._answers: queue.Queue[bytes] = queue.Queue()
        self._said: queue.Queue[str] = queue.Queue()
        self._client: Client = options.client()
        if user:
            self._client.username_pw_set(user, password)
        self._client.on_connect = self._connected
        self._client.on_subscribe = lambda *_: self._said.put("")
        self._client.on_message = self._heard

    def __enter__(self) -> Self:
        self._options.connect(self._client)
        self._client.loop_start()
        try:
            self._expect("connection")
            self._client.subscribe(dynsec.ANSWERS_TOPIC, 1)
            self._expect("subscription")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def ask(self, commands: Sequence[dynsec.Command]) -> list[dict[str, Any]]:
        """See `dynsec.Control`."""
        self._client.publish(dynsec.COMMANDS_TOPIC, dynsec.encode(commands), 1)
        try:
            answers = dynsec.decode(self._answers.get(timeout=ANSWER_S))
        except queue.Empty:
            raise TimeoutError(
                f"The broker has not answered within {ANSWER_S:g} s: does it run the plugin, and may we use it?"
            ) from None
        if [one["command"] for one in answers] != [one["command"] for one in commands]:
            raise dynsec.Refusals("The plugin answered other commands than were asked: somebody else uses it as well.")
        return answers

    def _connected(self, _client: Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        self._said.put(f"The broker refused the connection: {reason}." if reason.is_failure else "")

    def _heard(self, client: Client, _data: object, message: MQTTMessage) -> None:
        self._answers.put(bytes(message.payload))
        client.ack(message.mid, message.qos)

    def _expect(self, what: str) -> None:
        try:
            trouble = self._said.get(timeout=ANSWER_S)
        except queue.Empty:
            raise TimeoutError(f"There is no {what} to {self._options.host}:{self._options.port}.") from None
        if trouble:
            raise ConnectionRefusedError(trouble)

    def _close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
