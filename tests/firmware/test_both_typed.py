"""Typed tokens at the meter: every result by its name, what each token does, and that each is used once."""

from meter import eventlog, tids, typed
from meterlink import bodies, events, orders, reasons, states
from meterlink.bodies import MAX_UC
from meterlink.sts import issue, results
from meterlink.sts.token import (
    CLEAR_CREDIT,
    CLEAR_TAMPER,
    CREDIT,
    MANAGE,
    SET_POWER,
    SET_TARIFF,
    SET_UNBALANCE,
    SET_WATER_FACTOR,
    SUPPLY_HELP,
)
from tests.firmware.tokens import ATTRIBUTES, KEY, KWH_UC, NEW_KEY, TID, TypedRig, sections, token

DAY_S = 86_400


def untouched(rig, code, digits):
    """The token is refused with this code, and nothing but an event may have changed."""
    before = rig.contents(), rig.meter.typed.state(), rig.meter.store.journal.sequence
    assert rig.enter(digits) == code
    assert (rig.contents(), rig.meter.typed.state(), rig.meter.store.journal.sequence) == before
    assert rig.meter.typed.last.amount_uc == 0
    return True


# -- credit ------------------------------------------------------------------------------------------------------------


def test_credit_is_durable_and_used_once():
    rig = TypedRig()
    assert rig.type(TID, 255) == results.ACCEPTED
    last = rig.meter.typed.last
    assert (last.token_class, last.subclass, last.tid, last.amount_uc) == (0, 0, TID, 25_500_000)
    assert rig.report(orders.ASPECT_CREDIT, orders.SOURCE_TYPED).credited_uc == 25_500_000
    for _ in range(2):
        assert rig.meter.account.totals(orders.SOURCE_TYPED) == (25_500_000, 0)
        assert untouched(rig, results.USED, token(TID, 255))
        rig.outage(3)
    told = rig.events()
    assert (events.TOKEN_TYPED, TID, 0) in told
    assert (events.CREDIT_APPLIED, 25_500, orders.SOURCE_TYPED) in told


def test_the_whole_range_of_amounts():
    for units in (0, 1, 16_383, 16_384, 180_223, 18_201_624):
        rig = TypedRig()
        assert rig.type(TID, units) == results.ACCEPTED
        stands = issue.register_of(units)
        expected_uc = {16_384: 16_384, 180_223: 180_224}.get(units, units) * 100_000
        assert rig.meter.account.balance_uc() == expected_uc, (units, stands)


def test_typed_credit_stands_beside_eight_sources():
    rig = TypedRig()
    for source in range(1, 9):
        assert rig.give(rig.credit(KWH_UC, source=source)) == 1
    assert rig.type() == results.ACCEPTED
    assert rig.meter.account.credited_uc == 9 * KWH_UC


def test_credit_ends_a_trip_for_want_of_it():
    rig = TypedRig()
    rig.board.watts = 3600
    assert rig.type(TID, 1) == results.ACCEPTED
    rig.run(400)
    assert not rig.board.closed
    assert rig.type(TID + 1, 100) == results.ACCEPTED
    rig.run(30)
    assert rig.board.closed


def test_out_of_order_and_the_oldest_gives_way():
    rig = TypedRig()
    order = [TID + 10 * (7 * n % tids.PLACES) for n in range(tids.PLACES)]
    for tid in order:
        assert rig.type(tid, 1) == results.ACCEPTED
    for tid in order:
        assert rig.type(tid, 1) == results.USED
    assert rig.type(TID - 1, 1) == results.OLD
    assert rig.type(TID + 5, 1) == results.ACCEPTED, "within what is remembered"
    assert rig.type(TID, 1) == results.OLD, "it gave way"
    assert rig.type(TID + 5, 1) == results.USED
    rig.outage()
    assert rig.type(TID + 4, 1) == results.OLD
    assert rig.type(TID + 5, 1) == results.USED
    assert rig.type(TID + 1_000_000, 1) == results.ACCEPTED, "a time to come is no reason"
    assert rig.meter.account.balance_uc() == (tids.PLACES + 2) * KWH_UC // 10


