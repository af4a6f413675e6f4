"""The ESP32's peripherals RMT and PCNT as MicroPython 1.29 shows them, in place of its module `esp32`."""

CLOCK_HZ = 80_000_000


class RMT:
    """Plays levels on a pin in virtual time and ends by itself; the program's time is `pin.time`."""

    PULSE_MAX = 32_767

    def __init__(self, number=-1, *, pin, resolution_hz=None, idle_level=False, num_symbols=48):
        assert CLOCK_HZ // 256 <= resolution_hz <= CLOCK_HZ, "the divider has 8 bits"
        self.pin = pin
        self.resolution_hz = resolution_hz
        self.idle_level = idle_level
        self.played = []  # (from, to, level) in microseconds

    def _end_us(self):
        return self.played[-1][1] if self.played else 0

    def wait_done(self, *, timeout=0):
        return self.pin.time.now_us >= self._end_us()

    def write_pulses(self, durations, levels=True):
        assert self.wait_done(), "it would wait, and a board may not"
        at_us = self.pin.time.now_us
        if levels is True or levels is False:
            levels = [bool(levels) ^ bool(number % 2) for number in range(len(durations))]
        for duration, level in zip(durations, levels):  # noqa: B905 - MicroPython has no strict
            assert 1 <= duration <= self.PULSE_MAX
            to_us = at_us + duration * 1_000_000 // self.resolution_hz
            self.played.append((at_us, to_us, bool(level)))
            at_us = to_us

    def high_at(self, us):
        for begin, end, level in self.played:
            if begin <= us < end:
                return level
        return self.idle_level


class PCNT:
    """A counter of 16 bits that starts at 0 again at `max`."""

    INCREMENT, DECREMENT, IGNORE = 1, 2, 0

    def __init__(self, unit, *, pin, rising=0, falling=0, max=0, filter=0):  # noqa: A002 - its names
        assert 1 <= max <= 32_767 and 0 <= filter <= 1023 and rising == self.INCREMENT and falling == self.IGNORE
        self._max = max
        self._count = 0
        self._running = False

    def start(self):
        self._running = True

    def pulses(self, count):
        """So many rising edges at the pin."""
        if self._running:
            self._count = (self._count + count) % self._max

    def value(self):
        return self._count


class Partition:
    """table: label -> the block device there."""

    TYPE_APP, TYPE_DATA = 0, 1
    table = {}  # noqa: RUF012

    @staticmethod
    def find(type=0, label=None):  # noqa: A002 - its name
        return [Partition.table[label]] if label in Partition.table else []


class NVS:
    """Blobs that outlive the program, encrypted on a sealed board."""

    blobs = {}  # noqa: RUF012

    def __init__(self, space):
        self._space = space

    def get_blob(self, name, buf):
        if (self._space, name) not in NVS.blobs:
            raise OSError(-0x1102)  # ESP_ERR_NVS_NOT_FOUND
        data = NVS.blobs[self._space, name]
        buf[: len(data)] = data
        return len(data)

    def set_blob(self, name, data):
        NVS.blobs[self._space, name] = bytes(data)

    def commit(self):
        pass
