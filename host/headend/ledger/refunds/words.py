"""Texts and audited acts of refunds, reversals and transfers."""

from headend.audit import ACTIONS
from meterlink.labels import Text

REFUND = "refund"
REVERSAL = "reversal"
TRANSFER = "transfer"

KINDS: dict[str, Text] = {
    REFUND: ("refund of credit", "退费"),
    REVERSAL: ("reversal of a payment", "冲正"),
    TRANSFER: ("transfer to another meter", "错表转移"),
}

ASKED = "refund.ask"
APPROVED = "refund.approve"
WITHDRAWN = "refund.withdraw"
WRITTEN_OFF = "refund.write_off"
SET_POLICY = "refund.policy"

ACTIONS.update(
    {
        ASKED: ("asked for money to go back", "申请退款"),
        APPROVED: ("approved that money goes back", "批准退款"),
        WITHDRAWN: ("withdrew a refund", "撤回退款"),
        WRITTEN_OFF: ("gave a refund up", "核销退款"),
        SET_POLICY: ("set the policy of refunds", "修改退款策略"),
    }
)
