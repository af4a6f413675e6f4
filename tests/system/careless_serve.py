"""Run as a process of its own: `openprepay …`, whose SQLite syncs as the first argument says (OFF, NORMAL)."""

import sys
from typing import Any

from sqlalchemy import event
from sqlalchemy.pool import Pool

from openprepay.cli import main

mode = sys.argv.pop(1)
assert mode in ("OFF", "NORMAL")


@event.listens_for(Pool, "checkout")
def careless(raw: Any, _record: object, _proxy: object) -> None:
    raw.execute(f"PRAGMA synchronous={mode}")


sys.exit(main())
