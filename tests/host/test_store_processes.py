"""The store and several processes: no payment is lost or counted twice, and none that was acknowledged is lost by a
crash.
"""

from pathlib import Path
from subprocess import Popen

from sqlalchemy import Connection, select

from headend.ledger import accounts, balances
from headend.store.schema import entry, meter_state, order, outbox, payment
from meterlink import bodies
from tests.host import pay_many
from tests.host.books import CHANNEL, METER, open_books, start

SCRIPT = str(Path(pay_many.__file__))


def go(*children: "Popen[str]") -> None:
    """Let children that are ready start together."""
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()


def check_books(conn: Connection) -> dict[str, int]:
    """What must hold whatever happened; returns the stored payments, id -> amount."""
    rows = conn.execute(select(payment).order_by(payment.c.total_uc)).all()
    total_uc = 0
    for row in rows:  # the totals follow one another without gap or overlap
        total_uc += row.amount_uc
        assert row.total_uc == total_uc
    state = conn.execute(select(meter_state).where(meter_state.c.meter == METER)).one()
    assert state.sold_uc == total_uc
    assert balances.balance_uc(conn, accounts.of_meter(METER, 1)) == total_uc
    assert balances.balance_uc(conn, accounts.of_channel(CHANNEL)) == -total_uc
    causes = set(conn.execute(select(entry.c.cause)).scalars())
    assert causes == {f"payment:{CHANNEL}:{row.payment_id}" for row in rows}
    (queued,) = conn.execute(select(order).where(order.c.state == "queued")).all()
    assert queued.total_uc == bodies.decode_credit(queued.body)[0] == total_uc
    assert conn.execute(select(outbox.c.order_id)).scalars().all() == [queued.id]
    return {row.payment_id: row.amount_uc for row in rows}


def test_two_processes_with_150_payments_each(any_store_url: str) -> None:
    url = any_store_url
    open_books(url).close()
    children = [start(SCRIPT, url, name, "150") for name in ("left", "right")]
    go(*children)
    answered: dict[str, int] = {}
    for child in children:
        text, _ = child.communicate()
        assert child.returncode == 0
        answered |= {line.split()[0]: int(line.split()[1]) for line in text.splitlines()}
    assert len(answered) == 300
    with open_books(url, meters=()) as store:
        stored = store.read(check_books)
        highest = store.read(lambda conn: max(conn.execute(select(payment.c.total_uc)).scalars()))
    assert stored == answered
    assert highest == sum(answered.values())


def test_what_was_acknowledged_survives_a_kill(any_store_url: str) -> None:
    url = any_store_url
    open_books(url).close()
    child = start(SCRIPT, url, "doomed", "0")
    go(child)
    assert child.stdout is not None
    acknowledged = [child.stdout.readline().split() for _ in range(100)]
    child.kill()
    rest = child.stdout.read()  # communicate() would pass over what readline() has read ahead, and begin within a line
    child.wait()
    whole = rest[: rest.rfind("\n") + 1]
    acknowledged += [line.split() for line in whole.splitlines()]
    assert child.returncode == -9
    with open_books(url, meters=()) as store:
        stored = store.read(check_books)
    assert {name: int(amount) for name, amount, _ in acknowledged}.items() <= stored.items()
