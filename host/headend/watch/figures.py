"""One look at the database for a monitor: how much waits, since when, and what the books leave unexplained.

Every statement goes by an index over what is under way, so that a look costs the same however large the past is.
"""

from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, and_, bindparam, case, func, select

from headend.access.areas import EVERYWHERE
from headend.collection import success, table
from headend.ledger import zone
from headend.orders import lifecycle
from headend.store import sql
from headend.store.schema import finding, meter, meter_state, order, outbox, payment
from headend.store.schema_workers import lease, worker
from headend.workers.leases import LONGEST_S

# Orders that have not ended, by their state.
OPEN_STATES = (
    lifecycle.DRAFT,
    lifecycle.AWAITING_APPROVAL,
    lifecycle.APPROVED,
    lifecycle.QUEUED,
    *lifecycle.ON_THE_WAY,
)

RECORDS = ("expected", "in_time", "late", "lost", "repeated")

_METERS = select(func.count()).select_from(meter)
_ONLINE = select(func.count()).select_from(meter_state).where(meter_state.c.online == 1)
_ORDERS = (
    select(order.c.state, func.count(), func.min(order.c.issued_s))
    .where(order.c.state.in_(OPEN_STATES))
    .group_by(order.c.state)
)
_UNSIGNED = select(func.count()).select_from(order).where(order.c.state == lifecycle.QUEUED, order.c.signed.is_(None))
_NOW = bindparam("now", type_=BigInteger)
_DUE = select(func.count(), func.min(outbox.c.next_s)).where(
    and_(outbox.c.next_s <= _NOW, (outbox.c.lease.is_(None)) | (outbox.c.lease_until_s <= _NOW))
)
_PAID = select(func.count(), func.min(payment.c.taken_s), func.coalesce(func.sum(payment.c.amount_uc), 0)).where(
    payment.c.on_meter_s.is_(None), payment.c.source > 0
)
_DB_NOW = bindparam("db_now", type_=BigInteger)
_WORKERS = select(func.count()).where(worker.c.seen_s > _DB_NOW - LONGEST_S)
_LEASES = select(lease.c.kind, func.sum(case((lease.c.until_s > _DB_NOW, 1), else_=0)), func.count()).group_by(
    lease.c.kind
)
_FINDINGS = select(finding.c.kind, func.count()).where(finding.c.settled_s.is_(None)).group_by(finding.c.kind)


@dataclass(frozen=True)
class Figures:
    """Counts and ages at one moment; ages in seconds, 0 where nothing waits, money in micro-currency."""

    meters: int
    online: int  # of those that say so: on a broker
    orders: dict[str, int]  # state -> how many, every open state
    oldest_s: dict[str, int]  # state -> age of the oldest
    unsigned: int
    due: int  # rows of the outbox that want attention now
    due_age_s: int
    paid: int  # payments that no report has shown yet
    paid_age_s: int
    paid_uc: int
    findings: dict[str, int]  # kind -> how many stand
    records: dict[tuple[str, str], int]  # (carrier, what became of them) -> records of the last local day that is over
    uncounted_s: int  # how far the count of readings is behind
    workers: int  # processes that share the database
    held: dict[str, int]  # kind of lease -> how many somebody holds, while there are workers,
    free: dict[str, int]  # … and how many nobody does


def look(conn: Connection, now_s: int) -> Figures:
    """Everything, as the database stands now."""
    orders = {state: (count, since_s) for state, count, since_s in conn.execute(_ORDERS)}
    due, due_s = conn.execute(_DUE, {"now": now_s}).one()
    paid, paid_s, paid_uc = conn.execute(_PAID).one()
    clock = {"db_now": sql.now_s(conn)}
    workers = conn.execute(_WORKERS, clock).scalar_one()
    leases = [(kind, int(held), count) for kind, held, count in conn.execute(_LEASES, clock) if workers]
    return Figures(
        meters=conn.execute(_METERS).scalar_one(),
        online=conn.execute(_ONLINE).scalar_one(),
        orders={state: orders.get(state, (0, 0))[0] for state in OPEN_STATES},
        oldest_s={state: _age_s(now_s, orders.get(state, (0, None))[1]) for state in OPEN_STATES},
        unsigned=conn.execute(_UNSIGNED).scalar_one(),
        due=due,
        due_age_s=_age_s(now_s, due_s),
        paid=paid,
        paid_age_s=_age_s(now_s, paid_s),
        paid_uc=int(paid_uc),
        findings=dict(conn.execute(_FINDINGS).all()),
        records=_records(conn, now_s),
        uncounted_s=success.behind_s(conn, now_s),
        workers=workers,
        held={kind: held for kind, held, _ in leases},
        free={kind: count - held for kind, held, count in leases},
    )


def _records(conn: Connection, now_s: int) -> dict[tuple[str, str], int]:
    yesterday = zone.day_of(zone.of(conn), now_s) - 1
    days = table.of_days(conn, yesterday, yesterday, (EVERYWHERE,), by_carrier=True)
    return {(one.carrier, name): getattr(one, name) for one in days for name in RECORDS}


def _age_s(now_s: int, since_s: int | None) -> int:
    return 0 if since_s is None else max(0, now_s - since_s)
