"""One connection to a broker: a socket, under TLS where that is wanted, with packets on it. Of one thread.

What is said is collected, and goes out together with `flush`; what has come is read together.
"""

import contextlib
import socket
import ssl
import time

from headend.links import mqtt_packets as packets
from headend.links.mqtt_options import V5, MqttOptions

_AT_ONCE = 65_536  # bytes that are read before anything else is done
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wire:
    """Raises OSError (also ssl.SSLError) where the connection does not come about, or ends."""

    def __init__(self, options: MqttOptions) -> None:
        self.five = options.version == V5
        self._keepalive_s = options.keepalive_s
        self._came = b""
        self._waiting = bytearray()
        self._pinged_at: float | None = None
        self.socket = _opened(options)
        self._heard_at = self._said_at = time.monotonic()
        self.say(
            packets.connect(
                options.client_id,
                options.keepalive_s,
                five=self.five,
                session_expiry_s=options.session_expiry_s,
                receive_maximum=options.window,
                max_packet=options.max_packet,
            )
        )

    @property
    def wants_write(self) -> bool:
        return bool(self._waiting)

    @property
    def holds(self) -> bool:
        """Whether something has come that the socket does not show."""
        return isinstance(self.socket, ssl.SSLSocket) and bool(self.socket.pending())

    def keep(self, keepalive_s: int) -> None:
        """The broker wants a word at least so often (3.2.2.3.14)."""
        self._keepalive_s = keepalive_s

    def say(self, packet: bytes) -> None:
        self._waiting += packet

    def flush(self) -> None:
        """Send what the socket takes."""
        if not self._waiting:
            return
        try:
            sent = self.socket.send(self._waiting)
        except _LATER:
            return
        del self._waiting[:sent]
        self._said_at = time.monotonic()

    def read(self) -> list[packets.Publish | packets.Other]:
        """The packets that have come; also raises packets.Malformed."""
        try:
            data = self.socket.recv(_AT_ONCE)
        except _LATER:
            return []
        if not data:
            raise ConnectionError("the broker has closed it")
        self._heard_at = time.monotonic()
        data = self._came + data
        found, end = packets.split(data, five=self.five)
        self._came = data[end:]
        return found

    def tend(self) -> None:
        """Ping where nothing was said for long; raises TimeoutError where no answer comes. `read` hears pongs too."""
        now = time.monotonic()
        if self._pinged_at is not None and self._heard_at >= self._pinged_at:
            self._pinged_at = None
        if not self._keepalive_s:
            return
        if self._pinged_at is not None:
            if now - self._pinged_at >= self._keepalive_s:
                raise TimeoutError("the broker does not answer")
        elif now - min(self._said_at, self._heard_at) >= self._keepalive_s:
            self._pinged_at = now
            self.say(packets.PING)

    def close(self) -> None:
        """Take leave as far as that goes."""
        with contextlib.suppress(OSError):
            self.say(packets.FAREWELL)
            self.flush()
        self.socket.close()


def _opened(options: MqttOptions) -> socket.socket:
    """A connected socket that does not block."""
    context = options.tls_context()
    plain = socket.create_connection((options.host, options.port), options.answer_s)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found = plain if context is None else context.wrap_socket(plain, server_hostname=options.host)
    except BaseException:
        plain.close()
        raise
    found.setblocking(False)
    return found
