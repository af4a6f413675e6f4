"""The ESP32-S3 board: ATM90E26, PCF8563, FRAM, two-coil relay, RS-485, service port, HD44780 and keypad. Sealed class.

It is sealed when its fuses say so (`drivers.fuses_esp32`), and then keeps what it writes encrypted
(`drivers.sealed_flash`) under a key that it made itself, in the encrypted NVS partition. Any other one is a bench
board: it refuses production keys and shows BENCH.
"""

import time

import esp32
import machine

from meter.boards import esp32s3_wiring as wiring
from meter.boards.chips import ChipBoard, Parts
from meter.boards.esp32s3_slots import open_slots
from meter.drivers import fuses_esp32
from meter.drivers.atm90e26 import Atm90e26
from meter.drivers.entropy import Entropy
from meter.drivers.fram import Witness
from meter.drivers.hd44780 import Hd44780, Pcf8574
from meter.drivers.keypad import Keypad
from meter.drivers.lm75 import Lm75
from meter.drivers.pcf8563 import Pcf8563
from meter.drivers.pulse_out_esp32 import PulseOut
from meter.drivers.relay_esp32 import TwoCoils
from meter.drivers.rs485 import Rs485
from meter.drivers.sealed_flash import SealedFlash
from meter.ports import INPUT_COVER, INPUT_MAGNET, INPUT_SEAL_OPEN, INPUT_SUPPLY_BAD, INPUT_TERMINAL_COVER
from meterlink.flashmap import TOTAL_SECTORS

SEALED = 2
PARTITION = "meter"
_KEY_BYTES = 32
_PARITY = (None, 0, 1)  # none, even, odd, as `machine.UART` takes them


class Esp32S3Board(ChipBoard):
    """See `ChipBoard`. board_class: 2 where the fuses say that it is sealed, else 1 · unsealed: the fuses that lack."""

    def __init__(self, running: int = 0) -> None:
        """running: slot of the image that was started, 0 = the one that is built in."""
        self.unsealed = fuses_esp32.missing(lambda address: machine.mem32[address])
        if not self.unsealed:
            self.board_class = SEALED
        self.i2c = machine.I2C(
            0, scl=machine.Pin(wiring.I2C_SCL), sda=machine.Pin(wiring.I2C_SDA), freq=100_000
        )  # the LCD's adapter takes no more
        entropy = Entropy(time.ticks_us, machine.unique_id())
        super().__init__(
            Parts(
                flash=partition(not self.unsealed, entropy.entropy),
                chip=Atm90e26(spi(), _output(wiring.SPI_CS, 1)),
                clock=Pcf8563(self.i2c),
                witness=Witness(self.i2c),
                relay=TwoCoils(_output(wiring.COIL_CLOSE, 0), _output(wiring.COIL_OPEN, 0), wiring.PULSE_MS),
                pulse_out=PulseOut(_output(wiring.PULSE_OUT, 0)),
                load_side=_input(wiring.LOAD_SIDE),
                inputs=(
                    (_input(wiring.COVER), 1, INPUT_COVER),
                    (_input(wiring.TERMINAL_COVER), 1, INPUT_TERMINAL_COVER),
                    (_input(wiring.MAGNET), 0, INPUT_MAGNET),
                    (_input(wiring.SEAL), 1, INPUT_SEAL_OPEN),
                    (_input(wiring.SUPPLY_BAD), 0, INPUT_SUPPLY_BAD),
                ),
                entropy=entropy,
                thermometer=Lm75(self.i2c),
                reset=machine.reset,
            )
        )
        self.slots = open_slots(running)

    def bus(self, baud: int, parity: int, stop_bits: int) -> Rs485:
        """The RS-485 line, set as `meterlink.lines` says."""
        uart = machine.UART(
            1,
            baudrate=baud,
            parity=_PARITY[parity],
            stop=stop_bits,
            tx=wiring.BUS_TX,
            rx=wiring.BUS_RX,
            txbuf=300,
            rxbuf=300,
            timeout=0,
        )
        return Rs485(uart, _output(wiring.BUS_ENABLE, 0), baud, time, 9 + (parity > 0) + stop_bits)

    def service(self) -> Rs485:
        """The service port: 9600 8E1, two wires, no driver to enable."""
        uart = machine.UART(
            2, baudrate=9600, parity=0, tx=wiring.SERVICE_TX, rx=wiring.SERVICE_RX, txbuf=300, rxbuf=300, timeout=0
        )
        return Rs485(uart, lambda level: None, 9600, time)

    def front(self) -> tuple:
        """(keypad, display, lamps, buzzer), as `shell.panel.serve` takes them."""
        rows = [machine.Pin(pin, machine.Pin.OPEN_DRAIN, value=1) for pin in wiring.KEY_ROWS]
        columns = [_input(pin) for pin in wiring.KEY_COLUMNS]
        lamps = [_output(pin, 0) for pin in (wiring.LAMP_CREDIT, wiring.LAMP_LINK, wiring.LAMP_OFF)]
        display = Hd44780(Pcf8574(self.i2c, time.sleep_us, wiring.ADDRESS_LCD))
        return Keypad(rows, columns), display, lamps, _output(wiring.BUZZER, 0)


def spi():
    """The metering chip's bus: mode 3, 200 kHz."""
    return machine.SPI(
        1,
        baudrate=200_000,
        polarity=1,
        phase=1,
        sck=machine.Pin(wiring.SPI_SCK),
        mosi=machine.Pin(wiring.SPI_MOSI),
        miso=machine.Pin(wiring.SPI_MISO),
    )


def partition(sealed: bool, entropy):
    """The meter's partition: as it is on a bench, encrypted unit by unit where the board is sealed. OSError where the
    partition table has none, or one that is too small."""
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label=PARTITION)
    if not found:
        raise OSError("partition {}: not in the partition table".format(PARTITION))
    flash = SealedFlash(found[0], storage_key(entropy), entropy) if sealed else found[0]
    sectors = flash.ioctl(4, 0) or 0
    if sectors < TOTAL_SECTORS:
        raise OSError("partition {}: {} sectors, {} expected".format(PARTITION, sectors, TOTAL_SECTORS))
    return flash


def storage_key(entropy) -> bytes:
    """The key of this board's flash: made at its first start, in the encrypted NVS partition."""
    nvs = esp32.NVS("openprepay")
    key = bytearray(_KEY_BYTES)
    try:
        if nvs.get_blob("flash", key) == _KEY_BYTES:
            return bytes(key)
    except OSError:
        pass  # the first start
    made = entropy(_KEY_BYTES)
    nvs.set_blob("flash", made)
    nvs.commit()
    return made


def _output(pin: int, level: int):
    return machine.Pin(pin, machine.Pin.OUT, value=level)


def _input(pin: int):
    return machine.Pin(pin, machine.Pin.IN, machine.Pin.PULL_UP)
