"""A character display of 2 lines of 16 with a HD44780U (Hitachi, ADE-207-272; and its likes: KS0066, ST7066), 4 bits.

Nothing is read back (R/W is tied to write), so each instruction is given its longest time (table 6, at 270 kHz): 37 us,
clear 1.52 ms; an oscillator may run as slow as 190 kHz, hence half as much more. The first writes follow figure 24,
which works from whatever state the chip was left in. Character 0xFF is a full block in the ROM A00.

Two ways to wire it: `Pins` directly, `Pcf8574` over I2C with the usual adapter board.
"""

from meter.drivers.display import Display

CLEAR = 0x01
ENTRY_RIGHT = 0x06  # the address rises, nothing shifts
ON = 0x0C  # no cursor
OFF = 0x08
TWO_LINES = 0x28  # 4 bits, 2 lines, 5 x 8 dots
DDRAM = 0x80
LINE = 0x40  # where the second line begins in DDRAM

POWER_UP_US = 50_000  # 15 ms from 4.5 V, 40 ms from 2.7 V
SETTLE_US = 60  # of an instruction, and of a character with its address counter
CLEAR_US = 2300


class Pins:
    """rs, e, data (D4, D5, D6, D7), light: pins with `value()`; light switches the backlight, None for none · sleep_us:
    as `time` has it."""

    def __init__(self, rs, e, data, sleep_us, light=None) -> None:
        self.sleep_us = sleep_us
        self._rs = rs
        self._e = e
        self._data = data
        self._light = light
        e.value(0)

    def nibble(self, rs: int, bits: int) -> None:
        """Four bits, taken when E falls."""
        self._rs.value(rs)
        for place in range(4):
            self._data[place].value(bits >> place & 1)
        self._e.value(1)
        self.sleep_us(1)  # 450 ns
        self._e.value(0)
        self.sleep_us(1)

    def light(self, on: bool) -> None:
        """The backlight."""
        if self._light:
            self._light.value(1 if on else 0)


class Pcf8574:
    """An adapter board with a PCF8574 (address 0x20..0x27) or PCF8574A (0x38..0x3F): P0 RS, P1 R/W, P2 E, P3 backlight,
    P4..P7 D4..D7. i2c: `writeto(address, buf)`, 100 kHz, which the chip allows · sleep_us: as `time` has it."""

    _RS = 0x01
    _E = 0x04
    _LIGHT = 0x08

    def __init__(self, i2c, sleep_us, address: int = 0x27) -> None:
        self.sleep_us = sleep_us
        self._i2c = i2c
        self._address = address
        self._lit = self._LIGHT
        self._buf = bytearray(2)

    def nibble(self, rs: int, bits: int) -> None:
        """Four bits, taken when E falls; the chip's outputs change together."""
        out = bits << 4 | (self._RS if rs else 0) | self._lit
        self._buf[0] = out | self._E
        self._buf[1] = out
        self._i2c.writeto(self._address, self._buf)

    def light(self, on: bool) -> None:
        """The backlight."""
        self._lit = self._LIGHT if on else 0
        self._i2c.writeto(self._address, bytes((self._lit,)))


class Hd44780(Display):
    """The display. bus: `Pins` or `Pcf8574` · v0: `duty_u16(0..65535)` of a PWM that makes the contrast voltage, None
    where a trimmer does. A character takes about 1 ms over I2C at 100 kHz, 0.1 ms over pins."""

    def __init__(self, bus, v0=None) -> None:
        Display.__init__(self)
        self._bus = bus
        self._v0 = v0

    def _start(self) -> None:
        bus = self._bus
        bus.sleep_us(POWER_UP_US)
        for bits, wait_us in ((3, 5000), (3, 200), (3, SETTLE_US), (2, SETTLE_US)):
            bus.nibble(0, bits)
            bus.sleep_us(wait_us)
        for byte in (TWO_LINES, OFF, CLEAR):
            self._send(0, byte)
        bus.sleep_us(CLEAR_US)
        self._send(0, ENTRY_RIGHT)
        self._send(0, ON)

    def _send(self, rs: int, byte: int) -> None:
        """Eight bits, the high ones first."""
        self._bus.nibble(rs, byte >> 4)
        self._bus.nibble(rs, byte & 15)
        self._bus.sleep_us(SETTLE_US)

    def _put(self, row: int, column: int, text: str) -> None:
        self._send(0, DDRAM | row * LINE + column)
        for char in text:
            self._send(1, ord(char))

    def _adjust(self) -> None:
        self._bus.light(self.lit)
        if self._v0:
            self._v0.duty_u16((15 - self.level) * 4369)  # the lower V0, the darker the characters
