"""The Modbus master on lines that misbehave: what comes back is right, or an error that has a name."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient

from headend.fleet import address
from headend.links import failures
from headend.links.bus import Bus, Patience
from headend.links.failures import LinkError
from meterlink import modbus
from tests.brokers import free_port
from tests.host.line_rig import UNITS, Line, framed, line, record_words, silent

KINDS = ("serial", "socket", "tcp")
RTU = ("serial", "socket")
BRISK = Patience(answer_s=0.6, quiet_s=0.1, babble_s=0.5, reopen_s=0.05)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 120))


@contextlib.asynccontextmanager
async def bus_on(one: Line, patience: Patience = BRISK) -> AsyncIterator[Bus]:
    fast = "&baud=115200" if one.kind == "serial" else ""
    bus = Bus(address.parse(f"{one.port}?unit=1{fast}"), patience)
    try:
        yield bus
    finally:
        await bus.close()


def words(first: int, count: int, unit: int = 1) -> bytes:
    return struct.pack(f">{count}H", *range(1000 * unit + first, 1000 * unit + first + count))


async def outcome(work: Coroutine[Any, Any, object]) -> str:
    with pytest.raises(LinkError) as caught:
        await work
    assert str(caught.value).endswith(".")
    return caught.value.outcome


@pytest.mark.parametrize("kind", KINDS)
def test_every_function_on_every_kind_of_line(kind: str) -> None:
    async def scenario(one: Line) -> None:
        async with bus_on(one) as bus:
            for unit in UNITS:
                assert await bus.read(unit, 5, 125) == words(5, 125, unit)
                assert await bus.read(unit, 299, 1, input_registers=True) == words(299, 1, unit)
            await bus.write(2, 10, bytes(range(246)))
            assert await bus.read(2, 10, 123) == bytes(range(246))
            await bus.write_one(3, 7, 0xBEEF)
            assert await bus.read(3, 7, 1) == b"\xbe\xef"
            assert await bus.read_file(1, 0x8001, 9990, 120) == record_words(0x8001, 9990, 120)
            assert one.spaces[1].written == []

    with line(kind) as one:
        run(scenario(one))


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_is_named_and_the_line_is_good_at_once(kind: str) -> None:
    async def scenario(one: Line) -> None:
        async with bus_on(one) as bus:
            with pytest.raises(LinkError) as caught:
                await bus.read(1, 350, 1)
            assert (caught.value.outcome, caught.value.exception) == (failures.REFUSED, modbus.ILLEGAL_ADDRESS)
            assert "illegal address" in str(caught.value)
            assert await bus.read(1, 0, 1) == words(0, 1)

    with line(kind) as one:
        run(scenario(one))


@pytest.mark.parametrize("kind", RTU)
def test_a_late_reply_is_not_taken_for_the_answer_to_the_next_request(kind: str) -> None:
    async def scenario(one: Line) -> None:
        late: list[bytes] = []
        one.faults.append(lambda reply: late.append(reply) or b"")
        async with bus_on(one) as bus:
            assert await outcome(bus.read(1, 10, 4)) == failures.SILENT
            one.say(late[0])  # right in all but time: same unit, function and length as what is asked next
            assert await bus.read(1, 20, 4) == words(20, 4)
            assert len(one.requests) == 2

    with line(kind) as one:
        run(scenario(one))


def test_without_quarantine_the_late_reply_would_be_taken() -> None:
    """What the bus is there to prevent; should the library learn to prevent it, this test says so."""

    async def scenario(one: Line) -> None:
        port = int(one.port.rpartition(":")[2])
        late: list[bytes] = []
        one.faults.append(lambda reply: late.append(reply) or b"")
        one.faults.append(lambda reply: late[0] + reply)
        client = AsyncModbusTcpClient("127.0.0.1", port=port, framer=FramerType.RTU, timeout=0.3, retries=0)
        await client.connect()
        with pytest.raises(Exception, match="No response"):
            await client.read_holding_registers(10, count=4, device_id=1)
        answer = await client.read_holding_registers(20, count=4, device_id=1)
        client.close()
        assert struct.pack(">4H", *answer.registers) == words(10, 4)

    with line("socket") as one:
        run(scenario(one))


def test_on_modbus_tcp_a_late_reply_is_known_by_its_number() -> None:
    async def scenario(one: Line) -> None:
        late: list[bytes] = []
        one.faults.append(lambda reply: late.append(reply) or b"")
        one.faults.append(lambda reply: late[0] + reply)
        async with bus_on(one) as bus:
            assert await outcome(bus.read(1, 10, 4)) == failures.SILENT
            assert await bus.read(1, 20, 4) == words(20, 4)

    with line("tcp") as one:
        run(scenario(one))


@pytest.mark.parametrize("kind", RTU)
def test_a_line_that_is_never_quiet_is_named_and_used_again_when_it_is(kind: str) -> None:
    async def scenario(one: Line) -> None:
        one.faults.append(silent)
        async with bus_on(one) as bus:
            assert await outcome(bus.read(1, 0, 1)) == failures.SILENT
            babble = asyncio.create_task(_babble(one))
            try:
                assert await outcome(bus.read(1, 0, 1)) == failures.GARBLED
                assert len(one.requests) == 1  # nothing was sent into it
            finally:
                babble.cancel()
            assert await bus.read(1, 3, 1) == words(3, 1)

    with line(kind) as one:
        run(scenario(one))


async def _babble(one: Line) -> None:
    while True:
        one.say(b"\x55")
        await asyncio.sleep(0.01)


# What a line can make of a reply -> how it ends. None: it is read all the same.
_REPLIES = {
    "nothing": (lambda reply: b"", failures.SILENT),
    "noise in front": (lambda reply: b"\x00\xff\x00" + reply, failures.GARBLED),
    "noise behind": (lambda reply: reply + b"\x00", None),
    "noise alone": (lambda reply: b"\xfe\xed\xfa\xce", failures.GARBLED),
    "a bit turned": (lambda reply: reply[:4] + bytes([reply[4] ^ 1]) + reply[5:], failures.GARBLED),
    "cut short": (lambda reply: reply[:-3], failures.GARBLED),
    "of another unit": (lambda reply: framed(2, *reply[1:-2]), failures.GARBLED),
    "of another function": (lambda reply: framed(1, 4, *reply[2:-2]), failures.FOREIGN),
    "of another length": (lambda reply: framed(1, 3, 2, 0, 9), failures.FOREIGN),
    "an exception of another function": (lambda reply: framed(1, 0x90, 2), failures.FOREIGN),
    "an unknown function": (lambda reply: framed(1, 0x60, 1, 2, 3, 4), failures.GARBLED),
    "records that break off": (lambda reply: framed(1, 20, 3, 200, 6, 1), failures.GARBLED),
}


@pytest.mark.parametrize("case", _REPLIES)
def test_what_a_line_makes_of_a_reply(case: str) -> None:
    fault, ends = _REPLIES[case]

    async def scenario(one: Line) -> None:
        one.faults.append(fault)
        async with bus_on(one) as bus:
            if ends is None:
                assert await bus.read(1, 30, 4) == words(30, 4)
            else:
                assert await outcome(bus.read(1, 30, 4)) == ends
            assert await bus.read(1, 40, 4) == words(40, 4)

    with line("serial") as one:
        run(scenario(one))


def test_a_meter_that_is_not_there_costs_its_wait_and_the_others_are_served() -> None:
    async def scenario(one: Line) -> None:
        async with bus_on(one) as bus:
            found = await asyncio.gather(
                *(bus.read(unit, 0, 2) for unit in (1, 13, 2, 3)),
                return_exceptions=True,
            )
        assert [answer for answer in found if isinstance(answer, bytes)] == [words(0, 2, unit) for unit in UNITS]
        assert isinstance(found[1], LinkError)
        assert (found[1].outcome, "Unit 13" in str(found[1])) == (failures.SILENT, True)

    with line("serial") as one:
        run(scenario(one))


@pytest.mark.parametrize("kind", KINDS)
def test_one_transaction_at_a_time(kind: str) -> None:
    under_way: list[int] = []
    most: list[int] = []

    async def scenario(one: Line) -> None:
        async with bus_on(one) as bus:
            open_one, exchange = bus._open, bus._transact

            async def watched() -> Any:
                under_way.append(1)
                most.append(len(under_way))
                return await open_one()

            bus._open = watched  # type: ignore[method-assign]

            async def ended(*arguments: Any) -> Any:
                try:
                    return await exchange(*arguments)
                finally:
                    under_way.pop()

            bus._transact = ended  # type: ignore[method-assign]
            answers = await asyncio.gather(*(bus.read(1 + n % 3, n, 3) for n in range(30)))
            assert answers == [words(n, 3, 1 + n % 3) for n in range(30)]
        assert len(one.requests) == 30

    with line(kind) as one:
        run(scenario(one))
    assert max(most) == 1


def test_buses_work_side_by_side() -> None:
    async def scenario(slow: Line, quick: Line) -> None:
        slow.faults.append(silent)
        async with bus_on(slow, Patience(answer_s=30)) as one, bus_on(quick) as other:
            waiting = asyncio.create_task(one.read(1, 0, 1))
            for number in range(20):
                assert await other.read(1, number, 1) == words(number, 1)
            assert not waiting.done()
            waiting.cancel()
            await asyncio.wait({waiting})

    with line("socket") as slow, line("socket") as quick:
        run(scenario(slow, quick))


def test_a_turn_that_does_not_come_is_named() -> None:
    async def scenario(one: Line) -> None:
        one.faults.append(silent)
        async with bus_on(one, Patience(answer_s=0.5, quiet_s=0.1, turn_s=0.1)) as bus:
            first = asyncio.create_task(bus.read(1, 0, 1))
            await asyncio.sleep(0)
            assert await outcome(bus.read(1, 0, 1)) == failures.BUSY
            assert await outcome(first) == failures.SILENT

    with line("socket") as one:
        run(scenario(one))


@pytest.mark.parametrize("kind", RTU)
def test_a_transaction_that_is_given_up_leaves_nothing_behind(kind: str) -> None:
    async def scenario(one: Line) -> None:
        late: list[bytes] = []
        one.faults.append(lambda reply: late.append(reply) or b"")
        async with bus_on(one, Patience(answer_s=30, quiet_s=0.2)) as bus:
            given_up = asyncio.create_task(bus.read(1, 10, 4))
            while not late:  # noqa: ASYNC110 - the line runs in a thread
                await asyncio.sleep(0.01)
            given_up.cancel()
            await asyncio.wait({given_up})
            one.say(late[0])
            assert await bus.read(1, 20, 4) == words(20, 4)

    with line(kind) as one:
        run(scenario(one))


@pytest.mark.parametrize("kind", ["socket", "tcp"])
def test_a_connection_that_breaks_is_named_and_made_again(kind: str) -> None:
    async def scenario(one: Line) -> None:
        async with bus_on(one) as bus:
            assert await bus.read(1, 0, 1) == words(0, 1)
            one.faults.append(lambda reply: one.drop() or b"")  # type: ignore[func-returns-value]
            assert await outcome(bus.read(1, 0, 1)) == failures.LOST
            assert await bus.read(1, 1, 1) == words(1, 1)
            assert one.connections == 2

    with line(kind) as one:
        run(scenario(one))


@pytest.mark.parametrize("kind", ["socket", "tcp"])
def test_a_connection_on_which_nobody_answers_is_made_anew(kind: str) -> None:
    """Its other end may be gone; on a bus of which three meters are away, that costs a connection and nothing else."""

    async def scenario(one: Line) -> None:
        quick = Patience(answer_s=0.4, quiet_s=0.01)
        async with bus_on(one, quick) as bus:
            for _ in range(7):
                assert await outcome(bus.read(13, 0, 1)) == failures.SILENT
            assert await bus.read(1, 0, 1) == words(0, 1)
        assert one.connections == 3

    with line(kind) as one:
        run(scenario(one))


def test_a_reply_that_cannot_be_decoded_ends_as_one_that_did_not_come() -> None:
    async def scenario(one: Line) -> None:
        one.faults.append(lambda reply: reply[:4] + b"\x00\x05" + reply[6:7] + b"\x14\x03\xc8\x06")
        async with bus_on(one) as bus:
            assert await outcome(bus.read_file(1, 1, 1, 12)) in (failures.GARBLED, failures.FOREIGN)
            assert await bus.read(1, 1, 1) == words(1, 1)

    with line("tcp") as one:
        run(scenario(one))


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        file = tmp_path / "file"
        file.write_text("no port")
        for where, why in (
            (f"serial:{tmp_path}/nowhere", "No such file"),
            (f"serial:{file}", "ioctl"),
            (f"socket://127.0.0.1:{free_port()}", "refused"),
            (f"tcp://127.0.0.1:{free_port()}", "refused"),
        ):
            bus = Bus(address.parse(f"{where}?unit=1"), BRISK)
            with pytest.raises(LinkError) as caught:
                await bus.read(1, 0, 1)
            assert caught.value.outcome == failures.UNREACHABLE
            assert why in str(caught.value)
            assert where in str(caught.value)
            await bus.close()

    run(scenario())


def test_a_serial_port_has_one_master() -> None:
    async def scenario(one: Line) -> None:
        async with bus_on(one) as first, bus_on(one) as second:
            assert await first.read(1, 0, 1) == words(0, 1)
            with pytest.raises(LinkError, match="another program uses it"):
                await second.read(1, 0, 1)
            await first.close()
            await asyncio.sleep(BRISK.reopen_s)
            assert await second.read(1, 0, 1) == words(0, 1)

    with line("serial") as one:
        run(scenario(one))


def test_a_line_that_does_not_open_is_not_tried_for_every_meter_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        bus = Bus(address.parse(f"tcp://127.0.0.1:{port}?unit=1"), Patience(reopen_s=60))
        assert await outcome(bus.read(1, 0, 1)) == failures.UNREACHABLE
        with socket.create_server(("127.0.0.1", port)) as listener:
            listener.settimeout(0.2)
            for unit in range(2, 6):
                assert await outcome(bus.read(unit, 0, 1)) == failures.UNREACHABLE
            with pytest.raises(TimeoutError):
                listener.accept()

    run(scenario())


def test_the_port_is_given_back(tmp_path: Path) -> None:
    async def scenario(one: Line) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            async with bus_on(one) as bus:
                assert await bus.read(1, 0, 1) == words(0, 1)
        await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/fd")) <= before

    with line("serial") as one:
        run(scenario(one))
