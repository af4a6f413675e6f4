"""Interval records of many meters as a Parquet file (Apache Parquet 2, zstd), for those who analyse them.

Meter by meter, each by start: a file is as large as it comes to, what is held of it in memory is not. It names meters
by their numbers and tells nothing of people. Who exports is audited before the first record is read.

=================  ==================  =======================================================================
column             type                unit and meaning
=================  ==================  =======================================================================
meter              Int64               number of the meter
log_id             UInt32              names the life of its log
seq                UInt32              number of the record in it
start              Timestamp (ms)      start of the period, UTC
minutes            UInt8               length of the period
import_wh          UInt16              Wh imported in it; 65535 = that or more
export_wh          UInt16              Wh exported, likewise
import_reg_wh      UInt32              import register at its end, Wh modulo 2^32
export_reg_wh      UInt32              export register, likewise
flags              UInt8               `meterlink.records.FLAG_*`
=================  ==================  =======================================================================
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, select

from headend import audit
from headend.access import areas
from headend.reads import series, words
from headend.reads.series import Reading
from headend.refusals import Refused
from headend.store import READS, Store
from headend.store.schema import meter

if TYPE_CHECKING:
    import polars

METERS = 32  # read at once
ROWS = 50_000  # of a part of the file, or somewhat more
LAST_S = 1 << 32

UNITS = {
    "meter": "number of the meter",
    "log_id": "life of the log",
    "seq": "number in the log",
    "start": "start of the period, UTC",
    "minutes": "length of the period",
    "import_wh": "Wh imported in the period; 65535 = that or more",
    "export_wh": "Wh exported in the period; 65535 = that or more",
    "import_reg_wh": "import register at the end, Wh modulo 2^32",
    "export_reg_wh": "export register at the end, Wh modulo 2^32",
    "flags": "1 clock unknown, 2 clock changed, 4 power failed, 8 short, 16 supply off, 32 rate changed",
}

Row = tuple[int, Reading]  # meter, its record


def to_parquet(store: Store, now_s: int, actor: str, path: Path, from_s: int, to_s: int, area: str = "") -> int:
    """Write the periods that begin in `from_s`..`to_s` (the latter excluded) of the meters in an area; how many.

    The file appears whole, in the place of one that was there, or not at all. Raises Refused, OSError, and Damaged
    where a packed day cannot be read.
    """
    if not 0 <= from_s < to_s <= LAST_S:
        raise Refused("to", to_s, f"later than {from_s}, and before 2106-02-07")
    areas.check(area)
    try:
        import polars as pl
        from polars.io.plugins import register_io_source
    except ImportError as missing:
        raise Refused("format", "parquet", f"openprepay[export] installed ({missing})") from None
    detail = {"from_s": from_s, "to_s": to_s, "area": area, "file": path.name}
    store.write(audit.record, now_s, actor, words.EXPORTED, "readings", detail, lane=READS).result()
    counted = 0
    failed: list[BaseException] = []

    def parts(*_: Any) -> Iterator["polars.DataFrame"]:
        nonlocal counted
        try:
            for rows in _parts(store, from_s, to_s, area):
                counted += len(rows)
                yield _frame(rows)
        except BaseException as error:
            failed.append(error)
            raise

    partial = path.with_name(f"{path.name}.part")
    try:
        with partial.open("wb") as file:  # opened here: polars may open what it is given after it has failed
            register_io_source(parts, schema=_schema(), is_pure=True).sink_parquet(
                file, compression="zstd", metadata={"openprepay.units": "; ".join(map(": ".join, UNITS.items()))}
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except pl.exceptions.PolarsError as error:
        partial.unlink(missing_ok=True)
        raise failed[0] if failed else OSError(f"{path}: {error}") from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return counted


def _parts(store: Store, from_s: int, to_s: int, area: str) -> Iterator[list[Row]]:
    behind, rows = -1, list[Row]()
    while True:
        meters, found = store.read(_some, behind, from_s, to_s, area)
        rows += found
        if len(rows) >= ROWS or (rows and not meters):
            yield rows
            rows = []
        if not meters:
            return
        behind = meters[-1]


def _some(conn: Connection, behind: int, from_s: int, to_s: int, area: str) -> tuple[Sequence[int], list[Row]]:
    """(the next meters, their rows)."""
    of = select(meter.c.meter).where(meter.c.meter > bindparam("behind"), areas.within(meter.c.area, (area,)))
    meters = conn.execute(of.order_by(meter.c.meter).limit(METERS), {"behind": behind}).scalars().all()
    return meters, [(number, one) for number in meters for one in series.between(conn, number, from_s, to_s)]


def _schema() -> "polars.Schema":
    import polars as pl

    start = pl.Datetime("ms", "UTC")
    kinds: tuple[Any, ...] = (
        pl.Int64,
        pl.UInt32,
        pl.UInt32,
        start,
        pl.UInt8,
        pl.UInt16,
        pl.UInt16,
        pl.UInt32,
        pl.UInt32,
        pl.UInt8,
    )
    return pl.Schema(dict(zip(UNITS, kinds, strict=True)))


def _frame(rows: Sequence[Row]) -> "polars.DataFrame":
    import polars as pl

    meters, records = zip(*rows, strict=True)
    columns: dict[str, Any] = {"meter": meters, **dict(zip(Reading._fields, zip(*records, strict=True), strict=True))}
    columns["start"] = [start_s * 1000 for start_s in columns.pop("start_s")]
    made = [pl.Series(name, columns[name], dtype=_stored(kind)).cast(kind) for name, kind in _schema().items()]
    return pl.DataFrame(made)


def _stored(kind: Any) -> Any:
    """What numbers become before they are a moment."""
    import polars as pl

    return pl.Int64 if kind == pl.Datetime else kind
