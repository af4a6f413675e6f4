"""Standing before a meter: its panel, the keys that one presses, and what one sees. The firmware runs in this process
(`HereStand`) or in another one (`keypad_child.ChildStand`)."""

import re
import time
from abc import ABC, abstractmethod

from meter.panel import HELD_S, Panel
from meterlink import states, topics
from meterlink.provision import CURRENCY_ENERGY
from meterlink.sts import issue
from meterlink.sts.token import CREDIT
from metersim.board import VirtualBoard
from metersim.inprocess import InProcessMeter
from metersim.load import Constant
from metersim.workbench import CURRENCY, DEFAULT_TARIFF, KWH_TARIFF, Workbench

LOADS_W = (0, 100, 2000, 9000)
TOKEN_UNITS = 100  # of 0.1 kWh
PAYMENT_UC = 10_000_000
OUTAGE_S = 10
EIGHTH_S = 0.125

_WORDS = {
    "credit": ("credit", "余额"),
    "link": ("link", "通信"),
    "off": ("off", "跳闸"),
    "relay": ("relay", "继电器"),
    "open": ("open", "断开"),
    "closed": ("closed", "闭合"),
    "load": ("load", "负荷"),
    "buzzer": ("buzzer", "蜂鸣器"),
    "pulses": ("pulses", "脉冲"),
}
_LAMP = {0x0000: "dark", 0x0001: "flash", 0x00FF: "slow", 0x3333: "fast", 0xFFFF: "steady"}
_SCRIPT = re.compile(r"[0-9*#htblp]|\.|\[(\d{1,6})\]")


class KeysError(ValueError):
    """Keys that are not taken; the text names them and what was expected."""


class Stand(ABC):
    """One metering point and its front. meter: its number · kwh: the account counts kWh, which typed tokens credit."""

    def __init__(self, meter: int, kwh: bool = False, load_w: int = 0, start_s: int = 0) -> None:
        self.bench = Workbench(meter, tariff=KWH_TARIFF if kwh else DEFAULT_TARIFF)
        self.board = VirtualBoard(Constant(load_w), start_s=start_s or int(time.time()), seed=meter)
        self._kwh = kwh
        self._tid = issue.tid_of(self.bench.decoder.base, self.board.true_s)

    def record(self) -> bytes:
        """What the meter is made with."""
        return self.bench.record(currency=CURRENCY_ENERGY if self._kwh else CURRENCY)

    @abstractmethod
    def press(self, char: str, held_s: int = 0) -> None:
        """A key of the keypad."""

    @abstractmethod
    def run(self, seconds: int) -> None:
        """Let time pass."""

    @abstractmethod
    def buy(self, amount_uc: int = PAYMENT_UC) -> None:
        """A payment elsewhere: its signed order reaches the meter."""

    @abstractmethod
    def outage(self) -> None:
        """Power fails for OUTAGE_S."""

    @abstractmethod
    def lines(self) -> tuple[str, str]:
        """What the display shows."""

    @abstractmethod
    def lit(self) -> bool:
        """Whether the backlight is on."""

    @abstractmethod
    def lamps(self, at_s: float | None) -> list[str]:
        """Credit, communication, off: at a moment, or in words for all moments."""

    @abstractmethod
    def buzzer(self) -> str:
        """What the buzzer did last."""

    def token(self) -> str:
        """A new token of 10 kWh: 20 digits."""
        self._tid += 1
        return self.bench.token(CREDIT, 0, self._tid, issue.register_of(TOKEN_UNITS))

    def turn_load(self) -> None:
        """The household switches something."""
        now_w = self.board.load.watts(self.board.true_s)
        self.board.load = Constant(LOADS_W[(LOADS_W.index(now_w) + 1) % len(LOADS_W) if now_w in LOADS_W else 0])

    def do(self, char: str) -> None:
        """One character of a script, or a key of the terminal."""
        if char == "h":
            self.press("#", HELD_S)
        elif char == "t":
            for digit in self.token():
                self.press(digit)
        elif char == "b":
            self.buy()
        elif char == "l":
            self.turn_load()
        elif char == "p":
            self.outage()
        elif char == ".":
            self.run(1)
        else:
            self.press(char)

    def play(self, keys: str) -> None:
        """A script: keys 0-9 * #; h, t, b, l, p as in `keypad.HELP`; . a second passes; [n] n seconds do. KeysError
        names what is none of these, before anything is done."""
        at = 0
        steps: list[tuple[str, int]] = []
        while at < len(keys):
            found = _SCRIPT.match(keys, at)
            if found is None:
                raise KeysError(f"--keys: {keys[at]!r} at {at} given, one of 0-9 * # h t b l p . [SECONDS] expected")
            steps.append((keys[at], int(found[1] or 0)))
            at = found.end()
        for char, seconds in steps:
            if char == "[":
                self.run(seconds)
            else:
                self.do(char)

    def draw(self, chinese: bool = False, at_s: float | None = None) -> str:
        """The front as text: display, lamps, relay, load, buzzer; at a moment, with lamps lit or dark, or for good."""

        def word(name: str) -> str:
            return _WORDS[name][chinese]

        lines = [line.replace("\xff", "█") for line in self.lines()]
        edge = "═" if self.lit() else "─"
        board = self.board
        contact = "closed" if board.contact() == states.CONTACT_CLOSED else "open"
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(board.true_s))
        lamps = self.lamps(at_s)
        return "\n".join([
            f"{topics.meter_name(self.bench.meter)}  {clock} UTC",
            f"╔{edge * 18}╗  {word('credit')} {lamps[0]}  {word('link')} {lamps[1]}  {word('off')} {lamps[2]}",
            f"║ {lines[0]} ║  {word('relay')} {word(contact)}",
            f"║ {lines[1]} ║  {word('load')} {board.power_w()} W",
            f"╚{edge * 18}╝  {word('buzzer')} {self.buzzer()}",
        ])  # fmt: skip


