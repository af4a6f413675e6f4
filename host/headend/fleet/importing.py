"""Importing a file of the fleet: in parts, with a report on each line, all of it or nothing.

Every line is tried first, in transactions that are undone; where one does not fit nothing is stored, unless those are
to be left out. Then the parts are stored, each in a transaction of its own. Whoever is cut off in between imports the
file again: what stands already is the same.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Connection

from headend import audit
from headend.fleet import columns, csv_lines, import_lines
from headend.fleet.csv_lines import Line
from headend.fleet.import_lines import CHANGED, NEW, SAME, Given
from headend.refusals import Refused
from headend.store import Store

PART = 500  # lines of a transaction
WHOLE = 20_000  # … of a file whose lines name each other
PROBLEM = "problem"
OUTCOMES = (NEW, CHANGED, SAME, PROBLEM)
_DEPENDENT = (columns.GRID,)


class Outcome(NamedTuple):
    """What became of a line: one of `OUTCOMES`; of a problem its field, value and what was expected; of a meter that
    changed, what of it (`import_lines.Done`)."""

    line: int
    outcome: str
    field: str = ""
    value: str = ""
    expected: str = ""
    says: str = ""


@dataclass
class Report:
    """What was found. `problems`, `changes`: lines with problems, and those that say what they change, the first `keep`
    of each · stored: whether anything was."""

    keep: int = 1000
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    problems: list[Outcome] = field(default_factory=list)
    changes: list[Outcome] = field(default_factory=list)
    stored: bool = False

    @property
    def lines(self) -> int:
        return sum(self.counts.values())

    @property
    def clean(self) -> bool:
        return not self.counts[PROBLEM]

    def take(self, outcomes: Iterable[Outcome]) -> None:
        for one in outcomes:
            self.counts[one.outcome] += 1
            if one.outcome == PROBLEM and len(self.problems) < self.keep:
                self.problems.append(one)
            elif one.says and len(self.changes) < self.keep:
                self.changes.append(one)


class Undone(Exception):
    """A trial that was undone, with what it found."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        super().__init__()
        self.outcomes = outcomes


@dataclass
class _Seen:
    """Keys of lines before, and in a trial the supply points that meters before have taken."""

    keys: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    since: list[tuple[str, str]] = field(default_factory=list)  # of the part in hand

    def take(self, key: str, taken: str) -> None:
        self.keys.add(key)
        if taken:
            self.taken.add(taken)
        self.since.append((key, taken))

    def undo(self) -> None:
        """The part in hand begins anew."""
        for key, taken in self.since:
            self.keys.discard(key)
            self.taken.discard(taken)
        self.since.clear()


def run(
    store: Store,
    now_s: int,
    kind: str,
    lines: Callable[[], Iterable[str]],
    given: Given,
    *,
    dry_run: bool = False,
    skip_bad: bool = False,
    tell: Callable[[int], None] = lambda done: None,
) -> Report:
    """Import a file: `lines()` begins it anew, as it is read twice. `tell`: how many lines are behind us.

    Raises Refused for a file that is none of its kind.
    """
    if kind not in columns.FILES:
        raise Refused("file", kind, f"one of {', '.join(columns.FILES)}")
    report = _pass(store, now_s, kind, lines(), given, keep=False, tell=tell)
    if dry_run or not (report.clean or skip_bad):
        return report
    report = _pass(store, now_s, kind, lines(), given, keep=True, tell=tell)
    report.stored = True
    return report


def at_once(
    conn: Connection, now_s: int, kind: str, text: str, given: Given, *, dry_run: bool, skip_bad: bool
) -> Report:
    """Import a short file in the caller's transaction; raises Undone with its outcomes where nothing is stored."""
    found = list(csv_lines.read(kind, text.splitlines(keepends=True)))
    outcomes = part(conn, now_s, kind, found, given, _Seen())
    report = Report()
    report.take(outcomes)
    if dry_run or not (report.clean or skip_bad):
        raise Undone(outcomes)
    report.stored = True
    return report


