"""A meter's life at steps of a second: a household, a head end, a customer, and whatever goes wrong, all from one seed.

`Life(mode, seed).run(seconds)` lets the firmware live on a board in memory and holds it to `life_rules` after every
second. Equal seeds give equal lives on every interpreter: `digest()` is the SHA-256 of the whole flash. Runs on
MicroPython as well as on CPython, on words of 32 bits too.

What goes wrong: outages with and without warning, power that fails in the middle of a flash operation and in the start
behind it, brown-outs, an RTC that jumps or stops, relays that stick, weld or are bridged, covers and magnets, flash
that refuses for minutes, voltage and temperature out of bounds; orders that come late, twice, in another order, forged;
frames of noise on the bus; wrong, used and damaged tokens.
"""

import hashlib

from meter import ports
from meter.core import Meter
from meter.registers import MeterRegisters
from meterlink import flashmap, modbus
from metersim.flash import TORN, NorFlash, PowerCut
from metersim.life_orders import MODES, HeadEnd
from metersim.life_rules import Rules
from metersim.ramboard import START_S, RamBoard

HOUR_S = 3600
DAY_S = 86_400
UNIT = 17  # Modbus address
_WS_PER_WH = 3600
_HOUSEKEEPING_S = 61
_STORM_S = 900  # what went wrong is right again, before `settle` looks


class Dice:
    """Numbers that follow from a seed, alike on every interpreter and within 31 bits (Wichmann and Hill, 1982)."""

    def __init__(self, seed: int) -> None:
        self._x = 1 + seed % 30_011
        self._y = 1 + seed // 30_011 % 30_011
        self._z = 1 + seed // 7 % 30_011
        for _ in range(10):
            self.below(2)

    def below(self, most: int) -> int:
        """0 .. most - 1; most up to a million."""
        self._x = self._x * 171 % 30_269
        self._y = self._y * 172 % 30_307
        self._z = self._z * 170 % 30_323
        return (self._x << 14 ^ self._y << 7 ^ self._z) % most

    def one_of(self, things):
        """One of them."""
        return things[self.below(len(things))]

    def draw(self, count: int) -> bytes:
        """So many bytes."""
        return bytes([self.below(256) for _ in range(count)])


class FailingFlash(NorFlash):
    """Refuses every program and erase while it is `failing`."""

    failing = False

    def writeblocks(self, block: int, buf: "bytes | bytearray | memoryview", offset: "int | None" = None) -> int:
        if self.failing:
            raise OSError(5)
        return super().writeblocks(block, buf, offset)

    def ioctl(self, op: int, arg: int) -> "int | None":
        if self.failing and op == 6:
            raise OSError(5)
        return super().ioctl(op, arg)


class LifeBoard(RamBoard):
    """watts below 0 flow to the grid · true_s: the time that is · flowed: [imported, exported] Wh that passed the
    meter, whatever was counted · warm_dc: at the terminals."""

    def __init__(self, measures: bool) -> None:
        super().__init__(FailingFlash(flashmap.TOTAL_SECTORS, unit_bytes=8))
        self.true_s = START_S
        self.flowed = [0, 0]
        self.warm_dc = 300
        self.measures = measures
        self._rests = [0, 0]

    def pass_time(self, seconds: int) -> None:
        self.unix_s += seconds
        self.true_s += seconds
        if self.flows():
            way = self.watts < 0
            energy_ws = self._rests[way] + abs(self.watts) * seconds
            pulses = energy_ws // _WS_PER_WH
            self._rests[way] = energy_ws % _WS_PER_WH
            if pulses:
                self.flowed[way] += pulses
                if not self.pulses_cut:
                    if way:
                        self.exported += pulses
                    else:
                        self.imported += pulses

    def load_ma(self) -> int:
        return abs(self.watts) * 10_000 // self.nominal_dv if self.flows() else 0

    def power_w(self) -> int:
        return abs(self.watts) if self.flows() else 0

    def quantities(self) -> "tuple[tuple[int, ...], ...]":
        if not self.measures:
            return ()
        sign = -1 if self.watts < 0 else 1
        return ((self.voltage, self.load_ma(), sign * self.power_w(), sign * 1000, 5000),)

    def temperature_dc(self) -> int:
        return self.warm_dc

    def coil(self, close: bool) -> None:
        self.coils = [(self.true_s, close)]
        super().coil(close)

    def indicate(self, what: int, seconds: int) -> None:
        self.shown = [(what, seconds)]

    def restart(self) -> None:
        raise PowerCut("the board starts again")


