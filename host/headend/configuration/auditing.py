"""The daily audit: meter by meter what is wanted against what is reported; findings come, change and settle.

Made in parts by `follow`: facts are gathered without a lock, what follows is written in short transactions. What cannot
be told (no report yet, an order on its way) opens nothing and settles nothing.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, bindparam, func, insert, select, update

from headend.configuration import aspects, held, policy, repair
from headend.configuration.aspects import Facts, Judged
from headend.orders.facts import RULING, UNDER_WAY
from headend.orders.stored import stored_report
from headend.store import READS, Store
from headend.store.schema import meter, meter_state, meter_trust, order
from headend.store.schema_configuration import configuration_finding, configuration_held, configuration_round
from meterlink.orders import ASPECT_KEYS, KEYS_TAG

PART = 200  # meters of one transaction
PARTS = 10  # … and so many in one call
DAY_S = 86_400
EVERY_S = 30

_SOME: Any = bindparam("some", expanding=True)
_METERS = (
    select(
        meter.c.meter,
        meter_state.c.report,
        meter_state.c.report_taken_s,
        meter_trust.c.next_tag_key_version,
    )
    .join(meter_state, meter_state.c.meter == meter.c.meter)
    .join(meter_trust, meter_trust.c.meter == meter.c.meter)
    .where(meter.c.meter.in_(_SOME))
)
_NEWEST = (
    select(func.max(order.c.id))
    .join(meter, (meter.c.meter == order.c.meter) & (meter.c.account_epoch == order.c.account_epoch))
    .where(
        order.c.meter.in_(_SOME),
        order.c.aspect.in_(held.AUDITED),
        order.c.selector == 0,
        order.c.state.in_(RULING),
    )
    .group_by(order.c.meter, order.c.aspect)
)
_WANTED = select(order).where(order.c.id.in_(_NEWEST))
_COMING = (
    select(order.c.meter, func.max(order.c.issued_s).label("issued_s"))
    .where(
        order.c.meter.in_(_SOME),
        order.c.aspect == ASPECT_KEYS,
        order.c.selector == KEYS_TAG,
        order.c.state.in_(UNDER_WAY),
    )
    .group_by(order.c.meter)
)
_HELD = (
    select(configuration_held)
    .join(meter, meter.c.meter == configuration_held.c.meter)
    .where(configuration_held.c.meter.in_(_SOME), configuration_held.c.account_epoch == meter.c.account_epoch)
)
_AFTER = (
    select(meter.c.meter)
    .where(meter.c.meter > bindparam("after", type_=BigInteger))
    .order_by(meter.c.meter)
    .limit(PART)
)
_OPEN = select(configuration_finding).where(
    configuration_finding.c.settled_s.is_(None), configuration_finding.c.meter.in_(_SOME)
)
# Meters with something open, of which something was heard since it was last looked at.
_HEARD = (
    select(configuration_finding.c.meter)
    .join(meter_state, meter_state.c.meter == configuration_finding.c.meter)
    .where(configuration_finding.c.settled_s.is_(None), meter_state.c.report_taken_s >= configuration_finding.c.seen_s)
    .distinct()
    .order_by(configuration_finding.c.meter)
    .limit(PART)
)
_FIND = insert(configuration_finding)
_FINDING = update(configuration_finding).where(configuration_finding.c.id == bindparam("of"))
_ROUND = select(configuration_round).where(configuration_round.c.day == bindparam("of", type_=Integer))
_BEGIN = insert(configuration_round)
_GO_ON = update(configuration_round).where(configuration_round.c.day == bindparam("of"))


def follow(store: Store, now_s: int) -> bool:
    """Go on with today's audit, and look again at what is open; whether there is more to do at once."""
    again = store.read(lambda conn: list(conn.execute(_HEARD).scalars()))
    if again:
        _look(store, now_s, again)
    today = store.read(_today, now_s)
    if today is None:
        store.write(_begin, now_s, lane=READS).result()
        return True
    if today.done_s is not None:
        return len(again) == PART
    after = today.at_meter
    for _ in range(PARTS):
        some = store.read(lambda conn, at=after: list(conn.execute(_AFTER, {"after": at}).scalars()))
        if not some:
            store.write(_end, now_s, today.day, lane=READS).result()
            return False
        _look(store, now_s, some)
        store.write(_went_on, today.day, after, some[-1], len(some), lane=READS).result()
        after = some[-1]
    return True


