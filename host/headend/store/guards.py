"""Triggers by which the database itself refuses what must never happen, for SQLite and PostgreSQL. For migrations.

A guard is named `<table>_<event>` in small letters; its sentence is what the writer's error says.
"""

from typing import Any

_FUNCTION = """
CREATE OR REPLACE FUNCTION openprepay_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation'; END $$
"""


def refuse(op: Any, table: str, event: str, sentence: str, columns: tuple[str, ...] = ()) -> None:
    """Refuse UPDATE (of all columns, or of these) or DELETE on a table. `sentence`: without a quotation mark."""
    of = f" OF {', '.join(columns)}" if columns else ""
    name, at = f"{table}_{event.lower()}", f'BEFORE {event}{of} ON "{table}"'
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"CREATE TRIGGER {name} {at} BEGIN SELECT RAISE(ABORT, '{sentence}'); END")
    else:
        op.execute(_FUNCTION)
        op.execute(f"CREATE TRIGGER {name} {at} FOR EACH ROW EXECUTE FUNCTION openprepay_refuse('{sentence}')")


def allow(op: Any, table: str, event: str) -> None:
    """Take a guard away."""
    name = f"{table}_{event.lower()}"
    on = "" if op.get_bind().dialect.name == "sqlite" else f' ON "{table}"'
    op.execute(f"DROP TRIGGER {name}{on}")
