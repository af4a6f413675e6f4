"""`openprepay keys sign-orders`: the root key's signature under statements that were brought to where it lies."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from headend.keys import root_orders
from headend.keys.root import open_root
from headend.keys.sealed import KeyFileError


def sign_orders(given: argparse.Namespace) -> int:
    """Show what the statements in a file state, and sign them with the root key, after a yes."""
    held = root_orders.read(given.file)
    for line in root_orders.summary(held):
        print(line)
    if not held:
        print("There is nothing to sign.")
        return 0
    if given.out.exists():
        raise KeyFileError(f"{given.out} is there already; it is not overwritten.")
    if not given.yes:
        if not sys.stdin.isatty():
            raise KeyFileError("Nobody is there to say yes to this; give --yes to sign all the same.")
        if input(f"Sign these {len(held)} statements? [y/N] ").strip().lower() not in ("y", "yes"):
            print("Nothing was signed.")
            return 1
    root = open_root(given.root_key, given.share, os.environ, given.root_passphrase_file)
    root_orders.write(given.out, root_orders.sign(root, held))
    print(f"{given.out}: {len(held)} signed. At the head end: openprepay admin root-orders import {given.out}")
    return 0


def add_to(command: Any, root: argparse.ArgumentParser) -> None:
    """Hang it into the parser of `openprepay keys`; `root`: the options of all that needs the root key."""
    sign = command("sign-orders", sign_orders, root)
    sign.add_argument("file", type=Path, help="what `openprepay admin root-orders export` wrote")
    sign.add_argument("--root-key", type=Path, required=True, help="the root key's file")
    sign.add_argument("--share", type=Path, action="append", default=[], help="a custodian's share; repeat it")
    sign.add_argument("--out", type=Path, required=True, help="file to write; it must not be there yet")
    sign.add_argument("--yes", action="store_true", help="sign without being asked")
