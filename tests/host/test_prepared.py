"""A prepared statement brings what the same statement brings through SQLAlchemy, and fails as it does."""

from typing import Any

import pytest
from sqlalchemy import BigInteger, Connection, bindparam, exc, func, insert, select, text, update

from headend.store import CommitFailed, Store
from headend.store.prepared import Prepared, prepared, together
from headend.store.schema import entry, meter_state, question
from headend.store.schema_audit import audit

ROW = {"at_s": 1, "actor": "user:a", "action": "x", "subject": "meter:1"}

_OF = select(audit).where(audit.c.subject == bindparam("of")).order_by(audit.c.id)
_IN = select(audit.c.id, func.count().over().label("all")).where(
    audit.c.actor.in_(("user:a", "user:b")), audit.c.at_s >= bindparam("since", type_=BigInteger)
)
_SUM = select(func.coalesce(func.sum(audit.c.at_s), 0))
_NEW = insert(audit)
_BACK = insert(audit).returning(audit.c.id, audit.c.detail)
_LATER = update(meter_state).where(meter_state.c.meter == bindparam("of")).values(touched=meter_state.c.touched + 1)


def run(store: Store, *steps: tuple[Prepared | Any, dict[str, Any]]) -> list[Any]:
    def both(conn: Connection) -> list[Any]:
        found = []
        for statement, values in steps:
            done = statement(conn, values) if isinstance(statement, Prepared) else conn.execute(statement, values)
            found.append(done)
        return found

    return store.write(both).result()


