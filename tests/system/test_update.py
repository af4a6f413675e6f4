"""Updates of a meter that runs under real MicroPython: the image comes over its line, is really another one, and runs
from a slot after the boot stage has mounted it."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import select

from headend.fleet.meters import MeterRecord, add_meter
from headend.links import image, image_mqtt
from headend.links.blocks import Block
from headend.links.bus import Bus, Patience, bus_at
from headend.links.failures import LinkError
from headend.links.image import Image
from headend.links.meter import MeterOnBus
from headend.store import identity, open_store
from headend.store.schema import order
from meter import release, update
from meterlink import bodies_root, modbus, orders, registers, results, states, stating
from metersim import bundle, workbench
from metersim.board import VirtualBoard
from metersim.child import ChildMeter
from metersim.load import Constant
from metersim.pty_line import PtyLine
from metersim.workbench import Workbench
from tests.brokers import Broker
from tests.proxies import Proxy

NUMBER = 260100000043
CREDIT_UC = 80_000_000
LIMIT_S = 120
HEAP = "512K"
SPEED = 20  # an ordered image waits 10 s before it is started
NEXT = (release.RELEASE[0], release.RELEASE[1] + 1, 0)
RAISES = "def options(given):\n    return given\n\n\ndef main(given):\n    raise OSError(given)\n"


@cache
def made(which: str) -> Image:
    """Images of release NEXT: "good"; "raises" where it is started; "deaf", which never answers its line."""
    changed: dict[str, str] = {}
    if which == "raises":
        changed = {"meter/boards/unix_main.py": RAISES}
    if which == "deaf":
        path = Path(bundle.build.sources()["meter/shell/rtu.py"])
        changed = {"meter/shell/rtu.py": path.read_text(encoding="utf-8").replace("if n:", "if n < 0:")}
    return image.of(bundle.bundle("unix", NEXT, changed))


class Place:
    """A meter with slots on a line, and the orders of its bench; mqtt: the broker that it connects to."""

    def __init__(self, folder: Path, mqtt: str | None = None) -> None:
        self.bench = Workbench(NUMBER)
        self.line = PtyLine(folder / "line")
        self.board = VirtualBoard(Constant(600), seed=1)
        self.meter = ChildMeter(
            self.board,
            folder=folder / "meter",
            record=self.bench.record(),
            serial=self.line.meter_path,
            mqtt=mqtt,
            heap=HEAP,
            speed=SPEED,
            slots=True,
            orders=[self.bench.credit(CREDIT_UC)],
        )
        self.meter.start()

    def bus(self) -> Bus:
        return bus_at(str(self.line.link), 9600, "N", Patience(quiet_s=0.2))

    def ordered(self, wanted: Image) -> bytes:
        return self.bench.firmware(wanted.raw)

    def close(self) -> None:
        self.meter.stop()
        self.line.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made_here = Place(tmp_path)
    try:
        yield made_here
    finally:
        made_here.close()


def run(place: Place, script: Callable[[MeterOnBus], Awaitable[None]]) -> None:
    async def whole() -> None:
        bus = place.bus()
        try:
            await script(MeterOnBus(bus, 1))
        finally:
            await bus.close()

    asyncio.run(asyncio.wait_for(whole(), 2 * LIMIT_S))


async def until(meter: MeterOnBus, place: Place, fits: Callable[[Block, Block], bool]) -> tuple[Block, Block]:
    """Read `update` and `ident` until they fit, over restarts of the meter."""
    end = time.monotonic() + LIMIT_S
    while True:
        try:
            shown, ident = await meter.block(registers.UPDATE), await meter.block(registers.IDENT)
            if fits(shown, ident):
                return shown, ident
        except LinkError:
            pass
        assert time.monotonic() < end, place.meter.console()[-2000:]
        await asyncio.sleep(0.2)


async def credited_uc(meter: MeterOnBus) -> int:
    return (await meter.block(registers.HOT)).number("credited_uc")


def in_state(state: int) -> Callable[[Block, Block], bool]:
    return lambda shown, ident: shown.number("update_state") == state


def test_a_meter_is_updated_over_its_line(place: Place) -> None:
    wanted = made("good")

    async def script(meter: MeterOnBus) -> None:
        told: list[int] = []
        before = await meter.block(registers.IDENT)
        sent = await image.send(meter, wanted, lambda done, of: told.append(done))
        assert sent.here and sent.state == states.UPDATE_WHOLE
        assert told == list(range(1, wanted.records + 1))
        energy_wh = (await meter.block(registers.HOT)).number("import_wh")
        assert (await meter.order(place.ordered(wanted))).code == results.APPLIED
        shown, ident = await until(meter, place, in_state(states.UPDATE_GOOD))
        assert (before.values["firmware"], ident.values["firmware"]) == (release.VERSION, "{}.{}.{}".format(*NEXT))
        assert ident.number("boot") == before.number("boot") + 1
        assert (shown.number("slot"), shown.number("update_result")) == (1, results.APPLIED)
        assert shown.octets("legal_sha256") == wanted.manifest.legal_sha256
        assert await credited_uc(meter) == CREDIT_UC
        assert (await meter.block(registers.HOT)).number("import_wh") >= energy_wh
        assert (await image.send(meter, wanted)).state == states.UPDATE_GOOD  # once more: nothing to do
        await asyncio.to_thread(place.meter.power_cycle)
        _, ident = await until(meter, place, in_state(states.UPDATE_GOOD))
        assert ident.values["firmware"] == "{}.{}.{}".format(*NEXT)

    run(place, script)


def test_a_line_that_is_cut_and_a_meter_that_loses_power(place: Place) -> None:
    """The sending goes on behind what is on the meter, however often it ends."""
    wanted = made("good")
    sent: list[int] = []

    async def some(meter: MeterOnBus, count: int) -> "asyncio.Task[image.Sent]":
        """Sending, `count` records after its start."""
        enough = asyncio.Event()
        until = len(sent) + count

        def told(done: int, of: int) -> None:
            sent.append(done)
            if len(sent) >= until:
                enough.set()

        task = asyncio.create_task(image.send(meter, wanted, told))
        await enough.wait()
        return task

    async def cut_short(meter: MeterOnBus) -> None:
        task = await some(meter, 300)
        task.cancel()
        await asyncio.wait([task])

    async def rest(meter: MeterOnBus) -> None:
        task = await some(meter, 100)
        await asyncio.to_thread(place.meter.power_cycle)
        assert (await task).state == states.UPDATE_WHOLE
        again = [number for number in set(sent) if sent.count(number) > 1]
        assert len(again) <= 32 + 2, "a cut costs the pieces of a sector, and the one under way"

    run(place, cut_short)
    run(place, rest)
    unheard = set(range(1, wanted.records + 1)) - set(sent)
    assert len(unheard) <= 2, "one a cut: it was stored, and its answer was lost"


@pytest.mark.parametrize("which", ["raises", "deaf"])
def test_an_image_that_does_not_work_is_rolled_back(place: Place, which: str) -> None:
    wanted = made(which)

    async def script(meter: MeterOnBus) -> None:
        await image.send(meter, wanted)
        assert (await meter.order(place.ordered(wanted))).code == results.APPLIED
        place.meter.world.speed = 4000 if place.meter.world else 0  # the trial lasts half an hour
        shown, ident = await until(meter, place, in_state(states.UPDATE_ROLLED_BACK))
        assert (shown.number("slot"), shown.number("update_result")) == (0, results.ROLLED_BACK)
        assert ident.values["firmware"] == release.VERSION
        assert await credited_uc(meter) == CREDIT_UC
        hot = await meter.block(registers.HOT)
        assert hot.number("alarms") >> states.ALARM_UPDATE & 1
        assert not hot.number("alarms") >> states.ALARM_HISTORY_LOST & 1

    run(place, script)
    assert place.meter.console().count("boot: slot 1, on trial") == (3 if which == "raises" else 1)
    assert update.LIMIT_S == 1800


def test_what_is_not_ordered_or_not_whole_does_not_run(place: Place) -> None:
    wanted = made("good")
    broken = image.Image(wanted.raw[:-1000] + bytes(1000), wanted.manifest, wanted.sha256)

    async def script(meter: MeterOnBus) -> None:
        sent = await image.send(meter, broken)
        assert not sent.here and sent.result == results.BAD_IMAGE
        assert (await image.send(meter, wanted)).here
        older = stating.firmware((0, 0, 9), 1, len(wanted.raw), wanted.sha256)
        assert (await meter.order(place.bench.order(orders.ASPECT_FIRMWARE, older))).code == results.DOWNGRADE
        forged = bytearray(place.ordered(wanted))
        forged[-20] ^= 1
        assert (await meter.order(bytes(forged))).code == results.BAD_TAG
        with pytest.raises(LinkError) as refused:
            await meter.bus.write_file(1, registers.IMAGE_FILE + 1, 0, bytes(38))
        assert refused.value.exception == modbus.ILLEGAL_ADDRESS
        shown, _ = await until(meter, place, in_state(states.UPDATE_WHOLE))
        assert shown.number("slot") == 0

    run(place, script)
    assert "on trial" not in place.meter.console()


def test_over_a_broker_with_a_link_that_drops(tmp_path: Path) -> None:
    """The meter's connection breaks after each 40 kB; what is there stays, and the order comes the same way."""
    wanted = made("good")
    told: list[int] = []
    with Broker(tmp_path / "broker") as broker, Proxy(broker.host, broker.port) as proxy:
        proxy.cut_after(40_000)
        place = Place(tmp_path, mqtt=f"127.0.0.1:{proxy.port}")
        try:
            options = image_mqtt.OneMeter(broker.host, broker.port, "sender", meter=NUMBER, session_expiry_s=0)

            async def script(meter: MeterOnBus) -> None:
                sent = await image_mqtt.send(options, wanted, lambda done, of: told.append(done))
                assert sent.state == states.UPDATE_WHOLE
                assert told == sorted(told), "what is there is not sent again"
                proxy.cut_after(None)
                verdict = await meter.order(place.ordered(wanted))
                assert verdict.code in (results.APPLIED, results.PENDING)
                shown, ident = await until(meter, place, in_state(states.UPDATE_GOOD))
                assert (shown.number("slot"), ident.values["firmware"]) == (1, "{}.{}.{}".format(*NEXT))
                assert (await image_mqtt.send(options, wanted)).state == states.UPDATE_GOOD

            run(place, script)
            assert proxy.accepted > 3
        finally:
            place.close()


