"""`openprepay field line` on the firmware's own registers, over a service port and over the bus itself."""

from collections.abc import Iterator

import pytest

from fieldtool.cli import main
from meter.line import FACTORY, TRIAL_S
from meter.registers import MeterRegisters
from meterlink.modbus import RtuServer, ServerPdu, crc16
from tests.host.line_rig import Line, line
from tests.host.meter_rig import MeterSpace, meter


class Port(MeterRegisters):
    def __init__(self, space: MeterSpace, carrier: int) -> None:
        super().__init__(space.one.meter, carrier)
        self.one = space.one


@pytest.fixture
def service() -> Iterator[tuple[Line, MeterSpace]]:
    """Unit 1 is the service port of a meter, unit 2 its bus."""
    space = MeterSpace(meter())
    with line("tcp", {1: Port(space, space.one.meter.CARRIER_LOCAL), 2: space}) as made:
        yield made, space


def field(made: Line, *arguments: str, unit: int = 1, lang: str = "en") -> int:
    return main(["line", "--port", made.port, "--unit", str(unit), "--lang", lang, *arguments])


def test_the_bus_is_shown_and_set(service: tuple[Line, MeterSpace], capsys: pytest.CaptureFixture[str]) -> None:
    made, space = service
    bus = space.one.meter.line
    assert field(made, unit=2) == 0
    shown = capsys.readouterr().out
    assert "address 1, 9600 bit/s, even parity, stop bits: 1" in shown
    assert "On trial" not in shown
    assert field(made, "--set-address", "12", "--set-baud", "19200") == 0
    assert bus.settings == (12, 19200, 1, 1)
    shown = capsys.readouterr().out
    assert "address 12, 19200 bit/s" in shown
    assert f"within {TRIAL_S} s, it goes back to address 1, 9600 bit/s" in shown
    assert field(made, "--set-parity", "none", "--set-stop-bits", "2", lang="zh") == 0
    assert "地址 12，19200 bit/s，无校验，停止位 2" in capsys.readouterr().out
    assert bus.settings == (12, 19200, 0, 2)
    server = RtuServer(ServerPdu(space), 12)
    bus.opened(server)
    request = bytes((12, 3, 0, 0, 0, 1))
    for byte in request + crc16(request).to_bytes(2, "little"):
        server.feed(byte)
    assert server.end()
    space.one.run(1)
    assert field(made) == 0
    assert "On trial" not in capsys.readouterr().out


def test_the_bus_is_not_set_from_the_bus(service: tuple[Line, MeterSpace], capsys: pytest.CaptureFixture[str]) -> None:
    made, space = service
    assert field(made, "--set-baud", "1200", unit=2) == 1
    assert "service port" in capsys.readouterr().out
    for wrong in (("--set-address", "0"), ("--set-address", "248"), ("--set-baud", "9601"), ("--set-parity", "mark")):
        assert field(made, *wrong) == 2
    assert space.one.meter.line.settings == FACTORY
