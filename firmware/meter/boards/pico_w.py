"""The Raspberry Pi Pico W: BL0942 or pulses, PCF8563, FRAM, two-coil relay, RS-485, SSD1306 and keypad.

Bench class, always: an RP2040 has no secure boot and its flash can be read. It refuses production keys and shows BENCH.
"""

import time

import machine
import rp2

from meter.boards import pico_w_wiring as wiring
from meter.boards.chips import ChipBoard, Parts
from meter.drivers.bl0942 import Bl0942, Scale
from meter.drivers.entropy import Entropy
from meter.drivers.flash_rp2 import PagedFlash
from meter.drivers.fram import Witness
from meter.drivers.keypad import Keypad
from meter.drivers.lm75 import Lm75
from meter.drivers.pcf8563 import Pcf8563
from meter.drivers.pulse_meter import PulseMeter
from meter.drivers.pulse_out_rp2 import PulseOut
from meter.drivers.pulse_rp2 import PulseInput
from meter.drivers.relay_rp2 import TwoCoils
from meter.drivers.rs485 import Rs485
from meter.ports import INPUT_COVER, INPUT_SEAL_OPEN, INPUT_SUPPLY_BAD
from meterlink.flashmap import SECTOR_BYTES, TOTAL_SECTORS

_PARITY = (None, 0, 1)  # none, even, odd, as `machine.UART` takes them

# State machines: relay and pulses in one PIO block, the test output in the other; a block holds 32 instructions.
_MACHINE_RELAY = 0
_MACHINE_PULSES = 1
_MACHINE_OUT = 4


class PicoWBoard(ChipBoard):
    """See `ChipBoard`."""

    def __init__(self) -> None:
        self.i2c = machine.I2C(0, scl=machine.Pin(wiring.I2C_SCL), sda=machine.Pin(wiring.I2C_SDA), freq=400_000)
        super().__init__(
            Parts(
                flash=partition(),
                chip=chip(),
                clock=Pcf8563(self.i2c),
                witness=Witness(self.i2c),
                relay=TwoCoils(_MACHINE_RELAY, machine.Pin(wiring.COILS), wiring.PULSE_MS),
                pulse_out=PulseOut(_MACHINE_OUT, machine.Pin(wiring.PULSE_OUT)),
                load_side=_input(wiring.LOAD_SIDE),
                inputs=(
                    (_input(wiring.COVER), 1, INPUT_COVER),
                    (_input(wiring.SEAL), 1, INPUT_SEAL_OPEN),
                    (_input(wiring.SUPPLY_BAD), 0, INPUT_SUPPLY_BAD),
                ),
                entropy=Entropy(time.ticks_us, machine.unique_id()),
                thermometer=Lm75(self.i2c),
                reset=machine.reset,
            )
        )

    def bus(self, baud: int, parity: int, stop_bits: int) -> Rs485:
        """The RS-485 line, set as `meterlink.lines` says."""
        uart = machine.UART(
            0,
            baudrate=baud,
            parity=_PARITY[parity],
            stop=stop_bits,
            tx=machine.Pin(wiring.BUS_TX),
            rx=machine.Pin(wiring.BUS_RX),
            txbuf=300,
            rxbuf=300,
            timeout=0,
        )
        return Rs485(
            uart, machine.Pin(wiring.BUS_ENABLE, machine.Pin.OUT, value=0), baud, time, 9 + (parity > 0) + stop_bits
        )

    def front(self) -> tuple:
        """(keypad, display, lamps, buzzer), as `shell.panel.serve` takes them."""
        from meter.drivers.ssd1306 import Ssd1306

        rows = [machine.Pin(pin, machine.Pin.OPEN_DRAIN, value=1) for pin in wiring.KEY_ROWS]
        columns = [_input(pin) for pin in wiring.KEY_COLUMNS]
        lamps = [_output(pin) for pin in (wiring.LAMP_CREDIT, wiring.LAMP_LINK, wiring.LAMP_OFF)]
        return Keypad(rows, columns), Ssd1306(self.i2c), lamps, _output(wiring.BUZZER)


def chip():
    """What meters: the BL0942 at 9600 baud (SCLK_BPS tied to its supply), or pulses."""
    if wiring.CHIP == "BL0942":
        uart = machine.UART(
            1, baudrate=9600, tx=machine.Pin(wiring.CHIP_TX), rx=machine.Pin(wiring.CHIP_RX), rxbuf=64, timeout=0
        )
        return Bl0942(uart, Scale())
    return PulseMeter(PulseInput(_MACHINE_PULSES, machine.Pin(wiring.PULSE_IN, machine.Pin.IN, machine.Pin.PULL_DOWN)))


def partition() -> PagedFlash:
    """The end of the flash, behind MicroPython's file system, which the build makes that much smaller."""
    whole = rp2.Flash()
    start = (whole.ioctl(4, 0) or 0) - TOTAL_SECTORS
    return PagedFlash(rp2.Flash(start=start * SECTOR_BYTES, len=TOTAL_SECTORS * SECTOR_BYTES))


def _output(pin: int):
    return machine.Pin(pin, machine.Pin.OUT, value=0)


def _input(pin: int):
    return machine.Pin(pin, machine.Pin.IN, machine.Pin.PULL_UP)
