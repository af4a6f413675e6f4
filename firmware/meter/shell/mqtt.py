"""An MQTT 3.1.1 client for the meter: asyncio, one persistent session, QoS 0 and 1, bounded memory.

    client = MqttClient(host, port, client_id, on_message=store, tls=(tls_context(ca, cert, key), "broker.example"))
    resumed = await client.connect()
    link = asyncio.create_task(client.run())      # receives, pings; ends with the link, and returns why
    await client.subscribe("op/1/07/M42/dn/#")
    await client.publish("op/1/07/M42/up/iv", record)

One object serves any number of links, one after the other: when `run()` ends, wait (backoff.py) and connect again. The
client keeps no outbox: a publish that fails raises, and the caller sends it again when it has a link.

While `run()` runs every wait is bounded by `reply_s`, and every end has a name (the reasons of mqtt_codec.py). A broker
acknowledges on the same connection or not at all, so a missing acknowledgement ends the link [4.4].
"""

import asyncio

from meter.shell.mqtt_codec import (
    CONNACK_SIZE,
    DISCONNECT_PACKET,
    PINGREQ_PACKET,
    PUBACK,
    PUBLISH,
    SUBACK,
    Decoder,
    MqttError,
    encode_connect,
    encode_puback,
    encode_publish,
    encode_subscribe,
    parse_connack,
)
from meter.shell.pause import ticks_diff, ticks_ms
from meter.shell.tcp_stream import is_tls_error, open_stream

MIN_KEEPALIVE_S = 4  # the supervisor looks four times in a keep-alive, in whole seconds
_CHUNK = 128  # bytes read at a time
_CLOSED = MqttError("closed")
_NO_MEMORY = MqttError("no_memory")  # made in time: without memory there is none for an exception


def _named(error):
    """Any failure of a link as an MqttError."""
    if isinstance(error, MqttError):
        return error
    if isinstance(error, MemoryError):
        return _NO_MEMORY
    if is_tls_error(error):
        return MqttError("tls", getattr(error, "errno", 0) or 0)
    return MqttError("io", getattr(error, "errno", 0) or 0)


class _Request:
    """A packet that waits for its acknowledgement (`ack`: PUBACK or SUBACK), or, with ack 0, to be written."""

    def __init__(self, packet, ack, packet_id):
        self.packet = packet  # None once it is written
        self.ack = ack
        self.packet_id = packet_id
        self.since_ms = ticks_ms()
        self.done = asyncio.Event()
        self.error = None
        self.code = None  # of the SUBACK