def test_credit_of_another_unit_stays_good():
    rig = TypedRig()
    for subclass in (1, 2, 3):
        assert untouched(rig, results.WRONG_UNIT, token(subclass=subclass))
    for subclass in (4, 5, 6, 7):
        digits = issue.once(KEY, CREDIT, subclass, 0, TID, 1, True)
        assert untouched(rig, results.WRONG_UNIT, digits)
    money = TypedRig(currency=156)
    assert untouched(money, results.WRONG_UNIT, token())
    assert money.meter.typed.lockout.wrong == 0


def test_a_key_that_has_expired():
    for ken, code in ((TID >> 16, results.ACCEPTED), ((TID >> 16) - 1, results.KEY_EXPIRED)):
        rig = TypedRig(attributes=ATTRIBUTES[:4] + (ken,) + ATTRIBUTES[5:])
        assert rig.type() == code
    assert rig.meter.typed.lockout.wrong == 0
    assert rig.type((TID >> 16 << 16) - 1) == results.ACCEPTED, "the last minute before it"


def test_credit_above_the_limit_is_usable_later():
    rig = TypedRig(credit_limit_uc=20 * KWH_UC)
    assert rig.type(TID, 150) == results.ACCEPTED
    assert untouched(rig, results.OVERFLOW, token(TID + 1, 51))
    assert rig.type(TID + 2, 50) == results.ACCEPTED, "to the limit itself"
    assert untouched(rig, results.OVERFLOW, token(TID + 1, 51))
    rig.board.watts = 36_000
    rig.run(510)
    assert rig.type(TID + 1, 51) == results.ACCEPTED


def test_no_more_than_the_cap_in_any_thirty_days():
    rig = TypedRig(typed_cap_uc=100 * KWH_UC)
    taken = []  # (second, amount)
    tid = TID
    for _ in range(70):
        tid += 1440
        code = rig.type(tid, 200)
        now_s = rig.meter.now_s()
        inside_uc = sum([amount for second, amount in taken if now_s - second < 30 * DAY_S])
        if code == results.ACCEPTED:
            taken.append((now_s, 20 * KWH_UC))
            assert inside_uc + 20 * KWH_UC <= 100 * KWH_UC
        else:
            assert code == results.CAPPED
            longer_uc = sum([amount for second, amount in taken if now_s - second < 35 * DAY_S])
            assert longer_uc + 20 * KWH_UC > 100 * KWH_UC, "refused with reason"
        rig.run(DAY_S, DAY_S)
        if tid % 7 == 0:
            rig.outage(60)
    assert 10 <= len(taken) <= 15, "two months and a bit"


def test_a_capped_token_stays_good():
    rig = TypedRig(typed_cap_uc=10 * KWH_UC)
    assert rig.type(TID, 100) == results.ACCEPTED
    assert rig.type(TID + 1, 1) == results.CAPPED
    rig.run(36 * DAY_S, DAY_S)
    assert rig.type(TID + 1, 1) == results.ACCEPTED


def test_off():
    """Off by the limits, without a key, before commissioning, after the account: not looked at, and no guess."""
    off = TypedRig(typed_cap_uc=0)
    keyless = TypedRig(key=None)
    new = TypedRig(commission=False)
    shut = TypedRig()
    shut.meter.supply.retired = True
    lost = TypedRig()
    lost.meter.history_lost = True
    for rig in (off, keyless, new, shut, lost):
        for digits in (token(), token(key=bytes(16)), sections()[0]):
            assert untouched(rig, results.OFF, digits)
        assert rig.enter("56493153725450313471") == results.DISPLAY
        assert rig.enter("5649") == results.MALFORMED
        assert rig.meter.typed.lockout.wrong == 0


def test_what_is_no_token_is_no_guess():
    rig = TypedRig()
    for digits in ("", "1", "1" * 19, "1" * 21, "9" * 20, "x" * 20, "1234567890123456789-"):
        assert untouched(rig, results.MALFORMED, digits)
    assert rig.meter.typed.lockout.wrong == 0 and rig.meter.typed.count == 7


