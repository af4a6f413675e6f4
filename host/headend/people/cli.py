"""`openprepay persons`: the key that personal data is sealed under, and erasing for good."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from headend import command
from headend.clock import SystemClock
from headend.keys.sealed import KeyFileError
from headend.people import persons
from headend.people.keyring import CannotOpen, RingFile
from headend.refusals import Refused
from headend.settings import Settings
from headend.store import Store, open_store, wipe
from headend.store.schema_people import person_field, person_index, person_key

AT_A_TIME = 200
ACTOR = "machine:persons"  # whoever runs commands on the head end's own machine

_ABOUT = """\
The key lies in the file of the setting `persons_key`. Keep its copies apart from those of the database: a database
without it tells nobody's name, and personal data in a database whose key is lost is lost.
"""


def main(argv: list[str]) -> int:
    """Run one sub-command; 0 when it was done, 1 when it was refused (with a sentence on stderr), 2 for bad usage."""
    parser = argparse.ArgumentParser(prog="openprepay persons", description=__doc__, epilog=_ABOUT)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run in _COMMANDS.items():
        made = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        made.set_defaults(run=run)
        made.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")
        if run is _erase:
            made.add_argument("person", help="the pseudonym")
    refusals = KeyFileError, CannotOpen
    return command.run(parser, argv, lambda given: given.run(given, command.settings_of(given)), *refusals)


def _init(_given: argparse.Namespace, settings: Settings) -> None:
    """Make the key file."""
    path = Path(settings.persons_key)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    RingFile(path).make(os.urandom)
    print(f"{path}: the key of personal data. Keep a copy of it, apart from the copies of the database.")


def _rotate(_given: argparse.Namespace, settings: Settings) -> None:
    """Add a new key and seal every person's key under it; the old one stays for the database's copies."""
    file = RingFile(Path(settings.persons_key))
    ring = file.add(os.urandom)
    after: str | None = ""
    with _store(settings) as store:
        while after is not None:
            after = store.write(persons.rewrap, ring, os.urandom, after, AT_A_TIME).result()
        wipe.flush(store.writes)
    print(f"{file.path}: version {ring.newest} seals now. `openprepay persons drop` ends the versions before it.")


def _drop(_given: argparse.Namespace, settings: Settings) -> None:
    """Delete all keys but the newest: personal data in older copies of the database can then never be read again."""
    file = RingFile(Path(settings.persons_key))
    newest = file.ring().newest
    with _store(settings) as store:
        others = store.read(persons.wrapped_under) - {newest}
    if others:
        used = ", ".join(map(str, sorted(others)))
        raise Refused("persons_key", f"version {used}", "no person's key under an old version: rotate once more")
    file.drop_old()
    print(f"{file.path}: version {newest} alone is left.")


def _erase(given: argparse.Namespace, settings: Settings) -> None:
    """Erase a person, and what the database's files still hold of it."""
    with _store(settings) as store:
        _erase_one(store, settings, given.person)


def _erase_again(_given: argparse.Namespace, settings: Settings) -> int:
    """After a copy of the database was put back: erase everybody whom it knows again."""
    refused = 0
    with _store(settings) as store:
        for pseudonym in RingFile(Path(settings.persons_key)).erased():
            try:
                if store.read(persons.get, pseudonym).erased_s is None:
                    _erase_one(store, settings, pseudonym)
            except persons.UnknownPerson:
                continue  # of after that copy
            except Refused as error:
                refused = 1
                print(f"openprepay persons: {error}", file=sys.stderr)
    return refused


def _erase_one(store: Store, settings: Settings, pseudonym: str) -> None:
    version = store.read(persons.standing, pseudonym).version
    store.write(persons.erase, SystemClock().now_s(), pseudonym, version, ACTOR).result()
    RingFile(Path(settings.persons_key)).note_erased(pseudonym)
    print(f"{pseudonym}: erased.")
    if not wipe.flush(store.writes):
        print("The database's log is in use: `openprepay persons wipe` later empties it.")


def _wipe(_given: argparse.Namespace, settings: Settings) -> int:
    """Write the database anew without what was deleted. Others wait meanwhile."""
    with _store(settings) as store:
        if wipe.rewrite(store.writes, (person_key, person_field, person_index)):
            return 0
    print("openprepay persons: somebody else has the database in hand; nothing was written anew.", file=sys.stderr)
    return 1


_COMMANDS: dict[str, Callable[[argparse.Namespace, Settings], int | None]] = {
    "init": _init,
    "rotate": _rotate,
    "drop": _drop,
    "erase": _erase,
    "erase-again": _erase_again,
    "wipe": _wipe,
}


def _store(settings: Settings) -> Store:
    return open_store(settings.database, inline=True)
