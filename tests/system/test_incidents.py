"""What went wrong elsewhere, each by the name of its incident, against the real head end and real firmware.

Some are told in full beside what they are about: `TOLD_ELSEWHERE` says where, and a name that is gone is noticed.
"""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from headend.gate import freeze, pace, policy, proposals, recall
from headend.ledger import accounts
from headend.orders import lifecycle, statements
from headend.store.schema import order, order_history
from meterlink import reasons, results, states
from meterlink.orders import ASPECT_SUPPLY
from metersim.board import FAULT_WELDED
from openprepay.simcheck.verifier import fast
from tests.system.world import METER, YUAN, World

TOLD_ELSEWHERE = {
    "one faulty command cut off 300 000 households that had paid (Uttar Pradesh, 2020)": (
        "tests/host/test_gate.py::test_one_command_for_all_is_a_list_that_passes_at_the_pace_of_the_budget",
        "tests/host/test_gate.py::test_a_list_passes_over_whoever_paid_since_it_was_proposed",
    ),
    "credit not carried over at the change to prepaid, cut off without notice (Bihar, 2022)": (
        "tests/host/test_openings.py::test_from_postpaid_to_prepaid_nobody_is_cut_off_before_notice_and_credit",
        "tests/host/test_openings.py::test_it_goes_on_where_it_was_stopped_and_books_each_line_once",
    ),
    "recharge servers down for ten days (Bihar, 2024)": (
        "tests/firmware/test_both_credit_rules.py::test_an_overdraft_covers_to_its_limit_and_there_nothing_local_restores_supply",
        "tests/firmware/test_both_credit_rules.py::test_emergency_credit_is_offered_taken_used_up_paid_back",
        "tests/system/test_typed_tokens.py::test_a_customer_buys_types_and_mistypes",
    ),
    "backfill was an empty stub, so gaps were never filled": (
        "tests/host/test_engine_reads.py::test_whatever_is_lost_on_the_way_every_record_held_is_stored_once",
        "tests/host/test_modbus_meter.py::test_a_line_that_loses_replies_loses_no_record",
    ),
    "a token was made for the wrong meter": (
        "tests/firmware/test_both_typed.py::test_a_token_of_another_meter_or_with_a_typing_mistake",
    ),
    "commands were lost at restart": (
        "tests/host/test_mqtt_traps.py::test_a_killed_process_loses_nothing_that_it_had_not_committed",
        "tests/system/test_serve.py::test_a_payment_that_was_answered_survives_a_kill",
    ),
    "energy counters fell back or jumped after a power cut": (
        "tests/firmware/test_meter_power.py::test_a_week_cut_at_every_operation",
        "tests/system/test_simcheck.py::test_a_seed_holds",
    ),
}
ROOT = Path(__file__).resolve().parents[2]
OPERATOR, MANAGER, ANYONE = "user:ann", "user:bob", "user:eve"
ARREARS, LEGAL = reasons.HOLD_ARREARS, reasons.HOLD_LEGAL
DAY_S = 86_400
STRIDE_S = 300

Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[World] = []

    def world(*meters: int, watts: int = 500) -> World:
        made.append(World(tmp_path, *meters, watts=watts))
        return made[-1]

    with fast():
        yield world
    for one in made:
        one.close()


@pytest.mark.parametrize("named", [name for names in TOLD_ELSEWHERE.values() for name in names])
def test_what_is_told_elsewhere_is_there(named: str) -> None:
    path, _, name = named.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def closed(world: World) -> int:
    """How many customers have supply."""
    return sum(point.board.closed for point in world.points.values())


def test_one_faulty_command_for_everybody_is_slow_and_is_taken_back(make: Make) -> None:
    """Uttar Pradesh, 2020. What the contacts of the meters did, from the command to the last of them closed again."""
    world = make(*range(101, 109))
    for number in world.points:
        world.pay(f"p{number}", 20 * YUAN, number)
    world.settle()
    rules = policy.Policy().rules()
    for scope in policy.SCOPES:
        rules["limits"][policy.APPROVED][scope] = {"hour": [3, 3, 0], "day": [3, 3, 0]}
    world.write(policy.put, "system", rules, "the fleet is small")
    everybody = {"meters": list(world.points), "reason": ARREARS, "delay_s": 0}
    made = world.write(proposals.propose, "stop", everybody, OPERATOR, "a wrong list")
    row = world.read(proposals.get, made)
    world.write(proposals.approve, made, row.digest, MANAGER)
    world.until(lambda: closed(world) == 5)
    world.run(300)
    assert closed(world) == 5, "the budget of the hour lets no more pass"
    world.write(freeze.set, ANYONE, "they have all paid")
    world.write(recall.recall, made, ANYONE)
    while world.write(pace.tick):
        pass
    world.run(120)
    for point in world.points.values():
        point.board.press_reconnect()
    world.until(lambda: closed(world) == 8)
    assert world.read(proposals.get, made).state == proposals.RECALLED
    world.settle()
    world.check()


