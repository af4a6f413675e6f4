"""PCF8563: battery-backed clock on I2C, kept in UTC.

Source: NXP, "PCF8563 product data sheet", Rev. 11, 2015 (DS): 8.3.1 STOP, 8.4 time and date registers, 8.9 I2C.

VL, bit 7 of the seconds, says that the voltage was too low or the oscillator stood still since the clock was set: the
time is then worth nothing. It stays until the clock is set anew.
"""

from meterlink.calendar import DAY_S, date_of, day_of, is_date

ADDRESS = 0x51
_CONTROL_1 = 0x00
_SECONDS = 0x02
_STOP = 0x20
_VL = 0x80
_CENTURY = 0x80  # of the month; DS 8.4.6 leaves its meaning to the user: set means 21xx


class Pcf8563:
    """`i2c`: with `readfrom_mem_into` and `writeto_mem`, at most 400 kHz · faults: transfers that failed."""

    def __init__(self, i2c, address: int = ADDRESS) -> None:
        self._i2c = i2c
        self._address = address
        self._read = bytearray(9)
        self.faults = 0

    def rtc(self) -> "tuple[int, bool]":
        """(UTC seconds since 1970, whether they are valid); (0, False) where the chip does not answer with a time.

        One burst: the chip holds its counters still while it is read, DS 8.4. A clock that stands (STOP) was being set
        when power failed: it holds half a time.
        """
        t = memoryview(self._read)[_SECONDS:]
        try:
            self._i2c.readfrom_mem_into(self._address, _CONTROL_1, self._read)
        except OSError:
            self.faults += 1
            return 0, False
        second, minute, hour = _binary(t[0] & 0x7F), _binary(t[1] & 0x7F), _binary(t[2] & 0x3F)
        day, month = _binary(t[3] & 0x3F), _binary(t[5] & 0x1F)
        year = 2000 + _binary(t[6]) + (100 if t[5] & _CENTURY else 0)
        if second > 59 or minute > 59 or hour > 23 or t[6] > 0x99 or not is_date(year, month, day):
            return 0, False
        unix_s = day_of(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second
        return unix_s, not (t[0] & _VL or self._read[_CONTROL_1] & _STOP)

    def set_rtc(self, unix_s: int) -> None:
        """Set the clock, to the second; a chip that does not answer keeps what it has, with its VL flag.

        STOP resets the prescaler, so the new second is a whole one, and no carry runs through a half-set time.
        """
        day, left_s = divmod(unix_s, DAY_S)
        year, month, day = date_of(day)
        fields = (left_s % 60, left_s // 60 % 60, left_s // 3600, day, 0, month, year % 100)
        t = bytes([n // 10 << 4 | n % 10 for n in fields])
        if year >= 2100:
            t = t[:5] + bytes((t[5] | _CENTURY,)) + t[6:]
        try:
            self._i2c.writeto_mem(self._address, _CONTROL_1, bytes((_STOP, 0)))
            self._i2c.writeto_mem(self._address, _SECONDS, t)
            self._i2c.writeto_mem(self._address, _CONTROL_1, b"\x00")
        except OSError:
            self.faults += 1


def _binary(bcd: int) -> int:
    """Two digits; above 99 where they are none."""
    return (bcd >> 4) * 10 + (bcd & 15) if bcd & 15 < 10 and bcd >> 4 < 10 else 255
