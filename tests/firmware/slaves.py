"""Starts modbus_server.py as a child process, on MicroPython or CPython, for the tests of the Modbus links."""

import contextlib
import os
import pty
import socket
import subprocess
import sys
import time
import tty
from collections.abc import Iterator
from pathlib import Path

from meterlink.modbus import crc16
from tests import upyhost

SCRIPT = str(Path(__file__).with_name("modbus_server.py"))
ADDRESS = 17
INTERPRETERS = ("micropython", "cpython")


def child(interpreter: str, *arguments: object, fds: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    """The server, started and about to listen."""
    words = [SCRIPT, *map(str, arguments)]
    if interpreter == "micropython":
        words = upyhost.command(*words, heapsize="256K")
        env = upyhost.environment()
    else:
        words = [sys.executable, *words]
        env = {**os.environ, "PYTHONPATH": ":".join(str(upyhost.ROOT / folder) for folder in upyhost.PATH)}
        env["PYTHONUNBUFFERED"] = "1"
    process = subprocess.Popen(words, env=env, pass_fds=fds, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


@contextlib.contextmanager
def on_a_pty(interpreter: str, silence_ms: int = 0) -> Iterator[str]:
    """A slave on a pty; gives the path at which a master opens the line. The slave must end by itself with the line."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    process = child(interpreter, "rtu", f"#{ours}", ADDRESS, silence_ms, fds=(ours,))
    os.close(ours)
    try:
        yield os.ttyname(theirs)  # which stays open here, so that masters may come and go
        os.close(theirs)
        end, _ = process.communicate(timeout=30)
        assert end.startswith("ended: "), end
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def on_tcp(interpreter: str, clients: int = 4, idle_s: int = 60) -> Iterator[int]:
    """A slave on Modbus TCP; gives its port. The connection that found it may hold a place for a moment more."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = child(interpreter, "tcp", port, ADDRESS, clients, idle_s)
    try:
        for _ in range(200):
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def frame(*data: int) -> bytes:
    """Bytes with their CRC."""
    return bytes(data) + crc16(bytes(data)).to_bytes(2, "little")
