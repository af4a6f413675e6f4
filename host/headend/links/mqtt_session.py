"""One persistent session on a broker, in a thread of its own that alone touches its connection.

Each connection has its own lists of what came on it and what was sent on it. So an acknowledgement can only go out on
the connection on which its message came, and a publication that was not acknowledged is sent again by nobody but the
dispatcher.

A message is acknowledged once it is committed, in the order of arrival. One that cannot be committed ends the
connection: the broker gives all that was not acknowledged to the next one, and only to that. What fails in the thread
ends a connection, never the thread.
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
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from headend.links.mqtt_connection import Broken, Command, Connection, Publish
from headend.links.mqtt_options import MqttOptions
from headend.links.port import Sent
from headend.links.upward import Handed
from headend.refusals import Refused

log = logging.getLogger(__name__)

Taken = Callable[[Sequence[Publish]], Sequence[Handed | None]]
"""taken(messages): of each where to look whether it is committed, or None where there is nothing to commit. Runs in the
session's thread; `Session.committed` is to be called when some are.
"""

TRIES = 5  # of a message that fails while others are committed; then it is set aside
_REMEMBERED = 1000  # messages that failed
_NOT_OURS = "its lease has run out, or is another worker's"
_TICK_S = 0.5


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
        self._commands: deque[Command] = deque()
        self._words: deque[tuple[str, bytes]] = deque()
        self._connection: Connection | None = None
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
        future: Future[Sent] = Future()
        command = Command(topic, payload, time.monotonic() + expiry_s, future)
        if len(self._commands) >= self._options.queued:
            command.refuse(f"{self._options.queued} messages wait for the broker already.")
        else:
            self._commands.append(command)
            self._ring()
        return future

    def tell(self, topic: str, payload: bytes) -> bool:
        """Publish with QoS 0, whatever becomes of it, behind what is published; False where too many wait already."""
        if len(self._words) >= self._options.queued:
            return False
        self._words.append((topic, payload))
        self._ring()
        return True

    def committed(self, number: int) -> None:
        """Messages that were taken have ended, so many of them well; see `links.upward.Heard`."""
        with self._lock:
            self._commits += number
        self._ring()

    @property
    def unsaid(self) -> int:
        """Publications that the broker has not acknowledged yet, and words that wait."""
        connection = self._connection
        return len(self._commands) + len(self._words) + (len(connection.outgoing) if connection is not None else 0)

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
            connection = None
            try:
                self.counts["connections"] += 1
                connection = Connection(self._options)
                self._serve(connection)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next connection starts afresh
                self._note(error)
                if connection is not None and connection.ready:
                    self._tenancy.lost()
            finally:
                self._connection = None
                if connection is not None:
                    connection.abandon()
            taken_over = connection is not None and connection.taken_over
            self._stopping.wait(self._backoff.pause_s(time.monotonic() - started, taken_over))
        self._refuse_commands("The MQTT link was stopped.")

    def _note(self, error: Exception) -> None:
        known = isinstance(error, Broken | OSError | Refused)
        self.trouble = str(error) if known else f"{type(error).__name__}: {error}"
        log.warning("MQTT, %s: %s", self._options.client_id, self.trouble, exc_info=None if known else error)

    def _serve(self, connection: Connection) -> None:
        self._connection = connection
        ready_by = time.monotonic() + self._options.answer_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._ear, selectors.EVENT_READ)
            selector.register(connection.socket, selectors.EVENT_READ)
            while not self._stopping.is_set():
                messages = self._exchange(connection, selector)
                if not self._tenancy.holds():
                    raise Broken(_NOT_OURS)
                if messages:
                    self._arrived(connection, messages)
                self._acknowledge(connection)
                if connection.ready:
                    self.counts["sessions_begun"] += connection.begun
                    connection.begun = False
                    self.trouble = ""
                    self._publish_commands(connection)
                    self._say(connection)
                elif time.monotonic() > ready_by:
                    raise Broken(f"the broker has not let us in within {self._options.answer_s:g} s")
                connection.tend()
        if self._tenancy.holds():
            self._acknowledge(connection)
            self._say(connection)

    def _exchange(self, connection: Connection, selector: selectors.BaseSelector) -> list[Publish]:
        """Wait for something to do; what has come then."""
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.wants_write else 0)
        selector.modify(connection.socket, wanted)
        readable = connection.holds  # the socket does not show it
        at_once = readable or (bool(self._words) and not connection.wants_write and connection.ready)
        for key, events in selector.select(0 if at_once else _TICK_S):
            if key.fileobj is connection.socket:
                readable = readable or bool(events & selectors.EVENT_READ)
            else:
                self._ear.recv(4096)
                self._rung = False
        return connection.read() if readable else []

    # --- what comes ---------------------------------------------------------------------------------------------------

    def _arrived(self, connection: Connection, messages: Sequence[Publish]) -> None:
        for message, handed in zip(messages, self._take(messages), strict=True):
            connection.arrivals.append((message, handed))

    def _acknowledge(self, connection: Connection) -> None:
        """What is committed, in the order in which it came."""
        arrivals, said = connection.arrivals, 0
        try:
            while arrivals:
                message, handed = arrivals[0]
                if handed is not None:
                    if not handed.ended:
                        return
                    if handed.error is not None:
                        self._failed(message, handed.error)
                connection.acknowledge(message)
                arrivals.popleft()
                said += 1
        finally:
            self.counts["acknowledged"] += said

    def _failed(self, message: Publish, error: BaseException) -> None:
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

    def _publish_commands(self, connection: Connection) -> None:
        """As many as the broker allows; the others wait here, where they can still be given up."""
        while self._commands and len(connection.outgoing) < connection.in_flight:
            command = self._commands.popleft()
            if not command.begin():
                continue
            expiry_s = math.ceil(command.until - time.monotonic())
            if expiry_s <= 0:
                command.end(Sent(False, "Its time ran out before it could be published."))
            else:
                connection.publish(command, expiry_s)

    def _say(self, connection: Connection) -> None:
        """Words, as long as the socket takes them."""
        while self._words and not connection.full:
            connection.say(*self._words.popleft())

    def _refuse_commands(self, sentence: str) -> None:
        while self._commands:
            self._commands.popleft().refuse(sentence)
