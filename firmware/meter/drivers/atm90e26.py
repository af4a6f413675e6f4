"""ATM90E26 (M90E26): metering chip for one phase with a second current channel, on SPI.

Source: Atmel-46002B, "M90E26 Datasheet", 2014 (DS): section 4 SPI, section 5 registers; Atmel-46102 (AN) for the checks
by LastData.

Energy stands in registers that a read clears (DS 5.4), in tenths of a CF pulse. A read that went wrong on the wire has
cleared them all the same; LastData (DS 5.2.1) repeats what the chip has sent last, without clearing anything. So each
second begins with CalStart, which reads back 0x8765 while the chip is metering with the constants that it was given: a
chip that lost them in a brown-out shows at once, and LastData that still says 0x8765 after a read of energy tells that
the chip never heard of that read, so nothing is lost and nothing counted twice.
"""

from meter.shell.pause import sleep_ms

_SOFT_RESET = 0x00
_SYS_STATUS = 0x01
_LAST_DATA = 0x06
_CAL_START = 0x20
_METERING = 0x21  # 21H..2BH, then their check sum
_ADJ_START = 0x30
_MEASURING = 0x31  # 31H..3AH, then theirs
_AP_ENERGY = 0x40
_AN_ENERGY = 0x41
_IRMS = 0x48
_URMS = 0x49
_PMEAN = 0x4A
_FREQUENCY = 0x4C
_POWER_FACTOR = 0x4D
_IRMS2 = 0x68

_RESET = 0x789A
_POWER_ON = 0x6886
_CONFIGURE = 0x5678
_RUN = 0x8765
_CHECKSUM_ERRORS = 0xF000  # of SysStatus: CalErr and AdjErr
_READ = 0x80
_NOBODY = 0xFFFF  # a wire that nobody drives is pulled up

MAX_TENTHS = 5000  # of a read of energy: far more than any load makes in the longest pause between two
_TRIES = 4
_LAST_TRIES = 12  # of LastData, until one value has come twice

NOMINAL = 0x8000  # a gain of 1, as `meter.calibration` counts them

# What the chip starts with (DS 5.3.1, 5.3.2).
METERING = (0x0015, 0xD174, 0, 0, 0, 0, 0x08BD, 0, 0x0AEC, 0, 0x9422)
MEASURING = (0x6720, 0x7A13, 0x7530, 0, 0, 0, 0, 0, 0, 0)


def checksum(words: "tuple[int, ...]") -> int:
    """CS1 of 21H..2BH and CS2 of 31H..3AH (DS 5.3): all bytes exclusive-or'ed, then all bytes added."""
    mixed = added = 0
    for word in words:
        mixed ^= word >> 8 ^ word & 0xFF
        added += (word >> 8) + (word & 0xFF)
    return mixed << 8 | added & 0xFF