def test_a_token_of_another_meter_or_with_a_typing_mistake():
    rig = TypedRig()
    good = token()
    for digits in (token(key=NEW_KEY), good[:-1] + str((int(good[-1]) + 1) % 10), good[1] + good[0] + good[2:]):
        if digits != good:
            rig.run(2000, 2000)
            assert rig.enter(digits) in (results.REJECTED, results.MALFORMED)
    rig.run(2000, 2000)
    assert rig.enter(good) == results.ACCEPTED


def test_what_this_meter_does_not_do():
    rig = TypedRig()
    for subclass in (SET_TARIFF, SET_UNBALANCE, SET_WATER_FACTOR):
        assert untouched(rig, results.NOT_IMPLEMENTED, token(token_class=MANAGE, subclass=subclass))
    for register in (0x2001, 0x0001, 0x1000, 0xF123):
        digits = token(token_class=MANAGE, subclass=SUPPLY_HELP, register=register)
        assert untouched(rig, results.NOT_IMPLEMENTED, digits)
    assert rig.meter.typed.lockout.wrong == 0


# -- settings ----------------------------------------------------------------------------------------------------------


def test_maximum_power_trips_and_supply_returns():
    rig = TypedRig()
    rig.type(TID, 10_000)
    rig.board.watts = 2000
    rig.run(60)
    assert rig.type(TID + 1, 1500, MANAGE, SET_POWER) == results.ACCEPTED
    rig.run(20)
    assert not rig.board.closed and rig.meter.supply.causes >> reasons.CAUSE_OVERLOAD & 1
    rig.outage()
    assert rig.meter.supply.power_limit_w == 1500
    rig.board.watts = 1500
    rig.run(120)
    assert not rig.board.closed, "after an overload the customer closes"
    rig.meter.press_connect()
    rig.run(60)
    assert rig.board.closed
    rig.run(300)
    assert rig.board.closed, "at the limit itself"
    assert rig.type(TID + 2, 0, MANAGE, SET_POWER) == results.ACCEPTED
    rig.board.watts = 20_000
    rig.run(60)
    assert rig.board.closed and rig.meter.supply.power_limit_w == 0


def test_maximum_power_where_none_is_measured():
    rig = TypedRig()
    rig.board.power_w = lambda: 0xFFFFFFFF
    assert untouched(rig, results.NOT_IMPLEMENTED, token(TID, 1500, MANAGE, SET_POWER))


def test_credit_is_cleared():
    for register, code in ((0, results.ACCEPTED), (0xFFFF, results.ACCEPTED), (1, results.WRONG_UNIT)):
        rig = TypedRig()
        rig.type(TID, 100)
        assert rig.type(TID + 1, 0, MANAGE, CLEAR_CREDIT, register) == code
        cleared = code == results.ACCEPTED
        assert rig.meter.account.balance_uc() == (0 if cleared else 10 * KWH_UC)
        assert rig.report().adjusted_uc == (10 * KWH_UC if cleared else 0)
    money = TypedRig(currency=156)
    money.give(money.credit(KWH_UC))
    assert money.type(TID, 0, MANAGE, CLEAR_CREDIT, 0) == results.WRONG_UNIT
    assert money.type(TID, 0, MANAGE, CLEAR_CREDIT, 0xFFFF) == results.ACCEPTED
    assert money.meter.account.balance_uc() == 0


def test_a_debt_is_not_cleared():
    rig = TypedRig()
    rig.type(TID, 1)
    rig.board.watts = 36_000
    rig.run(40)
    debt_uc = rig.meter.account.balance_uc()
    assert debt_uc < 0
    assert rig.type(TID + 1, 0, MANAGE, CLEAR_CREDIT, 0xFFFF) == results.ACCEPTED
    assert rig.meter.account.balance_uc() == debt_uc and rig.meter.account.adjusted_uc == 0


def test_tamper_is_cleared():
    rig = TypedRig()
    rig.meter.note(events.FLASH_DAMAGED)
    rig.run(2)
    assert rig.report().latches == 1 << states.LATCH_FLASH_DAMAGED
    assert rig.type(TID, 0, MANAGE, CLEAR_TAMPER) == results.ACCEPTED
    rig.outage()
    assert rig.report().latches == 0
    assert (events.LATCHES_CLEARED, 1 << states.LATCH_FLASH_DAMAGED, 0) in rig.events()
    assert rig.type(TID, 0, MANAGE, CLEAR_TAMPER) == results.USED


