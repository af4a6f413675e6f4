"""Displays, keypad and the task that runs a panel, against the chips. Both interpreters; the font is MicroPython's, or
stands in for it."""

import sys

from meter import panel
from meter.drivers import hd44780
from meter.drivers.display import REST
from meter.drivers.keypad import Keypad
from meter.keys import Keys
from meter.panel import Panel
from meter.shell.panel import TICK_MS, Front
from meterlink import bodies, reasons
from tests.firmware.chips import panel as chips
from tests.firmware.ramboard import Rig
from tests.firmware.tokens import TID, TypedRig, token

CLEAN = " " * 16

try:
    from micropython import heap_lock, heap_unlock
except ImportError:
    heap_lock = heap_unlock = None

try:
    import framebuf
except ImportError:
    framebuf = sys.modules["framebuf"] = chips.Framebuf


def over_pins(chip):
    wires = chips.Wires(chip)
    return hd44780.Hd44780(hd44780.Pins(wires.rs, wires.e, wires.data, chip.time.sleep_us, wires.light)), wires


def over_i2c(chip, speed_hz=100_000):
    expander = chips.Expander(chip, speed_hz)
    return hd44780.Hd44780(hd44780.Pcf8574(expander, chip.time.sleep_us)), expander


# -- HD44780 -----------------------------------------------------------------------------------------------------------


def test_characters_stand_where_they_belong():
    for make in (over_pins, over_i2c, lambda chip: over_i2c(chip, 400_000)):
        chip = chips.Hd44780(chips.Time())
        display, _ = make(chip)
        assert not display.write(0, 0, "AB"), "the first call sets it up"
        assert display.write(0, 0, "Credit     12.34") and display.write(1, 12, "9\xff")
        assert display.write(0, 11, "98")
        assert chip.shown() == ("Credit     98.34", "            9\xff  ")
        assert not chip.missed and display.faults == 0


def test_it_is_set_up_from_whatever_state():
    for half in (False, True):
        chip = chips.Hd44780(chips.Time())
        display, _ = over_pins(chip)
        display.write(0, 0, "x")
        display.write(0, 0, "left by the last")
        if half:
            chip.high = 7  # the processor was reset between two nibbles
        again, _ = over_pins(chip)
        again.write(0, 0, "x")
        again.write(1, 0, "now")
        assert chip.shown() == (CLEAN, "now             ") and not chip.missed, half


def test_a_display_that_comes_back():
    chip = chips.Hd44780(chips.Time())
    display, expander = over_i2c(chip)
    display.write(0, 0, "x")
    assert display.write(0, 0, "on")
    expander.cut = 5  # in the middle of a character
    assert not display.write(0, 0, "lost") and display.faults == 1
    chip.reset()
    before_us = chip.time.now_us
    for _ in range(REST):
        assert not display.write(0, 0, "nobody listens")
    assert chip.time.now_us == before_us, "it costs nothing while it is gone"
    expander.cut = -1
    assert not display.write(0, 0, "set up") and display.write(0, 0, "back")
    assert chip.shown() == ("back            ", CLEAN) and not chip.missed


def test_light_and_contrast():
    chip = chips.Hd44780(chips.Time())
    display, expander = over_i2c(chip)
    display.light(False)
    display.write(0, 0, "x")
    display.write(0, 0, "dark")
    assert not chip.light and chip.shown() is not None
    display.light(True)
    assert chip.light
    display.write(0, 0, "lit")
    assert chip.light and chip.shown()[0].startswith("lit")
    expander.cut = 0
    display.light(False)
    assert display.faults == 1


class Pwm:
    duty = -1

    def duty_u16(self, duty):
        assert 0 <= duty <= 65535
        self.duty = duty


def test_contrast_by_a_pwm():
    chip, pwm = chips.Hd44780(chips.Time()), Pwm()
    wires = chips.Wires(chip)
    display = hd44780.Hd44780(hd44780.Pins(wires.rs, wires.e, wires.data, chip.time.sleep_us), pwm)
    display.write(0, 0, "x")
    display.contrast(0)
    assert pwm.duty == 65535
    display.contrast(15)
    assert pwm.duty == 0


# -- SSD1306 -----------------------------------------------------------------------------------------------------------


