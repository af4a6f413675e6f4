"""Run as a process of its own: forks head ends and signers that are ready to be killed, one line in, one line out.

All that is slow to load is loaded once; a child is a copy of that, so it begins within milliseconds. In, as JSON:
`{"start": "serve" | "signer", "settings": {…}, "keys": path, "passphrase": text, "log": path}` and `{"reap": pid}`.
`start` may be "worker" as well. Out: `forked PID`, `ready PID` when a child answers (at any time, or never), `ended PID
CODE`.
"""

import asyncio
import faulthandler
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

import headend.links.mqtt
import headend.store.migrate  # noqa: F401 - loaded here, so that no child has to
from headend.clock import SystemClock
from headend.keys.keystore import KeyStore
from headend.keys.signer import Signer
from headend.keys.signer_client import path_of
from headend.keys.signer_log import SignerLog
from headend.keys.signer_server import SignerServer
from headend.orders.policy import Policy
from headend.service import Service
from headend.settings import Settings
from headend.workers import roles
from headend.workers.post import Post
from headend.workers.tenure import name_of_process
from headend.workers.turns import Patience

# Everything at the shortest pace that whole seconds allow, so that a second of a test holds much of a life.
POLICY = Policy(retry_s=1, retry_max_s=2, slow_s=2, settle_s=1, lease_s=2, poll_s=5, gap_s=2)

PATIENCE = Patience(lease=5, beat=1, settle=3, away=6)

log = logging.getLogger(__name__)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def main() -> None:
    keys: dict[str, KeyStore] = {}
    for line in sys.stdin:
        wanted = json.loads(line)
        if "reap" in wanted:
            _, status = os.waitpid(wanted["reap"], 0)
            say("ended", wanted["reap"], os.waitstatus_to_exitcode(status))
            continue
        path = wanted["keys"]
        if path not in keys:
            keys[path] = KeyStore.load(Path(path), wanted["passphrase"])
        pid = os.fork()
        if pid:
            say("forked", pid)
            continue
        try:
            os.dup2(os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
            _BECOME[wanted["start"]](Settings(**wanted["settings"]), keys[path])
        except BaseException:
            log.exception("A child has ended by itself.")
        os._exit(1)


def serve(settings: Settings, keys: KeyStore) -> None:
    async def work() -> None:
        inside = settings.signer == "inside"
        service = Service(settings, keys if inside else None, policy=POLICY)
        while True:
            try:
                await service.start()
                break
            except DBAPIError:  # its database is not there yet; a service manager would start it again
                log.exception("A head end did not start.")
                await asyncio.sleep(0.1)
                service = Service(settings, keys if inside else None, policy=POLICY)
        say("ready", os.getpid())
        await service.over()

    asyncio.run(work())


def sign(settings: Settings, keys: KeyStore) -> None:
    signer = Signer(keys, SignerLog(Path(settings.signer_log)), SystemClock(), settings.caps())
    server = SignerServer(Path(path_of(settings.signer)), signer, keys, {os.getuid()}, 60_000)
    server.open()
    say("ready", os.getpid())
    server.serve()


def work(settings: Settings, keys: KeyStore) -> None:
    """Beside others; one that cannot begin tries again under another name, as one that was started again has."""

    async def begin() -> Service:
        while True:
            post = Post(roles.of_text(settings.roles), name_of_process(), patience=PATIENCE)
            service = Service(settings, None, policy=POLICY, post=post)
            try:
                await service.start()
                return service
            except Exception:
                log.exception("A worker did not start.")  # a service manager would start it again, whatever it was
                await asyncio.sleep(0.1)

    async def live() -> None:
        service = await begin()
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        faulthandler.register(signal.SIGUSR1)  # whoever wonders what it does may ask
        say("ready", os.getpid())
        over = asyncio.create_task(service.over())
        await asyncio.wait({over, asyncio.create_task(stopped.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.is_set():
            over.result()
        over.cancel()
        await service.stop()
        os._exit(0)

    asyncio.run(live())


_BECOME: dict[str, Any] = {"serve": serve, "signer": sign, "worker": work}

if __name__ == "__main__":
    main()
