"""The panel: what scrolls, tokens, codes, the reconnection key, lamps and sounds. Both interpreters."""

from meter import panel, panel_items
from meter.panel import Panel
from meter.registers import MeterRegisters
from meterlink import bodies, orders, reasons, registers, states
from meterlink.sts import issue
from meterlink.sts.token import MANAGE, SET_POWER
from tests.firmware import stated, tokens
from tests.firmware.ramboard import METER, RamBoard, Rig
from tests.firmware.tokens import KWH_UC, TID, TypedRig, sections, token, wrong_digits

BLANK = " " * 16
ALL_TESTS = "56493153725450313471"


class Front:
    """A meter's panel and the hand in front of it."""

    def __init__(self, rig=None, codes=False):
        self.rig = rig or TypedRig()
        self.panel = Panel(self.rig.meter, codes)
        self.sounds = []

    def press(self, keys):
        for char in keys:
            self.panel.key(char, self.rig.mono_s)
            self.sounds.append(self.panel.buzzer())
        return self.lines()

    def hold(self):
        self.panel.key("#", self.rig.mono_s, panel.HELD_S)
        return self.lines()

    def wait(self, seconds):
        for _ in range(seconds):
            self.rig.run(1)
            self.panel.step(self.rig.mono_s)
            self.sounds.append(self.panel.buzzer())
        return self.lines()

    def lines(self):
        shown = self.panel.lines()
        assert [len(line) for line in shown] == [16, 16], shown
        return shown

    def cycle(self):
        """All lines of one turn of the standing items."""
        found = []
        for _ in range(12):
            found.extend(self.lines())
            self.wait(panel.SCROLL_S)
        return found

    def item(self, code):
        """The value of an item, opened by its code."""
        self.press("*{:02d}#".format(code))
        assert self.panel.code() == code
        value = self.lines()[1].strip()
        self.press("**")
        return value


def test_what_scrolls():
    front = Front(TypedRig(plan=None))
    front.press(token(units=1234) + "#")
    front.rig.board.watts = 36_000
    front.wait(100)
    front.rig.meter.commit([])
    front.rig.board.watts = 0
    seen = front.cycle()
    assert "Used     1.00kWh" in seen and "No  123456789012" in seen and "Credit 122.40kWh" in seen, seen
    assert "Price 1.0000/kWh" in seen and "Board      BENCH" in seen
    assert not [line for line in seen if "OFF" in line or "Supply" in line]


def test_a_number_of_14_digits_is_whole():
    rig = Rig(commission=False)
    rig.METER = 0
    rig.meter.provision(rig.record(meter=12_345_678_901_234))
    for codes in (False, True):
        front = Front(rig, codes)
        assert [line for line in front.cycle() if line.endswith(" 12345678901234")]


def test_money_is_rounded_against_the_holder():
    meter = Rig().meter
    shown = [
        panel_items.money(meter, uc, up) for up in (False, True) for uc in (19_999, -1, 0, 1, 12_345_678_901_230_000)
    ]
    assert shown == [
        "0.01",
        "-0.01",
        "0.00",
        "0.00",
        "12345678901.23",
        "0.02",
        "0.00",
        "0.00",
        "0.01",
        "12345678901.23",
    ]


def test_a_token():
    front = Front()
    assert front.press("1234567890") == ("1234 5678 90    ", "           10/20")
    assert front.press("*") == ("1234 5678 9     ", "            9/20")
    assert front.press("*" * 9)[1] != "            0/20", "nothing is left, the items scroll again"
    digits = token(TID, 255)
    assert front.press(digits) == (
        "{} {} {}  ".format(digits[:4], digits[4:8], digits[8:12]),
        "{} {}  20/20".format(digits[12:16], digits[16:]),
    )
    assert front.press("7")[1].endswith("20/20") and front.sounds[-1] == panel.WRONG_KEY
    assert front.press("#") == ("Accepted        ", "T01    +25.50kWh")
    assert front.sounds[-1] == panel.ACCEPTED and front.rig.meter.account.balance_uc() == 25_500_000
    front.wait(panel.SHOW_S)
    assert front.lines()[0] != "Accepted        "
    assert front.press(digits + "#") == ("Used before     ", "T17             ")
    assert front.sounds[-1] == panel.REJECTED
    assert front.item(panel_items.LAST_TOKEN) == "T17"


