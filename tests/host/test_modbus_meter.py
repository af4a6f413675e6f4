"""One meter on a bus, and the carrier over it: the firmware's own registers, with faults on the way and in between."""

import asyncio
import contextlib
import itertools
import os
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

from headend.clock import ManualClock
from headend.fleet import address
from headend.links import blocks, failures
from headend.links import modbus as carrier_module
from headend.links.bus import Bus, Patience
from headend.links.failures import LinkError
from headend.links.meter import MeterOnBus
from headend.links.modbus import ModbusCarrier
from headend.links.port import Up
from headend.orders.actions import Ack, Ask, Deliver
from meterlink import batches, modbus, orders, records, registers, reports, results, stating, topics
from meterlink.batches import Batch
from meterlink.reports import Report
from metersim.workbench import Workbench
from tests.host.line_rig import Line, line, silent
from tests.host.meter_rig import INTERVALS, NUMBER, START_S, MeterSpace, meter
from tests.host.upward import singly

PATIENT = Patience(answer_s=5.0, quiet_s=0.1, poll_s=0.01, verdict_s=5.0)
BENCH = Workbench(NUMBER)
HASTY = Patience(answer_s=1.0, quiet_s=0.1, poll_s=0.01, verdict_s=0.05)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 120))


@contextlib.asynccontextmanager
async def on_bus(one: Line, patience: Patience = PATIENT) -> AsyncIterator[MeterOnBus]:
    bus = Bus(address.parse(f"{one.port}?unit=1"), patience)
    try:
        yield MeterOnBus(bus, 1)
    finally:
        await bus.close()


@pytest.fixture
def space() -> MeterSpace:
    return MeterSpace(meter())


@pytest.fixture
def site(space: MeterSpace) -> Iterator[Line]:
    with line("tcp", {1: space}) as one:
        yield one


def nonce() -> bytes:
    return os.urandom(7) + b"\1"


# --- blocks -----------------------------------------------------------------------------------------------------------


def test_every_block_is_read_as_the_meter_means_it(site: Line, space: MeterSpace) -> None:
    async def scenario() -> None:
        async with on_bus(site) as one:
            await one.ask(batches.pack_ask(batches.KIND_ORDER, nonce(), orders.ASPECT_CREDIT, 1))
            found = {name: await one.block(block_id) for block_id, _, name, _ in registers.BLOCKS}
        core = space.one.meter
        ident, hot = found["ident"].values, found["hot"].values
        assert (ident["meter"], ident["firmware"], ident["currency"]) == (NUMBER, "0.1.0", 156)
        assert (ident["log_id"], ident["boot"]) == (core.log_id, core.boot)
        assert (hot["balance_uc"], hot["import_wh"]) == (core.committed()[10], core.committed()[1])
        assert (hot["interval_oldest"], hot["interval_newest"]) == (1, INTERVALS)
        assert hot["fresh"] == core.clock.nonce
        assert found["sources"].values["credited_0_uc"] == 90_000_000
        held = found["order"].octets("order")[: found["order"].number("order_length")]
        assert orders.Order(held).stated.selector == 1
        for block_id, _, name, _ in registers.BLOCKS:
            assert list(found[name].values) == [field[0] for field in blocks.fields(block_id)]

    run(scenario())


def block_bytes(block_id: int, /, **given: int) -> bytes:
    """A block full of zeros but for its header and what is given."""
    values: list[int | bytes] = []
    length = blocks.place(block_id)[1]
    head = {"self_test": registers.SELF_TEST, "block_id": block_id, "block_length": length}
    for name, kind, _, _ in blocks.fields(block_id):
        value = {**head, **given}.get(name, 0)
        if kind == "u48":
            values += [value >> 32, value & 0xFFFFFFFF]
        else:
            values.append(bytes(int(kind[1:])) if kind[0] in "bs" else value)
    return struct.pack(registers.block_struct(next(b[3] for b in registers.BLOCKS if b[0] == block_id)), *values)


