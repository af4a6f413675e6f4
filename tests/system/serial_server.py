"""A serial server for tests: what comes on a TCP port goes to a line, and back; one connection at a time."""

import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def bridge(path: str) -> Iterator[int]:
    """A serial server: what comes on a TCP port goes to the line at `path`, and back. Gives the port."""
    line = os.open(path, os.O_RDWR | os.O_NOCTTY)
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while not ended.is_set():
                near, _ = listener.accept()
                with near:
                    relay(near)

    def relay(near: socket.socket) -> None:
        while not ended.is_set():
            ready, _, _ = select.select([near, line], [], [], 0.1)
            if near in ready:
                data = near.recv(512)
                if not data:
                    return
                os.write(line, data)
            if line in ready:
                near.sendall(os.read(line, 512))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
        os.close(line)
