"""LM75B, TMP75 and their likes: a thermometer on I2C, at the terminals.

Source: NXP, "LM75B product data sheet", Rev. 6.1, 7.4.3: two bytes from register 0, of which the upper 11 bits count
0.125 degrees Celsius in two's complement.
"""

ADDRESS = 0x48
UNKNOWN_DC = -32768


class Lm75:
    """`i2c`: with `readfrom_mem_into` · faults: transfers that failed."""

    def __init__(self, i2c, address: int = ADDRESS) -> None:
        self._i2c = i2c
        self._address = address
        self._raw = bytearray(2)
        self.faults = 0

    def temperature_dc(self) -> int:
        """1/10 degree Celsius, rounded down; UNKNOWN_DC where the chip does not answer."""
        try:
            self._i2c.readfrom_mem_into(self._address, 0, self._raw)
        except OSError:
            self.faults += 1
            return UNKNOWN_DC
        raw = (self._raw[0] << 8 | self._raw[1]) >> 5
        return (raw - (raw >> 10 << 11)) * 10 // 8