def test_what_is_not_measured_has_no_value() -> None:
    shown = blocks.decode(registers.HOT, block_bytes(registers.HOT, voltage_dv=0xFFFF, power_w=0xFFFFFFFF)).values
    assert (shown["voltage_dv"], shown["power_w"]) == (None, None)
    shown = blocks.decode(registers.HOT, block_bytes(registers.HOT, voltage_dv=2301, power_w=0)).values
    assert (shown["voltage_dv"], shown["power_w"]) == (2301, 0)
    assert shown["balance_uc"] == 0
    assert blocks.decode(registers.HOT, block_bytes(registers.HOT, balance_uc=-5)).values["balance_uc"] == -5


@pytest.mark.parametrize(
    ("block_id", "given", "says"),
    [
        (registers.IDENT, {"self_test": 0x03040102}, "swapped"),
        (registers.HOT, {"block_id": 3}, "another map"),
        (registers.HOT, {"block_length": 20}, "older map"),
    ],
)
def test_a_block_that_is_not_what_it_should_be_is_not_believed(block_id: int, given: dict[str, int], says: str) -> None:
    with pytest.raises(LinkError, match=says) as caught:
        blocks.decode(block_id, block_bytes(block_id, **given))
    assert caught.value.outcome == failures.STRANGE


def test_a_longer_block_of_a_later_version_is_read() -> None:
    assert blocks.decode(registers.HOT, block_bytes(registers.HOT, block_length=200)).name == "hot"


@pytest.mark.parametrize("times", [1, 1000])
def test_a_block_that_changes_between_two_readings_is_read_again(site: Line, space: MeterSpace, times: int) -> None:
    base = blocks.place(registers.ORDER)[0]
    left = [times]

    def another_master(at: int) -> None:
        if at > base and left[0]:  # between the first reading and the next: somebody latches the block anew
            left[0] -= 1
            space._latch_id(registers.ORDER)

    async def scenario() -> None:
        async with on_bus(site) as one:
            space.on_read = another_master
            if times == 1:
                assert (await one.block(registers.ORDER)).name == "order"
            else:
                with pytest.raises(LinkError) as caught:
                    await one.block(registers.ORDER)
                assert caught.value.outcome == failures.TORN

    run(scenario())


# --- orders -----------------------------------------------------------------------------------------------------------


def test_an_order_gets_its_verdict_and_the_same_one_again_another(site: Line) -> None:
    async def scenario() -> None:
        async with on_bus(site) as one:
            first = await one.order(BENCH.credit(100_000_000))
            assert (first.code, first.trouble) == (results.APPLIED, "")
            assert first.judged_s > START_S
            assert (await one.order(BENCH.credit(100_000_000))).code == results.ALREADY
            forged = bytearray(BENCH.credit(200_000_000))
            forged[-1] ^= 1
            assert (await one.order(bytes(forged))).code == results.BAD_TAG
            assert (await one.order(bytes(120))).code == results.BAD_FORMAT
            assert (await one.order(Workbench(8).credit(1_000_000))).code == results.WRONG_METER

    run(scenario())


def test_a_verdict_is_waited_for_and_the_wait_ends(site: Line, space: MeterSpace) -> None:
    async def scenario() -> None:
        async with on_bus(site) as one:
            space.looks = 5
            assert (await one.order(BENCH.credit(100_000_000))).code == results.APPLIED
        async with on_bus(site, HASTY) as one:
            space.looks = 1000
            verdict = await one.order(BENCH.credit(110_000_000))
            assert verdict.code == results.PENDING
            assert "not judged" in verdict.trouble

    run(scenario())


def test_the_verdict_on_another_order_is_not_taken_for_ours(site: Line, space: MeterSpace) -> None:
    other = BENCH.credit(120_000_000)

    def another_carrier(at: int) -> None:
        if at == blocks.place(registers.RESULT)[0]:
            space.one.settle()
            space.one.meter.submit(space._carrier, other)
            space.one.settle()

    async def scenario() -> None:
        async with on_bus(site) as one:
            space.on_read = another_carrier
            verdict = await one.order(BENCH.credit(100_000_000))
            assert verdict.code == results.PENDING
            assert "another order" in verdict.trouble

    run(scenario())


def test_a_mailbox_that_is_busy_has_not_taken_the_order(site: Line, space: MeterSpace) -> None:
    async def scenario() -> None:
        async with on_bus(site, HASTY) as one:
            space.looks = 1000
            assert (await one.order(BENCH.credit(110_000_000))).code == results.PENDING
            with pytest.raises(LinkError) as caught:
                await one.order(BENCH.credit(105_000_000))
            assert (caught.value.outcome, caught.value.exception) == (failures.REFUSED, modbus.DEVICE_BUSY)

    run(scenario())


