"""BL0942: low-cost metering chip for one phase on UART, read as whole packets.

Source: Shanghai Belling, "BL0942 datasheet" V1.06 (DS): 1.5 registers, 2.4–2.7 conversions, 3.2 UART.

CF_CNT counts energy in a circle of 24 bits; in algebraic mode (MODE bit 7 = 0, which is not what the chip starts with)
it runs up with import and down with export. A chip that lost its power starts at 0 in its own mode, so MODE is read
after each packet: one from before and after such a loss is never subtracted.
"""

from meter.shell.pause import sleep_ms

_READ = 0x58  # DS 3.2.3; the two low bits are the chip's address
_WRITE = 0xA8
_PACKET = 0xAA  # as a register: all values at once, DS 3.2.6
_HEAD = 0x55
_MODE = 0x19
_SOFT_RESET = 0x1C
_PROTECTION = 0x1D
_UNLOCK = 0x55
_RESET = 0x5A5A5A
MODE = 0x07  # CF_EN and the two reserved bits; algebraic, not cleared by a read, 400 ms, 50 Hz, rate by the pin

PACKET_BYTES = 23
_REPLY_MS = 100  # 25 characters take 52 ms at 4800 baud
_POLL_MS = 2
_TRIES = 2
_CIRCLE = 1 << 24
_HALF = 1 << 23
_FRESH = 512  # counts: ten seconds of what a shunt of 1 mOhm can measure

_VREF_UV = 1_218_000  # DS 1.7
NOMINAL = 0x8000  # a gain of 1, as `meter.calibration` counts them


def check(head: int, data: "bytes | bytearray | memoryview") -> int:
    """The check sum of a frame: the complement of the sum of all that goes before it, DS 3.2.5."""
    return ~(head + sum(data)) & 0xFF