def test_head_end_and_shops_are_down_for_ten_days(make: Make) -> None:
    """Bihar, 2024. Nobody is stopped by a head end that is down, nor by what it had ordered before: a stop that comes
    ten days late is no stop. Who has credit keeps supply."""
    world = make(watts=100)
    point = world.points[METER]
    world.pay("p1", 60 * YUAN)
    world.settle()
    point.deaf = True
    stop = world.write(statements.stop, METER, ARREARS, OPERATOR)
    world.run(60)
    for _ in range(10 * DAY_S // STRIDE_S):
        world.clock.advance(STRIDE_S)
        point.unit.run(STRIDE_S, STRIDE_S)
        assert point.board.closed
    for what, raw in point.lost:
        point.hear(what, raw)
    point.deaf = False
    world.until(lambda: world.state(stop) == lifecycle.EXPIRED)
    assert point.board.closed and point.account.charged_uc > 14 * YUAN
    world.settle()
    world.check()


def test_nothing_is_called_delivered_while_a_device_is_offline(make: Make) -> None:
    world = make()
    point = world.points[METER]
    point.deaf = True
    world.pay("p1", 5 * YUAN)
    stop = world.write(statements.stop, METER, LEGAL, OPERATOR, delay_s=0)
    world.run(600)
    assert world.state(stop) in (lifecycle.SENT, lifecycle.UNKNOWN) and world.on_meter() == set()
    assert not told(world, lifecycle.ACCEPTED, lifecycle.CONFIRMED)
    point.deaf = False
    world.until(lambda: world.state(stop) == lifecycle.CONFIRMED)
    assert world.on_meter() == {"p1"} and not point.board.closed


def test_commands_outlive_a_restart(make: Make) -> None:
    """Whether they were committed, signed or handed to the carrier when the process ended."""
    world = make()
    point = world.points[METER]
    point.deaf = True
    for number, seconds in enumerate((0, 1, 3, 30)):
        world.pay(f"p{number}", YUAN)
        world.run(seconds)
        world._work()  # another process on the same database
    stop = world.write(statements.stop, METER, LEGAL, OPERATOR, delay_s=0)
    world._work()
    point.deaf = False
    world.until(lambda: world.state(stop) == lifecycle.CONFIRMED)
    assert world.on_meter() == {"p0", "p1", "p2", "p3"} and point.account.credited_uc == 4 * YUAN


def test_a_meter_that_never_answers_is_asked_less_and_less_and_holds_nobody_up(make: Make) -> None:
    """A hot retry loop blocked a charger."""
    world = make(101, 102)
    silent = world.points[101]
    silent.deaf = True
    world.write(statements.stop, 101, LEGAL, OPERATOR, delay_s=0)
    world.run(1800)
    first = len(silent.lost)
    orders = [raw for what, raw in silent.lost if what == "order"]
    silent.lost.clear()
    world.run(1800)
    assert 0 < len(silent.lost) <= first
    assert len([raw for what, raw in silent.lost if what == "order"]) <= len(orders) // 2
    world.pay("p1", YUAN, 102)
    world.until(lambda: world.points[102].account.credited_uc == YUAN, 10)


def test_a_retry_credits_an_agent_and_a_customer_once(make: Make) -> None:
    world = make()
    for seconds in (0, 0, 2, 60):
        answer = world.pay("sale-1", 7 * YUAN, channel="agent-2")
        world._work()
        world.run(seconds)
    world.settle()
    assert answer.repeated
    assert world.points[METER].account.credited_uc == 7 * YUAN
    assert world.balance(accounts.of_channel("agent-2")) == -7 * YUAN
    world.check()


def test_credit_for_one_meter_is_worth_nothing_at_another(make: Make) -> None:
    """A token was made for the wrong meter; and a copy of a genuine order is played to every meter of the street."""
    world = make(101, 102)
    world.pay("p1", 9 * YUAN, 101)
    world.settle()
    other = world.points[102]
    for raw in world.points[101].orders:
        other.hear("order", raw)
        assert other.unit.meter.inbox.results[other.unit.meter.CARRIER_MQTT].code == results.WRONG_METER
    assert other.account.credited_uc == 0
    world.check()


def test_a_relay_that_was_told_to_open_is_off_when_the_meter_senses_it(make: Make) -> None:
    """A driver marked the relay as switched when the frame was sent."""
    world = make()
    point = world.points[METER]
    world.pay("p1", 9 * YUAN)
    world.settle()
    point.board.faults.add(FAULT_WELDED)
    stop = world.write(statements.stop, METER, LEGAL, OPERATOR, delay_s=0)
    world.run(300)
    assert point.unit.meter.supply.control == states.CONTROL_DISCONNECTED, "it means to"
    assert world.state(stop) == lifecycle.ACCEPTED and not told(world, lifecycle.CONFIRMED)
    point.board.faults.clear()
    point.board.closed = False
    world.until(lambda: world.state(stop) == lifecycle.CONFIRMED, 3600)


def test_a_hold_for_safety_is_taken(make: Make) -> None:
    world = make()
    stop = world.write(statements.stop, METER, reasons.HOLD_SAFETY, OPERATOR, delay_s=0)
    world.until(lambda: world.state(stop) in lifecycle.ENDS, 120)
    assert world.state(stop) == lifecycle.CONFIRMED and not world.points[METER].board.closed


def told(world: World, *among: str) -> list[int]:
    """Orders on supply, and credit, of which the history says one of these."""
    query = select(order_history.c.order_id).join(order, order.c.id == order_history.c.order_id)
    query = query.where(order_history.c.state.in_(among), order.c.aspect == ASPECT_SUPPLY)
    return list(world.read(lambda conn: conn.execute(query).scalars().all()))
