"""Brings a database to the newest schema, in one transaction: all of it or nothing. Safe with another process at it."""

import threading

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine

from headend.store import sqlite

SCRIPTS = "headend.store:migrations"

_ONE = threading.Lock()  # the migration tool keeps its state in module globals


def config(conn: Connection) -> Config:
    """The migration tool's settings, bound to a connection that is inside a transaction."""
    made = Config()
    made.set_main_option("script_location", SCRIPTS)
    made.attributes["connection"] = conn
    return made


def upgrade(engine: Engine) -> None:
    """Run the migrations that this database has not seen."""
    with _ONE, engine.connect() as conn, conn.begin():
        command.upgrade(config(conn), "head")
        sqlite.let_commit(conn)
