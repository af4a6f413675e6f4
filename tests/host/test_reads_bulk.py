"""Many messages at once come to what they come to one by one, and each record is stored once."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from headend.arrivals import waves
from headend.clock import ManualClock
from headend.engine import Ack, Action, Ask, Engine, Policy
from headend.intake import Message
from headend.keys.keystore import KeyStore
from headend.reads import bulk, series
from headend.store import CommitFailed, Store
from headend.store.many import among, listed
from headend.store.prepared import prepared
from headend.store.schema import lost_range, meter_state
from headend.store.schema_readings import meter_reads, reading_island
from meterlink import batches, topics
from tests.host.books import NOW_S, open_books
from tests.host.peer import Noise, Peer

METERS = (17, 18, 19)
UP = topics.UP_INTERVALS


class Fleet:
    """A head end with some meters that have made records."""

    def __init__(self, url: str = "", made: int = 60) -> None:
        options: dict[str, Any] = {"inline": True} if url else {}
        self.store = open_books(url, METERS, **options)
        self.keys = KeyStore.generate(Noise())
        self.clock = ManualClock(NOW_S)
        self.engine = Engine(self.store, self.keys, self.clock, Noise(), policy=Policy(gap_s=30))
        self.peers = {number: Peer(self.keys, self.clock, number) for number in METERS}
        for peer in self.peers.values():
            peer.record(made)

    def message(self, meter: int, first: int, count: int) -> Message:
        return meter, UP, self.peers[meter].batch(first, count), "mqtt"

    def up_many(self, messages: list[Message]) -> list[list[Action]]:
        found = []
        for one in self.engine.up_many(messages):
            assert not isinstance(one, BaseException), one
            found.append(one)
        return found

    def state(self) -> Any:
        """All that is stored of records, but for how they were cut into runs."""

        def look(conn: Connection) -> Any:
            cursors = [tuple(row) for row in conn.execute(select(meter_reads).order_by(meter_reads.c.meter))]
            islands = sorted(tuple(row) for row in conn.execute(select(reading_island)))
            lost = sorted(tuple(row) for row in conn.execute(select(lost_range)))
            return cursors, islands, lost, {meter: series.between(conn, meter, 0, 1 << 32) for meter in METERS}

        return self.store.read(look)


@pytest.fixture
def fleet(any_store_url: str) -> Iterator[Fleet]:
    made = Fleet(any_store_url)
    yield made
    made.store.close()


def acks(actions: list[Action], fleet: Fleet) -> list[int]:
    return [
        batches.read_ack(one.raw, one.meter, fleet.peers[one.meter].key)[2] for one in actions if isinstance(one, Ack)
    ]


def test_what_continues_its_log_is_stored_and_acknowledged_once_for_each_meter(fleet: Fleet) -> None:
    fleet.up_many([fleet.message(*one) for one in ((17, 1, 1), (18, 1, 1))])  # names their logs
    actions = fleet.up_many([fleet.message(*one) for one in ((17, 2, 39), (18, 2, 1), (17, 41, 20), (18, 3, 1))])
    assert [acks(one, fleet) for one in actions] == [[], [], [60], [3]]
    cursors, islands, _, found = fleet.state()
    assert [(row[0], row[2], row[3]) for row in cursors] == [(17, 60, 60), (18, 3, 3), (19, 0, 0)]
    assert ([one.seq for one in found[17]], len(found[18]), islands) == (list(range(1, 61)), 3, [])
    assert fleet.engine.counts["stored"] == 6


def test_messages_that_are_at_fault_spoil_nothing_beside_them(fleet: Fleet) -> None:
    good, forged, spoilt = (fleet.message(*one) for one in ((17, 1, 3), (18, 1, 3), (19, 1, 3)))
    forged = (18, UP, forged[2][:50] + bytes([forged[2][50] ^ 1]) + forged[2][51:], "mqtt")
    body = bytearray(b"".join(list(fleet.peers[19].intervals.values())[:3]))
    body[30] ^= 1
    spoilt = (19, UP, fleet.peers[19].batch_of(bytes(body), 1), "mqtt")
    stranger = (99, UP, good[2], "mqtt")
    other = (18, UP, good[2], "mqtt")
    actions = fleet.up_many(
        [stranger, good, forged, other, spoilt, (17, UP, b"", "mqtt"), (17, "nonsense", b"", "mqtt")]
    )
    assert [acks(one, fleet) for one in actions] == [[], [3], [], [], [1], [], []]
    counts = {name: fleet.engine.counts[name] for name in ("forged", "wrong_meter", "unknown_meter", "bad_crc_record")}
    assert counts == {"forged": 1, "wrong_meter": 1, "unknown_meter": 1, "bad_crc_record": 1}
    assert {meter: [one.seq for one in found] for meter, found in fleet.state()[3].items()} == {
        17: [1, 2, 3],
        18: [],
        19: [1, 3],
    }


def test_answers_to_questions_are_taken_together_and_lead_to_the_next_question(fleet: Fleet) -> None:
    asks: list[Ask] = []
    for peer in fleet.peers.values():
        up = fleet.engine.up(peer.number, topics.UP_REPORT, peer.report(), "mqtt")
        asks += [one for one in up if isinstance(one, Ask) and batches.read_ask(one.raw)[0] == batches.KIND_INTERVALS]
    assert len(asks) == 3
    answers: list[Message] = [(one.meter, *fleet.peers[one.meter].answer(one), "mqtt") for one in asks]
    actions = fleet.up_many(answers)
    assert [acks(one, fleet) for one in actions] == [[40], [40], [40]]
    again = [one for some in actions for one in some if isinstance(one, Ask)]
    assert [batches.read_ask(one.raw)[4:] for one in again] == [(41, 20)] * 3
    fleet.up_many(answers)
    assert fleet.engine.counts["repeated"] == 3
    fleet.up_many([(one.meter, *fleet.peers[one.meter].answer(one), "mqtt") for one in again])
    assert [row[2] for row in fleet.state()[0]] == [60, 60, 60]


def test_backfill_leaves_the_rows_alone_that_payments_wait_for(fleet: Fleet) -> None:
    """And so does a batch that comes by itself."""

    def touched(conn: Connection) -> list[int]:
        return list(conn.execute(select(meter_state.c.touched).order_by(meter_state.c.meter)).scalars())

    for peer in fleet.peers.values():
        fleet.engine.up(peer.number, topics.UP_REPORT, peer.report(), "mqtt")
    before = fleet.store.read(touched)
    asked = [one for some in fleet.up_many([fleet.message(number, 1, 10) for number in METERS]) for one in some]
    asked += fleet.engine.up(*fleet.message(17, 11, 10))
    wanted = [(one.meter, *batches.read_ask(one.raw)[4:]) for one in asked if isinstance(one, Ask)]
    assert wanted == [(17, 11, 40), (18, 11, 40), (19, 11, 40), (17, 21, 40)]
    assert fleet.store.read(touched) == before


def test_an_error_of_the_store_belongs_to_the_messages_that_met_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet()

    def full(*_: object) -> None:
        raise CommitFailed("disk full")

    monkeypatch.setattr(bulk.recent, "put", full)
    report = (18, topics.UP_REPORT, fleet.peers[18].report(), "mqtt")
    found = fleet.engine.up_many([fleet.message(17, 1, 3), report, fleet.message(19, 1, 3)])
    assert [isinstance(one, CommitFailed) for one in found] == [True, False, True]
    monkeypatch.undo()
    assert [acks(one, fleet) for one in fleet.up_many([fleet.message(17, 1, 3), fleet.message(19, 1, 3)])] == [[3], [3]]


def test_what_a_meter_says_is_taken_in_its_order() -> None:
    said = [(1, UP), (2, "report"), (1, "report"), (2, UP), (1, UP), (3, UP), (1, "events"), (2, UP)]
    found = list(waves(said))
    assert sorted(place for _, places in found for place in places) == list(range(len(said)))
    for meter in (1, 2, 3):
        order = [place for _, places in found for place in places if said[place][0] == meter]
        assert order == sorted(order)
    assert all((said[place][1] == UP) == intervals for intervals, places in found for place in places)


_SPAN = st.tuples(st.sampled_from(METERS), st.integers(1, 60), st.integers(1, 40))
_SAID = st.lists(st.one_of(_SPAN, st.sampled_from(METERS)), max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(said=_SAID, cuts=st.lists(st.integers(1, 6), min_size=12, max_size=12))
def test_many_at_once_come_to_what_they_come_to_one_by_one(said: list[Any], cuts: list[int]) -> None:
    """Batches of several meters that continue, repeat, overlap and leave gaps, and reports between them."""
    one, many = Fleet(), Fleet()
    for fleet in (one, many):
        wire: list[Message] = []
        for what in said:
            if isinstance(what, int):
                wire.append((what, topics.UP_REPORT, fleet.peers[what].report(interval_newest=60), "mqtt"))
            else:
                wire.append(fleet.message(*what))
        if fleet is one:
            for message in wire:
                fleet.engine.up(*message)
        else:
            for cut in cuts:
                fleet.up_many(wire[:cut])
                wire = wire[cut:]
    assert one.state() == many.state()
    said_of = [{name: fleet.engine.counts[name] for name in ("stored", "repeated")} for fleet in (one, many)]
    assert said_of[0] == said_of[1]
    for fleet in (one, many):
        fleet.store.close()


def test_a_list_of_meters_is_looked_up_by_key(any_store: Store) -> None:
    """And the table is not gone through from end to end."""
    wanted = prepared(select(meter_reads.c.meter).where(among(meter_reads.c.meter, "of")))

    def plan(conn: Connection) -> str:
        given = {"of": listed(conn, [METERS[0], 5])}
        text = wanted.compiled(conn, given).sql
        if conn.dialect.name == "sqlite":
            rows = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", (given["of"],))
        else:
            conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
            rows = conn.exec_driver_sql(f"EXPLAIN {text}", given)
        return str(rows.all())

    assert ("SEARCH" if any_store.port.writes.dialect.name == "sqlite" else "Index") in any_store.read(plan)
