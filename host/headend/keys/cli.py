"""`openprepay keys`: make a key store, look at it, export public keys, change keys, provision a meter.

No secret is ever printed, and no passphrase is taken from the command line.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from headend import command
from headend.keys import cli_change, cli_provision, cli_root, custodians, passphrase, presign, words
from headend.keys.holder import BENCH, PRODUCTION, KeyHolder, KeyName
from headend.keys.keystore import KeyStore
from headend.keys.place import Place, open_keys
from headend.keys.sealed import KeyFileError, write_secret
from headend.keys.state import KeyState
from meterlink import names
from meterlink.orders import ROLE_ROOT

_SETTINGS = ("keystore", "passphrase_file", "database", "currency")


def main(argv: list[str]) -> int:
    """Run one sub-command; 0 when it was done, 1 when it was refused (with a sentence on stderr), 2 for bad usage."""
    return command.run(_parser(), argv, _run, KeyFileError)


def _run(given: argparse.Namespace) -> int | None:
    settings = command.settings_of(given)
    for name in _SETTINGS:
        if getattr(given, name, None) is None:
            setattr(given, name, getattr(settings, name))
    run: Callable[[argparse.Namespace], int | None] = given.run
    return run(given)


def _init(given: argparse.Namespace) -> None:
    """Make fresh keys: the head end's, and the root key's file to be taken offline."""
    place, root_file = Place(given.keystore), Path(given.root_key)
    shares = custodians.parse(given.custodians) if given.custodians else None
    if root_file.exists():
        raise KeyFileError(f"{root_file} is there already; it is not overwritten.")
    secret = place.find_passphrase(os.environ, given.passphrase_file, again=True)
    use = BENCH if given.bench else PRODUCTION
    with (
        _all_or_none() as written,
        place.creating(secret, given.signing_epoch, given.source, use) as keys,
    ):
        root = KeyStore(KeyState(given.signing_epoch, given.source, use), {}, {})
        name = root.make_signing_key(ROLE_ROOT)
        keys.add_public_key(name, root.public_key(name))
        if shares:
            root_secret, texts = custodians.split(shares)
            for number, text in enumerate(texts, 1):
                path = root_file.with_name(f"{root_file.name}.share-{number}")
                write_secret(path, text.encode())
                written.append(path)
        else:
            root_secret = _root_secret(given, place, secret)
        root.save(root_file, root_secret, shares=shares)
        written.append(root_file)
    print(f"{place}: keys for signing epoch {keys.signing_epoch}, credit source {keys.source}, use {use}.")
    print(f"{root_file}: the root key. Take this file offline; a head end does not need it.")
    if shares:
        needed, made = shares
        print(f"{written[0]} … {written[made - 1]}: any {needed} of these {made} open it. Give each to its custodian.")


@contextmanager
def _all_or_none() -> Iterator[list[Path]]:
    """Files that are listed in it are removed again when the block fails."""
    written: list[Path] = []
    try:
        yield written
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _root_secret(given: argparse.Namespace, place: Place, secret: str) -> str:
    """The root file's own passphrase, else that of the key file; a PIN is too short to be one."""
    if os.environ.get(passphrase.ROOT) or given.root_passphrase_file or place.hsm:
        file = given.root_passphrase_file
        return passphrase.find(os.environ, passphrase.ROOT, file, str(given.root_key), again=True)
    return secret


def _show(given: argparse.Namespace) -> None:
    """Tell what a key store holds, without any secret."""
    keys = _open(given)
    print(f"use            {keys.use}")
    print(f"signing epoch  {keys.signing_epoch}")
    print(f"credit source  {keys.source}")
    for source, epoch in sorted(keys.closed_sources.items()):
        print(f"closed source  {source}, its last signing epoch was {epoch}")
    for name in sorted([*keys.names(), *keys.revoked()]):
        role = names.of(names.ROLE, name.role)
        print(f"{role:<8} {name.version:>3}   {keys.fingerprint(name)}   {_standing(keys, name)}")
    for version in keys.tag_key_versions():
        print(f"{words.TAG:<8} {version:>3}   check value {keys.check_value(version)}")
    for vending in keys.vending_names():
        expires_s = keys.vending_expires_s(vending)
        until = "" if expires_s is None else f"   expires {datetime.fromtimestamp(expires_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
        print(f"{words.show(vending)}   check value {keys.check_value(vending)}{until}")
    for left_over in sorted(map(words.show, keys.unnamed())):
        print(f"{left_over}   left over from a change that was cut short; retire-version destroys it")