def test_the_field_tool_brings_an_image_and_its_order(place: Place, tmp_path: Path) -> None:
    wanted = made("good")
    file, signed = tmp_path / "image", tmp_path / "order"
    file.write_bytes(wanted.raw)
    signed.write_bytes(place.ordered(wanted))
    where = ["--port", str(place.line.link), "--lang", "en"]
    done = openprepay("field", "update", str(file), *where)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "The meter says: update whole, waits for its order.")
    assert f"{wanted.records} of {wanted.records} pieces, 100 %" in done.stderr
    done = openprepay("field", "update", str(file), *where, "--order", str(signed), "--wait", str(LIMIT_S))
    assert done.returncode == 0, done
    assert "The meter says: Applied" in done.stdout
    assert done.stdout.splitlines()[-1] == "The meter says: update done."
    file.write_bytes(b"no image at all")
    done = openprepay("field", "update", str(file), *where)
    assert done.returncode == 2 and "holds no image" in done.stderr


def test_the_head_end_states_an_image_and_brings_it(place: Place, tmp_path: Path) -> None:
    wanted = made("good")
    file, config = tmp_path / "image", tmp_path / "head-end.toml"
    file.write_bytes(wanted.raw)
    config.write_text(f'database = "sqlite:///{tmp_path}/head-end.sqlite"\n')
    where = f"serial:{place.line.link}?unit=1&parity=N"
    with open_store(f"sqlite:///{tmp_path}/head-end.sqlite", inline=True) as store:
        store.write(identity.establish, 1_767_225_600, 1, 1, workbench.CURRENCY).result()
        limits, plan = workbench.DEFAULT_LIMITS.encode(), workbench.DEFAULT_TARIFF.encode()
        store.write(add_meter, 1_767_225_600, MeterRecord(NUMBER, "modbus", where, plan, limits)).result()
    done = openprepay("admin", "firmware", "send", str(NUMBER), str(file), "--config", str(config))
    assert (done.returncode, done.stdout) == (0, f"Meter {NUMBER}: whole, waits for its order.\n"), done
    done = openprepay("admin", "firmware", "order", str(NUMBER), str(file), "--config", str(config), "--why", "patch")
    assert done.returncode == 0 and wanted.sha256.hex() in done.stdout, done
    with open_store(f"sqlite:///{tmp_path}/head-end.sqlite", inline=True) as store:
        stated = store.read(lambda conn: conn.execute(select(order)).one())
    assert (stated.meter, stated.aspect, stated.state) == (NUMBER, orders.ASPECT_FIRMWARE, "queued")
    found = bodies_root.decode_firmware(stated.body)
    assert found == (NEXT, release.LEGAL_VERSION, len(wanted.raw), wanted.sha256)
    file.write_bytes(wanted.raw[:-8])
    done = openprepay("admin", "firmware", "order", str(NUMBER), str(file), "--config", str(config))
    assert done.returncode == 1 and "an image of the firmware" in done.stderr


def openprepay(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "openprepay.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=2 * LIMIT_S, check=False)
