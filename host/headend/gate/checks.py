"""What is asked again at the moment of sending: the answer is None, or a `No` with its rule in a sentence.

The same questions are asked before an approved order is queued, and for whoever wants to know whether a meter can be
stopped. They hold for the transaction that asks them: the meter's row is locked, and for a budget the gate too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, and_, bindparam, case, func, select

from headend import registry
from headend.access.caller import USER
from headend.gate import budget, freeze, policy, words
from headend.gate.budget import Budget, Room
from headend.gate.policy import ALONE, APPROVED, SAFETY, Policy
from headend.language import ENGLISH, LANGUAGES, say, utc
from headend.ledger import zone
from headend.store.prepared import prepared
from headend.store.schema import meter, meter_state, payment
from headend.store.schema_gate import proposal
from headend.store.schema_money import bill
from meterlink import reasons
from meterlink.labels import Text
from meterlink.orders import ASPECT_SUPPLY

CANCEL, EXPIRE, HOLD = "cancel", "expire", ""
AHEAD_S = 120  # an order that was stated further ahead of the clock than this was stated by another clock
LOOK_AGAIN_S = 60
BUSY = "busy"


@dataclass(frozen=True)
class No:
    """Why an order may not go now. `fields` fill the text; one that is a pair is said in the same language.

    `ends`: the event that this is for the order (CANCEL, EXPIRE), or HOLD: it waits, and its expiry runs ·
    `again_s`: when to ask again at the earliest.
    """

    rule: str
    text: Text
    fields: dict[str, Any] = field(default_factory=dict)
    ends: str = HOLD
    again_s: int = 0

    def say(self, language: str = ENGLISH) -> str:
        at = LANGUAGES.index(language)
        told = {name: value[at] if isinstance(value, tuple) else value for name, value in self.fields.items()}
        return say(self.text, language, **told)


@dataclass(frozen=True)
class Asked:
    """What is asked about: an order that there is, or that there would be.

    `kind`: as what it passes the gate · `since_s`: when it was stated, or proposed · `stated_s`: by whose clock it
    expires · `proposal`: what was approved.
    """

    meter: int
    aspect: int
    selector: int
    kind: str
    actor: str
    since_s: int
    stated_s: int
    proposal: int | None = None


_PAID = prepared(
    select(payment.c.taken_s)
    .join(meter, (meter.c.meter == payment.c.meter) & (meter.c.account_epoch == payment.c.account_epoch))
    .where(payment.c.meter == bindparam("of"), payment.c.taken_s > bindparam("since", type_=BigInteger))
    .order_by(payment.c.taken_s)
    .limit(1)
)
# Of the account in force: how many bills there were, and how many of them payments have to pay today. What the meter
# collects is agreed on: a payment that leaves such a bill releases a stop, too.
_BILLS = prepared(
    select(
        func.count().label("known"),
        func.coalesce(
            func.sum(
                case(
                    (
                        and_(
                            bill.c.state == "open",
                            bill.c.owner == "head_end",
                            bill.c.due_day < bindparam("today", type_=Integer),
                        ),
                        1,
                    ),
                    else_=0,
                )
            ),
            0,
        ).label("overdue"),
    )
    .join(meter, (meter.c.meter == bill.c.meter) & (meter.c.account_epoch == bill.c.account_epoch))
    .where(bill.c.meter == bindparam("of"))
)
_HEARD = prepared(select(meter_state.c.report_taken_s).where(meter_state.c.meter == bindparam("of")))
_KIND = prepared(select(proposal.c.kind).where(proposal.c.id == bindparam("of")))
_PROPOSAL = prepared(
    select(proposal.c.state, proposal.c.policy_version, proposal.c.proposed_s, proposal.c.expires_s).where(
        proposal.c.id == bindparam("of")
    )
)
_RUNNING = ("approved", "done")


class Turn:
    """One transaction's turn at the gate: it holds the gate from its first question on, so rules and counts stand."""

    def __init__(self, conn: Connection, now_s: int) -> None:
        self.conn = conn
        self.now_s = now_s
        self._held: bool | None = None
        self._budgets: dict[str, Budget] = {}
        self.lists: dict[int, str] = {}  # proposal -> how its campaign stands

    @cached_property
    def rules(self) -> Policy:
        return policy.get(self.conn)

    def hold(self) -> bool:
        """Hold the gate, where nobody else does."""
        if self._held is None:
            self._held = budget.try_lock(self.conn)
        return self._held

    def counts(self, kind: str) -> Budget:
        """Of a class of orders."""
        if kind not in self._budgets:
            self._budgets[kind] = Budget(self.conn, self.now_s, self.rules, kind)
        return self._budgets[kind]

    def passed(self, at: budget.Place, kind: str) -> None:
        """One more has passed: whoever counts this class counts it."""
        for counting, one in self._budgets.items():
            if kind in policy.COUNTS[counting]:
                one.take(at)


