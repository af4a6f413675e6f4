"""The supply engine against everything at once: holds, releases, causes, keys, faults of the relay, of the journal and
of power, and after each second the rules that never give way.

The rules are those of the design, said again here in few words and without looking at how the engine finds them.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from meter import transitions
from meterlink import bodies, reasons
from tests.firmware.supply_bench import OFF, ON, OUT, READY, Bench, limits_of

ARREARS, MOVE_OUT = reasons.HOLD_ARREARS, reasons.HOLD_MOVE_OUT
SAFETY, PROTECTION = reasons.HOLD_SAFETY, reasons.HOLD_PROTECTION
DIRECT, PERMIT = bodies.CLOSE_DIRECT, bodies.CLOSE_PERMIT
DWELL_S, STABLE_S, TRIP_S, SPREAD_S = 4, 3, 5, 2
AFTER_S = st.sampled_from((1, 1, 4, 12, 30))  # how long each event is left to work
MAX_ATTEMPTS = 3
HARM = 1 << reasons.CAUSE_OVER_VOLTAGE | 1 << reasons.CAUSE_TEMPERATURE
LIMITS = {
    mode: limits_of(
        supply_mode=mode,
        trip_delay_s=TRIP_S,
        dwell_s=DWELL_S,
        stable_s=STABLE_S,
        spread_s=SPREAD_S,
        max_current_ma=10_000,
        overload=((20_000, 2), (0, 0), (0, 0)),
        overload_rest_s=6,
        overload_closes=2,
        over_voltage_dv=2600,
        under_voltage_dv=1900,
        voltage_s=3,
        max_temperature_dc=900,
    )
    for mode in transitions.MODES
}


class Supplies(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(LIMITS[0])
        self.ordered = 0  # holds as ordered
        self.asked = 0  # a safety hold stood while supply was off, and the key has not closed it since

    @initialize(mode=st.sampled_from(sorted(LIMITS)))
    def begin(self, mode: int) -> None:
        self.change_mode(mode)
        self.bench.run(20)

    # -- what may happen -----------------------------------------------------------------------------------------------

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.second()

    @rule(
        hold=st.sampled_from((ARREARS, MOVE_OUT, SAFETY, PROTECTION)), delay_s=st.sampled_from((0, 30)), after_s=AFTER_S
    )
    def hold(self, hold: int, delay_s: int, after_s: int) -> None:
        before = self.bench.supply.holds
        self.bench.hold(hold, delay_s)
        assert self.bench.supply.holds == (before if self.bench.fails else before | 1 << hold)
        self.ordered = self.bench.supply.holds
        self.wait(after_s)

    @rule(
        hold=st.sampled_from((ARREARS, MOVE_OUT, SAFETY, PROTECTION)),
        close=st.sampled_from((DIRECT, PERMIT)),
        after_s=AFTER_S,
    )
    def release(self, hold: int, close: int, after_s: int) -> None:
        letter = "a" if close == DIRECT else "d"
        if hold != PROTECTION and letter not in transitions.MODES[self.bench.limits.supply_mode]:
            return  # refused
        self.bench.release(hold, close)
        self.ordered = self.bench.supply.holds
        self.wait(after_s)

    @rule(lacks=st.booleans(), after_s=AFTER_S)
    def pay(self, lacks: bool, after_s: int) -> None:
        self.bench.causes = OUT if lacks else 0
        self.wait(after_s)

    @rule(watts=st.sampled_from((0, 1000, 3000, 6000)), after_s=AFTER_S)
    def draw(self, watts: int, after_s: int) -> None:
        self.bench.board.watts = watts
        self.wait(after_s)

    @rule(power_w=st.sampled_from((0, 500, 2000)), after_s=st.sampled_from((1, 30, 90)))
    def limit_load(self, power_w: int, after_s: int) -> None:
        self.bench.limit_load(power_w)
        self.wait(after_s)

    @rule(voltage=st.sampled_from((2300, 1700, 1880, 2590, 2700)), after_s=AFTER_S)
    def feed(self, voltage: int, after_s: int) -> None:
        self.bench.board.voltage = voltage
        self.wait(after_s)

    @rule(temperature=st.sampled_from((250, 850, 950)), after_s=AFTER_S)
    def warm(self, temperature: int, after_s: int) -> None:
        self.bench.board.temperature = temperature
        self.wait(after_s)

    @rule(stuck=st.sampled_from((None, True, False)))
    def jam(self, stuck: bool | None) -> None:
        self.bench.board.stuck = stuck

    @rule(after_s=AFTER_S)
    def all_is_well(self, after_s: int) -> None:
        """Nothing but holds stands against supply."""
        bench, board = self.bench, self.bench.board
        bench.fails, bench.causes = False, 0
        board.watts, board.voltage, board.temperature, board.stuck = 0, 2300, 250, None
        self.wait(after_s)

    @rule(after_s=AFTER_S, held_s=st.sampled_from((-1, 0, 3)))
    def all_is_released(self, after_s: int, held_s: int) -> None:
        """Nor do they; and the customer may press the key."""
        self.all_is_well(1)
        listed = transitions.MODES[self.bench.limits.supply_mode]
        for hold in (ARREARS, MOVE_OUT, SAFETY, PROTECTION):
            self.bench.release(hold, DIRECT if "a" in listed else PERMIT)
        self.ordered = 0
        self.wait(after_s)
        if held_s >= 0:
            self.press(held_s, after_s)

    @rule(mode=st.sampled_from(sorted(LIMITS)))
    def change_mode(self, mode: int) -> None:
        self.bench.limits = self.bench.supply.limits = LIMITS[mode]

    @rule(after_s=AFTER_S)
    def journal_fails(self, after_s: int) -> None:
        self.bench.fails = True
        self.wait(after_s)

    @rule(held_s=st.sampled_from((0, 3)), after_s=AFTER_S)
    def press(self, held_s: int, after_s: int) -> None:
        self.bench.supply.press(held_s)
        self.wait(after_s)

    @precondition(lambda self: not self.bench.fails)
    @rule()
    def cut_power(self) -> None:
        self.bench.start()
        assert self.bench.supply.holds == self.ordered, "what was applied is durable"

    # -- a second, and what must hold in it ----------------------------------------------------------------------------

    def second(self) -> None:
        bench = self.bench
        supply = bench.supply
        control, pulses, attempts = supply.control, len(bench.board.coils), supply.relay.attempts
        mode = bench.limits.supply_mode
        pressed = supply._key
        bench.run(1)
        protected = self.ordered >> PROTECTION & 1
        holds = self.ordered & (1 << SAFETY if protected else ~(1 << PROTECTION))
        if control != ON and self.ordered >> SAFETY & 1:
            self.asked = 1
        made = bench.board.coils[pulses:]
        assert len(made) <= 1
        if bench.fails:
            assert not made and supply.control == control, "without a journal the relay stays as it is"
        if supply.control != control:
            self.moved(control, supply.control, mode)
        for at_s, close in made:
            assert close == (supply.control == ON), "the relay is told what is meant, and nothing else"
            again = supply.control == control
            if again:
                assert supply.relay.attempts == attempts + 1 or (pressed and supply.relay.attempts == 1)
                assert not close or attempts < MAX_ATTEMPTS or pressed, "a close is tried three times"
            if close:
                assert not holds, "never closed against a hold"
                causes = bench.causes if not protected else 0
                assert not causes, "nor without credit"
                assert 1900 <= bench.board.voltage <= 2600 and (again or bench.board.temperature <= 900)
                if not again and self.asked:
                    assert pressed, "after safety only the key closes"
            if close and not again:
                self.asked = 0
            harm = supply.causes & HARM or self.ordered >> SAFETY & 1
            if pulses and not harm and bench.mono_s > at_s - bench.board.coils[pulses - 1][0]:
                assert at_s - bench.board.coils[pulses - 1][0] >= DWELL_S, "the dwell is kept"

    def moved(self, start: int, end: int, mode: int) -> None:
        """One or two transitions in one second, each listed by the mode."""
        steps = {(row[2], row[3]) for row in transitions.TRANSITIONS if row[0] in transitions.MODES[mode]}
        two = {(a, d) for a, b in steps for c, d in steps if b == c}
        assert (start, end) in steps | two

    # -- always --------------------------------------------------------------------------------------------------------

    @invariant()
    def intent_and_reason_agree(self) -> None:
        supply = self.bench.supply
        assert supply.control in (OFF, ON, READY)
        if supply.holds & ~(1 << PROTECTION):
            assert supply.why()[0] == "hold" or supply.holds >> PROTECTION & 1

    def teardown(self) -> None:
        """When nothing stands against it, and the customer presses the key where it is asked for, supply is on."""
        bench = self.bench
        board = bench.board
        self.all_is_released(30, -1)
        if bench.supply.control != ON or not board.closed:  # where it is on, three attempts met a contact that stuck
            assert bench.supply.control == ON or bench.supply.why() == ("key", 0)
            bench.supply.press(0)
            bench.run(20)
        assert board.closed and bench.supply.control == ON
        assert bench.supply.relay.operations >= len(board.coils)


TestSupplies = Supplies.TestCase
TestSupplies.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
