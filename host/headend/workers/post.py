"""What one process of several is there for."""

from typing import NamedTuple

from headend.workers.turns import Patience


class Post(NamedTuple):
    """`roles`: of `roles.ROLES` · `name`: a holder's, of this process and no other · `lines`: this machine has the
    serial lines that addresses name.
    """

    roles: frozenset[str]
    name: str
    lines: bool = False
    patience: Patience = Patience()
