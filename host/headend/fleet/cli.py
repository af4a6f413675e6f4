"""`openprepay fleet`: import and export of grid, meter types, supply points and meters; what is there.

Files are CSV in UTF-8 (docs/fleet.md lists their columns). An import tries every line first and stores nothing where
one does not fit, unless --skip-bad leaves those out; a file may be imported again.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from headend import command
from headend.clock import SystemClock
from headend.fleet import columns, csv_lines, exporting, grid, importing, tree, types
from headend.fleet.import_lines import Given
from headend.fleet.meters import newest_key_version
from headend.refusals import Refused
from headend.store import Store, open_store

ACTOR = "machine:fleet"  # whoever runs commands on the head end's own machine
FILES = ", ".join(columns.FILES)


def main(argv: list[str]) -> int:
    """0: done; 1: refused, or a line did not fit; 2: a wrong command line."""
    parser = argparse.ArgumentParser(prog="openprepay fleet", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    taken = commands.add_parser("import", help="take a file in")
    taken.add_argument("kind", choices=tuple(columns.FILES), metavar="FILE", help=f"one of {FILES}")
    taken.add_argument("path", type=Path)
    taken.add_argument("--dry-run", action="store_true", help="try every line, store nothing")
    taken.add_argument("--skip-bad", action="store_true", help="store the lines that fit where others do not")
    taken.add_argument("--report", type=Path, help="write the report on bad lines there, as CSV")
    taken.add_argument("--tariff", metavar="HEX", default="", help="of new meters whose line has none")
    taken.add_argument("--limits", metavar="HEX", default="", help="likewise")
    taken.add_argument("--key-version", type=int, help="of the per-meter keys of new meters whose line has none")
    given = commands.add_parser("export", help="write a file")
    given.add_argument("kind", choices=tuple(columns.FILES), metavar="FILE", help=f"one of {FILES}")
    given.add_argument("path", type=Path, help="- is standard output")
    listed = commands.add_parser("types", help="list meter types")
    shown = commands.add_parser("grid", help="show the grid with counts of meters")
    shown.add_argument("--below", default="", help="path of a node; else the substations")
    for one in (taken, given, listed, shown):
        one.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")
    return command.run(parser, argv, _run, OSError, UnicodeDecodeError)


def _run(given: argparse.Namespace) -> int:
    with open_store(command.settings_of(given).database, inline=True) as store:
        return _COMMANDS[given.command](store, given)


def _import(store: Store, given: argparse.Namespace) -> int:
    version = given.key_version or store.read(newest_key_version)
    told = Given(ACTOR, _hex("tariff", given.tariff), _hex("limits", given.limits), version)
    now_s = SystemClock().now_s()

    def lines() -> Iterator[str]:
        with given.path.open(encoding="utf-8", newline="") as file:
            yield from file

    report = importing.run(
        store, now_s, given.kind, lines, told, dry_run=given.dry_run, skip_bad=given.skip_bad, tell=_tell
    )
    for one in report.problems:
        print(f"line {one.line}: {one.field}: {one.value} given, {one.expected} expected")
    counts = report.counts
    if counts[importing.PROBLEM] > len(report.problems):
        print(f"… and {counts[importing.PROBLEM] - len(report.problems)} more lines with problems")
    if given.report:
        with given.report.open("w", encoding="utf-8", newline="") as file:
            _write_report(file, report)
    done = "stored" if report.stored else "nothing was stored"
    print(f"{report.lines} lines: " + ", ".join(f"{count} {name}" for name, count in counts.items()) + f"; {done}")
    return 0 if report.clean or given.skip_bad else 1


def _export(store: Store, given: argparse.Namespace) -> int:
    lines = csv_lines.write(given.kind, exporting.every(store.read, given.kind))
    if str(given.path) == "-":
        sys.stdout.writelines(lines)
        return 0
    with given.path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(lines)
    return 0


def _types(store: Store, _: argparse.Namespace) -> int:
    for one in store.read(types.every):
        print(json.dumps(one.__dict__, ensure_ascii=False))
    return 0


def _grid(store: Store, given: argparse.Namespace) -> int:
    above = None
    if given.below:
        found = store.read(grid.at, given.below)
        if found is None:
            raise Refused("below", given.below, "the path of a node of the grid")
        above = found.id
    yesterday = store.read(tree.yesterday, SystemClock().now_s())
    for node, counts, points in store.read(tree.read, above, yesterday)[1]:
        told = ", ".join(f"{count} {name}" for name, count in counts._asdict().items())
        path, kind, title = (
            ("-", "", "") if node is None else (node.path, node.kind, f"{node.title_en} {node.title_zh}")
        )
        print(f"{path:<40} {kind:<12} {points} supply points, {told}  {title}".rstrip())
    return 0


_COMMANDS = {"import": _import, "export": _export, "types": _types, "grid": _grid}


def _tell(done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} lines", end="", file=sys.stderr, flush=True)


def _write_report(file: TextIO, report: importing.Report) -> None:
    file.write("line,field,value,expected,changes\r\n")
    for one in sorted([*report.problems, *report.changes]):
        cells = (str(one.line), one.field, one.value, one.expected, one.says)
        file.write(",".join('"' + cell.replace('"', '""') + '"' for cell in cells) + "\r\n")


def _hex(name: str, text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Refused(name, text, "bytes in hexadecimal") from None
