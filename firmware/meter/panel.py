"""What stands at the meter: a keypad of 4x3, two lines of 16 characters, lamps, a buzzer. Pure: `shell.panel` runs it.

Standing: the items scroll by themselves, balance, register and number always among them. While supply is off, or a trip
is on its way, the first line says so and why, and does not scroll.

Keys: digits begin a token, `#` enters it, `*` takes the last one back; `*NN#` opens the item of that code. On an item
`#` does what the item offers (its value ends in #), else goes on to the next item. Held for 3 s, `#` is the
reconnection key. Whatever is open closes by itself.

Two ways to say things: English, or numbers (`codes`), as meters in China show them: an item's code with its identifier
of DL/T 645, and OFF- with the number of the reason. docs/panel.md lists both.
"""

from meter import pages
from meter.panel_items import (
    BOARD,
    COLUMNS,
    CONTRAST,
    CREDIT,
    EMERGENCY,
    ENERGY,
    ITEMS,
    KEYS,
    LANGUAGE,
    LAST_TOKEN,
    LOCKED,
    NUMBER,
    PAY,
    PRICE,
    REASON,
    RELAY,
    SEGMENTS,
    SUPPLY,
    TAMPER,
    TOP_UPS,
    energy,
    find,
    money,
    reason,
)
from meterlink import reasons, states
from meterlink.sts import results
from meterlink.sts.token import DIGITS

SCROLL_S = 4
SHOW_S = 6  # an answer, a page of a token of class 1
IDLE_S = 45  # then whatever was opened or begun is left
LIT_S = 60  # after the last key
HELD_S = 3  # of #: the reconnection key
ALARM_S = 60  # between warnings of a trip, and in its last minute:
ALARM_LAST_S = 5
HEARD_S = 5  # somebody speaks to the meter now, or has within the hour:
LINKED_S = 3600

# Lamps: 16 bits, one for each eighth of a second of two seconds, the lowest first.
DARK = 0
FLASH = 0x0001
SLOW = 0x00FF
FAST = 0x3333
STEADY = 0xFFFF

# Sounds: milliseconds, on and off by turns.
CLICK = (20,)
WRONG_KEY = (20, 40, 20)
ACCEPTED = (500,)
REJECTED = (120, 80, 120, 80, 120)
WARNING = (300, 200, 300)
HERE = (100, 100, 100, 100, 100)

FULL = "\xff" * COLUMNS  # all segments

ANSWER = {
    results.ACCEPTED: "Accepted",
    results.SECTION_STORED: "Type the next",
    results.REJECTED: "Wrong token",
    results.USED: "Used before",
    results.OLD: "Too old",
    results.KEY_EXPIRED: "Key has expired",
    results.OVERFLOW: "Too much credit",
    results.NOT_IMPLEMENTED: "Not supported",
    results.WRONG_UNIT: "Other unit",
    results.CAPPED: "Month is full",
    results.OFF: "Tokens are off",
    results.MALFORMED: "Needs 20 digits",
    results.STORAGE_FAILED: "Storage failed",
}