def _standing(keys: KeyHolder, name: KeyName) -> str:
    if name not in keys.names():
        return "revoked"
    if not keys.can_sign(name):
        return "public half only"
    return "signs" if name == keys.newest(name.role) else "in force"


def _export_public(given: argparse.Namespace) -> None:
    """Write the public keys in force as JSON."""
    keys = _open(given)
    listed = [
        {
            "role": names.of(names.ROLE, name.role),
            "key_version": name.version,
            "public_key": keys.public_key(name).hex(),
        }
        for name in keys.names()
    ]
    text = json.dumps({"curve": "P-256", "keys": listed}, indent=1) + "\n"
    if given.out is None:
        sys.stdout.write(text)
        return
    try:
        given.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise KeyFileError(f"{given.out} cannot be written: {error.strerror}.") from error


def _open(given: argparse.Namespace) -> KeyHolder:
    return open_keys(given.keystore, os.environ, given.passphrase_file)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")
    common.add_argument("--keystore", help="the key file, or pkcs11:token=… (else of the settings)")
    common.add_argument(
        "--passphrase-file",
        help=f"file of mode 0600 with the passphrase or PIN (else {passphrase.KEYSTORE}, else asked for)",
    )
    root = argparse.ArgumentParser(add_help=False)
    root.add_argument(
        "--root-passphrase-file",
        default="",
        help=f"the root key's own passphrase (else {passphrase.ROOT}, else that of the key file)",
    )
    parser = argparse.ArgumentParser(prog="openprepay keys", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str,
        run: Callable[[argparse.Namespace], int | None],
        *parents: argparse.ArgumentParser,
        under: "argparse._SubParsersAction[argparse.ArgumentParser]" = commands,
    ) -> argparse.ArgumentParser:
        # No abbreviations: --passphrase must not be taken for --passphrase-file.
        made = under.add_parser(
            name, parents=[common, *parents], help=run.__doc__, description=run.__doc__, allow_abbrev=False
        )
        made.set_defaults(run=run)
        return made

    init = command("init", _init, root)
    init.add_argument("--root-key", required=True, help="file for the root key, to be taken offline")
    init.add_argument("--custodians", metavar="K/N", help="split what opens the root key: any K of N people open it")
    init.add_argument("--bench", action="store_true", help="keys for test benches, which no production meter takes")
    init.add_argument("--signing-epoch", type=int, default=1)
    init.add_argument("--source", type=int, default=1, help="credit source of the database")
    command("show", _show)
    export = command("export-public", _export_public)
    export.add_argument("--out", type=Path, help="file to write (else standard output)")

    rotate = command("rotate", cli_change.rotate, root)
    rotate.add_argument("kind", metavar="KEY", help=words.KINDS)
    rotate.add_argument("--drop", action="store_true", help="retire the version before it at once")
    rotate.add_argument("--root-key", type=Path, help="the root key's file, to rotate root")
    rotate.add_argument("--share", type=Path, action="append", default=[], help="a custodian's share; repeat it")
    retire = command("retire-version", cli_change.retire_version)
    retire.add_argument("kind", metavar="KEY", help=words.KINDS)
    retire.add_argument("version", type=int, help="its version (of a vending key: its KRN)")
    epoch = commands.add_parser("epoch", help=cli_change.epoch.__doc__).add_subparsers(required=True, metavar="COMMAND")
    command("open", cli_change.epoch, under=epoch)
    presign.add_to(command, root, epoch)
    vending = commands.add_parser("vending", help="Keys of typed tokens.").add_subparsers(
        required=True, metavar="COMMAND"
    )
    add = command("add", cli_change.vending_add, under=vending)
    add.add_argument("--sgc", type=int, required=True, help="supply group code, 0..999999")
    add.add_argument("--krn", type=int, required=True, help="key revision number, 1..9")
    add.add_argument("--expires", help="when it issues nothing more, such as 2030-12-31T00:00:00Z")
    add.add_argument("--import", dest="import_file", type=Path, help="file of mode 0600 with 40 hexadecimal digits")

    cli_provision.add_to(command)
    cli_root.add_to(command, root)
    return parser
