"""`openprepay keys epoch presign`: the next account epochs of meters, signed in advance where the root key lies.

A change of tenant, an exchange or a repair then waits for no ceremony. What is signed opens nothing by itself: the head
end keeps it, and who steals it can at most close accounts, never make credit. For each meter: the accounts that follow
the one in force, one order each, and the retirement of each of them and of the one in force.

The list of meters is CSV with the columns meter, account_epoch (in force) and tag_key_version;
`openprepay admin presigned list` writes it. A per-meter key that is dropped takes the orders that name it with it.
"""

import argparse
import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from headend.clock import SystemClock
from headend.keys import root_orders
from headend.keys.holder import KeyHolder
from headend.keys.root import open_root
from headend.keys.root_orders import RootOrder
from headend.keys.sealed import KeyFileError
from headend.refusals import Refused
from meterlink import stating
from meterlink.bodies_root import EPOCH_REPAIRED, EPOCH_TENANT
from meterlink.orders import ASPECT_EPOCH, ASPECT_RETIRE, MAX_METER, ROLE_ROOT, Statement

COLUMNS = ("meter", "account_epoch", "tag_key_version")
MAX_COUNT = 50
MAX_EPOCH = 0xFFFF
MAX_BYTES = 64_000_000


class Listed(NamedTuple):
    """A meter of the list: `account_epoch` is the one in force."""

    meter: int
    account_epoch: int
    tag_key_version: int


_RANGES = {"meter": (1, MAX_METER), "account_epoch": (1, MAX_EPOCH), "tag_key_version": (0, 0xFF)}


def read_list(path: Path) -> list[Listed]:
    """Read the list of meters; raises KeyFileError, and Refused that names line and column."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise KeyFileError(f"{path}: at most {MAX_BYTES} bytes were expected.")
        lines = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path} cannot be read: {error}.") from error
    listed = [Listed(*[_number(line, number, name) for name in COLUMNS]) for number, line in enumerate(lines, 2)]
    if not listed:
        raise Refused("meters", str(path), f"a list with the columns {', '.join(COLUMNS)} and a line for each meter")
    return listed


def _number(line: dict[str, Any], number: int, name: str) -> int:
    text = line.get(name)
    low, high = _RANGES[name]
    if not isinstance(text, str) or not text.strip().isdecimal() or not low <= int(text) <= high:
        raise Refused(f"{name} in line {number}", text, f"{low}..{high}")
    return int(text)


def statements(listed: Sequence[Listed], count: int, keys: KeyHolder, issued_s: int) -> list[RootOrder]:
    """What is to be signed for `count` further accounts of each meter."""
    if not 1 <= count <= MAX_COUNT:
        raise Refused("count", count, f"1..{MAX_COUNT}")
    return [one for meter in listed for one in _of_meter(meter, count, keys, issued_s)]


def _of_meter(meter: Listed, count: int, keys: KeyHolder, issued_s: int) -> list[RootOrder]:
    last = min(meter.account_epoch + count, MAX_EPOCH)
    opened = [
        (ASPECT_EPOCH, epoch, stating.epoch(EPOCH_TENANT, 0)) for epoch in range(meter.account_epoch + 1, last + 1)
    ]
    retired = [(ASPECT_RETIRE, epoch, stating.retire(EPOCH_REPAIRED)) for epoch in range(meter.account_epoch, last + 1)]
    root = keys.newest(ROLE_ROOT)
    return [
        RootOrder(
            0,
            Statement(
                aspect=aspect,
                meter=meter.meter,
                account_epoch=epoch,
                role=root.role,
                key_version=root.version,
                tag_key_version=meter.tag_key_version,
                selector=0,
                signing_epoch=keys.signing_epoch,
                version=0,
                issued_s=issued_s,
                not_after_s=0,
                body=body,
            ).encode(),
        )
        for aspect, epoch, body in (*opened, *retired)
    ]


def presign(given: argparse.Namespace) -> None:
    """Sign the next account epochs of meters, and their retirement, in advance."""
    listed = read_list(given.meters)
    if given.out.exists():
        raise KeyFileError(f"{given.out} is there already; it is not overwritten.")
    root = open_root(given.root_key, given.share, os.environ, given.root_passphrase_file)
    signed = root_orders.sign(root, statements(listed, given.count, root, given.issued_s))
    root_orders.write(given.out, signed)
    print(f"{given.out}: {len(signed)} orders for {len(listed)} meters. At the head end:")
    print(f"openprepay admin presigned import {given.out}")


def add_to(command: Any, root: argparse.ArgumentParser, under: Any) -> None:
    """Hang it into the parser of `openprepay keys epoch`; `root`: the options of all that needs the root key."""
    made = command("presign", presign, root, under=under)
    made.add_argument("--meters", type=Path, required=True, help=f"CSV with the columns {', '.join(COLUMNS)}")
    made.add_argument("--count", type=int, default=4, help=f"how many further accounts of each, 1..{MAX_COUNT}")
    made.add_argument("--root-key", type=Path, required=True, help="the root key's file")
    made.add_argument("--share", type=Path, action="append", default=[], help="a custodian's share; repeat it")
    made.add_argument("--out", type=Path, required=True, help="file to write; it must not be there yet")
    made.set_defaults(issued_s=SystemClock().now_s())