def test_the_next_token_may_follow_at_once():
    front = Front()
    front.press(token(TID) + "#")
    front.press(token(TID + 1) + "#")
    assert front.rig.meter.account.balance_uc() == 2 * KWH_UC


def test_every_answer_has_words_that_fit():
    for code, word in panel.ANSWER.items():
        assert len(word) <= 16, code
    for number, word in panel_items.REASON.items():
        assert len("OFF " + word) <= 16, number


def test_half_a_token_is_forgotten():
    front = Front()
    front.press("123")
    front.wait(panel.IDLE_S - 1)
    assert front.lines()[0].startswith("123 ")
    front.wait(1)
    assert "123 " not in front.lines()[0]


def test_a_key_change_says_how_far_it_is():
    front = Front()
    parts = sections()
    for number, digits in enumerate(parts[:3]):
        assert front.press(digits + "#") == ("Type the next   ", "T02          {}/4".format(number + 1))
    assert front.press(parts[3] + "#")[0] == "Accepted        "
    assert front.item(71) == "2"


def test_wrong_tokens_lock_and_say_how_long():
    front = Front()
    for number in range(2):
        assert front.press(wrong_digits(number) + "#") == ("Wrong token     ", "T16             ")
    front.press(wrong_digits(2) + "#")
    front.wait(panel.SHOW_S)
    left_s = front.rig.meter.typed.lockout.left_s
    assert 0 < left_s < 10 and front.lines() == ("Locked       *35", fit("{} s".format(left_s)))
    front.press("*1")
    assert front.lines()[1].startswith("*1"), "codes are open while tokens are locked"
    front.press("**")
    assert front.lines()[0] != "Locked       *35"
    front.press("1")
    assert front.lines()[0] == "Locked       *35" and front.sounds[-1] == panel.REJECTED
    front.wait(left_s)
    assert front.press(token() + "#")[0] == "Accepted        "


def fit(value):
    return BLANK[: 16 - len(value)] + value


def test_every_item_can_be_opened_before_and_after_commissioning():
    for rig in (TypedRig(commission=False), Rig(), TypedRig()):
        for codes in (False, True):
            front = Front(rig, codes)
            opened = []
            front.press("*#")
            while front.panel.code() not in opened:
                opened.append(front.panel.code())
                front.lines()
                front.press("#")
                if front.panel.code() == panel_items.LANGUAGE:
                    break
            assert opened == [row[0] for row in panel_items.ITEMS if row[0] < panel_items.LANGUAGE]
            front.press("**")
            for row in panel_items.ITEMS:
                front.press("*{:02d}#".format(row[0]))
                assert front.panel.code() == row[0]
                if row[0] == panel_items.KEYS:
                    front.press("**")


def test_the_legal_part_by_version_and_hash():
    front = Front()
    front.rig.meter.update.legal_sha256 = bytes(range(0xE0, 0x100))
    assert (front.item(61), front.item(66)) == ("1", "e0e1e2e3e4e5e6e7")


def test_codes_are_unique_and_sorted_and_labels_fit():
    codes = [row[0] for row in panel_items.ITEMS]
    assert codes == sorted(set(codes))
    for _, identifier, label, _, _ in panel_items.ITEMS:
        assert len(label) <= 14 and 0 <= identifier < 1 << 32


def test_numbers_in_place_of_words():
    front = Front(codes=True)
    digits = token(TID, 100)
    assert front.press(digits + "#") == ("30           T01", "       +10.00kWh")
    front.wait(61)
    front.rig.run(1)
    assert front.press("*01#") == ("01      00900200", "        10.00kWh")
    assert front.press("*20#") == ("20      04000402", "    123456789012")
    front.press("**")
    assert front.rig.give(front.rig.hold(reasons.HOLD_TAMPER)) == 1
    front.wait(1)
    assert front.lines()[0] == "OFF-04      59 s"
    front.wait(70)
    assert front.lines()[0] == "OFF-04          "


