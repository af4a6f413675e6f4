"""Typed tokens at the head end, each behaviour by itself, with the firmware itself at the other end."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Row, exc, insert, select, update

from headend.epochs import findings
from headend.keys.signer import Signer
from headend.keys.signer_log import SignerLog
from headend.ledger import accounts, balances, payments
from headend.orders import statements
from headend.orders.actions import Action, Deliver
from headend.refusals import Refused
from headend.store import CommitFailed, open_store
from headend.store.schema import closing, meter_event, order, token
from headend.store.schema import decoder as decoder_table
from headend.tokens import amounts, book, decoder, key_change, making, usage, vending
from headend.tokens.amounts import MAX_AMOUNT_UC, UNIT_UC
from meterlink import bodies, events
from meterlink import results as order_results
from meterlink.orders import ASPECT_CREDIT
from meterlink.sts import dkga04, issue, results
from meterlink.sts.amount import MAX_UNITS, units_of
from tests.host import vend_many
from tests.host.books import CHANNEL, LIMITS, METER, NOW_S, start
from tests.host.signer_rig import SignerProcess
from tests.host.test_store_processes import go
from tests.host.token_rig import CAPS, HELD, KWH_UC, TokenPair, energy_books, vending_key, vending_keys

# --- whose key, and what it can be worth ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meter", "pan"),
    [
        (17, "600727000000000173"),
        (99_999_999_999, "600727999999999990"),
        (100_000_000_000, "000001000000000009"),
        (9_999_999_999_999, "000099999999999993"),
    ],
)
def test_a_pan_follows_from_the_meters_number(meter: int, pan: str) -> None:
    assert decoder.pan_of(meter) == pan
    assert dkga04.luhn(pan)


def test_a_number_of_14_digits_needs_its_pan() -> None:
    with pytest.raises(Refused, match="18 digits"):
        decoder.pan_of(10**13)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"pan": "600727000000000174"}, "pan"),
        ({"pan": "60072700000000017"}, "pan"),
        ({"supply_group": 1_000_000}, "supply_group"),
        ({"key_type": 4}, "key_type"),
        ({"tariff_index": 100}, "tariff_index"),
        ({"key_revision": 0}, "key_revision"),
        ({"key_expiry": 256}, "key_expiry"),
        ({"base_date": 2013}, "base_date"),
    ],
)
def test_a_decoder_key_that_cannot_be_is_refused_by_name(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        replace(HELD, **changed).attributes()
    assert refused.value.field == field


@given(st.integers(1, MAX_AMOUNT_UC))
def test_the_amounts_beside_are_the_nearest_that_a_token_is_worth(amount_uc: int) -> None:
    near = amounts.beside(amount_uc)
    worth = [one for one in near if one is not None]
    for one_uc in worth:
        assert amounts.register_for(one_uc) == issue.register_of(one_uc // UNIT_UC)
    assert near.above_uc is not None and near.above_uc >= amount_uc >= (near.below_uc or 0)
    between = {(near.below_uc or 0) // UNIT_UC, near.above_uc // UNIT_UC}
    registers = sorted(issue.register_of(units) for units in between)
    assert registers[-1] - registers[0] <= 1, "no register lies between them"
    if amount_uc not in worth:
        with pytest.raises(amounts.NotOneToken):
            amounts.register_for(amount_uc)


@given(st.integers(1, 0xFFFF))
def test_every_register_can_be_sold(register: int) -> None:
    assert amounts.register_for(units_of(register) * UNIT_UC) == register


def test_nothing_is_worth_more_than_the_last_register() -> None:
    assert amounts.beside(MAX_AMOUNT_UC) == (MAX_UNITS * UNIT_UC, MAX_UNITS * UNIT_UC)
    with pytest.raises(amounts.NotOneToken):
        amounts.register_for(MAX_AMOUNT_UC + 1)


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[TokenPair]:
    with TokenPair() as made:
        yield made


def test_several_in_one_minute_take_the_minutes_that_follow(pair: TokenPair) -> None:
    first = issue.tid_of(2014, NOW_S)
    assert [pair.vend(f"t{n}", KWH_UC).tid for n in range(3)] == [first, first + 1, first + 2]
    pair.clock.advance(600)
    assert pair.vend("later", KWH_UC).tid == first + 10


def test_the_special_minute_is_passed_over(pair: TokenPair) -> None:
    midnight_s = NOW_S - NOW_S % 86_400 + 86_400
    pair.clock.advance(midnight_s - NOW_S)
    tids = [pair.vend(f"t{n}", KWH_UC).tid for n in range(3)]
    assert [tid % 1440 for tid in tids] == [0, 2, 3]


def hold(pair: TokenPair, **changed: object) -> None:
    """What the head end knows of the key is now this."""
    pair.store.write(lambda conn: conn.execute(update(decoder_table).values(**changed))).result()


def test_a_key_number_that_has_expired_makes_no_token(pair: TokenPair) -> None:
    period = issue.tid_of(2014, NOW_S) >> 16
    hold(pair, key_expiry=period - 1)
    with pytest.raises(Refused, match="key_expiry"):
        pair.reserve("t", KWH_UC)
    hold(pair, key_expiry=period)
    assert pair.vend("t", KWH_UC).state == book.VENDED


@pytest.mark.parametrize("base_date", [1993, 2035])
def test_a_base_date_that_cannot_hold_the_moment_makes_no_token(pair: TokenPair, base_date: int) -> None:
    """1993 has ended, 2035 has not begun."""
    hold(pair, base_date=base_date)
    with pytest.raises(Refused, match="issued"):
        pair.reserve("t", KWH_UC)


def test_a_refused_sale_leaves_no_payment_and_takes_no_number(pair: TokenPair) -> None:
    with pytest.raises(amounts.NotOneToken):
        pair.reserve("t", KWH_UC + 1)
    assert pair.store.read(payments.get, CHANNEL, "t") is None
    assert pair.vend("t", KWH_UC).tid == issue.tid_of(2014, NOW_S)


def test_a_restored_database_does_not_reuse_a_number(pair: TokenPair) -> None:
    """The signer remembers: the token gets a later number, and digits that were never there before."""
    lost = [pair.vend(f"t{n}", KWH_UC) for n in range(5)]
    restored = TokenPair()
    restored.signer = pair.signer
    again = restored.vend("t0", 2 * KWH_UC)
    assert again.tid > max(row.tid for row in lost)
    assert again.digits not in [row.digits for row in lost]
    assert {one.event for one in restored.store.read(book.history, again.id)} == {"reserve", "move", "make"}
    restored.store.close()


def test_a_crash_between_signer_and_store_gives_the_same_digits(pair: TokenPair) -> None:
    pair.vend("before", KWH_UC)
    row = pair.reserve("t", KWH_UC)
    wanted = pair.store.read(making._read, row.id)
    assert wanted is not None
    left_the_signer = pair.signer.make_token(making.wanted(wanted))
    pair.vend("other", KWH_UC)
    assert pair.make(row.id).digits == left_the_signer
    assert pair.token(row.id).tid == row.tid


def test_a_cap_of_the_signer_leaves_the_token_waiting(pair: TokenPair) -> None:
    pair.signer = Signer(pair.keys, SignerLog(None), pair.clock, CAPS._replace(token_day_wh=999))
    row = pair.reserve("t", KWH_UC)
    with pytest.raises(making.NotMade, match="cap of one meter and day"):
        pair.make(row.id)
    assert pair.token_state(row.id) == book.RESERVED
    pair.signer = Signer(pair.keys, SignerLog(None), pair.clock, CAPS)
    assert pair.make(row.id).state == book.VENDED


def test_what_was_made_is_never_changed(pair: TokenPair) -> None:
    row = pair.vend("t", KWH_UC)
    for values in ({"digits": "0" * 20}, {"tid": 1}, {"amount_uc": 1}):
        with pytest.raises((exc.IntegrityError, CommitFailed)):
            pair.store.write(lambda conn, v=values: conn.execute(update(token).values(**v))).result()
    assert pair.token(row.id) == row


def test_two_processes_sell_for_one_meter_at_the_same_time(any_store_url: str, tmp_path: Path) -> None:
    url, count = any_store_url, 15
    energy_books(url).close()
    caps = {"max_token_day_wh": 10**9, "max_token_month_wh": 10**9}
    with SignerProcess(tmp_path / "signer", vending_keys().without_root(), **caps) as signer:
        children = [
            start(str(Path(vend_many.__file__)), url, signer.url, name, str(count)) for name in ("left", "right")
        ]
        go(*children)
        told = [child.communicate()[0].splitlines() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    for lines in told:  # each sale was asked for twice
        assert lines[::2] == lines[1::2]
    sold = {int(line.split()[0]): line.split()[1:] for lines in told for line in lines}
    assert len(sold) == 2 * count
    assert len({tid for tid, _ in sold.values()}) == len({digits for _, digits in sold.values()}) == 2 * count
    with open_store(url) as store:
        rows = store.read(lambda conn: conn.execute(select(token)).all())
        assert {row.id: [str(row.tid), row.digits] for row in rows} == sold
        paid_uc = 2 * UNIT_UC * sum(range(1, count + 1))
        assert store.read(balances.balance_uc, accounts.of_meter(METER, 1)) == paid_uc


# --- typed ------------------------------------------------------------------------------------------------------------


def test_a_typed_token_reaches_the_books_at_the_next_contact(pair: TokenPair) -> None:
    row = pair.vend("t", 12_500_000)
    assert pair.type(row.digits) == results.ACCEPTED
    at_s = pair.clock.now_s()
    pair.run(30)
    used = pair.token(row.id)
    assert (used.state, used.used_s) == (book.USED, at_s)
    paid = pair.store.read(payments.get, CHANNEL, "t")
    assert paid is not None and paid.on_meter_s == at_s
    assert pair.explained().difference_uc == 0


def test_what_is_sold_and_not_typed_is_a_line_of_its_own(pair: TokenPair) -> None:
    pair.vend("t", 12_500_000)
    pair.reserve("u", KWH_UC)
    pair.run(1000)
    lines = {label: amount_uc for label, amount_uc in pair.explained().lines if amount_uc}
    assert lines == {"sold as typed tokens, not typed yet": 13_500_000}
    assert pair.explained().difference_uc == 0


def forge(pair: TokenPair, tid: int, register: int = 50) -> str:
    """A token by somebody else who has the meter's decoder key."""
    key = dkga04.derive(vending_key(1), HELD.attributes())
    return issue.once(key, 0, 0, 5, tid, register)


