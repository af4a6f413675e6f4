"""`openprepay keys`: make a key store, look at it, export public keys, provision a meter.

No secret is ever printed, and no passphrase is taken from the command line.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from headend.fleet.meters import get_meter
from headend.keys import passphrase
from headend.keys.keystore import KeyStore
from headend.keys.provision import provision_record
from headend.keys.sealed import KeyFileError, write_secret
from headend.refusals import Refused
from headend.settings import BadSettings, Settings
from headend.store import identity, open_store
from meterlink import names

_SETTINGS = ("keystore", "passphrase_file", "database")


def main(argv: list[str]) -> int:
    """Run one sub-command; 0 when it was done, 1 when it was refused (with a sentence on stderr), 2 for bad usage."""
    parser = _parser()
    try:
        given = parser.parse_args(argv)
    except SystemExit as ended:
        return int(ended.code or 0)
    try:
        settings = Settings.load(given.config, os.environ)
        for name in _SETTINGS:
            if getattr(given, name, None) is None:
                setattr(given, name, getattr(settings, name))
        run: Callable[[argparse.Namespace], None] = given.run
        run(given)
    except (Refused, KeyFileError, BadSettings) as error:
        print(f"openprepay keys: {error}", file=sys.stderr)
        return 1
    return 0


def _init(given: argparse.Namespace) -> None:
    """Make fresh keys: the head end's file, and the root key's file to be taken offline."""
    store, root = Path(given.keystore), Path(given.root_key)
    for path in (store, root):
        if path.exists():
            raise KeyFileError(f"{path} is there already; it is not overwritten.")
    secret = passphrase.find(os.environ, passphrase.KEYSTORE, given.passphrase_file, str(store), again=True)
    root_secret = secret
    if os.environ.get(passphrase.ROOT) or given.root_passphrase_file:
        root_secret = passphrase.find(os.environ, passphrase.ROOT, given.root_passphrase_file, str(root))
    keys = KeyStore.generate(signing_epoch=given.signing_epoch, source=given.source)
    keys.root_only().save(root, root_secret)
    keys.without_root().save(store, secret)
    print(f"{store}: keys for signing epoch {keys.signing_epoch}, credit source {keys.source}.")
    print(f"{root}: the root key. Take this file offline; a head end does not need it.")


def _show(given: argparse.Namespace) -> None:
    """Tell what a key file holds, without any secret."""
    keys = _open(given)
    print(f"signing epoch  {keys.signing_epoch}")
    print(f"credit source  {keys.source}")
    print(f"tag keys       {', '.join(map(str, keys.tag_key_versions())) or 'none'}")
    for name in keys.names():
        half = "signs" if keys.can_sign(name) else "public half only"
        print(f"{names.of(names.ROLE, name.role):<8} {name.version:>3}   {keys.fingerprint(name)}   {half}")


def _export_public(given: argparse.Namespace) -> None:
    """Write the public keys as JSON."""
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


def _provision(given: argparse.Namespace) -> None:
    """Write the provisioning record of a meter of the fleet. The file holds the meter's key: mode 0600."""
    with open_store(given.database, inline=True) as store:
        row = store.read(get_meter, given.meter)
        standing = store.read(identity.get)
    keys = _open(given)
    record = provision_record(
        keys,
        meter=row.meter,
        account_epoch=row.account_epoch,
        tag_key_version=row.tag_key_version,
        interval_minutes=row.interval_minutes,
        limits=row.limits,
        tariff=row.tariff,
        currency=standing.currency,
        imp_per_kwh=given.imp_per_kwh,
    )
    write_secret(given.out, record)
    print(f"{given.out}: {len(record)} bytes for meter {row.meter}. It holds the meter's key: delete it when done.")


def _open(given: argparse.Namespace) -> KeyStore:
    path = Path(given.keystore)
    return KeyStore.load(path, passphrase.find(os.environ, passphrase.KEYSTORE, given.passphrase_file, str(path)))


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")
    common.add_argument("--keystore", help="the key file (else of the settings)")
    common.add_argument(
        "--passphrase-file", help=f"file of mode 0600 with the passphrase (else {passphrase.KEYSTORE}, else asked for)"
    )
    parser = argparse.ArgumentParser(prog="openprepay keys", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        # No abbreviations: --passphrase must not be taken for --passphrase-file.
        made = commands.add_parser(
            name, parents=[common], help=run.__doc__, description=run.__doc__, allow_abbrev=False
        )
        made.set_defaults(run=run)
        return made

    init = command("init", _init)
    init.add_argument("--root-key", required=True, help="file for the root key, to be taken offline")
    init.add_argument(
        "--root-passphrase-file",
        default="",
        help=f"its own passphrase (else {passphrase.ROOT}, else that of the key file)",
    )
    init.add_argument("--signing-epoch", type=int, default=1)
    init.add_argument("--source", type=int, default=1, help="credit source of the database")
    command("show", _show)
    export = command("export-public", _export_public)
    export.add_argument("--out", type=Path, help="file to write (else standard output)")
    provision = command("provision", _provision)
    provision.add_argument("meter", type=int)
    provision.add_argument("--database", help="database URL (else of the settings)")
    provision.add_argument("--out", type=Path, required=True, help="file to write; it must not be there yet")
    provision.add_argument("--imp-per-kwh", type=int, default=1000, help="the meter's pulse constant")
    return parser
