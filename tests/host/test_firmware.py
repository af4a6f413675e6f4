"""Images that are kept, and how they go to the meters of a campaign: on both databases, with meters that tell what
becomes of them in their logs."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from headend import cli
from headend.campaigns import acts, lifecycle, progress
from headend.firmware import deliveries, images, told, vendor
from headend.firmware import lifecycle as firmware
from headend.fleet import life, types
from headend.links import image as links_image
from headend.links.image import Image
from headend.refusals import Refused
from headend.store.schema import meter, meter_event, meter_state, order, outbox
from headend.store.schema_firmware import firmware_delivery, firmware_image, firmware_running
from headend.store.schema_readings import meter_reads
from headend.workers import leases
from headend.workers.homes import HOME, NUMBERS
from meterlink import events, results, states
from meterlink import image as wire
from meterlink.image import Manifest, Progress
from tests.host.campaign_rig import Field
from tests.host.gate_rig import ANN, EVE

LOG = 7
PLAN = {"groups": ["2", "rest"], "per_minute": 60_000, "answer_s": 60}
KEY = ec.derive_private_key(7, ec.SECP256R1())


def made(release: tuple[int, int, int] = (0, 2, 0), board: str = "unix", size: int = 1000) -> Image:
    found = Manifest(release, 1, 2, board, bytes(32)).pack()
    return links_image.of(bytes(size // 8 * 8) + found)


class Workshop(Field):
    """Meters, and what their logs tell."""

    def keep(self, wanted: Image) -> int:
        number, _ = self.write(images.add, wanted, {}, b"", "", ANN)
        return int(number)

    def campaign_of(self, number: int, **others: Any) -> int:
        return self.dry_run("firmware", terms={"image": number}, plan={**PLAN, **others})

    def approved(self, number: int, **others: Any) -> int:
        campaign = self.campaign_of(number, **others)
        self.approve(self.write(acts.propose, campaign, ANN))
        return campaign

    def deliveries(self, campaign: int) -> dict[int, Any]:
        mine = select(firmware_delivery).where(firmware_delivery.c.campaign == campaign)
        return {row.meter: row for row in self.store.read(lambda conn: conn.execute(mine).all())}

    def bring(self, campaign: int, *refuse: int) -> None:
        """Links carry what is due."""
        for row in self.store.read(deliveries.due, self.clock.now_s(), 1000):
            of = row.campaign, row.meter
            assert self.write(deliveries.carry, of)
            if row.meter in refuse:
                self.write(deliveries.refused, of, results.WRONG_BOARD)
            else:
                self.log(row.meter, events.UPDATE_RECEIVED, 0x000200, 1)
                self.write(told.whole, of, states.UPDATE_WHOLE, results.PENDING, 9)

    def log(self, number: int, code: int, argument: int, detail: int) -> None:
        """The meter tells of an event, and the engine has taken it."""

        def job(conn: Any, now_s: int) -> None:
            newest = select(meter_event.c.seq).where(meter_event.c.meter == number).order_by(meter_event.c.seq.desc())
            seq = (conn.execute(newest.limit(1)).scalar_one_or_none() or 0) + 1
            row = {"meter": number, "log_id": LOG, "seq": seq, "time_s": now_s, "code": code, "boot": 1}
            row |= {"import_reg_wh": 0, "argument": argument, "detail": detail}
            conn.execute(insert(meter_event), row)
            conn.execute(update(meter_reads).where(meter_reads.c.meter == number).values(log_id=LOG))
            told.logged(conn, now_s, number, LOG, seq)

        self.write(job)

    def sign(self) -> None:
        """What waits is signed, sent and held by the meters."""

        def job(conn: Any) -> None:
            sent = {"sent_s": self.clock.now_s(), "state": "confirmed"}
            conn.execute(update(order).where(order.c.state.in_(("queued", "sent", "unknown"))).values(sent))
            conn.execute(delete(outbox))

        self.store.write(job).result()

    def counts(self, campaign: int) -> dict[str, int]:
        row = self.campaign(campaign)
        return progress.added(self.store.read(progress.by_group, self.clock.now_s(), row))

    def step(self, seconds: int = 10) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            for _ in range(3):
                self.engine.due(self.clock.now_s())


@pytest.fixture
def shop(any_store_url: str) -> Iterator[Workshop]:
    made_here = Workshop(any_store_url, meters=6, areas=("north/f-1",))
    yield made_here
    made_here.close()


# --- images -----------------------------------------------------------------------------------------------------------


def test_an_image_is_kept_once_and_never_changes(shop: Workshop) -> None:
    number = shop.keep(made())
    assert shop.keep(made()) == number
    row = shop.store.read(images.get, number)
    assert (images.text(row.release), row.board, row.length) == ("0.2.0", "unix", len(made().raw))
    assert shop.store.read(images.load, number).raw == made().raw
    with pytest.raises(IntegrityError, match="stays what it was"):
        shop.store.write(lambda conn: conn.execute(update(firmware_image).values(board="other"))).result()
    for wrong in (b"", bytes(1000), made().raw[:-8], made().raw + bytes(8)):
        with pytest.raises(Refused, match="image"):
            images.read(wrong)
    with pytest.raises(Refused, match="image"):
        images.read(bytes(wire.MAX_LENGTH) + made().raw)


def test_only_what_the_vendor_signed_is_taken_where_keys_are_set(shop: Workshop, tmp_path: Any) -> None:
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    others = ec.derive_private_key(8, ec.SECP256R1())
    file = tmp_path / "keys.pem"
    file.write_bytes(b"".join(key.public_key().public_bytes(*form) for key in (others, KEY)))
    keys = vendor.load(str(file))
    good = KEY.sign(made().raw, ec.ECDSA(hashes.SHA256()))
    for signature in (b"", bytes(70), good[:-1], ec.derive_private_key(9, ec.SECP256R1()).sign(
        made().raw, ec.ECDSA(hashes.SHA256())
    )):  # fmt: skip
        with pytest.raises(Refused, match="signature"):
            shop.write(images.add, made(), keys, signature, "", ANN)
    with pytest.raises(Refused, match="signature"):
        shop.write(images.add, made((0, 2, 1)), keys, good, "", ANN)
    number, new = shop.write(images.add, made(), keys, good, "", ANN)
    der = KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert new and shop.store.read(images.get, number).signed_by == hashlib.sha256(der).hexdigest()
    with pytest.raises(Refused, match="firmware_keys"):
        vendor.load(str(tmp_path / "none.pem"))
    with pytest.raises(Refused, match="firmware_keys"):
        shop.write(images.add, made(), {}, good, "", ANN)


def test_a_withdrawn_image_begins_nothing_and_what_is_on_its_way_stops(shop: Workshop) -> None:
    number = shop.keep(made())
    campaign = shop.approved(number)
    shop.step()
    assert {row.state for row in shop.deliveries(campaign).values()} == {"waiting"}
    shop.write(images.withdraw, number, ANN, "a fault")
    assert shop.store.read(deliveries.due, shop.clock.now_s(), 100) == []
    shop.step()
    assert {row.state for row in shop.deliveries(campaign).values()} == {"stopped"}
    assert shop.counts(campaign)["dropped"] >= 2
    with pytest.raises(Refused, match="withdrawn"):
        shop.campaign_of(number)


# --- the dry run ------------------------------------------------------------------------------------------------------


def test_a_dry_run_leaves_out_whom_the_image_is_nothing_for(shop: Workshop) -> None:
    number = shop.keep(made())
    other, newer, there, alarmed, back, fine = shop.meters
    kind = types.MeterType("op9", "t", "型", ("modbus", "mqtt"), 1, True, 9_000, (15,), (), "esp32s3")
    shop.write(types.put, kind, ANN)
    shop.write(life.describe, other, ANN, kind="op9", serial="")
    shop.log(newer, events.UPDATE_GOOD, 0x000300, 1)
    shop.log(there, events.UPDATE_GOOD, 0x000200, 1)
    alarms = update(meter_state).where(meter_state.c.meter == alarmed).values(alarms=1 << states.ALARM_METERING)
    shop.store.write(lambda conn: conn.execute(alarms)).result()
    before = shop.campaign_of(number)
    row = {"campaign": before, "meter": back, "image": number, "state": firmware.BACK, "note": "1"}
    row |= {"begun_s": 0, "moved_s": 0}
    shop.store.write(lambda conn: conn.execute(insert(firmware_delivery), row)).result()
    found = {one.meter: (one.verdict, one.rule) for one in shop.looked_at(shop.campaign_of(number)).values()}
    assert found == {
        other: ("barred", "firmware.other_board"),
        newer: ("barred", "firmware.newer"),
        there: ("there", "campaign.runs"),
        alarmed: ("barred", "firmware.alarm"),
        back: ("barred", "firmware.rolled_back"),
        fine: ("in", ""),
    }


# --- on their way -----------------------------------------------------------------------------------------------------


def test_the_image_comes_first_then_the_order_and_a_group_goes_on_when_it_runs(shop: Workshop) -> None:
    campaign = shop.approved(shop.keep(made()))
    shop.step()
    first = shop.deliveries(campaign)
    assert len(first) == 2 and {row.state for row in first.values()} == {"waiting"}
    assert shop.counts(campaign)["bringing"] == 2 and shop.orders() == []
    shop.bring(campaign)
    shop.step()
    assert {one.meter for one in shop.orders()} == set(first)
    shop.sign()
    shop.step(20)
    assert len(shop.deliveries(campaign)) == 2, "held, and not proved to run"
    assert shop.counts(campaign)["under_way"] == 2 and not shop.counts(campaign)["confirmed"]
    for number in first:
        shop.log(number, events.UPDATE_STARTED, 0x000200, 1)
        shop.log(number, events.UPDATE_GOOD, 0x000200, 1)
    assert shop.counts(campaign)["confirmed"] == 2
    shop.step()
    assert len(shop.deliveries(campaign)) == 6
    shop.bring(campaign)
    shop.step()
    shop.sign()
    for number in set(shop.meters) - set(first):
        shop.log(number, events.UPDATE_STARTED, 0x000200, 1)
        shop.log(number, events.UPDATE_GOOD, 0x000200, 1)
    shop.step()
    assert shop.campaign(campaign).state == lifecycle.DONE
    runs = shop.store.read(lambda conn: conn.execute(select(firmware_running)).all())
    assert {(row.meter, row.release, row.proved) for row in runs} == {(one, 0x000200, 1) for one in shop.meters}


def test_an_image_on_trial_is_given_time_and_then_is_missing(shop: Workshop) -> None:
    campaign = shop.approved(shop.keep(made()), groups=["rest"], answer_s=60)
    shop.step()
    shop.bring(campaign)
    shop.step()
    shop.sign()
    shop.clock.advance(progress.TRIAL_S - 60)
    assert shop.counts(campaign)[progress.OVERDUE] == 0
    shop.clock.advance(120)
    assert shop.counts(campaign)[progress.OVERDUE] == 6


def test_what_is_rolled_back_and_what_is_refused_counts_as_failed_with_its_reason(shop: Workshop) -> None:
    campaign = shop.approved(shop.keep(made()), groups=["rest"])
    shop.step()
    refused, back, *_ = shop.meters
    shop.bring(campaign, refused)
    shop.step()
    shop.sign()
    shop.log(back, events.UPDATE_STARTED, 0x000200, 1)
    shop.log(back, events.UPDATE_ROLLED_BACK, 1, 2)
    counts = shop.counts(campaign)
    assert (counts["bad"], counts["under_way"]) == (2, 4)
    found = shop.deliveries(campaign)
    assert (found[refused].state, found[refused].result) == ("refused", results.WRONG_BOARD)
    assert (found[back].state, found[back].note) == ("rolled_back", "2")
    assert refused not in {one.meter for one in shop.orders()}, "what was refused is not ordered"


def test_an_older_attempt_proves_nothing(shop: Workshop) -> None:
    """What the log told before the meter received the image is of another attempt."""
    one = shop.meters[0]
    shop.log(one, events.UPDATE_RECEIVED, 0x000200, 1)
    shop.log(one, events.UPDATE_STARTED, 0x000200, 1)
    shop.log(one, events.UPDATE_ROLLED_BACK, 1, 1)
    campaign = shop.approved(shop.keep(made()), groups=["rest"])
    shop.step()
    shop.bring(campaign)
    assert shop.deliveries(campaign)[one].state == "here"


def test_a_meter_that_runs_it_already_is_known_by_its_log(shop: Workshop) -> None:
    campaign = shop.approved(shop.keep(made()), groups=["rest"])
    shop.step()
    one = shop.meters[0]
    shop.log(one, events.UPDATE_RECEIVED, 0x000200, 1)
    shop.log(one, events.UPDATE_GOOD, 0x000200, 1)
    assert shop.write(deliveries.carry, (campaign, one))
    shop.write(told.whole, (campaign, one), states.UPDATE_GOOD, results.APPLIED, 9)
    assert shop.deliveries(campaign)[one].state == "running"


def test_a_word_on_a_link_is_shown_and_proves_nothing(shop: Workshop) -> None:
    campaign = shop.approved(shop.keep(made()), groups=["rest"])
    shop.step()
    shop.bring(campaign)
    one = shop.meters[0]
    said = Progress(states.UPDATE_GOOD, 1, results.APPLIED, 9, made().sha256[:8], 0, (0, 2, 0))
    assert shop.store.read(told.is_news, one, said)
    shop.write(told.take, one, said)
    assert not shop.store.read(told.is_news, one, said)
    row = shop.deliveries(campaign)[one]
    assert (row.state, row.told) == ("here", states.UPDATE_GOOD)
    asked = select(meter_state.c.next_ask_s).where(meter_state.c.meter == one)
    assert shop.store.read(lambda conn: conn.execute(asked).scalar_one()) <= shop.clock.now_s()
    runs = shop.store.read(lambda conn: conn.execute(select(firmware_running)).one())
    assert (runs.release, runs.proved) == (0x000200, 0)


def test_a_broken_link_is_tried_again_ever_later_and_at_last_given_up(shop: Workshop) -> None:
    campaign = shop.approved(shop.keep(made()), groups=["rest"], deliver_s=1200)
    shop.step()
    of, waits = (campaign, shop.meters[0]), []
    for tries in range(1, 6):
        assert shop.write(deliveries.carry, of)
        shop.write(deliveries.halted, of, tries, "the line broke")
        waits.append(shop.deliveries(campaign)[of[1]].next_s - shop.clock.now_s())
    assert waits == [30, 60, 120, 240, 480]
    shop.clock.advance(1300)
    shop.step()
    found = shop.deliveries(campaign)
    assert found[of[1]].state == "late" and found[shop.meters[1]].state == "waiting", "nobody tried it yet"
    assert shop.counts(campaign)["missed"] == 1


def test_a_worker_that_dies_leaves_a_delivery_to_the_next(shop: Workshop) -> None:
    campaign = shop.approved(shop.keep(made()), groups=["rest"])
    shop.step()
    of = campaign, shop.meters[0]
    assert shop.write(deliveries.carry, of)
    shop.write(deliveries.recorded, [(of, 4)], [])
    now_s = shop.clock.now_s()
    assert of[1] not in {row.meter for row in shop.store.read(deliveries.due, now_s, 100)}
    later = {row.meter: row for row in shop.store.read(deliveries.due, now_s + deliveries.LEASE_S, 100)}
    assert (later[of[1]].state, later[of[1]].record) == ("bringing", 4)


def test_a_worker_carries_for_the_meters_that_it_holds(shop: Workshop) -> None:
    campaign = shop.approved(shop.keep(made()), groups=["rest"])
    shop.step()
    now_s, mine = shop.clock.now_s(), shop.meters[:2]

    def hold(conn: Any) -> None:
        for number in mine:
            home = conn.execute(select(HOME).where(meter.c.meter == number)).scalar_one()
            kind = next(kind for kind, numbers in NUMBERS.items() if home in numbers)
            assert leases.take(conn, kind, home, "w1", 60) is not None

    shop.store.write(hold).result()
    homes = {row.home for row in shop.store.read(deliveries.due, now_s, 100, "w1")}
    held = {row.meter for row in shop.store.read(deliveries.due, now_s, 100, "w1")}
    assert held >= set(mine) and len(homes) <= 2
    assert shop.store.read(deliveries.due, now_s, 100, "w2") == []
    assert shop.store.read(deliveries.trying, now_s, 100, "w1") == []
    assert len(shop.deliveries(campaign)) == 6


def test_a_pause_holds_images_and_an_abort_ends_them(shop: Workshop) -> None:
    campaign = shop.approved(shop.keep(made()), groups=["rest"])
    shop.step()
    mine = [(campaign, number) for number in shop.meters]
    assert shop.store.read(deliveries.still_wanted, mine) == set(mine)
    shop.write(acts.pause, campaign, EVE, "look first")
    assert shop.store.read(deliveries.still_wanted, mine) == set()
    assert shop.store.read(deliveries.due, shop.clock.now_s(), 100) == []
    shop.write(acts.resume, campaign, EVE, "go on")
    assert shop.store.read(deliveries.still_wanted, mine) == set(mine)
    shop.write(acts.abort, campaign, EVE, "a fault")
    assert {row.state for row in shop.deliveries(campaign).values()} == {"stopped"}
    assert json.loads(shop.campaign(campaign).terms)["image"]


def test_every_event_of_a_delivery_goes_by_the_table(shop: Workshop) -> None:
    campaign = shop.campaign_of(shop.keep(made()))
    one = shop.meters[0]
    shop.write(deliveries.begin, campaign, one, 1)
    for state in firmware.STATES:
        for event in firmware.EVENTS:
            put = update(firmware_delivery).values(state=state)
            shop.store.write(lambda conn, put=put: conn.execute(put)).result()
            moved = shop.write(deliveries.move, (campaign, one), event)
            wanted = firmware.TABLE.get((state, event))
            assert (moved, shop.deliveries(campaign)[one].state) == (wanted is not None, wanted or state)


# --- commands ---------------------------------------------------------------------------------------------------------


def test_images_are_put_in_listed_and_withdrawn_by_commands(tmp_path: Any, capsys: Any) -> None:
    file, signature, keys = tmp_path / "image", tmp_path / "image.sig", tmp_path / "vendor.pem"
    config = tmp_path / "openprepay.toml"
    config.write_text(f'database = "sqlite:///{tmp_path}/op.sqlite"\nfirmware_keys = "{keys}"\n')
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    keys.write_bytes(KEY.public_key().public_bytes(*form))
    file.write_bytes(made().raw)
    signature.write_bytes(KEY.sign(made().raw, ec.ECDSA(hashes.SHA256())))

    def admin(*words: object) -> tuple[int, str]:
        code = cli.admin(["firmware", *map(str, words), "--config", str(config)])
        said = capsys.readouterr()
        return code, said.out + said.err

    code, said = admin("import", file)
    assert code == 1 and "signature" in said
    code, said = admin("import", file, "--signature", signature, "--note", "spread")
    assert code == 0 and "Image 1: release 0.2.0 for unix." in said and made().sha256.hex() in said
    code, said = admin("list")
    assert code == 0 and "0.2.0  unix  1064 bytes" in said and "signed by" in said and "withdrawn" not in said
    assert admin("withdraw", 1, "--why", "a fault")[0] == 0
    assert "withdrawn" in admin("list")[1]
    assert admin("withdraw", 2, "--why", "a fault")[0] == 1
    file.write_bytes(b"no image at all")
    assert admin("import", file, "--signature", signature)[0] == 1
