"""Texts and audited acts of refunds, reversals and transfers."""

from collections.abc import Mapping
from typing import Any

from headend.audit import ACTIONS
from meterlink import topics
from meterlink.labels import Text

REFUND = "refund"
REVERSAL = "reversal"
TRANSFER = "transfer"

KINDS: dict[str, Text] = {
    REFUND: ("refund of credit", "退费"),
    REVERSAL: ("reversal of a payment", "冲正"),
    TRANSFER: ("transfer to another meter", "错表转移"),
}

WRITE_OFF = "refund_write_off"

# What a proposal says.
PROPOSED: dict[str, Text] = {
    REFUND: (
        "refund of {amount} from meter {meter}, paid out by {channel}",
        "电表 {meter} 退费 {amount}，由 {channel} 支付",
    ),
    REVERSAL: (
        "reversal of payment {payment_id} of {channel}: {amount}, meter {meter}",
        "冲正 {channel} 的缴费 {payment_id}：{amount}，电表 {meter}",
    ),
    TRANSFER: (
        "transfer of payment {payment_id} of {channel}: {amount} from meter {meter} to meter {to_meter}",
        "将 {channel} 的缴费 {payment_id}（{amount}）从电表 {meter} 转至电表 {to_meter}",
    ),
    WRITE_OFF: (
        "refund {refund} of {amount} is given up: meter {meter} will never answer",
        "核销退款 {refund}（{amount}）：电表 {meter} 不再应答",
    ),
}

ASKED = "refund.ask"
WITHDRAWN = "refund.withdraw"
WRITTEN_OFF = "refund.write_off"
SET_POLICY = "refund.policy"

ACTIONS.update(
    {
        ASKED: ("asked for money to go back", "申请退款"),
        WITHDRAWN: ("withdrew a refund", "撤回退款"),
        WRITTEN_OFF: ("gave a refund up", "核销退款"),
        SET_POLICY: ("set the policy of refunds", "修改退款策略"),
    }
)


def fields_of(payload: Any) -> Mapping[str, object]:
    """What the sentence of a proposal is filled with."""
    whole, rest = divmod(payload["whole_uc"], 1_000_000)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    to_meter = payload["to_meter"]
    return {
        **payload,
        "amount": f"{whole}.{decimals}",
        "meter": topics.meter_name(payload["meter"]),
        "to_meter": "" if to_meter is None else topics.meter_name(to_meter),
    }
