"""What the audit of configuration says to people, in English and Chinese, and what it records in the audit of acts."""

from collections.abc import Mapping

from headend import audit
from meterlink.labels import Text

AUDIT = {
    "configuration.policy": ("limits of the configuration audit were changed", "变更参数稽核规则"),
    "configuration.repair": ("repairs of configuration were proposed", "提出参数修复"),
}
audit.ACTIONS.update(AUDIT)

ASPECTS: Mapping[str, Text] = {
    "mode": ("mode of fee control", "费控模式"),
    "tariff": ("tariff", "电价"),
    "limits": ("limits", "限值"),
    "keys": ("signing keys", "签名密钥"),
    "key": ("per-meter key", "电表密钥"),
    "firmware": ("firmware", "固件"),
    "clock": ("clock", "时钟"),
}

# Aspect -> sentence; `wanted` and `reported` are said in the same language.
FINDINGS: Mapping[str, Text] = {
    "mode": (
        "The meter reports the mode “{reported}”, “{wanted}” is wanted.",
        "电表上报费控模式为“{reported}”，应为“{wanted}”。",
    ),
    "tariff": ("The meter holds tariff {reported}, {wanted} is wanted.", "电表电价为 {reported}，应为 {wanted}。"),
    "limits": ("The meter holds limits {reported}, {wanted} are wanted.", "电表限值为 {reported}，应为 {wanted}。"),
    "keys": (
        "The meter holds signing keys {reported}, {wanted} are wanted.",
        "电表签名密钥为 {reported}，应为 {wanted}。",
    ),
    "key": (
        "The meter uses its key of version {reported}, version {wanted} was stated.",
        "电表使用第 {reported} 版密钥，应为第 {wanted} 版。",
    ),
    "firmware": ("The meter holds firmware {reported}, {wanted} is wanted.", "电表固件为 {reported}，应为 {wanted}。"),
    "clock": (
        "The meter's clock is {reported} s off, {wanted} s are let be.",
        "电表时钟偏差 {reported} 秒，允许 {wanted} 秒。",
    ),
}
NOT_PREPAID: Text = (
    "The meter is not set to prepayment: it reports “{reported}”, “{wanted}” is wanted; it lets supply run on unpaid.",
    "卡表未设置为预付费：上报“{reported}”，应为“{wanted}”，欠费仍会持续供电。",
)
CLOCK_UNKNOWN: Text = ("The meter does not know the time.", "电表时钟未知。")
AS_PROVISIONED: Text = ("as it was provisioned", "出厂设置")
VERSION: Text = ("version {version}", "第 {version} 版")
OTHER_CONTENT: Text = ("version {version} with other content", "第 {version} 版（内容不符）")
WHY_REPAIR = "configuration audit: {aspect}"

# Columns of the file, and what the page says.
COLUMNS: tuple[Text, ...] = (
    ("Meter", "电表"),
    ("Area", "区域"),
    ("What", "项目"),
    ("Detail", "说明"),
    ("Since", "发现时间"),
    ("Proposal", "申请"),
)
PAGE: Mapping[str, Text] = {
    "title": ("Configuration of meters", "参数稽核"),
    "what": ("What", "项目"),
    "since": ("Since", "发现时间"),
    "summary": ("What stands", "现存差异"),
    "findings": ("Meters that differ", "差异电表"),
    "none": ("Nothing differs.", "无差异。"),
    "audited": ("Audited {time} UTC: {meters} meters.", "{time} UTC 完成稽核，共 {meters} 块电表。"),
    "auditing": (
        "Under way since {time} UTC: {meters} meters so far.",
        "{time} UTC 开始稽核，已完成 {meters} 块电表。",
    ),
    "not_yet": ("No audit was made yet.", "尚未稽核。"),
    "not_yet_next": (
        "It begins by itself each day, as soon as a meter is in the fleet.",
        "有电表在册后，系统每日自动稽核。",
    ),
    "all": ("All", "全部"),
    "file": ("As a file", "导出文件"),
}
