"""What a simulated fleet is: how many meters, on what carriers, with what faults."""

from dataclasses import dataclass

DAY_S = 86_400
HOUR_S = 3_600
START_S = 1_767_571_200  # Monday 2026-01-05 00:00 UTC

MQTT, MODBUS = "mqtt", "modbus"


@dataclass(frozen=True)
class Setting:
    """meters 1..1 000 000 · seed: equal ones give equal faults · start_s: when the day begins, a multiple of a day ·
    step_s: of a meter to which nothing happens, a divisor of a quarter of an hour · round_s: of the carrier and the
    head end, a divisor of step_s · loss, repeat: percent of messages, each way · delay_s: the longest on the way ·
    offline: percent of the meters that nobody reaches, at any time · on_bus: percent of the meters on buses ·
    spread_s: over which the steps of the meters are spread, below step_s · processes: that the meters live in ·
    awake: meters that each of them keeps awake (None: all)."""

    meters: int
    seed: int = 0
    start_s: int = START_S
    step_s: int = 900
    round_s: int = 60
    loss: int = 5
    repeat: int = 3
    delay_s: int = 20
    offline: int = 2
    on_bus: int = 10
    spread_s: int = 0
    processes: int = 1
    awake: int | None = None

    def number(self, index: int) -> int:
        """The number of meter 0, 1, 2, …"""
        return 70_000_001 + index

    def carrier(self, number: int) -> str:
        """What it is reached by."""
        return MODBUS if (number * 37) % 100 < self.on_bus else MQTT


REPLAY_MS = 90_000
"""How long a meter waits before it says a batch again."""
