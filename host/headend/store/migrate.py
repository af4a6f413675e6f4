"""Brings a database to the newest schema, in one transaction: all of it or nothing. Safe with another process at it.

The migration tool takes longer to load than most commands take to run: it is loaded where there is something to do.

`python -m headend.store.migrate WHAT` drafts the next migration from the difference between the migrations that there
are and `schema.py`; a person reads and completes it.
"""

import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import DBAPIError

from headend.store.commits import let_commit
from headend.store.port import Port
from headend.store.sqlite import Sqlite

if TYPE_CHECKING:
    from alembic.config import Config

SCRIPTS = "headend.store:migrations"
_REVISIONS = text("SELECT version_num FROM alembic_version")

_ONE = threading.Lock()  # the migration tool keeps its state in module globals


def config(conn: Connection) -> "Config":
    """The migration tool's settings, bound to a connection that is inside a transaction."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", SCRIPTS)
    made.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
    made.attributes["connection"] = conn
    return made


def upgrade(port: Port, to: str = "head") -> None:
    """Run the migrations that this database has not seen."""
    if to == "head" and _is_newest(port):
        return
    from alembic import command

    _run(port, command.upgrade, to)


def downgrade(port: Port, to: str) -> None:
    """Undo the migrations after revision `to` ("base": all). What they had brought is lost."""
    from alembic import command

    _run(port, command.downgrade, to)


def _is_newest(port: Port) -> bool:
    try:
        with port.writes.connect() as conn:
            return list(conn.execute(_REVISIONS).scalars()) == [_newest()]
    except DBAPIError:  # nothing is there yet, or what is wrong with it will be told by who tries to change it
        return False


@cache
def _newest() -> str:
    """The revision after which there is none: files of migrations/versions are named v<revision>_<what>.py."""
    steps = (Path(__file__).parent / "migrations" / "versions").glob("v[0-9]*_*.py")
    return max(step.name[1:].partition("_")[0] for step in steps)


def _run(port: Port, step: "Callable[[Config, str], None]", to: str) -> None:
    with _ONE, port.writes.connect() as conn, conn.begin():
        port.alone(conn)
        step(config(conn), to)
        let_commit(conn)


def draft(what: str) -> None:
    """Write the next file of migrations/versions."""
    from alembic import command
    from alembic.script import ScriptDirectory

    port = Sqlite(make_url("sqlite://"))
    upgrade(port)
    with port.writes.connect() as conn:
        let_commit(conn)
        newest = ScriptDirectory.from_config(config(conn)).get_current_head()
        command.revision(config(conn), what, autogenerate=True, rev_id=f"{int(newest or 0) + 1:04d}")


if __name__ == "__main__":
    draft(" ".join(sys.argv[1:]))