class Atm90e26:
    """`spi`: mode 3, at most 200 kHz, with `write_readinto` · `cs(level)`: the chip select, active low ·
    metering, measuring: the words of 21H..2BH and 31H..3AH that the board's parts ask for, before calibration.

    imported, exported: CF pulses since the start, at the constant that PLconst sets · voltage_dv 1/10 V · current_ma,
    neutral_ma: line and neutral · power_w: signed · power_factor 1/1000, signed · frequency_chz 1/100 Hz · faults:
    readings that failed · resets: times that the chip had lost its constants and was given them again · ready: it is
    metering, by the last reading.
    """

    measures = True  # voltage, current and power besides energy

    def __init__(self, spi, cs, metering=METERING, measuring=MEASURING) -> None:
        self._spi = spi
        self._cs = cs
        self._nominal = metering, measuring
        self._words = metering, measuring
        self._out = bytearray(3)
        self._in = bytearray(3)
        self._tenths_in = 0
        self._tenths_out = 0
        self.voltage_dv = self.current_ma = self.neutral_ma = self.power_w = 0
        self.power_factor = self.frequency_chz = 0
        self.faults = 0
        self.resets = -1  # the first set-up is none
        self.ready = False
        cs(1)

    @property
    def imported(self) -> int:
        return self._tenths_in // 10

    @property
    def exported(self) -> int:
        return self._tenths_out // 10

    def calibrate(self, constants: "tuple[int, ...]") -> None:
        """See `ports.Board.calibrate`. Gains: Lgain is what goes beyond 1 (AN 4.2), Ugain and IgainL are factors.

        Phase and offset go to Lphi (sign and magnitude) and PoffsetL (two's complement). A chip that meters by these
        constants already is left alone: the board started anew, the chip did not."""
        _, voltage, current, power, phase, offset = constants
        metering, measuring = list(self._nominal[0]), list(self._nominal[1])
        metering[2] = (metering[2] + power - NOMINAL) & 0xFFFF
        metering[3] = -phase | 0x8000 if phase < 0 else phase
        measuring[0] = min(measuring[0] * voltage // NOMINAL, 0xFFFF)
        measuring[1] = min(measuring[1] * current // NOMINAL, 0xFFFF)
        measuring[6] = offset & 0xFFFF
        self._words = tuple(metering), tuple(measuring)
        if not self._has_words():
            self._start()

    def _has_words(self) -> bool:
        """Whether the chip is metering with our words: a check sum reads back as the chip finds it (DS 5.3.1)."""
        for start, first, words in zip((_CAL_START, _ADJ_START), (_METERING, _MEASURING), self._words):
            if self._get(start) != _RUN or self._get(first + len(words)) != checksum(words):
                return False
        return True

    def _start(self) -> None:
        """Give the chip its words (DS 5.3, 5.3.2)."""
        self._write(_SOFT_RESET, _RESET)
        for start, first, words in zip((_CAL_START, _ADJ_START), (_METERING, _MEASURING), self._words):
            self._write(start, _CONFIGURE)
            for at, word in enumerate(words):
                self._write(first + at, word)
            self._write(first + len(words), checksum(words))
            self._write(start, _RUN)
        self.resets += 1

    async def read(self) -> None:
        """A second's reading: energy first, then quantities; other work may run between two registers."""
        state = self._get(_CAL_START)
        status = self._get(_SYS_STATUS)
        if state in (_POWER_ON, _CONFIGURE) or (state == _RUN and 0 <= status and status & _CHECKSUM_ERRORS):
            self._start()  # it says that it does not meter: anything else may be the wire
            state, status = self._get(_CAL_START), self._get(_SYS_STATUS)
        self.ready = state == _RUN and status >= 0 and not status & _CHECKSUM_ERRORS
        if not self.ready:
            self.faults += 1
            return
        self._tenths_in += self._take(_AP_ENERGY)
        await sleep_ms(0)
        self._tenths_out += self._take(_AN_ENERGY)
        await sleep_ms(0)
        found = []
        for register in (_URMS, _IRMS, _IRMS2, _PMEAN, _POWER_FACTOR, _FREQUENCY):
            value = self._get(register)
            if value < 0:
                self.faults += 1
                return
            found.append(value)
            await sleep_ms(0)
        self.voltage_dv = (found[0] + 5) // 10
        self.current_ma, self.neutral_ma = found[1], found[2]
        self.power_w = found[3] - (found[3] >> 15 << 16)  # two's complement
        self.power_factor = -(found[4] & 0x7FFF) if found[4] >> 15 else found[4]  # sign and magnitude
        self.frequency_chz = found[5]

    # -- registers -----------------------------------------------------------------------------------------------------

    def _take(self, register: int) -> int:
        """Tenths of a pulse out of a register that the read clears; 0, and a fault, where nobody can tell."""
        for _ in range(_TRIES):
            if self._get(_CAL_START) == _RUN:  # so LastData says something that energy never is
                break
        else:
            self.faults += 1
            return 0
        seen = [self._frame(register | _READ, 0)]
        for _ in range(_LAST_TRIES):
            said = self._frame(_LAST_DATA | _READ, 0)
            if said in seen:
                if said <= MAX_TENTHS:
                    return said
                if said == _RUN:
                    return 0  # the chip never heard of the read: what it holds comes with the next one
            seen.append(said)
        self.faults += 1
        return 0

    def _get(self, register: int) -> int:
        """A register that a read leaves as it is, confirmed by LastData (AN); -1 where it cannot be."""
        for _ in range(_TRIES):
            value = self._frame(register | _READ, 0)
            if value != _NOBODY and self._frame(_LAST_DATA | _READ, 0) == value:
                return value
        return -1

    def _write(self, register: int, value: int) -> None:
        """Write and see in LastData that it arrived; what did not shows in the chip's check sums."""
        for _ in range(_TRIES):
            self._frame(register, value)
            if register == _SOFT_RESET or self._frame(_LAST_DATA | _READ, 0) == value:
                return

    def _frame(self, address: int, value: int) -> int:
        """24 clocks: address with the read bit, 16 bits either way (DS 4.1)."""
        out, into = self._out, self._in
        out[0] = address
        out[1] = value >> 8
        out[2] = value & 0xFF
        self._cs(0)
        self._spi.write_readinto(out, into)
        self._cs(1)
        return into[1] << 8 | into[2]
