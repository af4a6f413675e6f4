"""``openprepay demo``: puts the parts together, runs the steps, cleans up."""

import argparse
import contextlib
import datetime
import fcntl
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from headend.links.failures import LinkError
from headend.refusals import Refused
from metersim.build import BuildError
from metersim.child import DEFAULT_HEAP, ChildError
from openprepay.demo import draw
from openprepay.demo.broker import KINDS, Broker, BrokerError
from openprepay.demo.faults import FAULTS, WELD
from openprepay.demo.fleet import POINTS, Fleet, Point, meter_name
from openprepay.demo.listener import Listener
from openprepay.demo.office import TAG_KEY_VERSION, Office, OfficeError
from openprepay.demo.steps import NAMES, STEPS
from openprepay.demo.story import CRAWL, PATIENCE_S, TALK, StepFailed, Story
from openprepay.demo.sums import money
from openprepay.demo.timeline import Timeline, clock_text
from openprepay.demo.virtual import TimeStopped, VirtualTime
from openprepay.demo.wire import BrokenWire

START_S = int(datetime.datetime(2026, 1, 13, 17, tzinfo=datetime.UTC).timestamp())  # a winter evening
CRUISE = 900
_OLD = ("trace.jsonl", "keys.json", "token", "head-end.*", "line-*", "meter-*", "broker")
_TROUBLE = (BrokerError, BuildError, ChildError, LinkError, OfficeError, Refused, TimeStopped, OSError)


class UsageError(ValueError):
    """An argument that is not taken; the text names it, its value and what was expected."""


def parser() -> argparse.ArgumentParser:
    """The arguments of ``openprepay demo``."""
    broken = "\n".join(f"  {name:<16}{fault.help}" for name, fault in FAULTS.items())
    made = argparse.ArgumentParser(
        prog="openprepay demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="The whole loop on real parts: head end, broker, and meters that run the firmware, two of them on\n"
        "MicroPython. Every fact is printed with where it was read from; exit code 0 means that each step was\n"
        "confirmed. On a terminal the head end then stays up until Ctrl-C.",
        epilog=f"steps: {', '.join(NAMES)}\n\nself-checks, each of which must make a step fail (--fault):\n{broken}",
    )
    made.add_argument("--once", action="store_true", help="end after the last step, on a terminal too")
    made.add_argument("--lang", choices=("en", "zh"), default="en", help="language of the timeline")
    made.add_argument("--fault", choices=tuple(FAULTS), help="break one thing, so that a step must fail")
    made.add_argument("--until", choices=NAMES, metavar="STEP", default=NAMES[-1], help="end after this step")
    made.add_argument("--only-meters", metavar="A,B", default="", help="some of A, B (MicroPython), C, D, E")
    made.add_argument("--minutes", type=int, default=75, metavar="N", help="how long the first credit lasts (50..600)")
    made.add_argument("--speed", type=int, default=CRUISE, metavar="N", help=f"fastest pace of time (default {CRUISE})")
    made.add_argument("--patience", type=int, default=PATIENCE_S, metavar="N", help="real seconds for any one answer")
    made.add_argument("--heap", default=DEFAULT_HEAP, metavar="SIZE", help=f"of MicroPython (default {DEFAULT_HEAP})")
    made.add_argument("--broker", choices=KINDS, help="default: Mosquitto where it is installed")
    made.add_argument("--port", type=int, default=0, metavar="N", help="of the head end's page (default: any)")
    made.add_argument("--folder", type=Path, default=Path("var/demo"), metavar="DIR", help="default var/demo")
    return made


