"""A firmware campaign by a running head end: real meters on a broker and on a bus, images over both, one that loses
power in the middle, one for another board."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import select

from headend.campaigns import acts, making
from headend.firmware import images
from headend.fleet import life, link, types
from headend.fleet.meters import MeterRecord, add_meter
from headend.gate import policy as gate_policy
from headend.gate import proposals
from headend.keys import root_orders
from headend.keys.holder import BENCH
from headend.keys.keystore import KeyStore
from headend.keys.provision import provision_record
from headend.links import image
from headend.links.image import Image
from headend.orders import ceremony
from headend.orders.policy import Policy
from headend.service import Service
from headend.settings import Settings
from headend.store.schema import meter_state
from headend.store.schema_campaign import campaign, campaign_meter
from headend.store.schema_firmware import firmware_delivery, firmware_running
from headend.workers import roles
from headend.workers.post import Post
from meter import release
from meterlink import bodies, results
from meterlink.image import Manifest
from metersim import bundle, workbench
from metersim.board import VirtualBoard
from metersim.child import ChildMeter
from metersim.load import Constant
from metersim.pty_line import PtyLine
from tests.brokers import Broker

ON_BROKER = (260100000101, 260100000102)
ON_BUS = 260100000103
OTHER_TYPE = 260100000104  # not there at all: no image is brought to it
SPEED = 20
LIMIT_S = 150
ANN, BOB = "user:ann", "user:bob"
NEXT = (release.RELEASE[0], release.RELEASE[1] + 1, 0)
HASTY = Policy(retry_s=1, settle_s=1, gap_s=1, poll_s=5)
LIMITS = bodies.Limits(3_000_000, 1_000_000, 10, 1, 1, 1, 0)  # no image is started while the relay is about to move
PLAN = {"groups": ["1", "rest"], "per_minute": 60_000}


@cache
def good() -> Image:
    return image.of(bundle.bundle("unix", NEXT))


def of_board(board: str) -> Image:
    """The same, for another board."""
    found = good().manifest
    manifest = Manifest(found.release, found.legal_version, found.journal, board, found.legal_sha256).pack()
    return image.of(good().raw[: -len(manifest)] + manifest)


class Works:
    """A head end's settings and keys, and meters with slots. `unit`: of the one on the bus, as the fleet has it."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack, unit: int) -> None:
        self.unit = unit
        self.root = KeyStore.generate(use=BENCH)
        self.keys = self.root.without_root()  # what the head end has
        broker = stack.enter_context(Broker(folder / "broker"))
        self.line = PtyLine(folder / "line")
        stack.callback(self.line.close)
        self.settings = Settings(
            database=f"sqlite:///{folder}/head-end.sqlite",
            signer_log=str(folder / "signed"),
            heads_folder="",
            access_key=str(folder / "access"),
            persons_key=str(folder / "persons"),
            http_port=0,
            mqtt_url=f"mqtt://{broker.host}:{broker.port}",
            firmware_bus_records_per_s=1000,
        )
        self.meters: dict[int, ChildMeter] = {}
        for number in (*ON_BROKER, ON_BUS):
            link = {"mqtt": f"{broker.host}:{broker.port}"} if number != ON_BUS else {"serial": self.line.meter_path}
            board = VirtualBoard(Constant(600), start_s=int(time.time()), seed=number)
            made = ChildMeter(
                board, folder=folder / f"{number}", record=self._provision(number), speed=SPEED, slots=True, **link
            )
            stack.callback(made.stop)
            made.start()
            self.meters[number] = made

    def record(self, number: int) -> MeterRecord:
        where = f"serial:{self.line.link}?unit={self.unit}&parity=N" if number == ON_BUS else ""
        carrier = "modbus" if number == ON_BUS else "mqtt"
        tariff, limits = workbench.DEFAULT_TARIFF.encode(), LIMITS.encode()
        return MeterRecord(number, carrier, where, tariff, limits, tag_key_version=self.keys.tag_key_version)

    def _provision(self, number: int) -> bytes:
        return provision_record(
            self.keys,
            meter=number,
            account_epoch=1,
            tag_key_version=self.keys.tag_key_version,
            interval_minutes=15,
            limits=LIMITS.encode(),
            tariff=workbench.DEFAULT_TARIFF.encode(),
            currency=156,
            imp_per_kwh=1600,
        )