# --- questions --------------------------------------------------------------------------------------------------------


def test_questions_are_answered_with_the_bytes_that_a_broker_would_carry(site: Line) -> None:
    async def scenario() -> None:
        async with on_bus(site) as one:
            asked = nonce()
            ask = batches.pack_ask(batches.KIND_REPORT, asked, orders.ASPECT_CREDIT, 1)
            what, raw = await one.ask(ask)
            report = Report(raw, BENCH.mac_key)
            assert (what, report.kind, report.nonce) == (topics.UP_REPORT, reports.KIND_REPORT, asked)
            assert report.source_credited_uc == 90_000_000
            for kind, up in ((batches.KIND_INTERVALS, topics.UP_INTERVALS), (batches.KIND_EVENTS, topics.UP_EVENTS)):
                asked = nonce()
                what, raw = await one.ask(batches.pack_ask(kind, asked, first=2, count=40))
                batch = Batch(raw, BENCH.mac_key)
                assert (what, batch.kind, batch.nonce, batch.first) == (up, kind, asked, 2)
                if kind == batches.KIND_INTERVALS:
                    assert batch.count == 40
                assert batch.count > 0
            what, raw = await one.ask(batches.pack_ask(batches.KIND_INTERVALS, nonce(), first=5000, count=40))
            assert Batch(raw, BENCH.mac_key).count == 0
            what, raw = await one.ask(batches.pack_ask(batches.KIND_ORDER, nonce(), orders.ASPECT_TARIFF, 0))
            assert (what, raw) == (topics.UP_ORDER, b"")
            what, raw = await one.ask(batches.pack_ask(batches.KIND_ORDER, nonce(), orders.ASPECT_CREDIT, 1))
            assert orders.Order(raw).tag_is_genuine(BENCH.mac_key)

    run(scenario())


def test_questions_side_by_side_get_their_own_answers(site: Line) -> None:
    async def scenario() -> None:
        async with on_bus(site) as one:
            kinds = (batches.KIND_REPORT, batches.KIND_INTERVALS, batches.KIND_EVENTS)
            asked = [(kind, nonce()) for kind in kinds * 4]
            found = await asyncio.gather(
                *(one.ask(batches.pack_ask(kind, own, 1, 1, first=1, count=9)) for kind, own in asked)
            )
            for (kind, own), (_, raw) in zip(asked, found, strict=True):
                if kind == batches.KIND_REPORT:
                    assert Report(raw, BENCH.mac_key).nonce == own
                else:
                    assert Batch(raw, BENCH.mac_key).nonce == own

    run(scenario())


def test_the_answer_to_an_earlier_question_is_not_taken(site: Line, space: MeterSpace) -> None:
    async def scenario() -> None:
        async with on_bus(site) as one:
            for kind in (batches.KIND_REPORT, batches.KIND_INTERVALS):
                await one.ask(batches.pack_ask(kind, nonce(), first=1, count=1))
            await one.ask(batches.pack_ask(batches.KIND_ORDER, nonce(), orders.ASPECT_CREDIT, 1))
            space.deaf = True
            for kind, aspect in (
                (batches.KIND_REPORT, 0),
                (batches.KIND_INTERVALS, 0),
                (batches.KIND_ORDER, orders.ASPECT_SUPPLY),
            ):
                with pytest.raises(LinkError) as caught:
                    await one.ask(batches.pack_ask(kind, nonce(), aspect, 1, first=1, count=1))
                assert caught.value.outcome == failures.STALE

    run(scenario())


def test_a_question_that_the_meter_does_not_take_is_refused_by_it(site: Line) -> None:
    async def scenario() -> None:
        async with on_bus(site) as one:
            with pytest.raises(batches.BatchError):
                await one.ask(b"not a question")
            with pytest.raises(LinkError) as caught:
                await one.acknowledge(b"no acknowledgement.")
            assert (caught.value.outcome, caught.value.exception) == (failures.REFUSED, modbus.ILLEGAL_VALUE)
            with pytest.raises(LinkError) as caught:
                await one.identify(601)
            assert caught.value.exception == modbus.ILLEGAL_VALUE
            await one.identify(5)

    run(scenario())


