"""The sealer: chains rows that are committed, outside the transactions that made them.

Rows are sealed in the order in which they are seen, under the chain's own numbers 1, 2, 3 …: a transaction that commits
late gets later numbers than rows with higher ids. Whoever seals holds the chain's row in `seal_chain`, so that two
sealers take turns; what one sealed the other finds sealed. A pass takes what is above the highest row sealed; every
`LOOK_BACK_S` it also looks below for rows that committed late, and before a head is signed it looks at all.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, exists, func, insert, select, update

from headend.books import chain as chains
from headend.store import READS, Store, identity
from headend.store.schema_books import seal, seal_chain, seal_sum

BATCH = 500  # rows of one transaction
LOOK_BACK_S = 60  # a transaction that holds longer is found by the pass over all

_LOCK = (
    update(seal_chain)
    .where(seal_chain.c.chain == bindparam("of"))
    .values(turn=seal_chain.c.turn + 1)
    .returning(*seal_chain.c)
)
_STANDING = select(seal_chain).where(seal_chain.c.chain == bindparam("of"))
_NEWEST = {name: select(func.max(one.table.c.id)) for name, one in chains.CHAINS.items()}
_MOVE = (
    update(seal_chain)
    .where(seal_chain.c.chain == bindparam("of"))
    .values({name: bindparam(f"new_{name}") for name in ("seq", "hash", "top_id", "mark_id", "low_id", "looked_s")})
)
_NAMED = select(func.max(seal_chain.c.origin))
_NAME = update(seal_chain).where(seal_chain.c.chain == bindparam("of")).values(origin=bindparam("from_database"))
_SEAL = insert(seal)
_SUMS = select(seal_sum).where(seal_sum.c.chain == bindparam("of")).order_by(seal_sum.c.kind)
_ADD = (
    update(seal_sum)
    .where(seal_sum.c.chain == bindparam("of"), seal_sum.c.kind == bindparam("what"))
    .values(counted=bindparam("in_all"), amount_uc=bindparam("comes_to"))
)
_NEW_SUM = insert(seal_sum)
_UNSEALED = {
    name: select(*one.columns)
    .where(one.table.c.id > bindparam("above"), one.table.c.id <= bindparam("up_to"))
    .where(~exists().where(seal.c.chain == name, seal.c.row_id == one.table.c.id))
    .order_by(one.table.c.id)
    .limit(bindparam("most"))
    for name, one in chains.CHAINS.items()
}
_NO_END = (1 << 62) - 1


class Sums(NamedTuple):
    """What the rows of a kind come to."""

    counted: int
    amount_uc: int


class End(NamedTuple):
    """How far a chain has come: `seq` rows, the last with `hash`; `sums` by kind."""

    origin: str
    seq: int
    hash: bytes
    sums: dict[str, Sums]


def seal_some(conn: Connection, now_s: int, chain: str, most: int = BATCH, *, all_rows: bool = False) -> int:
    """Seal at most `most` committed rows that are not sealed; returns how many.

    `all_rows`: look at every row, not only at those that can be new. Raises Refused where the database has no numbers.
    """
    state = _locked(conn, chain)
    rows, moved = _found(conn, now_s, chain, state, most, all_rows)
    if not rows and moved == _marks(state):
        return 0
    seq, last = state.seq, state.hash
    made: list[dict[str, Any]] = []
    for row in rows:
        seq, last = seq + 1, chains.following(last, row)
        made.append({"chain": chain, "seq": seq, "row_id": row[0], "hash": last})
    if made:
        conn.execute(_SEAL, made)
        _count(conn, chain, rows)
    top_id = max([state.top_id, *(row[0] for row in rows)])
    new = {"seq": seq, "hash": last, "top_id": top_id, **moved}
    conn.execute(_MOVE, {"of": chain, **{f"new_{name}": value for name, value in new.items()}})
    return len(rows)


def seal_all(store: Store, now_s: int, *, all_rows: bool = False) -> int:
    """Seal what there is, of both chains, in transactions of `BATCH` rows in the least urgent lane; how many."""
    sealed = 0
    for chain in chains.CHAINS:
        if all_rows or store.read(_is_work, now_s, chain):
            while count := store.write(_seal, now_s, chain, all_rows, lane=READS).result():
                sealed += count
    return sealed


def end(conn: Connection, chain: str) -> End:
    """Where a chain stands, with its row locked: nothing is added meanwhile."""
    state = _locked(conn, chain)
    sums = {row.kind: Sums(row.counted, int(row.amount_uc)) for row in conn.execute(_SUMS, {"of": chain})}
    return End(state.origin, state.seq, state.hash, sums)


def _is_work(conn: Connection, now_s: int, chain: str) -> bool:
    """Whether a pass may find something: where nothing happens, nothing is written."""
    state = conn.execute(_STANDING, {"of": chain}).one()
    newest = conn.execute(_NEWEST[chain]).scalar_one() or 0
    looking_back = state.low_id < state.top_id and not 0 <= now_s - state.looked_s < LOOK_BACK_S
    return bool(newest > state.top_id or looking_back)


def _seal(conn: Connection, now_s: int, chain: str, all_rows: bool) -> int:
    return seal_some(conn, now_s, chain, all_rows=all_rows)


def _locked(conn: Connection, chain: str) -> Any:
    """The chain's row, locked; before the first seal it is told which database it belongs to."""
    state = conn.execute(_LOCK, {"of": chain}).one()
    if state.origin:
        return state
    # A restore between the first seals of the two gives the database other numbers: both bear the name of the earlier.
    named = conn.execute(_NAMED).scalar_one() or _origin(conn)
    conn.execute(_NAME, {"of": chain, "from_database": named})
    state = conn.execute(_LOCK, {"of": chain}).one()
    begun = {"seq": 0, "hash": chains.first(chain, state.origin), **_marks(state), "top_id": 0}
    conn.execute(_MOVE, {"of": chain, **{f"new_{name}": value for name, value in begun.items()}})
    return conn.execute(_LOCK, {"of": chain}).one()


