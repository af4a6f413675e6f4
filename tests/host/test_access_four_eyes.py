"""Who approves is another person, and no hand of the author's; on both databases."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from headend.access import four_eyes, people, rules, service_tokens
from headend.access.four_eyes import SamePerson, refuse_same
from headend.access.service_tokens import Terms
from headend.ledger import channels
from headend.refusals import Refused
from headend.store import Store
from tests import sqlite
from tests.host.books import NOW_S
from tests.host.people_rig import add, password_hash


@pytest.fixture
def office(any_store: Store) -> Iterator[Store]:
    """The administrator made four people; dispatcher dong made mei."""

    def set_up(conn: Connection) -> None:
        add(conn, "admin", ("administrator", ""))
        for name, role in (("dong", "dispatcher"), ("li", "approver"), ("wang", "approver"), ("zhou", "cashier")):
            add(conn, name, (role, ""), by="user:admin")
        add(conn, "mei", ("approver", ""), by="user:dong")

    any_store.write(set_up).result()
    yield any_store


@pytest.mark.parametrize(
    ("author", "approver", "fine"),
    [
        ("user:dong", "user:li", True),
        ("user:li", "user:wang", True),
        ("system", "user:li", True),
        ("user:dong", "user:dong", False),
        ("user:dong", "user:mei", False),  # he made her account
        ("user:mei", "user:dong", False),
        ("user:admin", "user:li", False),
        ("user:li", "user:admin", False),
        ("user:admin", "user:mei", False),  # through dong
        ("channel:desk.zhou", "user:zhou", False),
        ("channel:desk.zhou", "user:li", True),
        ("user:dong", "channel:bank", False),
        ("user:dong", "system", False),
    ],
)
def test_who_may_approve_whose(office: Store, author: str, approver: str, fine: bool) -> None:
    if fine:
        office.read(refuse_same, author, approver)
        return
    with pytest.raises(SamePerson, match="approver"):
        office.read(refuse_same, author, approver)


def test_whoever_granted_or_reset_counts_ever_after(office: Store) -> None:
    """The grant is ended before the approval; it counts all the same. So does a new password."""
    granted = office.write(people.grant, NOW_S, "user:wang", "li", "safety").result()
    office.write(people.end_grant, NOW_S, "user:wang", "li", granted.id).result()
    with pytest.raises(SamePerson):
        office.read(refuse_same, "user:li", "user:wang")
    office.write(people.reset, NOW_S, "user:mei", "zhou", password_hash()).result()
    with pytest.raises(SamePerson):
        office.read(refuse_same, "user:mei", "user:zhou")


def test_who_saw_a_channels_token_does_not_approve_what_it_did(office: Store) -> None:
    terms = Terms(("orders",), 0)
    office.write(service_tokens.add, NOW_S, "user:admin", "scada", channels.new_token(os.urandom), terms).result()
    with pytest.raises(SamePerson):
        office.read(refuse_same, "channel:scada", "user:admin")
    office.write(service_tokens.rotate, NOW_S, "user:wang", "scada", channels.new_token(os.urandom)).result()
    with pytest.raises(SamePerson):
        office.read(refuse_same, "channel:scada", "user:wang")


def test_one_person_may_approve_after_a_delay_where_the_utility_says_so(office: Store) -> None:
    with pytest.raises(Refused, match="at least 3600"):
        office.write(rules.put, NOW_S, "user:admin", "one_person_delay_s", 60).result()
    office.write(rules.put, NOW_S, "user:admin", "one_person_delay_s", 7200).result()

    def own(waited_s: int) -> None:
        office.read(lambda conn: refuse_same(conn, "user:dong", "user:dong", waited_s=waited_s))

    with pytest.raises(SamePerson):
        own(7199)
    own(7200)
    office.write(rules.put, NOW_S + 9, "user:admin", "one_person_delay_s", 0).result()
    with pytest.raises(SamePerson):
        own(10**6)


NAMES = [f"p{number}" for number in range(6)]
MADE = st.lists(st.tuples(st.sampled_from(NAMES), st.booleans(), st.sampled_from(NAMES)))


class Undo(Exception):
    """The end of an example: nothing of it stays."""


@pytest.fixture(scope="module")
def blank() -> Iterator[Store]:
    with sqlite.open_new("sqlite://") as store:
        yield store


@settings(max_examples=40, deadline=None)
@given(makers=st.lists(st.integers(0, 5), min_size=5, max_size=5), later=MADE)
def test_no_order_of_making_lets_one_hand_approve_for_the_other(
    blank: Store, makers: list[int], later: list[tuple[str, bool, str]]
) -> None:
    """Whatever was made by whom: who is reached from the other over makers may not approve, and both ways alike."""

    def example(conn: Connection) -> None:
        by: dict[str, set[str]] = {NAMES[0]: set()}
        add(conn, NAMES[0])
        for number, maker in enumerate(makers, 1):
            known = NAMES[maker % number]
            add(conn, NAMES[number], by=f"user:{known}")
            by[NAMES[number]] = {known}
        for who, ended, whom in later:
            if who != whom:
                granted = people.grant(conn, NOW_S, f"user:{who}", whom, "viewer", who)
                by[whom].add(who)
                if ended:
                    people.end_grant(conn, NOW_S, f"user:{who}", whom, granted.id)
        for one in NAMES:
            for other in NAMES:
                related = one == other or one in reached(by, other) or other in reached(by, one)
                assert refused(conn, one, other) == refused(conn, other, one) == related
        raise Undo

    with pytest.raises(Undo):
        blank.write(example).result()


def reached(by: dict[str, set[str]], name: str) -> set[str]:
    found, todo = set[str](), [name]
    while todo:
        new = by[todo.pop()] - found
        found |= new
        todo += new
    return found


def refused(conn: Connection, author: str, approver: str) -> bool:
    try:
        refuse_same(conn, f"user:{author}", f"user:{approver}")
    except SamePerson:
        return True
    return False


def test_makers_of_a_person_end_at_the_machine(office: Store) -> None:
    assert office.read(four_eyes.makers, "user:mei") == {"user:dong", "user:admin"}
