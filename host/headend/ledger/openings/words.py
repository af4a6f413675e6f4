"""Texts and audited acts of imports of openings."""

from headend.audit import ACTIONS
from meterlink.labels import Text

PROPOSED: Text = (
    "import {import_id}: {lines} accounts, customers are owed {credit} and owe {debt}; report {digest}",
    "期初导入 {import_id}：{lines} 户，预存 {credit}，欠费 {debt}；核对报告 {digest}",
)
STATES: dict[str, Text] = {
    "proposed": ("waits for a second person", "待审批"),
    "running": ("approved, line after line is booked", "已批准，正在入账"),
    "done": ("all of it is booked", "已全部入账"),
    "withdrawn": ("refused or withdrawn; nothing was booked", "已撤回，未入账"),
}
NOTICE: Text = (
    "Its account was taken over on {since}: nobody is stopped for arrears before {until}.",
    "该户于 {since} 转入，{until} 之前不得因欠费停电。",
)
NOT_SHOWN: Text = (
    "The credit that its account was taken over with is not on the meter yet.",
    "该户转入的预存电费尚未到达电表。",
)

IMPORTED = "openings.import"

ACTIONS[IMPORTED] = ("imported openings", "导入期初余额")
