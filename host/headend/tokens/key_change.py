"""A new decoder key for a meter, typed: four sections that take effect together.

From then on every token is made under the new key, as the customer is given the sections along with the next token, to
be typed first. What was vended under the old key and not typed is worthless once they are: so such tokens are listed
and the change is refused, unless whoever asks says that they may be lost. Replace them over the wire before.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert

from headend.keys.sealed import KeyFileError
from headend.keys.signer_tokens import KeyChangeWanted, TokenWanted
from headend.keys.signer_wire import SignerAway
from headend.ledger import accounts
from headend.refusals import Refused
from headend.store import Store, identity, lock_meter
from headend.store.schema import token
from headend.tokens import book, decoder
from headend.tokens.amounts import kwh
from headend.tokens.decoder import Decoder
from headend.tokens.helping import RequestConflict
from headend.tokens.making import Maker, NotMade
from meterlink.sts.token import KEY_SECTION_1, KEY_SECTIONS, MANAGE


class Unused(Refused):
    """Tokens that would be lost: `tokens` are their rows."""

    def __init__(self, meter_id: int, tokens: Sequence[Row[Any]]) -> None:
        worth_uc = sum(row.amount_uc for row in tokens)
        named = ", ".join(str(row.id) for row in tokens[:10]) + (" …" if len(tokens) > 10 else "")
        expected = (
            f"a meter without unused tokens: {len(tokens)} of {kwh(worth_uc)} would be lost ({named}); replace them "
            "over the wire first, or say that they may be lost"
        )
        super().__init__("meter", meter_id, expected)
        self.tokens = tokens


def key_change(
    store: Store,
    maker: Maker,
    now_s: int,
    channel: str,
    request_id: str,
    meter_id: int,
    new: Decoder,
    reason: str,
    *,
    lose_unused: bool = False,
) -> list[Row[Any]]:
    """Make the sections 1..4 of a change to `new` (of the same PAN), and hold the meter to the new key from now on;
    returns their rows. The same request again returns the same. Call outside of any transaction.

    Raises Refused (NoDecoder, Unused, RequestConflict); NotMade where the signer refuses or does not answer.
    """
    new.attributes()
    known = store.read(_known, channel, request_id, meter_id, new)
    if known:
        return known
    change = store.write(_begin, now_s, meter_id, new, accounts.of_channel(channel), lose_unused).result()
    try:
        digits = maker.make_key_change(change)
    except Refused as refused:
        raise NotMade(f"The signer refuses the key change: {refused}.", refused=True) from refused
    except (SignerAway, KeyFileError) as error:
        raise NotMade(str(error)) from error
    made = (now_s, channel, request_id, change, digits, new, reason, lose_unused)
    return store.write(_finish, *made).result()


def _known(conn: Connection, channel: str, request_id: str, meter_id: int, new: Decoder) -> list[Row[Any]]:
    rows = book.of_request(conn, channel, request_id)
    if not rows:
        return []
    if not all(book.is_section(row) and row.meter == meter_id for row in rows):
        raise RequestConflict("request_id", request_id, "a new id: it was used for another request")
    if decoder.of_row(decoder.get(conn, meter_id)) != new:
        raise RequestConflict(
            "request_id", request_id, "a new id: it was used for another key, or that one was changed"
        )
    return rows


def _begin(conn: Connection, now_s: int, meter_id: int, new: Decoder, actor: str, lose_unused: bool) -> KeyChangeWanted:
    """What the signer is asked for; takes a TID, which names the change in the signer's log."""
    lock_meter(conn, meter_id)
    held = decoder.get(conn, meter_id)
    if new.pan != held.pan:
        raise Refused("pan", new.pan, f"{held.pan}, the meter's")
    if new == decoder.of_row(held):
        raise Refused("key", "the key in force", "another key")
    _check_unused(conn, meter_id, lose_unused)
    old = TokenWanted(
        meter_id,
        held.pan,
        held.supply_group,
        held.key_type,
        held.tariff_index,
        held.key_revision,
        held.key_expiry,
        held.base_date,
        MANAGE,
        KEY_SECTION_1,
        0,
        book.take_tid(conn, now_s, held),
        0,
        actor,
        identity.get(conn).signing_epoch,
    )
    return KeyChangeWanted(
        old, new.supply_group, new.key_type, new.tariff_index, new.key_revision, new.key_expiry, new.base_date
    )


def _finish(
    conn: Connection,
    now_s: int,
    channel: str,
    request_id: str,
    change: KeyChangeWanted,
    digits: Sequence[str],
    new: Decoder,
    reason: str,
    lose_unused: bool,
) -> list[Row[Any]]:
    old = change.old
    lock_meter(conn, old.meter)
    held = decoder.of_row(decoder.get(conn, old.meter))
    if held != Decoder(old.pan, old.sgc, old.kt, old.ti, old.krn, old.ken, old.base):
        raise Refused("key", "the key in force", "one that nobody else changes at the same time")
    _check_unused(conn, old.meter, lose_unused)
    row = {
        "meter": old.meter,
        "account_epoch": book.epoch_of(conn, old.meter),
        "supply_group": old.sgc,
        "key_revision": old.krn,
        "tid": old.tid,
        "class": MANAGE,
        "register": 0,
        "amount_uc": 0,
        "state": book.VENDED,
        "channel": channel,
        "payment_id": request_id,
        "actor": old.channel,
        "issued_s": now_s,
        "changed_s": now_s,
    }
    for subclass, text in zip(KEY_SECTIONS, digits, strict=True):
        made = insert(token).values(row | {"subclass": subclass, "digits": text}).returning(token.c.id)
        book.record(conn, now_s, conn.execute(made).scalar_one(), "make", old.channel, f"key change: {reason}")
    decoder.change(conn, old.meter, new)
    return book.of_request(conn, channel, request_id)


def _check_unused(conn: Connection, meter_id: int, lose_unused: bool) -> None:
    """What is on its way over the wire has to settle first: the meter knows its TID under the old key alone."""
    left = book.unused(conn, meter_id)
    if left and not (lose_unused and all(row.state in (book.RESERVED, book.VENDED) for row in left)):
        raise Unused(meter_id, left)