def test_help_for_a_customer_whose_link_is_dead():
    rig = TypedRig()
    rig.type(TID, 1000)
    assert rig.give(rig.hold(reasons.HOLD_ARREARS)) == 1
    assert rig.give(rig.hold(reasons.HOLD_TAMPER)) == 1
    rig.run(100)
    assert not rig.board.closed
    release = token(TID + 1, 0, MANAGE, SUPPLY_HELP, 0)
    assert rig.enter(release) == results.ACCEPTED
    rig.outage()
    assert rig.meter.supply.holds == 1 << reasons.HOLD_TAMPER, "arrears and nothing else"
    assert rig.enter(release) == results.USED
    assert rig.give(rig.release(reasons.HOLD_TAMPER)) == 1
    rig.run(20)
    assert not rig.board.closed
    rig.meter.press_connect()
    rig.run(20)
    assert rig.board.closed


def test_a_typed_allowance_covers_what_it_says():
    rig = TypedRig()
    rig.board.watts = 36_000  # 10 Wh a second
    rig.run(100)
    assert not rig.board.closed
    assert rig.type(TID, 0, MANAGE, SUPPLY_HELP, 0x1000 | 5) == results.ACCEPTED
    started_wh = rig.meter.energy.import_wh
    rig.outage()
    assert rig.meter.allowance.until_wh() == started_wh + 500
    rig.run(200)
    used_wh = rig.meter.energy.import_wh - started_wh
    assert not rig.board.closed and 500 <= used_wh <= 500 + 10 * (60 + 2), "then it trips after its delay"
    assert rig.type(TID, 0, MANAGE, SUPPLY_HELP, 0x1000 | 5) == results.USED


# -- key changes -------------------------------------------------------------------------------------------------------


def test_four_sections_in_any_order_take_effect_together():
    for first in range(4):
        for step in (1, 3):
            rig = TypedRig()
            assert rig.type(TID, 100) == results.ACCEPTED
            made = sections()
            for n in range(4):
                assert rig.meter.typed.key == KEY
                code = rig.enter(made[(first + step * n) % 4])
                assert code == (results.ACCEPTED if n == 3 else results.SECTION_STORED)
                rig.outage()
            assert rig.meter.typed.key == NEW_KEY and rig.meter.typed.attributes == (123457, 2, 2, 2, 255, 1)
            assert rig.meter.account.balance_uc() == 10 * KWH_UC, "credit stays"
            assert rig.type(TID + 1) == results.REJECTED, "a token under the old key"
            assert rig.type(TID, key=NEW_KEY) == results.ACCEPTED, "what was taken is remembered by key"
            assert rig.type(TID, key=NEW_KEY) == results.USED
            assert (events.KEYS_CHANGED, 0, 18) in rig.events()


def test_a_rollover_begins_the_next_base_date():
    rig = TypedRig()
    for digits in sections(base=2035, ken=10, rollover=True):
        rig.enter(digits)
    assert rig.meter.typed.attributes == (123457, 2, 2, 2, 10, 2)
    assert rig.type(5, key=NEW_KEY) == results.ACCEPTED, "time begins anew"
    for digits in sections(NEW_KEY, bytes(range(16)), 3, base=2035, rollover=True):
        rig.enter(digits)
    assert rig.meter.typed.attributes[5] == 2, "there is none after 2035"


def test_a_key_with_attributes_that_none_has_is_not_taken():
    rig = TypedRig()
    made = sections()
    for n, data in enumerate((0, 0x64 << 32, 0xFFF << 32)):  # revision 0, tariff index 100, a group of 7 digits
        subclass, place = ((3, 0), (4, 1), (9, 3))[n]
        bad = issue._digits(KEY, MANAGE, subclass, data)
        for digits in made[:place] + made[place + 1 :]:
            assert rig.enter(digits) == results.SECTION_STORED
        assert rig.enter(bad) == results.NOT_IMPLEMENTED
        assert rig.meter.typed.key == KEY and rig.meter.typed.sections_stored() == 0
        assert rig.meter.typed.lockout.wrong == 0