def test_a_token_that_nobody_sold_is_found_and_stays_a_difference(pair: TokenPair) -> None:
    sold = pair.vend("t", KWH_UC)
    assert pair.type(forge(pair, sold.tid + 100)) == results.ACCEPTED
    pair.run(1000)
    (found,) = pair.store.read(usage.unvended_tokens)
    assert (found.meter, found.kind) == (METER, findings.TOKEN_UNVENDED)
    assert str(sold.tid + 100) in found.note
    assert pair.explained().difference_uc == -4 * KWH_UC, "one of the five may be the one that we sold"
    pair.type(sold.digits)
    pair.run(1500)
    assert pair.token_state(sold.id) == book.USED
    assert len(pair.store.read(usage.unvended_tokens, METER)) == 1
    assert pair.explained().difference_uc == -5 * KWH_UC


def test_a_token_that_is_typed_after_its_account_was_closed_is_found(pair: TokenPair) -> None:
    row = pair.vend("t", KWH_UC)
    closed: dict[str, Any] = {
        "meter": METER,
        "account_epoch": 1,
        "provisional": 1,
        "closed_s": NOW_S - 1,
        "import_wh": 0,
    }
    closed |= {"export_wh": 0, "balance_uc": 0, "credited_uc": 0, "charged_uc": 0, "cause": "tenant", "taken_s": NOW_S}
    said = {"meter": METER, "log_id": 7, "seq": 1, "time_s": NOW_S, "code": events.TOKEN_TYPED, "boot": 1}
    said |= {"import_reg_wh": 0, "argument": row.tid, "detail": 0}

    def tell(conn: Connection) -> None:
        conn.execute(insert(closing).values(**closed, moved_to="former:17"))
        conn.execute(insert(meter_event).values(**said))
        for _ in range(2):  # a batch that comes again
            usage.told(conn, NOW_S, METER, 7, 1)

    pair.store.write(tell).result()
    assert pair.token_state(row.id) == book.USED
    (found,) = pair.store.read(usage.unvended_tokens)
    assert (found.kind, found.amount_uc) == (findings.TOKEN_OF_FORMER, KWH_UC)