class MqttClient:
    """`keepalive_s` 4 … 65535. `tls`: None or (context, server name). `will`: (topic, payload, retain, qos).

    `on_message(topic, payload, retained)`: called with bytes, in the order of arrival, before the message is
    acknowledged; synchronous and short. QoS 1 may deliver a message twice. What it raises is counted and kept; the
    message counts as delivered, as it would come back on every link otherwise.
    `max_packet`: bytes of one incoming packet body (topic, identifier, payload); a larger message is acknowledged and
    counted, never delivered. `window`: publishes and subscribes under way at once; a further one waits its turn.
    `reply_s`: limit for opening a link, and for each acknowledgement.

    Counters: `oversize`, `callback_errors` (the last one in `callback_error`), `stray_acks` (for no message under way).
    `session_present`: whether the broker resumed our session on the current link; if not, subscribe again.
    """

    def __init__(
        self,
        host,
        port,
        client_id,
        keepalive_s=60,
        user=None,
        password=None,
        tls=None,
        will=None,
        on_message=None,
        max_packet=1024,
        window=4,
        reply_s=20,
    ):
        if keepalive_s < MIN_KEEPALIVE_S:
            raise ValueError("keepalive_s of %d: at least %d" % (keepalive_s, MIN_KEEPALIVE_S))
        self._host = host
        self._port = port
        self._tls = tls
        self._connect_packet = encode_connect(client_id, keepalive_s, user, password, will)
        self._on_message = on_message
        self._decoder = Decoder(max_packet)
        self._chunk = bytearray(_CHUNK)
        self._quarter_s = keepalive_s // 4
        self._keepalive_ms = keepalive_s * 1000
        self._window = window
        self._reply_s = reply_s
        self._last_id = 0
        self._requests = []  # at most `window`
        self._lock = asyncio.Lock()  # one writer on the stream
        self._work = asyncio.Event()  # something for the transmitter
        self._room = asyncio.Event()  # something changed for who waits for the window
        self._ended = asyncio.Event()  # `_end` is set
        self._idle = asyncio.Event()  # no `run()` under way
        self._idle.set()
        self._stream = None
        self._end = None
        self._ping = self._stop = False
        self._heard_ms = self._sent_ms = ticks_ms()
        self.session_present = False
        self.oversize = self.callback_errors = self.stray_acks = 0
        self.callback_error = None

    # ---- the life of a link

    async def connect(self):
        """Open a link; returns session_present. Raises MqttError refused_…, timeout, tls, io, closed, malformed, …"""
        if self._end is not None:
            await self._idle.wait()  # the last link is being put away
        if self._stream is not None:
            raise MqttError("connected")
        try:
            return await asyncio.wait_for(self._open(), self._reply_s)
        except asyncio.TimeoutError:
            raise MqttError("timeout") from None
        except MemoryError:
            raise _NO_MEMORY from None

    async def _open(self):
        stream = None
        try:
            stream = await open_stream(self._host, self._port, self._tls)
            await stream.write(self._connect_packet)
            self.session_present = parse_connack(await self._read_exactly(stream, CONNACK_SIZE))
        except BaseException as error:
            if stream is not None:
                stream.drop()
            if isinstance(error, (OSError, MemoryError)):
                raise _named(error) from None
            raise
        self._decoder.reset()
        self._end = None
        self._ping = self._stop = False
        self._ended.clear()
        self._heard_ms = self._sent_ms = ticks_ms()
        self._stream = stream
        return self.session_present

    @staticmethod
    async def _read_exactly(stream, size):
        packet = bytearray(size)
        byte = bytearray(1)  # nothing that follows may be read too early
        for at in range(size):
            if await stream.read_into(byte) == 0:
                raise MqttError("closed")
            packet[at] = byte[0]
        return packet

    async def run(self):
        """Serve the link until it ends, as a task of its own. Returns None after `close()`, else the MqttError that
        ended the link: returned, for a task that nobody awaits must not die of it."""
        stream = self._stream
        if stream is None or not self._idle.is_set():
            raise MqttError("not_connected")
        self._idle.clear()
        tasks = []
        try:
            for work in (self._receive, self._transmit):
                tasks.append(asyncio.create_task(self._guard(work, stream)))
            while self._end is None:
                try:
                    await asyncio.wait_for(self._ended.wait(), self._quarter_s)
                except asyncio.TimeoutError:
                    self._supervise(ticks_ms())
        except MemoryError:
            self._finish(_NO_MEMORY)
        finally:
            self._finish(_CLOSED)  # when this task itself was cancelled
            for task in tasks:
                task.cancel()
            for task in tasks:
                try:
                    await task
                except asyncio.CancelledError:
                    pass
            stream.drop()
            self._stream = None
            self._idle.set()
        if not isinstance(self._end, MqttError):
            raise self._end  # a fault of this module
        return None if self._stop else self._end

    async def close(self):
        """End the link in order, so that the broker keeps the will to itself. Returns when the socket is closed."""
        stream = self._stream
        if stream is None:
            return
        self._stop = True
        self._work.set()
        if self._idle.is_set():  # connected, but never run
            try:
                await asyncio.wait_for(self._guard(self._transmit, stream), self._reply_s)
            except asyncio.TimeoutError:
                pass
            stream.drop()
            self._stream = None
            return
        try:
            await asyncio.wait_for(self._ended.wait(), self._reply_s)
        except asyncio.TimeoutError:
            self._finish(_CLOSED)
        await self._idle.wait()

    def _finish(self, error):
        """The link ends with `error`, unless it has ended: wake whoever waits."""
        if self._end is not None:
            return
        self._end = error
        self._ended.set()
        for request in self._requests:
            request.error = error
            request.done.set()
        self._requests.clear()
        self._room.set()

    async def _guard(self, work, stream):
        """Run one side of the link; whatever it raises is the end of the link."""
        try:
            await work(stream)
        except (OSError, MemoryError) as error:
            self._finish(_named(error))
        except Exception as error:  # noqa: BLE001 - `run()` raises it
            self._finish(error)

    def _supervise(self, now_ms):
        """Every quarter of a keep-alive: a ping after half of one in silence, an end after five quarters."""
        silent_ms = ticks_diff(now_ms, self._heard_ms)
        if silent_ms >= self._keepalive_ms + self._quarter_s * 1000:
            self._finish(MqttError("half_open"))
        elif max(silent_ms, ticks_diff(now_ms, self._sent_ms)) >= self._keepalive_ms >> 1:
            self._ping = True
            self._work.set()
        for request in self._requests:
            if ticks_diff(now_ms, request.since_ms) >= self._reply_s * 1000:
                self._finish(MqttError("no_reply"))
                return

    # ---- requests

    async def subscribe(self, topic, qos=1):
        """Returns the QoS that the broker granted. Raises MqttError refused_topic, or the end of the link."""
        await self._admit()
        packet_id = self._new_id()
        return await self._send(SUBACK, packet_id, encode_subscribe, packet_id, topic, qos)

    async def publish(self, topic, payload, qos=1, retain=False, resend_id=0):
        """QoS 1: returns when the broker has acknowledged. QoS 0: when the packet is written.

        Raises MqttError with the reason for which the link ended; the message may or may not have arrived then. Its
        `packet_id`, given as `resend_id` on a later link, sends the message as the same one, marked DUP, if the broker
        resumed the session, and as a new one if not [4.4].
        """
        await self._admit()
        again = bool(resend_id) and self.session_present and not self._under_way(resend_id)
        packet_id = 0
        if qos:
            packet_id = resend_id if again else self._new_id()
        ack = PUBACK if qos else 0
        await self._send(ack, packet_id, encode_publish, topic, payload, qos, retain, again, packet_id)

    async def _admit(self):
        """Wait for a place in the window."""
        while self._open_for_requests() and len(self._requests) >= self._window:
            self._room.clear()
            await self._room.wait()
        if not self._open_for_requests():
            raise MqttError("not_connected")

    async def _send(self, ack, packet_id, encode, *fields):
        """Hand a packet to the transmitter, await its acknowledgement: the code in a SUBACK, else None."""
        try:
            request = _Request(encode(*fields), ack, packet_id)
            self._requests.append(request)
        except MemoryError:
            raise _NO_MEMORY from None
        self._work.set()
        await request.done.wait()
        error = request.error
        if error is None:
            return request.code
        if not isinstance(error, MqttError):
            raise error
        raise MqttError(error.reason, error.detail, packet_id if ack == PUBACK else 0)

    def _open_for_requests(self):
        return self._stream is not None and self._end is None and not self._stop

    def _under_way(self, packet_id):
        return any(request.packet_id == packet_id for request in self._requests)

    def _new_id(self):
        while True:
            self._last_id = self._last_id % 65535 + 1
            if not self._under_way(self._last_id):
                return self._last_id

    def _settle(self, request, error=None):
        request.error = error
        request.done.set()
        self._requests.remove(request)
        self._room.set()

    # ---- the two sides of the link

    async def _write(self, stream, packet):
        async with self._lock:
            self._sent_ms = ticks_ms()
            await stream.write(packet)

    async def _transmit(self, stream):
        while True:
            await self._work.wait()
            self._work.clear()
            request = self._unwritten()
            while request is not None:
                packet = request.packet
                request.packet = None
                await self._write(stream, packet)
                if not request.ack:
                    self._settle(request)
                request = self._unwritten()
            if self._ping:
                self._ping = False
                await self._write(stream, PINGREQ_PACKET)
            if self._stop:
                await self._write(stream, DISCONNECT_PACKET)
                self._finish(_CLOSED)
                return

    def _unwritten(self):
        for request in self._requests:
            if request.packet is not None:
                return request
        return None

    async def _receive(self, stream):
        chunk = self._chunk
        decoder = self._decoder
        view = memoryview(chunk)
        while True:
            end = await stream.read_into(chunk)
            if end == 0:
                raise MqttError("closed")
            self._heard_ms = ticks_ms()
            at = 0
            while at < end:
                at = decoder.push(view, at, end)
                if not decoder.ready:
                    break
                if decoder.kind == PUBLISH:
                    self._deliver(decoder)
                    if decoder.qos:
                        await self._write(stream, encode_puback(decoder.packet_id))
                elif decoder.packet_id:  # PUBACK, SUBACK
                    self._acknowledged(decoder)

    def _deliver(self, decoder):
        if decoder.oversize:
            self.oversize += 1
            return
        topic, payload = decoder.message()
        if self._on_message is None:
            return
        try:
            self._on_message(topic, payload, decoder.retained)
        except Exception as error:  # noqa: BLE001 - the application's fault must not cost the link
            self.callback_errors += 1
            self.callback_error = error

    def _acknowledged(self, decoder):
        for request in self._requests:
            if request.packet is None and request.packet_id == decoder.packet_id and request.ack == decoder.kind:
                if decoder.kind == SUBACK:
                    request.code = decoder.code
                self._settle(request, MqttError("refused_topic") if decoder.code & 0x80 else None)
                return
        self.stray_acks += 1
