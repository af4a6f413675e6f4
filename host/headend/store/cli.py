"""`openprepay db`: back up, put back, look whether it is whole, let go of what is old."""

import argparse
import os
import sys
from collections import Counter, defaultdict
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from headend import command
from headend.clock import SystemClock
from headend.epochs import adopt, readback
from headend.keys.place import Place
from headend.keys.sealed import KeyFileError
from headend.settings import INSIDE, Settings
from headend.store import CommitFailed, Store, backup, checking, losses, open_store, retention
from headend.web import wire


def main(argv: list[str]) -> int:
    """0 when it was done, 1 when it could not be or the database is not whole, 2 for bad usage."""
    refusals = KeyFileError, CommitFailed, DBAPIError, OSError
    return command.run(_parser(), argv, lambda given: given.run(given, command.settings_of(given)), *refusals)


def _backup(given: argparse.Namespace, settings: Settings) -> int:
    """Copy the database to FILE and FILE.json, while it is in use."""
    with Store(settings.database, inline=True) as store:  # as it is: of whatever revision
        made = backup.make(store, settings.database, given.file, SystemClock().now_s())
    print(f"{given.file}: {made.bytes} bytes, {made.counts['payment']} payments, {made.counts['order']} orders.")
    print(f"SHA-256 {made.sha256}; {backup.manifest_of(given.file)} tells more.")
    return 0


def _restore(given: argparse.Namespace, settings: Settings) -> int:
    """Put a backup where no database is, open a signing epoch and credit source for it, and tell what it lacks."""
    manifest = backup.read(given.file)
    backup.put(given.file, manifest, settings.database)
    print(f"The database of {wire.utc(manifest.made_s)} is in its place.")
    with open_store(settings.database, inline=True) as store:
        wrong = _tell_problems(store)
        _tell_losses(store, Path(settings.signer_log))
        _open_epoch(store, settings)
    print("Who was erased since is erased again: openprepay persons erase-again (docs/registry.md).")
    print('Channels post again what they have no answer for, with "posted_again": true (docs/sequences.md).')
    return wrong


def _check(given: argparse.Namespace, settings: Settings) -> int:
    """Tell whether the database is whole: its files, ledger, orders and sealed chains."""
    with Store(settings.database, inline=True) as store:
        wrong = _tell_problems(store)
    if not wrong:
        print("The database is whole.")
    return wrong


def _prune(given: argparse.Namespace, settings: Settings) -> int:
    """Delete what is older than the retention policy keeps it; never money, orders or audit."""
    chosen = retention.days(settings.retention)
    with open_store(settings.database, inline=True) as store:
        totals: Counter[str] = Counter()
        while retention.prune_some(store, SystemClock().now_s(), chosen, totals):
            pass
    for name in retention.POLICY:
        kept = f"kept {chosen[name]} days" if chosen[name] else "kept for ever"
        print(f"{name:<14} {totals[name]:>10} deleted, {kept}")
    return 0


def _tell_problems(store: Store) -> int:
    wrong = store.read(lambda conn: list(checking.problems(conn)))
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


def _tell_losses(store: Store, log: Path) -> None:
    if not log.exists():
        print(f"The signer's log is not here ({log}): it could tell what the backup lacks. `openprepay signer log`")
        print("shows it where the signer runs.")
        return
    found = store.read(lambda conn: list(losses.lost(conn, log)))
    if not found:
        print("The signer's log tells of nothing that the backup lacks.")
        return
    of_meter: dict[int, list[losses.Loss]] = defaultdict(list)
    for one in found:
        of_meter[one.meter].append(one)
    print(f"The signer's log tells of {len(found)} orders and tokens that the backup lacks:")
    for meter, lost in sorted(of_meter.items()):
        credit, refund = sum(one.credit_uc for one in lost), sum(one.refund_uc for one in lost)
        words = [f"{sum(one.what == 'order' for one in lost)} orders"]
        words += [f"{wire.amount(credit)} of credit"] if credit else []
        words += [f"{wire.amount(refund)} refunded"] if refund else []
        tokens = [one.energy_wh for one in lost if one.what == "token"]
        words += [f"{len(tokens)} typed tokens over {sum(tokens)} Wh"] if tokens else []
        print(f"  {wire.meter_name(meter)}  {', '.join(words)}, {wire.utc(lost[0].at_s)} to {wire.utc(lost[-1].at_s)}")


def _open_epoch(store: Store, settings: Settings) -> None:
    """Here where the keys are, else by the commands that are told."""
    if settings.signer != INSIDE:
        print("The keys are with the signer. There: openprepay keys epoch open; then start it again.")
        print("Here, before the head end is started: openprepay admin adopt-epoch --why restored")
        return
    place = Place(settings.keystore)
    with place.changing(place.find_passphrase(os.environ, settings.passphrase_file)) as keys:
        keys.open_epoch()  # the one in force may be what the lost database stated by
        numbers = keys.signing_epoch, keys.source, keys.closed_sources
    store.write(adopt.adopt, SystemClock().now_s(), *numbers, "restored").result()
    waiting = len(store.read(readback.waiting))
    print(f"Signing epoch {numbers[0]} and credit source {numbers[1]} are open; {waiting} meters are to be read back.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="openprepay db", description="Look after the database.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, with_file in (
        ("backup", _backup, True),
        ("restore", _restore, True),
        ("check", _check, False),
        ("prune", _prune, False),
    ):
        command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        if with_file:
            command.add_argument("file", type=Path)
        command.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")
        command.set_defaults(run=run)
    return parser
