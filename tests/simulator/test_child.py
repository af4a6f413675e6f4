"""A meter in a process of its own: the compiled firmware on real MicroPython, and the same sources on CPython."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient

from meterlink import batches, orders, registers, reports, results
from metersim.board import MWS_PER_KWH, VirtualBoard
from metersim.child import ChildError, ChildMeter
from metersim.load import Constant
from metersim.workbench import Workbench
from tests.brokers import free_port

METER = 600_000_000_777
GIVE_UP_S = 120  # real time: a limit for a broken run, not a measurement


def until(holds: Callable[[], bool], meter: ChildMeter) -> None:
    """Wait until something holds; the meter must stay alive."""
    limit = time.monotonic() + GIVE_UP_S
    while not holds():
        meter.check()
        assert time.monotonic() < limit, meter.console()
        time.sleep(0.05)


def ask(client: ModbusTcpClient, bench: Workbench, aspect: int, selector: int) -> reports.Report:
    """An authenticated report over Modbus TCP, by hand: mailbox and block as the protocol page says."""
    from meterlink.modbus import crc16

    question = batches.pack_ask(batches.KIND_REPORT, b"\x01nonce\x02\x03", aspect, selector)
    padded = question + bytes(len(question) % 2)
    words = [len(question), crc16(question)]
    words += [padded[at] << 8 | padded[at + 1] for at in range(0, len(padded), 2)]
    assert not client.write_registers(registers.ASK_MAILBOX, words, device_id=1).isError()
    block = next(block for block in registers.BLOCKS if block[0] == registers.REPORT)
    answer = client.read_holding_registers(block[1], count=registers.block_length(block[3]), device_id=1)
    raw = b"".join(word.to_bytes(2, "big") for word in answer.registers)
    return reports.Report(raw[12 : 12 + reports.LENGTH], bench.mac_key)


@pytest.mark.parametrize("micropython", [True, False])
def test_metering_credit_and_power_cuts(tmp_path: Path, micropython: bool) -> None:
    bench = Workbench(METER)
    board = VirtualBoard(Constant(3000), start_s=1_800_000_000)
    port = free_port()
    meter = ChildMeter(
        board,
        folder=tmp_path,
        record=bench.record(),
        speed=2000,
        tcp=f"127.0.0.1:{port}",
        micropython=micropython,
        orders=[bench.credit(50_000_000)],
    )
    with meter:
        assert not (tmp_path / "provision.bin").exists()
        until(lambda: board.mono_s > 600, meter)
        client = ModbusTcpClient("127.0.0.1", port=port, retries=0)
        until(client.connect, meter)
        before = ask(client, bench, orders.ASPECT_CREDIT, 1)
        assert before.balances()
        assert before.source_credited_uc == 50_000_000
        assert before.result == results.APPLIED
        true_wh = board.energy_mws * 1000 // MWS_PER_KWH
        assert 0 < before.import_wh <= true_wh
        client.close()
        for _ in range(3):
            meter.power_cycle(outage_s=300)
        until(lambda: board.mono_s > 60, meter)
        until(client.connect, meter)
        after = ask(client, bench, orders.ASPECT_CREDIT, 1)
        client.close()
    assert after.balances()
    assert after.source_credited_uc == after.credited_uc == 50_000_000
    assert after.charged_uc >= before.charged_uc
    assert after.import_wh >= before.import_wh
    assert after.boot > before.boot
    assert after.log_id == before.log_id


def test_clients_on_tcp_do_not_stand_in_each_others_way(tmp_path: Path) -> None:
    """Each has its own latches, answers and verdicts."""
    bench = Workbench(METER)
    board = VirtualBoard(Constant(0), start_s=1_800_000_000)
    port = free_port()
    with ChildMeter(board, folder=tmp_path, record=bench.record(), speed=100, tcp=f"127.0.0.1:{port}") as meter:
        with ModbusTcpClient("127.0.0.1", port=port) as one, ModbusTcpClient("127.0.0.1", port=port) as two:
            until(lambda: bool(one.connect() and two.connect()), meter)
            asked = ask(one, bench, orders.ASPECT_CREDIT, 1)
            assert ask(two, bench, orders.ASPECT_SUPPLY, 7).selector == 7
            block = next(block for block in registers.BLOCKS if block[0] == registers.REPORT)
            again = one.read_holding_registers(block[1] + 1, count=registers.block_length(block[3]) - 1, device_id=1)
            raw = b"".join(word.to_bytes(2, "big") for word in again.registers)
            assert reports.Report(raw[10 : 10 + reports.LENGTH], bench.mac_key).counter == asked.counter


def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    """MicroPython takes no argument of over 255 bytes."""
    folder = tmp_path / ("d" * 120) / ("e" * 120)
    with ChildMeter(VirtualBoard(), folder=folder, record=Workbench(METER).record()) as meter:
        meter.check()


def test_a_heap_too_small_is_told(tmp_path: Path) -> None:
    meter = ChildMeter(VirtualBoard(), folder=tmp_path, record=Workbench(METER).record(), heap="64K")
    with pytest.raises(ChildError, match="MemoryError"):
        meter.start()


def test_a_broken_record_is_told(tmp_path: Path) -> None:
    meter = ChildMeter(VirtualBoard(), folder=tmp_path, record=b"nonsense")
    with pytest.raises(ChildError, match="record: 8 bytes given"):
        meter.start()
    assert not (tmp_path / "provision.bin").exists()
