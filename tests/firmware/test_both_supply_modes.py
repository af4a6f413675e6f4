"""Disconnect control of class 70, mode by mode: the table, what a mode refuses, who closes."""

from meter import transitions
from meterlink import bodies, orders, reasons, results
from tests.firmware.ramboard import Rig
from tests.firmware.supply_bench import OFF, ON, READY, limits_of

ARREARS, SAFETY, PROTECTION = reasons.HOLD_ARREARS, reasons.HOLD_SAFETY, reasons.HOLD_PROTECTION
DIRECT, PERMIT = bodies.CLOSE_DIRECT, bodies.CLOSE_PERMIT
MODES = (0, 2, 3, 4, 6)
RICH_UC = 1_000_000_000

# The standard's table: mode | remote off | manual off | local off | remote on | manual on | local on.
CLASS_70 = """
2 | b c | f | g | a | e | -
3 | b c | - | g | d | e | -
4 | b c | - | g | a | e | -
6 | b c | - | g | d | e | h
"""
LETTERS = {"a": (0, 1), "b": (1, 0), "c": (2, 0), "d": (0, 2), "e": (2, 1), "f": (1, 2), "g": (1, 2), "h": (2, 1)}
COLUMNS = (
    (transitions.REMOTE_OFF,),
    (transitions.MANUAL_OFF,),
    (transitions.LOCAL_OFF,),
    (transitions.REMOTE_ON, transitions.REMOTE_PERMIT),
    (transitions.MANUAL_ON,),
    (transitions.LOCAL_ON,),
)


def listed():
    """{(mode, trigger, from): to} as the standard's table has it; a remote on is a (to 1) or d (to 2)."""
    found = {}
    for line in CLASS_70.strip().split("\n"):
        cells = [cell.strip() for cell in line.split("|")]
        for triggers, cell in zip(COLUMNS, cells[1:]):
            for letter in cell.replace("-", "").split():
                start, end = LETTERS[letter]
                trigger = transitions.REMOTE_PERMIT if letter == "d" else triggers[0]
                found[int(cells[0]), trigger, start] = end
    return found


def test_every_transition_of_every_mode_is_the_standard_s():
    table = listed()
    assert len(table) == 6 + 5 + 5 + 6
    for mode in (2, 3, 4, 6):
        for triggers in COLUMNS:
            for trigger in triggers:
                for control in (OFF, ON, READY):
                    assert transitions.target(trigger, control, mode) == table.get((mode, trigger, control), -1)


def test_mode_0_lists_all_but_manual_off():
    for letter, trigger, start, end in transitions.TRANSITIONS:
        assert LETTERS[letter] == (start, end)
        assert transitions.target(trigger, start, 0) == (-1 if letter == "f" else end)


def test_a_limit_order_knows_these_modes():
    assert set(bodies.SUPPLY_MODES) == set(transitions.MODES)


def rig_of(mode, **limits):
    rig = Rig(limits=limits_of(supply_mode=mode, **limits), credit_uc=RICH_UC)
    rig.run(20)
    return rig


def off(rig, reason=ARREARS):
    assert rig.give(rig.hold(reason)) == results.APPLIED
    rig.run(rig.limits.trip_delay_s + rig.limits.dwell_s + 1)
    assert not rig.board.closed
    return rig


def test_a_release_that_the_mode_does_not_list_is_refused_and_changes_nothing():
    """OP-ORD-60"""
    for mode in MODES:
        for close, letter in ((DIRECT, "a"), (PERMIT, "d")):
            for reason in (ARREARS, SAFETY):
                rig = off(rig_of(mode), reason)
                before = rig.contents()
                code = rig.give(rig.release(reason, close))
                if letter in transitions.MODES[mode]:
                    assert code == results.APPLIED
                    continue
                assert code == results.NOT_IN_MODE and rig.contents() == before
                rig.run(100)
                assert not rig.board.closed and rig.report().holds == 1 << reason


def test_the_end_of_protection_closes_nothing_so_no_mode_refuses_it():
    for mode in MODES:
        rig = rig_of(mode)
        assert rig.give(rig.hold(PROTECTION, not_after_s=0)) == results.APPLIED
        for close in (DIRECT, PERMIT):
            later_s = rig.board.unix_s + 100
            assert rig.give(rig.release(PROTECTION, close, not_after_s=later_s)) == results.APPLIED


def test_a_release_as_the_mode_lists_it_brings_supply_back():
    for mode in MODES:
        rig = off(rig_of(mode))
        direct = "a" in transitions.MODES[mode]
        rig.give(rig.release(ARREARS, DIRECT if direct else PERMIT))
        rig.run(30)
        assert rig.board.closed == direct and rig.report().control == (ON if direct else READY)
        rig.meter.press_connect()
        rig.run(3)
        assert rig.board.closed


def test_safety_asks_for_the_key_in_every_mode():
    """OP-ORD-44"""
    for mode in MODES:
        rig = off(rig_of(mode), SAFETY)
        permit = "d" in transitions.MODES[mode]
        assert rig.give(rig.release(SAFETY, PERMIT if permit else DIRECT)) == results.APPLIED
        rig.run(200)
        assert not rig.board.closed
        assert rig.report().control == (READY if permit else OFF), "without d it stays disconnected"
        assert rig.meter.supply.why() == ("key", 0)
        rig.meter.press_connect()
        rig.run(3)
        assert rig.board.closed and rig.report().control == ON


def test_after_a_payment_only_a_mode_with_h_closes_by_itself():
    for mode in MODES:
        rig = Rig(limits=limits_of(supply_mode=mode))
        rig.run(90)
        assert not rig.board.closed and rig.report().control == READY
        rig.meter.press_connect()
        rig.run(5)
        assert not rig.board.closed, "no key closes without credit"
        rig.give(rig.credit(RICH_UC))
        rig.run(30)
        by_itself = "h" in transitions.MODES[mode]
        assert rig.board.closed == by_itself
        assert rig.meter.supply.why() == (("", 0) if by_itself else ("key", 0))
        rig.meter.press_connect()
        rig.run(3)
        assert rig.board.closed


def test_the_key_held_for_three_seconds_opens_in_mode_2_alone():
    for mode in MODES:
        rig = rig_of(mode)
        rig.meter.press_connect(2)
        rig.run(5)
        assert rig.board.closed, "a short press opens nothing"
        rig.meter.press_connect(3)
        rig.run(30)
        assert rig.board.closed == (mode != 2)
        if mode == 2:
            assert rig.report().control == READY and rig.meter.supply.why() == ("key", 0)
            rig.outage(5)
            rig.run(100)
            assert not rig.board.closed, "it is the customer's own will, over a restart too"
            rig.meter.press_connect()
            rig.run(15)
            assert rig.board.closed


def test_a_change_of_mode_with_the_relay_off_leaves_a_way_back():
    for before in MODES:
        for after in MODES:
            rig = off(rig_of(before))
            listed_close = DIRECT if "a" in transitions.MODES[before] else PERMIT
            rig.give(rig.hold(SAFETY))
            rig.give(rig.release(SAFETY, listed_close))
            wanted = limits_of(supply_mode=after)
            assert rig.give(rig.order(orders.ASPECT_LIMITS, wanted.encode())) == results.APPLIED
            rig.run(5)
            close = DIRECT if "a" in transitions.MODES[after] else PERMIT
            assert rig.give(rig.release(ARREARS, close)) == results.APPLIED
            rig.run(15)
            assert not rig.board.closed, "the safety release still asks for the key"
            rig.meter.press_connect()
            rig.run(3)
            assert rig.board.closed
