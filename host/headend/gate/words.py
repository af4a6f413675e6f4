"""What the gate says to people, in English and Chinese, and what it records in the audit."""

from collections.abc import Mapping

from headend import audit
from meterlink.labels import Text

# Why an order may not be sent (yet): rule -> sentence. The fields are those of `gate.No`.
FROZEN = "gate.frozen"
PAID = "gate.paid"
NOTHING_OWED = "gate.nothing_owed"
LAPSED = "gate.approval_lapsed"
OTHER_POLICY = "gate.other_policy"
CLOCK_BACK = "gate.clock_went_back"
BUDGET = "gate.budget"
NEEDS_APPROVAL = "gate.needs_approval"
STALE = "gate.stale"
NEVER_HEARD = "gate.never_heard"
NO: Mapping[str, Text] = {
    FROZEN: (
        "Held: everything that may open a relay is frozen since {since} by {actor}: “{why}” (freeze {freeze}).",
        "暂停：自 {since} 起 {actor} 已冻结全部停电操作：“{why}”（冻结 {freeze}）。",
    ),
    PAID: (
        "Not stopped: the customer paid at {paid}, after the stop was stated at {stated}.",
        "不予停电：客户已于 {paid} 缴费，晚于停电申请（{stated}）。",
    ),
    NOTHING_OWED: ("Not stopped: no bill of the customer is overdue.", "不予停电：该客户没有逾期账单。"),
    STALE: (
        "Held: nothing was heard from the meter since {heard}; data older than {hours} h stops nobody automatically.",
        "暂停：自 {heard} 起未收到电表数据；数据超过 {hours} 小时不得自动停电。",
    ),
    NEVER_HEARD: (
        "Held: nothing was ever heard from the meter; nobody is stopped automatically without data.",
        "暂停：从未收到该电表数据；无数据不得自动停电。",
    ),
    LAPSED: (
        "Not sent: the approval of proposal {proposal} is {state}.",
        "不予下发：申请 {proposal} 的审批状态为{state}。",
    ),
    OTHER_POLICY: (
        "Not sent: proposal {proposal} was approved under policy {approved}, and policy {standing} is in force.",
        "不予下发：申请 {proposal} 按策略 {approved} 审批，现行策略为 {standing}。",
    ),
    CLOCK_BACK: (
        "Not sent: it was stated at {stated}, which is still to come: the clock went back.",
        "不予下发：其下达时间 {stated} 晚于当前时间：时钟回拨。",
    ),
    BUDGET: (
        "Held: {used} of {limit} in {window} are used for {scope}; the next is free at {free}.",
        "暂停：{scope} 在{window}内的额度 {limit} 已用 {used}，下一额度于 {free} 可用。",
    ),
    NEEDS_APPROVAL: (
        "A second person has to approve it: of {limit} in {window} alone, {used} are used for {scope}.",
        "需第二人审批：{scope} 在{window}内单人可操作 {limit}，已用 {used}。",
    ),
}
ASKED_FOR: Text = (
    "A second person has to approve it: the policy says so for {what}.",
    "需第二人审批：策略要求{what}须经审批。",
)
WINDOWS: Mapping[str, Text] = {"hour": ("an hour", "一小时"), "day": ("a day", "一天")}
SCOPES: Mapping[str, Text] = {
    "actor": ("{name}", "{name}"),
    "feeder": ("feeder {name}", "线路 {name}"),
    "area": ("area {name}", "区域 {name}"),
    "utility": ("the utility", "全网"),
}

# States of a proposal, and of a meter on its list.
PROPOSAL_STATES: Mapping[str, Text] = {
    "preparing": ("being prepared, cannot be decided yet", "准备中"),
    "open": ("waits for a second person", "待审批"),
    "approved": ("approved, being carried out", "已批准，执行中"),
    "done": ("carried out", "已执行"),
    "refused": ("refused", "已驳回"),
    "withdrawn": ("withdrawn", "已撤回"),
    "expired": ("expired", "已过期"),
    "void": ("void: nothing of it is left to do", "已失效"),
    "recalling": ("being recalled", "召回中"),
    "recalled": ("recalled", "已召回"),
}
ITEM_STATES: Mapping[str, Text] = {
    "waiting": ("waits", "等待"),
    "queued": ("stated", "已下达"),
    "dropped": ("dropped", "已取消"),
    "released": ("given back", "已恢复"),
}

# The kinds of this package: what is proposed.
LISTS: Mapping[str, Text] = {
    "stop": ("Disconnect {meters} for {reason}", "停电 {meters}，原因：{reason}"),
    "unprotect": ("End the protection of {meters}", "解除保电 {meters}"),
    "tariff": ("Set the tariff of {meters}", "下发电价 {meters}"),
    "limits": ("Set the limits of {meters}", "下发限值 {meters}"),
    "load": ("Limit the load of {meters}", "负荷控制 {meters}"),
    "mode": ("Set the mode of {meters} again", "重新下发费控模式 {meters}"),
    "clock": ("Set the clock of {meters}", "校时 {meters}"),
    "connect": ("Release {meters} from the hold for {reason}", "复电 {meters}，解除停电原因：{reason}"),
    "firmware": ("Set the firmware of {meters}", "升级固件 {meters}"),
}
ORDER: Text = ("Order {order}: {aspect} of meter {meter}", "指令 {order}：电表 {meter} 的{aspect}")
POLICY: Text = ("Change budgets and rules of the gate", "变更停电额度与规则")
LIFT: Text = ("Lift freeze {freeze}", "解除冻结 {freeze}")

# The operation ticket (停电操作票) of a list of stops, line by line.
TICKET: tuple[Text, ...] = (
    ("Operation ticket {proposal}", "停电操作票 {proposal} 号"),
    (
        "Task: set supply off at {meters} for {reason}: {why}",
        "操作任务：对 {meters}停电，原因：{reason}：{why}",
    ),
    ("Proposed by {author} at {proposed}; good until {expires}.", "申请人 {author}，{proposed}；有效期至 {expires}。"),
    ("Approved by {approver} at {decided}.", "审批人 {approver}，{decided}。"),
    ("Fingerprint of list, order and policy {policy}: {digest}", "名单、指令与策略 {policy} 的指纹：{digest}"),
    (
        "Before each order: no payment since, no exclusion, no barred hour, budget free, no freeze.",
        "逐户下发前复核：未缴费、不在免停名单、不在禁停时段、额度未满、未冻结。",
    ),
    (
        "Each order lives {valid_s} s on its way. Done is what a report shows open and without load.",
        "每条指令在途有效期 {valid_s} 秒。以电表上报触点断开且无电流为完成。",
    ),
)
NOBODY: Text = ("nobody yet", "尚无")

ACTIONS = {
    "order.stated": ("an order was stated", "下达指令"),
    "order.cancelled": ("an unsent order was withdrawn", "撤销未下发指令"),
    "order.written_off": ("an order was given up", "核销指令"),
    "proposal.made": ("proposed", "提出申请"),
    "proposal.approved": ("approved", "批准申请"),
    "proposal.refused": ("refused", "驳回申请"),
    "proposal.withdrawn": ("withdrawn", "撤回申请"),
    "proposal.expired": ("a proposal expired", "申请过期"),
    "proposal.recalled": ("a campaign was recalled", "召回批量停电"),
    "freeze.set": ("everything that may open a relay was frozen", "冻结停电"),
    "freeze.lifted": ("a freeze was lifted", "解除冻结"),
    "gate.policy": ("budgets and rules of the gate were changed", "变更停电额度与规则"),
}
audit.ACTIONS.update(ACTIONS)
