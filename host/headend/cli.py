"""`openprepay serve` runs the head end; `openprepay admin` says who may use it."""

import argparse
import asyncio
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import uvloop
from sqlalchemy import make_url

from headend import cli_epochs, cli_firmware, cli_gate, cli_keys
from headend.clock import SystemClock
from headend.command import run, settings_of
from headend.keys.holder import KeyHolder
from headend.keys.place import open_keys
from headend.keys.sealed import KeyFileError
from headend.ledger import channels
from headend.refusals import Refused
from headend.settings import INSIDE, Settings
from headend.store import Store, open_store
from headend.watch import heap, logs, systemd
from headend.web import wire

_FIRST_START = """\
a first start:
  openprepay keys init --root-key root.keys         the keys; take root.keys offline
  openprepay admin channel add pos-1 --scopes payments --max 500.00
  openprepay serve
"""

Command = Callable[[argparse.Namespace, Settings], int | None]


def serve(argv: list[str]) -> int:
    """Run the head end until SIGTERM or Ctrl-C; 0 when it stopped in order, 1 when it could not run."""
    parser = argparse.ArgumentParser(
        prog="openprepay serve",
        description="Run the head end: HTTP API and status page, signer, MQTT and Modbus links. Settings come from a "
        "TOML file and from the environment (OPENPREPAY_ and the setting's name in capitals). SIGTERM ends it.",
        epilog=_FIRST_START,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")
    parser.add_argument("--verbose", action="store_true", help="tell more on standard error")
    parser.set_defaults(run=_serve)
    return run(parser, argv, _act, KeyFileError)


def admin(argv: list[str]) -> int:
    """Run one administrative command; 0 when it was done, 1 when it was refused, 2 for bad usage."""
    parser = argparse.ArgumentParser(
        prog="openprepay admin", description="Say who may use the head end, and bring keys to meters."
    )
    things = parser.add_subparsers(required=True, metavar="THING")
    commands = things.add_parser("channel", help="channels: who brings payments, gives orders, reads").add_subparsers(
        required=True, metavar="COMMAND"
    )

    def command(name: str, run: Command) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        made.set_defaults(run=run)
        made.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")
        return made

    add = command("add", _add_channel)
    add.add_argument("name", help="1..40 of a-z 0-9 . _ -")
    add.add_argument("--scopes", required=True, help=f"comma-separated: some of {', '.join(channels.SCOPES)}")
    add.add_argument("--max", default="0.00", help="largest single payment, such as 500.00 (default: no payment)")
    token = command("token", _new_token)
    token.add_argument("name")
    close = command("close", _close_channel)
    close.add_argument("name")
    command("list", _list_channels)

    def hang(parser: argparse.ArgumentParser, run: Callable[..., int]) -> None:
        parser.set_defaults(run=partial(run, open_store=_store))
        parser.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")

    cli_keys.add_to(things, hang)
    cli_epochs.add_to(things, hang)
    cli_firmware.add_to(things, hang)
    cli_gate.add_to(things, hang)
    return run(parser, argv, _act, KeyFileError)


def _act(given: argparse.Namespace) -> int | None:
    act: Command = given.run
    return act(given, settings_of(given))


# --- serve ------------------------------------------------------------------------------------------------------------


def _serve(given: argparse.Namespace, settings: Settings) -> None:
    logs.set_up(settings.log_format, "debug" if given.verbose else settings.log_level)
    keys = None
    if settings.signer == INSIDE:
        keys = open_keys(settings.keystore, os.environ, settings.passphrase_file)
    _make_folder(settings.database)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_stopped(settings, keys))


async def _until_stopped(settings: Settings, keys: KeyHolder | None) -> None:
    from headend.service import Service

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with Service(settings, keys) as service:
        heap.settle()
        links = ", ".join(service.carriers)
        print(f"openprepay: {service.url} (status page), {service.url}/api/v1 (API); links: {links}", flush=True)
        systemd.tell("READY=1")
        told, over = asyncio.create_task(stopped.wait()), asyncio.create_task(service.over())
        await asyncio.wait({told, over}, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.is_set():
            over.result()
            raise RuntimeError("A part of the head end has ended by itself; see the log.")
        over.cancel()
        systemd.tell("STOPPING=1")
        print("openprepay: stopping", flush=True)


# --- admin ------------------------------------------------------------------------------------------------------------


def _add_channel(given: argparse.Namespace, settings: Settings) -> None:
    """Make a channel and print its token, once: the head end keeps only a digest of it."""
    scopes = tuple(part.strip() for part in given.scopes.split(",") if part.strip())
    max_payment_uc = wire.read_amount("max", given.max)
    if channels.PAYMENTS in scopes and not max_payment_uc:
        raise Refused("max", given.max, "the largest single payment, for a channel with the scope payments")
    token = channels.new_token(os.urandom)
    with _store(settings) as store:
        arguments = (SystemClock().now_s(), given.name, token, scopes, max_payment_uc)
        store.write(channels.add_channel, *arguments).result()
    print(token)


def _new_token(given: argparse.Namespace, settings: Settings) -> None:
    """Give a channel a new token and print it, once; the old one ends now."""
    token = channels.new_token(os.urandom)
    with _store(settings) as store:
        store.write(channels.replace_token, given.name, token).result()
    print(token)


def _close_channel(given: argparse.Namespace, settings: Settings) -> None:
    """End a channel's token and scopes; its payments and its account stay."""
    with _store(settings) as store:
        store.write(channels.close, given.name).result()


def _list_channels(given: argparse.Namespace, settings: Settings) -> None:
    """List channels with their scopes and limits."""
    with _store(settings) as store:
        rows = store.read(channels.list_channels)
    for row in rows:
        scopes = row.scopes or "closed"
        print(f"{row.channel:<40} {scopes:<28} max {wire.amount(row.max_payment_uc)}  since {wire.utc(row.added_s)}")


def _store(settings: Settings) -> Store:
    _make_folder(settings.database)
    return open_store(settings.database, inline=True)


def _make_folder(url: str) -> None:
    """The default database lies in var/, which a fresh installation does not have yet."""
    parsed = make_url(url)
    path = parsed.database
    if path and parsed.get_backend_name() == "sqlite":
        Path(path).resolve().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
