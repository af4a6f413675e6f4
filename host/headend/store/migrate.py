"""Brings a database to the newest schema, in one transaction: all of it or nothing. Safe with another process at it.

`python -m headend.store.migrate WHAT` drafts the next migration from the difference between the migrations that there
are and `schema.py`; a person reads and completes it.
"""

import sys
import threading

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, make_url

from headend.store import sqlite

SCRIPTS = "headend.store:migrations"

_ONE = threading.Lock()  # the migration tool keeps its state in module globals


def config(conn: Connection) -> Config:
    """The migration tool's settings, bound to a connection that is inside a transaction."""
    made = Config()
    made.set_main_option("script_location", SCRIPTS)
    made.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
    made.attributes["connection"] = conn
    return made


def upgrade(engine: Engine) -> None:
    """Run the migrations that this database has not seen."""
    with _ONE, engine.connect() as conn, conn.begin():
        command.upgrade(config(conn), "head")
        sqlite.let_commit(conn)


def draft(what: str) -> None:
    """Write the next file of migrations/versions."""
    engine = sqlite.writer_engine(make_url("sqlite://"))
    upgrade(engine)
    with engine.connect() as conn:
        sqlite.let_commit(conn)
        newest = ScriptDirectory.from_config(config(conn)).get_current_head()
        command.revision(config(conn), what, autogenerate=True, rev_id=f"{int(newest or 0) + 1:04d}")


if __name__ == "__main__":
    draft(" ".join(sys.argv[1:]))