# --- taken back -------------------------------------------------------------------------------------------------------


def balance_uc(pair: TokenPair) -> int:
    return pair.store.read(balances.balance_uc, accounts.of_meter(METER, 1))


def test_a_void_token_cannot_be_typed_and_its_payment_is_reversed(pair: TokenPair) -> None:
    row = pair.vend("t", 12_500_000)
    assert pair.void(row.id) == book.VOIDING
    pair.run(30)
    assert pair.token_state(row.id) == book.VOID
    events_of = [one.event for one in pair.store.read(book.history, row.id)]
    assert [name for name in events_of if name != "store"] == ["reserve", "make", "voiding", "state", "void"]
    assert "store" in events_of
    assert pair.type(row.digits) == results.USED
    assert pair.unit.meter.account.balance_uc() == balance_uc(pair) == 0
    assert pair.explained().difference_uc == 0


@pytest.mark.parametrize("void", [True, False], ids=["void", "replace"])
@pytest.mark.parametrize("payment", [True, False], ids=["a payment follows", "nothing follows"])
def test_what_had_been_typed_ends_as_used_and_counts_once(pair: TokenPair, void: bool, payment: bool) -> None:
    row = pair.vend("t", 12_500_000)
    pair.on_the_way = lambda action: None
    pair.type(row.digits)  # and its event does not arrive before the order has left
    (pair.void if void else pair.replace)(row.id)
    if payment:
        pair.write(payments.take, CHANNEL, "wire", METER, 3 * KWH_UC)
    pair.engine.due(pair.clock.now_s())
    pair.on_the_way = lambda action: action
    pair.until(lambda: pair.token_state(row.id) == book.USED, 2000)
    pair.until(pair.settled, 2000)
    pair.run(1000)
    worth_uc = 12_500_000 + 3 * KWH_UC * payment
    assert pair.unit.meter.account.balance_uc() == balance_uc(pair) == worth_uc
    assert pair.explained().difference_uc == 0


