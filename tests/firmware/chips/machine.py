"""The peripherals of a board, in place of MicroPython's module `machine`: what hangs on them is put into the tables."""

from tests.firmware.chips import wires

TIME = wires.Time()
PINS = {}  # number -> Pin
BUSES = {}  # "spi", "i2c", or the number of a UART -> what hangs there
mem32 = {}


class WDT:
    """A watchdog that lets so many meals pass and then bites, for a test that is to end."""

    meals = 1_000_000

    def __init__(self, timeout):
        assert timeout <= 8388, "the most that an RP2040 has"

    def feed(self):
        WDT.meals -= 1
        if WDT.meals <= 0:
            raise Reset


class Reset(Exception):
    """The board was started again."""


class _Pin(wires.Pin):
    def __init__(self, number, level):
        wires.Pin.__init__(self, TIME, level)
        self.number = number

    @property
    def next(self):
        return Pin(self.number + 1)


class _Pins:
    """`machine.Pin`: the pin of a number is one object, however often it is made. A test may put its own there."""

    IN, OUT, OPEN_DRAIN, PULL_UP, PULL_DOWN = 0, 1, 2, 1, 2

    def __call__(self, number, mode=None, pull=None, value=None):
        if number not in PINS:
            PINS[number] = _Pin(number, 1 if pull == self.PULL_UP else 0)
        if value is not None:
            PINS[number].value(value)
        return PINS[number]


Pin = _Pins()


def SPI(number, **wiring):  # noqa: N802 - its name
    assert wiring["polarity"] == wiring["phase"] == 1 and wiring["baudrate"] <= 200_000
    return BUSES["spi"]


def I2C(number, **wiring):  # noqa: N802
    return BUSES["i2c"]


def UART(number, **wiring):  # noqa: N802
    return BUSES[number]


def unique_id():
    return b"\x01\x02\x03\x04"


def reset():
    raise Reset
