"""An I2C bus with chips: clock PCF8563 (NXP, Rev. 11), FRAM MB85RC256V (Fujitsu DS501-00017), thermometer LM75B."""

ENODEV = 19


class PowerCut(Exception):
    """The power went in the middle of a transfer."""


class Bus:
    """`machine.I2C`, as far as drivers use it. chips: address -> chip; one that is not there does not acknowledge."""

    def __init__(self, chips):
        self.chips = chips

    def _chip(self, address):
        if address not in self.chips:
            raise OSError(ENODEV)
        return self.chips[address]

    def writeto(self, address, data):
        self._chip(address).take(bytes(data))

    def readfrom_mem_into(self, address, place, buf, addrsize=8):
        chip = self._chip(address)
        assert addrsize == chip.address_bits
        for at in range(len(buf)):
            buf[at] = chip.read_byte(place + at)

    def writeto_mem(self, address, place, data, addrsize=8):
        chip = self._chip(address)
        assert addrsize == chip.address_bits
        for at in range(len(data)):
            chip.write_byte(place + at, data[at])


class Clock:
    """PCF8563. It counts by `run`; its registers hold BCD. cut_after: bytes that are written until the power goes, -1:
    it stays."""

    address_bits = 8

    def __init__(self):
        self.registers = bytearray(16)
        self.registers[2] = 0x80  # DS table 8: VL is set by a new chip
        self.registers[5] = 0x01
        self.registers[7] = 0x01
        self.cut_after = -1

    def stop_oscillator(self):
        self.registers[2] |= 0x80

    def read_byte(self, place):
        unused = {2: 0, 3: 0x80, 4: 0xC0, 5: 0xC0, 6: 0xF8, 7: 0x60}.get(place, 0)
        return self.registers[place & 15] | unused  # unused bits read as anything

    def write_byte(self, place, value):
        if self.cut_after == 0:
            raise PowerCut("in a clock write")
        self.cut_after -= self.cut_after > 0
        self.registers[place & 15] = value

    def run(self, seconds):
        """Let the oscillator run; nothing counts while STOP stands."""
        if self.registers[0] & 0x20:
            return
        for _ in range(seconds):
            self._second()

    def _second(self):
        r = self.registers
        vl = r[2] & 0x80
        month_days = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
        month = _number(r[7] & 0x1F)
        days = month_days[month - 1] + (month == 2 and _number(r[8]) % 4 == 0)
        for place, mask, first, last in ((2, 0x7F, 0, 59), (3, 0x7F, 0, 59), (4, 0x3F, 0, 23), (5, 0x3F, 1, days)):
            value = _number(r[place] & mask)
            if value < last:
                r[place] = _bcd(value + 1) | (vl if place == 2 else 0)
                return
            r[place] = _bcd(first) | (vl if place == 2 else 0)
        century = r[7] & 0x80
        if month < 12:
            r[7] = _bcd(month + 1) | century
            return
        year = _number(r[8])
        r[8] = _bcd((year + 1) % 100)
        r[7] = 1 | (century ^ 0x80 if year == 99 else century)


def _number(bcd):
    return (bcd >> 4) * 10 + (bcd & 15)


def _bcd(number):
    return number // 10 << 4 | number % 10


class Sink:
    """A chip that takes what it is given, such as a display's adapter."""

    def __init__(self):
        self.taken = 0

    def take(self, data):
        self.taken += len(data)


class Thermometer:
    """LM75B: degrees in eighths, as two bytes from register 0, left-aligned."""

    address_bits = 8

    def __init__(self, eighths=200):
        self.eighths = eighths

    def read_byte(self, place):
        return ((self.eighths & 0x7FF) << 5).to_bytes(2, "big")[place]


class Fram:
    """MB85RC256V: 32 KiB, two bytes of address, each byte durable when it is acknowledged. cut_after: bytes until the
    power goes, -1: it stays; worn: a place that keeps what it has."""

    address_bits = 16

    def __init__(self):
        self.data = bytearray(32_768)
        self.cut_after = -1
        self.worn = -1
        self.written = 0

    def read_byte(self, place):
        return self.data[place & 0x7FFF]

    def write_byte(self, place, value):
        if self.cut_after == 0:
            raise PowerCut("in an FRAM write")
        self.cut_after -= self.cut_after > 0
        self.written += 1
        if place != self.worn:
            self.data[place & 0x7FFF] = value
