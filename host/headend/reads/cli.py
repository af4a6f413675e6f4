"""`openprepay readings`: export interval records, pack days that are over, tell what is stored."""

import argparse
import getpass
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from headend import command
from headend.clock import SystemClock
from headend.collection import success
from headend.reads import export, statistics
from headend.reads.packer import Packer
from headend.reads.packing import Damaged
from headend.refusals import Refused
from headend.settings import Settings
from headend.store import CommitFailed, Store, open_store, retention

Run = Callable[[argparse.Namespace, Settings, Store], None]


def main(argv: list[str]) -> int:
    """0 when it was done, 1 when it could not be, 2 for bad usage."""
    return command.run(_parser(), argv, _run, CommitFailed, Damaged, DBAPIError, OSError)


def _run(given: argparse.Namespace) -> None:
    settings = command.settings_of(given)
    with open_store(settings.database, inline=True) as store:
        given.run(given, settings, store)


def _export(given: argparse.Namespace, settings: Settings, store: Store) -> None:
    """Write records of a span of time to a Parquet file; it names meters by their numbers."""
    actor = f"system:{getpass.getuser()}"
    span = _moment("from", given.since), _moment("to", given.until)
    count = export.to_parquet(store, SystemClock().now_s(), actor, given.out, *span, given.area)
    print(f"{given.out}: {count} records.")


def _pack(given: argparse.Namespace, settings: Settings, store: Store) -> None:
    """Pack the days that are over, and let go of those that the retention policy no longer keeps."""
    kept_days = retention.days(settings.retention)[retention.READINGS]
    packer = Packer(store, kept_days=kept_days)  # it packs what is counted
    while store.write(success.count_some, SystemClock().now_s()).result():
        pass
    while packer.run(SystemClock().now_s()):
        pass
    print(f"{packer.packed} records packed.")


def _stat(given: argparse.Namespace, settings: Settings, store: Store) -> None:
    """Tell how many records are stored where, and what they take."""
    found = store.read(statistics.of)
    print(f"recent  {found.recent:>12} records  {found.recent_bytes:>14} bytes")
    print(f"packed  {found.packed:>12} records  {found.packed_bytes:>14} bytes, {found.days} days of meters")
    if found.packed:
        hundredths = found.packed_bytes * 100 // found.packed
        print(f"        {hundredths // 100}.{hundredths % 100:02} bytes a packed record, keys and pages aside")


def _moment(field: str, text: str) -> int:
    """UTC seconds of a date or a moment in ISO 8601; without a zone it is UTC. Raises Refused."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(field, text, "a date or moment such as 2026-11-01 or 2026-11-01T06:00Z") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="openprepay readings", description="Interval records of all meters.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Run) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        made.set_defaults(run=run)
        made.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")
        return made

    made = command("export", _export)
    made.add_argument("--from", dest="since", required=True, metavar="TIME", help="first period, UTC: 2026-11-01")
    made.add_argument("--to", dest="until", required=True, metavar="TIME", help="end, excluded")
    made.add_argument("--area", default="", help="meters of this area alone, such as north/feeder-3")
    made.add_argument("--out", type=Path, required=True, metavar="FILE.parquet")
    command("pack", _pack)
    command("stat", _stat)
    return parser