def test_the_expiry_of_a_key_can_be_moved_without_forgetting():
    rig = TypedRig(attributes=ATTRIBUTES[:4] + (TID >> 16,) + ATTRIBUTES[5:])
    assert rig.type() == results.ACCEPTED
    later = (TID >> 16) + 1 << 16
    assert rig.type(later) == results.KEY_EXPIRED
    for digits in sections(new=KEY, krn=1, ti=1):
        rig.enter(digits)
    assert rig.type() == results.USED
    assert rig.type(later) == results.ACCEPTED


def test_a_key_that_comes_back_gives_no_token_back():
    rig = TypedRig()
    assert rig.type(TID + 7) == results.ACCEPTED
    for old, new, krn in ((KEY, NEW_KEY, 2), (NEW_KEY, KEY, 1)):
        for digits in sections(old, new, krn):
            assert rig.enter(digits) in (results.SECTION_STORED, results.ACCEPTED)
        rig.outage()
    assert rig.type(TID + 7) == results.OLD
    assert rig.type(TID) == results.OLD, "the meter cannot tell any more"
    assert rig.type(TID + 8) == results.ACCEPTED
    third = bytes(range(16))
    for digits in sections(new=third, krn=3):
        rig.enter(digits)
    assert rig.type(TID, key=third) == results.ACCEPTED, "a new key begins with nothing"


def test_a_section_typed_again_writes_nothing():
    rig = TypedRig()
    first = sections()[0]
    assert rig.enter(first) == results.SECTION_STORED
    sequence = rig.meter.store.journal.sequence
    for _ in range(20):
        assert rig.enter(first) == results.SECTION_STORED
    assert rig.meter.store.journal.sequence == sequence
    assert rig.meter.typed.sections_stored() == 1


def test_sections_of_two_changes_make_no_key():
    rig = TypedRig()
    one, other = sections(), sections(new=bytes(range(16)), krn=3)
    assert [rig.enter(digits) for digits in one[:3]] == [results.SECTION_STORED] * 3
    assert rig.enter(other[0]) == results.SECTION_STORED, "another change begins"
    assert rig.enter(one[3]) == results.SECTION_STORED
    assert rig.meter.typed.key == KEY


def test_a_section_left_from_an_older_change_is_forgotten():
    rig = TypedRig()
    assert rig.enter(sections(new=bytes(range(16)), krn=3)[3]) == results.SECTION_STORED
    rig.run(typed.SECTIONS_S + 1, 600)
    codes = [rig.enter(digits) for digits in sections()]
    assert codes == [results.SECTION_STORED] * 3 + [results.ACCEPTED]
    assert rig.meter.typed.key == NEW_KEY, "and not one that is mixed of both"


def test_an_order_changes_the_decoder_key():
    """What `apply` does with the key of a `keys` order: the memory is the key's, whoever changes it."""
    rig = TypedRig()
    assert rig.type() == results.ACCEPTED
    rig.enter(sections()[0])
    meter = rig.meter
    before = meter.typed.state()
    meter.typed.set_decoder(NEW_KEY, (1, 2, 3, 4, 200, 1))
    assert meter.commit(meter.typed.items(before), True)
    rig.outage()
    assert rig.meter.typed.attributes == (1, 2, 3, 4, 200, 1)
    assert rig.meter.typed.sections_stored() == 0, "they were of the old key"
    assert rig.type(key=NEW_KEY) == results.ACCEPTED


# -- orders that replace tokens ----------------------------------------------------------------------------------------


def test_a_token_that_an_order_replaces():
    rig = TypedRig()
    meter = rig.meter
    assert rig.type(TID) == results.ACCEPTED
    assert meter.typed.state_of(1, TID) == tids.TYPED
    assert meter.typed.state_of(2, TID) == tids.UNKNOWN, "of a key that is not in force"
    before = meter.typed.state()
    for tid in (TID + 1, TID + 2):
        assert meter.typed.state_of(1, tid) == tids.UNKNOWN
        meter.typed.mark(1, tid)
    assert meter.commit(meter.typed.items(before), True)
    rig.outage()
    for tid in (TID + 1, TID + 2):
        assert rig.meter.typed.state_of(1, tid) == tids.ORDERED
        assert rig.type(tid) == results.USED
        assert (events.TOKEN_REPLACED, tid, 0) in rig.events()
    assert rig.meter.account.balance_uc() == KWH_UC


