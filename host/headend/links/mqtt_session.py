"""One persistent session on a broker, in a thread of its own that alone touches paho.

Each connection has a paho client of its own, and its own lists of what came on it and what was sent on it. So an
acknowledgement can only go out on the connection on which its message came, and a publication that was not
acknowledged is sent again by nobody but the dispatcher.

A message is acknowledged once it is committed, in the order of arrival. One that cannot be committed ends the
connection: the broker gives all that was not acknowledged to the next one, and only to that. paho's callbacks only
note what came, and cannot fail; what fails in the thread ends a connection, never the thread.
"""

import contextlib
import hashlib
import logging
import math
import selectors
import socket
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from headend.links.mqtt_options import MqttOptions
from headend.links.port import Sent
from headend.refusals import Refused

log = logging.getLogger(__name__)

Taken = Callable[[MQTTMessage], "Future[None] | None"]
"""taken(message): the future of its commit, or None where there is nothing to commit. Runs in the session's thread."""

NO_SUBSCRIBER = 0x10  # reasons of MQTT 5: 3.4.2.1, 3.14.2.1
TAKEN_OVER = 0x8E

TRIES = 5  # of a message that fails while others are committed; then it is set aside
_REMEMBERED = 1000  # messages that failed
_NOT_OURS = "its lease has run out, or is another worker's"
_TICK_S = 0.5
_AT_ONCE = 64  # messages that are read before anything else is done


class Broken(Exception):
    """The connection has to end; the text says why."""


class Backoff:
    """Waits between connections: they double, up to the longest, until a connection was worth the wait before it.

    Worth it is one that lasted four times as long; so two that put each other out do it ever more slowly, also where
    the broker does not tell them (Mosquitto 2.0 closes the connection without a word).
    """

    def __init__(self, first_s: float, longest_s: float, random: Callable[[], float]) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._random = random
        self._wait_s = 0.0

    def pause_s(self, lasted_s: float, taken_over: bool = False) -> float:
        """How long to wait after a connection that lasted so long; half of it is left to chance."""
        if taken_over:
            self._wait_s = self._longest_s
        elif lasted_s > 4 * self._wait_s:
            self._wait_s = self._first_s
        else:
            self._wait_s = min(2 * self._wait_s, self._longest_s)
        return self._wait_s * (1 + self._random()) / 2


class _Command:
    """A publication that waits; `until`: monotonic time at which it has expired."""

    def __init__(self, topic: str, payload: bytes, until: float) -> None:
        self.topic = topic
        self.payload = payload
        self.until = until
        self.future: Future[Sent] = Future()

    def refuse(self, sentence: str) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(Sent(False, sentence))


class _Connection:
    """One connection: its client, and what is under way on it. paho's callbacks note here what happens."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self.inbox: deque[MQTTMessage] = deque()
        self.arrivals: deque[tuple[MQTTMessage, Future[None] | None]] = deque()  # not acknowledged, in order
        self.outgoing: dict[int, Future[Sent]] = {}
        self.in_flight = 0  # how many publications the broker allows
        self.begun = False  # the broker had no session of ours
        self.ready = False
        self.trouble = ""
        self.taken_over = False

    def open(self, options: MqttOptions) -> Client:
        """Connect; raises OSError."""
        client = options.client()
        self._client = client

        def on_connect(
            _c: Client, _u: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
        ) -> None:
            self.begun = not flags.session_present
            if reason.is_failure:
                self.trouble = f"the broker refuses the connection: {reason}"
                return
            self.in_flight = min(options.in_flight, getattr(properties, "ReceiveMaximum", options.in_flight))
            options.subscribe(client)

        def on_subscribe(_c: Client, _u: Any, _mid: int, reasons: list[ReasonCode], _p: Properties | None) -> None:
            refused = [reason for reason in reasons if reason.is_failure]
            if refused:
                self.trouble = f"the broker refuses {len(refused)} of {len(reasons)} subscriptions: {refused[0]}"
            self.ready = not refused

        def on_message(_c: Client, _u: Any, message: MQTTMessage) -> None:
            self.inbox.append(message)

        def on_publish(_c: Client, _u: Any, mid: int, reason: ReasonCode, _p: Properties | None) -> None:
            future = self.outgoing.pop(mid, None)
            if future is not None:
                future.set_result(_what_the_broker_said(reason))

        def on_disconnect(_c: Client, _u: Any, _f: DisconnectFlags, reason: ReasonCode, _p: Properties | None) -> None:
            self.trouble = self.trouble or f"the connection broke: {reason}"
            self.taken_over = reason.value == TAKEN_OVER

        client.on_connect = on_connect
        client.on_subscribe = on_subscribe
        client.on_message = on_message
        client.on_publish = on_publish
        client.on_disconnect = on_disconnect
        options.connect(client)
        return client

    def abandon(self) -> None:
        """Take leave as far as that goes, and give up what is under way: it comes again, or is sent again by others."""
        if self._client is not None:
            self._client.disconnect()
            sock: Any = self._client.socket()
            if sock is not None:
                sock.close()
        for _, arrival in self.arrivals:
            if arrival is not None:
                arrival.cancel()  # only what has not begun
        for future in self.outgoing.values():
            future.set_result(Sent(False, "The connection broke before the broker had acknowledged it."))


def _what_the_broker_said(reason: ReasonCode) -> Sent:
    if reason.is_failure:
        return Sent(False, f"The broker refuses it: {reason}.")
    if reason.value == NO_SUBSCRIBER:
        return Sent(False, "The meter has no session at the broker.")
    return Sent(True, "The broker has it.")


class Tenancy(Protocol):
    """Whether a session is its process's to hold, where others may take it over. Called in the session's thread."""

    def holds(self) -> bool:
        """Now, without asking anybody: while it does not, nothing is connected or acknowledged."""

    def lost(self) -> None:
        """A connection that stood has ended, perhaps because somebody else came with the session's name: `holds` has
        to find out.
        """


class Forever:
    """The tenancy of a session that is nobody else's."""

    def holds(self) -> bool:
        return True

    def lost(self) -> None:
        return


