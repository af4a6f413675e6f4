"""Has reserved tokens made: reads them, has the signer make the digits outside of any transaction, stores those.

A token that the signer made, and that a crash kept from being stored, is made again from the same row: the same digits.
Digits leave this head end only after they are stored.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, Row, bindparam, func, select, text, update

from headend.keys.sealed import KeyFileError
from headend.keys.signer_lines import TokenLine
from headend.keys.signer_tokens import KeyChangeWanted, TokenWanted
from headend.keys.signer_wire import SignerAway
from headend.refusals import Refused
from headend.store import MONEY, ORDERS, Store, lock_meter
from headend.store.prepared import prepared
from headend.store.schema import database, decoder, payment, token
from headend.tokens import book, comparing, lost
from headend.tokens import decoder as decoders

AGAIN_S = 5  # after this the dispatcher makes what whoever reserved it has not
AWAY_S = 5  # before the next try of one that the signer did not answer,
REFUSED_S = 300  # … or refused
TRIES = 12  # each with a TID twice as far ahead, where the signer knows of later ones than this database
AT_A_TIME = 100

# What a token that is worth nothing has for a payment's id is its request's.
_PAID = (payment.c.channel == token.c.channel) & (payment.c.payment_id == token.c.payment_id) & (token.c.amount_uc > 0)
_WANTED = (
    select(
        decoder,
        token.c.id,
        token.c.tid,
        token.c["class"],
        token.c.subclass,
        token.c.register,
        token.c.actor,
        token.c.state,
        token.c.supply_group.label("of_group"),
        token.c.key_revision.label("of_revision"),
        database.c.signing_epoch.label("database_epoch"),
        payment.c.again,
    )
    .join(decoder, decoder.c.meter == token.c.meter)
    .join(database, database.c.one == 1)
    .outerjoin(payment, _PAID)
    .where(token.c.id == bindparam("of"))
)
_RESERVED = text("token.state = 'reserved'")  # in these words, so that the index over such tokens alone is used
_WAITING = prepared(
    select(token.c.id)
    .where(_RESERVED, token.c.changed_s <= bindparam("until"))
    .order_by(token.c.changed_s)
    .limit(bindparam("at_most"))
)
_SINCE = prepared(select(func.min(token.c.changed_s)).where(_RESERVED))
_MADE = (
    update(token)
    .where(token.c.id == bindparam("of"), token.c.state == book.RESERVED, token.c.tid == bindparam("with_tid"))
    .values(digits=bindparam("made"), state=book.VENDED, changed_s=bindparam("now"))
)


class Maker(Protocol):
    """The signer, in this process or in its own. Raises Refused, KeyFileError, SignerAway."""

    def make_token(self, wanted: TokenWanted) -> str: ...

    def make_key_change(self, wanted: KeyChangeWanted) -> list[str]: ...

    def made_tokens(self, pan: str, from_s: int) -> list[TokenLine]: ...


class NotMade(Exception):
    """A reserved token could not be made yet: it waits, and is made as soon as it can be. The text says why.

    `refused`: by the signer, which answers.
    """

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused


def make(store: Store, maker: Maker, now_s: int, token_id: int) -> Row[Any]:
    """Have a token's digits made unless they are; returns its row.

    Raises UnknownToken; NotMade where the signer refuses or does not answer, with the token still reserved.
    """
    return make_many(store, maker, now_s, [token_id])[0]


def make_many(store: Store, maker: Maker, now_s: int, token_ids: Sequence[int]) -> list[Row[Any]]:
    """The same for several, with few commits; raises NotMade after it has done what it could."""
    waiting = list(token_ids)
    trouble: list[NotMade] = []
    for _ in range(TRIES):  # once, but where another maker moved a token on meanwhile
        made: list[tuple[int, int, str]] = []
        for token_id in waiting:
            try:
                one = _made(store, maker, now_s, token_id)
            except NotMade as failed:
                trouble.append(failed)
                continue
            if one is not None:
                made.append((token_id, *one))
        waiting = store.write(_store, now_s, made, lane=MONEY).result() if made else []
        if not waiting:
            break
    if trouble:
        raise trouble[0]
    return store.read(_rows, token_ids)


def make_waiting(store: Store, maker: Maker, now_s: int) -> int:
    """Make tokens that have waited for `AGAIN_S`, oldest first; returns how many were. For the dispatcher.

    Before that, hold meters against the signer's log that are still to be.
    """
    _compare_waiting(store, maker, now_s)
    waiting = store.read(_waiting, now_s - AGAIN_S)
    done = 0
    for token_id in waiting:
        try:
            make(store, maker, now_s, token_id)
            done += 1
        except NotMade as waits:
            until_s = now_s + (REFUSED_S if waits.refused else AWAY_S)
            store.write(_wait, until_s, token_id, lane=ORDERS).result()
    return done


def next_s(conn: Connection) -> int | None:
    """When `make_waiting` has something to do; None while nothing waits."""
    since_s, compare_s = _SINCE(conn).scalar_one(), comparing.next_s(conn)
    due = [compare_s] if since_s is None else [compare_s, int(since_s) + AGAIN_S]
    return min((at_s for at_s in due if at_s is not None), default=None)


def _compare_waiting(store: Store, maker: Maker, now_s: int) -> None:
    for meter_id in store.read(comparing.waiting, now_s, AT_A_TIME):
        try:
            comparing.compare(store, maker, now_s, meter_id)
        except (Refused, SignerAway, KeyFileError):
            store.write(comparing.wait, now_s + AWAY_S, lane=ORDERS).result()
            return


def _made(store: Store, maker: Maker, now_s: int, token_id: int) -> tuple[int, str] | None:
    """(TID, digits) of a reserved token; None where it is not reserved any more."""
    for attempt in range(TRIES):
        row = store.read(_read, token_id)
        if row is None:
            return None
        if row.compare_s is not None:
            _compare(store, maker, now_s, row.meter)
            continue
        if row.again and store.write(lost.take_over, now_s, token_id, lane=MONEY).result():
            return None
        if (row.of_group, row.of_revision) != (row.supply_group, row.key_revision):
            store.write(_move_on, now_s, token_id, 0, "the meter holds another key now", lane=MONEY).result()
            continue
        try:
            return row.tid, maker.make_token(wanted(row))
        except Refused as refused:
            if refused.field != "tid":
                raise NotMade(f"The signer refuses the token: {refused}.", refused=True) from refused
            why = "the signer has made later ones"
            store.write(_move_on, now_s, token_id, 1 << attempt, why, lane=MONEY).result()
        except (SignerAway, KeyFileError) as error:
            raise NotMade(str(error)) from error
    raise NotMade(f"The signer refuses each of {TRIES} numbers for the token: it has made later ones.", refused=True)


def _compare(store: Store, maker: Maker, now_s: int, meter_id: int) -> None:
    try:
        comparing.compare(store, maker, now_s, meter_id)
    except Refused as refused:
        raise NotMade(f"The signer refuses: {refused}.", refused=True) from refused
    except (SignerAway, KeyFileError) as error:
        raise NotMade(str(error)) from error


def wanted(row: Row[Any]) -> TokenWanted:
    """What the signer is asked for. `row`: as `_WANTED` has it.

    The random number follows from the row, so that a token that is made again has the same digits.
    """
    mapping = row._mapping
    held = decoders.of_row(row)
    rnd = hashlib.sha256(f"{row.id} {row.tid}".encode()).digest()[0] & 15
    return TokenWanted(
        meter=row.meter,
        pan=held.pan,
        sgc=held.supply_group,
        kt=held.key_type,
        ti=held.tariff_index,
        krn=held.key_revision,
        ken=held.key_expiry,
        base=held.base_date,
        token_class=mapping["class"],
        subclass=mapping["subclass"],
        rnd=rnd,
        tid=row.tid,
        register=row.register,
        channel=row.actor,
        database_epoch=row.database_epoch,
    )


def _read(conn: Connection, token_id: int) -> Row[Any] | None:
    """What a reserved token is made from; None for one that is not reserved any more."""
    row = conn.execute(_WANTED, {"of": token_id}).one_or_none()
    if row is None:
        raise book.UnknownToken(token_id)
    return row if row.state == book.RESERVED else None


def _rows(conn: Connection, token_ids: Iterable[int]) -> list[Row[Any]]:
    return [book.get(conn, token_id) for token_id in token_ids]


def _waiting(conn: Connection, until_s: int) -> list[int]:
    return [row[0] for row in _WAITING(conn, {"until": until_s, "at_most": AT_A_TIME})]


def _wait(conn: Connection, until_s: int, token_id: int) -> None:
    conn.execute(update(token).where(token.c.id == token_id).values(changed_s=until_s - AGAIN_S))


def _move_on(conn: Connection, now_s: int, token_id: int, skip: int, why: str) -> None:
    """Give a token that was never made another TID, under the key that the meter holds now."""
    meter_id = book.get(conn, token_id).meter
    lock_meter(conn, meter_id)
    held = decoders.get(conn, meter_id)
    if book.get(conn, token_id).state == book.RESERVED:
        tid = book.take_tid(conn, now_s, held, skip)
        facts = {"tid": tid, "supply_group": held.supply_group, "key_revision": held.key_revision}
        book.change(conn, now_s, token_id, "move", book.ALONE, why, **facts)


def _store(conn: Connection, now_s: int, made: Sequence[tuple[int, int, str]]) -> list[int]:
    """Store digits; returns the tokens that have another TID by now, and are still to be made."""
    moved = []
    for token_id, tid, digits in made:
        lock_meter(conn, book.get(conn, token_id).meter)
        facts = {"of": token_id, "with_tid": tid, "made": digits, "now": now_s}
        if conn.execute(_MADE, facts).rowcount:
            book.record(conn, now_s, token_id, "make", book.ALONE)
        elif book.get(conn, token_id).state == book.RESERVED:
            moved.append(token_id)
    return moved
