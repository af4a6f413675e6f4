"""The commands of `openprepay keys` that make what goes to meters: `provision` (records) and `label`."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection

from headend.clock import SystemClock
from headend.fleet.meters import get_meter
from headend.keys import label as labels
from headend.keys import provision_batch as batch
from headend.keys import provision_csv
from headend.keys.label import Label
from headend.keys.place import open_keys
from headend.keys.provision import write_record
from headend.keys.provision_batch import Done, Fresh
from headend.keys.provision_csv import BadLine
from headend.keys.sealed import KeyFileError
from headend.refusals import Refused
from headend.store import open_store
from headend.tokens import decoder
from headend.web.bodies_json import LimitsBody, read_limits
from headend.web.tariff_json import TariffBody, read_tariff
from meterlink.orders import MAX_METER, OrderError

T = TypeVar("T")

_SECRET = "A record holds its meter's keys: delete it when the meter has it."


def provision(given: argparse.Namespace) -> int:
    """Write the provisioning record of one meter, or of each line of a CSV file: mode 0600, it holds secrets."""
    keys = open_keys(given.keystore, os.environ, given.passphrase_file)
    if given.csv is None:
        with open_store(given.database, inline=True) as store:
            record = store.read(batch.record_of, keys, given.meter, given.imp_per_kwh)
        if not write_record(given.out, record):
            print(f"{given.out}: this very record for meter {given.meter} is there already.")
            return 0
        print(
            f"{given.out}: {len(record)} bytes for meter {given.meter}. It holds the meter's keys: delete it when done."
        )
        return 0
    fresh = None
    if given.add:
        tariff, limits = _json("tariff", given.tariff, TariffBody), _json("limits", given.limits, LimitsBody)
        try:
            fresh = Fresh(read_tariff(tariff).encode(), read_limits(limits).encode(), given.currency)
        except OrderError as error:
            raise Refused("--tariff", str(given.tariff), f"a tariff that a meter takes ({error})") from error
    lines = provision_csv.read(given.csv)
    with open_store(given.database, inline=True) as store:
        outcomes = batch.run(
            store,
            keys,
            lines,
            given.out,
            SystemClock().now_s(),
            fresh=fresh,
            imp_per_kwh=given.imp_per_kwh,
            dry=given.dry_run,
        )
    return _tell(given, outcomes)


def _tell(given: argparse.Namespace, outcomes: list[batch.Outcome]) -> int:
    refused = [one for one in outcomes if isinstance(one, BadLine)]
    done = [one for one in outcomes if isinstance(one, Done)]
    for one in refused:
        print(f"openprepay keys: {given.csv}: {one}", file=sys.stderr)
    written = sum(one.outcome == batch.WRITTEN for one in done)
    added = sum(one.added for one in done)
    counts = (
        f"{written} records, {len(done) - written} there already, {added} meters added, {len(refused)} lines refused"
    )
    if given.dry_run:
        print(f"Nothing was changed. It would be: {counts}.")
    else:
        print(
            f"{given.out}: {counts}. {batch.REPORT} tells of each line. The records hold keys: delete them when done."
        )
    return 1 if refused else 0


def _json(option: str, path: Path | None, kind: type[T]) -> T:
    """A file as the API takes it in a body."""
    if path is None:
        raise Refused(f"--{option}", "nothing", f"a JSON file with the {option} of the meters that --add adds")
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise Refused(f"--{option}", str(path), f"a file that can be read ({error.strerror})") from error
    except msgspec.MsgspecError as error:
        raise Refused(f"--{option}", str(path), f"a {option} as the API takes it ({error})") from error


def label(given: argparse.Namespace) -> int:
    """Draw the label of one meter (.svg), or of each line of a CSV file (.html, to print on A4). No secret is on it."""
    refused: list[BadLine] = []
    with open_store(given.database, inline=True) as store:
        if given.csv is None:
            wanted: list[Any] = [provision_csv.Wanted(0, given.meter, {})]
        else:
            wanted = provision_csv.read(given.csv)
        drawn = []
        for one in wanted:
            if isinstance(one, BadLine):
                refused.append(one)
                continue
            try:
                drawn.append(Label(one.meter, store.read(_pan_of, one.meter), given.bench))
            except Refused as error:
                if given.csv is None:
                    raise
                refused.append(provision_csv.bad(one.line, one.meter, error))
    kind = given.out.suffix.lower()
    if kind not in (".svg", ".html") or (kind == ".svg" and len(drawn) > 1):
        raise Refused("--out", str(given.out), "a name that ends in .svg, for one label, or in .html, for any number")
    if not drawn:
        raise Refused("--csv", str(given.csv), "at least one line that can be read")
    text = labels.svg(drawn[0]) if kind == ".svg" else labels.sheet(drawn)
    try:
        given.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise KeyFileError(f"{given.out} cannot be written: {error.strerror}.") from error
    for bad in refused:
        print(f"openprepay keys: {given.csv}: {bad}", file=sys.stderr)
    print(f"{given.out}: {len(drawn)} labels.")
    return 1 if refused else 0


def _pan_of(conn: Connection, meter: int) -> str:
    """The PAN of a meter of the fleet, "" where it takes no typed tokens."""
    get_meter(conn, meter)
    row = decoder.find(conn, meter)
    return "" if row is None else str(row.pan)


def add_to(command: Any) -> None:
    """Hang both commands into the parser of `openprepay keys`."""
    made = command("provision", provision)
    _which(made)
    made.add_argument("--out", type=Path, required=True, help="file to write; with --csv the folder, of mode 0700")
    made.add_argument("--add", action="store_true", help="add the meters that are not in the fleet yet (with --csv)")
    made.add_argument("--tariff", type=Path, help="JSON file: the tariff of meters that are added")
    made.add_argument("--limits", type=Path, help="JSON file: the limits of meters that are added")
    made.add_argument("--dry-run", action="store_true", help="check every line and change nothing (with --csv)")
    made.add_argument(
        "--imp-per-kwh", type=int, default=batch.IMP_PER_KWH, help="pulse constant, where no cell says another"
    )
    drawn = command("label", label)
    _which(drawn)
    drawn.add_argument(
        "--out", type=Path, required=True, help="file to write: .svg for one label, .html for any number"
    )
    drawn.add_argument("--bench", action="store_true", help="print BENCH on it")


def _which(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("meter", type=_number, nargs="?", help="a meter of the fleet")
    which.add_argument(
        "--csv", type=Path, help=f"file with a line a meter; columns: {', '.join(provision_csv.COLUMNS)}"
    )
    parser.add_argument("--database", help="database URL (else of the settings)")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_METER):
        raise argparse.ArgumentTypeError(f"{text!r} given, 1..{MAX_METER} expected")
    return int(text)
