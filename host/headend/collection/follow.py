"""The chore of collection: counts what came, looks what has become whole, and forgets what is old.

Each step is a short transaction behind all other work; what is cut off is done by the next call. One process at a time
does it (`workers`: one role).
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from sqlalchemy import BigInteger, Connection, Integer, bindparam, delete, select

from headend.collection import enrolment, success
from headend.collection import lines as line_days
from headend.collection.line_counts import Counts
from headend.collection.repeats import Repeats
from headend.collection.success import Came, Key
from headend.ledger import zone
from headend.store import READS, Store
from headend.store.schema import meter
from headend.store.schema_collection import collect_request, collect_request_meter, line_quality, read_success

EVERY_S = 60
LOOK_S = 600  # between two looks at what is whole of yesterday
LOOKS = 6  # of them until all of the last days are looked at
LOOK_DAYS = 4  # today and those before
LONGEST_S = 0.5  # of one call; the rest waits for the next
KEEP_DAYS = 400  # of figures
KEEP_REQUESTS_S = 35 * 86_400
KEEP_LINE_DAYS = 35
DAY_S = 86_400
_AT_ONCE = 500

_AREAS = select(meter.c.meter, meter.c.area, meter.c.carrier).where(
    meter.c.meter.in_(bindparam("these", expanding=True))
)
_OLD_FIGURES = delete(read_success).where(read_success.c.day < bindparam("day", type_=Integer))
_OLD_LINES = delete(line_quality).where(line_quality.c.day < bindparam("day", type_=Integer))
_OLD_REQUEST = (
    select(collect_request.c.id)
    .where(collect_request.c.until_s < bindparam("before", type_=BigInteger))
    .order_by(collect_request.c.id)
    .limit(1)
)


class Quality(Protocol):
    """What lines are like, as a carrier counts it (`links.quality`)."""

    def take(self) -> Mapping[tuple[str, int], Counts]: ...

    def put_back(self, taken: Mapping[tuple[str, int], Counts]) -> None: ...


def flush(store: Store, repeats: Repeats, lines: Sequence[Quality], now_s: int) -> None:
    """Store what this process counted in memory: the chore of each process that carries."""
    repeated = repeats.take()
    if repeated:
        store.write(_add_repeated, now_s, repeated, lane=READS).result()
    for quality in lines:
        counted = quality.take()
        try:
            if counted:
                store.write(line_days.store, now_s, counted, lane=READS).result()
        except Exception:
            quality.put_back(counted)
            raise


class Follower:
    """`run(now_s)` is the chore; True from it: there is more to do at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looked_s = 0
        self._looks = 0
        self._tidied_day = 0

    def run(self, now_s: int) -> bool:
        """Some of what is due."""
        until = time.monotonic() + LONGEST_S
        more = True
        while more and time.monotonic() < until:
            more = self._store.write(success.count_some, now_s, lane=READS).result()
        if not self._looked_s <= now_s < self._looked_s + LOOK_S:
            self._looked_s = now_s
            self.look(now_s, every_day=self._looks % LOOKS == 0)
            self._looks += 1
        if self._tidied_day != now_s // DAY_S:
            self._tidied_day = now_s // DAY_S
            self._store.write(_tidy, now_s, lane=READS).result()
            while self._store.write(enrolment.enrol_missing, now_s, lane=READS).result():
                pass
        return more

    def look(self, now_s: int, every_day: bool = True) -> None:
        """What is whole, lost and expected: of yesterday, or of all the last days."""
        while found := self._store.read(success.became_whole):
            self._store.write(success.set_whole, found, lane=READS).result()
        today = zone.day_of(self._store.read(zone.of), now_s)
        for day in range(today - LOOK_DAYS + 1, today + 1) if every_day else (today - 1,):
            changed = self._store.read(success.look, now_s, day)
            for at in range(0, len(changed), success.PART):
                self._store.write(_put, changed[at : at + success.PART], lane=READS).result()


def _put(conn: Connection, changed: list[dict[str, object]]) -> None:
    success.hold(conn)
    success.put(conn, changed)


def _add_repeated(conn: Connection, now_s: int, repeated: Counter[int]) -> None:
    success.hold(conn)
    day = zone.day_of(zone.of(conn), now_s)
    counts: Counter[Key] = Counter()
    numbers = sorted(repeated)
    for at in range(0, len(numbers), _AT_ONCE):
        for number, area, carrier in conn.execute(_AREAS, {"these": numbers[at : at + _AT_ONCE]}):
            counts[day, area, carrier] += repeated[number]
    success.add(conn, {key: Came(repeated=count) for key, count in counts.items()})


def _tidy(conn: Connection, now_s: int) -> None:
    conn.execute(_OLD_FIGURES, {"day": now_s // DAY_S - KEEP_DAYS})
    conn.execute(_OLD_LINES, {"day": now_s // DAY_S - KEEP_LINE_DAYS})
    request = conn.execute(_OLD_REQUEST, {"before": now_s - KEEP_REQUESTS_S}).scalar()
    if request is not None:
        conn.execute(delete(collect_request_meter).where(collect_request_meter.c.request == request))
        conn.execute(delete(collect_request).where(collect_request.c.id == request))
