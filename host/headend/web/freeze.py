"""The freeze, and the budgets of the gate."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from headend.access.permissions import ADMIN, APPROVE, FREEZE, READ
from headend.gate import freeze, policy, proposals
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation, ok
from headend.web.orders import text_of
from headend.web.proposals import ProposalNoteRequest, ProposalState, ProposalWhyRequest, Why, proposed, whole_state
from headend.web.wire import Moment


class FreezeState(msgspec.Struct):
    """Whether everything that may open a relay is frozen."""

    frozen: bool
    freeze: int | None = None
    since: Moment | None = None
    by: str | None = None
    why: str | None = None
    lift: Annotated[int | None, Meta(description="The proposal to lift it, which waits for a second person.")] = None


class GatePolicy(msgspec.Struct):
    """The budgets and rules of the gate."""

    version: Annotated[int, Meta(description="0: as they are by default.")]
    rules: Annotated[dict[str, Any], Meta(description="Limits by class, scope and window, and the other rules.")]


class GatePolicyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Rules that are to take the place of those in force, whole; what is left out is as by default."""

    rules: dict[str, Any]
    why: Why


# --- freeze -----------------------------------------------------------------------------------------------------------


async def get_freeze(call: Call[Nothing, Nothing]) -> Answer:
    """Whether everything that may open a relay is frozen."""
    return Answer(200, await call.desk.read(_freeze, call.desk.clock.now_s()))


async def put_freeze(call: Call[ProposalWhyRequest, Nothing]) -> Answer:
    """Freeze everything that may open a relay, at once: also what is queued, approved and signed.

    What gives supply back passes all the while.
    """
    desk = call.desk
    return await desk.act(_set, desk.clock.now_s(), call.caller.actor, text_of(call.body.why), answer=ok)


async def lift_freeze(call: Call[ProposalNoteRequest, Nothing]) -> Answer:
    """Lift the freeze, the first of two persons or the second.

    The first call proposes it; when another person calls, it is lifted.
    """
    desk = call.desk
    answer = await desk.act(_lift, desk.clock.now_s(), call.caller.actor, text_of(call.body.note), answer=ok)
    desk.wake()
    return answer


# --- policy -----------------------------------------------------------------------------------------------------------


async def get_policy(call: Call[Nothing, Nothing]) -> Answer:
    """The budgets and rules of the gate that are in force."""
    rules = await call.desk.read(policy.get)
    return Answer(200, GatePolicy(rules.version, rules.rules()))


async def post_policy(call: Call[GatePolicyRequest, Nothing]) -> Answer:
    """Propose other budgets and rules; they are in force when a second person has approved them.

    What was proposed under those before lapses.
    """
    desk, body = call.desk, call.body
    arguments = (desk.clock.now_s(), body.rules, call.caller.actor, text_of(body.why))
    return await desk.act(_propose_policy, *arguments, answer=proposed)


# --- within transactions ---


def _propose_policy(conn: Connection, now_s: int, rules: dict[str, Any], actor: str, why: str) -> ProposalState:
    return whole_state(conn, proposals.propose(conn, now_s, "gate_policy", rules, actor, why))


def _set(conn: Connection, now_s: int, actor: str, why: str) -> FreezeState:
    freeze.set(conn, now_s, actor, why)
    return _freeze(conn, now_s)


def _lift(conn: Connection, now_s: int, actor: str, note: str) -> FreezeState:
    freeze.lift(conn, now_s, actor, note)
    return _freeze(conn, now_s)


def _freeze(conn: Connection, now_s: int) -> FreezeState:
    row = freeze.standing(conn)
    if row is None:
        return FreezeState(False)
    waiting = proposals.open_of(conn, now_s, "lift_freeze")
    lift = None if waiting is None else waiting.id
    return FreezeState(True, row.id, wire.moment(row.set_s), row.set_by, row.why, lift)


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET", "/freeze", get_freeze, scope=READ, answers={200: FreezeState}, body=Nothing, query=Nothing, by_area=True
    ),
    Operation(
        "PUT",
        "/freeze",
        put_freeze,
        scope=FREEZE,
        answers={200: FreezeState},
        body=ProposalWhyRequest,
        query=Nothing,
        by_area=True,
    ),
    Operation(
        "POST",
        "/freeze/lift",
        lift_freeze,
        scope=APPROVE,
        answers={200: FreezeState},
        body=ProposalNoteRequest,
        query=Nothing,
    ),
    Operation(
        "GET",
        "/gate/policy",
        get_policy,
        scope=READ,
        answers={200: GatePolicy},
        body=Nothing,
        query=Nothing,
        by_area=True,
    ),
    Operation(
        "POST",
        "/gate/policy",
        post_policy,
        scope=ADMIN,
        answers={202: ProposalState},
        body=GatePolicyRequest,
        query=Nothing,
    ),
)
