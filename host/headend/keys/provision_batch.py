"""Provisions many meters: a record each, in a folder of its own, and a report on every line.

A line is carried out whole or not at all: the meter in the fleet, what its decoder key is bound to, and its record.
Doing it again changes nothing; after a failure it finishes what is left.
"""

import csv
import io
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Connection

from headend.fleet import meters
from headend.fleet.meters import MeterRecord
from headend.keys.holder import KeyHolder
from headend.keys.provision import is_written, provision_record, write_record
from headend.keys.provision_csv import OF_DECODER, OF_FLEET, BadLine, Wanted, bad
from headend.keys.sealed import KeyFileError, write_secret
from headend.refusals import Refused
from headend.store import Store, UnknownMeter, identity
from headend.tokens import decoder
from headend.tokens.decoder import Decoder
from meterlink import topics

WRITTEN = "written"
UNCHANGED = "unchanged"
REFUSED = "refused"
REPORT = "report.csv"
IMP_PER_KWH = 1000
_FOLDER_MODE = 0o700
_REPORT_COLUMNS = ("line", "meter", "outcome", "added", "file", "field", "value", "expected")


@dataclass(frozen=True)
class Fresh:
    """What meters begin with that are not in the fleet yet: encoded tariff and limits; and the currency of the books,
    where the database is new."""

    tariff: bytes
    limits: bytes
    currency: int


@dataclass(frozen=True)
class Done:
    """A line that was carried out: WRITTEN or UNCHANGED, and whether its meter is new in the fleet."""

    line: int
    meter: int
    outcome: str
    added: bool
    file: str


Outcome = Done | BadLine


class _Rehearsed(Exception):
    """Carries what would have been done out of a transaction that is not to stay."""

    def __init__(self, done: Done) -> None:
        super().__init__(done)
        self.done = done


def run(
    store: Store,
    keys: KeyHolder,
    lines: Sequence[Wanted | BadLine],
    folder: Path,
    now_s: int,
    *,
    fresh: Fresh | None = None,
    imp_per_kwh: int = IMP_PER_KWH,
    dry: bool = False,
) -> list[Outcome]:
    """Carry out every good line, in order, and report on all; returns what became of each.

    `fresh`: add meters that are not in the fleet · `imp_per_kwh`: pulse constant of lines that name none · `dry`:
    change and write nothing. Raises KeyFileError where the folder or the keys cannot be used.
    """
    if not dry:
        _make_folder(folder)
    outcomes: list[Outcome] = []
    for one in lines:
        if isinstance(one, BadLine):
            outcomes.append(one)
            continue
        try:
            outcomes.append(store.write(_carry_out, now_s, keys, one, folder, fresh, imp_per_kwh, dry).result())
        except _Rehearsed as rehearsed:
            outcomes.append(rehearsed.done)
        except Refused as refused:
            outcomes.append(bad(one.line, one.meter, refused))
    if not dry:
        write_secret(folder / REPORT, report(outcomes).encode(), replace=True)
    return outcomes


def report(outcomes: Sequence[Outcome]) -> str:
    """What became of each line, as CSV: what came in is quoted so that no spreadsheet takes it for a formula."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _REPORT_COLUMNS, restval="", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    for one in outcomes:
        row = {"outcome": REFUSED} | asdict(one)
        if isinstance(one, Done):
            row["added"] = "yes" if one.added else "no"
        writer.writerow({name: _harmless(str(value)) for name, value in row.items()})
    return out.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.lstrip("'\" ").startswith(("=", "+", "-", "@")) else cell


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError as error:
        raise KeyFileError(f"{folder} cannot be made: {error.strerror}.") from error
    if mode & 0o077:
        raise KeyFileError(f"{folder} has mode {mode:04o}; 0700 is expected (chmod 700 {folder}).")


def _carry_out(
    conn: Connection,
    now_s: int,
    keys: KeyHolder,
    wanted: Wanted,
    folder: Path,
    fresh: Fresh | None,
    imp_per_kwh: int,
    dry: bool,
) -> Done:
    """One line, in one transaction; the record is on disk before it commits, and the same one again is no harm."""
    if fresh is not None:
        identity.establish(conn, now_s, keys.signing_epoch, keys.source, fresh.currency)
    added = _into_fleet(conn, now_s, keys, wanted, fresh)
    record = record_of(conn, keys, wanted.meter, int(wanted.given.get("imp_per_kwh", imp_per_kwh)), wanted)
    path = folder / f"{topics.meter_name(wanted.meter)}.provision"
    try:
        fresh_file = not is_written(path, record) if dry else write_record(path, record)
    except KeyFileError as error:
        raise Refused("record", path.name, f"a file that can be written ({error})") from error
    done = Done(wanted.line, wanted.meter, WRITTEN if fresh_file else UNCHANGED, added, path.name)
    if dry:
        raise _Rehearsed(done)
    return done


def _into_fleet(conn: Connection, now_s: int, keys: KeyHolder, wanted: Wanted, fresh: Fresh | None) -> bool:
    """See that the meter is in the fleet as the line says; whether it was added."""
    given = {name: wanted.given[name] for name in OF_FLEET if name in wanted.given}
    try:
        row = meters.get_meter(conn, wanted.meter)
    except UnknownMeter:
        if fresh is None:
            raise Refused("meter", wanted.meter, "a meter of the fleet, or --add") from None
        fields = {"carrier": meters.MQTT, "address": "", "tag_key_version": keys.tag_key_version, **given}
        record = MeterRecord(meter=wanted.meter, tariff=fresh.tariff, limits=fresh.limits, **fields)  # type: ignore[arg-type]
        meters.add_meter(conn, now_s, record)
        return True
    for name, value in given.items():
        if getattr(row, name) != value:
            raise Refused(name, value, f"{getattr(row, name)!r}, as the fleet has it")
    return False


def _decoder(conn: Connection, wanted: Wanted) -> Decoder | None:
    """What the meter's decoder key is bound to: as it stands, else as the line says, and never one against the
    other."""
    given = {name: wanted.given[name] for name in OF_DECODER if name in wanted.given}
    row = decoder.find(conn, wanted.meter)
    if row is None and not given:
        return None
    if row is None:
        if "supply_group" not in given:
            raise Refused("supply_group", "", "0..999999, where a cell on the decoder key is given")
        fields = {"pan": given.get("pan") or decoder.pan_of(wanted.meter), **given}
        made = Decoder(**fields)  # type: ignore[arg-type]
        decoder.put(conn, wanted.meter, made)
        return made
    held = decoder.of_row(row)
    for name, value in given.items():
        if getattr(held, name) != value:
            raise Refused(name, value, f"{getattr(held, name)!r}, as the decoder key is bound to")
    return held


def record_of(conn: Connection, keys: KeyHolder, meter: int, imp_per_kwh: int, wanted: Wanted | None = None) -> bytes:
    """The record of a meter of the fleet; a line may say what its decoder key is bound to, where that is not known."""
    row = meters.get_meter(conn, meter)
    return provision_record(
        keys,
        meter=row.meter,
        account_epoch=row.account_epoch,
        tag_key_version=row.tag_key_version,
        interval_minutes=row.interval_minutes,
        limits=row.limits,
        tariff=row.tariff,
        currency=identity.get(conn).currency,
        imp_per_kwh=imp_per_kwh,
        decoder=_decoder(conn, wanted or Wanted(0, meter, {})),
    )
