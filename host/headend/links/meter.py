"""One meter on a bus: its blocks, its mailboxes and its records.

What comes out is checked for fitting together and for being an answer to what was asked; whether it is genuine, only
the meter's key tells, which no link has.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from headend.links import blocks, failures
from headend.links.blocks import Block
from headend.links.bus import Bus
from headend.links.failures import LinkError
from headend.links.turns import Turns
from meterlink import batches, orders, records, registers, reports, results, topics
from meterlink.mac import TAG_LENGTH
from meterlink.modbus import MAX_READ, crc16

_LOOKS = 5  # at a block that does not hold the answer yet
_TRIES = 2  # of a reading that a moment later should be whole
_RECORDS_IN_ONE = 10  # 24 bytes each, in an FC 20 reply of at most 245 (AP 6.14)
_NONCE_AT = 18  # in a report
_ORDER_TAIL = orders.SIGNATURE_LENGTH + TAG_LENGTH
_NO_DIGEST = bytes(8)  # of an order that the meter could not read

_BATCH_HEAD = struct.Struct(batches.HEAD_FORMAT)
_UP = {
    batches.KIND_REPORT: topics.UP_REPORT,
    batches.KIND_INTERVALS: topics.UP_INTERVALS,
    batches.KIND_EVENTS: topics.UP_EVENTS,
    batches.KIND_ORDER: topics.UP_ORDER,
    batches.KIND_CLOSING: topics.UP_CLOSING,
    batches.KIND_HELD: topics.UP_HELD,
    batches.KIND_RECEIPT: topics.UP_RECEIPT,
}
_REPORTS = (batches.KIND_REPORT, batches.KIND_CLOSING, batches.KIND_RECEIPT)  # questions that a report answers
_FILES = {batches.KIND_INTERVALS: registers.INTERVAL_FILE, batches.KIND_EVENTS: registers.EVENT_FILE}


@dataclass(frozen=True)
class Verdict:
    """What the meter says became of an order. It is not authenticated and confirms nothing.

    `code`: results.*; PENDING where none could be had · `judged_s`: meter time · `trouble`: why none could be had.
    """

    code: int
    judged_s: int = 0
    trouble: str = ""


class MeterOnBus:
    """The meter with a unit number (1..247) on a bus; exchanges that must not mix run one after the other.

    Every method raises LinkError where it cannot do what it says.
    """

    def __init__(self, bus: Bus, unit: int) -> None:
        self.bus = bus
        self.unit = unit
        self._exchange = Turns()

    # --- blocks -------------------------------------------------------------------------------------------------------

    async def block(self, block_id: int) -> Block:
        """A block (registers.IDENT …), all of one snapshot, however many readings that takes."""
        for _ in range(_TRIES):
            data = await self._registers(block_id)
            if data is not None:
                return blocks.decode(block_id, data)
        raise LinkError(failures.TORN, f"Unit {self.unit}: the block changed during each of {_TRIES} readings.")

    async def _registers(self, block_id: int) -> bytes | None:
        """The bytes of a block; None where its snapshot changed between the readings."""
        address, length = blocks.place(block_id)
        data = await self.bus.read(self.unit, address, min(length, MAX_READ))
        if length <= MAX_READ:
            return data
        for at in range(MAX_READ, length, MAX_READ):
            data += await self.bus.read(self.unit, address + at, min(length - at, MAX_READ))
        # Reading the first register would latch the block anew; those behind it tell which snapshot the parts are of.
        first, end = blocks.offset(block_id, "block_length"), blocks.offset(block_id, "time_s")
        return (
            data if await self.bus.read(self.unit, address + first, end - first) == data[2 * first : 2 * end] else None
        )

    # --- mailboxes ----------------------------------------------------------------------------------------------------

    async def order(self, raw: bytes, parcels: Sequence[bytes] = ()) -> Verdict:
        """Put an order into the mailbox and wait for the verdict, `Patience.verdict_s` at most.

        `parcels`: the pieces of its body where that travels apart (`meterlink.parcels`); they go first.

        LinkError: the mailbox did not say that it holds the order (it may hold it all the same).
        """
        async with self._one_at_a_time():
            for piece in parcels:
                await self._mail(registers.PARCEL_MAILBOX, piece)
            await self._mail(registers.ORDER_MAILBOX, raw)
            try:
                return await self._verdict(orders.digest(raw[:-_ORDER_TAIL])[: len(_NO_DIGEST)])
            except LinkError as error:
                return Verdict(results.PENDING, trouble=str(error))

    async def _verdict(self, digest: bytes) -> Verdict:
        patience = self.bus.patience
        loop = asyncio.get_running_loop()
        until = loop.time() + patience.verdict_s
        while True:
            shown = await self.block(registers.RESULT)
            if shown.number("done_id") == shown.number("pending_id"):
                if shown.octets("digest") not in (digest, _NO_DIGEST):
                    return Verdict(results.PENDING, trouble=f"Unit {self.unit} shows the verdict on another order.")
                return Verdict(shown.number("result"), shown.number("judged_s"))
            if loop.time() >= until:
                sentence = f"Unit {self.unit} has not judged it within {patience.verdict_s:g} s."
                return Verdict(results.PENDING, trouble=sentence)
            await asyncio.sleep(patience.poll_s)

    async def ask(self, raw: bytes) -> tuple[str, bytes]:
        """Put a question (`batches.pack_ask`) and fetch its answer: (topics.UP_*, the same bytes as over a broker)."""
        kind, nonce, aspect, selector, _, _ = batches.read_ask(raw)
        async with self._one_at_a_time():
            await self._mail(registers.ASK_MAILBOX, raw)
            if kind in _REPORTS:
                answer = await self._look(registers.REPORT, lambda shown: _report(shown, nonce))
            elif kind == batches.KIND_ORDER:
                answer = await self._look(registers.ORDER, lambda shown: _held(shown, aspect, selector))
            else:
                answer = await self._batch(kind, nonce)
        return _UP[kind], answer

    async def _batch(self, kind: int, nonce: bytes) -> bytes:
        ends = await self._look(registers.BATCH, lambda shown: _batch_ends(shown, kind, nonce))
        fields = _BATCH_HEAD.unpack_from(ends)
        if kind == batches.KIND_HELD:
            found = await self._held_versions(fields[12])
        else:
            found = await self.records(kind, fields[11], fields[12])
        return ends[: batches.HEAD_LENGTH] + b"".join(found) + ends[batches.HEAD_LENGTH :]

    async def _held_versions(self, count: int) -> list[bytes]:
        """The records of the last question of KIND_HELD. They have no CRC: the MAC of the batch covers them."""
        found: list[bytes] = []
        while len(found) < count:
            some = min(count - len(found), _RECORDS_IN_ONE)
            data = await self.bus.read_file(
                self.unit, registers.HELD_FILE, 1 + len(found), some * registers.RECORD_REGISTERS
            )
            found += [data[at : at + records.RECORD_LENGTH] for at in range(0, len(data), records.RECORD_LENGTH)]
        return found

    async def acknowledge(self, raw: bytes) -> None:
        """Hand over an acknowledgement (`batches.pack_ack`)."""
        async with self._one_at_a_time():
            await self._mail(registers.ACK_MAILBOX, raw)

    async def type_token(self, digits: str) -> Block:
        """Type a token of 20 digits over the service port: the block `token` after it.

        A token is used once, so it is sent once: where the answer to the mailbox is lost, the block tells whether the
        meter has counted one more entry. LinkError with exception 2 on a link that takes no tokens.
        """
        async with self._one_at_a_time():
            before = (await self.block(registers.TOKEN)).number("typed_count")
            lost = None
            try:
                await self._mail(registers.TOKEN_MAILBOX, digits.encode())
            except LinkError as error:
                if error.exception:
                    raise
                lost = error
            shown = await self.block(registers.TOKEN)
            if lost is not None and shown.number("typed_count") == before:
                raise lost
            return shown

    async def set_line(self, body: bytes) -> None:
        """Set the meter's bus (a body of `meterlink.lines`). LinkError with exception 2 where this is no service
        port."""
        async with self._one_at_a_time():
            await self._mail(registers.LINE_MAILBOX, body)

    async def identify(self, seconds: int) -> None:
        """Let the meter blink for 0..600 s."""
        await self.bus.write_one(self.unit, registers.IDENTIFY, seconds)

    async def write_record(self, number: int, data: bytes) -> None:
        """Write a record of an image (`meterlink.image`)."""
        await self.bus.write_file(self.unit, registers.IMAGE_FILE, number, data)

    async def _mail(self, address: int, raw: bytes) -> None:
        padded = raw + bytes(len(raw) % 2)
        await self.bus.write(self.unit, address, struct.pack(">HH", len(raw), crc16(raw)) + padded)

    async def _look(self, block_id: int, take: Callable[[Block], bytes | None]) -> bytes:
        """Read a block until `take` finds in it what was asked for."""
        for look in range(_LOOKS):
            if look:
                await asyncio.sleep(self.bus.patience.poll_s)
            found = take(await self.block(block_id))
            if found is not None:
                return found
        raise LinkError(failures.STALE, f"Unit {self.unit} shows the answer to another question, {_LOOKS} times.")

    @asynccontextmanager
    async def _one_at_a_time(self) -> AsyncIterator[None]:
        patience = self.bus.patience
        try:
            async with asyncio.timeout(patience.turn_s + patience.verdict_s):
                await self._exchange.take()
        except TimeoutError:
            raise LinkError(failures.BUSY, f"Unit {self.unit} is busy with an earlier exchange.") from None
        try:
            yield
        finally:
            self._exchange.give()

    # --- records ------------------------------------------------------------------------------------------------------

    async def records(self, kind: int, first: int, count: int) -> list[bytes]:
        """`count` records (24 bytes each) of a kind (batches.KIND_INTERVALS, KIND_EVENTS) from sequence number `first`.

        Each has the right CRC and sequence number.
        """
        return await self.logged(_FILES[kind], records.RECORD_LENGTH, first, count)

    async def logged(self, base: int, length: int, first: int, count: int) -> list[bytes]:
        """`count` records of `length` bytes from sequence number `first`, of the log that starts with file `base`
        (registers.*_FILE). Each has the right CRC and sequence number."""
        found: list[bytes] = []
        while len(found) < count:
            seq = first + len(found)
            _, number = registers.file_of(base, seq)
            most = min(_RECORDS_IN_ONE * records.RECORD_LENGTH // length, registers.FILE_RECORDS - number)
            found += await self._some_records(base, length, seq, min(count - len(found), most))
        return found

    async def _some_records(self, base: int, length: int, seq: int, count: int) -> list[bytes]:
        file, number = registers.file_of(base, seq)
        for _ in range(_TRIES):
            data = await self.bus.read_file(self.unit, file, number, count * length // 2)
            found = [data[at : at + length] for at in range(0, len(data), length)]
            if [records.check(one) for one in found] == list(range(seq, seq + count)):
                return found
        raise LinkError(
            failures.DAMAGED, f"Unit {self.unit}: a record from {seq} to {seq + count - 1} has a wrong CRC or number."
        )


def _report(shown: Block, nonce: bytes) -> bytes | None:
    """The report in its block, where it answers this nonce."""
    raw = shown.octets("report")
    fits = shown.number("report_length") == reports.LENGTH and raw[_NONCE_AT : _NONCE_AT + len(nonce)] == nonce
    return raw if fits else None


def _batch_ends(shown: Block, kind: int, nonce: bytes) -> bytes | None:
    """Head and MAC of the batch, where they answer this nonce."""
    head = shown.octets("batch_head")
    fields = _BATCH_HEAD.unpack(head)
    if fields[1] != kind or fields[10] != nonce or fields[12] > batches.MAX_RECORDS:
        return None
    return head + shown.octets("batch_mac")


def _held(shown: Block, aspect: int, selector: int) -> bytes | None:
    """The order in its block, where it is of that aspect and selector; empty where the meter holds none."""
    raw = shown.octets("order")[: shown.number("order_length")]
    if not raw:
        return raw
    try:
        stated = orders.Order(raw).stated
    except orders.OrderError:
        return None
    return raw if (stated.aspect, stated.selector) == (aspect, selector) else None
