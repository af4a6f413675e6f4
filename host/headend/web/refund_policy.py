"""What may go back without a second person, and who bears what is spent."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from headend.access.permissions import ADMIN, READ
from headend.ledger.refunds import policy
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.wire import PositiveAmount


class RefundPolicy(msgspec.Struct, forbid_unknown_fields=True):
    """What may go back without a second person, and who bears what is spent."""

    window_s: Annotated[
        int, Meta(ge=0, le=policy.MAX_S, description="After a payment its channel may reverse it alone for so long,")
    ]
    alone: Annotated[PositiveAmount, Meta(description="… up to this amount.")]
    spent: Annotated[
        Literal["debt", "channel"],
        Meta(description="A reversed payment that is spent: `debt`: its customer is billed; `channel`: it is refused."),
    ]
    notice_s: Annotated[
        int, Meta(ge=0, le=policy.MAX_S, description="After an import of openings nobody is stopped for so long.")
    ]


async def get_refund_policy(call: Call[Nothing, Nothing]) -> Answer:
    """The policy of refunds that rules."""
    return Answer(200, _policy(await call.desk.read(policy.standing)))


async def put_refund_policy(call: Call[RefundPolicy, Nothing]) -> Answer:
    """Set the policy of refunds. What ruled before stays recorded."""
    body = call.body
    new = policy.Policy(body.window_s, wire.read_amount("alone", body.alone), body.spent, body.notice_s)
    arguments = (call.desk.clock.now_s(), call.caller.actor, new)
    return await call.desk.act(policy.put, *arguments, answer=lambda _: Answer(200, _policy(new)))


def _policy(rule: policy.Policy) -> RefundPolicy:
    spent: Any = rule.spent
    return RefundPolicy(rule.window_s, wire.amount(rule.alone_uc), spent, rule.notice_s)


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/refund-policy",
        get_refund_policy,
        scope=READ,
        answers={200: RefundPolicy},
        body=Nothing,
        query=Nothing,
    ),
    Operation(
        "PUT",
        "/refund-policy",
        put_refund_policy,
        scope=ADMIN,
        answers={200: RefundPolicy},
        body=RefundPolicy,
        query=Nothing,
    ),
)
