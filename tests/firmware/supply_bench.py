"""The supply engine and its relay on a board in memory, with a journal that holds what was committed. Both
interpreters."""

from meter.clock import Clock
from meter.ports import UNKNOWN_DC
from meter.supply import Supply
from meterlink import bodies, reasons, states
from tests.firmware.ramboard import LIMITS, RamBoard

OFF, ON, READY = states.CONTROL_DISCONNECTED, states.CONTROL_CONNECTED, states.CONTROL_READY
OUT = 1 << reasons.CAUSE_OUT_OF_CREDIT


def limits_of(**changed):
    wanted = bodies.decode_limits(LIMITS.encode())
    for name, value in changed.items():
        setattr(wanted, name, value)
    return wanted


class WarmBoard(RamBoard):
    """And a temperature in 1/10 degree Celsius, set by the test."""

    temperature = UNKNOWN_DC

    def __init__(self):
        super().__init__(object())

    def temperature_dc(self):
        return self.temperature


class Bench:
    """supply, board: as they are named · causes: what the account finds · fails: the journal cannot be written ·
    switches: (closed, who) of what was committed, oldest first · events: (code, argument, detail).

    A pulse that was not committed before it fails the test.
    """

    def __init__(self, limits=None, stored=None):
        self.board = WarmBoard()
        self.clock = Clock(self.board)
        self.clock.start(0, True)
        self.limits = limits or limits_of()
        self.causes = 0
        self.fails = False
        self.stored = stored
        self.stored_load = bodies.encode_load(())
        self.left_s = 0
        self.switches = []
        self.events = []
        self.mono_s = 0
        self._coil = self.board.coil
        self.board.coil = self._checked_coil
        self._due = False
        self.start()
        if not stored:
            self.commit(None)

    def start(self):
        """Start the firmware: what was not committed is gone."""
        self.mono_s = 0
        self.supply = Supply(self.board, self.clock, self.note, self.commit)
        self.supply.limits = self.limits
        if self.stored:
            self.supply.unpack(self.stored)
        self.supply.load.unpack(self.stored_load)
        self.supply.resume(0, self.left_s or -1, [])

    def note(self, code, argument, detail):
        self.events.append((code, argument, detail))

    def commit(self, switch):
        if self.fails:
            return False
        self.stored = self.supply.pack()
        self.stored_load = self.supply.load.pack()
        self.left_s = self.supply.left_s()
        if switch:
            self.switches.append(switch)
        self._due = True
        return True

    def _checked_coil(self, close):
        assert self._due, "an attempt is committed before its pulse"
        self._due = False
        kept = Supply(self.board, self.clock, self.note, self.commit)
        kept.unpack(self.stored)
        assert (kept.control == ON) == close and kept.relay.operations == len(self.board.coils) + 1
        assert kept.relay.attempts == self.supply.relay.attempts >= 1
        self._coil(close)

    def run(self, seconds):
        for _ in range(seconds):
            self.board.pass_time(1)
            self.clock.tick(1)
            self.mono_s += 1
            frozen = self.fails and self.mono_s % 2 > 0  # a failure is known only after a commit has shown it
            self.supply.step(self.mono_s, 1, self.causes, frozen)

    def give(self, hold, action, close=bodies.CLOSE_DIRECT, delay_s=0, spread_s=0):
        """What an order does: all of it is committed, or nothing was."""
        before = self.supply.state()
        self.supply.order(hold, action, close, delay_s, spread_s)
        if not self.commit(None):
            self.supply.restore(before)

    def limit_load(self, power_w):
        """What a load order does; 0 = ends it."""
        before = self.supply.load.state()
        body = bodies.encode_load(((0, power_w), (0xFFFFFFFF, 0)) if power_w else ())
        self.supply.load.take(body, bodies.decode_load(body))
        if not self.commit(None):
            self.supply.load.restore(before)

    def hold(self, hold, delay_s=0):
        self.give(hold, bodies.HOLD, delay_s=delay_s)

    def release(self, hold, close=bodies.CLOSE_DIRECT):
        self.give(hold, bodies.RELEASE, close)