def _origin(conn: Connection) -> str:
    """32 hexadecimal digits that name the database in which a chain began."""
    row = identity.get(conn)
    numbers = f"{row.signing_epoch}:{row.source}:{row.currency}:{row.created_s}"
    return hashlib.sha256(f"openprepay database 1:{numbers}".encode()).hexdigest()[:32]


def _marks(state: Any) -> dict[str, int]:
    return {"mark_id": state.mark_id, "low_id": state.low_id, "looked_s": state.looked_s}


def _found(
    conn: Connection, now_s: int, chain: str, state: Any, most: int, all_rows: bool
) -> tuple[Sequence[Row[Any]], dict[str, int]]:
    """Rows to be sealed, and where the marks are then."""
    marks = _marks(state)
    query, most_of = _UNSEALED[chain], {"most": most}
    if all_rows:
        return conn.execute(query, {"above": 0, "up_to": _NO_END, **most_of}).all(), marks
    if not 0 <= now_s - state.looked_s < LOOK_BACK_S:
        late = conn.execute(query, {"above": state.low_id, "up_to": state.top_id, **most_of}).all()
        if len(late) == most:  # there may be more of them
            return late, marks
        marks = {"mark_id": state.top_id, "low_id": state.mark_id, "looked_s": now_s}
        if late:
            return late, marks
    return conn.execute(query, {"above": state.top_id, "up_to": _NO_END, **most_of}).all(), marks


def _count(conn: Connection, chain: str, rows: Sequence[Row[Any]]) -> None:
    """Add the rows to the sums by kind."""
    one = chains.CHAINS[chain]
    grown: dict[str, list[int]] = {}
    for row in rows:
        sums = grown.setdefault(row[one.kind], [0, 0])
        sums[0] += 1
        sums[1] += row[one.amount] if one.amount is not None else 0
    known = {row.kind: row for row in conn.execute(_SUMS, {"of": chain})}
    for kind, (counted, amount_uc) in grown.items():
        if kind in known:
            there = known[kind]
            in_all, comes_to = there.counted + counted, str(int(there.amount_uc) + amount_uc)
            conn.execute(_ADD, {"of": chain, "what": kind, "in_all": in_all, "comes_to": comes_to})
        else:
            conn.execute(_NEW_SUM, {"chain": chain, "kind": kind, "counted": counted, "amount_uc": str(amount_uc)})
