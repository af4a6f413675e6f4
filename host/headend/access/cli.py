"""`openprepay admin user`: the first person, and help for people who cannot sign in, by whoever has the machine."""

import argparse
import base64
import getpass
import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection

from headend.access import passwords, people
from headend.access.roles import ADMINISTRATOR, ROLES
from headend.clock import SystemClock
from headend.command import run, settings_of
from headend.store import Store, open_store

Run = Callable[[argparse.Namespace, Store, int, str], None]


def main(argv: list[str]) -> int:
    """Run one command; 0 when it was done, 1 when it was refused, 2 for bad usage."""
    parser = argparse.ArgumentParser(prog="openprepay admin user", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Run, *, named: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        made.set_defaults(run=run)
        made.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")
        if named:
            made.add_argument("name", help="2..32 of a-z 0-9 . _ -")
        return made

    added = command("add", _add)
    added.add_argument("--role", default=ADMINISTRATOR, help=f"one of {', '.join(ROLES)} (default: administrator)")
    added.add_argument("--area", default="", help="such as north/feeder-3 (default: everything)")
    added.add_argument("--language", default="en", help="en or zh")
    command("reset", _reset)
    command("list", _list, named=False)
    return run(parser, argv, _run)


def _run(given: argparse.Namespace) -> None:
    with open_store(settings_of(given).database, inline=True) as store:
        given.run(given, store, SystemClock().now_s(), f"system:{getpass.getuser()}")


def _add(given: argparse.Namespace, store: Store, now_s: int, actor: str) -> None:
    """Add a person with a role and print a first password, once."""
    password, made = _fresh()

    def add(conn: Connection) -> None:
        people.add(conn, now_s, actor, given.name, made, given.language)
        people.grant(conn, now_s, actor, given.name, given.role, given.area)

    store.write(add).result()
    print(password)


def _reset(given: argparse.Namespace, store: Store, now_s: int, actor: str) -> None:
    """Give a person a new password and print it, once; the second factor and all sessions end."""
    password, made = _fresh()
    store.write(people.reset, now_s, actor, given.name, made).result()
    print(password)


def _list(given: argparse.Namespace, store: Store, now_s: int, actor: str) -> None:
    """List people with their roles."""
    for row in store.read(people.page, "", 10_000):
        held = store.read(people.grants, row.login)
        roles = ", ".join(f"{one.role}{f' in {one.area}' if one.area else ''}" for one in held)
        print(f"{row.login:<32} {row.state:<8} {roles or 'no role'}")


def _fresh() -> tuple[str, str]:
    password = base64.b32encode(os.urandom(15)).decode().lower()
    return password, passwords.make(password, os.urandom)
