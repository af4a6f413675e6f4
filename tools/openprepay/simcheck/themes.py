"""What a run is about beside its daily business: an office, databases that are lost, or money that goes back.

Each theme has its acts, knows from what was done (never from the database) what must hold, and settles what it left
open when faults have ended. One theme a run, by its seed.
"""

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from headend.epochs import adopt
from headend.gate import freeze, policy, proposals, recall
from headend.ledger.refunds import asking
from headend.refusals import Refused
from headend.registry import ending, exclusions, kinds
from headend.registry.evidence import Evidence
from headend.store.schema import order_history
from headend.store.schema_gate import proposal
from meterlink import reasons
from openprepay.simcheck import memory
from openprepay.simcheck.system import CHANNEL, OPENED, SimulatedMeter, System

if TYPE_CHECKING:
    from openprepay.simcheck.people import People

CLERK, MANAGER, CHIEF = "user:clerk", "user:manager", "user:chief"
ALONE = 4  # orders that may open a relay, which one person may state alone in an hour
MAX_RESTORES = 3

Act = Callable[[SimulatedMeter], None]
Acts = tuple[tuple[int, Act], ...]


class Theme:
    """Nothing beside the daily business."""

    acts: Acts = ()

    def __init__(self, system: System, people: "People") -> None:
        self.system = system
        self.people = people
        self.rng = system.rng

    def follow(self) -> None:
        """Look at what ended by itself."""

    def settle(self) -> None:
        """Faults have ended: put an end to what would stay open for ever."""
        for row in self.system.store.read(lambda conn: conn.execute(_WAITING).all()):
            if row.kind != "lift_freeze":
                self.write(f"proposal {row.id} is refused", proposals.refuse, row.id, MANAGER, "the day is over")

    def write(self, what: str, fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run `fn(conn, now_s, …)`; None where it is refused. Either way the story tells."""
        system = self.system
        try:
            made = system.store.write(lambda conn: fn(conn, system.now_s, *args, **options)).result()
        except Refused as refused:
            system.note(f"{what} refused: {refused}")
            return None
        system.note(f"{what}: {made}")
        return True if made is None else made

    def decide(self, _meter: SimulatedMeter) -> None:
        """A second person looks at what waits, and is not always right, fast or allowed."""
        waiting = self.system.store.read(lambda conn: conn.execute(_WAITING).all())
        if not waiting:
            return
        row = self.rng.choice(waiting)
        what = f"proposal {row.id} ({row.kind})"
        choice = self.rng.randrange(8)
        if choice == 0:
            self.write(f"{what} is refused", proposals.refuse, row.id, MANAGER, "no")
        elif choice == 1:
            assert self.write(f"{what}, as another list", proposals.approve, row.id, "0" * 64, MANAGER) is None
        elif choice == 2:
            assert self.write(f"{what}, by its author", proposals.approve, row.id, row.digest, row.author) is None
        else:
            for _ in range(self.rng.choice((1, 1, 2))):  # a double click
                self.write(f"{what} is approved", proposals.approve, row.id, row.digest, MANAGER)


class Office(Theme):
    """Little that one person may do alone, exclusions, freezes, lists, recalls.

    standing: exclusion id -> (meter, kind, row of the history of orders after which it stands) · frozen: that row for
    the freeze that stands, else None.
    """

    def __init__(self, system: System, people: "People") -> None:
        super().__init__(system, people)
        self.standing: dict[int, tuple[int, str, int]] = {}
        self.frozen: int | None = None
        self.lists: list[int] = []
        rules = policy.flat(OPENED)
        rules["limits"][policy.ALONE] = {scope: {"hour": [ALONE, ALONE, 0]} for scope in policy.SCOPES}
        self.write("rules of the gate", policy.put, "system", rules, "one person may do little")
        self.acts = (
            (10, self._exclude),
            (6, self._end_exclusion),
            (4, self._freeze),
            (10, self._lift),
            (6, self._list),
            (4, self._recall),
            (22, self.decide),
        )

    def _exclude(self, meter: SimulatedMeter) -> None:
        kind = self.rng.choice(tuple(kinds.KINDS))
        until_s = self.system.now_s + 7200 if kinds.KINDS[kind].end == kinds.MUST else None
        mark = self.mark()
        made = self.write(
            f"{meter.number} is excluded as {kind}",
            exclusions.put,
            meter.number,
            kind,
            CLERK,
            Evidence("file 12"),
            until_s=until_s,
        )
        if made is not None and not kinds.KINDS[kind].passes_with:
            self.standing[made] = meter.number, kind, mark

    def _end_exclusion(self, _meter: SimulatedMeter) -> None:
        if not self.standing:
            return
        number = self.rng.choice(list(self.standing))
        row = self.system.store.read(exclusions.get, number)
        if not kinds.KINDS[row.kind].four_eyes:
            self.write(f"exclusion {number} ends", exclusions.end, number, row.version, CLERK)
        else:
            self.write(f"exclusion {number} is to end", ending.propose, number, row.version, CLERK, "over")

    def _freeze(self, _meter: SimulatedMeter) -> None:
        if self.frozen is None:
            mark = self.mark()
            self.write("a freeze", freeze.set, CLERK, "something is wrong")
            self.frozen = mark

    def _lift(self, _meter: SimulatedMeter) -> None:
        if self.frozen is not None:
            self.write("the freeze is to be lifted", freeze.lift, self.rng.choice((CLERK, MANAGER)), "all is well")

    def _list(self, _meter: SimulatedMeter) -> None:
        numbers = [meter.number for meter in self.system.meters]
        payload = {"meters": numbers, "reason": reasons.HOLD_ARREARS, "valid_s": 300}
        made = self.write("a list of stops", proposals.propose, "stop", payload, CLERK, "who does not pay")
        if made is not None:
            self.lists.append(made)

    def _recall(self, _meter: SimulatedMeter) -> None:
        if self.lists:
            self.write("a recall", recall.recall, self.rng.choice(self.lists), CHIEF)

    def follow(self) -> None:
        """What ended meanwhile, by whom it may, stands no longer."""
        for number in list(self.standing):
            row = self.system.store.read(exclusions.get, number)
            if row.ended_s is not None:
                del self.standing[number]
        if self.frozen is not None and self.system.store.read(freeze.standing) is None:
            self.frozen = None

    def settle(self) -> None:
        super().settle()
        if self.frozen is not None:
            for person in (CLERK, MANAGER):
                self.write("the freeze is lifted", freeze.lift, person)

    def mark(self) -> int:
        """The last row of the history of orders."""
        return int(self.system.store.read(lambda conn: conn.execute(_LAST).scalar_one()))


class Restores(Theme):
    """Databases are lost and put back from a copy, under another signing epoch and credit source."""

    def __init__(self, system: System, people: "People") -> None:
        super().__init__(system, people)
        self._copies: list[tuple[sqlite3.Connection, frozenset[str]]] = []
        self._copy(system.meters[0])
        self.acts = ((10, self._copy), (5, self._restore), (10, self._post_again))

    def _copy(self, _meter: SimulatedMeter) -> None:
        self._copies.append((memory.copy(self.system.store), self.people.in_books()))

    def _restore(self, _meter: SimulatedMeter) -> None:
        if self.system.restores == MAX_RESTORES:
            return
        kept, known = self.rng.choice(self._copies)
        self.system.put_back(kept, log_too=self.rng.randrange(2) == 0)
        keys = self.system.keystore
        what = f"a copy with {len(known)} payments is put back"
        adopted = keys.signing_epoch, keys.source, keys.closed_sources
        assert self.write(what, adopt.adopt, *adopted, "restored") is not None
        self.people.lost = set(self.people.taken) - known

    def _post_again(self, _meter: SimulatedMeter) -> None:
        """The channel looks at its journal, and posts what the database says that it does not have."""
        for payment_id in self.rng.sample(sorted(self.people.lost), self.rng.randrange(len(self.people.lost) + 1)):
            self.people.post_again(payment_id)

    def settle(self) -> None:
        for payment_id in sorted(self.people.lost):
            self.people.post_again(payment_id)


class Returns(Theme):
    """Payments for the wrong meter, cashiers' errors, customers who want their credit back."""

    def __init__(self, system: System, people: "People") -> None:
        super().__init__(system, people)
        self._asked = 0
        self.acts = ((8, self._transfer), (8, self._reverse), (8, self._refund), (24, self.decide))

    def _ask(self, by: str) -> asking.Asked:
        self._asked += 1
        return asking.Asked(by, f"r{self._asked}", "it was not meant so")

    def _payment(self) -> str | None:
        return self.rng.choice(list(self.people.taken)) if self.people.taken else None

    def _twice(self, what: str, fn: Callable[..., Any], asked: asking.Asked, *args: object) -> None:
        """Now and then the button is pressed twice, which is one request."""
        made = self.write(what, fn, asked, *args)
        if made is not None and self.rng.randrange(3) == 0:
            again = self.write(f"{what}, again", fn, asked, *args)
            assert again.repeated and again.row.id == made.row.id, (made, again)

    def _transfer(self, meter: SimulatedMeter) -> None:
        payment_id = self._payment()
        if payment_id is None:
            return
        number, amount_uc = self.people.taken[payment_id]
        self.people.may_come_uc[meter.number] += amount_uc
        what = f"{payment_id} from {number} to {meter.number}"
        self._twice(what, asking.transfer, self._ask(CLERK), CHANNEL, payment_id, meter.number)

    def _reverse(self, _meter: SimulatedMeter) -> None:
        payment_id = self._payment()
        if payment_id is not None:
            by = self.rng.choice((CLERK, f"channel:{CHANNEL}"))
            self._twice(f"{payment_id} back, says {by}", asking.reverse, self._ask(by), CHANNEL, payment_id)

    def _refund(self, meter: SimulatedMeter) -> None:
        amount_uc = self.rng.randrange(1, 3_000_000)
        what = f"{amount_uc} of {meter.number} back"
        self._twice(what, asking.refund_credit, self._ask(CLERK), meter.number, amount_uc, CHANNEL)


THEMES: tuple[type[Theme], ...] = (Office, Restores, Returns)

_WAITING = select(proposal).where(proposal.c.state == proposals.OPEN).order_by(proposal.c.id)
_LAST = select(func.coalesce(func.max(order_history.c.id), 0))
