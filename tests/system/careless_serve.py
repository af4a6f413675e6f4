"""Run as a process of its own: `openprepay …`, which says what is not on the disk yet, as the first argument says:
OFF or NORMAL: SQLite's `synchronous`; postgresql: `synchronous_commit=off`, and no look at how the server is set.
"""

import sys
from typing import Any

from sqlalchemy import event
from sqlalchemy.pool import Pool

from headend.store.postgres import Postgres
from openprepay.cli import main

mode = sys.argv.pop(1)
assert mode in ("OFF", "NORMAL", "postgresql")


@event.listens_for(Pool, "checkout")
def careless(raw: Any, _record: object, _proxy: object) -> None:
    if mode == "postgresql":
        raw.execute("SET synchronous_commit = off")
        raw.commit()
    else:
        raw.execute(f"PRAGMA synchronous={mode}")


Postgres.check = lambda self: None  # type: ignore[method-assign]
sys.exit(main())