@pytest.mark.parametrize("typed", [True, False], ids=["typed", "not typed"])
def test_on_a_bus_where_no_receipt_comes_by_itself(typed: bool) -> None:
    with TokenPair("modbus") as pair:
        row = pair.vend("t", 12_500_000)
        if typed:
            pair.type(row.digits)
        pair.replace(row.id)
        pair.until(pair.settled, 4000)
        pair.run(1500)
        assert pair.token_state(row.id) == (book.USED if typed else book.REPLACED)
        assert pair.unit.meter.account.balance_uc() == balance_uc(pair) == 12_500_000
        assert pair.explained().difference_uc == 0


def test_a_refused_order_that_is_played_after_a_key_change_changes_nothing(pair: TokenPair) -> None:
    """Under another key the meter cannot know the token any more; the totals alone must keep it out."""
    row = pair.vend("t", 12_500_000)
    kept: list[bytes] = []

    def keep(action: Action) -> Action:
        if isinstance(action, Deliver) and action.raw[1] == ASPECT_CREDIT:
            kept.append(action.raw)
        return action

    pair.on_the_way = keep
    pair.type(row.digits)
    pair.replace(row.id)
    pair.until(lambda: pair.token_state(row.id) == book.USED, 600)
    pair.until(pair.settled, 600)
    for section in change(pair, 2):
        pair.type(section.digits)
    pair.run(60)
    before_uc = pair.unit.meter.account.balance_uc()
    for raw in kept:
        pair.unit.meter.submit(0, raw)
        pair.unit.settle()
    assert pair.unit.meter.account.balance_uc() == before_uc == 12_500_000


def test_tokens_are_taken_back_one_after_the_other(pair: TokenPair) -> None:
    rows = [pair.vend(f"t{n}", KWH_UC) for n in range(4)]
    for row in rows[:3]:
        pair.void(row.id)
    named = [pair.token(row.id).order_id for row in rows[:3]]
    assert named[0] is not None and named[1:] == [None, None]
    pair.type(rows[1].digits)
    pair.until(lambda: all(pair.token_state(row.id) != book.VOIDING for row in rows), 2000)
    assert [pair.token_state(row.id) for row in rows] == [book.VOID, book.USED, book.VOID, book.VENDED]
    assert balance_uc(pair) == 2 * KWH_UC


def test_a_token_too_old_for_the_meter_is_replaced_all_the_same(pair: TokenPair) -> None:
    """The meter cannot tell it from a used one; its log, which is whole, can."""
    old = pair.vend("old", 5 * KWH_UC)
    number = 0
    while pair.unit.meter.typed.state_of(1, old.tid) == 0:
        number += 1
        assert pair.type(pair.vend(f"n{number}", UNIT_UC).digits) == results.ACCEPTED
    pair.replace(old.id)
    pair.until(lambda: pair.token_state(old.id) == book.REPLACED, 3000)
    pair.until(pair.settled, 3000)
    refused = select(order.c.id).where(order.c.result == order_results.ALREADY_TYPED)
    assert pair.store.read(lambda conn: conn.execute(refused).all()), "it was refused first"
    assert pair.type(old.digits) == results.OLD
    assert pair.unit.meter.account.balance_uc() == balance_uc(pair) == 5 * KWH_UC + number * UNIT_UC