class Head:
    """What people do at a running head end."""

    def __init__(self, works: Works, service: Service) -> None:
        self.works, self.service = works, service

    def write(self, fn: Callable[..., Any], *args: Any, **more: Any) -> Any:
        def job(conn: Any) -> Any:
            return fn(conn, int(time.time()), *args, **more)

        return self.service.store.write(job).result()

    def rows(self, table: Any) -> list[Any]:
        return self.service.store.read(lambda conn: list(conn.execute(select(table))))

    def fleet(self) -> None:
        self.write(gate_policy.put, "system", gate_policy.flat(1_000), "a bench")
        for name, family in (("here", "unix"), ("other", "esp32s3")):
            kind = types.MeterType(name, "t", "型", ("mqtt", "modbus"), 1, True, 9_000, (15,), (), family)
            self.write(types.put, kind, ANN)
        for number in (*ON_BROKER, ON_BUS, OTHER_TYPE):
            self.write(add_meter, self.works.record(number))
            self.write(life.describe, number, ANN, kind="other" if number == OTHER_TYPE else "here", serial="")

    def campaign(self, wanted: Image, meters: list[int], plan: dict[str, Any]) -> int:
        number, _ = self.write(images.add, wanted, {}, b"", "", ANN)
        return int(self.write(making.make, "firmware", {"image": number}, {"meters": meters}, plan, ANN, "a patch"))

    def row(self, campaign_id: int) -> Any:
        return next(row for row in self.rows(campaign) if row.id == campaign_id)

    def approve(self, campaign_id: int) -> None:
        proposal = self.write(acts.propose, campaign_id, ANN)
        digest = self.service.store.read(proposals.get, proposal).digest
        self.write(proposals.approve, proposal, digest, BOB)
        self.service.wake()

    def sign(self) -> None:
        """Root signs what waits for it."""
        keys = self.works.keys
        held = self.service.store.read(ceremony.waiting, keys)
        if held:
            assert self.write(ceremony.take, keys, root_orders.sign(self.works.root, held)) == []
            self.service.wake()

    async def until(self, what: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT_S
        while not await asyncio.to_thread(what):
            for one in self.works.meters.values():
                one.check()
            assert time.monotonic() < end, self.told()
            await asyncio.to_thread(self.sign)
            await asyncio.sleep(0.2)

    def told(self) -> str:
        found = [*self.rows(campaign), *self.rows(firmware_delivery), self.service.troubles()]
        return "\n".join(map(str, found))

    def report(self) -> bytes | None:
        """What is known of the meter on the bus."""
        return next(row.report for row in self.rows(meter_state) if row.meter == ON_BUS)

    def delivery(self, campaign_id: int, number: int) -> Any:
        mine = (row for row in self.rows(firmware_delivery) if (row.campaign, row.meter) == (campaign_id, number))
        return next(mine, None)


def run(tmp_path: Path, scenario: Callable[[Head], Any], post: Post | None = None, unit: int = 1) -> None:
    async def whole(works: Works) -> None:
        async with Service(works.settings, works.keys, policy=HASTY, post=post) as service:
            head = Head(works, service)
            await asyncio.to_thread(head.fleet)
            await scenario(head)

    with contextlib.ExitStack() as stack:
        asyncio.run(asyncio.wait_for(whole(Works(tmp_path, stack, unit)), 3 * LIMIT_S))


def test_a_campaign_brings_an_image_over_both_carriers_and_ends_when_meters_run_it(tmp_path: Path) -> None:
    async def scenario(head: Head) -> None:
        everyone = [*ON_BROKER, ON_BUS, OTHER_TYPE]
        made = await asyncio.to_thread(head.campaign, good(), everyone, PLAN)
        await head.until(lambda: head.row(made).state == "drafted")
        looked = {row.meter: (row.verdict, row.rule) for row in head.rows(campaign_meter)}
        assert looked.pop(OTHER_TYPE) == ("barred", "firmware.other_board")
        assert set(looked.values()) == {("in", "")}
        await asyncio.to_thread(head.approve, made)

        canary = next(row.meter for row in head.rows(campaign_meter) if row.verdict == "in" and row.grp == 0)
        cut = next(number for number in (ON_BUS, *ON_BROKER) if number != canary)
        await head.until(lambda: (row := head.delivery(made, cut)) is not None and row.record > 60)
        proved = {row.meter for row in head.rows(firmware_running) if row.proved}
        assert canary in proved, "the others begin once the first one runs it"
        await asyncio.to_thread(head.works.meters[cut].power_cycle)

        await head.until(lambda: head.row(made).state == "done")
        for number in (*ON_BROKER, ON_BUS):
            assert head.delivery(made, number).state == "running"
        runs = {row.meter: (row.release, row.proved) for row in head.rows(firmware_running)}
        assert runs == dict.fromkeys((*ON_BROKER, ON_BUS), (images.packed(NEXT), 1))

        again = await asyncio.to_thread(head.campaign, good(), everyone, PLAN)
        await head.until(lambda: head.row(again).state == "drafted")
        found = {row.meter: row.rule for row in head.rows(campaign_meter) if row.campaign == again}
        assert found == {**dict.fromkeys((*ON_BROKER, ON_BUS), "campaign.runs"), OTHER_TYPE: "firmware.other_board"}

    run(tmp_path, scenario)


def test_an_image_that_meters_refuse_is_not_ordered(tmp_path: Path) -> None:
    """Of meters whose type nobody told, the meter says that an image is not for its board. A worker brings it, to a
    meter whose unit number was wrong when the worker began."""

    async def scenario(head: Head) -> None:
        await asyncio.to_thread(head.write, life.describe, ON_BUS, ANN, kind=None, serial="")
        where = head.works.record(ON_BUS).address.replace("unit=9&", "unit=1&")
        await asyncio.sleep(2 * HASTY.poll_s)
        assert head.report() is None
        await asyncio.to_thread(head.write, link.change, ON_BUS, "modbus", where, ANN, new_bus=True)
        await head.until(lambda: head.report() is not None)
        wrong = of_board("esp32s3")
        made = await asyncio.to_thread(head.campaign, wrong, [ON_BUS], {**PLAN, "groups": ["rest"]})
        await head.until(lambda: head.row(made).state == "drafted")
        await asyncio.to_thread(head.approve, made)
        await head.until(lambda: head.row(made).state == "done")
        refused = head.delivery(made, ON_BUS)
        assert (refused.state, refused.result) == ("refused", results.WRONG_BOARD)
        assert head.row(made).counts.count('"bad":1') == 1

    run(tmp_path, scenario, Post(frozenset(roles.ROLES), "worker:1", lines=True), unit=9)