class Panel:
    """One panel of a meter. codes: numbers instead of English · contrast: 0..15 · entry: of the top-ups, 0 = the
    last one · pressed: the last keys, for a test of the keypad."""

    def __init__(self, meter, codes: bool = False) -> None:
        self.meter = meter
        self.codes = codes
        self.contrast = 8
        self.entry = 0
        self.pressed = ""
        self._typed = ""  # digits of a token, or * and those of a code
        self._item = 0  # that is open; 0 = none
        self._answers: "list[tuple[str, str]]" = []  # each shown for SHOW_S
        self._screen = 0
        self._sound: "tuple[int, ...]" = ()
        self._mono_s = 0
        self._key_s = -LIT_S
        self._turn_s = 0  # when the screen or the answer changes
        self._warn_s = 0

    # -- time and keys -------------------------------------------------------------------------------------------------

    def step(self, mono_s: int) -> None:
        """Once a second, or more often."""
        self._mono_s = mono_s
        if self._answers:
            self._key_s = mono_s
        elif mono_s - self._key_s >= IDLE_S and (self._typed or self._item):
            self._leave()
        if mono_s >= self._turn_s:
            self._turn()
        pending, left_s = self.meter.supply.pending()
        if pending == states.PENDING_TRIP:
            if mono_s >= self._warn_s:
                self._sound = WARNING
                self._warn_s = mono_s + (ALARM_S if left_s > ALARM_S else ALARM_LAST_S)
        elif mono_s < self.meter.identify_until_s:
            self._sound = HERE

    def _turn(self) -> None:
        if self._answers:
            self._answers.pop(0)
        elif not self._item:
            self._screen += 1
        self._turn_s = self._mono_s + (SHOW_S if self._answers else SCROLL_S)

    def _leave(self) -> None:
        self._typed = ""
        self._item = 0
        self._screen = 0
        self._turn_s = self._mono_s + SCROLL_S

    def key(self, char: str, mono_s: int, held_s: int = 0) -> None:
        """A key: 0..9 and * when it goes down; # when it comes up, or has been held for HELD_S."""
        self._mono_s = self._key_s = mono_s
        self._sound = CLICK
        self.pressed = (self.pressed + char)[-COLUMNS:]
        if held_s >= HELD_S:
            self._leave()
            self.meter.press_connect(held_s)
            self._open(SUPPLY)
            return
        if self._answers:
            self._answers = self._answers[1:] if char == "#" else []
            self._turn_s = mono_s + SHOW_S
            if char == "#":
                return
        if self._item == KEYS:
            if self.pressed[-2:] == "**":
                self._leave()
        elif char == "#":
            self._enter()
        elif char == "*":
            self._back()
        elif self._typed[:1] != "*" and self.meter.typed.lockout.left_s:
            self._sound = REJECTED
            self._open(LOCKED)
        elif len(self._typed) < (3 if self._typed[:1] == "*" else DIGITS):
            self._item = 0
            self._typed += char
        else:
            self._sound = WRONG_KEY

    def _back(self) -> None:
        if self._typed:
            self._typed = self._typed[:-1]
        else:
            self._leave()
            self._typed = "*"

    def _enter(self) -> None:
        typed = self._typed
        self._typed = ""
        if typed[:1] == "*":
            code = int(typed[1:] or CREDIT)
            if find(code):
                self._open(code)
            else:
                self._sound = REJECTED
        elif typed:
            self._token(typed)
        elif self._item:
            self._act()
        else:
            self._turn()

    def _open(self, code: int) -> None:
        self._typed = ""
        self._item = code
        self.entry = 0
        if code == KEYS:
            self.pressed = ""

    def _act(self) -> None:
        """# on an item that is open."""
        if self._item == EMERGENCY and self.meter.emergency.state == states.EMERGENCY_OFFERED:
            self._sound = ACCEPTED if self.meter.take_emergency() else REJECTED
        elif self._item == LANGUAGE:
            self.codes = not self.codes
        elif self._item == CONTRAST:
            self.contrast = (self.contrast + 1) % 16
        elif self._item == TOP_UPS and self._value(find(TOP_UPS)) != "-":
            self.entry += 1
        else:
            codes = [row[0] for row in ITEMS]
            self._open(codes[(codes.index(self._item) + 1) % len(codes)])

    def _token(self, digits: str) -> None:
        meter = self.meter
        outcome = meter.type_token(digits)
        code = outcome.code
        self._sound = ACCEPTED if results.succeeded(code) else REJECTED
        self._turn_s = self._mono_s + SHOW_S
        if meter.typed.lockout.left_s:
            self._open(LOCKED)
        if code == results.LOCKED:
            return
        if code == results.DISPLAY:
            for test, value in pages.pages(meter, outcome.control):
                self._answers.append(self._test(test, value))
        if self._answers:
            return
        detail = ""
        if outcome.amount_uc:
            detail = "+" + money(meter, outcome.amount_uc)
        elif code == results.SECTION_STORED:
            detail = "{}/4".format(4 - len(meter.typed.sections.missing()))
        number = "T{:02d}".format(code)
        if self.codes:
            self._answers = [(fit(str(LAST_TOKEN), number), fit("", detail))]
        else:
            self._answers = [(fit(ANSWER.get(code, ANSWER[results.NOT_IMPLEMENTED]), ""), fit(number, detail))]

    def _test(self, test: int, value: "int | bytes | None") -> "tuple[str, str]":
        """A page of a token of class 1."""
        if value is None:
            if test == pages.KEYPAD:
                self._open(KEYS)
            return FULL, FULL
        if isinstance(value, bytes):
            text = value.decode()
        else:
            text = energy(value) if test == pages.ENERGY else str(value)
        return fit("" if self.codes else "Test", "{:02d}".format(test)), fit("", text)

    # -- what is shown -------------------------------------------------------------------------------------------------

    def lines(self) -> "tuple[str, str]":
        """Both lines, of COLUMNS characters; FULL stands for lit segments."""
        if self._typed:
            return self._entry()
        if self._answers:
            return self._answers[0]
        if self._item == SEGMENTS:
            return FULL, FULL
        if self._item:
            return self._opened(find(self._item))
        return self._standing()

    def code(self) -> int:
        """Of the item that is shown below, 0 for none."""
        if self._typed or self._answers:
            return 0
        items = self._items()
        return self._item or items[self._screen % len(items)]

    def _entry(self) -> "tuple[str, str]":
        typed = self._typed
        if typed[0] == "*":
            return fit("" if self.codes else "Code", ""), fit(typed, "")
        groups = [typed[at : at + 4] for at in range(0, len(typed), 4)]
        count = "{}/{}".format(len(typed), DIGITS)
        return fit(" ".join(groups[:3]), ""), fit(" ".join(groups[3:]), count)

    def _opened(self, row) -> "tuple[str, str]":
        code, identifier, label, _, _ = row
        if self.codes:
            head = fit("{:02d}".format(code), "{:08X}".format(identifier) if identifier else "")
        else:
            head = fit(label, "*{:02d}".format(code))
        return head, fit("", self._value(row))

    def _value(self, row) -> str:
        return row[3](self, row[4]) or "-"

    def _line(self, code: int) -> str:
        """An item in one line: the value whole, the label as far as there is room."""
        row = find(code)
        label, text = row[2], self._value(row)
        room = COLUMNS - 1 - len(text)
        if self.codes:
            return fit("{:02d}".format(code) if room >= 2 else "", text)
        return fit(label[:room], text)

    def _items(self) -> "list[int]":
        """What scrolls below the first line, or in both."""
        meter = self.meter
        items = []
        for code, wanted in (
            (PAY, meter.reconnect_uc()),
            (EMERGENCY, meter.emergency.state),
            (LOCKED, meter.typed.lockout.left_s),
            (SUPPLY, meter.supply.pending()[0] == states.PENDING_TRIP),
            (CREDIT, True),
            (ENERGY, True),
            (NUMBER, True),
            (PRICE, True),
            (TAMPER, meter.latches.word),
            (BOARD, meter.board.board_class == 1),
        ):
            if wanted:
                items.append(code)
        return items

    def _standing(self) -> "tuple[str, str]":
        items = self._items()
        here = self._screen % len(items)
        first = self._status() or self._line(items[here - 1])
        return first, self._line(items[here])

    def _status(self) -> str:
        """What is to be said before all: that supply is off or will be, and why; that credit is low. "" for nothing."""
        meter = self.meter
        pending, left_s = meter.supply.pending()
        number = reason(meter)
        if meter.supply.control != states.CONTROL_CONNECTED or (number >= RELAY and pending == states.PENDING_NONE):
            return self._off(number, "{} s".format(left_s) if left_s else "")
        if pending == states.PENDING_TRIP:
            return self._off(number, "{} s".format(left_s)) if self.codes else fit("Off in", "{} s".format(left_s))
        low = meter.alarms() & 3
        if not low:
            return ""
        if self.codes:
            return fit("AL-{}".format(2 if low & 1 << states.ALARM_LOW_CREDIT_2 else 1), "")
        return fit("Credit is low", "")

    def _off(self, number: int, left: str) -> str:
        return fit(self.reason(number) if self.codes else "OFF " + self.reason(number), left)

    def reason(self, number: int) -> str:
        """A number of REASON, as it is said."""
        return "OFF-{:02d}".format(number) if self.codes else REASON.get(number, str(number))

    # -- lamps and sounds ----------------------------------------------------------------------------------------------

    def leds(self) -> "tuple[int, int, int]":
        """(credit, communication, supply off): how each lamp is lit in 16 eighths of a second."""
        meter = self.meter
        if self._item == SEGMENTS or (self._answers and self._answers[0][0] == FULL):
            return STEADY, STEADY, STEADY
        if self._mono_s < meter.identify_until_s:
            return FAST, FAST, FAST
        alarms = meter.alarms()
        credit = DARK
        if meter.supply.causes & (1 << reasons.CAUSE_OUT_OF_CREDIT | 1 << reasons.CAUSE_REMINDER):
            credit = STEADY
        elif alarms & 1 << states.ALARM_LOW_CREDIT_2:
            credit = FAST
        elif alarms & 1 << states.ALARM_LOW_CREDIT:
            credit = SLOW
        heard_s = self._mono_s - max(meter.heard_s.values()) if meter.heard_s else LINKED_S
        link = FAST if heard_s < HEARD_S else FLASH if heard_s < LINKED_S else DARK
        control = meter.supply.control
        off = STEADY if control == states.CONTROL_DISCONNECTED else SLOW if control == states.CONTROL_READY else DARK
        if meter.supply.relay.diagnosis or meter.supply.pending()[0] == states.PENDING_TRIP:
            off = FAST
        return credit, link, off

    def buzzer(self) -> "tuple[int, ...]":
        """A sound that is due, once; () for none."""
        sound = self._sound
        self._sound = ()
        return sound

    def lit(self) -> bool:
        """Whether the display is to be lit."""
        pending = self.meter.supply.pending()[0] == states.PENDING_TRIP
        return pending or self._mono_s - self._key_s < LIT_S or self._mono_s < self.meter.identify_until_s


def fit(left: str, right: str) -> str:
    """COLUMNS characters with a text at each end; the right one counts where both do not fit."""
    return (left + " " * COLUMNS)[: COLUMNS - len(right)] + right[:COLUMNS]
