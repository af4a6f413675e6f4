"""A copy of the database while it is in use, and putting one in place.

A backup is two files: FILE, a SQLite database or a dump in PostgreSQL's custom format, and FILE.json, its manifest,
written last; without it, or where its digest is not that of FILE, there is no backup. Both are for their owner alone.
"""

import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import URL, Connection, create_engine, func, inspect, make_url, select, table, text

from headend.refusals import Refused
from headend.store import sqlite
from headend.store.schema import database
from headend.store.schema_books import seal_chain
from headend.store.store import Store

FORMAT = 1
SQLITE, POSTGRESQL = "sqlite", "postgresql"
_DEBIAN = Path("/usr/lib/postgresql")


class Manifest(msgspec.Struct):
    """What a backup holds. `ledger_hash`, `ledger_seq`: how far the ledger was sealed · `counts`: rows of a table."""

    format: int
    kind: str
    made_s: int
    revision: str
    signing_epoch: int
    source: int
    currency: int
    ledger_seq: int
    ledger_hash: str
    counts: dict[str, int]
    bytes: int
    sha256: str


def make(store: Store, url: str, file: Path, now_s: int) -> Manifest:
    """Copy the database at `url`, which is `store`'s, to `file` and its manifest; others go on writing meanwhile.

    Raises Refused where there is something already, or no program to do it with; OSError.
    """
    parsed = make_url(url)
    kind = parsed.get_backend_name()
    for path in (file, manifest_of(file)):
        if path.exists():
            raise Refused("file", path, "a path at which there is nothing yet")
    part = file.with_name(file.name + ".part")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    try:
        facts = _COPY[kind](store, parsed, part)
        digest = _settle(part)
        manifest = Manifest(FORMAT, kind, now_s, **facts, bytes=part.stat().st_size, sha256=digest)
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)
    _write(manifest_of(file), msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    return manifest


def read(file: Path) -> Manifest:
    """The manifest of a backup that is whole; raises Refused, OSError."""
    beside = manifest_of(file)
    try:
        manifest = msgspec.json.decode(beside.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise Refused("file", file, f"a backup with its manifest {beside}") from None
    except msgspec.MsgspecError as error:
        raise Refused("file", beside, f"the manifest of a backup ({error})") from None
    if manifest.format != FORMAT:
        raise Refused("file", f"{beside}, format {manifest.format}", f"format {FORMAT}")
    if _digest(file) != manifest.sha256:
        raise Refused("file", file, f"the file whose digest its manifest tells: {manifest.sha256}")
    return manifest


def put(file: Path, manifest: Manifest, url: str) -> None:
    """Put a backup where no database is. Raises Refused for a place that is taken, or of another kind."""
    parsed = make_url(url)
    kind = parsed.get_backend_name()
    if kind != manifest.kind:
        raise Refused("database", parsed.render_as_string(), f"a {manifest.kind} database, as the backup is one")
    _PUT[kind](file, parsed)


def manifest_of(file: Path) -> Path:
    return file.with_name(file.name + ".json")


def _facts(conn: Connection) -> dict[str, Any]:
    """What the manifest says of a database, in one transaction."""
    row = conn.execute(select(database)).one_or_none()
    if row is None:
        raise Refused("database", "none", "a database that was set up with its signing epoch and credit source")
    names = inspect(conn).get_table_names()  # the database may be of an older revision than this program
    sealed = seal_chain.name in names
    end = conn.execute(select(seal_chain).where(seal_chain.c.chain == "entry")).one_or_none() if sealed else None
    return {
        "revision": conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one(),
        "signing_epoch": row.signing_epoch,
        "source": row.source,
        "currency": row.currency,
        "ledger_seq": 0 if end is None else end.seq,
        "ledger_hash": "" if end is None else end.hash.hex(),
        "counts": {
            name: int(conn.execute(select(func.count()).select_from(table(name))).scalar_one())
            for name in sorted(names)
            if name != "alembic_version"
        },
    }


# --- SQLite -----------------------------------------------------------------------------------------------------------


def _copy_sqlite(store: Store, url: URL, part: Path) -> dict[str, Any]:
    """One read transaction of SQLite's own backup: in WAL mode it neither waits for writers nor holds them up."""
    if sqlite.in_memory(url):
        raise Refused("database", url.render_as_string(), "a database in a file")
    source, copy = sqlite3.connect(f"file:{url.database}?mode=ro", uri=True), sqlite3.connect(part)
    try:
        source.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
    finally:
        copy.close()
        source.close()
    engine = create_engine(f"sqlite:///{part}")
    with engine.connect() as conn:
        facts = _facts(conn)
    engine.dispose()
    return facts


def _put_sqlite(file: Path, url: URL) -> None:
    place = Path(str(url.database))
    for path in (place, Path(f"{place}-wal"), Path(f"{place}-journal")):
        if path.exists():
            raise Refused("database", path, "a path at which there is nothing: a database is never overwritten")
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = place.with_name(place.name + ".part")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    shutil.copyfile(file, part)
    _sync(part)
    part.rename(place)
    _sync(place.parent)


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def _copy_postgresql(store: Store, url: URL, part: Path) -> dict[str, Any]:
    """pg_dump on the snapshot in which the rows are counted."""

    def dump(conn: Connection) -> dict[str, Any]:
        conn.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        conn.execute(text("SET LOCAL statement_timeout = 0"))
        snapshot = conn.execute(text("SELECT pg_export_snapshot()")).scalar_one()
        _run("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"-f{part}")
        return _facts(conn)

    return store.read(dump)


def _put_postgresql(file: Path, url: URL) -> None:
    with Store(url.render_as_string(hide_password=False), inline=True) as store:
        store.port.check()
        if store.read(lambda conn: inspect(conn).get_table_names()):
            raise Refused("database", url.render_as_string(), "one without any table: a database is never overwritten")
    _run("pg_restore", url, "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", str(file))


def _run(program: str, url: URL, *arguments: str) -> None:
    from psycopg.conninfo import make_conninfo

    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_folders()]))
    if found is None:
        raise Refused("PATH", os.environ.get("PATH", ""), f"the program {program} (Debian: postgresql-client)")
    given: dict[str, Any] = {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "dbname": url.database,
        **url.query,
    }
    where = make_conninfo(**{name: value for name, value in given.items() if value is not None})
    secret = {"PGPASSWORD": str(url.password)} if url.password is not None else {}
    done = subprocess.run(
        [found, f"--dbname={where}", *arguments], env={**os.environ, **secret}, stderr=subprocess.PIPE, check=False
    )
    if done.returncode:
        raise Refused(program, f"exit code {done.returncode}", f"0; it said: {done.stderr.decode().strip()[:500]}")


def _folders() -> list[str]:
    """Where Debian keeps the programs of each version, the newest first."""
    return sorted((str(folder) for folder in _DEBIAN.glob("*/bin")), reverse=True)


_COPY: dict[str, Callable[[Store, URL, Path], dict[str, Any]]] = {SQLITE: _copy_sqlite, POSTGRESQL: _copy_postgresql}
_PUT: dict[str, Callable[[Path, URL], None]] = {SQLITE: _put_sqlite, POSTGRESQL: _put_postgresql}


# --- files ------------------------------------------------------------------------------------------------------------


def _settle(path: Path) -> str:
    """Bring a file to the disk; its digest."""
    _sync(path)
    return _digest(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
    _sync(part)
    part.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
