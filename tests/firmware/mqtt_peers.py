"""Who the meter's MQTT client meets in tests: the process that runs it, a head end (paho), a peer of raw bytes."""

import contextlib
import json
import os
import queue
import select
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests import upyhost
from tests.brokers import Broker

LIMIT_S = 60  # how long a test waits for what must come; nothing is measured against it
_CHILD = Path(__file__).with_name("mqtt_child.py")


class Failed(Exception):
    """A command of the child ended in an MqttError."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(f"{answer['error']} ({answer['detail']})")
        self.reason: str = answer["error"]
        self.packet_id: int = answer["packet_id"]


class Child:
    """The client in a process of its own, on `interpreter`: "cpython" or "micropython"."""

    def __init__(self, interpreter: str, heapsize: str = "256K") -> None:
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._set_aside: list[dict[str, Any]] = []
        self._number = 0
        listener = socket.create_server(("127.0.0.1", 0))
        place = ["127.0.0.1", str(listener.getsockname()[1])]
        if interpreter == "micropython":
            command = upyhost.command(str(_CHILD), *place, heapsize=heapsize)
            environment = upyhost.environment()
        else:
            command = [sys.executable, str(_CHILD), *place]
            folders = [str(upyhost.ROOT / name) for name in upyhost.PATH]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        listener.settimeout(LIMIT_S)
        self._link, _ = listener.accept()
        listener.close()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        assert self.process.stderr is not None
        said = self.process.stderr.read().decode(errors="replace")
        self.process.stderr.close()
        self._thread.join(LIMIT_S)
        if error is None:
            assert said == "", f"the child wrote to stderr:\n{said}"
        elif said:
            print(said, file=sys.stderr)

    def start(self, do: str, **arguments: Any) -> int:
        """Begin a command; its number is for `result`."""
        self._number += 1
        self._answers[self._number] = queue.Queue()
        self._link.sendall(json.dumps({"id": self._number, "do": do, **arguments}).encode() + b"\n")
        return self._number

    def result(self, number: int) -> Any:
        """What a command returned; raises Failed."""
        answer = self._answers[number].get(timeout=LIMIT_S)
        del self._answers[number]
        if "error" in answer:
            raise Failed(answer)
        return answer["ok"]

    def call(self, do: str, **arguments: Any) -> Any:
        return self.result(self.start(do, **arguments))

    def wait(self, event: str) -> dict[str, Any]:
        """The next event of that name, first come, first served."""
        for at, fact in enumerate(self._set_aside):
            if fact["event"] == event:
                return self._set_aside.pop(at)
        while True:
            fact = self._events.get(timeout=LIMIT_S)
            if fact["event"] == event:
                return fact
            self._set_aside.append(fact)

    def payloads(self, until: Callable[[list[str]], bool]) -> list[str]:
        """Payloads of messages in their order, up to the one with which they suffice."""
        found: list[str] = []
        while not until(found):
            found.append(self.wait("message")["payload"])
        return found

    def sockets(self) -> int:
        """Sockets that the process has open."""
        count = 0
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                count += os.readlink(entry).startswith("socket:")
        return count

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._link.close()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._link.makefile("rb") as lines:
            for line in lines:
                fact = json.loads(line)
                if "event" in fact:
                    self._events.put(fact)
                else:
                    self._answers[fact["id"]].put(fact)


class HeadEnd:
    """A paho client: `send(topic, payload)` returns once the broker has it, `wait()` is the next message."""

    def __init__(
        self, broker: Broker, *topics: str, client_id: str = "head-end", files: tuple[Path, Path, Path] | None = None
    ) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False)
        if files is not None:
            ca, cert, key = (str(path) for path in files)
            self._client.tls_set(ca, cert, key, cert_reqs=ssl.CERT_REQUIRED)
        self._messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self._client.on_message = lambda _client, _data, message: self._messages.put(message)
        self._client.on_subscribe = lambda *_: self._subscribed.release()
        self._client.on_connect = self._on_connect
        self._client.reconnect_delay_set(1, 1)
        self._topics = topics
        self._subscribed = threading.Semaphore(0)
        self._client.connect("localhost" if files else broker.host, broker.port)

    def _on_connect(self, *_: Any) -> None:
        for topic in self._topics:
            self._client.subscribe(topic, 1)

    def __enter__(self) -> "HeadEnd":
        self._client.loop_start()
        for _ in self._topics:
            assert self._subscribed.acquire(timeout=LIMIT_S), "no SUBACK for the head end"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, topic: str, payload: str | bytes, qos: int = 1, retain: bool = False) -> None:
        done = self._client.publish(topic, payload, qos, retain)
        done.wait_for_publish(LIMIT_S)
        assert done.is_published(), f"the broker has not taken {topic}"

    def wait(self) -> paho.MQTTMessage:
        return self._messages.get(timeout=LIMIT_S)


class RawPeer:
    """A server that speaks bytes, not MQTT: the client's packets come from `packet()`, `send` says anything."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self._listener = socket.create_server((self.host, 0))
        self._listener.settimeout(LIMIT_S)
        self.port: int = self._listener.getsockname()[1]
        self._link: socket.socket | None = None

    def __enter__(self) -> "RawPeer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()
        self._listener.close()

    def accept(self, answer: bytes = b"\x20\x02\x00\x00") -> bytes:
        """Take a connection, read its CONNECT, send `answer`; returns the CONNECT."""
        self.drop()
        self._link, _ = self._listener.accept()
        self._link.settimeout(LIMIT_S)
        connect = self.packet()
        self._link.sendall(answer)
        return connect

    def packet(self) -> bytes:
        """The client's next packet; b"" when it has ended the link."""
        head = self._read(1)
        if not head:
            return b""
        size = shift = 0
        while True:
            byte = self._read(1)
            head += byte
            size |= (byte[0] & 0x7F) << shift
            shift += 7
            if not byte[0] & 0x80:
                return head + self._read(size)

    def packet_within(self, limit_s: float) -> bytes | None:
        """The client's next packet, or None if it has said nothing for that long."""
        assert self._link is not None
        if not select.select([self._link], [], [], limit_s)[0]:
            return None
        return self.packet()

    def send(self, *packets: bytes) -> None:
        assert self._link is not None
        for packet in packets:
            self._link.sendall(packet)

    def drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _read(self, size: int) -> bytes:
        assert self._link is not None
        data = b""
        while len(data) < size:
            with contextlib.suppress(ConnectionResetError):
                more = self._link.recv(size - len(data))
                if more:
                    data += more
                    continue
            return b""
        return data
