"""An OLED of 128 x 64 dots with an SSD1306 (Solomon Systech, rev 1.1) on I2C: 2 lines of 16 characters of 8 x 16 dots.

Nothing is kept here of what is shown: characters go out as they are drawn, from MicroPython's font of 8 x 8 at double
height. The chip's memory has pages of 8 rows of dots; a byte is a column of 8, the lowest bit on top (8.7).
"""

import framebuf

from meter.drivers.display import Display

CONTROL_COMMANDS = 0x00  # 8.1.5.2: Co = 0, D/C# = 0
CONTROL_DATA = 0x40

# Application note, figure 2: software initialisation.
_START = bytes((
    CONTROL_COMMANDS,
    0xAE,  # off
    0xA8, 0x3F,  # 64 rows
    0xD3, 0x00,  # no offset
    0x40,  # from the first row
    0xA1, 0xC8,  # mirrored both ways, as modules are mounted
    0xDA, 0x12,  # rows of the panel: alternative
    0xA4,  # shows its memory
    0xA6,  # lit dots are ones
    0xD5, 0x80,  # clock
    0x20, 0x00,  # columns first, then the next page
    0x8D, 0x14,  # charge pump on
))  # fmt: skip
_ON = 0xAF
_CONTRAST = 0x81
_COLUMNS = 0x21
_PAGES = 0x22
_FIRST_PAGE = (1, 5)  # of each line; two pages a line
_DIM = 1


class Ssd1306(Display):
    """The display. i2c: `writeto(address, buf)`, 400 kHz: a character takes about 0.5 ms. It has no backlight: dark
    means dim, which is read in a cupboard and spares the dots."""

    def __init__(self, i2c, address: int = 0x3C) -> None:
        Display.__init__(self)
        self._i2c = i2c
        self._address = address
        self._glyph = bytearray(8)
        self._draw = framebuf.FrameBuffer(self._glyph, 8, 8, framebuf.MONO_VLSB)

    def _command(self, *words: int) -> None:
        self._i2c.writeto(self._address, bytes((CONTROL_COMMANDS,) + words))

    def _window(self, left: int, right: int, top: int, bottom: int) -> None:
        """Where data goes that is written next: columns, and pages."""
        self._command(_COLUMNS, left, right, _PAGES, top, bottom)

    def _start(self) -> None:
        self._i2c.writeto(self._address, _START)
        self._window(0, 127, 0, 7)
        blank = bytes((CONTROL_DATA,)) + bytes(128)
        for _ in range(8):
            self._i2c.writeto(self._address, blank)
        self._command(_ON)

    def _put(self, row: int, column: int, text: str) -> None:
        width = 8 * len(text)
        out = bytearray(1 + 2 * width)
        out[0] = CONTROL_DATA
        for place in range(len(text)):
            full = text[place] == "\xff"
            self._draw.fill(full)
            if not full:
                self._draw.text(text[place], 0, 0)
            for x in range(8):
                at = 1 + 8 * place + x
                out[at] = _double(self._glyph[x] & 15)
                out[at + width] = _double(self._glyph[x] >> 4)
        self._window(8 * column, 8 * column + width - 1, _FIRST_PAGE[row], _FIRST_PAGE[row] + 1)
        self._i2c.writeto(self._address, out)

    def _adjust(self) -> None:
        self._command(_CONTRAST, 17 * self.level if self.lit else _DIM)


def _double(bits: int) -> int:
    """Four dots as eight, each twice."""
    out = 0
    for place in range(4):
        out |= (bits >> place & 1) * (3 << 2 * place)
    return out