class Session:
    """`take`: see `Taken` · `random()`: 0 <= x < 1, spreads reconnections · `tenancy`: whose the session is.

    Between `start` and `stop` it is connected, or tries to be. What is public may be used from any thread.
    `counts`: connections, sessions_begun (the broker had none of ours), acknowledged, failed, set_aside.
    `trouble`: why it is not connected, "" where it is.
    """

    def __init__(
        self, options: MqttOptions, take: Taken, random: Callable[[], float], tenancy: Tenancy | None = None
    ) -> None:
        self._options = options
        self._take = take
        self._tenancy = tenancy or Forever()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._bell, self._ear = socket.socketpair()  # a byte from any thread ends the session's wait
        self._bell.setblocking(False)
        self._rung = False
        self._commands: deque[_Command] = deque()
        self._connection: _Connection | None = None
        self._backoff = Backoff(options.first_wait_s, options.longest_wait_s, random)
        self._lock = threading.Lock()
        self._commits = 0
        self._failures: OrderedDict[bytes, tuple[int, int]] = OrderedDict()  # message -> tries, commits at the last one
        self.counts: Counter[str] = Counter()
        self.trouble = "not started"

    @property
    def connected(self) -> bool:
        """Whether a connection stands and its subscriptions are granted."""
        connection = self._connection
        return connection is not None and connection.ready

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread; also after one that has died."""
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Acknowledge what is committed, take leave, end the thread. The session stays at the broker."""
        self._stopping.set()
        self._ring()
        if self._thread is not None:
            self._thread.join()
        self._bell.close()
        self._ear.close()

    def publish(self, topic: str, payload: bytes, expiry_s: int) -> "Future[Sent]":
        """Publish with QoS 1, never retained; the broker drops it after `expiry_s` where it can (MQTT 5).

        The future ends with the broker's acknowledgement, or with the connection; cancelled in time, nothing is sent.
        """
        command = _Command(topic, payload, time.monotonic() + expiry_s)
        if len(self._commands) >= self._options.queued:
            command.refuse(f"{self._options.queued} messages wait for the broker already.")
        else:
            self._commands.append(command)
            self._ring()
        return command.future

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _ring(self) -> None:
        if self._rung:  # it has not looked yet
            return
        self._rung = True
        with contextlib.suppress(OSError):  # it is awake enough already, or gone
            self._bell.send(b"\0")

    def _run(self) -> None:
        while not self._stopping.is_set():
            if not self._tenancy.holds():
                self.trouble = _NOT_OURS
                self._stopping.wait(_TICK_S)
                continue
            started = time.monotonic()
            connection = _Connection()
            try:
                self._serve(connection)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next connection starts afresh
                self._note(error)
                if connection.ready:
                    self._tenancy.lost()
            finally:
                self._connection = None
                connection.abandon()
            self._stopping.wait(self._backoff.pause_s(time.monotonic() - started, connection.taken_over))
        self._refuse_commands("The MQTT link was stopped.")

    def _note(self, error: Exception) -> None:
        known = isinstance(error, Broken | OSError | Refused)
        self.trouble = str(error) if known else f"{type(error).__name__}: {error}"
        log.warning("MQTT, %s: %s", self._options.client_id, self.trouble, exc_info=None if known else error)

    def _serve(self, connection: _Connection) -> None:
        self.counts["connections"] += 1
        client = connection.open(self._options)
        self._connection = connection
        ready_by = time.monotonic() + self._options.answer_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._ear, selectors.EVENT_READ)
            while not self._stopping.is_set():
                self._exchange(connection, client, selector)
                if not self._tenancy.holds():
                    raise Broken(_NOT_OURS)
                while connection.inbox:
                    self._arrived(connection, connection.inbox.popleft())
                self._acknowledge(connection, client)
                if connection.ready:
                    self.counts["sessions_begun"] += connection.begun
                    connection.begun = False
                    self.trouble = ""
                    self._publish_commands(connection, client)
                elif time.monotonic() > ready_by:
                    raise Broken(f"the broker has not let us in within {self._options.answer_s:g} s")
        if self._tenancy.holds():
            self._acknowledge(connection, client)

    def _exchange(self, connection: _Connection, client: Client, selector: selectors.BaseSelector) -> None:
        """Wait for something to do, then let paho read and write."""
        sock: Any = client.socket()
        if sock is None:
            raise Broken(connection.trouble or "the connection broke")
        readable = hasattr(sock, "pending") and bool(sock.pending())  # TLS may hold what the socket does not show
        selector.register(sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if client.want_write() else 0))
        try:
            found = selector.select(0 if readable else _TICK_S)
        finally:
            selector.unregister(sock)
        for key, events in found:
            if key.fileobj is sock:
                readable = readable or bool(events & selectors.EVENT_READ)
            else:
                self._ear.recv(4096)
                self._rung = False
        results = [client.loop_read()] if readable else []
        while readable and len(connection.inbox) == len(results) < _AT_ONCE:  # each reading has brought a message
            results.append(client.loop_read())
        if client.want_write():
            results.append(client.loop_write())
        results.append(client.loop_misc())
        if connection.trouble:
            raise Broken(connection.trouble)
        for result in results:
            if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise Broken(f"the connection broke: {result.name}")

    # --- what comes ---------------------------------------------------------------------------------------------------

    def _arrived(self, connection: _Connection, message: MQTTMessage) -> None:
        future = self._take(message)
        connection.arrivals.append((message, future))
        if future is not None:
            future.add_done_callback(self._done)

    def _done(self, future: "Future[None]") -> None:
        if not future.cancelled() and future.exception() is None:
            with self._lock:
                self._commits += 1
        self._ring()

    def _acknowledge(self, connection: _Connection, client: Client) -> None:
        """What is committed, in the order in which it came."""
        arrivals = connection.arrivals
        while arrivals:
            message, future = arrivals[0]
            if future is not None:
                if not future.done() or future.cancelled():
                    return
                error = future.exception()
                if error is not None:
                    self._failed(message, error)
            client.ack(message.mid, message.qos)
            arrivals.popleft()
            self.counts["acknowledged"] += 1

    def _failed(self, message: MQTTMessage, error: BaseException) -> None:
        """Ends the connection, so that the message comes again; returns where it is to be set aside instead.

        A store that fails fails for all. A message that fails again and again while others are committed is at fault
        itself, and must not hold up the session for ever. (What a meter said and nobody took, it says again.)
        """
        self.counts["failed"] += 1
        name = hashlib.sha256(message.topic.encode() + b"\0" + message.payload).digest()
        tries, commits = self._failures.pop(name, (0, -1))
        if self._commits > commits:
            tries += 1
        if tries >= TRIES:
            self.counts["set_aside"] += 1
            what = (tries, message.topic, message.payload.hex())
            log.error("MQTT: set aside after %d tries: %s %s", *what, exc_info=error)
            return
        self._failures[name] = (tries, self._commits)
        if len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)
        raise Broken(f"a message could not be stored: {type(error).__name__}: {error}") from error

    # --- what goes ----------------------------------------------------------------------------------------------------

    def _publish_commands(self, connection: _Connection, client: Client) -> None:
        """As many as the broker allows; the others wait here, where they can still be given up."""
        while self._commands and len(connection.outgoing) < connection.in_flight:
            command = self._commands.popleft()
            expiry_s = math.ceil(command.until - time.monotonic())
            if not command.future.set_running_or_notify_cancel():
                continue
            if expiry_s <= 0:
                command.future.set_result(Sent(False, "Its time ran out before it could be published."))
                continue
            properties = self._options.expiring(expiry_s)
            info = client.publish(command.topic, command.payload, qos=1, retain=False, properties=properties)
            if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
                connection.outgoing[info.mid] = command.future
            else:
                command.future.set_result(Sent(False, f"It could not be published: {info.rc.name}."))

    def _refuse_commands(self, sentence: str) -> None:
        while self._commands:
            self._commands.popleft().refuse(sentence)
