"""Triggers by which the database itself refuses what must never happen, for SQLite and PostgreSQL. For migrations.

A guard is named `<table>_<event>` in small letters; its sentence is what the writer's error says.
"""

from typing import Any

_FUNCTION = """
CREATE OR REPLACE FUNCTION openprepay_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation'; END $$
"""


def refuse(
    op: Any,
    table: str,
    event: str,
    sentence: str,
    columns: tuple[str, ...] = (),
    *,
    when: str = "",
    name: str = "",
) -> None:
    """Refuse UPDATE (of all columns, or of these) or DELETE of rows of which `when` (SQL about OLD) is true.

    `sentence`: without a quotation mark · `name`: of a further guard of the same table and event.
    """
    of = f" OF {', '.join(columns)}" if columns else ""
    name, at = name or f"{table}_{event.lower()}", f'BEFORE {event}{of} ON "{table}"'
    only = f" WHEN ({when})" if when else ""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"CREATE TRIGGER {name} {at}{only} BEGIN SELECT RAISE(ABORT, '{sentence}'); END")
    else:
        function = f"EXECUTE FUNCTION openprepay_refuse('{sentence}')"
        op.execute(_FUNCTION)
        op.execute(f"CREATE TRIGGER {name} {at} FOR EACH ROW{only} {function}")
        if event == "DELETE":  # what TRUNCATE takes is not deleted row by row
            op.execute(f'CREATE TRIGGER {name}_all BEFORE TRUNCATE ON "{table}" FOR EACH STATEMENT {function}')


def allow(op: Any, table: str, event: str, *, name: str = "") -> None:
    """Take a guard away."""
    name = name or f"{table}_{event.lower()}"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"DROP TRIGGER {name}")
        return
    op.execute(f'DROP TRIGGER {name} ON "{table}"')
    op.execute(f'DROP TRIGGER IF EXISTS {name}_all ON "{table}"')
