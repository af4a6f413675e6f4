"""A head end under strace with meters and a till, for the proofs that nothing is said before it is on the disk."""

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from headend.keys.keystore import KeyStore
from tests.brokers import Broker
from tests.system import disk_trace
from tests.system.head_end import PASSPHRASE, START_S, HeadEnd
from tests.system.kill_meters import Meters
from tests.system.kill_rig import Till

NUMBERS = (17, 18)
PAYMENTS = 12
GIVE_UP_S = 600
LOG = "op.signed"
CARELESS = str(Path(__file__).with_name("careless_serve.py"))  # `openprepay` without syncing, see there


def live(head_end: HeadEnd, broker: Broker, command: Sequence[str]) -> list[disk_trace.Call]:
    """What processes did while payments came and reached their meters: `command` becomes the head end, and is killed.

    Returns when all that it had started has ended too.
    """
    folder = head_end.folder
    keys, trace = KeyStore.load(folder / "op.keys", PASSPHRASE), folder / "trace"
    with (folder / "serve.log").open("a") as told:
        process = subprocess.Popen(
            [*disk_trace.command(trace), *command],
            env=head_end.environ,
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
        )
    assert process.stdout is not None
    try:
        assert process.stdout.readline(), head_end.log()
        with Meters(broker, keys, NUMBERS) as meters:
            till = Till("till", head_end.port, NUMBERS, "wal", head_end.token)
            until(lambda: len(till.taken) >= PAYMENTS or till.failed is not None, "payments")
            till.stop()
            owed = sum(till.taken.values())
            until(lambda: sum(map(meters.credited_uc, NUMBERS)) == owed, "credit on the meters")
            time.sleep(1)  # what the meters still say is acknowledged
    finally:
        process.kill()
        process.wait(START_S)
        process.stdout.close()
    until(lambda: disk_trace.ended(trace, process.pid), "end of the trace")
    return list(disk_trace.read(trace))


def until(reached: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + GIVE_UP_S
    while not reached():
        assert time.monotonic() < ends, f"no {what} within {GIVE_UP_S} s"
        time.sleep(0.05)
