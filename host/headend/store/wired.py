"""Prepared statements straight through libpq, for PostgreSQL.

A statement costs psycopg's cursor some 60 µs of work besides what the server needs; here it is prepared once for each
connection and then costs 15. Transactions, their isolation, errors and types stay psycopg's: the first statement of a
transaction goes through its cursor, which begins it, and results are read by its loaders.

Several statements may be sent at once, with one wait for all of them (pipeline mode, PostgreSQL manual 32.5).
"""

import itertools
import re
import select
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import Connection as Raw
from psycopg import errors, pq
from psycopg.adapt import Transformer

_TEXT, _BINARY = pq.Format.TEXT, pq.Format.BINARY
_MARK = re.compile(r"%\((\w+)\)s|%%")
_DONE = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)
_KNOWN = "prepared here"  # in `Connection.info`: names of the statements that the server knows
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
    """Whether a transaction is under way: before that, a statement has to go through psycopg."""
    return raw.pgconn.transaction_status == pq.TransactionStatus.INTRANS


def run(raw: Raw[Any], info: dict[Any, Any], sent: Sequence[Sent]) -> list[Got]:
    """Run statements in a transaction that is under way, in their order; raises psycopg.Error for the first that fails.

    `info`: of this connection, for as long as it lives. Values are int, str, bytes or None.
    """
    known: set[bytes] = info.setdefault(_KNOWN, set())
    for one in sent:
        if one.statement.name not in known:
            _check(raw.pgconn.prepare(one.statement.name, one.statement.sql))
            known.add(one.statement.name)
    bound = [_bound(one) for one in sent]
    if len(sent) == 1:
        found = [raw.pgconn.exec_prepared(sent[0].statement.name, *bound[0], _BINARY)]
    else:
        found = _at_once(raw.pgconn, [one.statement.name for one in sent], bound)
    return [_got(raw, result) for result in found]


def _bound(sent: Sent) -> tuple[list[Any], list[int]]:
    """Values and their formats; what is text or bytes goes in binary, so that its length counts."""
    values: list[Any] = []
    formats: list[int] = []
    for name in sent.statement.order:
        value = sent.values[name]
        if value is None:
            values.append(None)
            formats.append(_TEXT)
        elif isinstance(value, int):
            values.append(str(int(value)).encode())
            formats.append(_TEXT)
        else:
            values.append(value.encode() if isinstance(value, str) else bytes(value))
            formats.append(_BINARY)
    return values, formats


def _at_once(
    pgconn: Any, names: Sequence[bytes], bound: Sequence[tuple[list[Any], list[int]]]
) -> list[pq.abc.PGresult]:
    pgconn.enter_pipeline_mode()
    try:
        for name, (values, formats) in zip(names, bound, strict=True):
            pgconn.send_query_prepared(name, values, formats, result_format=_BINARY)
        pgconn.pipeline_sync()
        while pgconn.flush():
            _wait(pgconn, select.POLLIN | select.POLLOUT)
        found = []
        for _ in names:
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


def _got(raw: Raw[Any], result: Any) -> Got:
    _check(result)
    changed = result.command_tuples or 0
    if not result.nfields:
        return Got(None, [], changed)
    names = [result.fname(number).decode() for number in range(result.nfields)]
    loader = Transformer(raw)
    loader.set_pgresult(result)
    return Got(names, loader.load_rows(0, result.ntuples, tuple), changed)


def _check(result: Any) -> None:
    if result.status not in _DONE:
        raise errors.error_from_result(result)
