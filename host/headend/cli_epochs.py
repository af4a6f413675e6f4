"""`openprepay admin`: a signing epoch taken over, accounts signed in advance, and what a person has to look at."""

import argparse
import csv
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from headend.clock import SystemClock
from headend.epochs import adopt, findings, presigned, readback
from headend.fleet.meters import get_meter
from headend.keys import presign, root_orders
from headend.keys.place import open_keys
from headend.keys.sealed import KeyFileError
from headend.settings import Settings
from headend.store import Store, identity
from headend.web import wire

OpenStore = Callable[[Settings], AbstractContextManager[Store]]


def adopt_epoch(given: argparse.Namespace, settings: Settings, open_store: OpenStore) -> int:
    """Let this database go on under the signing epoch and credit source that the key store has opened: after a restore,
    a fail-over or an import. Each meter is then read back before credit is stated to it again."""
    keys = open_keys(settings.keystore, os.environ, settings.passphrase_file)
    numbers = keys.signing_epoch, keys.source, keys.closed_sources
    with open_store(settings) as store:
        count = store.write(adopt.adopt, SystemClock().now_s(), *numbers, given.why).result()
        standing = store.read(identity.get)
        waiting = len(store.read(readback.waiting))
    print(f"Signing epoch {standing.signing_epoch}, credit source {standing.source}.")
    print(
        f"{count} meters are to be read back." if count else f"Nothing to take over; {waiting} meters to be read back."
    )
    return 0


def list_presigned(given: argparse.Namespace, settings: Settings, open_store: OpenStore) -> int:
    """Write the list of meters for `openprepay keys epoch presign`: those with few accounts left that are signed in
    advance."""
    with open_store(settings) as store:
        left = store.read(presigned.left)
        rows = [store.read(get_meter, number) for number, count in sorted(left.items()) if count < given.below]
    try:
        with given.file.open("w", encoding="utf-8", newline="") as file:
            written = csv.writer(file)
            written.writerow(presign.COLUMNS)
            written.writerows((row.meter, row.account_epoch, row.tag_key_version) for row in rows)
    except OSError as error:
        raise KeyFileError(f"{given.file} cannot be written: {error.strerror}.") from error
    print(f"{given.file}: {len(rows)} of {len(left)} meters have fewer than {given.below} accounts signed in advance.")
    return 0


def import_presigned(given: argparse.Namespace, settings: Settings, open_store: OpenStore) -> int:
    """Keep account epochs and retirements that the root key has signed in advance."""
    keys = open_keys(settings.keystore, os.environ, settings.passphrase_file)
    signed = root_orders.read(given.file)
    with open_store(settings) as store:
        taken, refused = store.write(presigned.take, SystemClock().now_s(), keys, signed).result()
    for one in refused:
        print(f"openprepay admin: {one}", file=sys.stderr)
    print(f"{given.file}: {taken} taken, {len(signed) - taken - len(refused)} there already, {len(refused)} refused.")
    return 1 if refused else 0


def list_findings(given: argparse.Namespace, settings: Settings, open_store: OpenStore) -> int:
    """List what a person has to look at; with --settle, put one away."""
    with open_store(settings) as store:
        if given.settle is not None:
            store.write(findings.settle_one, SystemClock().now_s(), given.settle).result()
        rows = store.read(findings.standing)
    for row in rows:
        print(f"{row.id:>6}  {wire.utc(row.found_s)}  {wire.meter_name(row.meter)}  {row.kind}: {row.note}")
        print(f"        {findings.KINDS[row.kind]}")
    return 0


def add_to(
    things: "argparse._SubParsersAction[argparse.ArgumentParser]",
    hang: Callable[[argparse.ArgumentParser, Callable[..., int]], None],
) -> None:
    """Add the commands to `openprepay admin`; `hang(parser, run)` gives each what all commands have."""
    adopted = things.add_parser("adopt-epoch", help=adopt_epoch.__doc__, description=adopt_epoch.__doc__)
    adopted.add_argument("--why", default="restored", help="a few words for the record")
    hang(adopted, adopt_epoch)
    advance = things.add_parser("presigned", help="account epochs that the root key signs in advance").add_subparsers(
        required=True, metavar="COMMAND"
    )
    listed = advance.add_parser("list", help=list_presigned.__doc__, description=list_presigned.__doc__)
    listed.add_argument("file", type=Path, help="CSV file to write")
    listed.add_argument("--below", type=int, default=2, help="only meters with fewer left than this (default 2)")
    hang(listed, list_presigned)
    taken = advance.add_parser("import", help=import_presigned.__doc__, description=import_presigned.__doc__)
    taken.add_argument("file", type=Path)
    hang(taken, import_presigned)
    found = things.add_parser("findings", help=list_findings.__doc__, description=list_findings.__doc__)
    found.add_argument("--settle", type=int, metavar="ID", help="this one was looked after")
    hang(found, list_findings)
