"""`openprepay ledger`: heads and day reports, export, and the verifier, which also stands by itself."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import Connection

from headend.books import day, export, heads, verifier
from headend.command import run, settings_of
from headend.language import LANGUAGES
from headend.refusals import Refused
from headend.store import Store, open_store

_POSTGRES = "postgresql"


def main(argv: Sequence[str]) -> int:
    """Run one command; 0 when it was done, 1 when it was refused, 2 for bad usage; of `verify` its own codes."""
    parser = argparse.ArgumentParser(prog="openprepay ledger", description="Look at the sealed books.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        made.set_defaults(run=run)
        made.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")
        return made

    head = command("head", _head)
    head.add_argument("--day", help="a day, such as 2026-11-22 (else the newest)")
    head.add_argument("--out", type=Path, help="a folder to write it to (else standard output)")
    report = command("day", _day)
    report.add_argument("--day", help="a day, such as 2026-11-22 (else the newest)")
    report.add_argument("--language", choices=LANGUAGES, default=LANGUAGES[0])
    to_file = command("export", _export)
    to_file.add_argument("file", type=Path, help="a file that is not there yet")
    verify = command("verify", _verify)
    verify.add_argument("--head", action="append", required=True, help="a head file; may be given several times")
    verify.add_argument("--key", action="append", default=[], help="a public key that signs heads: 128 hex digits")
    verify.add_argument("--export", help="a file that `export` wrote (else the database)")
    verify.add_argument("--database", help="a database URL or a SQLite file (else the setting)")
    command("verifier", _verifier)
    try:
        return run(parser, argv, lambda given: given.run(given), OSError)
    except verifier.Unreadable as error:
        print(error, file=sys.stderr)
        return 3


def _head(given: argparse.Namespace) -> int:
    """Print a signed head, or write it to a folder with its day's report."""
    with _store(given) as store:
        row = _row(store, given.day)
    if given.out is None:
        print(heads.file_of(row).decode(), end="")
    else:
        heads.write(row, given.out)
        print(given.out / f"{row.day}.head")
    return 0


def _day(given: argparse.Namespace) -> int:
    """Print the report of a day."""
    with _store(given) as store:
        row = _row(store, given.day)
    for line in day.lines(row.report, given.language):
        print(line)
    return 0


def _export(given: argparse.Namespace) -> int:
    """Write the sealed books to a file, for the verifier and for safe keeping."""

    def write(conn: Connection) -> None:
        with given.file.open("x", encoding="utf-8") as file:
            file.writelines(export.lines(conn))

    with _store(given) as store:
        store.read(write)
    return 0


def _verify(given: argparse.Namespace) -> int:
    """Hold the books against signed heads: exit code 0 as they were, 1 changed, 3 cannot be read."""
    keys = [verifier.key_of(text) for text in given.key]
    if given.export:
        return verifier.run(given.head, keys, *verifier.from_export(given.export))
    url = given.database or settings_of(given).database
    if not url.startswith(_POSTGRES):
        return verifier.run(given.head, keys, *verifier.from_sqlite(url))

    def read(conn: Connection) -> int:
        return verifier.run(given.head, keys, export.origin(conn), export.rows(conn))

    with open_store(url) as store:
        return store.read(read)


def _verifier(given: argparse.Namespace) -> int:
    """Print the verifier: one file of Python that needs nothing else."""
    print(Path(verifier.__file__).read_text(encoding="utf-8"), end="")
    return 0


def _row(store: Store, named: str | None) -> heads.HeadRow:
    row = store.read(heads.newest) if named is None else store.read(heads.of_day, named)
    if row is None:
        raise Refused("day", named or "none", "a day that was closed with a head of its own")
    return row


def _store(given: argparse.Namespace) -> Store:
    return open_store(settings_of(given).database)
