"""What stands at a meter's front: the display controllers HD44780U (Hitachi ADE-207-272) and SSD1306 (Solomon Systech
rev 1.1) behind their wires, the I/O expander PCF8574 (NXP), and a keypad of switches. Time is microseconds, moved by
who drives a wire."""

ENODEV = 19
OLED_ARGUMENTS = {0x20: 1, 0x21: 2, 0x22: 2, 0x81: 1, 0x8D: 1, 0xA8: 1, 0xD3: 1, 0xD5: 1, 0xD9: 1, 0xDA: 1, 0xDB: 1}


class Time:
    """`now_us`, and `sleep_us` as `time` has it."""

    def __init__(self):
        self.now_us = 0

    def sleep_us(self, us):
        self.now_us += us


class Hd44780:
    """The controller at its pins (R/W low). It does not forgive: whatever comes while it is busy is `missed`.

    Table 6 at the slowest oscillator, 190 kHz: instructions 37 us x 270 / 190, clear and home 1.52 ms x 270 / 190.
    After power-up it is busy for 10 ms, and before 40 ms the supply may not have risen.
    """

    SLOW = 270, 190
    COLUMNS = 40

    def __init__(self, time):
        self.time = time
        self.missed = []
        self.reset()

    def reset(self):
        """The power went and came back."""
        self.wide = True  # 8 bits
        self.lines = 1
        self.on = False
        self.rises = True
        self.ddram = [0x20] * 80
        self.address = 0
        self.high = -1
        self.light = False
        self.busy_until_us = self.time.now_us + 40_000
        self.widths = 0  # function sets since power-up, which take longer (figure 24)

    def fall(self, rs, nibble):
        """E falls with this on D4..D7 (D0..D3 are low)."""
        if self.time.now_us < self.busy_until_us:
            self.missed.append((self.time.now_us, rs, nibble))
            return
        if self.wide:
            self.execute(rs, nibble << 4)
        elif self.high < 0:
            self.high = nibble
        else:
            byte, self.high = self.high << 4 | nibble, -1
            self.execute(rs, byte)

    def busy(self, us):
        self.busy_until_us = self.time.now_us + us * self.SLOW[0] // self.SLOW[1]

    def execute(self, rs, byte):
        self.busy(37 + 4)
        if rs:
            self.ddram[self.place(self.address)] = byte
            self.step()
        elif byte & 0x80:
            self.address = byte & 0x7F
        elif byte & 0x40:
            pass  # an address in CGRAM, until one in DDRAM comes
        elif byte & 0x20:
            self.function(byte)
        elif byte & 0x10:
            raise AssertionError("nothing shifts")
        elif byte & 0x08:
            self.on = bool(byte & 0x04)
            assert not byte & 0x03, "no cursor"
        elif byte & 0x04:
            self.rises = bool(byte & 0x02)
            assert not byte & 0x01, "nothing shifts"
        elif byte == 0x01:
            self.busy(1520)
            self.ddram = [0x20] * 80
            self.address = 0
            self.rises = True

    def function(self, byte):
        self.widths += 1
        if self.widths < 3:
            self.busy_until_us = self.time.now_us + (4100 if self.widths == 1 else 100)
        if self.widths < 4:
            assert byte & 0xF0 == 0x30, "figure 24 begins with three times 8 bits"
        self.wide = bool(byte & 0x10)
        if not self.wide:
            self.lines = 2 if byte & 0x08 else 1

    def place(self, address):
        """Of a DDRAM address: 0x00..0x27 and 0x40..0x67 with two lines."""
        assert self.lines == 2
        row, column = address >> 6, address & 0x3F
        assert column < self.COLUMNS
        return row * self.COLUMNS + column

    def step(self):
        self.address += 1 if self.rises else -1
        if self.address & 0x3F == self.COLUMNS:
            self.address = 0 if self.address & 0x40 else 0x40

    def shown(self):
        """Both lines as they are read, None where the display is off."""
        if not self.on:
            return None
        return tuple("".join([chr(code) for code in self.ddram[row : row + 16]]) for row in (0, self.COLUMNS))


class Pin:
    """An output; `follow(level)` hears of each change."""

    def __init__(self, time, follow=None):
        self.time = time
        self.level = 0
        self.follow = follow

    def value(self, level=None):
        if level is None:
            return self.level
        self.time.sleep_us(1)
        before, self.level = self.level, level
        if self.follow and before != level:
            self.follow(level)
        return None


class Wires:
    """An HD44780 on six pins. `rs`, `e`, `data`, `light` are for the driver."""

    def __init__(self, chip):
        self.chip = chip
        self.rs = Pin(chip.time)
        self.data = [Pin(chip.time) for _ in range(4)]
        self.e = Pin(chip.time, self.edge)
        self.light = Pin(chip.time)

    def edge(self, level):
        if not level:
            self.chip.fall(self.rs.level, sum([pin.level << place for place, pin in enumerate(self.data)]))