def _look(store: Store, now_s: int, some: Sequence[int]) -> None:
    facts, judged = store.read(_judge, now_s, some)
    store.write(_settle, now_s, judged, _to_ask(facts), lane=READS).result()


def _today(conn: Connection, now_s: int) -> Any:
    return conn.execute(_ROUND, {"of": now_s // DAY_S}).one_or_none()


def _begin(conn: Connection, now_s: int) -> None:
    if _today(conn, now_s) is None:
        conn.execute(_BEGIN, {"day": now_s // DAY_S, "begun_s": now_s})


def _went_on(conn: Connection, day: int, after: int, to: int, number: int) -> None:
    row = conn.execute(_ROUND, {"of": day}).one()
    if row.at_meter == after:
        conn.execute(_GO_ON, {"of": day, "at_meter": to, "meters": row.meters + number})


def _end(conn: Connection, now_s: int, day: int) -> None:
    """All meters were looked at: what can be mended is proposed."""
    if conn.execute(_ROUND, {"of": day}).one().done_s is None:
        conn.execute(_GO_ON, {"of": day, "done_s": now_s})
        repair.propose(conn, now_s, "system")


# --- facts ------------------------------------------------------------------------------------------------------------


def _judge(conn: Connection, now_s: int, some: Sequence[int]) -> tuple[dict[int, Facts], dict[int, Judged]]:
    facts = gather(conn, now_s, some)
    drift_s = policy.get(conn).drift_s
    return facts, {number: aspects.judge(one, drift_s) for number, one in facts.items()}


def gather(conn: Connection, now_s: int, some: Sequence[int]) -> dict[int, Facts]:
    """What is known of these meters."""
    chosen = {"some": list(some)}
    wanted: dict[int, dict[int, Any]] = {}
    for row in conn.execute(_WANTED, chosen):
        wanted.setdefault(row.meter, {})[row.aspect] = row
    holds: dict[int, dict[int, Any]] = {}
    for row in conn.execute(_HELD, chosen):
        holds.setdefault(row.meter, {})[row.aspect] = row
    coming = {row.meter: row.issued_s for row in conn.execute(_COMING, chosen)}
    return {
        row.meter: Facts(
            now_s,
            stored_report(row.report),
            row.report_taken_s or 0,
            wanted.get(row.meter, {}),
            holds.get(row.meter, {}),
            row.next_tag_key_version,
            coming.get(row.meter),
        )
        for row in conn.execute(_METERS, chosen)
    }


def _to_ask(facts: dict[int, Facts]) -> dict[int, int]:
    """Meter -> when it last showed all that it holds."""
    return {
        number: min((row.taken_s for row in one.held.values()), default=0) if len(one.held) == len(held.AUDITED) else 0
        for number, one in facts.items()
    }


# --- findings ---------------------------------------------------------------------------------------------------------


def _settle(conn: Connection, now_s: int, judged: dict[int, Judged], shown: dict[int, int]) -> None:
    standing = {(row.meter, row.aspect): row for row in conn.execute(_OPEN, {"some": list(judged)})}
    new = []
    for number, found in judged.items():
        for aspect, difference in found.items():
            row = standing.get((number, aspect))
            if difference is None:
                if row is not None:
                    conn.execute(_FINDING, {"of": row.id, "settled_s": now_s, "seen_s": now_s})
            elif row is None:
                told = {"wanted": difference.wanted[:80], "reported": difference.reported[:80]}
                new.append({"meter": number, "aspect": aspect, **told, "found_s": now_s, "seen_s": now_s})
            else:
                told = {"wanted": difference.wanted[:80], "reported": difference.reported[:80]}
                conn.execute(_FINDING, {"of": row.id, "seen_s": now_s, **told})
    if new:
        conn.execute(_FIND, new)
    fresh_s = policy.get(conn).fresh_s
    held.wish(conn, now_s, [number for number, at_s in shown.items() if now_s - at_s >= fresh_s])
