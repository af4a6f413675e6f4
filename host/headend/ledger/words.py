"""What the ledger's codes are called, in English and Chinese, and its acts in the audit."""

from headend import audit
from meterlink.labels import Text

BILL_KINDS: dict[str, Text] = {
    "energy": ("bill for a period", "电费账单"),
    "opening": ("taken over from an earlier system", "期初欠费"),
    "reversal": ("payment that was taken back after it was spent", "冲正欠费"),
    "other": ("other charge", "其他费用"),
}

# Lines of bills, quotes and receipts.
LINES: dict[str, Text] = {
    "energy": ("energy", "电度电费"),
    "standing": ("standing charge", "基本电费"),
    "opening": ("taken over", "期初结转"),
    "reversal": ("payment taken back", "冲正"),
    "other": ("other", "其他"),
}

BILL_STATES: dict[str, Text] = {
    "open": ("open", "未结清"),
    "paid": ("paid", "已结清"),
    "cancelled": ("cancelled", "已作废"),
}

BILL_EVENTS: dict[str, Text] = {
    "issued": ("issued", "出账"),
    "paid": ("paid", "结清"),
    "reopened": ("open again: a payment was taken back", "冲正后恢复欠费"),
    "cancelled": ("cancelled", "作废"),
    "to_meter": ("handed to the meter to collect", "转由电表扣收"),
    "from_meter": ("taken back from the meter", "转回主站收取"),
    "followed": ("went on to the customer's next account", "随户转移"),
}

CHANNEL_KINDS: dict[str, Text] = {
    "cashier": ("cashier's desk", "柜台"),
    "agent": ("agent with a float", "代理商"),
    "bank": ("bank", "银行"),
    "subsidy": ("programme that grants credit", "补贴项目"),
}

DIFFERENCES: dict[str, Text] = {
    "long": ("the channel has it, we do not: post it, or give it back", "长款：补入账或退款"),
    "short": ("we have it, the channel does not: ask for it, or take it back", "短款：追缴或冲正"),
    "amount": ("the amounts differ: look at the voucher, then take back and post anew", "金额不符：核对凭证后冲正重录"),
}

PURPOSES: dict[str, Text] = {
    "": ("for what is owed, then for the meter", "缴费"),
    "advance": ("for what is owed, then for bills to come", "分次划拨（预付）"),
    "deposit": ("a guarantee", "保证金"),
}

audit.ACTIONS.update(
    {
        "tax.set": ("set a tax", "设置税率"),
        "channel.limits": ("set the limits of a channel", "设置渠道限额"),
        "channel.handed_over": ("booked money that a channel handed over", "渠道交款入账"),
        "settlement.settled": ("dealt with a difference of a settlement", "处理对账差异"),
        "receipt.reprinted": ("printed a receipt again", "补打收据"),
        "receipt.invoiced": ("noted the invoice of a receipt", "登记发票号"),
        "bill.issued": ("issued a bill", "出账"),
        "bill.cancelled": ("cancelled a bill", "作废账单"),
        "zone.set": ("set the utility's time zone", "设置时区"),
        "class.set": ("set the class of a customer", "设置客户类别"),
        "share.set": ("set which share of purchases pays debts", "设置欠费抵扣比例"),
        "late_fee.set": ("set the late fee", "设置违约金费率"),
    }
)
