"""``openprepay sim keypad``: stand before a meter. Its firmware runs here, with its panel; the terminal is the hand."""

import argparse
import os
import re
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

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
SPEEDS = (1, 10, 60, 600)
TOKEN_UNITS = 100  # of 0.1 kWh
PAYMENT_UC = 10_000_000
OUTAGE_S = 10
FRAME_S = 0.1
EIGHTH_S = 0.125

# key of the terminal -> (English, Chinese) of what it does besides the keys of the keypad
HELP = {
    "h": ("hold # for 3 s: reconnect", "长按 # 3秒：合闸"),
    "t": ("type a token of 10 kWh", "输入一个10 kWh的代码"),
    "b": ("buy 10.00 (a signed order)", "充值10.00（签名指令）"),
    "l": ("load: 0, 100, 2000, 9000 W", "负荷：0、100、2000、9000 W"),
    "f": ("time: 1, 10, 60, 600 times", "时间：1、10、60、600倍"),
    "p": ("power fails for 10 s", "停电10秒"),
    "q": ("quit", "退出"),
}
_KEYPAD = ("keys 0-9 * # (Enter is #, Backspace is *)", "按键 0-9 * #（回车为#，退格为*）")
_WORDS = {
    "credit": ("credit", "余额"),
    "link": ("link", "通信"),
    "off": ("off", "跳闸"),
    "relay": ("relay", "继电器"),
    "open": ("open", "断开"),
    "closed": ("closed", "闭合"),
    "load": ("load", "负荷"),
    "buzzer": ("buzzer", "蜂鸣器"),
    "light": ("backlight", "背光"),
    "pulses": ("pulses", "脉冲"),
}
_LAMP = {0x0000: "dark", 0x0001: "flash", 0x00FF: "slow", 0x3333: "fast", 0xFFFF: "steady"}
_SCRIPT = re.compile(r"[0-9*#htblp]|\.|\[(\d{1,6})\]")


class KeysError(ValueError):
    """Keys that are not taken; the text names them and what was expected."""


class Stand:
    """One metering point and its front. kwh: the account counts kWh, which typed tokens credit · codes: the panel says
    things in numbers."""

    def __init__(
        self, meter: int, credit_uc: int = 0, kwh: bool = False, codes: bool = False, load_w: int = 0, start_s: int = 0
    ) -> None:
        self.bench = Workbench(meter, tariff=KWH_TARIFF if kwh else DEFAULT_TARIFF)
        self.board = VirtualBoard(Constant(load_w), start_s=start_s or int(time.time()), seed=meter)
        self.meter = InProcessMeter(self.board, self.bench.record(currency=CURRENCY_ENERGY if kwh else CURRENCY))
        self.codes = codes
        self.sounds: list[tuple[int, ...]] = []
        self._sold_uc = 0
        self._tid = issue.tid_of(self.bench.decoder.base, self.board.true_s)
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
        """A key of the keypad."""
        self.panel.key(char, self.board.mono_s, held_s)
        self._listen()

    def run(self, seconds: int) -> None:
        """Let time pass."""
        for _ in range(seconds):
            self.meter.run(1)
            self.panel.step(self.board.mono_s)
            self._listen()

    def buy(self, amount_uc: int = PAYMENT_UC) -> None:
        """A payment elsewhere: its signed order reaches the meter."""
        self._sold_uc += amount_uc
        self.meter.meter.submit(self.meter.meter.CARRIER_LOCAL, self.bench.credit(self._sold_uc))
        self.meter.settle()

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
            self.meter.power_cycle(OUTAGE_S)
        elif char == ".":
            self.run(1)
        else:
            self.press(char)

    def play(self, keys: str) -> None:
        """A script: keys 0-9 * #; h, t, b, l, p as in HELP; . a second passes; [n] n seconds do. KeysError names what
        is none of these, before anything is done."""
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

    def _listen(self) -> None:
        sound = self.panel.buzzer()
        if sound:
            self.sounds.append(sound)

    # -- what is seen --------------------------------------------------------------------------------------------------

    def shot(self, chinese: bool = False) -> str:
        """The front as text: display, lamps, relay, load, the last sound."""
        lamps = [_LAMP[word] for word in self.panel.leds()]
        return self._draw(chinese, lamps, "-".join(map(str, self.sounds[-1])) + " ms" if self.sounds else "-")

    def frame(self, chinese: bool, at_s: float, sounding: bool) -> str:
        """The front at a moment, lamps lit or dark."""
        eighth = int(at_s / EIGHTH_S) % 16
        lamps = ["●" if word >> eighth & 1 else "○" for word in self.panel.leds()]
        return self._draw(chinese, lamps, "♪" if sounding else "-")

    def _draw(self, chinese: bool, lamps: list[str], buzzer: str) -> str:
        def word(name: str) -> str:
            return _WORDS[name][chinese]

        lines = [line.replace("\xff", "█") for line in self.panel.lines()]
        edge = "═" if self.panel.lit() else "─"
        board = self.board
        contact = "closed" if board.contact() == states.CONTACT_CLOSED else "open"
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(board.true_s))
        return "\n".join([
            f"{topics.meter_name(self.bench.meter)}  {clock} UTC",
            f"╔{edge * 18}╗  {word('credit')} {lamps[0]}  {word('link')} {lamps[1]}  {word('off')} {lamps[2]}",
            f"║ {lines[0]} ║  {word('relay')} {word(contact)}",
            f"║ {lines[1]} ║  {word('load')} {board.power_w()} W  {word('pulses')} {board.pulses_out}",
            f"╚{edge * 18}╝  {word('buzzer')} {buzzer}",
        ])  # fmt: skip


