"""Every state of supply that orders, credit, loads, keys, modes and restarts bring about: none is a dead end."""

from collections.abc import Callable

from meter import transitions
from meterlink import bodies, reasons
from tests.firmware.supply_bench import OFF, ON, OUT, READY, Bench, limits_of

DIRECT, PERMIT = bodies.CLOSE_DIRECT, bodies.CLOSE_PERMIT
HOLDS = (reasons.HOLD_ARREARS, reasons.HOLD_SAFETY, reasons.HOLD_PROTECTION)
LIMITS = {
    mode: limits_of(supply_mode=mode, trip_delay_s=0, dwell_s=0, stable_s=0, max_current_ma=10_000, overload_rest_s=1)
    for mode in transitions.MODES
}

State = tuple[bytes, int, int, int]  # what is stored, causes of the account, load, mode
Action = Callable[[Bench], None]


def normal(stored: bytes) -> bytes:
    """What is stored, without what only counts or tells: attempts, operations, who was last."""
    return stored[:9] + bytes(5) + stored[14:-2] + bytes(2)


def state_of(bench: Bench) -> State:
    return normal(bench.supply.pack()), bench.causes, bench.board.watts, bench.limits.supply_mode


def bench_in(state: State) -> Bench:
    """A bench that was started in a state."""
    stored, causes, watts, mode = state
    bench = Bench(LIMITS[mode], stored)
    bench.causes, bench.board.watts = causes, watts
    bench.board.closed = bench.supply.control == ON
    return bench


def listed(bench: Bench, close: int) -> bool:
    return ("a" if close == DIRECT else "d") in transitions.MODES[bench.limits.supply_mode]


def released(hold: int, close: int) -> Action:
    def act(bench: Bench) -> None:
        if listed(bench, close) or hold == reasons.HOLD_PROTECTION:
            bench.release(hold, close)

    return act


def pressed(held_s: int) -> Action:
    return lambda bench: bench.supply.press(held_s)


def changed(**values: int) -> Action:
    def act(bench: Bench) -> None:
        for name, value in values.items():
            setattr(bench, name, value)

    return act


def overloaded(bench: Bench) -> None:
    bench.board.watts = 5000
    bench.run(10)


def calm(bench: Bench) -> None:
    bench.board.watts = 0


def mode(number: int) -> Action:
    def act(bench: Bench) -> None:
        bench.limits = bench.supply.limits = LIMITS[number]

    return act


ACTIONS: list[Action] = [pressed(0), pressed(3), changed(causes=OUT), changed(causes=0), overloaded, calm]
ACTIONS += [mode(number) for number in transitions.MODES]
ACTIONS += [lambda bench, hold=hold: bench.hold(hold) for hold in HOLDS]  # type: ignore[misc]
ACTIONS += [released(hold, close) for hold in HOLDS[:2] for close in (DIRECT, PERMIT)]
ACTIONS += [released(reasons.HOLD_PROTECTION, DIRECT)]


def comes_back(bench: Bench) -> bool:
    """All that anybody holds against supply goes; time passes, and where it is asked for, the customer presses the
    key."""
    for hold in HOLDS:
        bench.release(hold, DIRECT if listed(bench, DIRECT) else PERMIT)
    bench.causes = 0
    calm(bench)
    bench.run(4)
    if bench.supply.control != ON:
        assert bench.supply.why() == ("key", 0), "what keeps it off is told"
        bench.supply.press(0)
        bench.run(2)
    return bench.supply.control == ON and bench.board.closed


def test_from_every_state_supply_comes_back() -> None:
    first = Bench(LIMITS[0])
    first.run(2)
    seen = {state_of(first)}
    waiting = list(seen)
    while waiting:
        state = waiting.pop()
        assert comes_back(bench_in(state)), state
        for action in ACTIONS:
            bench = bench_in(state)
            action(bench)
            bench.run(2)
            found = state_of(bench)
            if found not in seen:
                seen.add(found)
                waiting.append(found)
    assert {state[0][0] for state in seen} == {OFF, ON, READY}
    assert len(seen) > 1000
