"""Refunds where nothing comes by itself (a bus), and of payments that a typed token carries."""

from typing import Any

import pytest
from sqlalchemy import select

from headend.gate import proposals
from headend.ledger import accounts, balances, payments, reconcile
from headend.ledger.refunds import asking, life
from headend.store.schema_refunds import refund
from headend.tokens import book
from tests.host.books import CHANNEL, METER
from tests.host.core_rig import Pair
from tests.host.refund_rig import MANAGER, ask
from tests.host.token_rig import KWH_UC, TokenPair

YUAN = 1_000_000
RIGHT = 18
OWN = accounts.of_channel(CHANNEL)


def state_of(pair: Pair, refund_id: int) -> str:
    return str(
        pair.store.read(lambda conn: conn.execute(select(refund.c.state).where(refund.c.id == refund_id)).scalar_one())
    )


def approve(pair: Pair, answer: asking.Answer) -> int:
    made = pair.store.read(lambda conn: proposals.get(conn, life.get(conn, answer.row.id).proposal))
    pair.write(proposals.approve, made.id, made.digest, MANAGER)
    return int(answer.row.id)


def balance(pair: Pair, account: str) -> int:
    return pair.store.read(balances.balance_uc, account)


@pytest.mark.parametrize("carrier", ["mqtt", "modbus"])
@pytest.mark.parametrize("spent", [False, True])
def test_the_meter_decides_on_every_carrier(carrier: str, spent: bool) -> None:
    with Pair(carrier) as pair:
        pair.write(payments.take, CHANNEL, "a", METER, 50 * YUAN)
        pair.until(lambda: pair.unit.meter.account.credited_uc > 0)
        pair.run(30)
        if spent:
            pair.unit.meter.account.charge_uc(45 * YUAN)
            pair.unit.run(61)
        refund_id = approve(pair, pair.write(asking.refund_credit, ask(), METER, 20 * YUAN, CHANNEL))
        end = life.REFUSED if spent else life.TAKEN
        pair.until(lambda: state_of(pair, refund_id) == end, 900)
        assert balance(pair, OWN) == (-50 if spent else -30) * YUAN
        assert balance(pair, accounts.REFUNDS) == 0
        pair.write(payments.take, CHANNEL, "b", METER, 10 * YUAN)
        credited_uc = (50 + 10 + 20 * spent) * YUAN
        pair.until(lambda: pair.unit.meter.account.credited_uc == credited_uc)
        pair.run(200)
        assert pair.store.read(reconcile.explain, METER).difference_uc == 0


# --- typed tokens -----------------------------------------------------------------------------------------------------


def other_meter(pair: TokenPair) -> None:
    from headend.fleet.meters import add_meter
    from tests.host.books import record

    pair.write(add_meter, record(RIGHT))


@pytest.mark.parametrize("typed", [False, True])
def test_a_token_made_for_the_wrong_meter(typed: bool) -> None:
    """It is void, or the meter gives back what was typed; either way the right meter gets the money once."""
    with TokenPair() as pair:
        other_meter(pair)
        token: Any = pair.vend("a", 10 * KWH_UC)
        if typed:
            pair.type(token.digits)
            pair.write(payments.take, CHANNEL, "more", METER, 30 * KWH_UC)
            pair.run(60)
        refund_id = approve(pair, pair.write(asking.transfer, ask(), CHANNEL, "a", RIGHT))
        pair.until(lambda: state_of(pair, refund_id) == life.TAKEN, 900)
        kept_uc = 30 * KWH_UC if typed else 0
        assert balance(pair, accounts.of_meter(METER, 1)) == pair.unit.meter.account.balance_uc() == kept_uc
        assert balance(pair, accounts.of_meter(RIGHT, 1)) == 10 * KWH_UC
        assert balance(pair, OWN) == -(10 * KWH_UC + kept_uc)
        state = pair.store.read(lambda conn: book.get(conn, token.id)).state
        assert state == (book.USED if typed else book.VOID)
        pair.run(60)
        assert pair.store.read(reconcile.explain, METER).difference_uc == 0


def test_a_token_that_is_typed_while_it_is_taken_back() -> None:
    """The meter has its worth: then that is what goes back."""
    with TokenPair() as pair:
        other_meter(pair)
        pair.write(payments.take, CHANNEL, "first", METER, 30 * KWH_UC)
        pair.run(60)
        token: Any = pair.vend("a", 10 * KWH_UC)
        pair.heard = lambda what: False
        pair.type(token.digits)
        refund_id = approve(pair, pair.write(asking.reverse, ask(), CHANNEL, "a"))
        assert state_of(pair, refund_id) == life.STATED
        pair.heard = lambda what: True
        pair.until(lambda: state_of(pair, refund_id) == life.TAKEN, 2000)
        assert balance(pair, accounts.of_meter(METER, 1)) == pair.unit.meter.account.balance_uc() == 30 * KWH_UC
        assert balance(pair, OWN) == -30 * KWH_UC
        pair.run(60)
        assert pair.store.read(reconcile.explain, METER).difference_uc == 0
