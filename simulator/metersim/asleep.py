"""Meters that sleep while nothing happens to them: some kilobytes each in place of some dozens.

A meter between two events is what its objects hold and what lies in its flash. Asleep, its objects are one string of
bytes: pickled without what each operation of the firmware fills anew (the buffers of journal and rings), and compressed
against a meter that all are alike. Its flash is in a file (`flashfile`). Nothing of the firmware knows of it: a meter
that slept goes on bit for bit as one that stayed awake, as `tests/simulator/test_asleep.py` has it.
"""

import hashlib
import io
import pickle
import zlib
from typing import Any

from meter.exchange import Exchange
from meter.journal import Journal
from meter.registers import MeterRegisters
from meter.ring import Ring
from meterlink.modbus import MAX_PDU, ServerPdu
from metersim.board import VirtualBoard
from metersim.flashfile import FiledFlash, FlashFile
from metersim.inprocess import InProcessMeter
from metersim.load import Load

_WINDOW = -14  # 16 KiB, more than a meter takes; no header
_LEVEL = 1  # of compression: what is alike in all meters is found at any
_SCRATCH_BYTES = 256  # of a ring
_BLANK_HASH = hashlib.sha256().digest()


class FleetBoard(VirtualBoard):
    """A metering point of a fleet: its entropy is drawn from a seed and a counter, its flash is in a file."""

    flash: FiledFlash

    def __init__(self, load: Load, seed: int, start_s: int, flash: FiledFlash) -> None:
        super().__init__(load, start_s, flash=flash)
        del self._random  # its state takes more than all else of a sleeping meter
        self._seed = seed
        self._drawn = 0

    def entropy(self, count: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_128(b"%d %d" % (self._seed, self._drawn)).digest(count)


class FleetMeter:
    """A meter of a fleet, with what it says on a broker and what it shows on a bus."""

    def __init__(self, board: FleetBoard, record: bytes, replay_ms: int) -> None:
        self.board = board
        self.replay_ms = replay_ms
        self.unit = InProcessMeter(board, record)
        self.exchange = Exchange(self.unit.meter, replay_ms)
        self._registers: MeterRegisters | None = None

    def answer(self, request: bytes) -> bytes:
        """The Modbus response PDU to a request PDU; an order that came with it is judged."""
        if self._registers is None:
            self._registers = MeterRegisters(self.unit.meter)
        reply = memoryview(bytearray(MAX_PDU))
        size = ServerPdu(self._registers).handle(memoryview(request), len(request), reply)
        self._registers.answered()
        self.unit.settle()
        return bytes(reply[:size])

    def boot(self) -> None:
        """Power is back: a new start of the firmware on the same flash."""
        self.board.restore_power()
        self.unit = InProcessMeter(self.board)
        self.exchange = Exchange(self.unit.meter, self.replay_ms)
        self._registers = None


class NotIdle(ValueError):
    """A meter that is in the middle of something that no flash holds: an image that comes in pieces."""


class Dormitory:
    """Puts the meters of one fleet to sleep. file: of their flashes · like: a meter that the others resemble."""

    def __init__(self, file: FlashFile, like: FleetMeter) -> None:
        self._file = file
        self._like = self._packed(like)
        self._packer = zlib.compressobj(_LEVEL, wbits=_WINDOW, zdict=self._like)
        self._load: dict[int, Load] = {}

    def sleep(self, meter: FleetMeter) -> bytes:
        """The meter as bytes; it is not to be used any more. NotIdle where it cannot sleep now: it is as it was."""
        packer = self._packer.copy()
        return packer.compress(self._packed(meter)) + packer.flush()

    def wake(self, asleep: bytes, load: Load) -> FleetMeter:
        """The meter that was put to sleep; load: what it draws from now on."""
        meter: FleetMeter = pickle.loads(zlib.decompressobj(_WINDOW, zdict=self._like).decompress(asleep))  # noqa: S301 - our own
        meter.board.load = load
        meter.board.flash.attach(self._file)
        return meter

    def _packed(self, meter: FleetMeter) -> bytes:
        board = meter.board
        load = board.load
        board.load = _NO_LOAD
        board.flash.detach()
        try:
            out = io.BytesIO()
            _Pickler(out, 5).dump(meter)
            return out.getvalue()
        finally:
            board.load = load
            board.flash.attach(self._file)


class _NoLoad:
    def watts(self, unix_s: int) -> int:
        raise AssertionError("it sleeps")

    def __reduce__(self) -> str:
        return "_NO_LOAD"


_NO_LOAD = _NoLoad()

# Filled anew by each operation that uses them, so those of one length are shared by all meters of the process.
_BUFFERS: dict[int, bytearray] = {}


def _buffer(length: int) -> bytearray:
    return _BUFFERS.setdefault(length, bytearray(length))


class _Pickler(pickle.Pickler):
    def reducer_override(self, thing: Any) -> Any:
        kind = type(thing)
        if kind is Journal:
            return _journal, (_without(thing, "_buf", "_view"),)
        if kind is Ring:
            return _ring, (_without(thing, "_buf", "_scratch"),)
        if kind is _HASH:
            if thing.digest() != _BLANK_HASH:
                raise NotIdle("an image comes in pieces")
            return hashlib.sha256, ()
        return NotImplemented


_HASH = type(hashlib.sha256())


def _without(thing: Any, *names: str) -> dict[str, Any]:
    state = dict(vars(thing))
    for name in names:
        del state[name]
    return state


def _journal(state: dict[str, Any]) -> Journal:
    made = Journal.__new__(Journal)
    vars(made).update(state)
    made._buf = _buffer(made._max_record)
    made._view = memoryview(made._buf)
    return made


def _ring(state: dict[str, Any]) -> Ring:
    made = Ring.__new__(Ring)
    vars(made).update(state)
    made._buf = _buffer(made._size)
    made._scratch = memoryview(_buffer(_SCRATCH_BYTES))
    return made


__all__ = ["Dormitory", "FleetBoard", "FleetMeter", "NotIdle"]
