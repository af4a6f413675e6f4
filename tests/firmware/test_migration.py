"""Flash that an older release wrote: all that the meter was is there after the first start of this one."""

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from meter import migrate, store
from meter.sectors import StorageError
from meterlink import bodies, flashmap, records, results
from metersim.flash import TORN, NorFlash
from tests.firmware.ramboard import RamBoard
from tests.firmware.tokens import TypedRig
from tests.powercut import sweep

DATA = Path(__file__).parent / "data"
SAID: dict[str, Any] = json.loads((DATA / "format1.json").read_text())
OLD_SECTORS = 64


def image() -> NorFlash:
    """The old flash, in a partition that was grown at its end."""
    flash = NorFlash(flashmap.TOTAL_SECTORS, flashmap.SECTOR_BYTES, unit_bytes=8)
    raw = zlib.decompress((DATA / "format1.flash.z").read_bytes())
    for at in range(0, len(raw), 1 + flashmap.SECTOR_BYTES):
        start = raw[at] * flashmap.SECTOR_BYTES
        flash.data[start : start + flashmap.SECTOR_BYTES] = raw[at + 1 : at + 1 + flashmap.SECTOR_BYTES]
    return flash


def started(flash: NorFlash) -> TypedRig:
    board = RamBoard(flash)
    board.kept_witness, board.unix_s, board.closed = SAID["witness"], SAID["unix_s"], SAID["closed"]
    rig = TypedRig(board, commission=False)
    rig.version = 100
    return rig


def digest(rig: TypedRig, ring: Any, newest: int) -> str:
    held = rig.records(ring)
    return hashlib.sha256(b"".join(one for one in held if (records.check(one) or 0) <= newest)).hexdigest()


def check(rig: TypedRig) -> None:
    """That the meter is the one that the old release left."""
    meter = rig.meter
    assert not meter.history_lost and not meter.damaged and not meter.store.failed
    before, now = SAID["committed"], meter.committed()
    assert list(now[1:12]) == before[1:12], "registers and money"
    assert now[16] == store.CHECKPOINT_FORMAT and not any(now[17:28]), "what was not counted then is 0"
    assert meter.account.balance_uc() == before[10]
    assert [list(one) for one in meter.account.sources] == SAID["sources"]
    assert [list(one) for one in meter.account.folded] == SAID["folded"]
    assert (meter.number, meter.log_id, meter.account_epoch) == (SAID["number"], SAID["log_id"], SAID["account_epoch"])
    assert meter.boot > SAID["boot"] and meter.cursors == SAID["cursors"]
    assert (meter.supply.holds, meter.supply.control) == (SAID["holds"], SAID["control"])
    assert meter.supply.relay.operations == SAID["operations"]
    assert meter.latches.word & SAID["latches"] == SAID["latches"]
    assert sorted(meter.typed.tids.words) == SAID["tids"] and meter.typed.key.hex() == SAID["typed_key"]
    assert meter.typed.lockout.wrong == SAID["wrong"] and meter.typed._sums == SAID["sums"]
    assert [[role, version, key.hex()] for role, version, key in meter.signing_keys] == SAID["signing_keys"]
    assert meter.pricing.active and meter.pricing.active.encode().hex() == SAID["tariff"]
    assert meter.pricing.passive and meter.pricing.passive.encode().hex() == SAID["passive"]
    assert vars(meter.supply.limits) == vars(bodies.decode_limits(bytes.fromhex(SAID["limits"])))
    assert list(meter.top) == SAID["top"] and list(meter.floor) == SAID["floor"]
    for subject, raw in SAID["orders"].items():
        aspect, selector = map(int, subject.split("/"))
        assert meter.held_order(aspect, selector).hex() == raw, subject
    for name, ring in (("intervals", meter.store.intervals), ("events", meter.store.events)):
        oldest, newest, sha256 = SAID[name]
        assert ring.oldest == oldest and ring.newest >= newest
        assert digest(rig, ring, newest) == sha256


def test_everything_is_there() -> None:
    flash = image()
    rig = started(flash)
    check(rig)
    assert rig.meter.store.get(store.KEY_FORMAT) == store.FORMAT_2
    assert rig.meter.store.journal.sequence > SAID["sequence"]
    last = next(raw for subject, raw in SAID["orders"].items() if subject.startswith("2/"))
    assert rig.give(bytes.fromhex(last)) in (results.ALREADY, results.OLD_VERSION)
    assert rig.give(rig.credit(200_000_000)) == results.APPLIED
    rig.run(7200, 30)
    rig.outage(10)
    assert not rig.meter.history_lost and not rig.meter.damaged
    assert rig.logged(records.KIND_TOPUP) and rig.logged(records.KIND_SWITCH), "the old sectors serve the new logs"
    assert rig.report().balances()


def test_cut_at_every_operation_it_begins_again_or_is_done() -> None:
    def boot_and_check(flash: NorFlash) -> None:
        check(started(flash))

    swept = sweep(image(), lambda flash: check(started(flash)), boot_and_check)
    print(f"operations {swept.operations} cuts {swept.cuts}")
    assert swept.operations > 40 and len(TORN) * swept.operations == swept.cuts


def test_what_lies_in_the_new_place_is_in_nobodys_way() -> None:
    flash = image()
    for sector in range(flashmap.JOURNAL_FIRST, flashmap.TOTAL_SECTORS):
        start = sector * flashmap.SECTOR_BYTES
        flash.data[start : start + 4096] = hashlib.shake_128(bytes([sector])).digest(4096)
    check(started(flash))


def test_a_damaged_journal_is_moved_and_its_history_is_lost() -> None:
    flash = image()
    middle = flash.data.index(b"MJnl", 5 * 4096) + 700
    flash.data[middle : middle + 40] = bytes(40)
    rig = started(flash)
    assert rig.meter.history_lost
    rig.outage()
    assert rig.meter.history_lost, "and that is kept"


def test_an_older_copy_of_it_is_told() -> None:
    flash = image()
    board = RamBoard(flash)
    board.kept_witness = SAID["sequence"] + 50
    rig = TypedRig(board, commission=False)
    assert rig.meter.history_lost


def test_flash_that_does_not_let_itself_be_moved_leaves_the_old_one() -> None:
    flash = image()
    before = bytes(flash.data[: 16 * flashmap.SECTOR_BYTES])
    for sector in range(flashmap.JOURNAL_FIRST, flashmap.TOTAL_SECTORS):
        flash.wear_out(sector)
    with pytest.raises(StorageError):
        started(flash)
    assert bytes(flash.data[: 16 * flashmap.SECTOR_BYTES]) == before
    for sector in range(flashmap.JOURNAL_FIRST, flashmap.TOTAL_SECTORS):
        flash.wear_out(sector, 0)
    check(started(flash))


def test_a_new_meter_has_nothing_to_move() -> None:
    kept = store.Store(NorFlash(flashmap.TOTAL_SECTORS))
    flash = NorFlash(flashmap.TOTAL_SECTORS)
    assert migrate.mount(kept, flash, 0) == 0 and flash.ops == 0
