"""A meter's connection to a broker for simulations of thousands: as `meter.shell.mqtt`, without a task of its own.

The packets are made and read by the firmware's own codec (`meter.shell.mqtt_codec`). A connection is one object that
the event loop calls; what was said and not acknowledged is kept by the meter's owner, as in the firmware's uplink.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from meter.shell import mqtt_codec as codec
from meterlink import topics

KEEPALIVE_S = 60
_MAX_PACKET = 2600  # an order with a body apart, and its topic
_SUBSCRIBED = 1  # identifier of the one subscription


class Owner(Protocol):
    """Who owns the meter. All calls come from the event loop."""

    def linked(self, link: "LightLink") -> None:
        """The broker takes messages now."""

    def heard(self, what: str, raw: bytes) -> None:
        """A message on topic dn/`what`."""

    def acknowledged(self, packet_id: int) -> None:
        """The broker has what was published under this number."""

    def lost(self, link: "LightLink", why: str) -> None:
        """The connection has ended."""


class LightLink(asyncio.Protocol):
    """One connection of one meter; it connects at once when TCP stands. will: for topic up/state, retained."""

    def __init__(self, number: int, will: bytes, owner: Owner) -> None:
        self._number = number
        self._will = will
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._decoder = codec.Decoder(_MAX_PACKET)
        self._head = b""  # of CONNACK
        self._is_open = False
        self._why = "closed"
        self.sent_s = time.monotonic()

    # -- for the owner -------------------------------------------------------------------------------------------------

    def publish(self, what: str, raw: bytes, packet_id: int, *, retain: bool = False, again: bool = False) -> None:
        """Say something on topic up/`what`, to be acknowledged."""
        topic = topics.up(self._number, what)
        self._write(codec.encode_publish(topic, raw, qos=1, retain=retain, dup=again, packet_id=packet_id))

    def ping(self) -> None:
        """Say that the meter is there, where nothing else did lately."""
        if self._is_open and time.monotonic() - self.sent_s > KEEPALIVE_S / 2:
            self._write(codec.PINGREQ_PACKET)

    def drop(self) -> None:
        """The connection is gone without a word, as when power or the network fails."""
        if self._transport is not None:
            self._transport.abort()

    # -- for the event loop --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        will = topics.up(self._number, topics.UP_STATE), self._will, True, 1
        self._write(codec.encode_connect(topics.meter_name(self._number), KEEPALIVE_S, will=will))
        self._will = b""

    def data_received(self, data: bytes) -> None:
        try:
            self._take(data)
        except codec.MqttError as error:
            self._why = error.reason
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._is_open = False
        self._owner.lost(self, self._why)

    def _take(self, data: bytes) -> None:
        if len(self._head) < codec.CONNACK_SIZE:
            missing = codec.CONNACK_SIZE - len(self._head)
            self._head += data[:missing]
            data = data[missing:]
            if len(self._head) < codec.CONNACK_SIZE:
                return
            codec.parse_connack(self._head)
            self._write(codec.encode_subscribe(_SUBSCRIBED, topics.down(self._number, "#"), 1))
        decoder, at = self._decoder, 0
        while at < len(data):
            at = decoder.push(data, at, len(data))
            if decoder.ready:
                self._packet(decoder)

    def _packet(self, decoder: codec.Decoder) -> None:
        if decoder.kind == codec.PUBLISH:
            if not decoder.oversize:
                topic, raw = decoder.message()
                place = topics.parse(topic.decode())
                if place and place[0] == self._number and not decoder.retained:
                    self._owner.heard(place[2], raw)
            if decoder.qos:
                self._write(codec.encode_puback(decoder.packet_id))
        elif decoder.kind == codec.SUBACK:
            if decoder.code & 0x80:
                raise codec.MqttError("refused_topic")
            self._is_open = True
            self._owner.linked(self)
        elif decoder.kind == codec.PUBACK:
            self._owner.acknowledged(decoder.packet_id)

    def _write(self, packet: bytes | bytearray) -> None:
        if self._transport is not None:
            self.sent_s = time.monotonic()
            self._transport.write(packet)


async def connect(host: str, port: int, make: Callable[[], LightLink]) -> None:
    """Open one; OSError where the broker does not take it."""
    await asyncio.get_running_loop().create_connection(make, host, port)


__all__ = ["KEEPALIVE_S", "LightLink", "Owner", "connect"]
