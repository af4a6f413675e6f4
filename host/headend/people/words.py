"""What the audit says of personal data, in English and Chinese."""

from headend import audit

AUDIT = {
    "person.add": ("person added", "新增客户资料"),
    "person.change": ("personal data changed", "修改客户资料"),
    "person.read": ("personal data read", "查看客户资料"),
    "person.find": ("person sought", "检索客户"),
    "person.erase": ("person erased", "删除客户资料"),
    "person.holds": ("account given to a person", "账户归属客户"),
    "person.leaves": ("account taken from a person", "账户解除归属"),
    "reads.read": ("load profile read", "查看负荷曲线"),
}
audit.ACTIONS.update(AUDIT)
