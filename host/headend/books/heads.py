"""Closing a day: everything is sealed, the heads of both chains are signed, head and report are kept and exported.

    daily(store, signer, now_s, folder)

to be called as often as one likes: a day that is closed already, or has not ended, costs one look. A day in which
nothing ran is closed with the next one; the head's day is the last local day that has ended.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, Row, bindparam, insert, select

from headend.books import chain, day, sealer
from headend.keys.heads import HeadSignature
from headend.ledger import zone
from headend.store import READS, Store, identity
from headend.store.schema_books import head

FORMAT = 1

_OF_DAY = select(head).where(head.c.day == bindparam("of"))
_NEWEST = select(head).order_by(head.c.day.desc()).limit(1)
_BEFORE = select(head).where(head.c.day < bindparam("than")).order_by(head.c.day.desc()).limit(bindparam("most"))
_KEEP = insert(head)


HeadRow = Row[Any]


class HeadSigner(Protocol):
    """What signs heads: `keys.signer.Signer`, or its client."""

    def sign_head(self, digest: bytes) -> HeadSignature:
        """See `keys.heads.sign`."""
        ...


class _Draft(NamedTuple):
    """A head that is to be signed, and the report that it names."""

    day: str
    made_s: int
    entry_seq: int
    audit_seq: int
    head: str
    report: str


def daily(store: Store, signer: HeadSigner, now_s: int, folder: str = "") -> str | None:
    """Close the last local day that has ended, unless that was done; returns its name, "2026-11-22", if it was now.

    `folder`: where `<day>.head` and `<day>.report.json` are written; "" for nowhere. Raises SignerAway or Refused where
    the head cannot be signed, OSError where the files cannot be written: then call again.
    """
    name = store.read(due, now_s)
    if name is None:
        if folder:
            export(store, folder)
        return None
    sealer.seal_all(store, now_s, all_rows=True)
    draft = store.write(_draft, now_s, name, lane=READS).result()
    proof = _proof(signer.sign_head(hashlib.sha256(draft.head.encode()).digest()))
    store.write(_keep, draft, proof, lane=READS).result()
    if folder:
        export(store, folder)
    return name


def due(conn: Connection, now_s: int) -> str | None:
    """The last local day that has ended, where it is not closed yet."""
    today = zone.day_of(zone.of(conn), now_s)
    name = zone.date_of(today - 1).isoformat()
    last = newest(conn)
    return None if last is not None and last.day >= name else name


def newest(conn: Connection) -> HeadRow | None:
    """The newest `head` row."""
    return conn.execute(_NEWEST).one_or_none()


def of_day(conn: Connection, name: str) -> HeadRow | None:
    """The `head` row of a day, "2026-11-22"; None for one that was not closed by itself."""
    return conn.execute(_OF_DAY, {"of": name}).one_or_none()


def before(conn: Connection, than: str = "9999", *, limit: int = 100) -> list[HeadRow]:
    """The heads of days before `than`, newest first."""
    return list(conn.execute(_BEFORE, {"than": than, "most": limit}))


def file_of(row: HeadRow) -> bytes:
    """A head file: the line that is signed, and the line with key and signature."""
    return f"{row.head}\n{row.proof}\n".encode()


def export(store: Store, folder: str) -> None:
    """Write the newest head and its report, unless they are there."""
    row = store.read(newest)
    if row is not None:
        write(row, Path(folder))


def write(row: HeadRow, folder: Path) -> None:
    """Write a head and its report to a folder, unless they are there. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f"{row.day}.report.json", row.report.encode())
    _write(folder / f"{row.day}.head", file_of(row))


def _draft(conn: Connection, now_s: int, name: str) -> _Draft:
    """What is signed: both chains as they stand at one moment."""
    ends = {one: sealer.end(conn, one) for one in chain.CHAINS}
    last = newest(conn)
    report = day.report(conn, name, now_s, last.entry_seq if last is not None else 0, ends)
    entries = ends[chain.ENTRY]
    stated = {
        "format": FORMAT,
        "day": name,
        "made_s": now_s,
        "origin": entries.origin,
        "signing_epoch": identity.get(conn).signing_epoch,
        "report": hashlib.sha256(report.encode()).hexdigest(),
        "chains": {
            one: {
                "seq": ended.seq,
                "hash": ended.hash.hex(),
                "sums": {kind: sums._asdict() for kind, sums in ended.sums.items()},
            }
            for one, ended in ends.items()
        },
    }
    return _Draft(name, now_s, entries.seq, ends[chain.AUDIT].seq, dump(stated), report)


def dump(stated: Any) -> str:
    """JSON in ASCII, on one line, keys sorted."""
    return json.dumps(stated, sort_keys=True, separators=(",", ":"))


def _proof(signed: HeadSignature) -> str:
    return dump(
        {
            "role": signed.role,
            "version": signed.version,
            "key": signed.public.hex(),
            "signature": signed.signature.hex(),
        }
    )


def _keep(conn: Connection, draft: _Draft, proof: str) -> None:
    """Keep the head, unless another process was faster."""
    if of_day(conn, draft.day) is None:
        conn.execute(_KEEP, {**draft._asdict(), "proof": proof})


def _write(path: Path, content: bytes) -> None:
    """All of the file or nothing."""
    if path.exists():
        return
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
