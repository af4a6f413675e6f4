"""What is asked for next of logs that records came of and that are not whole: of many meters at once, in two statements
and what writes the questions down.

The first record that is missing of a log is the one behind its cursor: that moves over all that is stored or lost.
Nothing here touches a meter's money or orders, so nobody who pays waits for it.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from headend.collection import policy
from headend.collection.policy import PUSH, Rule
from headend.collection.turns import BACKFILL, Due
from headend.orders.policy import Entropy, spread
from headend.reads import logs
from headend.store.many import among, for_each, listed
from headend.store.prepared import Prepared, prepared
from headend.store.schema import meter
from headend.store.schema_collection import collect_turn
from headend.store.schema_fleet import meter_life
from headend.store.schema_readings import meter_reads
from meterlink.batches import MAX_RECORDS

_turn = collect_turn.c
_FILL = for_each(
    update(collect_turn)
    .where(_turn.meter == bindparam("of"))
    .values(fill_s=bindparam("at_s"), fill_tries=bindparam("tries"), filled_s=bindparam("asked_s")),
    *("at_s", "tries", "asked_s", "of"),
)


def _behind(log: logs.Log) -> Prepared:
    """Of some meters, those that something is missing of."""
    whole_to, newest = (meter_reads.c[name] for name in (log.whole_to, log.newest))
    return prepared(
        select(
            _turn.meter,
            _turn.filled_s,
            meter.c.area,
            meter.c.carrier,
            meter_life.c.type.label("meter_type"),
            whole_to.label("whole_to"),
            newest.label("newest"),
        )
        .join_from(collect_turn, meter, meter.c.meter == _turn.meter)
        .join(meter_reads, meter_reads.c.meter == _turn.meter)
        .outerjoin(meter_life, meter_life.c.meter == _turn.meter)
        .where(among(_turn.meter, "of"), whole_to < newest)
        .order_by(_turn.meter)  # so that two who take many cannot wait for each other in a circle
    )


_BEHIND = {kind: _behind(log) for kind, log in logs.LOGS.items()}


def stored(conn: Connection, now_s: int, entropy: Entropy, base: Rule, kind: int, meters: Sequence[int]) -> list[Due]:
    """Records of this kind came of these meters: what to ask for at once, as many as fit of each; in rising order.

    `base`: the rule where nobody has set any. Each question is to be written down in the same transaction.
    """
    rows: list[Any] = _BEHIND[kind](conn, {"of": listed(conn, meters)}).all()
    if not rows:
        return []
    rules = policy.standing(conn, base)
    wanted: list[Due] = []
    turns: list[tuple[int, int, int, int]] = []
    for row in rows:
        rule = rules.of(row.area, row.carrier, row.meter_type or "")
        at_s = now_s + spread(rule.gap_s, entropy)
        if rule.profile == PUSH and now_s - row.filled_s >= 2 * rule.gap_s:  # it came unasked, so will what follows
            turns.append((at_s, 0, row.filled_s, row.meter))
            continue
        turns.append((at_s, 1, now_s, row.meter))
        first = row.whole_to + 1
        wanted.append(Due(row.meter, kind, first, min(MAX_RECORDS, row.newest - row.whole_to), BACKFILL))
    _FILL(conn, turns)
    return wanted
