"""Keeps a board on its Wi-Fi: one task, which also tells others when there is a network."""

import network

from meter.shell.backoff import Backoff
from meter.shell.pause import sleep_ms

LOOK_MS = 1000
JOIN_S = 20
FIRST_WAIT_MS = 1000
LONGEST_WAIT_MS = 60_000


class Wifi:
    """ssid, key, country: of the network · random(n): integer 0..n-1 for the back-off · joins: connections so far."""

    def __init__(self, ssid: str, key: str, country: str, random) -> None:
        self._ssid = ssid
        self._key = key
        self._random = random
        self.joins = 0
        if country:
            network.country(country)
        self._station = network.WLAN(network.STA_IF)

    def up(self) -> bool:
        """Whether there is a network now."""
        return bool(self._station.isconnected())

    async def ready(self) -> None:
        """Wait until there is a network."""
        while not self.up():
            await sleep_ms(LOOK_MS)

    async def serve(self) -> None:
        """Join and join again until cancelled."""
        station = self._station
        station.active(True)
        backoff = Backoff(FIRST_WAIT_MS, LONGEST_WAIT_MS, self._random)
        while True:
            station.connect(self._ssid, self._key)
            for _ in range(JOIN_S):
                if self.up():
                    break
                await sleep_ms(LOOK_MS)
            if self.up():
                self.joins += 1
                backoff.reset()
                while self.up():
                    await sleep_ms(LOOK_MS)
            station.disconnect()
            await sleep_ms(backoff.next_ms())
