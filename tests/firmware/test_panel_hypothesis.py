"""Whatever has happened to a meter and whatever was typed: register, number and the reason for being off stay shown."""

from hypothesis import given, settings
from hypothesis import strategies as st

from meter import panel, panel_items
from meter.panel import Panel
from meterlink import bodies, reasons, states
from tests.firmware.ramboard import METER
from tests.firmware.tokens import TID, TypedRig, token

HOLDS = st.integers(reasons.HOLD_ARREARS, reasons.HOLD_PROTECTION)
ACTIONS = st.one_of(
    st.tuples(st.just("hold"), HOLDS),
    st.tuples(st.just("release"), HOLDS),
    st.tuples(st.just("permit"), HOLDS),
    st.tuples(st.just("buy"), st.integers(1, 50)),
    st.tuples(st.just("load"), st.sampled_from([0, 200, 20_000])),
    st.tuples(st.just("stuck"), st.sampled_from([None, False, True])),
    st.tuples(st.just("voltage"), st.sampled_from([2300, 1000])),
    st.tuples(st.just("wait"), st.integers(1, 120)),
    st.tuples(st.just("outage"), st.integers(0, 100)),
    st.tuples(st.just("keys"), st.text("0123456789*#", max_size=24)),
    st.tuples(st.just("long"), st.just(0)),
)


class House:
    """A meter, its panel and its customer. All that is ever shown has 16 columns."""

    def __init__(self, codes: bool) -> None:
        self.rig = TypedRig()
        self.codes = codes
        self.panel = Panel(self.rig.meter, codes)
        self.bought = 0

    def do(self, what: str, value: object) -> None:
        rig = self.rig
        match what, value:
            case "hold", int(n):
                rig.give(rig.hold(n))
            case "release", int(n):
                rig.give(rig.release(n))
            case "permit", int(n):
                rig.give(rig.release(n, bodies.CLOSE_PERMIT))
            case "buy", int(units):
                self.bought += 1
                self.keys(token(TID + self.bought, units) + "#")
            case "load", int(watts):
                rig.board.watts = watts
            case "stuck", stuck:
                rig.board.stuck = stuck
            case "voltage", voltage_dv:
                rig.board.voltage = voltage_dv
            case "wait", int(seconds):
                self.wait(seconds)
            case "outage", int(seconds):
                rig.outage(seconds)
                self.panel = Panel(rig.meter, self.codes)
            case "keys", str(text):
                self.keys(text)
            case "long", _:
                self.panel.key("#", rig.mono_s, panel.HELD_S)
        self.look()

    def keys(self, text: str) -> None:
        for char in text:
            self.panel.key(char, self.rig.mono_s)
            self.look()

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.rig.run(1)
            self.panel.step(self.rig.mono_s)
        self.look()

    def look(self) -> list[str]:
        shown = list(self.panel.lines())
        assert [len(line) for line in shown] == [16, 16]
        assert 0 <= self.panel.code() <= 99 and all(0 <= lamp <= 0xFFFF for lamp in self.panel.leds())
        return shown


@settings(max_examples=60)
@given(st.booleans(), st.lists(ACTIONS, max_size=12))
def test_each_turn_shows_register_number_and_reason(codes: bool, actions: list[tuple[str, object]]) -> None:
    house = House(codes)
    for action in actions:
        house.do(*action)
    # Whoever was there has gone; a token of class 1, found by chance, has been shown.
    house.rig.board.watts = 0
    house.wait(panel.IDLE_S + 20 * panel.SHOW_S)
    meter = house.rig.meter
    energy = panel_items.energy(meter.committed()[1])
    lines = []
    for _ in range(len(house.panel._items())):
        if meter.supply.control != states.CONTROL_CONNECTED:
            reason = panel_items.reason(meter)
            first = house.look()[0]
            assert first.startswith(f"OFF-{reason:02d}" if house.panel.codes else f"OFF {panel_items.REASON[reason]}")
        lines += house.look()
        house.wait(panel.SCROLL_S)
        assert panel_items.energy(meter.committed()[1]) == energy
    assert any(line.endswith(f" {METER}") for line in lines), lines
    assert any(line.endswith(f" {energy}") for line in lines), lines
    if meter.reconnect_uc():
        need = panel_items.money(meter, meter.reconnect_uc(), True)
        assert any(line.endswith(f" {need}") for line in lines)