def test_items_that_do_something():
    front = Front()
    front.press("*90#")
    assert front.lines()[1] == "       English #"
    assert front.press("#")[1] == "         codes #" and front.panel.codes
    front.press("#")
    assert front.item(panel_items.CONTRAST) == "8 #"
    front.press("*92#########")
    assert front.panel.contrast == 0
    front.press("*91#")
    assert front.lines() == (panel.FULL, panel.FULL) and front.panel.leds() == (0xFFFF,) * 3
    front.press("*93#")
    assert front.press("0123456789#*1") == ("Key test     *93", "   0123456789#*1")
    front.press("**")
    assert front.panel.code() != panel_items.KEYS


def test_a_code_that_there_is_not():
    front = Front()
    before = front.lines()
    assert front.press("*9") == ("Code            ", "*9              ")
    front.press("9#")
    assert front.sounds[-1] == panel.REJECTED and front.lines() == before


def test_a_token_of_class_1_shows_its_pages():
    front = Front()
    front.press(token(TID, 1000) + "#" + token(TID + 1, 2500, MANAGE, SET_POWER) + "#")
    front.press(ALL_TESTS + "#")
    seen = []
    for _ in range(15):
        seen.append(front.lines())
        front.wait(panel.SHOW_S)
    assert seen[0] == (panel.FULL, panel.FULL)
    assert seen[1] == ("Test          03", "         0.00kWh")
    assert seen[2] == ("Test          04", "               1")
    assert ("Test          07", "            2500") in seen and ("Test          18", "    {}".format(METER)) in seen
    front.press("**")
    assert front.press(issue.display(0, 1, 0) + "#") == ("Not supported   ", "T03             ")
    front.wait(panel.SHOW_S)
    front.press(issue.display(0, 1 << 5, 0) + "#")
    front.wait(panel.SHOW_S)
    assert front.press("12")[0] == "Key test     *93"


def test_out_of_credit_pay_and_the_light_comes_back():
    rig = TypedRig()
    front = Front(rig)
    rig.board.watts = 3600
    front.press(token(TID, 1) + "#")
    front.wait(100)
    front.sounds = []
    front.wait(rig.limits.trip_delay_s - 5)
    assert rig.board.closed and front.lines()[0].startswith("Off in"), front.lines()
    assert front.panel.leds()[0] == panel.STEADY and front.panel.leds()[2] == panel.FAST
    assert front.sounds.count(panel.WARNING) >= rig.limits.trip_delay_s // panel.ALARM_LAST_S - 2
    front.wait(8)
    assert not rig.board.closed
    owed_uc = -rig.meter.account.balance_uc()
    assert owed_uc > 0
    seen = front.cycle()
    assert seen[0::2] == ["OFF no credit   "] * 12
    need = panel_items.money(rig.meter, owed_uc + 1, True)
    assert [line for line in seen if line.startswith("To pay") and line.endswith(need)], seen
    assert [line for line in seen if line.startswith("Used")] and [line for line in seen if line.startswith("No ")]
    front.press(token(TID + 1, 100) + "#")
    front.wait(30)
    assert rig.board.closed and "OFF" not in front.lines()[0]


def test_the_amount_to_pay_is_enough_and_less_is_not():
    rig = TypedRig(plan=None)
    rig.board.watts = 3600
    rig.type(TID, 1)
    rig.run(200)
    assert rig.meter.reconnect_uc() == 1 - rig.meter.account.balance_uc()


def test_the_reconnection_key():
    rig = Rig(credit_uc=1_000_000_000)
    front = Front(rig)
    front.wait(20)
    rig.give(rig.hold(reasons.HOLD_ARREARS))
    front.wait(rig.limits.trip_delay_s + rig.limits.dwell_s + 2)
    assert front.lines()[0] == "OFF arrears     "
    assert front.hold() == ("Supply       *03", "         arrears"), "a hold stands: the key does nothing"
    front.wait(5)
    assert not rig.board.closed
    rig.give(rig.release(reasons.HOLD_ARREARS, bodies.CLOSE_PERMIT))
    front.press("**")
    front.wait(2)
    assert front.lines()[0] == "OFF hold # 3 s  " and front.panel.leds()[2] == panel.SLOW
    front.hold()
    front.wait(3)
    assert rig.board.closed and front.panel.leds()[2] == panel.DARK


