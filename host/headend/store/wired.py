"""Prepared statements straight through libpq, for PostgreSQL.

A statement costs psycopg's cursor some 60 µs of work besides what the server needs; here it is prepared once for each
connection and then costs 15. Errors and types stay psycopg's: results are read by its loaders, and it learns from libpq
whether a transaction is under way.

Several statements may be sent at once, with one wait for all of them (pipeline mode, PostgreSQL manual 32.5). A
transaction begins with its first statements and may end with its last ones: neither BEGIN nor COMMIT has a wait of its
own. Where a statement fails, the server passes over the COMMIT that was sent behind it.
"""

import itertools
import re
import select
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import Connection as Raw
from psycopg import errors, pq
from psycopg.adapt import Transformer

_TEXT, _BINARY = pq.Format.TEXT, pq.Format.BINARY
_MARK = re.compile(r"%\((\w+)\)s|%%")
_DONE = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)
_KNOWN = "prepared here"  # in `Connection.info`: of each statement that the server knows, what reads its rows
_PLANS = "plans"  # … and when its plans are to be made anew, and how long after the last time that is
_PLANS_S = 60.0
_numbers = itertools.count(1)


class Wired:
    """A statement, its placeholders as libpq has them. `order`: the names of its values, in the order of $1, $2, …"""

    def __init__(self, sql: str) -> None:
        self.name = f"openprepay_{next(_numbers)}".encode()
        self.order: list[str] = []
        self.sql = _MARK.sub(self._mark, sql).encode()

    def _mark(self, found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "%"
        if name not in self.order:
            self.order.append(name)
        return f"${self.order.index(name) + 1}"


class Sent(NamedTuple):
    """A statement with its values."""

    statement: Wired
    values: Mapping[str, Any]


class Got(NamedTuple):
    """`names`: of the columns, None where it brings no rows · `rows` · `changed`: how many it changed or brought."""

    names: list[str] | None
    rows: list[tuple[Any, ...]]
    changed: int


def begun(raw: Raw[Any]) -> bool:
    """Whether a transaction is under way."""
    return raw.pgconn.transaction_status == pq.TransactionStatus.INTRANS


def run(raw: Raw[Any], info: dict[Any, Any], sent: Sequence[Sent], *, commit: bool = False) -> list[Got]:
    """Run statements in their order, in the transaction that is under way or a new one; raises psycopg.Error for the
    first that fails.

    `info`: of this connection, for as long as it lives · `commit`: end the transaction behind them, where none failed.
    Values are int, str, bytes or None.
    """
    known: dict[bytes, _Reader] = info.setdefault(_KNOWN, {})
    for one in sent:
        if one.statement.name not in known:
            _check(raw.pgconn.prepare(one.statement.name, one.statement.sql))
            known[one.statement.name] = _Reader(raw)
    bound = [_bound(one) for one in sent]
    if not commit and len(sent) == 1 and begun(raw):
        found = [raw.pgconn.exec_prepared(sent[0].statement.name, *bound[0], _BINARY)]
        before = []
    else:
        before = [] if begun(raw) else [_begin(raw), *_replan(info)]
        names = [one.statement.name for one in sent]
        found = _at_once(raw.pgconn, before, names, bound, [b"COMMIT"] * commit)
    for result in found:
        _check(result)
    brought = found[len(before) : len(before) + len(sent)]
    return [known[one.statement.name].got(result) for one, result in zip(sent, brought, strict=True)]


def _replan(info: dict[Any, Any]) -> list[bytes]:
    """The server keeps a plan that it made while a table was all but empty, which reads the table from end to end or by
    the wrong index, until statistics come; so it makes its plans anew: soon at first, later once a minute."""
    now = time.monotonic()
    at, after_s = info.get(_PLANS, (now, 0.5))
    if now < at:
        return []
    info[_PLANS] = now + after_s, min(2 * after_s, _PLANS_S)
    return [b"DISCARD PLANS"]


def _begin(raw: Raw[Any]) -> bytes:
    """What begins a transaction as this connection wants it."""
    said = ["BEGIN"]
    if raw.isolation_level is not None:
        said.append(f"ISOLATION LEVEL {raw.isolation_level.name.replace('_', ' ')}")
    if raw.read_only is not None:
        said.append("READ ONLY" if raw.read_only else "READ WRITE")
    return " ".join(said).encode()


def _bound(sent: Sent) -> tuple[list[Any], list[int]]:
    """Values and their formats; what is text or bytes goes in binary, so that its length counts."""
    values: list[Any] = []
    formats: list[int] = []
    given = sent.values
    for name in sent.statement.order:
        value = given[name]
        if value is None:
            values.append(None)
            formats.append(_TEXT)
        elif isinstance(value, int):
            values.append(b"%d" % value)
            formats.append(_TEXT)
        else:
            values.append(value.encode() if isinstance(value, str) else bytes(value))
            formats.append(_BINARY)
    return values, formats


def _at_once(
    pgconn: Any,
    before: Sequence[bytes],
    names: Sequence[bytes],
    bound: Sequence[tuple[list[Any], list[int]]],
    after: Sequence[bytes],
) -> list[pq.abc.PGresult]:
    """Results of `before` and `after`, texts of statements, and of prepared ones between."""
    pgconn.enter_pipeline_mode()
    try:
        for text in before:
            pgconn.send_query_params(text, None)
        for name, (values, formats) in zip(names, bound, strict=True):
            pgconn.send_query_prepared(name, values, formats, result_format=_BINARY)
        for text in after:
            pgconn.send_query_params(text, None)
        pgconn.pipeline_sync()
        while pgconn.flush():
            _wait(pgconn, select.POLLIN | select.POLLOUT)
        found = []
        for _ in range(len(before) + len(names) + len(after)):
            found.append(_next(pgconn))
            while _next(pgconn) is not None:
                pass
        _next(pgconn)  # of the sync
    finally:
        if pgconn.status == pq.ConnStatus.OK:
            pgconn.exit_pipeline_mode()
    return found


def _next(pgconn: Any) -> Any:
    while pgconn.is_busy():
        _wait(pgconn, select.POLLIN)
    return pgconn.get_result()


def _wait(pgconn: Any, what: int) -> None:
    """Until the server has something for us, or takes more; other threads run meanwhile."""
    waiting = select.poll()
    waiting.register(pgconn.socket, what)
    waiting.poll()
    pgconn.consume_input()


class _Reader:
    """Reads the rows of one statement: what its columns are is found out once."""

    def __init__(self, raw: Raw[Any]) -> None:
        self._rows = Transformer(raw)
        self._names: list[str] | None = None

    def got(self, result: Any) -> Got:
        changed = result.command_tuples or 0
        if not result.nfields:
            return Got(None, [], changed)
        first = self._names is None
        if self._names is None:
            self._names = [result.fname(number).decode() for number in range(result.nfields)]
        self._rows.set_pgresult(result, set_loaders=first)
        rows = self._rows.load_rows(0, result.ntuples, tuple)
        self._rows.set_pgresult(None, set_loaders=False)  # or the last result stays in memory with the statement
        return Got(self._names, rows, changed)


def _check(result: Any) -> None:
    if result.status not in _DONE:
        raise errors.error_from_result(result)
