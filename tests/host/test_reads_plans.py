"""What asks for the records of a meter looks them up: SQLite, which has no statistics, reads no table as a whole."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Select
from sqlalchemy.sql.expression import CompoundSelect
from sqlalchemy.sql.visitors import iterate

import headend
from headend.store import open_store
from headend.store.prepared import Prepared
from headend.store.schema_readings import reading_day, reading_recent

BIG = (reading_recent, reading_day)
ALL = {"headend.reads.statistics._DAYS", "headend.reads.statistics._RECENT"}  # counts of everything, for a person


def statements() -> Iterator[tuple[str, Any]]:
    """(name, statement) of every query at the top of a module that reads one of these tables."""
    for found in pkgutil.walk_packages(headend.__path__, "headend."):
        if "migrations" in found.name or found.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(found.name)).items():
            for one in value if isinstance(value, tuple | list) else (value,):
                made = one.statement if isinstance(one, Prepared) else one
                if not isinstance(made, CompoundSelect | Select):
                    continue
                part_of_one = isinstance(made, Select) and made.whereclause is None and not isinstance(one, Prepared)
                if not part_of_one and any(part is table for part in iterate(made) for table in BIG):
                    yield f"{found.name}.{name}", made


def test_no_query_reads_all_that_came_lately() -> None:
    seen = set()

    def plans(conn: Connection) -> dict[str, list[str]]:
        found = {}
        for name, statement in statements():
            made = statement.compile(conn.engine)
            rows = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {made}", tuple(1 for _ in made.positiontup or ()))
            found[name] = [row[3] for row in rows if row[3].startswith("SCAN reading_")]
            seen.add(name)
        return found

    with open_store("sqlite://", inline=True) as store:
        found = store.read(plans)
    assert {name: scans for name, scans in found.items() if scans and name not in ALL} == {}
    assert {"headend.reads.series._NUMBERED", "headend.reads.series._DAYS", "headend.reads.packer._CAME"} <= seen
