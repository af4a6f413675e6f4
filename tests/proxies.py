"""A TCP relay that misbehaves on purpose, between a client and a server of a test.

with Proxy("127.0.0.1", broker.port) as proxy: …        connect to proxy.port
proxy.cut_after(n)      each connection breaks once n bytes have passed in either direction (None: never)
proxy.cut_at(word, …)   a connection breaks where its client says this, before the server hears it, or behind its answer
proxy.cut()             the open connections break now
proxy.freeze()          the open connections stay open and pass nothing any more, without a sign to either side
proxy.part()            as freeze(), and new connections are taken and pass nothing either, until …
proxy.heal()            … this: what was frozen breaks, and new connections pass again
proxy.accepted          connections so far
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType


class Proxy:
    """`cut_after` may be given a function that is asked once for each connection. `host`: or a socket's path."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._word: tuple[bytes, bytes, bool] | None = None
        self._limit: Callable[[], int | None] = lambda: None
        self._pairs: list[_Pair] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._closing = False
        self._parted = False
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> "Proxy":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        self.cut()

    def cut_after(self, limit: int | Callable[[], int | None] | None) -> None:
        self._limit = limit if callable(limit) else lambda: limit

    def cut_at(self, word: bytes, *, behind: bytes, answered: bool) -> None:
        """Once, where `behind` was said before; `answered`: the server has answered, which is not passed on."""
        self._word = behind, word, answered

    def meets(self, pair: "_Pair", data: bytes) -> bool | None:
        """Whether what a client says is to be answered before its connection breaks; None: it is not to break."""
        with self._lock:
            if self._word is None:
                return None
            behind, word, answered = self._word
            pair.led = pair.led or behind in data
            if not pair.led or word not in data:
                return None
            self._word = None
            return answered

    def cut(self) -> None:
        for pair in self._open_pairs():
            pair.cut()

    def freeze(self) -> None:
        for pair in self._open_pairs():
            pair.frozen.set()

    def part(self) -> None:
        self._parted = True
        self.freeze()

    def heal(self) -> None:
        self._parted = False
        for pair in self._open_pairs():
            if pair.frozen.is_set():
                pair.cut()

    def _open_pairs(self) -> "list[_Pair]":
        with self._lock:
            self._pairs = [pair for pair in self._pairs if not pair.dead]
            return list(self._pairs)

    def _accept(self) -> None:
        while not self._closing:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = _connect(*self._target)
            except OSError:  # the server is down: so are we
                _reset(near)
                continue
            far.settimeout(None)
            self.accepted += 1
            pair = _Pair(near, far, self._limit(), self.meets)
            with self._lock:
                self._pairs.append(pair)
            if self._parted:
                pair.frozen.set()
            pair.start()


class _Pair:
    """One relayed connection."""

    def __init__(
        self, near: socket.socket, far: socket.socket, limit: int | None, meets: "Callable[[_Pair, bytes], bool | None]"
    ) -> None:
        self._meets = meets
        self.led = False  # the client has said what leads to the word at which this is cut
        self._muted = False  # what the server says now is its answer to the last word of the client
        self._near = near
        self._far = far
        self._left = limit
        self._lock = threading.Lock()
        self.frozen = threading.Event()
        self.dead = False

    def start(self) -> None:
        for source, sink in ((self._near, self._far), (self._far, self._near)):
            threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(4096):
                if self.frozen.is_set():
                    continue
                if source is self._far and self._muted:
                    break
                answered = self._meets(self, data) if source is self._near else None
                if answered is False:
                    break
                self._muted = self._muted or answered is True
                with self._lock:
                    if self._left is not None:
                        data, over = data[: self._left], len(data) >= self._left
                        self._left -= len(data)
                    else:
                        over = False
                sink.sendall(data)
                if over:
                    break
        except OSError:
            pass
        if not self.frozen.is_set():
            self.cut()

    def cut(self) -> None:
        with self._lock:
            if self.dead:
                return
            self.dead = True
        _reset(self._near)
        _reset(self._far)


def _connect(host: str, port: int) -> socket.socket:
    if not host.startswith("/"):
        return socket.create_connection((host, port), timeout=5)
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(5)
    made.connect(host)
    return made


def _reset(sock: socket.socket) -> None:
    """Ends a connection with a TCP reset, also under a thread that waits in recv."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