def add_arguments(one: argparse.ArgumentParser) -> None:
    """The arguments of ``openprepay sim keypad``."""
    one.add_argument("--id", type=int, default=600_000_000_001, metavar="N", help="number of the meter")
    one.add_argument("--credit", metavar="AMOUNT", help="credit to start with, e.g. 20.00")
    one.add_argument("--kwh", action="store_true", help="the account counts kWh, which typed tokens credit")
    one.add_argument("--load", type=int, default=0, metavar="W", help="what the household draws (default 0)")
    one.add_argument("--codes", action="store_true", help="the panel says things in numbers instead of English")
    one.add_argument("--language", choices=("en", "zh"), default="en", help="of what is written beside the panel")
    one.add_argument(
        "--keys",
        metavar="KEYS",
        help="press these and end: 0-9 * #; h t b l p as in the live program; . waits a second, [n] n of them. "
        "Without it, and without a terminal, they are read from standard input",
    )
    one.add_argument("--shot", action="store_true", help="with keys: print the front after each line of them")


def run(stand: Stand, arguments: argparse.Namespace) -> int:
    """Play keys, or be live until q or Ctrl-C."""
    chinese = arguments.language == "zh"
    if arguments.keys is None and sys.stdin.isatty():
        with suppress(KeyboardInterrupt):
            _live(stand, chinese)
        return 0
    for line in [arguments.keys] if arguments.keys is not None else sys.stdin:
        stand.play(line.strip())
        if arguments.shot:
            print(stand.shot(chinese), flush=True)
    if not arguments.shot:
        print(stand.shot(chinese), flush=True)
    return 0


def _live(stand: Stand, chinese: bool) -> None:
    speed = 0
    due = time.monotonic()
    sounding_until = due
    heard = len(stand.sounds)
    with _keyboard() as read:
        while True:
            for char in read():
                if char in "qQ\x04":
                    return
                char = {"\r": "#", "\n": "#", "\x7f": "*", "\x08": "*"}.get(char, char)
                if char == "f":
                    speed = (speed + 1) % len(SPEEDS)
                elif char in "0123456789*#htblp":
                    stand.do(char)
            now = time.monotonic()
            while due < now:
                stand.run(SPEEDS[speed] if speed < 2 else SPEEDS[speed] // 10)
                due += 1 if speed < 2 else 0.1
            if len(stand.sounds) > heard:
                heard = len(stand.sounds)
                sounding_until = now + sum(stand.sounds[-1]) / 1000
            print(_screen(stand, chinese, now, now < sounding_until, SPEEDS[speed]), end="", flush=True)


def _screen(stand: Stand, chinese: bool, now: float, sounding: bool, speed: int) -> str:
    """What the terminal shows, from its upper left corner on."""
    rows = stand.frame(chinese, now, sounding).split("\n")
    rows += ["", _KEYPAD[chinese]]
    rows += [f"  {key}  {text[chinese]}" + (f"  ×{speed}" if key == "f" else "") for key, text in HELP.items()]
    return "\x1b[H" + "".join(f"{row}\x1b[K\r\n" for row in rows) + "\x1b[J"


@contextmanager
def _keyboard() -> Iterator[Callable[[], str]]:
    """The terminal gives each key at once; the function waits for a frame's time at most."""
    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)

    def read() -> str:
        ready, _, _ = select.select([file], [], [], FRAME_S)
        return os.read(file, 64).decode(errors="replace") if ready else ""

    try:
        tty.setcbreak(file)
        print("\x1b[2J", end="")
        yield read
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)
        print()