def main(argv: list[str]) -> int:
    """Run the demo; 0 where every step was confirmed, 1 where one failed, 2 for a wrong argument, 130 after Ctrl-C."""
    arguments = parser().parse_args(argv)
    try:
        points = _points(arguments)
    except UsageError as error:
        print(f"openprepay demo: {error}", file=sys.stderr)
        return 2
    before = signal.signal(signal.SIGTERM, _end)
    try:
        with _workplace(arguments.folder):
            return _run(arguments, points)
    except UsageError as error:
        print(f"openprepay demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _points(arguments: argparse.Namespace) -> tuple[Point, ...]:
    """The meters that take part, after a look at the other arguments."""
    known = {point.name: point for point in POINTS}
    chosen = [name for name in arguments.only_meters.split(",") if name] or list(known)
    if not set(chosen) <= set(known):
        raise UsageError(f"--only-meters: {arguments.only_meters!r} given, some of {','.join(known)} expected")
    if arguments.fault and FAULTS[arguments.fault].meter not in chosen:
        raise UsageError(
            f"--fault: {arguments.fault} breaks meter {FAULTS[arguments.fault].meter}, which takes no part"
        )
    for name, low, high in (("minutes", 50, 600), ("speed", CRAWL, 3600), ("patience", 5, 3600), ("port", 0, 65535)):
        value = getattr(arguments, name)
        if not low <= value <= high:
            raise UsageError(f"--{name}: {value} given, {low}..{high} expected")
    return tuple(point for point in POINTS if point.name in chosen)


@contextlib.contextmanager
def _workplace(folder: Path) -> Iterator[None]:
    """The folder of a run: made, kept from a second demo, rid of what an earlier one left; logs go there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"--folder: another demo runs in {folder}; name another one") from None
        for pattern in _OLD:
            for path in folder.glob(pattern):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        handler = logging.FileHandler(folder / "head-end.log")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger()
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)
            handler.close()


def _run(arguments: argparse.Namespace, points: tuple[Point, ...]) -> int:
    timeline = Timeline(arguments.folder, arguments.lang)
    began = time.monotonic()
    with contextlib.ExitStack() as undo:
        undo.callback(timeline.close)
        try:
            story = _assemble(arguments, points, timeline, undo)
            for name, title, step in STEPS:
                timeline.step(name, title)
                step(story)
                if name == arguments.until:
                    break
            _sum_up(story, arguments.folder, time.monotonic() - began)
        except StepFailed as failure:
            timeline.failed(failure.point, failure.expected, failure.read)
            return 1
        except _TROUBLE as error:
            timeline.failed(
                None, timeline.say(("all parts to run", "所有部件正常运行")), f"{type(error).__name__}: {error}"
            )
            return 1
        if sys.stdout.isatty() and not arguments.once:
            _stay(story, arguments.folder)
    return 0


def _assemble(
    arguments: argparse.Namespace, points: tuple[Point, ...], timeline: Timeline, undo: contextlib.ExitStack
) -> Story:
    """Start everything, each with how it is stopped; what was started last stops first."""
    folder: Path = arguments.folder.resolve()  # meters and head end do not start where we are
    clock = VirtualTime(START_S, CRAWL)
    broker = Broker(folder / "broker", arguments.broker or "")
    broker.start()
    undo.callback(broker.stop)
    rule = FAULTS[arguments.fault].rule if arguments.fault else None
    wire = BrokenWire(broker.port, rule()) if rule else None
    if wire:
        undo.callback(wire.close)
    office = Office(folder, clock, broker, arguments.port)
    undo.callback(office.stop)
    office.start()
    listener = Listener(broker.port)
    undo.callback(listener.stop)

    def broker_of(point: Point) -> str:
        broken = wire is not None and point.name == FAULTS[arguments.fault].meter
        return wire.address if wire is not None and broken else broker.address

    fleet = Fleet(points, folder, clock, arguments.heap, broker_of)
    undo.callback(fleet.stop)
    undo.callback(clock.stop)
    fleet.open_lines()
    # The keys under which this run's meters report, for `recheck.py`; they are of no other use.
    keys = {meter_name(point): office.keys.meter_key(point.number, TAG_KEY_VERSION).hex() for point in points}
    _write_secret(folder / "keys.json", json.dumps(keys))
    _write_secret(folder / "token", office.token)
    fleet.start({point.name: office.add(point, fleet.address(point)) for point in points})
    if arguments.fault == WELD:
        fleet.weld(FAULTS[WELD].meter)
    clock.start()
    timeline.title(
        (
            "openprepay demo: {meters} meters, head end {url}, broker {broker}",
            "openprepay 演示：{meters} 只电表，主站 {url}，MQTT 代理 {broker}",
        ),
        meters=len(points),
        url=office.url,
        broker=broker.kind,
    )
    timeline.title(
        ("virtual time from {start} UTC on, up to {speed} times as fast", "虚拟时间自 {start} UTC 起，最快 {speed} 倍"),
        start=datetime.datetime.fromtimestamp(START_S, datetime.UTC).strftime("%Y-%m-%d %H:%M"),
        speed=arguments.speed,
    )
    return Story(
        office,
        fleet,
        clock,
        timeline,
        listener,
        minutes=arguments.minutes,
        cruise=arguments.speed,
        heap=arguments.heap,
        patience_s=arguments.patience,
    )


def _write_secret(path: Path, text: str) -> None:
    """For its owner's eyes alone."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _sum_up(story: Story, folder: Path, took_s: float) -> None:
    """The balances drawn over time, and what was proved."""
    timeline = story.timeline
    for point in story.walkers:
        _draw(story, point)
    timeline.plain()
    script = Path(__file__).with_name("recheck.py")
    with contextlib.suppress(ValueError):
        script = script.relative_to(Path.cwd())
    timeline.title(
        (
            "Every step confirmed: {facts} facts, {confirmed} of them proved by reports, in {took} s.",
            "全部步骤已确认：{facts} 条事实，其中 {confirmed} 条由报告证明，用时 {took} 秒。",
        ),
        facts=timeline.count,
        confirmed=timeline.confirmed,
        took=round(took_s),
    )
    timeline.plain(
        timeline.say(
            ("Check the proofs: python {script} {folder}", "复核证据：python {script} {folder}"),
            script=script,
            folder=folder,
        )
    )


def _draw(story: Story, point: Point) -> None:
    """A meter's balance over the run, with what the relay did."""
    home = story.homes[point.name]
    if not home.samples:
        return
    timeline, end_s = story.timeline, home.samples[-1][0]
    top = money(max(balance_uc for _, balance_uc in home.samples))
    timeline.plain()
    timeline.plain(timeline.say(("{name}: balance", "{name}：余额"), name=point.name))
    for number, row in enumerate(draw.chart(home.samples, START_S, end_s)):
        timeline.plain(f"{top if number == 0 else '':>8} ┤{row}")
    timeline.plain(f"{'0.00':>8} ┼" + "─" * 76)
    signs = [(START_S, clock_text(START_S)[:5])]
    signs += [(moment_s, f"{'○' if closed else '×'}{clock_text(moment_s)[:5]}") for moment_s, closed in home.relay]
    timeline.plain(" " * 10 + draw.marks(signs, START_S, end_s))
    timeline.plain(" " * 10 + timeline.say(("× relay opened  ○ relay closed", "× 继电器断开  ○ 继电器闭合")))


def _stay(story: Story, folder: Path) -> None:
    """Leave everything up until Ctrl-C."""
    story.pace(TALK)
    story.timeline.title(
        (
            "The head end and its meters stay up: {url} (status page), {url}/api/v1 (token: {token}). Ctrl-C ends.",
            "主站和电表继续运行：{url}（状态页）、{url}/api/v1（令牌：{token}）。Ctrl-C 结束。",
        ),
        url=story.office.url,
        token=folder / "token",
    )
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            story.check()
            time.sleep(0.5)
