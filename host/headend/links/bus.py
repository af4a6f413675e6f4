"""One Modbus line with its meters: the only module that knows pymodbus.

One transaction runs at a time, the most urgent first (`turns`), and nothing is sent twice. An RTU reply names neither
address nor register, so after a transaction without a fitting answer the line is under quarantine: the next request
waits until it has been quiet for `Patience.quiet_s`, and what came by then is thrown away. A reply that comes even
later is caught by the checks of `blocks` and `meter`. On Modbus TCP each reply carries its request's number, and no
quarantine is needed.

How long is waited for an answer follows from how long the unit usually takes (`timing`). Hundreds of lines work side by
side in one loop: each opens its connection when it is needed, closes it when it was idle for a while, and has one of
the places that its host offers (`doors`). What became of each request is counted (`quality`).

Every wait is bounded, and every outcome that is not an answer is a `LinkError` with a code.
"""

import asyncio
import errno
import logging
import os
import struct
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.file_message import FileRecord

from headend.fleet import address
from headend.fleet.address import SERIAL, TCP, ModbusAddress
from headend.links import failures, turns
from headend.links.doors import Doors
from headend.links.failures import LinkError
from headend.links.quality import Quality
from headend.links.timing import Answering
from headend.links.turns import Turns
from headend.refusals import Refused
from meterlink import modbus

Taken = TypeVar("Taken")
_Client = AsyncModbusSerialClient | AsyncModbusTcpClient

# What pymodbus logs as an error (a meter that does not answer), a LinkError says, and to whom it concerns.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

_HALF_OPEN = 3  # unanswered requests after which a TCP connection is made anew
_BITS = 11  # of a character on a serial line: start, 8 data, parity or a second stop bit, stop


@dataclass(frozen=True)
class Patience:
    """How long is waited, in seconds."""

    answer_s: float = 1.0  # for the first answer of a unit; request and reply on a serial line come on top
    quiet_s: float = 1.0  # of silence where an answer did not come; the longest frame comes on top
    babble_s: float = 10.0  # for that silence, at most
    turn_s: float = 30.0  # until the bus is free
    reopen_s: float = 2.0  # after an attempt to open the line failed, before the next; doubles each time, up to …
    reopen_most_s: float = 60.0
    rest_s: float = 0.0  # that a unit is left alone which was silent several times; doubles each time; 0: never
    idle_s: float = 0.0  # after which a connection is closed that nobody used; 0: never
    verdict_s: float = 15.0  # for the verdict on an order: its signature takes a small MCU about a second
    poll_s: float = 0.2  # between two looks whether an answer is there
    frame_bytes: int = modbus.MAX_RTU_ADU  # the longest request or reply that is to be expected


class BadPort(ValueError):
    """A port that cannot be meant; the text says what was expected."""


def bus_at(port: str, baud: int, parity: str, patience: Patience | None = None) -> "Bus":
    """The bus at a serial device or pty (its path), socket://HOST:PORT or tcp://HOST:PORT; raises BadPort."""
    text = f"{port}?unit=1"
    if "://" not in port:
        text = f"{SERIAL}:{os.path.abspath(port)}?unit=1&baud={baud}&parity={parity}"
    try:
        return Bus(address.parse(text), patience)
    except Refused as refused:
        expected = "the path of a serial device, socket://HOST:PORT or tcp://HOST:PORT expected"
        raise BadPort(f"port: {port!r} given, {expected}") from refused


