"""The commands of `openprepay keys` that change a key store which is there: rotate, retire-version, epoch, vending."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from headend.keys import words
from headend.keys.base import VENDING_KEY_LENGTH
from headend.keys.holder import KeyKeeper, Name, VendingName
from headend.keys.place import Place
from headend.keys.root import open_root
from headend.keys.sealed import KeyFileError, read_secret
from headend.keys.state import MAX_KRN
from headend.refusals import Refused
from meterlink.orders import ROLE_ROOT

RESTART = "What runs with these keys has to be started again."


def rotate(given: argparse.Namespace) -> None:
    """Make the next version of a key. The old one stays in force: what was issued under it stays good."""
    kind: str = given.kind
    with _changing(given) as keys:
        if kind in words.ROLES:
            role = words.ROLES[kind]
            held = [name for name in keys.names() if name.role == role]
            old: Name | None = max(held, default=None)
            made: Name = _rotate_root(given, keys) if role == ROLE_ROOT else keys.make_signing_key(role)
        elif kind == words.TAG:
            old, made = keys.tag_key_version, keys.make_tag_key()
        else:
            old, made = _rotate_vending(keys, words.sgc(kind))
        if given.drop and old is not None:
            keys.retire(old)
    print(f"{words.show(made)} was made.")
    if old is not None:
        print(f"{words.show(old)} {'is retired' if given.drop else 'stays in force until it is retired'}.")
    print(RESTART)


def _rotate_root(given: argparse.Namespace, keys: KeyKeeper) -> Name:
    if given.root_key is None:
        raise Refused("root-key", None, "the root key's file: --root-key FILE")
    root = open_root(given.root_key, given.share, os.environ, given.root_passphrase_file)
    made = root.make_signing_key(ROLE_ROOT)
    keys.add_public_key(made, root.public_key(made))
    root.save()
    return made


def _rotate_vending(keys: KeyKeeper, sgc: int) -> tuple[Name, Name]:
    held = [name for name in keys.vending_names() if name.sgc == sgc]
    if not held:
        raise Refused("sgc", sgc, f"one of {sorted({name.sgc for name in keys.vending_names()})}")
    old = max(held)
    if old.krn == MAX_KRN:
        raise Refused("krn", old.krn + 1, f"1..{MAX_KRN}: name the next one with `keys vending add`")
    made = VendingName(sgc, old.krn + 1)
    keys.add_vending_key(made)
    return old, made


def retire_version(given: argparse.Namespace) -> None:
    """Destroy a version of a key. Orders and tokens under it can no more be made; of a signing key the public half
    stays listed as revoked.
    """
    name = words.parse(given.kind, given.version)
    with _changing(given) as keys:
        keys.retire(name)
    print(f"{words.show(name)} is retired: what was secret of it is destroyed here. Backups still hold it.")
    print(RESTART)


def epoch(given: argparse.Namespace) -> None:
    """Open a new signing epoch and credit source: after a restore, a fail-over or an import of the database."""
    with _changing(given) as keys:
        closed, ended = keys.source, keys.signing_epoch
        keys.open_epoch()
    print(f"Signing epoch {keys.signing_epoch} is open, with credit source {keys.source}.")
    print(f"Source {closed} is closed; its last signing epoch was {ended}.")
    print(f"Nothing is signed until the database follows. {RESTART}")


def vending_add(given: argparse.Namespace) -> None:
    """Add a vending key for typed tokens: made here, or imported from a file."""
    name = VendingName(given.sgc, given.krn)
    expires_s = None if given.expires is None else _unix_s(given.expires)
    key = None if given.import_file is None else _read_key(given.import_file)
    with _changing(given) as keys:
        keys.add_vending_key(name, key, expires_s)
    print(f"{words.show(name)} was added; its check value is {keys.check_value(name)}.")
    print(RESTART)


def _unix_s(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or at < datetime(1993, 1, 1, tzinfo=UTC):
        raise Refused("expires", text, "a time such as 2030-12-31T00:00:00Z")
    return int(at.timestamp())


def _read_key(path: Path) -> bytes:
    """What is wrong is said without what stands in the file."""
    try:
        key = bytes.fromhex(read_secret(path).decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != VENDING_KEY_LENGTH:
        raise KeyFileError(f"{path} does not hold {VENDING_KEY_LENGTH * 2} hexadecimal digits and nothing else.")
    return key


@contextmanager
def _changing(given: argparse.Namespace) -> Iterator[KeyKeeper]:
    place = Place(given.keystore)
    with place.changing(place.find_passphrase(os.environ, given.passphrase_file)) as keys:
        yield keys