def oled():
    from meter.drivers.ssd1306 import Ssd1306

    chip = chips.Ssd1306()
    display = Ssd1306(chip)
    assert not display.write(0, 0, "x")
    return chip, display


def glyph(char):
    """Lit dots of a character in the font."""
    buf = bytearray(8)
    draw = framebuf.FrameBuffer(buf, 8, 8, framebuf.MONO_VLSB)
    draw.text(char, 0, 0)
    return [(x, y) for x in range(8) for y in range(8) if buf[x] >> y & 1]


def test_oled_shows_both_lines():
    chip, display = oled()
    assert display.write(0, 0, "Used  ") and display.write(0, 9, "7") and display.write(1, 15, "#\xff"[0])
    expected = set()
    for top, column, text in ((8, 0, "Used  "), (8, 9, "7"), (40, 15, "#")):
        for place, char in enumerate(text):
            for x, y in glyph(char):
                expected |= {(8 * (column + place) + x, top + 2 * y), (8 * (column + place) + x, top + 2 * y + 1)}
    assert {(x, y) for x in range(128) for y in range(64) if chip.dot(x, y)} == expected
    display.write(1, 3, "\xff")
    assert all(chip.dot(x, y) for x in range(24, 32) for y in range(40, 56))


def test_oled_is_set_up_as_its_data_sheet_says():
    chip, display = oled()
    assert chip.on and chip.set[0xA8] == [63] and chip.set[0x8D] == [0x14] and chip.set[0x81] == [17 * 8]
    display.contrast(15)
    assert chip.set[0x81] == [255]
    display.light(False)
    assert chip.set[0x81][0] < 17 and chip.on
    chip.broken = True
    assert not display.write(0, 0, "x")
    chip.reset()
    chip.broken = False
    for _ in range(REST + 1):
        assert not display.write(0, 0, "x")
    assert display.write(0, 0, "A") and chip.on and chip.dot(glyph("A")[0][0], 8 + 2 * glyph("A")[0][1])


# -- keypad ------------------------------------------------------------------------------------------------------------


def test_every_key():
    switches = chips.Switches()
    keypad = Keypad(switches.rows, switches.columns)
    for key in chips.Switches.KEYS:
        switches.down = {key}
        assert [keypad.down() for _ in range(3)] == ["", key, key]
        switches.down = set()
        assert [keypad.down() for _ in range(3)] == [key, "", ""]
    assert [row.level for row in switches.rows] == [1] * 4, "nothing is driven between scans"


def test_bounces_and_several_keys_are_nothing():
    switches = chips.Switches()
    keypad = Keypad(switches.rows, switches.columns)
    for bounce in ({"5"}, set(), {"5"}, set(), {"6"}, {"5"}):
        switches.down = bounce
        assert keypad.down() == ""
    assert keypad.down() == "5"
    for several in ({"1", "2"}, {"1", "5"}, {"1", "2", "4"}, set("147*")):
        switches.down = several
        assert [keypad.down() for _ in range(3)][1:] == ["", ""]


def test_a_key_counts_once_and_hash_when_it_comes_up():
    keys = Keys()

    def fed(*downs):
        return [told for told in [keys.feed(down, TICK_MS) for down in downs] if told[0]]

    assert fed("1", "1", "1", "", "1", "2", "2") == [("1", 0), ("1", 0), ("2", 0)]
    assert fed("", "#", "#") == [] and fed("") == [("#", 0)]
    ticks = panel.HELD_S * 1000 // TICK_MS
    assert fed(*["#"] * (ticks + 1)) == [("#", panel.HELD_S)] and fed("#", "#", "", "") == []
    assert fed("#", "#", "7", "7", "") == [("#", 0), ("7", 0)], "rolled from one key to the next"


# -- all of it ---------------------------------------------------------------------------------------------------------