class HereStand(Stand):
    """The firmware runs here, and time passes when it is told to. codes: the panel says things in numbers."""

    def __init__(
        self, meter: int, credit_uc: int = 0, kwh: bool = False, codes: bool = False, load_w: int = 0, start_s: int = 0
    ) -> None:
        super().__init__(meter, kwh, load_w, start_s)
        self.meter = InProcessMeter(self.board, self.record())
        self.codes = codes
        self.sounds: list[tuple[int, ...]] = []
        self._sold_uc = 0
        self._panel = Panel(self.meter.meter, codes)
        if credit_uc:
            self.buy(credit_uc)

    @property
    def panel(self) -> Panel:
        """The panel; a new one after each start of the firmware, as on a board."""
        if self._panel.meter is not self.meter.meter:
            self._panel = Panel(self.meter.meter, self.codes)
        return self._panel

    def press(self, char: str, held_s: int = 0) -> None:
        self.panel.key(char, self.board.mono_s, held_s)
        self._listen()

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.meter.run(1)
            self.panel.step(self.board.mono_s)
            self._listen()

    def buy(self, amount_uc: int = PAYMENT_UC) -> None:
        self._sold_uc += amount_uc
        self.meter.meter.submit(self.meter.meter.CARRIER_LOCAL, self.bench.credit(self._sold_uc))
        self.meter.settle()

    def outage(self) -> None:
        self.meter.power_cycle(OUTAGE_S)

    def _listen(self) -> None:
        sound = self.panel.buzzer()
        if sound:
            self.sounds.append(sound)

    def lines(self) -> tuple[str, str]:
        first, second = self.panel.lines()
        return first, second

    def lit(self) -> bool:
        return bool(self.panel.lit())

    def lamps(self, at_s: float | None) -> list[str]:
        if at_s is None:
            return [_LAMP[word] for word in self.panel.leds()]
        eighth = int(at_s / EIGHTH_S) % 16
        return ["●" if word >> eighth & 1 else "○" for word in self.panel.leds()]

    def buzzer(self) -> str:
        return "-".join(map(str, self.sounds[-1])) + " ms" if self.sounds else "-"