# --- records ----------------------------------------------------------------------------------------------------------


def test_all_records_come_whatever_their_number(site: Line) -> None:
    async def scenario() -> None:
        async with on_bus(site) as one:
            found = await one.records(batches.KIND_INTERVALS, 1, INTERVALS)
            assert [records.check(raw) for raw in found] == list(range(1, INTERVALS + 1))

    run(scenario())


class Ring(modbus.RegisterSpace):
    """Interval records of any number, as files."""

    def read_file(self, file: int, record: int, registers: int, out: memoryview, offset: int) -> int:
        first = (file - 1) * 10_000 + record
        if record + registers // 12 > 10_000:
            return modbus.ILLEGAL_ADDRESS
        for seq in range(first, first + registers // 12):
            raw = records.pack_interval(seq, 0, 0, 0, 0, 0, 15, 0)
            out[offset : offset + len(raw)] = raw
            offset += len(raw)
        return 0


@pytest.mark.parametrize("first", [9_985, 9_999, 10_000, 19_990, 123_456])
def test_records_on_both_sides_of_the_end_of_a_file(first: int) -> None:
    async def scenario(one: Line) -> None:
        async with on_bus(one) as here:
            found = await here.records(batches.KIND_INTERVALS, first, 33)
            assert [records.check(raw) for raw in found] == list(range(first, first + 33))

    with line("tcp", {1: Ring()}) as one:
        run(scenario(one))


@pytest.mark.parametrize("times", [1, 1000])
@pytest.mark.parametrize("what", ["crc", "number"])
def test_a_damaged_record_is_read_again_and_never_handed_out(
    site: Line, space: MeterSpace, times: int, what: str
) -> None:
    left = [times]

    def spoil(file: int, record: int, out: memoryview, offset: int) -> None:
        if left[0]:
            left[0] -= 1
            if what == "crc":
                out[offset + 13] ^= 1
            else:
                other = records.pack_interval(record + 1, 0, 0, 0, 0, 0, 15, 0)
                out[offset : offset + len(other)] = other

    async def scenario() -> None:
        async with on_bus(site) as one:
            space.spoil = spoil
            ask = batches.pack_ask(batches.KIND_INTERVALS, nonce(), first=1, count=5)
            if times == 1:
                assert Batch((await one.ask(ask))[1], BENCH.mac_key).count == 5
            else:
                with pytest.raises(LinkError) as caught:
                    await one.ask(ask)
                assert caught.value.outcome == failures.DAMAGED

    run(scenario())


# --- the carrier ------------------------------------------------------------------------------------------------------


class Office:
    """Takes what comes up; `error`: raised instead."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, str, bytes]] = []
        self.error: Exception | None = None

    def up(self, number: int, what: str, raw: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.taken.append((number, what, raw))


@contextlib.asynccontextmanager
async def carrying(
    up: Up, address_of: Callable[[int], str | None], patience: Patience = PATIENT, now_s: int = START_S
) -> AsyncIterator[ModbusCarrier]:
    carrier = ModbusCarrier(address_of, patience, ManualClock(now_s))
    await carrier.start(up)
    try:
        yield carrier
    finally:
        await carrier.stop()


def test_the_carrier_delivers_asks_and_acknowledges(site: Line, space: MeterSpace) -> None:
    async def scenario() -> None:
        office = Office()
        async with carrying(singly(office.up), {NUMBER: f"{site.port}?unit=1"}.get) as carrier:
            assert carrier.reaches(NUMBER)
            assert not carrier.reaches(8)
            sent = await carrier.send(Deliver(NUMBER, 1, BENCH.credit(100_000_000)))
            assert sent
            assert sent.note == "The mailbox took it; the meter says: applied."
            again = await carrier.send(Deliver(NUMBER, 1, BENCH.credit(100_000_000)))
            assert (again.ok, "already" in again.note) == (True, True)
            assert await carrier.send(Ask(NUMBER, batches.pack_ask(batches.KIND_REPORT, nonce(), 1, 1)))
            assert await carrier.send(Ask(NUMBER, batches.pack_ask(batches.KIND_INTERVALS, nonce(), first=1, count=40)))
            assert [(number, what) for number, what, _ in office.taken] == [
                (NUMBER, topics.UP_REPORT),
                (NUMBER, topics.UP_INTERVALS),
            ]
            assert Report(office.taken[0][2], BENCH.mac_key).source_credited_uc == 100_000_000
            assert Batch(office.taken[1][2], BENCH.mac_key).count == 40
            log_id = space.one.meter.log_id
            ack = batches.pack_ack(batches.KIND_INTERVALS, NUMBER, log_id, 40, BENCH.mac_key)
            assert await carrier.send(Ack(NUMBER, ack))
            assert space.one.meter.cursors[0] == 40

    run(scenario())


def test_a_body_that_travels_apart_comes_before_its_order(site: Line, space: MeterSpace) -> None:
    """And the receipt of the verdict can be asked for, so that a refusal is proved on a bus too."""
    keys = [(role, 1, BENCH.public_key(role)) for role in (orders.ROLE_ROOT, orders.ROLE_CREDIT, orders.ROLE_CONTROL)]
    body = stating.signing_keys([*keys, (orders.ROLE_CREDIT, 2, BENCH.public_key(orders.ROLE_CONTROL))])
    bench = Workbench(NUMBER)

    def order() -> bytes:
        named, flags = stating.apart(body), orders.FLAG_BODY_APART
        return bench.order(orders.ASPECT_KEYS, named, orders.KEYS_SIGNING, flags=flags)

    async def scenario() -> None:
        office = Office()
        async with carrying(singly(office.up), {NUMBER: f"{site.port}?unit=1"}.get) as carrier:
            without = order()
            sent = await carrier.send(Deliver(NUMBER, 1, without))
            assert sent.note == "The mailbox took it; the meter says: body_missing."
            ask = batches.pack_ask(batches.KIND_RECEIPT, nonce(), orders.ASPECT_KEYS, orders.KEYS_SIGNING)
            assert await carrier.send(Ask(NUMBER, ask))
            sent = await carrier.send(Deliver(NUMBER, 1, order(), parcels=stating.pieces(body)))
            assert sent.note == "The mailbox took it; the meter says: applied."
            assert space.one.meter.public_key(orders.ROLE_CREDIT, 2) is not None
            assert await carrier.send(Ask(NUMBER, batches.pack_ask(batches.KIND_HELD, nonce())))
        (_, what, raw), (_, held, batch) = office.taken
        receipt = Report(raw, BENCH.mac_key)
        assert (what, receipt.kind, receipt.result) == (topics.UP_RECEIPT, reports.KIND_RECEIPT, results.BODY_MISSING)
        assert receipt.digest == orders.Order(without).digest[:8]
        assert held == topics.UP_HELD
        found = list(struct.iter_unpack(batches.HELD_FORMAT, Batch(batch, BENCH.mac_key).records))
        assert (orders.ASPECT_KEYS, orders.KEYS_SIGNING) in [(one[0], one[2]) for one in found]

    run(scenario())


def test_what_the_store_does_not_take_was_not_answered(site: Line) -> None:
    async def scenario() -> None:
        office = Office()
        office.error = RuntimeError("the disk is full")
        async with carrying(singly(office.up), {NUMBER: f"{site.port}?unit=1"}.get) as carrier:
            ask = Ask(NUMBER, batches.pack_ask(batches.KIND_REPORT, nonce()))
            sent = await carrier.send(ask)
            assert (sent.ok, "the disk is full" in sent.note) == (False, True)
            office.error = None
            assert await carrier.send(ask)
            assert len(office.taken) == 1

    run(scenario())


def test_another_meter_at_the_address_is_found_out(site: Line) -> None:
    async def scenario() -> None:
        office = Office()
        async with carrying(singly(office.up), lambda number: f"{site.port}?unit=1") as carrier:
            for kind in (batches.KIND_REPORT, batches.KIND_INTERVALS):
                sent = await carrier.send(Ask(9, batches.pack_ask(kind, nonce(), first=1, count=1)))
                assert not sent.ok
                assert "Meter 000000000007 answers as unit 1, 000000000009 was expected" in sent.note
            assert office.taken == []

    run(scenario())


def test_what_cannot_be_carried_is_refused_by_name(site: Line) -> None:
    addresses = {NUMBER: f"{site.port}?unit=1", 8: f"{site.port}?unit=300", 9: f"{site.port}?unit=13"}

    def address_of(number: int) -> str | None:
        if number == 11:
            raise RuntimeError("the database is closed")
        return addresses.get(number)

    async def scenario() -> None:
        office = Office()
        async with carrying(singly(office.up), address_of, HASTY) as carrier:
            ask = batches.pack_ask(batches.KIND_REPORT, nonce())
            for action, says in (
                (Deliver(NUMBER, 1, BENCH.credit(100_000_000), START_S - 1), "last second"),
                (Ask(8, ask), "address unit"),
                (Ask(9, ask), "does not answer"),
                (Ask(10, ask), "has no Modbus address"),
                (Ask(11, ask), "the database is closed"),
                (Ask(NUMBER, b"nonsense"), "question"),
                (Ack(NUMBER, b"nonsense"), "illegal value"),
            ):
                sent = await carrier.send(action)
                assert not sent.ok
                assert says in sent.note
            assert await carrier.send(Deliver(NUMBER, 1, BENCH.credit(100_000_000), START_S))
            assert office.taken == []
        stopped = await carrier.send(Ask(NUMBER, ask))
        assert (stopped.ok, "does not run" in stopped.note) == (False, True)

    run(scenario())


def test_too_much_waiting_for_one_bus_is_refused_and_the_other_goes_on(
    site: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier_module, "WAITING", 3)

    async def scenario(slow: Line) -> None:
        office = Office()
        slow.faults.extend([silent] * 10)
        addresses = {NUMBER: f"{site.port}?unit=1", 9: f"{slow.port}?unit=1"}
        async with carrying(singly(office.up), addresses.get, Patience(answer_s=0.6, quiet_s=0.01)) as carrier:
            ask = batches.pack_ask(batches.KIND_REPORT, nonce())
            crowd = [asyncio.create_task(carrier.send(Ask(9, ask))) for _ in range(5)]
            assert await carrier.send(Ask(NUMBER, ask))
            notes = [sent.note for sent in await asyncio.gather(*crowd)]
            assert sum("wait for" in note for note in notes) == 2
            assert sum("does not answer" in note for note in notes) == 3

    with line("tcp") as slow:
        run(scenario(slow))


def test_stopping_gives_up_what_is_under_way(site: Line) -> None:
    async def scenario() -> None:
        office = Office()
        site.faults.append(silent)
        carrier = ModbusCarrier({NUMBER: f"{site.port}?unit=1"}.get, Patience(answer_s=60))
        await carrier.start(singly(office.up))
        waiting = asyncio.create_task(carrier.send(Ask(NUMBER, batches.pack_ask(batches.KIND_REPORT, nonce()))))
        while not site.requests:  # noqa: ASYNC110 - the line runs in a thread
            await asyncio.sleep(0.01)
        await carrier.stop()
        sent = await waiting
        assert (sent.ok, sent.note) == (False, "The Modbus link was stopped.")
        assert office.taken == []

    run(scenario())


def test_a_line_that_loses_replies_loses_no_record() -> None:
    """Every seventh reply is lost; who asks again until he has all has each once more at most, and all right."""
    spaces = {1: MeterSpace(meter())}

    async def scenario(one: Line) -> None:
        counter = itertools.count(1)

        def every_seventh(reply: bytes) -> bytes:
            one.faults.append(every_seventh)
            return b"" if next(counter) % 7 == 0 else reply

        one.faults.append(every_seventh)
        office = Office()
        hasty = Patience(answer_s=0.05, quiet_s=0.02, poll_s=0.01)
        fast = f"{one.port}?unit=1&baud=115200"
        async with carrying(singly(office.up), {NUMBER: fast}.get, hasty) as carrier:
            for first in range(1, INTERVALS, 20):
                while not await carrier.send(
                    Ask(NUMBER, batches.pack_ask(batches.KIND_INTERVALS, nonce(), first=first, count=20))
                ):
                    pass
        found = b"".join(Batch(raw, BENCH.mac_key).records for _, _, raw in office.taken)
        numbers = [records.check(found[at : at + 24]) for at in range(0, len(found), 24)]
        assert numbers == list(range(1, INTERVALS + 1))

    with line("serial", dict(spaces)) as one:
        run(scenario(one))
