"""`openprepay signer`: the signer as a process of its own, and what may be asked of its log.

It holds the keys, so the head end holds none: that one states what it wants signed over a Unix socket (`signer_wire`).
It reads the same settings as the head end does, from a file of its own: `keystore`, `passphrase_file`, `signer` (the
socket), `signer_uids`, `signer_log` and the caps, `max_…`. SIGTERM ends it.
"""

import argparse
import os
import pwd
import signal
from collections.abc import Callable
from pathlib import Path

from headend import command
from headend.clock import SystemClock
from headend.keys.place import open_keys
from headend.keys.sealed import KeyFileError
from headend.keys.signer import Signer
from headend.keys.signer_client import path_of
from headend.keys.signer_log import SignerLog
from headend.keys.signer_report import GROUPS, check, show
from headend.keys.signer_server import SignerServer
from headend.refusals import Refused
from headend.settings import Settings
from headend.watch import logs, systemd


def main(argv: list[str]) -> int:
    """0 when it was done, or ended in order; 1 when it could not be, or the log is not whole; 2 for bad usage."""
    return command.run(_parser(), argv, lambda given: given.run(given, command.settings_of(given)), KeyFileError)


def _run(given: argparse.Namespace, settings: Settings) -> int:
    logs.set_up(settings.log_format, settings.log_level)
    path, uids = Path(path_of(settings.signer)), users(settings.signer_uids)
    held = SignerLog(Path(settings.signer_log))
    try:
        keys = open_keys(settings.keystore, os.environ, settings.passphrase_file)
        signer = Signer(keys, held, SystemClock(), settings.caps())
        server = SignerServer(path, signer, keys, uids, settings.max_meter_keys_per_minute)
        server.open()
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: server.stop())
            print(f"openprepay signer: {settings.signer}, signing epoch {keys.signing_epoch}", flush=True)
            systemd.tell("READY=1")
            server.serve()
            systemd.tell("STOPPING=1")
            print("openprepay signer: stopping", flush=True)
        finally:
            server.close()
    finally:
        held.close()
    return 0


def _check(given: argparse.Namespace, settings: Settings) -> int:
    """Read the whole log, see that its chain holds, and print what it adds up to. Works beside a running signer."""
    return check(given.log or Path(settings.signer_log), given.by)


def _show(given: argparse.Namespace, settings: Settings) -> int:
    """Print the lines of the log, the oldest first."""
    return show(given.log or Path(settings.signer_log), given.meter, given.last)


def users(text: str) -> frozenset[int]:
    """Our own user, and those that a comma-separated list names or numbers. Raises Refused."""
    found = {os.getuid()}
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.add(int(part) if part.isdecimal() else pwd.getpwnam(part).pw_uid)
        except KeyError:
            raise Refused("signer_uids", part, "a user of this machine, by name or number") from None
    return frozenset(found)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")
    parser = argparse.ArgumentParser(
        prog="openprepay signer",
        parents=[common],
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_run)
    commands = parser.add_subparsers(metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace, Settings], int]) -> argparse.ArgumentParser:
        made = commands.add_parser(name, parents=[common], help=run.__doc__, description=run.__doc__)
        made.set_defaults(run=run)
        made.add_argument("--log", type=Path, help="the log (else of the settings)")
        return made

    checking = command("check", _check)
    checking.add_argument("--by", choices=GROUPS, help="list the credit of each")
    listing = command("log", _show)
    listing.add_argument("--meter", type=int, help="of one meter alone")
    listing.add_argument("--last", type=int, metavar="N", help="the newest N alone")
    return parser
