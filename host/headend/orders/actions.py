"""What the engine wants done on the wire. An action is a request: only a report says what became of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand this signed order to the meter. Past `last_s` (0 = never) the carrier must drop it.

    `parcels`: the pieces of its body where that travels apart; they go first, each when the one before was taken over ·
    `lease`: what `outbox.finished` knows this delivery by.
    """

    meter: int
    order_id: int
    raw: bytes
    last_s: int = 0
    parcels: tuple[bytes, ...] = ()
    lease: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """Put this question to the meter, and hand its answer up. `waited_for`: by somebody who wants to see it now."""

    meter: int
    raw: bytes
    waited_for: bool = False


@dataclass(frozen=True, slots=True)
class Ack:
    """Tell the meter that its records are stored up to here."""

    meter: int
    raw: bytes


Action = Deliver | Ask | Ack
