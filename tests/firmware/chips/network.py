"""A radio, in place of MicroPython's module `network`."""

STA_IF = 0


class WLAN:
    """there: whether the network can be joined · asked: (ssid, key) of each attempt."""

    there = True

    def __init__(self, interface):
        assert interface == STA_IF
        self.asked = []
        self._joined = False

    def active(self, on):
        pass

    def connect(self, ssid, key):
        self.asked.append((ssid, key))
        self._joined = WLAN.there

    def disconnect(self):
        self._joined = False

    def isconnected(self):
        return self._joined and WLAN.there


def country(code):
    assert len(code) == 2
