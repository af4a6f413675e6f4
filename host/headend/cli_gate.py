"""`openprepay admin gate`: the budgets of what may open relays, by whoever runs the machine."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headend.clock import SystemClock
from headend.gate import policy
from headend.refusals import Refused
from headend.settings import Settings
from headend.store import Store

OpenStore = Callable[[Settings], Store]
ACTOR = "system"


def add_to(things: Any, hang: Callable[..., None]) -> None:
    """Add the commands."""
    commands = things.add_parser("gate", help="gate: how many orders may open relays, and who approves").add_subparsers(
        required=True, metavar="COMMAND"
    )
    hang(commands.add_parser("show", help=_show.__doc__, description=_show.__doc__), _show)
    put = commands.add_parser("set", help=_set.__doc__, description=_set.__doc__)
    rules = put.add_mutually_exclusive_group(required=True)
    rules.add_argument("--rules", type=Path, help="JSON file, as `show` prints it")
    rules.add_argument("--flat", type=int, help="one limit for every class, scope and window: for a bench")
    put.add_argument("--why", required=True, help="for the record")
    hang(put, _set)


def _show(given: argparse.Namespace, settings: Settings, open_store: OpenStore) -> int:
    """Print the rules that are in force, as JSON."""
    with open_store(settings) as store:
        standing = store.read(policy.get)
    print(json.dumps({"version": standing.version, "rules": standing.rules()}, indent=2))
    return 0


def _set(given: argparse.Namespace, settings: Settings, open_store: OpenStore) -> int:
    """Put other rules in force, whole. What was proposed under those before lapses."""
    rules = policy.flat(given.flat) if given.rules is None else _read(given.rules)
    with open_store(settings) as store:
        version = store.write(policy.put, SystemClock().now_s(), ACTOR, rules, given.why).result()
    print(f"The gate's policy {version} is in force.")
    return 0


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused("rules", str(file), f"a JSON file ({error})") from None
    if not isinstance(found, dict):
        raise Refused("rules", str(file), "an object")
    rules = found.get("rules", found)
    return rules if isinstance(rules, dict) else {}
