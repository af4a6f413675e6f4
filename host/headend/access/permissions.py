"""What can be allowed. A channel's token holds some of them (as scopes); a role of people is a set of them.

Reading an area's meters does not include whose they are: that is `PERSONS`, and reading it is audited.
"""

from collections.abc import Mapping

PAYMENTS = "payments"  # bring payments, and see one's own
REFUNDS = "refunds"  # propose a reversal, a refund or a transfer
ORDERS = "orders"  # state orders to meters; those that may open relays pass the gate
APPROVE = "approve"  # approve what somebody else proposed; lift a freeze with a second person
FREEZE = "freeze"  # stop all opening orders at once
SAFETY = "safety"  # set and release safety holds
REGISTRY = "registry"  # keep exclusions and the calendar
READ = "read"  # see meters, orders, reads, balances
PERSONS = "persons"  # see and keep personal data
BOOKS = "books"  # bills, imports, reconciliation, seals
AUDIT = "audit"  # read the audit
USERS = "users"  # people, their grants and their channels
ADMIN = "admin"  # add meters, set areas and policies
SELF = "self"  # one's own account: every person who signed in holds it, no channel does, and nobody can give it

# Permission -> what it allows, in English and Chinese.
PERMISSIONS: Mapping[str, tuple[str, str]] = {
    PAYMENTS: ("bring payments", "收费"),
    REFUNDS: ("propose refunds", "退费申请"),
    ORDERS: ("state orders to meters", "下发指令"),
    APPROVE: ("approve what others proposed", "审批"),
    FREEZE: ("freeze all disconnections", "冻结停电"),
    SAFETY: ("set and release safety holds", "安全锁定"),
    REGISTRY: ("keep exclusions", "保电与免停名单"),
    READ: ("see meters, orders and reads", "查询"),
    PERSONS: ("see and keep personal data", "客户资料"),
    BOOKS: ("keep the books", "账务"),
    AUDIT: ("read the audit", "审计"),
    USERS: ("manage people and channels", "用户管理"),
    ADMIN: ("set up meters and policies", "系统管理"),
}

# What a channel's token may hold: a program never approves, and never makes people.
SCOPES = tuple(permission for permission in PERMISSIONS if permission not in (APPROVE, USERS))