def rows(store: Store, statement: Any, values: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """What a statement brings, prepared and not."""

    def read(conn: Connection) -> tuple[list[Any], list[Any]]:
        return prepared(statement)(conn, values).all(), list(conn.execute(statement, values).all())

    return store.read(read)


def test_the_same_rows_under_the_same_names(any_store: Store) -> None:
    new = prepared(_NEW)
    many = [(new, {**ROW, "at_s": at_s, "actor": f"user:{'abc'[at_s % 3]}", "detail": "ä"}) for at_s in range(9)]
    run(any_store, *many)
    run(any_store, (new, ROW))  # fewer columns: another text of the same statement
    for statement, values in ((_OF, {"of": "meter:1"}), (_OF, {"of": "none"}), (_IN, {"since": 3}), (_SUM, {})):
        ours, theirs = rows(any_store, statement, values)
        assert [tuple(row) for row in ours] == [tuple(row) for row in theirs]
        assert [row._fields for row in ours] == [row._fields for row in theirs]


def test_what_it_changed_is_counted_and_returned(any_store: Store) -> None:
    def work(conn: Connection) -> None:
        made = prepared(_BACK)(conn, ROW).one()
        assert (made.id, made.detail) == (made[0], "{}")
        assert (
            prepared(select(audit.c.subject).where(audit.c.id == bindparam("of")))(conn, {"of": made.id}).scalar_one()
            == "meter:1"
        )
        assert prepared(_LATER)(conn, {"of": 999}).rowcount == 0
        none = prepared(_OF)(conn, {"of": "nobody"})
        assert (none.one_or_none(), none.scalar_one_or_none(), none.all(), list(none)) == (None, None, [], [])
        with pytest.raises(exc.NoResultFound):
            none.one()
        prepared(_NEW)(conn, ROW)
        with pytest.raises(exc.MultipleResultsFound):
            prepared(_OF)(conn, {"of": "meter:1"}).one_or_none()

    any_store.write(work).result()


def test_a_name_that_the_statement_does_not_know_is_refused(any_store: Store) -> None:
    with pytest.raises(ValueError, match="nobody"):
        run(any_store, (prepared(_OF), {"of": "x", "nobody": 1}))


def test_a_value_that_is_missing_is_refused(any_store: Store) -> None:
    with pytest.raises(exc.InvalidRequestError, match="of"):
        run(any_store, (prepared(_OF), {}))


def test_an_error_is_the_error_of_sqlalchemy_and_undoes_what_was(any_store: Store) -> None:
    wrong = {"at_s": 1, "kind": "payment", "debit": "nobody", "credit": "no one", "amount_uc": 1, "cause": "c"}
    with pytest.raises((exc.IntegrityError, CommitFailed)):
        run(any_store, (prepared(_NEW), ROW), (prepared(insert(entry)), wrong))
    ours, _ = rows(any_store, _SUM, {})
    assert ours[0][0] == 0


def test_bytes_and_nothing_come_back_as_they_are(any_store: Store) -> None:
    asked = {"nonce": bytes(range(8)), "meter": 1, "kind": 1, "aspect": 1, "selector": 1, "first": 0, "count": 0}
    run(any_store, (prepared(insert(question)), {**asked, "asked_s": 1 << 40, "answered_s": None}))
    chosen = select(question).where(question.c.nonce == bindparam("of"))
    ours, theirs = rows(any_store, chosen, {"of": bytes(range(8))})
    assert [tuple(row) for row in ours] == [tuple(row) for row in theirs]
    assert (type(ours[0].nonce), ours[0].asked_s, ours[0].answered_s) == (bytes, 1 << 40, None)


def test_several_at_once_bring_what_each_brings_alone(any_store: Store) -> None:
    def work(conn: Connection) -> None:
        back = prepared(_BACK)
        first, second, none, changed = together(
            conn,
            (back, ROW),
            (back, {**ROW, "subject": "meter:2"}),
            (prepared(_OF), {"of": "nobody"}),
            (prepared(_LATER), {"of": 999}),
        )
        assert second.one().id == first.one().id + 1
        assert (none.all(), changed.rowcount) == ([], 0)

    any_store.write(work).result()


def test_what_is_run_later_is_seen_by_whatever_follows(any_store: Store) -> None:
    new, of = prepared(_NEW), prepared(_OF)

    def count(conn: Connection, how: int) -> int:
        if how == 0:
            return len(of(conn, {"of": "meter:1"}).all())
        if how == 1:
            return len(together(conn, (prepared(_SUM), {}), (of, {"of": "meter:1"}))[1].all())
        return len(conn.execute(_OF, {"of": "meter:1"}).all())

    def work(conn: Connection) -> None:
        for number in range(1, 10):
            new.later(conn, ROW)
            assert count(conn, number % 3) == number
        new.later(conn, ROW)  # nothing follows but the COMMIT

    any_store.write(work).result()
    assert rows(any_store, _SUM, {})[0][0][0] == 10


def test_what_fails_later_undoes_all_of_its_transaction_and_nothing_else(any_store: Store) -> None:
    wrong = {"at_s": 1, "kind": "payment", "debit": "nobody", "credit": "no one", "amount_uc": 1, "cause": "c"}
    new, bad = prepared(_NEW), prepared(insert(entry))

    def fails(conn: Connection, at_the_end: bool) -> None:
        new.later(conn, ROW)
        bad.later(conn, wrong)
        new.later(conn, ROW)
        if not at_the_end:
            prepared(_SUM)(conn)

    for at_the_end in (True, False):
        with pytest.raises((exc.IntegrityError, CommitFailed)):
            any_store.write(fails, at_the_end).result()

    def leaves(conn: Connection) -> None:
        new.later(conn, ROW)
        raise KeyError("it raises before anything was sent")

    with pytest.raises(KeyError):
        any_store.write(leaves).result()
    any_store.write(lambda conn: new.later(conn, {**ROW, "at_s": 5})).result()
    assert rows(any_store, _SUM, {})[0][0][0] == 5


def test_what_waits_belongs_to_the_savepoint_that_it_was_said_in(any_store: Store) -> None:
    new = prepared(_NEW)

    def work(conn: Connection) -> None:
        new.later(conn, {**ROW, "at_s": 100})
        with pytest.raises(KeyError), conn.begin_nested():
            new.later(conn, {**ROW, "at_s": 1})
            raise KeyError
        with conn.begin_nested():
            new.later(conn, {**ROW, "at_s": 20})

    any_store.write(work).result()
    assert rows(any_store, _SUM, {})[0][0][0] == 120


def test_a_table_that_is_changed_under_a_prepared_statement_costs_one_connection(any_store: Store) -> None:
    """As by a newer version that brings the database up to date beside a process that runs."""
    whole = prepared(select(text("*")).select_from(audit))

    def look(conn: Connection) -> int:
        prepared(_SUM)(conn)
        return len(whole(conn).all())

    for _ in range(3 * 4):  # each of the connections that write has prepared it
        assert any_store.write(look).result() == 0
    any_store.write(lambda conn: conn.execute(text("ALTER TABLE audit ADD COLUMN newer INTEGER"))).result()
    for _ in range(3 * 4):
        assert any_store.write(look).result() == 0


def test_a_statement_survives_what_is_rolled_back_around_it(any_store: Store) -> None:
    new, of = prepared(_NEW), prepared(_OF)

    def fails(conn: Connection) -> None:
        new(conn, ROW)
        new(conn, ROW)
        conn.execute(text("SELECT nothing FROM nowhere"))

    for _ in range(12):
        with pytest.raises((exc.OperationalError, exc.ProgrammingError)):
            any_store.write(fails).result()
        assert any_store.write(lambda conn: (new(conn, ROW), len(of(conn, {"of": "meter:1"}).all()))[1]).result()
