"""A Modbus gateway: TCP on one side, a bus with up to 247 meters on the other, one transaction at a time.

Modbus TCP (MODBUS Messaging on TCP/IP Implementation Guide V1.0b), or RTU frames as they are on TCP. A unit that is not
there, or has no power, is answered with exception 11 on Modbus TCP (gateway target device failed to respond), and by
silence on RTU, as on a wire.
"""

import asyncio
from collections.abc import Callable

from meterlink.modbus import MAX_ADDRESS, crc16
from meterlink.modbus_tcp import HEADER, FrameError, TcpReceiver

TCP, RTU = "tcp", "socket"
_NO_RESPONSE = 0x0B

Answer = Callable[[int, bytes], bytes | None]
"""answer(unit, request PDU): the response PDU, None where no such unit answers."""


class Gateway:
    """One bus. kind: TCP or RTU, as `headend.fleet.address` names them · `transactions`, `silent`: counted."""

    def __init__(self, kind: str, answer: Answer) -> None:
        self.kind = kind
        self.port = 0
        self.transactions = 0
        self.silent = 0
        self._answer = answer
        self._server: asyncio.Server | None = None

    async def start(self, host: str) -> None:
        """Listen on any free port of `host`."""
        made = _OnTcp if self.kind == TCP else _OnRtu
        self._server = await asyncio.get_running_loop().create_server(lambda: made(self), host, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def address(self, host: str, unit: int) -> str:
        """Where the head end finds a unit of this bus, 1..247."""
        if not 1 <= unit <= MAX_ADDRESS:
            raise ValueError(f"unit: {unit} given, 1..{MAX_ADDRESS} expected")
        return f"{self.kind}://{host}:{self.port}?unit={unit}"

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    def transact(self, unit: int, request: bytes) -> bytes | None:
        """One transaction on the bus."""
        self.transactions += 1
        reply = self._answer(unit, request)
        self.silent += reply is None
        return reply


class _Connection(asyncio.Protocol):
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport


class _OnTcp(_Connection):
    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway)
        self._receiver = TcpReceiver()

    def data_received(self, data: bytes) -> None:
        try:
            for byte in data:
                length = self._receiver.feed(byte)
                if length:
                    self._reply(bytes(self._receiver.buffer[:length]))
        except FrameError:
            self.transport.abort()

    def _reply(self, request: bytes) -> None:
        unit, pdu = request[HEADER - 1], request[HEADER:]
        reply = self.gateway.transact(unit, pdu)
        if reply is None:
            reply = bytes((pdu[0] | 0x80, _NO_RESPONSE))
        self.transport.write(request[:4] + (len(reply) + 1).to_bytes(2, "big") + bytes((unit,)) + reply)


class _OnRtu(_Connection):
    """A frame is what comes at once: masters on TCP write whole ones."""

    def data_received(self, data: bytes) -> None:
        if len(data) < 4 or crc16(data):
            return
        reply = self.gateway.transact(data[0], data[1:-2])
        if reply is not None:
            frame = data[:1] + reply
            self.transport.write(frame + crc16(frame).to_bytes(2, "little"))
