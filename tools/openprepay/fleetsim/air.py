"""What lies between the head end and a fleet, and keeps no promise: messages get lost, come twice, overtake each other;
meters cannot be reached for hours; the broker forgets all that it has.

A broker says of each meter that it had a link to, when that is lost, what the meter left with it (`WILL`).
"""

import random
from collections.abc import Iterable
from functools import partial

from headend.orders.actions import Action, Ask, Deliver
from meterlink import topics
from openprepay.fleetsim.flock import WILL, Mail, Said
from openprepay.fleetsim.setting import MODBUS, Setting
from openprepay.simcheck.network import Network

_DOWN = {Deliver: topics.DN_ORDER, Ask: topics.DN_ASK}
WILL_S = 90  # after which a broker takes a silent link for lost


class Air:
    """`away`: meters that nobody reaches now. What arrives is taken by `mail` and `heard`."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._rng = random.Random(f"air {setting.seed}")
        self.network = Network(self._rng, setting.loss, setting.repeat, setting.delay_s)
        self.away: set[int] = set()
        self._wills: dict[int, bytes] = {}
        self._mail: list[Mail] = []
        self._heard: list[Said] = []

    # -- up ------------------------------------------------------------------------------------------------------------

    def up(self, now_s: int, said: Iterable[Said]) -> None:
        """What meters said begins its way."""
        for one in said:
            if one.meter in self.away:
                continue
            if one.what == WILL:
                self._wills[one.meter] = one.raw
            else:
                self.network.send(now_s, partial(self._heard.append, one))

    def lose(self, now_s: int, numbers: Iterable[int]) -> None:
        """The links of these meters are lost."""
        for number in numbers:
            self.away.add(number)
            will = self._wills.pop(number, None)
            if will is not None:
                self.network.send(now_s + WILL_S, partial(self._heard.append, Said(number, topics.UP_STATE, will)))

    def find(self, numbers: Iterable[int]) -> None:
        """They can be reached again."""
        self.away.difference_update(numbers)

    # -- down ----------------------------------------------------------------------------------------------------------

    def down(self, now_s: int, action: Action) -> bool:
        """An action of the head end begins its way; False where a bus tells at once that it came to nothing."""
        on_bus = self._setting.carrier(action.meter) == MODBUS
        lost = on_bus and (action.meter in self.away or self._lost())
        if lost:
            return False
        heard = not (on_bus and self._lost())  # an answer on a bus
        for piece in action.parcels if isinstance(action, Deliver) else ():
            self._send(now_s, Mail(action.meter, topics.DN_PARCEL, piece), on_bus)
        self._send(now_s, Mail(action.meter, _DOWN.get(type(action), topics.DN_ACK), action.raw, heard), on_bus)
        return heard

    def _send(self, now_s: int, mail: Mail, on_bus: bool) -> None:
        if on_bus:
            self._mail.append(mail)
        else:
            self.network.send(now_s, partial(self._mail.append, mail))

    def _lost(self) -> bool:
        return self._rng.randrange(100) < self._setting.loss

    # -- arrivals ------------------------------------------------------------------------------------------------------

    def arrive(self, now_s: int) -> None:
        """What has come to its end by now."""
        for land in self.network.arrivals(now_s):
            land()

    def mail(self) -> list[Mail]:
        """What has come to the meters, those that can be reached."""
        came, self._mail = self._mail, []
        return [mail for mail in came if mail.meter not in self.away]

    def heard(self) -> list[Said]:
        """What has come to the head end."""
        came, self._heard = self._heard, []
        return came

    def wipe(self) -> int:
        """The broker forgets what it has."""
        forgotten = self.network.wipe() + len(self._mail) + len(self._heard)
        self._mail, self._heard = [], []
        self._wills.clear()
        return forgotten
