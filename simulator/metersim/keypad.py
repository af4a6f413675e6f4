"""``openprepay sim keypad``: stand before a meter. The terminal is its front, and its keyboard the hand."""

import argparse
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from metersim.keypad_child import ChildStand
from metersim.stand import HereStand, Stand

SPEEDS = (1, 10, 60, 600)
FRAME_S = 0.1
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
_KEY = {"\r": "#", "\n": "#", "\x7f": "*", "\x08": "*"}


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
    one.add_argument(
        "--micropython",
        action="store_true",
        help="run firmware and panel under real MicroPython; with --keys or a pipe",
    )
    one.add_argument("--speed", type=int, default=1, metavar="N", help="with --micropython: virtual seconds per second")


def run(arguments: argparse.Namespace, credit_uc: int) -> int:
    """Play keys, or be live until q or Ctrl-C."""
    if arguments.micropython:
        load, speed = arguments.load, arguments.speed
        with ChildStand(arguments.id, credit_uc, arguments.kwh, load, speed) as child:
            if arguments.codes:
                child.play("*90##**")
            return _script(child, arguments)
    stand = HereStand(arguments.id, credit_uc, arguments.kwh, arguments.codes, arguments.load)
    if arguments.keys is None and sys.stdin.isatty():
        with suppress(KeyboardInterrupt):
            _live(stand, arguments.language == "zh")
        return 0
    return _script(stand, arguments)


def _script(stand: Stand, arguments: argparse.Namespace) -> int:
    chinese = arguments.language == "zh"
    for line in [arguments.keys] if arguments.keys is not None else sys.stdin:
        stand.play(line.strip())
        if arguments.shot:
            print(stand.draw(chinese), flush=True)
    if not arguments.shot:
        print(stand.draw(chinese), flush=True)
    return 0


def _live(stand: HereStand, chinese: bool) -> None:
    speed = 0
    due = time.monotonic()
    with _keyboard() as read:
        while True:
            for char in read():
                if char in "qQ\x04":
                    return
                char = _KEY.get(char, char)
                if char == "f":
                    speed = (speed + 1) % len(SPEEDS)
                elif char in "0123456789*#htblp":
                    stand.do(char)
            now = time.monotonic()
            while due < now:
                stand.run(max(1, SPEEDS[speed] // 10))
                due += 0.1 if speed else 1
            print(_screen(stand, chinese, now, SPEEDS[speed]), end="", flush=True)


def _screen(stand: Stand, chinese: bool, now: float, speed: int) -> str:
    """What the terminal shows, from its upper left corner on."""
    rows = stand.draw(chinese, now).split("\n")
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
