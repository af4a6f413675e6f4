"""``openprepay sim fleet``: many meters on real carriers, or a whole day of them in virtual time."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from headend.store import open_store
from openprepay.demo.broker import BrokerError
from openprepay.demo.office import OfficeError
from openprepay.fleetsim import words
from openprepay.fleetsim.day import Day, Outcome
from openprepay.fleetsim.live import FilesError, Live, LiveOutcome
from openprepay.fleetsim.setting import Setting
from openprepay.fleetsim.view import Row, View

_LIMITS = {
    "meters": (1, 1_000_000),
    "speed": (1, 1000),
    "minutes": (1, 10_000),
    "step": (1, 900),
    "loss": (0, 90),
    "offline": (0, 90),
    "on_bus": (0, 100),
    "processes": (1, 64),
    "awake": (1, 1_000_000),
}


def parser() -> argparse.ArgumentParser:
    """The arguments of ``openprepay sim fleet``."""
    top = argparse.ArgumentParser(
        prog="openprepay sim fleet",
        description="Runs many meters with the real firmware against the real head end. Without --day: on a broker, "
        "one connection a meter, and behind Modbus gateways, on the loopback interface; with a connection storm, an "
        "evening peak, an outage with last gasps and many payments at once. With --day: a day, and what follows "
        "it, on a carrier that loses, while head ends are killed and the carrier forgets what it has; counted to the "
        "last record. Exit code 0 where everything is there in the end, 1 where not.",
    )
    top.add_argument("--meters", type=int, default=200, metavar="N", help="how many (default 200)")
    top.add_argument("--seed", type=int, default=0, metavar="N", help="equal seeds have equal faults")
    top.add_argument("--step", type=int, metavar="S", help="longest step of a meter, a divisor of 900 s (default 300; "
                     "900 with --day)")  # fmt: skip
    top.add_argument("--on-bus", type=int, default=10, metavar="P", help="percent of the meters on buses (default 10)")
    top.add_argument("--awake", type=int, metavar="N", help="meters kept awake in each process (default 200): memory "
                     "against time")  # fmt: skip
    top.add_argument("--json", type=Path, metavar="FILE", help="write what was counted there")
    top.add_argument("--folder", type=Path, metavar="DIR", help="where flashes and database lie (default: temporary)")
    top.add_argument("--lang", choices=words.LANGUAGES, default="en", help="language of the view")
    real = top.add_argument_group("on real carriers")
    real.add_argument("--speed", type=int, default=60, metavar="N", help="virtual seconds a second (default 60)")
    real.add_argument("--minutes", type=int, default=100, metavar="N", help="how long, virtual (default 100)")
    day = top.add_argument_group("a day in virtual time")
    day.add_argument("--day", action="store_true", help="a day on a carrier that loses")
    day.add_argument("--loss", type=int, default=5, metavar="P", help="percent of messages lost, each way (default 5)")
    day.add_argument("--offline", type=int, default=2, metavar="P", help="percent of meters out of reach (default 2)")
    day.add_argument("--processes", type=int, default=1, metavar="N", help="for the meters (default 1)")
    day.add_argument("--database", metavar="URL", help="an empty one (default: SQLite in the folder)")
    return top


def main(argv: list[str]) -> int:
    """0 where everything is there in the end, 1 where not, 2 for a wrong argument, 3 where it cannot run."""
    arguments = parser().parse_args(argv)
    for name, (low, high) in _LIMITS.items():
        value = getattr(arguments, name)
        if value is not None and not low <= value <= high:
            return _wrong(f"--{name.replace('_', '-')}: {value} given, {low}..{high} expected")
    if arguments.step is not None and 900 % arguments.step:
        return _wrong(f"--step: {arguments.step} given, a divisor of 900 expected")
    if arguments.database and not arguments.day:
        return _wrong("--database goes with --day")
    try:
        if arguments.folder:
            arguments.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="openprepay-fleet-", dir=arguments.folder) as folder:
            outcome, rows = _day(arguments, Path(folder)) if arguments.day else _live(arguments, Path(folder))
    except (FilesError, BrokerError, OfficeError, OSError) as error:
        print(f"openprepay sim fleet: {error}", file=sys.stderr)
        return 3
    rows.append((words.HOLDS if outcome.holds else words.BROKEN, ""))
    View(sys.stdout, arguments.lang).end(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(outcome.as_json(), indent=1) + "\n", encoding="utf-8")
    return 0 if outcome.holds else 1


def _day(arguments: argparse.Namespace, folder: Path) -> tuple[Outcome, list[Row]]:
    setting = Setting(
        meters=arguments.meters,
        seed=arguments.seed,
        step_s=arguments.step or 900,
        round_s=60 if (arguments.step or 900) % 60 == 0 else arguments.step,
        loss=arguments.loss,
        offline=arguments.offline,
        on_bus=arguments.on_bus,
        processes=arguments.processes,
        awake=arguments.awake or 200,
    )
    url = arguments.database or f"sqlite:///{folder / 'head-end.sqlite'}"
    with open_store(url, inline=True) as store:
        outcome = Day(store, setting, folder=str(folder), told=View(sys.stdout, arguments.lang).day).run()
    return outcome, [
        (words.METERS, f"{outcome.meters}"),
        (words.BY_SIX, f"{outcome.by_six_percent:.2f} %"),
        (words.WHOLE, f"{outcome.whole_percent:.4f} % ({outcome.intervals_stored} / {outcome.intervals_held})"),
        (words.AFTER, f"{outcome.whole_after_s / 3600:.1f} h"),
        (words.MESSAGES, f"{outcome.messages}"),
        (words.LOST, f"{outcome.lost}"),
        (words.KILLS, f"{outcome.kills}"),
        (words.PAYMENTS, f"{outcome.payments}"),
        (words.ARRIVED, f"{outcome.payments_on_meters}"),
    ]


def _live(arguments: argparse.Namespace, folder: Path) -> tuple[LiveOutcome, list[Row]]:
    step_s = arguments.step or 300
    setting = Setting(
        meters=arguments.meters,
        seed=arguments.seed,
        step_s=step_s,
        on_bus=arguments.on_bus,
        spread_s=step_s * 5 // 6,
        awake=arguments.awake or 200,
    )
    view = View(sys.stdout, arguments.lang)
    outcome = Live(setting, arguments.speed, arguments.minutes * 60, folder, told=view.live).run()
    return outcome, [
        (words.METERS, f"{outcome.meters} ({outcome.on_bus} on buses)"),
        (words.CONNECTS, f"{outcome.connects}"),
        (words.SAID, f"{outcome.said}"),
        (words.HEARD, f"{outcome.heard}"),
        (words.BUSES, f"{outcome.transactions}"),
        (words.GASPS, f"{outcome.gasps} / {outcome.warned}"),
        (words.PAYMENTS, f"{outcome.payments}"),
        (words.ARRIVED, f"{outcome.payments_on_meters}"),
        (words.WHOLE, f"{outcome.intervals_stored} / {outcome.intervals_held}"),
        (words.MEMORY, f"{outcome.bytes_a_meter / 1024:.1f} KiB"),
    ]


def _wrong(sentence: str) -> int:
    print(f"openprepay sim fleet: {sentence}", file=sys.stderr)
    return 2
