"""One connection to a broker, through paho, and what is under way on it. Of one thread.

paho's callbacks only note what happened; who owns the connection reads, decides and acknowledges.
"""

import contextlib
from collections import deque
from concurrent.futures import Future
from functools import lru_cache
from typing import Any, NamedTuple, cast

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from headend.links.mqtt_options import V5, MqttOptions
from headend.links.port import Sent
from headend.links.stream import Stream
from headend.links.upward import Handed

NO_SUBSCRIBER = 0x10  # reasons of MQTT 5: 3.4.2.1, 3.14.2.1
TAKEN_OVER = 0x8E
_AT_ONCE = 1_000  # messages that are read before anything else is done: a list for `upward`
_TAKEN = Sent(True, "The broker has it.")


class Broken(Exception):
    """The connection has to end; the text says why."""


class _Buffered(Client):
    """Calls the system once for many packets; see `Stream`."""

    def _create_socket(self) -> Any:
        return Stream(super()._create_socket())  # type: ignore[arg-type]


class Publish(NamedTuple):
    """A message. `mid`: its packet identifier, 0 at QoS 0, which nobody acknowledges."""

    topic: str  # what is no UTF-8 in it is replaced
    payload: bytes
    mid: int


class Command:
    """A publication that waits; `until`: monotonic time at which it has expired; `future`: where its sender waits."""

    __slots__ = ("future", "payload", "topic", "until")

    def __init__(self, topic: str, payload: bytes, until: float, future: "Future[Sent]") -> None:
        self.topic = topic
        self.payload = payload
        self.until = until
        self.future = future

    def begin(self) -> bool:
        """Whether it is still wanted."""
        return self.future.set_running_or_notify_cancel()

    def end(self, sent: Sent) -> None:
        """Of one that has begun."""
        self.future.set_result(sent)

    def refuse(self, sentence: str) -> None:
        if self.begin():
            self.end(Sent(False, sentence))


class Connection:
    """Connects; raises OSError (also ssl.SSLError). All methods raise Broken once the connection has ended."""

    def __init__(self, options: MqttOptions) -> None:
        self._options = options
        self._inbox: deque[Publish] = deque()
        self.arrivals: deque[tuple[Publish, Handed | None]] = deque()  # not acknowledged, in order
        self.outgoing: dict[int, Command] = {}
        self.in_flight = 0  # how many publications the broker allows
        self.begun = False  # the broker had no session of ours
        self.ready = False
        self.taken_over = False
        self._trouble = ""
        self._came = 0  # packets, as far as paho tells of them
        self._client = client = options.client(kind=_Buffered)
        client.on_connect = self._let_in
        client.on_subscribe = self._subscribed
        client.on_message = self._heard
        client.on_disconnect = self._ended
        options.connect(client)
        self.socket = cast(Stream, client.socket())
        self.socket.flush()

    @property
    def wants_write(self) -> bool:
        """Whether something waits for the socket."""
        return bool(self.socket.unsent) or bool(self._client.want_write())

    @property
    def full(self) -> bool:
        """Whether so much waits for the socket that nothing is to be added."""
        return self.socket.full or bool(self._client.want_write())

    @property
    def holds(self) -> bool:
        """Whether something has come that the socket does not show."""
        return bool(self.socket.pending())

    def read(self) -> list[Publish]:
        """The messages that have come."""
        came = -1
        # Only here: paho also tells of what it has written at QoS 0, by an identifier that may be another's at QoS 1.
        self._client.on_publish = self._published
        while self._came > came and len(self._inbox) < _AT_ONCE:  # the last reading has brought something
            came = self._came
            self._check(self._client.loop_read())
        self._client.on_publish = None
        found = list(self._inbox)
        self._inbox.clear()
        return found

    def tend(self) -> None:
        """Send what waits, and a ping where nothing was said for long."""
        if self._client.want_write():
            self._check(self._client.loop_write())
        self._check(self._client.loop_misc())
        self.socket.flush()

    def acknowledge(self, message: Publish) -> None:
        if message.mid:
            self._client.ack(message.mid, 1)

    def publish(self, command: Command, expiry_s: int) -> None:
        """With QoS 1, never retained; the broker drops it after `expiry_s` where it can (MQTT 5)."""
        properties = _expiring(expiry_s) if self._options.version == V5 else None
        info = self._client.publish(command.topic, command.payload, qos=1, retain=False, properties=properties)
        if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.outgoing[info.mid] = command
        else:
            command.end(Sent(False, f"It could not be published: {info.rc.name}."))

    def say(self, topic: str, payload: bytes) -> None:
        """With QoS 0, never retained: nobody tells whether it arrived."""
        self._check(self._client.publish(topic, payload).rc)

    def abandon(self) -> None:
        """Take leave as far as that goes, and give up what is under way: it comes again, or is sent again by others."""
        with contextlib.suppress(OSError):
            self._client.disconnect()
        self.socket.close()
        for _, handed in self.arrivals:
            if handed is not None:
                handed.give_up()  # only what has not begun
        for command in self.outgoing.values():
            command.end(Sent(False, "The connection broke before the broker had acknowledged it."))

    # --- what paho tells ----------------------------------------------------------------------------------------------

    def _let_in(
        self, client: Client, _: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self.begun = not flags.session_present
        if reason.is_failure:
            self._trouble = f"the broker refuses the connection: {reason}"
            return
        self.in_flight = min(self._options.in_flight, getattr(properties, "ReceiveMaximum", self._options.in_flight))
        self._options.subscribe(client)

    def _subscribed(self, _c: Client, _u: Any, _mid: int, reasons: list[ReasonCode], _p: Properties | None) -> None:
        refused = [reason for reason in reasons if reason.is_failure]
        if refused:
            self._trouble = f"the broker refuses {len(refused)} of {len(reasons)} subscriptions: {refused[0]}"
        self.ready = not refused

    def _heard(self, _c: Client, _u: Any, message: MQTTMessage) -> None:
        self._came += 1
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "\N{REPLACEMENT CHARACTER}"
        self._inbox.append(Publish(topic, bytes(message.payload), message.mid if message.qos else 0))

    def _published(self, _c: Client, _u: Any, mid: int, reason: ReasonCode, _p: Properties | None) -> None:
        self._came += 1
        command = self.outgoing.pop(mid, None)
        if command is not None:
            command.end(_what_the_broker_said(reason))

    def _ended(self, _c: Client, _u: Any, _f: DisconnectFlags, reason: ReasonCode, _p: Properties | None) -> None:
        self._trouble = self._trouble or f"the connection broke: {reason}"
        self.taken_over = reason.value == TAKEN_OVER

    def _check(self, result: MQTTErrorCode) -> None:
        if self._trouble:
            raise Broken(self._trouble)
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise Broken(f"the connection broke: {result.name}")


def _what_the_broker_said(reason: ReasonCode) -> Sent:
    if reason.is_failure:
        return Sent(False, f"The broker refuses it: {reason}.")
    return Sent(False, "The meter has no session at the broker.") if reason.value == NO_SUBSCRIBER else _TAKEN


@lru_cache(256)
def _expiring(expiry_s: int) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.MessageExpiryInterval = expiry_s
    return properties