class Bus:
    """The line of `where` (its unit is ignored). Opened when it is first needed, and again when it was lost.

    `quality`, `doors`: of all lines of a carrier.
    """

    def __init__(
        self,
        where: ModbusAddress,
        patience: Patience | None = None,
        quality: Quality | None = None,
        doors: Doors | None = None,
    ) -> None:
        self.where = where
        self.patience = patience or Patience()
        self._quality = quality or Quality()
        self._doors = doors or Doors()
        # How long the longest frame takes; a line behind a serial server counts as the slowest that is usual.
        self._byte_s = 0.0 if where.kind == TCP else _BITS / where.baud
        self._frame_s = self.patience.frame_bytes * self._byte_s
        self._units: dict[int, Answering] = {}
        self._turns = Turns()
        self._client: _Client | None = None
        self._why_closed = ""
        self._not_before = 0.0
        self._failed = 0  # attempts in a row to open it
        self._used_at = 0.0
        self._suspect = 0  # the unit whose reply may still be on its way; 0: none
        self._unanswered = 0  # requests in a row
        self._heard = 0  # bytes since the last request
        self._heard_at = 0.0

    async def read(self, unit: int, address: int, count: int, *, input_registers: bool = False) -> bytes:
        """2 * count bytes of `count` (1..125) registers, by FC 03 or FC 04."""

        def ask(client: _Client) -> Awaitable[ModbusPDU]:
            read = client.read_input_registers if input_registers else client.read_holding_registers
            return read(address, count=count, device_id=unit)

        def take(reply: ModbusPDU) -> bytes | None:
            return struct.pack(f">{count}H", *reply.registers) if len(reply.registers) == count else None

        function = modbus.READ_INPUT if input_registers else modbus.READ_HOLDING
        return await self._transact(unit, function, 8, 5 + 2 * count, ask, take)

    async def write(self, unit: int, address: int, data: bytes) -> None:
        """Write the registers that `data` (2..246 bytes, even) fills, by FC 16."""
        words = list(struct.unpack(f">{len(data) // 2}H", data))
        await self._transact(
            unit,
            modbus.WRITE_MULTIPLE,
            9 + len(data),
            8,
            lambda client: client.write_registers(address, words, device_id=unit),
            lambda reply: (reply.address, reply.count) == (address, len(words)) or None,
        )

    async def write_one(self, unit: int, address: int, value: int) -> None:
        """Write one register, by FC 06."""
        await self._transact(
            unit,
            modbus.WRITE_SINGLE,
            8,
            8,
            lambda client: client.write_register(address, value, device_id=unit),
            lambda reply: (reply.address, list(reply.registers)) == (address, [value]) or None,
        )

    async def read_file(self, unit: int, file: int, record: int, count: int) -> bytes:
        """2 * count bytes of `count` (1..121) registers of a file, from a record on, by FC 20."""
        wanted = [FileRecord(file, record, record_length=2 * count)]

        def take(reply: ModbusPDU) -> bytes | None:
            found = [bytes(one.record_data) for one in getattr(reply, "records", [])]
            return found[0] if [len(one) for one in found] == [2 * count] else None

        return await self._transact(
            unit,
            modbus.READ_FILE,
            12,
            7 + 2 * count,
            lambda client: client.read_file_record(wanted, device_id=unit),
            take,
        )

    async def write_file(self, unit: int, file: int, record: int, data: bytes) -> None:
        """Write a record of a file (2..244 bytes, even), by FC 21."""
        given = [FileRecord(file, record, record_data=data)]

        def take(reply: ModbusPDU) -> bool | None:
            shown = [(one.file_number, one.record_number, bytes(one.record_data)) for one in reply.records]  # type: ignore[attr-defined]
            return shown == [(file, record, data)] or None

        await self._transact(
            unit,
            modbus.WRITE_FILE,
            12 + len(data),
            12 + len(data),
            lambda client: client.write_file_record(given, device_id=unit),
            take,
        )

    async def close(self) -> None:
        """Close the line once the transaction that runs has ended; the next one opens it again."""
        async with self._bus_to_itself(0):
            self._close()

    def close_if_idle(self, idle_s: float) -> bool:
        """Close the line if nobody used it for so long; whether that was so."""
        if self._client is None or not self._turns.idle:
            return False
        if asyncio.get_running_loop().time() - self._used_at < idle_s:
            return False
        self._close()
        return True

    async def _transact(
        self,
        unit: int,
        function: int,
        request_bytes: int,
        reply_bytes: int,
        ask: Callable[[_Client], Awaitable[ModbusPDU]],
        take: Callable[[ModbusPDU], Taken | None],
    ) -> Taken:
        """One request, and its answer as `take` reads it (None: it does not fit the request).

        request_bytes, reply_bytes: as long as they are on a serial line, from the address to the CRC.
        """
        try:
            async with self._bus_to_itself(unit):
                self._look_whether_it_rests(unit)
                client = await self._open()
                await self._quarantine()
                return await self._exchange(
                    client, unit, function, (request_bytes + reply_bytes) * self._byte_s, ask, take
                )
        except LinkError as error:
            self._quality.failed(self.where.link, unit, error.outcome)
            raise

    async def _exchange(
        self,
        client: _Client,
        unit: int,
        function: int,
        wire_s: float,
        ask: Callable[[_Client], Awaitable[ModbusPDU]],
        take: Callable[[ModbusPDU], Taken | None],
    ) -> Taken:
        loop = asyncio.get_running_loop()
        answering = self._units.setdefault(unit, Answering(self.patience.answer_s))
        client.ctx.comm_params.timeout_connect = answering.wait_s + wire_s  # so is named what it waits for an answer
        self._suspect = unit  # until an answer has come; also when this coroutine is cancelled
        self._heard = 0
        self._quality.sent(self.where.link, unit)
        begun = loop.time()
        try:
            reply = await ask(client)
        except (ModbusException, OSError) as error:
            answering.silent(loop.time(), self.patience.rest_s)
            raise self._nothing(client, unit) from error
        took_s = loop.time() - begun - wire_s
        if reply.function_code & 0x7F != function:
            raise self._foreign(unit, function)
        if reply.isError():
            self._well(answering, took_s)
            code = reply.exception_code
            words = failures.EXCEPTIONS.get(code, "unknown")
            raise LinkError(failures.REFUSED, f"Unit {unit} answers with exception {code} ({words}).", code)
        taken = take(reply)
        if taken is None:
            raise self._foreign(unit, function)
        self._well(answering, took_s)
        self._quality.answered(self.where.link, unit, max(took_s, 0.0))
        return taken

    def _well(self, answering: Answering, took_s: float) -> None:
        answering.answered(took_s)
        self._suspect = 0
        self._unanswered = 0

    def _look_whether_it_rests(self, unit: int) -> None:
        """Orders are handed over all the same."""
        answering = self._units.get(unit)
        left_s = answering.rests_until - asyncio.get_running_loop().time() if answering is not None else 0
        if left_s > 0 and turns.urgency.get() != turns.ORDERS:
            assert answering is not None
            sentence = f"Unit {unit} did not answer {answering.silences} times; it is asked again in {left_s:.0f} s."
            raise LinkError(failures.RESTING, sentence)

    @asynccontextmanager
    async def _bus_to_itself(self, unit: int) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.patience.turn_s):
                await self._turns.take(unit)
        except TimeoutError:
            wait = f"{self.where.link} was not free within {self.patience.turn_s:g} s."
            raise LinkError(failures.BUSY, wait) from None
        try:
            yield
        finally:
            self._used_at = asyncio.get_running_loop().time()
            self._turns.give()
            if self._turns.idle:
                self._doors.free(self.where.host)

    def _foreign(self, unit: int, function: int) -> LinkError:
        return LinkError(failures.FOREIGN, f"Unit {unit} answers something else than function {function} was asked.")

    def _nothing(self, client: _Client, unit: int) -> LinkError:
        """Why there is no answer."""
        if not client.connected:
            self._close()
            return LinkError(failures.LOST, f"The connection to {self.where.link} broke.")
        self._unanswered += 1
        if self._unanswered >= _HALF_OPEN and self.where.kind != SERIAL:
            self._close()  # it may be a connection whose other end is gone; the next request makes a new one
        if self._heard:
            return LinkError(
                failures.GARBLED,
                f"{self._heard} bytes came from {self.where.link} and no frame of unit {unit} is in them; "
                "expected the same baud rate and parity at both ends, one master, and one meter for each unit.",
            )
        return LinkError(failures.SILENT, f"Unit {unit} at {self.where.link} does not answer.")

    async def _quarantine(self) -> None:
        """After an answer that did not come: wait for silence, then forget what was heard."""
        if not self._suspect or self.where.kind == TCP:
            return
        loop = asyncio.get_running_loop()
        heard_before = self._heard
        quiet_s = self.patience.quiet_s + self._frame_s
        give_up = loop.time() + self.patience.babble_s + quiet_s
        self._heard_at = loop.time()
        while (left_s := self._heard_at + quiet_s - loop.time()) > 0:
            if loop.time() >= give_up:
                raise LinkError(failures.GARBLED, f"{self.where.link} is never quiet for {quiet_s:.2g} s.")
            await asyncio.sleep(left_s)
        if self._heard != heard_before:
            self._quality.late(self.where.link, self._suspect)
        self._suspect = 0

    async def _open(self) -> _Client:
        if self._client is not None and self._client.connected:
            self._doors.used(self.where.host, self)
            return self._client
        self._close()
        loop = asyncio.get_running_loop()
        if loop.time() >= self._not_before:
            if self.where.host:
                await self._enter()
            timeout_s = self.patience.answer_s + 2 * self._frame_s
            client = _client(self.where, timeout_s)
            client.set_max_no_responses(1_000_000_000)  # it is for us to close the connection
            self._watch(client)
            self._why_closed = f"no connection within {timeout_s:.2g} s"
            try:
                opened = await client.connect()
            except BaseException:
                client.close()
                self._doors.leave(self.where.host, self)
                raise
            if opened:
                self._unanswered = self._failed = 0
                self._client = client
                return client
            self._doors.leave(self.where.host, self)
            wait_s = min(self.patience.reopen_s * 2 ** min(self._failed, 16), self.patience.reopen_most_s)
            self._failed += 1
            self._not_before = loop.time() + max(wait_s, self.patience.reopen_s)
        raise LinkError(failures.UNREACHABLE, f"{self.where.link} cannot be opened: {self._why_closed}.")

    async def _enter(self) -> None:
        """Have one of the places at the host."""
        try:
            async with asyncio.timeout(self.patience.turn_s):
                await self._doors.enter(self.where.host, self, lambda: self.close_if_idle(0))
        except TimeoutError:
            sentence = f"{self.where.host} had no connection left for {self.patience.turn_s:g} s."
            raise LinkError(failures.BUSY, sentence) from None

    def _watch(self, client: _Client) -> None:
        """Note what comes, keep why it cannot be opened (pymodbus logs that and keeps it to itself), and let nothing
        that comes raise inside the event loop."""
        manager = client.ctx
        create = manager.call_create
        take = manager.callback_data

        async def call_create() -> Any:
            try:
                return await create()
            except (OSError, termios.error) as error:
                self._why_closed = _why(error)
                raise OSError(str(error)) from error

        def callback_data(data: bytes, addr: "tuple[Any, ...] | None" = None) -> int:
            self._heard = len(data)
            self._heard_at = manager.loop.time()
            try:
                return take(data, addr)
            except (ModbusException, ValueError, LookupError, struct.error):
                return len(data)

        created: Callable[[], Coroutine[Any, Any, Any]] = call_create
        manager.call_create = created
        manager.callback_data = callback_data  # type: ignore[method-assign]

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
            self._doors.leave(self.where.host, self)


def _why(error: "OSError | termios.error") -> str:
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if number == errno.EAGAIN:
        return "another program uses it"
    if number > 0:
        return os.strerror(number)
    return str(getattr(error, "strerror", None) or error)


def _client(where: ModbusAddress, timeout_s: float) -> _Client:
    """A client that sends once and does not reconnect by itself. RTU over TCP goes over asyncio's own connection:
    pyserial's `socket://` would connect in the event loop's time."""
    if where.kind == SERIAL:
        is_pty = os.path.realpath(where.path).startswith("/dev/pts/")  # which has no parity, and says so
        return AsyncModbusSerialClient(
            where.path,
            baudrate=where.baud,
            parity="N" if is_pty else where.parity,
            stopbits=2 if where.parity == "N" else 1,
            timeout=timeout_s,
            retries=0,
            reconnect_delay=0,
        )
    return AsyncModbusTcpClient(
        where.host.strip("[]"),
        port=where.port,
        framer=FramerType.SOCKET if where.kind == TCP else FramerType.RTU,
        timeout=timeout_s,
        retries=0,
        reconnect_delay=0,
    )
