"""What the books tell people, in English and Chinese."""

from collections.abc import Mapping

from headend.ledger import entries, reconcile
from meterlink.labels import Text

# Kind of entry -> its name in a report of the day. A kind that is not here stands for itself.
ENTRIES: dict[str, Text] = {
    entries.PAYMENT: ("payments", "缴费"),
    entries.REVERSAL: ("payments taken back", "缴费冲正"),
    entries.CONSUMPTION: ("charged by meters", "电表计费"),
    entries.EARNED: ("credited for exported energy", "上网电量结算"),
    entries.ADJUSTED: ("charged by the head end", "主站扣费"),
    entries.RECOVERED: ("sales found on meters", "电表找回的售电"),
    entries.REPOSTED: ("posted again by channels", "渠道补报"),
    entries.MOVED: ("moved on when an account was closed", "销户结转"),
    entries.OPENING: ("opening balances", "期初余额"),
    entries.REFUND: ("refunds stated to meters", "退费下发"),
    entries.REFUND_PAID: ("refunds paid out", "退费支付"),
    entries.REFUND_RETURNED: ("refunds that did not come to pass", "退费退回"),
    entries.REFUND_FOUND: ("refunds that a lost database had stated", "找回的退费"),
    entries.REVERSAL_OWED: ("taken back after it was spent", "冲正欠费"),
    entries.BILLED: ("billed", "出账"),
    entries.BILL_CANCELLED: ("bills cancelled", "账单作废"),
    entries.ALLOCATED: ("paid on bills", "冲抵欠费"),
    entries.LATE_FEE: ("late fees", "违约金"),
    entries.UNALLOCATED: ("payments on bills taken back", "冲抵撤回"),
    entries.TAX: ("tax", "税金"),
    entries.UNTAXED: ("tax taken back", "税金退回"),
    entries.GRANTED: ("subsidies", "补贴"),
    entries.COLLECTED: ("debts that meters collected", "电表代扣欠费"),
    entries.FLOAT: ("floats of channels", "渠道备付金"),
}

# Line of `reconcile.explain` -> itself and its name in Chinese.
LINES: dict[str, Text] = {
    line: (line, chinese)
    for line, chinese in (
        (reconcile.IN_FLIGHT, "已售出，电表尚未显示"),
        (reconcile.WITHHELD, "已缴费，待读回电表"),
        (reconcile.MOVED_ON, "销户时已结转"),
        (reconcile.WAITING, "电表内待入账（囤积限额以上）"),
        (reconcile.UNBOOKED, "电表已计费，账务未入账"),
        (reconcile.EARNED, "上网电量结算，未入账"),
        (reconcile.REFUNDED, "电表已退费"),
        (reconcile.CARRIED, "账务已退费"),
        (reconcile.UNDER_WAY, "退费指令在途，待电表证实"),
        (reconcile.ADJUSTED, "电表内主站扣费"),
        (reconcile.NOT_TYPED, "已售键入码，尚未键入"),
        (reconcile.TAKEN_BACK, "键入码作废收回"),
    )
}

DAY: Mapping[str, Text] = {
    "title": ("Books of {day}", "{day} 账务日结"),
    "rows": ("entries {first} to {last}", "分录 {first} 至 {last}"),
    "by_kind": ("by kind", "按类型"),
    "by_channel": ("taken by channels", "按渠道收费"),
    "by_area": ("by area", "按台区"),
    "none": ("(no area)", "(未分区)"),
    "row": ("{name}: {counted} rows, {amount}", "{name}：{counted} 笔，{amount}"),
    "zero": (
        "Debits {debit}, credits {credit} over {accounts} accounts: balances come to {sum}.",
        "{accounts} 个账户借方 {debit}，贷方 {credit}，余额合计 {sum}。",
    ),
    "differences": (
        "Books against meters: {counted} meters differ, {amount} in all.",
        "账实核对：{counted} 块电表有差异，合计 {amount}。",
    ),
    "difference": ("meter {meter}: {amount} since {since}", "电表 {meter}：{amount}，自 {since}"),
    "shadow": (
        "Shadow bills: {counted} days differ, {amount} in all.",
        "影子计费：{counted} 个日结有差异，合计 {amount}。",
    ),
    "head": ("sealed to entry {entry}, audit {audit}", "已封存至分录 {entry}，审计 {audit}"),
}

SHADOW: Mapping[str, Text] = {
    "agrees": ("the meter's charge is that of its intervals", "电表计费与区间电量一致"),
    "not_whole": (
        "intervals are missing for {missing_wh} Wh; the books follow the meter",
        "缺少 {missing_wh} Wh 的区间记录；账务以电表为准",
    ),
    "not_sure": (
        "the clock was in doubt, or a price changed within an interval; the books follow the meter",
        "时钟存疑或区间内电价变更；账务以电表为准",
    ),
    "differs": (
        "the meter charged otherwise than its whole and sure intervals tell: to be looked at",
        "区间完整且时钟可信，但电表计费不符：须核查",
    ),
}
