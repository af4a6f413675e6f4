"""Roles of people: sets of permissions, granted for an area. One person may hold several.

Who manages people and policies (administrator) approves nothing, and who approves manages no people: the same person
with both would need nobody.
"""

from typing import NamedTuple

from headend.access.permissions import (
    ADMIN,
    APPROVE,
    AUDIT,
    BOOKS,
    FREEZE,
    ORDERS,
    PAYMENTS,
    PERSONS,
    READ,
    REFUNDS,
    REGISTRY,
    SAFETY,
    USERS,
)


class Role(NamedTuple):
    """A role's name in English and Chinese, and what it may do."""

    title: tuple[str, str]
    permissions: frozenset[str]


ADMINISTRATOR = "administrator"

ROLES: dict[str, Role] = {
    "viewer": Role(("viewer", "查询"), frozenset({READ})),
    "cashier": Role(("cashier", "收费员"), frozenset({READ, PAYMENTS})),
    "clerk": Role(("clerk", "账务"), frozenset({READ, BOOKS, REFUNDS, REGISTRY, PERSONS})),
    "dispatcher": Role(("dispatcher", "调度"), frozenset({READ, ORDERS, FREEZE})),
    "approver": Role(("approver", "审批"), frozenset({READ, APPROVE, FREEZE})),
    "safety": Role(("safety officer", "安全员"), frozenset({READ, SAFETY, FREEZE})),
    "auditor": Role(("auditor", "审计"), frozenset({READ, AUDIT})),
    "engineer": Role(("engineer", "工程师"), frozenset({READ, ADMIN})),
    "manager": Role(("manager", "主管"), frozenset({READ, APPROVE, FREEZE, REGISTRY, PERSONS, AUDIT})),
    ADMINISTRATOR: Role(("administrator", "系统管理员"), frozenset({READ, USERS, ADMIN})),
}
