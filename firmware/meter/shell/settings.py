"""What a board is to be connected to: a JSON file on it, `links.json`. It holds nothing that decides about money.

    {"unit": 1, "baud": 9600, "parity": "even", "stop_bits": 1, "tcp": true,
     "wifi": {"ssid": "…", "key": "…", "country": "CN"},
     "mqtt": {"host": "broker.example", "port": 8883, "ca": "/ca.der", "cert": "/cert.der", "key": "/key.der"}}

Everything may be left out; then it is as below. What is not understood is refused as a whole, with a sentence on the
console, and the board runs with what stands here: it meters, and its service port answers.
"""

import json

from meterlink.lines import BAUDS, PARITIES

_MQTT = ("host", "port", "ca", "cert", "key", "server", "replay_ms")
_WIFI = ("ssid", "key", "country")


class SettingsError(ValueError):
    """Settings that are not taken; the text names field, value and expectation."""


class Settings:
    """unit, baud, parity, stop_bits: of the bus, until it is set over the service port · tcp: whether Modbus TCP is
    served · wifi, mqtt: dicts as above, or None.
    """

    def __init__(self, given: dict) -> None:
        known = {"unit": 1, "baud": 9600, "parity": "even", "stop_bits": 1, "tcp": False, "wifi": None, "mqtt": None}
        for name in given:
            if name not in known:
                raise SettingsError("{}: not a setting; one of {} expected".format(name, ", ".join(sorted(known))))
        known.update(given)
        self.unit = known["unit"]
        self.baud = known["baud"]
        self.parity = known["parity"]
        self.stop_bits = known["stop_bits"]
        self.tcp = known["tcp"]
        self.wifi = known["wifi"]
        self.mqtt = known["mqtt"]
        if type(self.unit) is not int or not 1 <= self.unit <= 247:
            raise SettingsError("unit: {} given, 1..247 expected".format(self.unit))
        _one_of("baud", self.baud, BAUDS)
        _one_of("parity", self.parity, PARITIES)
        _one_of("stop_bits", self.stop_bits, (1, 2))
        _one_of("tcp", self.tcp, (False, True))
        _part("wifi", self.wifi, _WIFI, ("ssid",))
        _part("mqtt", self.mqtt, _MQTT, ("host", "port"))

    def line(self) -> tuple:
        """The bus, as `start.bus` takes it."""
        return self.unit, self.baud, PARITIES.index(self.parity), self.stop_bits


def read(path: str) -> Settings:
    """The settings of a board; those of no file where there is none. SettingsError where the file is not understood."""
    try:
        with open(path) as file:
            given = json.load(file)
    except OSError:
        return Settings({})
    except ValueError:
        raise SettingsError("{}: JSON expected".format(path))
    if not isinstance(given, dict):
        raise SettingsError("{}: an object expected".format(path))
    return Settings(given)


def chosen(path: str) -> Settings:
    """The settings of a board; the usual ones, and a sentence on the console, where they are not understood."""
    try:
        return read(path)
    except SettingsError as error:
        print("{}: {}".format(path, error))
        return Settings({})


def _one_of(name, value, choices) -> None:
    if value not in choices or isinstance(value, bool) != isinstance(choices[0], bool):
        raise SettingsError("{}: {} given, one of {} expected".format(name, value, choices))


def _part(name, value, known, required) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        raise SettingsError("{}: an object expected".format(name))
    for field in value:
        if field not in known:
            raise SettingsError("{}.{}: not a setting; one of {} expected".format(name, field, ", ".join(known)))
    for field in required:
        if not value.get(field):
            raise SettingsError("{}.{}: missing".format(name, field))
