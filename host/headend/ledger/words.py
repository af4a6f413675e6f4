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

# What a quote's estimate stands on.
ASSUMED: dict[str, Text] = {
    "report": ("the balance is that of the meter's newest report", "余额取自电表最近一次上报"),
    "no_report": ("no report of the meter is known: its balance is taken as 0", "尚无电表上报，余额按零计"),
    "rate_now": ("all energy is priced at the rate in force now", "电量按当前费率估算"),
    "steps_known": ("steps begin at what the meter has used in their period", "阶梯按本周期已用电量计"),
    "steps_unknown": ("steps begin at zero, as what was used is not known", "本周期用电量未知，阶梯从零计"),
}

RECEIPT: dict[str, Text] = {
    "title": ("Receipt {name}", "收据 {name}"),
    "copy": ("Copy {number}", "补打第 {number} 次"),
    "meter": ("Meter {meter}", "表号 {meter}"),
    "included": ("  of it {name} {percent} %: {amount}", "  其中 {name} {percent}%：{amount}"),
    "total": ("Paid: {amount}", "实收：{amount}"),
    "invoice": ("Invoice {invoice}", "发票号 {invoice}"),
    "digest": ("Check {digest}", "校验码 {digest}"),
    "reversed": ("This payment was taken back", "本笔缴费已冲正"),
}

RECEIPT_LINES: dict[str, Text] = {
    "bill": ("Bill {reference} {period}", "电费账单 {reference} {period}"),
    "late_fee": ("Late fee on bill {reference}", "账单 {reference} 违约金"),
    "tax": ("Tax {name} {percent} %", "税 {name} {percent}%"),
    "credit": ("Credit for the meter", "购电金额"),
    "advance": ("Kept for bills to come", "预存电费"),
    "deposit": ("Guarantee", "保证金"),
}

audit.ACTIONS.update(
    {
        "deposit.used": ("paid bills from a guarantee", "以保证金抵扣欠费"),
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
