"""The bus of a meter on real MicroPython, set over its service port with the field tool while a master polls it."""

from pathlib import Path

import pytest
from pymodbus import FramerType
from pymodbus.client import ModbusSerialClient
from pymodbus.exceptions import ModbusIOException

from fieldtool.cli import main
from meterlink import registers
from metersim.board import VirtualBoard
from metersim.child import ChildMeter
from metersim.load import Constant
from metersim.pty_line import PtyLine
from metersim.workbench import Workbench

LINE_BLOCK = next(block for block in registers.BLOCKS if block[0] == registers.LINE)
UNDONE = [field[0] for field in LINE_BLOCK[3]].index("undone_s")
UNDONE_AT = LINE_BLOCK[1] + registers.block_length(LINE_BLOCK[3][:UNDONE])


def field(link: Path, *words: str, unit: int = 1) -> int:
    return main(["line", "--port", str(link), "--unit", str(unit), "--parity", "N", *words])


def word(master: ModbusSerialClient, unit: int, address: int) -> int | None:
    """A register over the bus, or None where nobody answers."""
    try:
        return int(master.read_holding_registers(address, count=1, device_id=unit).registers[0])
    except ModbusIOException:
        return None


def within(master: ModbusSerialClient, unit: int, address: int, wanted: int) -> bool:
    """Whether a register holds a value within as many readings as a slow machine needs."""
    return any(word(master, unit, address) == wanted for _ in range(40))


@pytest.mark.parametrize("micropython", [True, False])
def test_a_meter_moves_on_its_bus_and_comes_back_where_nobody_finds_it(
    tmp_path: Path, micropython: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    bus, service = PtyLine(tmp_path / "bus"), PtyLine(tmp_path / "service")
    meter = ChildMeter(
        VirtualBoard(Constant(500), start_s=1_800_000_000),
        folder=tmp_path / "meter",
        record=Workbench(600_000_000_778).record(),
        speed=120,
        serial=bus.meter_path,
        service=service.meter_path,
        micropython=micropython,
    )
    with (
        meter,
        ModbusSerialClient(str(bus.link), framer=FramerType.RTU, baudrate=9600, timeout=0.5, retries=0) as master,
    ):
        assert within(master, 1, 2, registers.IDENT)
        assert field(service.link, "--set-address", "12", "--set-baud", "19200") == 0
        assert "On trial" in capsys.readouterr().out
        assert within(master, 12, 2, registers.IDENT)
        assert word(master, 1, 2) is None
        assert within(master, 12, LINE_BLOCK[1], registers.LINE)  # latches the block
        assert any(
            word(master, 12, LINE_BLOCK[1]) == registers.LINE and word(master, 12, UNDONE_AT) == 0 for _ in range(40)
        )
        assert field(service.link, "--set-address", "13") == 0
        while word(master, 12, 2) is not None:  # nobody asks unit 13
            meter.check()
        assert within(master, 12, 2, registers.IDENT), "ten minutes of the meter later it is back"
    bus.close()
    service.close()