class Bench:
    """A meter with a panel of real parts."""

    def __init__(self, rig):
        self.rig = rig
        self.time = chips.Time()
        self.chip = chips.Hd44780(self.time)
        display, self.expander = over_i2c(self.chip)
        self.switches = chips.Switches()
        self.lamps = [chips.Pin(self.time) for _ in range(3)]
        self.buzzed = 0
        self.buzzer = chips.Pin(self.time, self.buzz)
        self.panel = Panel(rig.meter)
        keypad = Keypad(self.switches.rows, self.switches.columns)
        self.front = Front(self.panel, keypad, display, self.lamps, self.buzzer)
        self.ms = 0

    def buzz(self, level):
        self.buzzed += level

    def turn(self, count=1):
        for _ in range(count):
            self.front.turn(TICK_MS)
            self.ms += TICK_MS
            if self.ms % 1000 == 0:
                self.rig.run(1)

    def press(self, keys, ms=60):
        for key in keys:
            self.switches.down = {key}
            self.turn(ms // TICK_MS)
            self.switches.down = set()
            self.turn(3)

    def settle(self):
        self.turn(20)
        return self.chip.shown()


def test_what_is_shown_is_what_the_panel_says():
    bench = Bench(TypedRig())
    for _ in range(300):
        bench.turn(5)
    assert bench.settle() == bench.panel.lines()
    assert not bench.chip.missed


def test_a_token_by_hand():
    bench = Bench(TypedRig())
    bench.turn(10)
    bench.press(token(TID, 100))
    assert bench.settle()[1].endswith("20/20")
    before = bench.buzzed
    bench.press("#")
    assert bench.settle() == ("Accepted        ", "T01    +10.00kWh") and bench.buzzed > before
    assert bench.rig.meter.account.balance_uc() == 10_000_000
    bench.turn(40)
    assert bench.buzzer.level == 0, "a sound ends"
    bench.press(token(TID, 100))
    bench.turn(40)
    before = bench.buzzed
    bench.press("#")
    bench.turn(40)
    assert bench.settle()[0] == "Used before     " and bench.buzzed - before == 3, "three short ones"
    assert bench.buzzer.level == 0


def test_a_long_press_closes_and_a_short_one_does_not():
    bench = Bench(Rig(credit_uc=1_000_000_000))
    bench.turn(1000)
    bench.rig.give(bench.rig.hold(reasons.HOLD_ARREARS))
    bench.rig.run(100)
    bench.rig.give(bench.rig.release(reasons.HOLD_ARREARS, bodies.CLOSE_PERMIT))
    bench.press("#", 2000)
    bench.turn(200)
    assert not bench.rig.board.closed
    bench.press("#", 3200)
    bench.turn(200)
    assert bench.rig.board.closed


def test_lamps_blink_and_stand():
    bench = Bench(Rig())
    bench.turn(100)
    seen = set()
    for _ in range(200):
        bench.turn()
        seen.add(tuple([lamp.level for lamp in bench.lamps]))
    assert {lamps[0] for lamps in seen} == {1}, "out of credit: it stands"
    assert {lamps[2] for lamps in seen} == {0, 1}, "a trip is on its way: it blinks"


def test_a_display_that_is_replaced_shows_all_again():
    bench = Bench(TypedRig())
    assert bench.settle() == bench.panel.lines()
    bench.expander.cut = 3
    bench.press("*10#")
    bench.expander.cut = -1
    bench.chip.reset()
    bench.turn(REST + 2)
    assert bench.settle() == bench.panel.lines() != (CLEAN, CLEAN)


def test_no_turn_writes_much():
    bench = Bench(TypedRig())
    bench.turn(50)
    for key in "*10#":
        bench.switches.down = {key}
        for _ in range(4):
            before_us = bench.time.now_us
            bench.turn()
            assert bench.time.now_us - before_us < 6000
        bench.switches.down = set()
        bench.turn(3)


class Idle:
    """A part at rest: no key is down, and whatever is written is taken."""

    def write(self, row, column, text):
        return True

    def light(self, on):
        pass

    def contrast(self, level):
        pass

    def value(self, level=None):
        return 1


def test_a_turn_in_which_nothing_changes_takes_nothing_from_the_heap():
    part = Idle()
    rig = TypedRig()
    rig.run(2)
    shown = Panel(rig.meter)
    front = Front(shown, Keypad([part] * 4, [part] * 3), part, [part] * 3, part)
    for _ in range(100):
        front.turn(TICK_MS)
    shown.key("1", rig.mono_s)  # its click plays
    if heap_lock:
        heap_lock()
    try:
        for _ in range(100):
            front.turn(TICK_MS)
    finally:
        if heap_lock:
            heap_unlock()
    assert shown.lines()[0].startswith("1 ")