def recheck(conn: Connection, now_s: int, row: Any, turn: Turn | None = None) -> No | None:
    """Whether an order that opens (`gate` not "") may become `sent` now; where it may, that is counted.

    `row`: the order's id, meter, aspect, selector, gate, actor, issued_s and proposal. Its meter is locked. `turn`: of
    a transaction that asks for several orders. Writes its row of `gate_pass` and returns None, or returns why not: rule
    BUSY where another worker counts just now.
    """
    turn = turn or Turn(conn, now_s)
    if not turn.hold():
        return No(BUSY, ("", ""))
    asked = Asked(row.meter, row.aspect, row.selector, row.gate, row.actor, row.issued_s, row.issued_s, row.proposal)
    found = next(forbids(conn, now_s, asked, turn.rules), None)
    if found is not None:
        return found
    place = budget.place_of(conn, row.meter, row.actor, turn.rules)
    if row.gate in policy.LIMITED:
        room = turn.counts(row.gate).room(place)
        if room.left < 1:
            return over_budget(now_s, room)
    budget.passed(conn, now_s, row, place, row.gate)
    turn.passed(place, row.gate)
    return None


def forbids(conn: Connection, now_s: int, asked: Asked, rules: Policy) -> Iterator[No]:
    """All that forbids to send it now, but the budgets; what ends it comes before what holds it."""
    if asked.stated_s > now_s + AHEAD_S:
        yield No(words.CLOCK_BACK, words.NO[words.CLOCK_BACK], {"stated": utc(asked.stated_s)}, EXPIRE)
    if asked.kind in (ALONE, APPROVED):
        yield from _approval(conn, now_s, asked, rules)
        if asked.aspect == ASPECT_SUPPLY:
            yield from _stop(conn, now_s, asked)
            yield from _unheard(conn, now_s, asked, rules)
    frozen = freeze.standing(conn)
    if frozen is not None:
        told = {"since": utc(frozen.set_s), "actor": frozen.set_by, "why": frozen.why, "freeze": frozen.id}
        yield No(words.FROZEN, words.NO[words.FROZEN], told, HOLD, now_s + LOOK_AGAIN_S)


def _approval(conn: Connection, now_s: int, asked: Asked, rules: Policy) -> Iterator[No]:
    if asked.proposal is None:
        return
    row = _PROPOSAL(conn, {"of": asked.proposal}).one()
    state = "expired" if row.state in _RUNNING and row.expires_s < now_s else row.state
    if state not in _RUNNING:
        told = {"proposal": asked.proposal, "state": words.PROPOSAL_STATES[state]}
        yield No(words.LAPSED, words.NO[words.LAPSED], told, CANCEL)
    if row.policy_version != rules.version:
        told = {"proposal": asked.proposal, "approved": row.policy_version, "standing": rules.version}
        yield No(words.OTHER_POLICY, words.NO[words.OTHER_POLICY], told, CANCEL)


def _stop(conn: Connection, now_s: int, asked: Asked) -> Iterator[No]:
    since_s = asked.since_s
    if asked.proposal is not None:
        since_s = _PROPOSAL(conn, {"of": asked.proposal}).one().proposed_s
    if asked.selector == reasons.HOLD_ARREARS:
        paid_s = _PAID(conn, {"of": asked.meter, "since": since_s}).scalar_one_or_none()
        if paid_s is not None:
            told = {"paid": utc(paid_s), "stated": utc(since_s)}
            yield No(words.PAID, words.NO[words.PAID], told, CANCEL)
        bills = _BILLS(conn, {"of": asked.meter, "today": zone.day_of(zone.of(conn), now_s)}).one()
        if bills.known and not bills.overdue:
            yield No(words.NOTHING_OWED, words.NO[words.NOTHING_OWED], {}, CANCEL)
    for bar in registry.bars(conn, now_s, asked.meter, asked.selector):
        hours = bar.rule == "calendar"
        again_s = 0 if bar.until_s is None else bar.until_s
        yield No(bar.rule, bar.text, bar.fields, HOLD if hours else CANCEL, again_s if hours else 0)


def _unheard(conn: Connection, now_s: int, asked: Asked, rules: Policy) -> Iterator[No]:
    """What is known of a meter is too old to stop it automatically."""
    if not _automatic(conn, asked):
        return
    heard_s = _HEARD(conn, {"of": asked.meter}).scalar_one_or_none()
    if heard_s is None:
        yield No(words.NEVER_HEARD, words.NO[words.NEVER_HEARD], {}, HOLD, now_s + LOOK_AGAIN_S)
    elif heard_s < now_s - rules.stale_s:
        told = {"heard": utc(heard_s), "hours": rules.stale_s // 3600}
        yield No(words.STALE, words.NO[words.STALE], told, HOLD, now_s + LOOK_AGAIN_S)


def _automatic(conn: Connection, asked: Asked) -> bool:
    """Whether no person looked at this one meter: a program or a rule states it, or it is one of a list."""
    if not asked.actor.startswith(USER):
        return True
    return asked.proposal is not None and _KIND(conn, {"of": asked.proposal}).scalar_one() != "order"


def over_budget(now_s: int, room: Room, rule: str = words.BUDGET) -> No:
    """That a scope has no room (`BUDGET`), or none for one person alone (`NEEDS_APPROVAL`)."""
    scope = words.SCOPES[room.scope]
    told = {
        "used": room.used,
        "limit": room.limit,
        "window": words.WINDOWS[room.window],
        "scope": (scope[0].format(name=room.name or "-"), scope[1].format(name=room.name or "-")),
        "free": utc(max(room.free_s, now_s)),
    }
    return No(rule, words.NO[rule], told, HOLD, max(room.free_s, now_s + 1))


def as_stop(meter_id: int, reason: int, actor: str, now_s: int) -> Asked:
    """A stop that somebody thinks of."""
    kind = SAFETY if reason == reasons.HOLD_SAFETY else ALONE
    return Asked(meter_id, ASPECT_SUPPLY, reason, kind, actor, now_s, now_s)