def test_a_short_press_is_no_reconnection():
    rig = Rig(credit_uc=1_000_000_000)
    front = Front(rig)
    front.wait(20)
    rig.give(rig.hold(reasons.HOLD_CUSTOMER_REQUEST))
    front.wait(80)
    rig.give(rig.release(reasons.HOLD_CUSTOMER_REQUEST, bodies.CLOSE_PERMIT))
    front.wait(2)
    front.press("##")
    front.wait(5)
    assert not rig.board.closed and front.lines()[0] == "OFF hold # 3 s  "


def test_a_relay_that_does_not_follow_is_told():
    rig = Rig(credit_uc=1_000_000_000)
    front = Front(rig)
    front.wait(20)
    rig.board.closed, rig.board.stuck = False, False
    front.wait(60)
    assert front.lines()[0] == "OFF relay failed" and front.panel.leds()[2] == panel.FAST


def test_low_credit_and_its_lamp():
    rig = Rig(credit_uc=1_500_000)
    front = Front(rig)
    front.wait(2)
    assert front.lines()[0] == "Credit is low   " and front.panel.leds()[0] == panel.SLOW
    front.panel.codes = True
    assert front.lines()[0] == "AL-1            "
    rig.board.watts = 36_000
    front.wait(60)
    rig.board.watts = 0
    assert front.lines()[0] == "AL-2            " and front.panel.leds()[0] == panel.FAST


def test_who_looks_for_the_meter_sees_and_hears_it():
    front = Front(Rig(credit_uc=1_000_000_000))
    front.wait(1)
    space = MeterRegisters(front.rig.meter)
    assert front.item(80) == "-" and front.panel.leds()[1] == panel.DARK
    image = memoryview(bytearray(20))
    assert space.read(0x0100, 4, image, 0, False) == 0
    assert front.panel.leds()[1] == panel.FAST
    front.wait(panel.HEARD_S + 2)
    assert front.panel.leds()[1] == panel.FLASH and front.item(80) == "7 s"
    front.sounds = []
    assert space.write(registers.IDENTIFY, 1, memoryview(b"\x00\x05")) == 0
    front.wait(2)
    assert front.panel.leds() == (panel.FAST,) * 3 and panel.HERE in front.sounds and front.panel.lit()
    front.wait(5)
    assert front.panel.leds()[0] != panel.FAST


def test_the_display_goes_dark():
    rig = Rig(credit_uc=1_000_000_000)
    front = Front(rig)
    front.press("#")
    front.wait(panel.LIT_S - 1)
    assert front.panel.lit()
    front.wait(1)
    assert not front.panel.lit()


def test_remote_and_postpaid():
    rig = Rig()
    front = Front(rig)
    rig.give(rig.order(orders.ASPECT_MODE, stated.remote(until_wh=5_000)))
    assert front.item(54) == "remote" and front.item(panel_items.CREDIT) == "5.00"
    rig.give(rig.order(orders.ASPECT_MODE, stated.mode(states.MODE_POSTPAID)))
    assert front.item(54) == "postpaid" and front.item(panel_items.CREDIT) == "-"


class Counting(RamBoard):
    """Sums what is given at the test output."""

    given = 0

    def pulse_out(self, count):
        assert count > 0
        self.given += count


def test_the_test_output_gives_what_was_counted():
    board = Counting()
    rig = Rig(board, credit_uc=1_000_000_000)
    board.watts = 5000
    rig.run(1800)
    assert board.given == rig.meter.energy.import_wh == 2500
    board.imported += 100_000  # impossible: nothing of it is energy, and nothing of it is given
    rig.run(1)
    assert board.given - 2500 == rig.meter.energy.import_wh - 2500


def test_power_that_fails_leaves_the_panel_as_new():
    front = Front()
    front.press("*10#")
    front.rig.outage(100)
    front = Front(front.rig)
    assert [line for line in front.cycle() if line.startswith("No ")]


# -- credit that is not bought -----------------------------------------------------------------------------------------


def low(**limits):
    """A meter with 0.50 and 3.00 of emergency credit, and its front."""
    changed = {"emergency_uc": 3_000_000, "emergency_from_uc": 1_000_000}
    changed.update(limits)
    rig = Rig(limits=tokens.limits(**changed), credit_uc=500_000)
    front = Front(rig)
    front.wait(20)
    return front