def test_a_mark_that_could_not_be_stored_is_taken_back():
    rig = TypedRig()
    before = rig.meter.typed.state()
    rig.meter.typed.mark(1, TID)
    rig.meter.typed.restore(before)
    assert rig.type(TID) == results.ACCEPTED


def test_after_a_lost_history_what_was_issued_before_is_old():
    rig = TypedRig()
    rig.meter.typed.forget_until(rig.meter.now_s())
    assert rig.type(TID) == results.OLD
    assert rig.meter.typed.state_of(1, TID) == tids.TYPED, "an order may not replace it either"
    assert rig.type(TID + 1) == results.ACCEPTED


# -- flash and the log -------------------------------------------------------------------------------------------------


def test_a_token_that_cannot_be_stored_stays_good():
    rig = TypedRig()
    assert rig.type(TID, 10) == results.ACCEPTED
    assert rig.give(rig.hold(reasons.HOLD_ARREARS)) == 1
    before = rig.meter.typed.state(), rig.meter.account.state(), rig.meter.supply.state(), rig.meter.allowance.state()
    for sector in range(rig.board.flash.sectors):
        rig.board.flash.wear_out(sector)
    tried = [token(TID + 1, 20), token(TID + 2, 1000, MANAGE, SET_POWER), token(TID + 3, 0, MANAGE, CLEAR_CREDIT, 0)]
    tried += [token(TID + 4 + n, 0, MANAGE, SUPPLY_HELP, register) for n, register in enumerate((0, 0x1001))]
    tried += [sections()[0]]
    for digits in tried:
        assert rig.enter(digits) == results.STORAGE_FAILED
        assert rig.meter.typed.last.amount_uc == 0
    after = rig.meter.typed.state(), rig.meter.account.state(), rig.meter.supply.state(), rig.meter.allowance.state()
    assert after == before
    for sector in range(rig.board.flash.sectors):
        rig.board.flash.wear_out(sector, 0)
    rig.run(130)
    assert rig.enter(tried[0]) == results.ACCEPTED
    assert rig.meter.account.balance_uc() == 3 * KWH_UC


def test_refusals_wear_no_flash_and_do_not_flood_the_log():
    rig = TypedRig()
    assert rig.type() == results.ACCEPTED
    sequence, newest = rig.meter.store.journal.sequence, rig.meter.store.events.newest
    for _ in range(600):
        assert rig.type() == results.USED
        rig.run(1)
    assert rig.meter.store.journal.sequence - sequence <= 600 // 60 + 1, "checkpoints"
    told = [code for code, _, _ in rig.events()[newest:]]
    assert 1 <= told.count(events.TOKEN_REFUSED) <= eventlog.NUISANCE_BURST + 1


def test_the_largest_commit_of_a_token_fits():
    """Every source, every place of the memory, more events than wait, an interval that closes."""
    rig = TypedRig(credit_limit_uc=MAX_UC)
    for source in range(1, 9):
        rig.give(rig.credit(KWH_UC, source=source))
    for n in range(tids.PLACES):
        rig.type(TID + n, 1)
    for digits in sections()[:3]:
        rig.enter(digits)
    rig.meter.close_period(rig.meter.now_s(), 0, 0)
    for _ in range(10):
        rig.meter.note(events.PULSES_IMPOSSIBLE, 1)
    assert rig.type(TID + 100, 1) == results.ACCEPTED
    rig.meter.close_period(rig.meter.now_s(), 0, 0)
    for _ in range(10):
        rig.meter.note(events.PULSES_IMPOSSIBLE, 1)
    assert rig.enter(sections()[3]) == results.ACCEPTED
    assert rig.meter.typed.key == NEW_KEY


def test_provisioning_gives_the_key():
    rig = TypedRig(commission=False)
    assert rig.type() == results.OFF
    rig.meter.provision(rig.record())
    assert rig.type() == results.ACCEPTED
    rig.outage()
    assert rig.type() == results.USED
    assert bodies.decode_limits(rig.limits.encode()).typed_cap_uc == MAX_UC
