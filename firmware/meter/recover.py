"""The start of a meter: what flash holds, whether it is all, and what a power cut left undone.

History is lost where the journal is blank but the witness says that it was not, where it is older than the witness,
where its sums do not agree, where a record shows more energy than it, or where damage has taken something that counts
(`Store.whole`). Such a meter goes on with what it has and takes no order but the one that recovers it. Damage that took
only what can be told again is told (events.FLASH_DAMAGED and its latch), and the meter goes on.
"""

import struct

from meter import credit, eventlog, held, latches, migrate, store, tick
from meter.sectors import DAMAGED, FRESH, StorageError
from meterlink import bodies, events, orders, provision, records, states
from meterlink.flashmap import CHECKPOINT_S

_REGION_JOURNAL = 1  # detail of events.FLASH_DAMAGED
_REGION_INTERVALS = 2
_REGION_EVENTS = 3
_REGION_LOGS = 4  # + place in Store.logs

_HOLDS = 32
_HALF = 1 << 31  # of what a record states of a register


def start(meter) -> None:
    """Bring a meter up from its flash; one commit at its end counts the boot. StorageError where flash in an older
    format cannot be moved to this one: it is as good as before, for another start."""
    flash = meter.store
    witness = meter.board.witness()
    status = migrate.mount(flash, meter.board.flash, witness)
    lost = flash.journal.sequence < witness or (status != FRESH and not flash.whole())
    flash.journal.skip_to(witness)
    life = _read_life(meter)
    _read_kept(meter)
    meter.senses.calibration.load()
    lost = not _read_account(meter, status == FRESH) or lost
    _read_supply(meter)
    meter.typed.load()
    lost = not _read_provision(meter) or lost
    damage = [(_REGION_JOURNAL, flash.journal.lost_records)] if status == DAMAGED else []
    _read_intervals(meter, damage)
    lost = _behind(meter) or lost
    newly_lost = lost and not meter.history_lost
    meter.history_lost = meter.history_lost or lost
    meter.boot = max(meter.boot, witness if lost else 0) + 1  # every boot commits, so the witness is above every boot
    if not meter.log_id or newly_lost:
        meter.log_id = int.from_bytes(meter.board.entropy(4), "big") & 0xFFFFFFFF or 1
    stopped = life & store.LIFE_STOPPED
    if status != FRESH and not stopped:
        meter.unclean_starts += 1
    _read_events(meter, damage)
    _read_logs(meter, damage)
    meter.damaged = bool(damage)
    checkpoint = meter.committed()
    gap_s = meter.clock.start(checkpoint[0], not meter.rtc_pending)
    meter.senses.start()
    meter.note(events.POWER_UP, gap_s, 0 if stopped or status == FRESH else 1)
    starts = _unclean_start(meter) if status != FRESH and not stopped else []
    if newly_lost:
        meter.note(events.HISTORY_LOST)
    for region, count in damage:
        meter.note(events.FLASH_DAMAGED, count, region)
    if meter.commissioned:
        meter.power_returned()
        _resume_supply(meter, checkpoint[12])
    meter.update.start()
    meter.inbox.start(meter.boot)
    if not lost:
        flash.forget_lost(meter.mono_s)  # what can be told again
    items = [(store.KEY_LIFE, meter.pack_life()), (store.KEY_FORMAT, store.FORMAT_2)]
    meter.commit(items + starts, True)


def _mount(flash, part) -> int:
    """Mount a journal or ring; a device that cannot even be read counts as damaged."""
    try:
        return part.mount()
    except StorageError:
        flash.failed = True
        return DAMAGED


def _read_life(meter) -> int:
    """Boot, log id and the like; the flags."""
    raw = meter.store.get(store.KEY_LIFE)
    if not raw:
        return 0
    clock = meter.clock
    meter.boot, meter.log_id, meter.unclean_starts, clock.day, clock.used_s, flags = struct.unpack(store.LIFE, raw)
    meter.history_lost = bool(flags & store.LIFE_HISTORY_LOST)
    meter.rtc_pending = bool(flags & store.LIFE_RTC_PENDING)  # and so it stays until a clock order is done
    return flags


def _read_kept(meter) -> None:
    for part in meter.kept:
        raw = meter.store.get(part.key)
        if raw:
            part.unpack(raw)


def _unclean_start(meter) -> "list[tuple[int, bytes]]":
    """Count a start that no stop came before: too many in an hour are latched. What the journal is to hold of it."""
    times, many = latches.unclean_start(meter.store.get(store.KEY_STARTS) or b"", meter.now_s())
    if many:
        meter.latch(states.LATCH_UNCLEAN_STARTS)
    return [(store.KEY_STARTS, times)]