def part(conn: Connection, now_s: int, kind: str, lines: list[Line], given: Given, seen: _Seen) -> list[Outcome]:
    """Put some lines; those that do not fit leave nothing."""
    with conn.begin_nested() as whole:
        outcomes = [_put(conn, now_s, kind, line, given, seen) for line in lines]
        if any(one.outcome == PROBLEM for one in outcomes):
            whole.rollback()
    if any(one.outcome == PROBLEM for one in outcomes):  # once more, each line for itself
        seen.undo()
        outcomes = [_alone(conn, now_s, kind, line, given, seen) for line in lines]
    counts = {name: sum(one.outcome == name for one in outcomes) for name in OUTCOMES}
    if counts[NEW] or counts[CHANGED]:
        told: dict[str, int | str | None] = {"first": lines[0].number, "last": lines[-1].number, **counts}
        audit.record(conn, now_s, given.actor, "fleet.import", f"file:{kind}", told)
    return outcomes


def _alone(conn: Connection, now_s: int, kind: str, line: Line, given: Given, seen: _Seen) -> Outcome:
    with conn.begin_nested() as own:
        outcome = _put(conn, now_s, kind, line, given, seen)
        if outcome.outcome == PROBLEM:
            own.rollback()
    return outcome


def _put(conn: Connection, now_s: int, kind: str, line: Line, given: Given, seen: _Seen) -> Outcome:
    try:
        if line.problem is not None:
            raise line.problem
        key, taken = _once(kind, line, seen)
        done = import_lines.PUT[kind](conn, now_s, line.cells, given)
    except Refused as refused:
        return Outcome(line.number, PROBLEM, refused.field, refused.value, refused.expected)
    seen.take(key, taken)
    return Outcome(line.number, done.outcome, says=done.says)


def _once(kind: str, line: Line, seen: _Seen) -> tuple[str, str]:
    """The key of a line, and the supply point that it takes; raises Refused where a line before has it."""
    for column in columns.FILES[kind]:
        if column.needed and not line.cells.get(column.name):
            raise Refused(column.name, "", "a value")
    name = columns.FILES[kind][0].name
    key = line.cells[name].lstrip("0") if kind == columns.METERS else line.cells[name]
    taken = line.cells.get("supply_point", "") if kind == columns.METERS else ""
    if key in seen.keys:
        raise Refused(name, line.cells[name], "one that no line before has")
    if taken in seen.taken:
        raise Refused("supply_point", taken, "one that no line before takes")
    return key, taken


def _pass(
    store: Store, now_s: int, kind: str, text: Iterable[str], given: Given, *, keep: bool, tell: Callable[[int], None]
) -> Report:
    report, seen = Report(), _Seen()
    for lines in _parts(csv_lines.read(kind, text), WHOLE if kind in _DEPENDENT else PART):
        if kind in _DEPENDENT and len(lines) == WHOLE:
            raise Refused("lines", f"{WHOLE} or more", f"fewer than {WHOLE} in a file of the grid")
        report.take(_tried(store, now_s, kind, lines, given, seen, keep))
        tell(report.lines)
    return report


def _tried(
    store: Store, now_s: int, kind: str, lines: list[Line], given: Given, seen: _Seen, keep: bool
) -> list[Outcome]:
    seen.since.clear()

    def job(conn: Connection) -> list[Outcome]:
        seen.undo()  # a job that lost a race runs again
        outcomes = part(conn, now_s, kind, lines, given, seen)
        if not keep:
            raise Undone(outcomes)
        return outcomes

    try:
        found: list[Outcome] = store.write(job).result()
    except Undone as undone:
        return undone.outcomes
    return found


def _parts(lines: Iterator[Line], size: int) -> Iterator[list[Line]]:
    while some := list(islice(lines, size)):
        yield some
