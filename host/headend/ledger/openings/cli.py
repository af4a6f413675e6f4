"""`openprepay import openings FILE`: the dry run of an import, and its proposal.

A dry run writes nothing and prints what is wrong with each line, the sums of both sides and the digest of its report.
With `--propose` and that digest it is proposed; another person approves it, at the head end's desk.
"""

import argparse
import sys
from pathlib import Path

from headend import command
from headend.clock import SystemClock
from headend.ledger.openings import checking, files, running, words
from headend.store import Store, open_store

ACTOR = "machine:import"  # whoever runs commands on the head end's own machine
AT_A_TIME = 200  # problems that are printed


def main(argv: list[str]) -> int:
    """0: done, the dry run is clean; 1: refused, or not clean; 2: a wrong command line."""
    parser = argparse.ArgumentParser(prog="openprepay import", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    tried = commands.add_parser("openings", help="try an import of opening balances, or propose it")
    tried.add_argument(
        "file", type=Path, help="CSV, or JSON Lines where its name ends with .jsonl; - is CSV from stdin"
    )
    tried.add_argument("--id", default="", help="the import's id (else the file's name without its ending)")
    tried.add_argument("--dry-run", action="store_true", help="write nothing (this is so without --propose, too)")
    tried.add_argument("--propose", metavar="DIGEST", help="propose what the dry run with this digest found")
    shown = commands.add_parser("progress", help="how far an import has come")
    shown.add_argument("id")
    for one in (tried, shown):
        one.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")
    return command.run(parser, argv, _run, OSError, ValueError)


def _run(given: argparse.Namespace) -> int:
    with open_store(command.settings_of(given).database, inline=True) as store:
        return _progress(store, given.id) if given.command == "progress" else _openings(store, given)


def _openings(store: Store, given: argparse.Namespace) -> int:
    text = sys.stdin.read() if str(given.file) == "-" else given.file.read_text(encoding="utf-8")
    read = files.read(text, files.JSONL if given.file.suffix == ".jsonl" else files.CSV)
    import_id = given.id or given.file.stem
    if given.propose and not given.dry_run:
        now_s, digest = SystemClock().now_s(), bytes.fromhex(given.propose)
        row = store.write(running.propose, now_s, import_id, read, digest, ACTOR).result()
        print(f"import {row.import_id}: {row.state} (proposal {row.proposal}); another person approves it.")
        return 0
    report = store.read(checking.check, import_id, read)
    for line, problem in sorted(report.problems.items())[:AT_A_TIME]:
        print(f"line {line}: {problem}")
    if len(report.problems) > AT_A_TIME:
        print(f"… and {len(report.problems) - AT_A_TIME} more lines with problems")
    for name, sums in (("the file says", report.control), ("its lines are", report.found)):
        print(f"{name}: {sums.lines} accounts, owed to {files.amount(sums.credit_uc)}, by {files.amount(sums.debt_uc)}")
    print(f"books before: {files.amount(report.before_uc)}, after: {files.amount(report.after_uc)}")
    print(f"digest: {report.digest().hex()}")
    print("clean" if report.clean else "not clean: nothing of it can be imported")
    return 0 if report.clean else 1


def _progress(store: Store, import_id: str) -> int:
    row = store.read(running.get, import_id)
    booked = store.read(running.progress, import_id)[1]
    print(f"import {row.import_id}: {row.state} ({words.STATES[row.state][0]}); {booked} of {row.lines} lines booked")
    return 0
