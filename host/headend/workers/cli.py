"""`openprepay worker`: one of any number of processes on one PostgreSQL and one broker."""

import argparse
import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

from sqlalchemy import make_url

from headend import command
from headend.keys.holder import KeyHolder
from headend.keys.place import open_keys
from headend.keys.sealed import KeyFileError
from headend.refusals import Refused
from headend.settings import INSIDE, Settings
from headend.watch import heap, logs, systemd
from headend.workers import roles
from headend.workers.post import Post
from headend.workers.tenure import name_of_process


def main(argv: list[str]) -> int:
    """Work until SIGTERM or Ctrl-C; 0 when it stopped in order, 1 when it could not run, 2 for bad usage."""
    parser = argparse.ArgumentParser(
        prog="openprepay worker",
        description="Do a part of what the head end does, beside others on the same PostgreSQL and the same broker: "
        f"{', '.join(roles.ROLES)}. Settings are those of serve. SIGTERM ends it, and others take over at once.",
    )
    parser.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")
    parser.add_argument("--roles", help="comma-separated (else the setting roles)")
    parser.add_argument("--verbose", action="store_true", help="tell more on standard error")
    return command.run(parser, argv, _run, KeyFileError)


def _run(given: argparse.Namespace) -> None:
    settings = command.settings_of(given)
    if given.roles is not None:
        settings = replace(settings, roles=given.roles)
    post = post_of(settings)
    logs.set_up(settings.log_format, "debug" if given.verbose else settings.log_level)
    keys = None
    if settings.signer == INSIDE and roles.SIGN in post.roles:
        keys = open_keys(settings.keystore, os.environ, settings.passphrase_file)
    asyncio.run(_until_stopped(settings, keys, post))


def post_of(settings: Settings) -> Post:
    """What a process with these settings is there for; raises Refused."""
    if make_url(settings.database).get_backend_name() == "sqlite":
        raise Refused("database", settings.database, "a PostgreSQL: a SQLite file is one process's (openprepay serve)")
    return Post(roles.of_text(settings.roles), name_of_process(), settings.serial_lines)


async def _until_stopped(settings: Settings, keys: KeyHolder | None, post: Post) -> None:
    from headend.service import Service
    from headend.workers.health import Health

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with Service(settings, keys, post=post) as service, Health(service, settings.worker_port) as health:
        heap.settle()
        where = f"; {health.url}" if health.url else ""
        print(f"openprepay worker: {post.name}: {', '.join(sorted(post.roles))}{where}", flush=True)
        systemd.tell("READY=1")
        told, over = asyncio.create_task(stopped.wait()), asyncio.create_task(service.over())
        await asyncio.wait({told, over}, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.is_set():
            over.result()
            raise RuntimeError("A part of the worker has ended by itself; see the log.")
        over.cancel()
        systemd.tell("STOPPING=1")
        print("openprepay worker: stopping", flush=True)
