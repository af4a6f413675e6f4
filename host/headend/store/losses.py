"""What a restored database has lost, as far as the signer's log tells: orders and tokens that it does not know."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from headend.keys import signer_files as files
from headend.keys.signer_lines import DIGEST_LENGTH, FIRST, OrderLine, TokenLine
from headend.store.schema import order, token

_KNOWN = select(order.c.id).where(order.c.meter == bindparam("of"), order.c.digest == bindparam("told"))
_TOKEN = select(token.c.id).where(
    token.c.meter == bindparam("of"),
    token.c.tid == bindparam("number"),
    token.c["class"] == bindparam("first"),
    token.c.subclass == bindparam("second"),
)


class Loss(NamedTuple):
    """An order or token that was signed, and that this database does not know."""

    at_s: int
    meter: int
    what: str  # order | token
    credit_uc: int  # what an order added to the credit of its account
    refund_uc: int
    energy_wh: int  # of a token
    actor: str
    digest: str


def lost(conn: Connection, log: Path) -> Iterator[Loss]:
    """In the order of the log; raises KeyFileError where that is not whole."""
    chain = FIRST
    for number in (*files.numbers(log), None):
        for line, after, _ in files.lines_of(log, number, chain):
            chain = after
            if isinstance(line, OrderLine):
                told = bytes.fromhex(line.digest)[:DIGEST_LENGTH]
                if conn.execute(_KNOWN, {"of": line.meter, "told": told}).first() is None:
                    added = line.increase_uc, line.refund_increase_uc, 0
                    yield Loss(line.at_s, line.meter, "order", *added, line.channel, line.digest)
            elif isinstance(line, TokenLine):
                asked = {"of": line.meter, "number": line.tid, "first": line.token_class, "second": line.subclass}
                if conn.execute(_TOKEN, asked).first() is None:
                    yield Loss(line.at_s, line.meter, "token", 0, 0, line.amount_wh, line.channel, line.digest)