def test_emergency_credit_takes_two_steps_and_is_asked_for_once():
    front = low()
    assert [line for line in front.cycle() if line == "Emergency 3.00 #"]
    assert front.press("*05#") == ("Emergency    *05", "          3.00 #")
    front.wait(panel.IDLE_S)
    assert not front.rig.meter.emergency.granted_uc, "to look is not to take"
    front.press("*05#")
    assert front.press("#")[1] == fit("3.00") and front.sounds[-1] == panel.ACCEPTED
    assert front.rig.meter.emergency.granted_uc == 3_000_000
    front.press("#")
    assert front.rig.meter.emergency.granted_uc == 3_000_000 and front.panel.code() == 6, "it goes on to the next item"


def test_emergency_credit_brings_supply_back():
    front = low()
    front.rig.board.watts = 3600
    front.wait(600 + front.rig.limits.trip_delay_s)
    front.rig.board.watts = 0
    assert front.lines()[0] == "OFF no credit   " and not front.rig.board.closed
    front.press("*05##")
    front.wait(40)
    assert front.rig.board.closed and [line for line in front.cycle() if line.startswith("Emergency")]
    assert front.rig.meter.account.balance_uc() < 0 and front.item(4) == panel_items.money(
        front.rig.meter, -front.rig.meter.account.balance_uc(), True
    )


def test_without_an_offer_the_key_takes_nothing():
    front = Front(Rig(credit_uc=500_000))
    front.wait(5)
    assert front.item(panel_items.EMERGENCY) == "-"
    front.press("*05##")
    assert not front.rig.meter.emergency.granted_uc and front.panel.code() == 6


def test_a_reminder_is_heard_by_a_long_press():
    front = low(rules=bodies.RULE_REMINDER)
    rig = front.rig
    front.wait(rig.limits.trip_delay_s + 10)
    assert not rig.board.closed and front.lines()[0] == "OFF low: hold # "
    front.press("#")
    front.wait(20)
    assert not rig.board.closed
    front.hold()
    front.wait(40)
    assert rig.board.closed


def test_a_debt_is_shown_and_what_must_be_paid_covers_it():
    rig = Rig(credit_uc=1_000_000)
    front = Front(rig)
    assert front.item(6) == "0.00"
    terms = bodies.DebtTerms(5_000_000, 0, bodies.DEBT_SHARED, 2500, 0, bodies.PERIOD_WEEK, 0, 0)
    assert rig.give(rig.order(orders.ASPECT_DEBT, terms.encode(), 1)) == 1
    assert front.item(6) == "5.00"
    rig.board.watts = 3600
    front.wait(1200 + rig.limits.trip_delay_s)
    rig.board.watts = 0
    front.wait(20)
    need_uc = rig.meter.reconnect_uc()
    assert need_uc > -rig.meter.account.balance_uc() and front.item(panel_items.PAY) == panel_items.money(
        rig.meter, need_uc, True
    )
    cents = -(-need_uc // 10_000)
    assert rig.give(rig.credit(1_000_000 + cents * 10_000)) == 1
    front.wait(40)
    assert rig.board.closed, "what is shown is enough"


def test_what_a_day_and_a_month_used():
    rig = Rig(credit_uc=1_000_000_000_000)
    front = Front(rig)
    assert [front.item(code) for code in (16, 17, 18, 19)] == ["-"] * 4
    rig.board.watts = 1000
    for hours, expected in (
        (24 + 2, ["2.00kWh", "-", "-", "-"]),
        (24, ["2.00kWh", "24.00kWh", "-", "-"]),
        (30 * 24, ["2.00kWh", "24.00kWh", "26.00kWh", "-"]),
    ):
        rig.run(hours * 3600, 3600)
        assert [front.item(code) for code in (16, 17, 18, 19)] == expected


def test_the_last_top_ups():
    rig = TypedRig(plan=tokens.KWH_PLAN)
    front = Front(rig)
    assert front.item(panel_items.TOP_UPS) == "-"
    for day in range(3):
        front.press(token(TID + day, 10 * (day + 1)) + "#")
        rig.run(86_400, 3600)
    assert front.press("*33#") == ("Top-ups      *33", fit("01-03 3.00kWh #"))
    assert front.press("#")[1] == fit("01-02 2.00kWh #") and front.press("#")[1] == fit("01-01 1.00kWh #")
    front.press("#")
    assert front.lines()[1] == fit("-") and front.press("#")[0] == "Locked       *35"
