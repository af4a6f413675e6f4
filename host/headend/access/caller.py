"""Who calls, and what they may do where: a channel with its token, or a person in a session."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from headend.access import areas
from headend.access.areas import EVERYWHERE

DESK = "desk."  # channel of a person who brings payments: "desk.li.wei"
CHANNEL, USER = "channel:", "user:"


class NotAllowed(Exception):
    """The caller may not do this. The text names what is held and what was expected."""


@dataclass(frozen=True)
class Caller:
    """Somebody who has shown a token that counts.

    `actor`: "channel:<name>" or "user:<name>", as orders and the audit name it · `allowed`: permission -> the areas
    where it is held · `session`: a person's · `must_change`: this person has to change the password first · `stale`:
    that the token was used is to be written down · `areas`: where the permission of the operation in hand is held
    (`at`); lists show these alone.
    """

    actor: str
    allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    max_payment_uc: int = 0
    session: int | None = None
    must_change: bool = False
    stale: bool = False
    areas: tuple[str, ...] = ()

    @property
    def permissions(self) -> frozenset[str]:
        """What is held anywhere."""
        return frozenset(self.allowed)

    @property
    def is_person(self) -> bool:
        return self.actor.startswith(USER)

    @property
    def login(self) -> str:
        """A person's name; "" of a channel."""
        return self.actor.removeprefix(USER) if self.is_person else ""

    @property
    def channel(self) -> str:
        """Whose payments these are: the channel, or a person's own desk."""
        return DESK + self.login if self.is_person else self.actor.removeprefix(CHANNEL)

    def may(self, permission: str, area: str = EVERYWHERE) -> bool:
        """Whether the permission is held in this area; "": everywhere."""
        return areas.covered(self.allowed.get(permission, ()), area)

    def need(self, permission: str, area: str = EVERYWHERE) -> None:
        """Raise NotAllowed unless the permission is held in this area; "": everywhere."""
        if not self.may(permission, area):
            raise NotAllowed(self._sentence(permission, f" in {area}" if area else " everywhere"))

    def at(self, permission: str) -> "Caller":
        """The caller with `areas` for this permission; raises NotAllowed where it is held nowhere."""
        held = self.allowed.get(permission)
        if not held:
            raise NotAllowed(self._sentence(permission, ""))
        return replace(self, areas=held)

    def sees(self, area: str) -> bool:
        """Whether an area is one of `areas` or below it."""
        return areas.covered(self.areas, area)

    def _sentence(self, permission: str, where: str) -> str:
        held = ", ".join(f"{name} in {'+'.join(at)}" if any(at) else name for name, at in sorted(self.allowed.items()))
        who = "this person" if self.is_person else f"the token of channel {self.channel}"
        return f"permission: {who} holds {held or 'none'}; {permission}{where} was expected."
