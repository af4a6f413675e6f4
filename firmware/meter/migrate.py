"""Flash in an older format is moved to this one, at a start; cut at any operation the next start begins again.

Format 1 had its journal in the sectors where format 2 has the rings of its new logs. Its values are written to a new
journal, converted where their layout has grown; the last commit of them says so (KEY_FORMAT). Only then the old sectors
are erased. Intervals and events stay where they are.
"""

import struct

from meter import latches, store
from meter.journal import Journal
from meter.sectors import DAMAGED, FRESH, Sectors, StorageError
from meterlink import flashmap

_CHECKPOINT_1 = 88
_FORMAT_AT = 87  # of a checkpoint: its format
_SCRATCH = 256


def mount(kept, flash, witness: int) -> int:
    """Mount the journal of a `store.Store` over the block device `flash`; its status. StorageError where flash does not
    let the move be finished."""
    status = kept.mount()
    form = kept.get(store.KEY_FORMAT)
    if not form:
        old = Journal(flash, flashmap.OLD_JOURNAL_FIRST, flashmap.OLD_JOURNAL_SECTORS, flashmap.OLD_MAX_COMMIT)
        try:
            found = old.mount() != FRESH and old.sequence
        except StorageError:  # the flash cannot be read: nothing is known of it
            return status
        if not found:
            return status
        _move(kept, flash, old, witness)
        status = kept.mount()
        form = store.FORMAT_MOVED
    if form == store.FORMAT_MOVED:
        _blank(flash, flashmap.OLD_JOURNAL_FIRST, flashmap.OLD_JOURNAL_SECTORS)
        _commit(kept, [(store.KEY_FORMAT, store.FORMAT_2)])
    return status


def _move(kept, flash, old, witness: int) -> None:
    _blank(flash, flashmap.JOURNAL_FIRST, flashmap.JOURNAL_SECTORS)
    kept.mount()
    kept.journal.skip_to(max(old.sequence, witness))
    lost = old.status == DAMAGED or old.sequence < witness
    life = bytes(struct.calcsize(store.LIFE))
    last = [(store.KEY_FORMAT, store.FORMAT_MOVED)]
    for key in old.keys():
        try:
            value = old.get(key)
        except StorageError:
            value = None
        if value is None:
            lost = True
        elif key == store.KEY_LIFE:
            life = value
        elif key == store.KEY_CHECKPOINT:
            last.append((key, _checkpoint(value)))
        else:
            _commit(kept, [(key, _converted(key, value))])
    if lost:
        life = life[:-1] + bytes([life[-1] | store.LIFE_HISTORY_LOST])
    _commit(kept, last + [(store.KEY_LIFE, life)])


def _converted(key: int, value: bytes) -> bytes:
    """A value of format 1 in the layout of format 2."""
    if key == store.KEY_CLOSING and value:
        return value[: store.CLOSING_LENGTH] + _checkpoint(value[store.CLOSING_LENGTH :])
    if key == store.KEY_LATCHES:
        return value + bytes(latches.LENGTH - len(value))
    return value


def _checkpoint(value: bytes) -> bytes:
    """What format 1 did not count is 0."""
    return value[:_FORMAT_AT] + bytes([store.CHECKPOINT_FORMAT]) + bytes(store.CHECKPOINT_LENGTH - _CHECKPOINT_1)


def _commit(kept, items: "list[tuple[int, bytes]]") -> None:
    if not kept.commit(items, 0):
        raise StorageError("the flash cannot be moved to another format")


def _blank(flash, first: int, count: int) -> None:
    """Erase sectors that are not blank."""
    sectors = Sectors(flash, first, count)
    scratch = memoryview(bytearray(_SCRATCH))
    for sector in range(count):
        if not sectors.blank(sector, 0, scratch):
            sectors.erase(sector, scratch)