def _read_account(meter, fresh: bool) -> bool:
    """Registers and money; whether they agree with each other (on a fresh flash there is nothing to agree)."""
    account, energy, flash = meter.account, meter.energy, meter.store
    rest_from = 0
    raw = flash.get(store.KEY_ACCOUNT)
    if raw:
        f = struct.unpack(store.ACCOUNT, raw)
        meter.account_epoch, meter.supply.retired, rest_from = f[0], f[1] == store.ACCOUNT_RETIRED, f[2]
        meter.floor = f[3:]
    folded: "list[list[int]]" = []
    while len(folded) < credit.FOLDED:
        entry = credit.unpack_folded(meter.account_epoch, flash.get(store.KEY_FOLDED + len(folded)))
        if not entry:
            break
        folded.append(entry)
    account.unpack_sources(flash.get(store.KEY_SOURCES) or b"", folded, rest_from)
    stated = flash.get(store.KEY_ALLOWANCE)
    if stated:
        meter.allowance.unpack(stated, flash.get(store.KEY_COUNTDOWN))
    raw = flash.get(store.KEY_CHECKPOINT)
    if not raw:
        return fresh
    f = struct.unpack(store.CHECKPOINT, raw)
    counted = meter.allowance.counted()
    f = tick.unpack(flash.get(store.KEY_TICK) or b"", raw, f + counted)
    if counted:
        meter.allowance.restore(meter.allowance.state()[:5] + f[store.CHECKPOINT_COUNT :])
        f = f[: store.CHECKPOINT_COUNT]
    meter.set_committed(f)
    energy.import_wh, energy.import_rest, energy.export_wh, energy.export_rest = f[1:5]
    account.earned_uc, account.adjusted_uc, account.charged_uc, account.remainder = f[6], f[8], f[9], f[11]
    meter.noted, meter.log.newest, meter.profile.flags = f[13:16]
    energy.import_rates, energy.export_rates = list(f[17:21]), list(f[21:25])
    account.waiting_uc, account.earned_rest, meter.pricing.step_wh = f[25:]
    account.credited_uc -= account.waiting_uc
    return (account.credited_uc, account.refunded_uc, account.balance_uc()) == (f[5], f[7], f[10])


def _read_supply(meter) -> None:
    raw = meter.store.get(store.KEY_SUPPLY)
    if not raw:
        meter.supply.adopt()
    else:
        meter.supply.unpack(raw)


def _read_provision(meter) -> bool:
    """Who the meter is; False where a record is there that cannot be read."""
    head = meter.store.get(store.KEY_PROVISION)
    if not head:
        return True
    try:
        given = provision.decode(head + (meter.store.get(store.KEY_PROVISION_TAIL) or b""))
    except provision.ProvisionError:
        return False
    rests = meter.energy.import_rest, meter.energy.export_rest
    meter.take_provision(given)
    meter.energy.import_rest, meter.energy.export_rest = rests  # they are in units of this constant already
    meter.top = max(meter.top, held.top(meter))
    return True


def _behind(meter) -> bool:
    """Whether the newest interval states more energy than the checkpoint: then that is older than what was shown. The
    registers are raised to it, as they only rise."""
    energy, ring = meter.energy, meter.store.intervals
    untold = ring.newest > meter.profile.seq
    meter.profile.seq = max(meter.profile.seq, ring.newest)
    record = bytearray(records.RECORD_LENGTH)
    if not ring.read_into(ring.newest, record):
        return False
    f = records.unpack_interval(bytes(record))
    ahead = [(f[2] - energy.import_wh) & 0xFFFFFFFF, (f[3] - energy.export_wh) & 0xFFFFFFFF]
    ahead = [wh if wh < _HALF else 0 for wh in ahead]  # beyond it: behind
    energy.import_wh += ahead[0]
    energy.export_wh += ahead[1]
    if untold:
        meter.profile.follow(bytes(record), energy.import_wh, energy.export_wh)
    return any(ahead)


def _read_events(meter, damage: list) -> None:
    """Finish what the last commit's events lack in their ring."""
    flash = meter.store
    status = _mount(flash, flash.events)
    known = meter.log.newest
    for seq, record in eventlog.split(flash.get(store.KEY_EVENTS) or b""):
        if seq > known:
            known = seq
        flash.append(flash.events, seq, record)
    lost = known - max(0, flash.events.newest)
    meter.log.newest = max(known, flash.events.newest)
    if status == DAMAGED or lost > 0:
        damage.append((_REGION_EVENTS, max(0, lost)))


def _read_logs(meter, damage: list) -> None:
    """Finish what the last commits lack in the other rings."""
    flash = meter.store
    for kind in flash.logs:
        ring = flash.logs[kind]
        status = _mount(flash, ring)
        newest = max(0, ring.newest)
        if kind == store.NUISANCE:
            meter.nuisance.newest = newest
            lost = 0
        else:
            packed = flash.get(store.KEY_LOGS + kind) or b""
            if packed:
                flash.log({kind: packed})
            lost = max(0, flash.newest[kind] - len(packed) // struct.calcsize(records.FORMAT_OF[kind]) - newest)
            flash.newest[kind] = max(flash.newest[kind], newest)
        if status == DAMAGED or lost:
            damage.append((_REGION_LOGS + kind, lost))


def _read_intervals(meter, damage: list) -> None:
    """Finish the interval that was committed and did not reach its ring."""
    flash, profile = meter.store, meter.profile
    status = _mount(flash, flash.intervals)
    raw = flash.get(store.KEY_PERIOD)
    if raw:
        profile.unpack(raw)
    lost = profile.seq - 1 - max(0, flash.intervals.newest)
    if profile.record:
        flash.append(flash.intervals, profile.seq, profile.record)
    if status == DAMAGED or lost > 0:
        damage.append((_REGION_INTERVALS, max(0, lost)))
    cursors = flash.get(store.KEY_CURSORS)
    if cursors:
        meter.cursors = list(struct.unpack(store.CURSORS, cursors))


def _resume_supply(meter, left_s: int) -> None:
    """Trips that stood armed go on where the last checkpoint left them, less the time that a checkpoint may be old."""
    delays = []
    for hold in range(1, _HOLDS):
        if meter.supply.holds >> hold & 1:
            raw = meter.held_order(orders.ASPECT_SUPPLY, hold)
            if raw:
                delays.append((hold, bodies.decode_supply(orders.Order(raw).stated.body)[2]))
    left_s = max(0, left_s - CHECKPOINT_S) if left_s else -1
    meter.supply.resume(meter.mono_s, left_s, delays)