class Scale:
    """What a count means on a board, DS 2.4-2.7. shunt_uohm: the shunt · divider_milli: volts at the terminals for
    1000 V at the pin (five of 390 kOhm over 510 Ohm: 3 824 529) · counts_per_mwh: of CF_CNT, for 1000 kWh, before
    calibration."""

    def __init__(self, shunt_uohm: int = 1000, divider_milli: int = 3_824_529) -> None:
        self._shunt_uohm = shunt_uohm
        self._divider_milli = divider_milli
        # WATT = 3537 I V / Vref^2 with I and V in millivolts at the pins; a count is 1638.4 x 256 WATT x seconds.
        nominal = 3537 * shunt_uohm * 10**12 // (_VREF_UV * _VREF_UV // 10**6 * divider_milli // 1000)
        self.counts_per_mwh = nominal * 36_000 // 4_194_304
        self._gains: "tuple[int, ...]" = (NOMINAL, NOMINAL, NOMINAL)

    def calibrate(self, constants: "tuple[int, ...]") -> None:
        """See `ports.Board.calibrate`: gains of voltage, current and power. The chip has no phase and no offset."""
        self._gains = constants[1:4]

    def voltage_dv(self, raw: int) -> int:
        return raw * _VREF_UV * self._divider_milli * self._gains[0] // (73_989 * 10**11 * NOMINAL)

    def current_ma(self, raw: int) -> int:
        return raw * _VREF_UV * self._gains[1] // (305_978 * self._shunt_uohm * NOMINAL)

    def power_w(self, raw: int) -> int:
        """Rounded towards zero."""
        size = abs(raw) * (_VREF_UV * _VREF_UV // 10**6) * self._divider_milli * self._gains[2]
        size //= 3537 * 10**9 * self._shunt_uohm * NOMINAL
        return -size if raw < 0 else size

    def energy(self, counts: int, imp_per_kwh: int) -> "tuple[int, int]":
        """Counts as pulses: (numerator, denominator), with nothing rounded but the nominal constant."""
        return counts * imp_per_kwh * 1000 * self._gains[2], self.counts_per_mwh * NOMINAL


class Bl0942:
    """`uart`: 8 bits, no parity, 1 stop bit, with `any`, `read`, `readinto`, `write` · imp_per_kwh: pulses that a
    kilowatt-hour is to give, which `imported` and `exported` count; the remainders are carried.

    voltage_dv 1/10 V · current_ma · power_w: signed · power_factor: 1/1000, signed as the power · frequency_chz 1/100
    Hz · faults: readings that failed · resets: times that the chip was found to have started anew · ready: it is
    metering.
    """

    measures = True

    def __init__(self, uart, scale: Scale, imp_per_kwh: int = 3200, address: int = 0) -> None:
        self._uart = uart
        self._scale = scale
        self._read_head = _READ | address
        self._write_head = _WRITE | address
        self._imp_per_kwh = imp_per_kwh
        self._packet = bytearray(PACKET_BYTES)
        self._register = bytearray(4)
        self._count: "int | None" = None  # CF_CNT of the last packet that counts
        self._rest_in = 0
        self._rest_out = 0
        self.imported = 0
        self.exported = 0
        self.voltage_dv = self.current_ma = self.power_w = 0
        self.power_factor = self.frequency_chz = 0
        self.faults = 0
        self.resets = -1  # the first set-up is none
        self.ready = False

    def calibrate(self, constants: "tuple[int, ...]") -> None:
        """See `ports.Board.calibrate`. The remainders stay: parts of a pulse have one size."""
        self._scale.calibrate(constants)

    async def read(self) -> None:
        """A second's reading: packet, then MODE; the packet counts where MODE is ours."""
        for _ in range(_TRIES):
            if await self._ask(_PACKET, self._packet):
                break
        else:
            self._fail()
            return
        for _ in range(_TRIES):
            if await self._ask(_MODE, self._register):
                break
        else:
            self._fail()
            return
        if self._register[0] != MODE:
            self._configure()
            return
        self.ready = True
        self._take(self._packet)

    def _fail(self) -> None:
        self.faults += 1
        self.ready = False

    def _configure(self) -> None:
        """The chip is new or has started anew: its mode, and counting from the next packet on."""
        self.resets += 1
        self.ready = False
        self._count = None
        self._write(_SOFT_RESET, _RESET)  # CF_CNT from 0: what it counted in another mode has no direction
        self._write(_PROTECTION, _UNLOCK)
        self._write(_MODE, MODE)

    def _take(self, p: bytearray) -> None:
        count = p[13] | p[14] << 8 | p[15] << 16
        if self._count is None:  # counted since it was set up, or by a chip that did not start with the board
            moved = (count + _FRESH) % _CIRCLE - _FRESH
            if moved > _FRESH:
                moved = 0
        else:
            moved = (count - self._count + _HALF) % _CIRCLE - _HALF
        self._count = count
        parts, pulse = self._scale.energy(abs(moved), self._imp_per_kwh)
        if moved >= 0:
            whole, self._rest_in = divmod(self._rest_in + parts, pulse)
            self.imported += whole
        else:
            whole, self._rest_out = divmod(self._rest_out + parts, pulse)
            self.exported += whole
        self.current_ma = self._scale.current_ma(p[1] | p[2] << 8 | p[3] << 16)
        self.voltage_dv = self._scale.voltage_dv(p[4] | p[5] << 8 | p[6] << 16)
        watt = p[10] | p[11] << 8 | p[12] << 16
        self.power_w = self._scale.power_w(watt - (watt >> 23 << 24))
        apparent_mw = self.voltage_dv * self.current_ma // 10
        self.power_factor = 0
        if apparent_mw >= 1000:
            size = min(1000, abs(self.power_w) * 1_000_000 // apparent_mw)
            self.power_factor = -size if self.power_w < 0 else size
        cycle = p[16] | p[17] << 8
        self.frequency_chz = 100_000_000 // cycle if cycle else 0  # DS 2.7: counted at 1 MHz

    # -- frames --------------------------------------------------------------------------------------------------------

    async def _ask(self, register: int, reply: bytearray) -> bool:
        """Read a register of 24 bits, or the packet, into `reply`; whether it came whole and right in time."""
        uart = self._uart
        while uart.any():
            uart.read(uart.any())
        uart.write(bytes((self._read_head, register)))
        view = memoryview(reply)
        got = waited_ms = 0
        while got < len(reply):
            if uart.any():
                got += uart.readinto(view[got:]) or 0
            elif waited_ms >= _REPLY_MS:
                return False
            else:
                waited_ms += _POLL_MS
                await sleep_ms(_POLL_MS)
        if register == _PACKET:
            return reply[0] == _HEAD and reply[-1] == check(self._read_head, view[:-1])
        return reply[-1] == check(self._read_head + register, view[:-1])

    def _write(self, register: int, value: int) -> None:
        """Least significant byte first, DS 3.2.4. Not answered: the next reading shows whether it arrived."""
        frame = bytes((register, value & 0xFF, value >> 8 & 0xFF, value >> 16))
        self._uart.write(bytes((self._write_head,)) + frame + bytes((check(self._write_head, frame),)))
