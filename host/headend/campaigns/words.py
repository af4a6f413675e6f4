"""What campaigns say to people, in English and Chinese, and what they record in the audit."""

from collections.abc import Mapping

from headend import audit
from meterlink.labels import Text

AUDIT = {
    "campaign.made": ("a campaign was asked for", "建立批量任务"),
    "campaign.proposed": ("a campaign was proposed", "提交批量任务"),
    "campaign.dropped": ("a campaign was given up", "放弃批量任务"),
    "campaign.paused": ("a campaign was paused", "暂停批量任务"),
    "campaign.resumed": ("a campaign was resumed", "恢复批量任务"),
    "campaign.let_go_on": ("the next group of a campaign was let begin", "放行批量任务下一组"),
    "campaign.aborted": ("a campaign was stopped", "中止批量任务"),
    "campaign.recalled": ("a campaign was recalled", "召回批量任务"),
}
audit.ACTIONS.update(AUDIT)

VERDICTS: Mapping[str, Text] = {
    "in": ("in", "纳入"),
    "there": ("as wanted already", "已符合"),
    "barred": ("excluded", "排除"),
}

# Why a meter is not in, beside what the gate and the registry say. Rule -> sentence.
UNKNOWN = "campaign.unknown"
RETIRED = "campaign.retired"
LIFE = "campaign.life"
NO_RELAY = "campaign.no_relay"
OTHER_TYPE = "campaign.other_type"
OTHER_CARRIER = "campaign.other_carrier"
PROTECTED = "campaign.protected"
OTHER_CAMPAIGN = "campaign.other"
THERE = "campaign.there"
RUNS = "campaign.runs"
RULES: Mapping[str, Text] = {
    UNKNOWN: ("No meter of this fleet has this number.", "系统中无此表号。"),
    RETIRED: ("The meter says that it is retired.", "电表上报已退役。"),
    LIFE: ("The meter is {state}, not in its place.", "电表状态为 {state}，不在运行位置。"),
    NO_RELAY: ("Meters of type {type} have no relay.", "型号 {type} 无拉合闸继电器。"),
    OTHER_TYPE: ("The meter is of type {type}, {wanted} expected.", "电表型号为 {type}，要求 {wanted}。"),
    OTHER_CARRIER: (
        "The meter is read over {carrier}, {wanted} expected.",
        "电表通信方式为 {carrier}，要求 {wanted}。",
    ),
    PROTECTED: ("Supply of the meter is protected: a stop would not open it.", "该户处于保电状态，停电指令不会生效。"),
    OTHER_CAMPAIGN: (
        "Campaign {campaign} has the meter, too, and is {state}.",
        "批量任务 {campaign}（{state}）已包含该表。",
    ),
    RUNS: ("The meter runs this release already.", "电表已运行该版本。"),
    THERE: ("What is wanted was sent to the meter already.", "所需状态已下达。"),
}

KINDS: Mapping[str, Text] = {
    "stop": ("disconnect", "停电"),
    "connect": ("connect", "复电"),
    "unprotect": ("end protection", "解除保电"),
    "tariff": ("tariff", "电价下发"),
    "limits": ("limits", "限值下发"),
    "load": ("load control", "负荷控制"),
    "firmware": ("firmware", "固件升级"),
    "mode": ("mode of fee control", "费控模式"),
    "clock": ("clock", "校时"),
}
PAGE: Mapping[str, Text] = {
    "title": ("Campaigns", "批量任务"),
    "campaign": ("Campaign", "任务"),
    "state": ("State", "状态"),
    "author": ("By", "申请人"),
    "confirmed": ("Confirmed", "已确认"),
    "failed": ("Failed or overdue", "失败或超时"),
    "sent": ("Sent", "已发送"),
    "waiting": ("Waiting", "等待"),
    "number": ("Meters", "户数"),
    "group": ("Group", "分组"),
    "feeder": ("Feeder", "线路"),
    "groups": ("By group", "按分组"),
    "feeders": ("By feeder", "按线路"),
    "dry_run": ("Dry run", "试运行"),
    "rule": ("Rule", "规则"),
    "progress": ("Progress", "进度"),
    "history": ("History", "经过"),
    "at": ("At", "时间"),
    "none": ("There are no campaigns.", "没有批量任务。"),
    "none_next": (
        "One begins with POST /api/v1/campaigns; its dry run appears here before anything is sent.",
        "通过 POST /api/v1/campaigns 建立任务；试运行结果先在此显示，之后才会下发。",
    ),
    "newest": ("The newest first", "按时间倒序"),
    "more": ("Older ones", "更早"),
    "dry_run_none": ("No meter was looked at yet.", "尚未检查电表。"),
    "all": ("All campaigns", "全部任务"),
}