def test_what_was_never_made_is_void_at_once(pair: TokenPair) -> None:
    row = pair.reserve("t", KWH_UC)
    assert pair.void(row.id) == book.VOID
    assert pair.make(row.id).digits is None
    assert balance_uc(pair) == 0


def test_only_unused_credit_is_taken_back(pair: TokenPair) -> None:
    row = pair.vend("t", KWH_UC)
    pair.type(row.digits)
    pair.run(30)
    for take_back in (pair.void, pair.replace):
        with pytest.raises(Refused, match="used"):
            take_back(row.id)
    with pytest.raises(book.UnknownToken):
        pair.void(99)


# --- key changes ------------------------------------------------------------------------------------------------------


def change(pair: TokenPair, revision: int, *, lose_unused: bool = False) -> list[Row[Any]]:
    new, now_s = replace(HELD, key_revision=revision), pair.clock.now_s()
    request = (CHANNEL, f"change-{revision}", METER, new, "yearly")
    return key_change.key_change(pair.store, pair.signer, now_s, *request, lose_unused=lose_unused)


def test_a_typed_key_change_takes_effect_and_is_known_of(pair: TokenPair) -> None:
    sections = change(pair, 2)
    codes = [pair.type(section.digits) for section in reversed(sections)]
    assert codes == [results.SECTION_STORED] * 3 + [results.ACCEPTED]
    pair.run(60)
    assert [pair.token_state(section.id) for section in sections] == [book.USED] * 4
    assert pair.type(pair.vend("t", KWH_UC).digits) == results.ACCEPTED


def test_tokens_lost_at_a_key_change_are_replaced_once_the_meter_has_told_of_it(pair: TokenPair) -> None:
    kept, typed = pair.vend("kept", 5 * KWH_UC), pair.vend("typed", 3 * KWH_UC)
    with pytest.raises(key_change.Unused, match=f"{kept.id}, {typed.id}"):
        change(pair, 2)
    sections = change(pair, 2, lose_unused=True)
    with pytest.raises(Refused, match="its log"):
        pair.replace(kept.id)
    pair.type(typed.digits)
    for section in sections:
        pair.type(section.digits)
    pair.run(60)
    assert pair.token_state(typed.id) == book.USED
    assert pair.type(kept.digits) == results.REJECTED
    pair.replace(kept.id)
    pair.until(pair.settled, 600)
    assert pair.token_state(kept.id) == book.REPLACED
    assert pair.unit.meter.account.balance_uc() == balance_uc(pair) == 8 * KWH_UC


def test_a_key_change_waits_for_what_is_being_taken_back(pair: TokenPair) -> None:
    row = pair.vend("t", KWH_UC)
    pair.void(row.id)
    with pytest.raises(key_change.Unused):
        change(pair, 2, lose_unused=True)
    pair.run(30)
    assert len(change(pair, 2)) == 4


def test_a_token_that_was_reserved_before_a_key_change_is_made_under_the_new_key(pair: TokenPair) -> None:
    row = pair.reserve("t", KWH_UC)
    for section in change(pair, 2, lose_unused=True):
        pair.type(section.digits)
    made = pair.make(row.id)
    assert (made.key_revision, pair.type(made.digits)) == (2, results.ACCEPTED)


# --- limits of the meter ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "amount_uc", "said"),
    [({"typed_cap_uc": 0}, KWH_UC, "typed_cap"), ({"typed_cap_uc": KWH_UC}, 2 * KWH_UC, "at most 1.0 kWh")],
)
def test_what_the_limits_would_never_let_be_typed_is_not_sold(
    pair: TokenPair, limits: dict[str, int], amount_uc: int, said: str
) -> None:
    held = bodies.decode_limits(LIMITS)
    for name, value in limits.items():
        setattr(held, name, value)
    pair.write(statements.set_limits, METER, held, "operator:ann")
    with pytest.raises(Refused, match=said):
        pair.reserve("t", amount_uc)
    assert pair.store.read(payments.get, CHANNEL, "t") is None


def test_a_repeated_sale_is_found_whatever_has_changed_since(pair: TokenPair) -> None:
    row = pair.vend("t", KWH_UC)
    hold(pair, key_expiry=0)
    again, repeated = pair.write(vending.vend, CHANNEL, "t", METER, KWH_UC)
    assert (again.id, again.digits, repeated) == (row.id, row.digits, True)
