"""M90E26 on SPI, from Atmel-46002B: registers, check sums, energy that a read clears, LastData.

The wire can be disturbed: `flip` turns bits of what the master hears, `deafen` lets the chip miss a frame's clocks.
"""

POWER_ON = 0x6886
CONFIGURE = 0x5678
RUN = 0x8765

_DEFAULTS = {
    0x02: 0x000C, 0x03: 0x1D6A, 0x20: POWER_ON, 0x21: 0x0015, 0x22: 0xD174, 0x27: 0x08BD, 0x29: 0x0AEC, 0x2B: 0x9422,
    0x30: POWER_ON, 0x31: 0x6720, 0x32: 0x7A13, 0x33: 0x7530,
}  # fmt: skip
_CLEARED = range(0x40, 0x46)  # energies
_MWS_PER_KWH = 3_600_000_000


class Chip:
    """A chip, its SPI bus (`write_readinto`) and its select (`cs`) in one.

    voltage_cv 1/100 V, current_ma, neutral_ma, power_w (signed), factor 1/1000 (signed), frequency_chz: what its inputs
    show · imp_per_kwh: what PLconst stands for · flip, deafen: one frame in so many, 0 = none.
    """

    def __init__(self, imp_per_kwh=3200, seed=1):
        self.imp_per_kwh = imp_per_kwh
        self.voltage_cv = 23_000
        self.current_ma = self.neutral_ma = self.power_w = 0
        self.factor = 1000
        self.frequency_chz = 5000
        self.flip = self.deafen = 0
        self.dead = False
        self.frames = 0
        self.selected = False
        self._seed = seed
        self._reset()

    def _reset(self):
        self.registers = dict.fromkeys(range(128), 0)
        self.registers.update(_DEFAULTS)
        self.last = 0
        self._rest = [0, 0]  # of a tenth of a pulse, forward and reverse
        self.tenths = [0, 0]

    def brown_out(self):
        """The chip's supply fails for a moment."""
        self._reset()

    # -- metering

    def _sum(self, first, count):
        mixed = added = 0
        for address in range(first, first + count):
            word = self.registers[address]
            mixed ^= word >> 8 ^ word & 255
            added += (word >> 8) + (word & 255)
        return mixed << 8 | added & 255

    def _right(self, start, first, count):
        """Whether a block runs: by a right check sum, or while it is being calibrated."""
        state = self.registers[start]
        return state == CONFIGURE or (state == RUN and self.registers[first + count] == self._sum(first, count))

    def metering(self):
        return self._right(0x20, 0x21, 11) and self._right(0x30, 0x31, 10)

    def flow(self, energy_mws):
        """Energy through the shunt, below 0 towards the grid."""
        if not self._right(0x20, 0x21, 11):
            return
        gain = self.registers[0x23]
        gain = 0x8000 + gain - (gain >> 15 << 16)  # Lgain: two's complement, beyond 1
        way = 0 if energy_mws >= 0 else 1
        self._rest[way] += abs(energy_mws) * gain * self.imp_per_kwh * 10
        whole, self._rest[way] = divmod(self._rest[way], _MWS_PER_KWH * 0x8000)
        self.tenths[way] += whole
        self.registers[0x40 + way] += whole

    def _value(self, address):
        """What a register says now."""
        r = self.registers
        if address == 0x06:
            return self.last
        if address == 0x01:
            return (0 if r[0x20] != RUN or self._right(0x20, 0x21, 11) else 0xC000) | (
                0 if r[0x30] != RUN or self._right(0x30, 0x31, 10) else 0x3000
            )
        if address == 0x2C:
            return self._sum(0x21, 11)
        if address == 0x3B:
            return self._sum(0x31, 10)
        if 0x48 <= address <= 0x6F and not self._right(0x30, 0x31, 10):
            return 0
        if address == 0x48:
            return self.current_ma * r[0x32] // 0x7A13 & 0xFFFF
        if address == 0x49:
            return self.voltage_cv * r[0x31] // 0x6720 & 0xFFFF
        if address == 0x4A:
            return self.power_w & 0xFFFF
        if address == 0x4C:
            return self.frequency_chz
        if address == 0x4D:
            return abs(self.factor) | (0x8000 if self.factor < 0 else 0)
        if address == 0x68:
            return self.neutral_ma
        return r[address] & 0xFFFF

    # -- the wire

    def cs(self, level):
        assert level or not self.selected, "the select goes up after each frame"
        self.selected = not level

    __call__ = value = cs  # the select is a pin

    def write_readinto(self, out, into):
        assert self.selected and len(out) == len(into) == 3, "a frame has 24 clocks"
        self.frames += 1
        into[0] = 0xFF
        if self.dead or (self.deafen and self._chance(self.deafen)):
            into[1] = into[2] = 0xFF  # nobody drives the wire
            return
        address = out[0] & 0x7F
        if out[0] & 0x80:
            value = self._value(address)
            if address in _CLEARED:
                self.registers[address] = 0
            if address != 0x06:
                self.last = value
            into[1], into[2] = value >> 8, value & 255
            if self.flip and self._chance(self.flip):
                into[self._draw() % 2 + 1] ^= 1 << self._draw() % 8
            return
        value = out[1] << 8 | out[2]
        if address == 0x00:
            if value == 0x789A:
                self._reset()
            return
        self.last = value
        self.registers[address] = value

    def _draw(self):
        self._seed = (self._seed * 1103515245 + 12345) & 0x7FFFFFFF
        return self._seed >> 16

    def _chance(self, one_in):
        return self._draw() % one_in == 0
