"""`openprepay admin roll-keys` and `root-orders`: new keys for every meter, and what only the root key may sign."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from headend.clock import SystemClock
from headend.keys import root_orders
from headend.keys.place import open_keys
from headend.orders import ceremony, rollout
from headend.settings import Settings
from headend.store import Store

OpenStore = Callable[[Settings], AbstractContextManager[Store]]
ACTOR = "admin:roll-keys"
_AT_ONCE = 200


def roll_keys(given: argparse.Namespace, settings: Settings, open_store: OpenStore) -> int:
    """State the newest keys to every meter that does not have them yet; run it again to see how far they are."""
    keys = open_keys(settings.keystore, os.environ, settings.passphrase_file)
    goal = rollout.goal_of(keys, drop_old=given.drop_old)
    kinds = [rollout.TAG] if given.only == "tag" else [rollout.SIGNING] if given.only == "signing" else rollout.KINDS
    now_s = SystemClock().now_s()
    left = given.limit
    with open_store(settings) as store:
        for kind in kinds:
            found: Counter[str] = Counter()
            after = 0
            while numbers := store.read(rollout.meters_after, after, _AT_ONCE):
                after = numbers[-1]
                for number in numbers:
                    outcome = store.read(rollout.stands, number, kind, goal)
                    if not outcome and not given.show and left != 0:
                        outcome = store.write(rollout.roll, now_s, number, kind, goal, keys, ACTOR).result()
                        left -= 1
                    found[outcome or "not told yet"] += 1
            counts = ", ".join(f"{count} {what}" for what, count in sorted(found.items())) or "no meters"
            print(f"{kind}{' alone' if goal.drop_old else ''}: {counts}")
    return 0


def export_root_orders(given: argparse.Namespace, settings: Settings, open_store: OpenStore) -> int:
    """Write all statements that wait for the root key to a file, which holds no secret."""
    keys = open_keys(settings.keystore, os.environ, settings.passphrase_file)
    with open_store(settings) as store:
        held = store.read(ceremony.waiting, keys)
    root_orders.write(given.file, held)
    print(f"{given.file}: {len(held)} statements. Where the root key lies: openprepay keys sign-orders {given.file}")
    return 0


def import_root_orders(given: argparse.Namespace, settings: Settings, open_store: OpenStore) -> int:
    """Take back what the root key has signed; from then on it is sent."""
    keys = open_keys(settings.keystore, os.environ, settings.passphrase_file)
    signed = root_orders.read(given.file)
    with open_store(settings) as store:
        refused = store.write(ceremony.take, SystemClock().now_s(), keys, signed).result()
    for one in refused:
        print(f"openprepay admin: {one}", file=sys.stderr)
    print(f"{given.file}: {len(signed) - len(refused)} orders taken, {len(refused)} refused.")
    return 1 if refused else 0


def add_to(
    things: "argparse._SubParsersAction[argparse.ArgumentParser]",
    hang: Callable[[argparse.ArgumentParser, Callable[..., int]], None],
) -> None:
    """Add the commands to `openprepay admin`; `hang(parser, run)` gives each what all commands have."""
    roll = things.add_parser("roll-keys", help=roll_keys.__doc__, description=roll_keys.__doc__)
    roll.add_argument(
        "--drop-old", action="store_true", help="the second round: the newest keys and nothing beside them"
    )
    roll.add_argument("--only", choices=("signing", "tag"), help="one kind of key (default: both)")
    roll.add_argument("--limit", type=int, default=-1, help="tell at most this many meters now")
    roll.add_argument("--show", action="store_true", help="tell nobody, only count")
    hang(roll, roll_keys)
    root = things.add_parser("root-orders", help="statements that only the root key may sign").add_subparsers(
        required=True, metavar="COMMAND"
    )
    for name, run in (("export", export_root_orders), ("import", import_root_orders)):
        made = root.add_parser(name, help=run.__doc__, description=run.__doc__)
        made.add_argument("file", type=Path)
        hang(made, run)