class Expander:
    """A PCF8574 on I2C with an HD44780 behind it, as on the usual adapter board. speed_hz: of the bus. cut: transfers
    that still get through before the wire breaks, -1: it does not."""

    def __init__(self, chip, speed_hz=100_000):
        self.chip = chip
        self.byte_us = 9_000_000 // speed_hz
        self.out = 0xFF
        self.cut = -1

    def writeto(self, address, buf):
        assert address == 0x27
        self.chip.time.sleep_us(self.byte_us)
        for byte in bytes(buf):
            if self.cut == 0:
                raise OSError(ENODEV)
            self.cut -= self.cut > 0
            self.chip.time.sleep_us(self.byte_us)
            before, self.out = self.out, byte
            assert not byte & 0x02, "R/W stays low"
            self.chip.light = bool(byte & 0x08)
            if before & 0x04 and not byte & 0x04:
                assert before & 0xF1 == byte & 0xF1, "data holds while E falls"
                self.chip.fall(byte & 1, byte >> 4)


class Ssd1306:
    """The controller on I2C: its commands, and what its memory shows."""

    def __init__(self):
        self.broken = False
        self.reset()

    def reset(self):
        """The power went and came back: the memory holds anything (8.5 of the data sheet says nothing of it)."""
        self.memory = bytearray([0xA5] * 1024)
        self.on = False
        self.set = {}
        self.columns = (0, 127)
        self.pages = (0, 7)
        self.column = 0
        self.page = 0

    def writeto(self, address, buf):
        assert address == 0x3C
        if self.broken:
            raise OSError(ENODEV)
        buf = bytes(buf)
        if buf[0] == 0x40:
            for byte in buf[1:]:
                self.data(byte)
            return
        assert buf[0] == 0x00
        words = list(buf[1:])
        while words:
            code = words.pop(0)
            arguments = [words.pop(0) for _ in range(OLED_ARGUMENTS.get(code, 0))]
            self.command(code, arguments)

    def command(self, code, arguments):
        if code in (0xAE, 0xAF):
            self.on = code == 0xAF
        elif code == 0x21:
            assert arguments[0] <= arguments[1] <= 127
            self.columns = tuple(arguments)
            self.column = arguments[0]
        elif code == 0x22:
            assert arguments[0] <= arguments[1] <= 7
            self.pages = tuple(arguments)
            self.page = arguments[0]
        else:
            assert code in OLED_ARGUMENTS or code in (0x40, 0xA0, 0xA1, 0xA4, 0xA6, 0xC0, 0xC8), hex(code)
            self.set[code] = arguments

    def data(self, byte):
        """Horizontal addressing (figure 10-3)."""
        assert self.set[0x20] == [0]
        self.memory[128 * self.page + self.column] = byte
        self.column += 1
        if self.column > self.columns[1]:
            self.column = self.columns[0]
            self.page = self.pages[0] if self.page == self.pages[1] else self.page + 1

    def dot(self, x, y):
        """Whether a dot is lit, as seen from the front."""
        return self.on and bool(self.memory[128 * (y >> 3) + x] >> (y & 7) & 1)


class Framebuf:
    """Stands in for the module `framebuf` where there is none: a font of 8 x 8 that nobody can read."""

    MONO_VLSB = 0

    class FrameBuffer:
        def __init__(self, buf, width, height, layout):
            assert (width, height, layout) == (8, 8, Framebuf.MONO_VLSB)
            self.buf = buf

        def fill(self, lit):
            for x in range(8):
                self.buf[x] = 0xFF if lit else 0

        def text(self, char, x, y):
            assert (x, y) == (0, 0) and 0x20 <= ord(char) < 0x7E
            for column in range(1, 7):
                self.buf[column] |= (ord(char) * (2 * column + 1) * 37 >> 2 & 0x7F) if char != " " else 0


class Switches:
    """A keypad of 4 rows and 3 columns: `rows` and `columns` are its pins. down: keys that are pressed."""

    KEYS = "123456789*0#"

    def __init__(self):
        self.down = set()
        self.rows = [Line(self, row=at) for at in range(4)]
        self.columns = [Line(self, column=at) for at in range(3)]


class Line:
    """A row, driven low or left to float; or a column, which a pull-up holds high unless a low row pulls it down, by
    way of whatever keys are pressed."""

    def __init__(self, keypad, row=-1, column=-1):
        self.keypad = keypad
        self.row = row
        self.column = column
        self.level = 1

    def value(self, level=None):
        if level is not None:
            assert self.row >= 0, "a column is an input"
            self.level = level
            return None
        assert self.column >= 0
        return 0 if self._pulled(self.column) else 1

    def _pulled(self, column):
        low = {("row", line.row) for line in self.keypad.rows if not line.level}
        while True:
            more = set()
            for key in self.keypad.down:
                at = Switches.KEYS.index(key)
                ends = {("row", at // 3), ("column", at % 3)}
                if ends & low:
                    more |= ends
            if more <= low:
                return ("column", column) in low
            low |= more