class Life:
    """mode: one of `life_orders.MODES` · seconds: lived, powered or not · counts: what happened, by name · told: the
    orders that were stated so far, by result.

    check: whether the rules of every second are held against it; those of every journal record always are.
    """

    def __init__(self, mode: str, seed: int, check: bool = True) -> None:
        self.mode = mode
        self.dice = Dice(seed)
        self.board = LifeBoard(MODES[mode].measures)
        self.head_end = HeadEnd(self, mode)
        self.rules = Rules(self, check)
        self.check = check
        self.mono_s = 0
        self.seconds = 0
        self.counts: dict[str, int] = {}
        self.under_way = b""
        self._quiet = False
        self._ends: list[tuple] = []  # (second, attribute of the board, what it is then)
        self._bus: modbus.RtuServer | None = None
        self._boot()
        self.meter.provision(self.head_end.record())
        self.rules.commissioned()
        self._due: list[list] = []
        for mean_s, act in self._acts():
            self._due.append([self._soon(mean_s), mean_s, act])
        self._next_s = 0
        self.head_end.begins()

    def _acts(self) -> "tuple":
        """(mean seconds from one to the next, what happens)."""
        return (
            (500, self._another_load),
            (2100, self.head_end.states),
            (2900, self.head_end.sends_late),
            (3100, self.head_end.is_forged),
            (2300, self._noise),
            (2700, self._key),
            (4 * HOUR_S, self._emergency),
            (3 * HOUR_S, self.head_end.token),
            (11 * HOUR_S, self._outage_told),
            (9 * HOUR_S, self._outage),
            (5 * HOUR_S, self._cut),
            (8 * HOUR_S, self._brown_out),
            (41 * HOUR_S, self._rtc),
            (13 * HOUR_S, self._relay),
            (7 * HOUR_S, self._tamper),
            (9 * HOUR_S, self._voltage),
            (29 * HOUR_S, self._heat),
            (17 * HOUR_S, self._storage),
            (31 * HOUR_S, self._pulses),
        )

    def count(self, what: str) -> None:
        """One more of them."""
        self.counts[what] = self.counts.get(what, 0) + 1

    # -- time ----------------------------------------------------------------------------------------------------------

    def run(self, seconds: int, told=None) -> None:
        """Let so many seconds pass; told(day) after each day."""
        until = self.seconds + seconds
        day = self.seconds // DAY_S
        while self.seconds < until:
            self.second()
            if told and self.seconds // DAY_S != day:
                day = self.seconds // DAY_S
                told(day)

    def second(self) -> None:
        """One second under power, with what happens in it; what a power cut costs is added to it."""
        self.seconds += 1
        try:
            self.board.pass_time(1)
            self.mono_s += 1
            self.meter.step(self.mono_s)
            if self.check:
                self.rules.second()
            if self.seconds >= self._next_s:
                self._happens()
            if self.seconds % _HOUSEKEEPING_S == 0:
                while self.meter.erase_due() and not self.board.flash.failing:
                    self.meter.erase_step()
        except PowerCut:
            self.count("cuts in flash")
            self._power_was_lost(self._outage_s())

    def _happens(self) -> None:
        now = self.seconds
        for end in self._ends[:]:
            if end[0] <= now:
                self._ends.remove(end)
                self._set(end[1], end[2])
        if not self._quiet:
            for entry in self._due:
                if entry[0] <= now:
                    entry[0] = self._soon(entry[1])
                    entry[2]()
        self.head_end.delivers()
        soonest = now + 30
        for entry in self._due:
            soonest = min(soonest, entry[0])
        for end in self._ends:
            soonest = min(soonest, end[0])
        self._next_s = max(now + 1, soonest)

    def _soon(self, mean_s: int) -> int:
        return self.seconds + 1 + self.dice.below(2 * mean_s)

    def _for(self, seconds: int, name: str, now, then) -> None:
        """An attribute of the board is `now`, and `then` again after so many seconds."""
        self._set(name, now)
        self._ends = [end for end in self._ends if end[1] != name]
        self._ends.append((self.seconds + seconds, name, then))

    def _set(self, name: str, value) -> None:
        if name == "failing":
            self.board.flash.failing = value
        elif name == "input_bits":
            self.board.input_bits = value
        else:
            setattr(self.board, name, value)

    # -- starts --------------------------------------------------------------------------------------------------------

    def _boot(self) -> None:
        """Start the firmware, again where the power fails in its start."""
        while True:
            self.mono_s = 0
            self.board.imported = self.board.exported = 0
            self.board.flash.power_on()
            meter = Meter(self.board)
            self.rules.watch(meter)
            try:
                meter.start(0)
            except PowerCut:
                self.count("cuts in starts")
                continue
            self.meter = meter
            self._bus = None
            return

    def _outage_s(self) -> int:
        return self.dice.one_of((0, 1, 5, 40, 300, 1200, 5400))

    def _power_was_lost(self, seconds: int) -> None:
        """What was volatile is gone, and time goes by."""
        self.board.true_s += seconds
        self.board.unix_s += seconds
        self.seconds += seconds
        self.board.flash.failing = False
        self.board.input_bits &= ~ports.INPUT_SUPPLY_BAD
        self._ends = [end for end in self._ends if end[1] != "failing"]
        if self.dice.below(5) == 0:
            self._arm_cut(3)
        self._boot()
        self.rules.booted()
        self.head_end.booted()

    def _arm_cut(self, among: int) -> None:
        flash = self.board.flash
        flash.cut_at(flash.ops + 1 + self.dice.below(among), self.dice.one_of(TORN))

    # -- what happens --------------------------------------------------------------------------------------------------

    def _another_load(self) -> None:
        hour = self.board.true_s % DAY_S // HOUR_S
        night = hour < 6
        watts = self.dice.one_of((60, 120, 200, 300) if night else (90, 250, 500, 900, 1500, 2400, 0))
        if self.dice.below(12) == 0:
            watts = self.dice.one_of((5000, 9000, 13_000))
        if 9 <= hour < 16 and self.head_end.exports and self.dice.below(2):
            watts = -self.dice.below(3000)
        self.board.watts = watts

    def _outage_told(self) -> None:
        """The board is warned, and most times power goes indeed."""
        self.count("outages with warning")
        self.meter.power_down()
        if self.dice.below(4):
            self._power_was_lost(self._outage_s())

    def _outage(self) -> None:
        self.count("outages")
        self._power_was_lost(self._outage_s())

    def _cut(self) -> None:
        self._arm_cut(6)

    def _brown_out(self) -> None:
        self.count("brown-outs")
        bits = self.board.input_bits
        self._for(1 + self.dice.below(90), "input_bits", bits | ports.INPUT_SUPPLY_BAD, bits)
        if self.dice.below(3) == 0:
            self._power_was_lost(self._outage_s())

    def _rtc(self) -> None:
        self.count("faults of the clock")
        jump_s = self.dice.one_of((-7200, -900, -61, -7, 4, 33, 600, 5400, 90_000))
        kind = self.dice.below(4)
        if kind == 0:
            self.board.clock_valid = False
            self._power_was_lost(self._outage_s())
        else:
            self.board.unix_s += jump_s

    def _relay(self) -> None:
        self.count("faults of the relay")
        for_s = self.dice.one_of((8, 60, 700, 4000))
        kind = self.dice.below(4)
        if kind == 0:
            self._for(for_s, "bypassed", True, False)
        elif kind == 1:
            self._for(for_s, "blind", True, False)
        else:
            self._for(for_s, "stuck", self.board.closed, None)

    def _tamper(self) -> None:
        self.count("tampering")
        bits = (ports.INPUT_COVER, ports.INPUT_TERMINAL_COVER, ports.INPUT_MAGNET, ports.INPUT_NEUTRAL_MISSING)
        bad = self.board.input_bits & ports.INPUT_SUPPLY_BAD
        self._for(1 + self.dice.below(400), "input_bits", self.dice.one_of(bits) | bad, 0)

    def _voltage(self) -> None:
        self.count("voltage out of bounds")
        self._for(1 + self.dice.below(120), "voltage", self.dice.one_of((1700, 1900, 2610, 2800)), 2300)

    def _heat(self) -> None:
        self.count("heat")
        self._for(1 + self.dice.below(300), "warm_dc", 960, 310)

    def _storage(self) -> None:
        self.count("faults of flash")
        self._for(1 + self.dice.below(400), "failing", True, False)

    def _pulses(self) -> None:
        self.count("cut pulse lines")
        self._for(60 + self.dice.below(1200), "pulses_cut", True, False)

    def _key(self) -> None:
        held_s = self.dice.one_of((0, 0, 4))
        self.rules.key_pressed()
        self.meter.press_connect(held_s)

    def _emergency(self) -> None:
        self.under_way = b"emergency"
        taken = self.meter.take_emergency()
        self.under_way = b""
        if taken:
            self.count("emergency credit taken")
            self.rules.emergency_taken()

    def _noise(self) -> None:
        """Frames on the bus that nobody sent, and a question of a master between them: no one changes anything."""
        self.count("frames of noise")
        if self._bus is None:
            self._bus = modbus.RtuServer(modbus.ServerPdu(MeterRegisters(self.meter)), UNIT)
        bus, dice = self._bus, self.dice
        ask = bytearray(bytes((UNIT, dice.one_of((3, 4)), dice.below(16), dice.below(8), 0, 1 + dice.below(60))))
        crc = modbus.crc16(ask)
        ask += bytes((crc & 0xFF, crc >> 8))
        damaged = bytearray(ask)
        damaged[dice.below(8)] ^= 1 + dice.below(255)
        ops = self.board.flash.ops
        for frame in (dice.draw(1 + dice.below(40)), damaged, ask):
            for byte in frame:
                bus.feed(byte)
            length = bus.end()
            if length:
                bus.answered()
        assert self.board.flash.ops == ops, "nothing on the bus but an order changes anything"

    # -- the end -------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """All that goes wrong is over, everything stated arrives: then what is applied is what was stated."""
        self._quiet = True
        for end in self._ends:
            self._set(end[1], end[2])
        self._ends = []
        self.board.flash.power_on()
        self.run(_STORM_S)
        self.head_end.settles()
        self.run(120)
        self.rules.settled()

    def digest(self) -> str:
        """Of the whole flash, in hexadecimal digits."""
        return "".join([f"{byte:02x}" for byte in hashlib.sha256(self.board.flash.data).digest()])

    def figures(self) -> "list":
        """What this life came to, for a reader."""
        meter = self.meter
        found: list[tuple] = [
            ("boots", meter.boot),
            ("journal records", meter.store.journal.sequence),
            ("intervals", meter.store.intervals.newest),
            ("events", meter.log.newest),
            ("flash operations", self.board.flash.ops),
            ("operations of the relay", meter.supply.relay.operations),
            ("imported, Wh", meter.energy.import_wh),
            ("balance, uc", meter.account.balance_uc()),
            ("clock", "known" if meter.clock.known else "unknown"),
        ]
        for name in sorted(self.counts):
            found.append((name, self.counts[name]))
        return found
