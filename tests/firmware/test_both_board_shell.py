"""What a board's start rests on: settings, the provisioning record, seconds, Wi-Fi."""

import asyncio
import os

from tests.firmware.chips import network, ports

ports.install()

from meter.shell import seconds, settings, start, wifi  # noqa: E402
from meter.shell.pause import sleep_ms  # noqa: E402
from tests.firmware.ramboard import Rig  # noqa: E402


def refused(given):
    try:
        settings.Settings(given)
    except settings.SettingsError as error:
        return str(error)
    return ""


def temporary(name):
    return "/tmp/openprepay-{}-{}".format(int.from_bytes(os.urandom(6), "big"), name)


def test_settings_are_taken_or_refused_with_field_and_value():
    usual = settings.Settings({})
    assert (usual.unit, usual.baud, usual.parity, usual.tcp, usual.wifi, usual.mqtt) == (
        1, 9600, "even", False, None, None,
    )  # fmt: skip
    given = settings.Settings(
        {"unit": 247, "baud": 115_200, "parity": "none", "tcp": True, "wifi": {"ssid": "meters"},
         "mqtt": {"host": "broker.example", "port": 8883, "ca": "/ca.der"}}
    )  # fmt: skip
    assert (given.unit, given.baud, given.mqtt["port"]) == (247, 115_200, 8883)
    for bad, word in (
        ({"unit": 0}, "unit"), ({"unit": 248}, "248"), ({"unit": "1"}, "unit"), ({"unit": True}, "unit"),
        ({"baud": 9601}, "9601"), ({"parity": "mark"}, "mark"), ({"tcp": 1}, "tcp"), ({"tls": 1}, "tls"),
        ({"wifi": "meters"}, "wifi"), ({"wifi": {}}, "wifi.ssid"), ({"wifi": {"ssid": "a", "pass": "b"}}, "wifi.pass"),
        ({"mqtt": {"host": "a"}}, "mqtt.port"), ({"mqtt": {"host": "a", "port": 1, "user": "b"}}, "mqtt.user"),
    ):  # fmt: skip
        assert word in refused(bad), bad


def test_a_file_of_settings():
    path = temporary("links.json")
    assert settings.read(path).baud == 9600, "no file"
    try:
        for text, wanted in (('{"baud": 19200}', 19_200), ("{", 0), ("[]", 0), ('{"baud": 1}', 0), ("", 0)):
            with open(path, "w") as file:
                file.write(text)
            try:
                assert settings.read(path).baud == wanted
            except settings.SettingsError as error:
                assert not wanted and str(error)
            assert settings.chosen(path).baud == (wanted or 9600), "a meter runs whatever its file says"
    finally:
        os.remove(path)


def test_a_record_is_taken_once_and_removed_and_one_that_is_refused_stays():
    path = temporary("provision.bin")
    rig = Rig(commission=False)
    start.commission(rig.meter, path)
    assert not rig.meter.commissioned, "no file"
    record = rig.record()
    for content, taken in ((record[:-1], False), (record, True)):
        with open(path, "wb") as file:
            file.write(content)
        start.commission(rig.meter, path)
        assert rig.meter.commissioned == taken
    with open(path, "wb") as file:
        file.write(rig.record(meter=999))
    start.commission(rig.meter, path)
    assert rig.meter.number != 999, "a commissioned meter takes no other"
    try:
        os.stat(path)
        raise AssertionError("secrets are left behind")
    except OSError:
        pass


class Clockwork:
    def __init__(self):
        self.mono_s = 0
        self.readings = 0

    async def refresh(self):
        self.readings += 1


def test_seconds_are_counted_also_where_the_program_was_held_up():
    fed = []
    now = [0x3FFFFF00]  # ticks wrap
    real = seconds.ticks_ms, seconds.ticks_diff, seconds.sleep_ms

    async def nap(ms):
        now[0] += ms
        await sleep_ms(0)

    seconds.ticks_ms = lambda: now[0] & 0x3FFFFFFF
    seconds.ticks_diff = lambda later, earlier: ((later - earlier + 0x20000000) & 0x3FFFFFFF) - 0x20000000
    seconds.sleep_ms = nap
    try:
        board = Clockwork()
        source = seconds.Seconds(lambda: fed.append(1))

        async def run():
            for _ in range(5):
                await source.second(board)
                await source.answer(None)
            now[0] += 3400  # a TLS handshake
            await source.second(board)

        begin = now[0]
        asyncio.run(run())
        assert board.mono_s == (now[0] - begin) // 1000 == 8
        assert board.readings == 6 and len(fed) == 5
    finally:
        seconds.ticks_ms, seconds.ticks_diff, seconds.sleep_ms = real


def test_wifi_joins_waits_longer_each_time_and_joins_again():
    waits = []
    lost = []
    real = wifi.sleep_ms

    async def nap(ms):
        waits.append(ms)
        lost.append(station.joins == 1)
        network.WLAN.there = len(waits) > 60 and not 5 < sum(lost) < 40
        await sleep_ms(0)

    wifi.sleep_ms = nap
    network.WLAN.there = False
    try:
        station = wifi.Wifi("meters", "secret", "CN", lambda n: n - 1)

        async def run():
            task = asyncio.create_task(station.serve())
            await station.ready()
            assert station.up()
            while station.joins < 2:
                await sleep_ms(0)
            task.cancel()

        asyncio.run(run())
        assert station.joins == 2 and set(station._station.asked) == {("meters", "secret")}
        pauses = [ms for ms in waits if ms != wifi.LOOK_MS]
        assert pauses and max(pauses) <= wifi.LONGEST_WAIT_MS
    finally:
        wifi.sleep_ms = real
        network.WLAN.there = True
