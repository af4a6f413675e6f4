"""A meter's tokens held against the signer's log, once after each restore and before the first token that follows it.

What the log has and the database has not is `lost`, and numbers go on above all that the log knows. The signer is asked
outside of any transaction.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, Row, bindparam, func, select, text, update

from headend.keys import signer_tokens
from headend.keys.signer import MAX_MADE
from headend.keys.signer_lines import TokenLine
from headend.keys.signer_tokens import TokenWanted
from headend.reads import cursors
from headend.refusals import Refused
from headend.store import ORDERS, Store, identity, lock_meter
from headend.store.prepared import prepared
from headend.store.schema import decoder, token
from headend.tokens import book, lost, usage
from headend.tokens import decoder as decoders
from headend.tokens.lost import Found
from meterlink.sts import issue
from meterlink.sts.token import CREDIT

_RNDS = 16
_TENTH_WH = 100
_MINUTE_S = 60

_NEWEST = select(func.max(token.c.tid)).where(
    token.c.meter == bindparam("of"),
    token.c.supply_group == bindparam("group"),
    token.c.key_revision == bindparam("revision"),
    token.c.digits.is_not(None),
)
_KNOWN = select(token.c.tid, token.c["class"], token.c.subclass).where(
    token.c.meter == bindparam("of"), token.c.digits.is_not(None) | (token.c["class"] != CREDIT)
)
_DUE = text("compare_s is not null")  # in these words, so that the index over such meters alone is used
_WAITING = prepared(
    select(decoder.c.meter)
    .where(_DUE, decoder.c.compare_s <= bindparam("now"))
    .order_by(decoder.c.compare_s)
    .limit(bindparam("at_most"))
)
_SINCE = prepared(select(func.min(decoder.c.compare_s)).where(_DUE))


class Log(Protocol):
    """The signer, in this process or in its own. Raises Refused, KeyFileError, SignerAway."""

    def made_tokens(self, pan: str, from_s: int) -> list[TokenLine]: ...

    def make_token(self, wanted: TokenWanted) -> str: ...


def compare(store: Store, log: Log, now_s: int, meter_id: int) -> None:
    """Compare one meter, unless that is done. Raises NoDecoder and what the signer raises; nothing has changed then."""
    held, epoch, from_s = store.read(_standing, meter_id)
    if held.compare_s is None:
        return
    lines: list[TokenLine] = []
    while True:
        some = log.made_tokens(held.pan, from_s)
        lines += some
        if len(some) < MAX_MADE:
            break
        from_s = some[-1].tid_s + _MINUTE_S
    known = store.read(_known, meter_id) if lines else set()
    unknown = [line for line in lines if (line.tid, line.token_class, line.subclass) not in known]
    found = [Found(line, _digits(log, held, epoch, line)) for line in unknown]
    newest_s = max((line.tid_s for line in lines), default=None)
    store.write(_take, now_s, meter_id, found, newest_s, lane=ORDERS).result()


def waiting(conn: Connection, now_s: int, at_most: int) -> list[int]:
    """Meters that are to be compared, those that have waited longest first."""
    return [row[0] for row in _WAITING(conn, {"now": now_s, "at_most": at_most})]


def wait(conn: Connection, until_s: int) -> None:
    """The signer cannot be asked: whoever is due is due then."""
    conn.execute(update(decoder).where(_DUE, decoder.c.compare_s < until_s).values(compare_s=until_s))


def next_s(conn: Connection) -> int | None:
    """When a meter is to be compared; None while none is."""
    since_s = _SINCE(conn).scalar_one()
    return None if since_s is None else int(since_s)


def restored(conn: Connection, now_s: int) -> None:
    """This database was put back from a copy: compare every meter."""
    conn.execute(update(decoder).values(compare_s=now_s))


def _standing(conn: Connection, meter_id: int) -> tuple[Row[Any], int, int]:
    """(the `decoder` row, signing epoch of the database, the minute from which on it may not know every token).

    TIDs of a meter rise in the signer's log, so what was lost lies above the newest that was made; under another key
    that was made under another base date, perhaps.
    """
    held = decoders.get(conn, meter_id)
    mine = {"of": meter_id, "group": held.supply_group, "revision": held.key_revision}
    newest = conn.execute(_NEWEST, mine).scalar_one()
    from_s = 0 if newest is None else issue.issued_s(held.base_date, newest) + _MINUTE_S
    return held, identity.get(conn).signing_epoch, from_s


def _known(conn: Connection, meter_id: int) -> set[tuple[int, int, int]]:
    """TID, class and subclass of all that was made. What is reserved may be another token than the log's, but for help
    and engineering tokens, which are made again as they were."""
    return {(row[0], row[1], row[2]) for row in conn.execute(_KNOWN, {"of": meter_id})}


def _digits(log: Log, held: Row[Any], epoch: int, line: TokenLine) -> str | None:
    """The digits that were made: of the 16 tokens that it can have been, the one that has its digest. None for all but
    credit, and where another key than `held` made it or it has expired."""
    if line.token_class != CREDIT:
        return None
    for rnd in range(_RNDS):
        wanted = TokenWanted(
            meter=line.meter,
            pan=line.pan,
            sgc=held.supply_group,
            kt=held.key_type,
            ti=held.tariff_index,
            krn=held.key_revision,
            ken=held.key_expiry,
            base=held.base_date,
            token_class=line.token_class,
            subclass=line.subclass,
            rnd=rnd,
            tid=line.tid,
            register=issue.register_of(line.amount_wh // _TENTH_WH),
            channel=line.channel,
            database_epoch=epoch,
        )
        if signer_tokens.digest(wanted).hex() == line.digest:
            try:
                return log.make_token(wanted)
            except Refused as refused:
                if refused.field == "signing_epoch":
                    raise
                return None
    return None


def _take(conn: Connection, now_s: int, meter_id: int, found: Sequence[Found], newest_s: int | None) -> None:
    lock_meter(conn, meter_id)
    held = decoders.get(conn, meter_id)
    if held.compare_s is None:  # somebody else was faster
        return
    facts: dict[str, int | None] = {"compare_s": None}
    if newest_s is not None:
        newest = (newest_s - issue.start_s(held.base_date)) // _MINUTE_S
        facts["next_tid"] = max(held.next_tid, newest + 1)
    conn.execute(update(decoder).where(decoder.c.meter == meter_id).values(facts))
    if newest_s is not None:
        _move_reserved(conn, now_s, meter_id, newest)
    if lost.note(conn, now_s, held, found):
        log_id = cursors.of(conn, meter_id).log_id
        usage.told(conn, now_s, meter_id, log_id, 0)  # one may have been typed already


def _move_reserved(conn: Connection, now_s: int, meter_id: int, newest: int) -> None:
    """Sales whose number the log has already: it may stand for another token of the same look."""
    for row in reversed(book.of_meter(conn, meter_id, states=(book.RESERVED,))):
        if row._mapping["class"] == CREDIT and row.tid <= newest:
            tid = book.take_tid(conn, now_s, decoders.get(conn, meter_id))
            book.change(conn, now_s, row.id, "move", book.ALONE, "a lost database used its number", tid=tid)
