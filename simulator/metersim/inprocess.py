"""A meter in this process on CPython: the firmware core over a virtual board, on whatever clock the caller moves."""

from meter.core import Meter
from metersim.board import VirtualBoard


class InProcessMeter:
    """One meter. `record` is its provisioning record; the meter is started at once."""

    def __init__(self, board: VirtualBoard, record: bytes | None = None) -> None:
        self.board = board
        self._boot()
        if record is not None and not self.meter.commissioned:
            self.meter.provision(record)

    def run(self, seconds: int, stride_s: int = 1) -> None:
        """Let `seconds` pass in steps of `stride_s`; verifications and flash housekeeping run to their end in
        between."""
        while seconds > 0:
            step_s = min(stride_s, seconds)
            self.board.advance(step_s)
            self.step()
            seconds -= step_s

    def step(self) -> None:
        """One step of the firmware at the board's present time."""
        if self.board.take_key():
            self.meter.press_connect()
        self.meter.step(self.board.mono_s)
        self.settle()
        if self.meter.update.restart:
            self.board.reset()
            self._boot()

    def settle(self) -> None:
        """Finish a pending verification and due flash housekeeping."""
        while self.meter.verifying:
            self.meter.verify_slice()
        while self.meter.erase_due():
            self.meter.erase_step()

    def power_cycle(self, outage_s: int) -> None:
        """Mains fails without warning for `outage_s`, then the firmware boots from the same flash."""
        self.board.lose_power()
        self.board.true_s += outage_s
        self.board.restore_power()
        self._boot()

    def _boot(self) -> None:
        """Start the firmware; a boot stage has chosen the image before."""
        slots = self.board.slots
        if slots:
            slots.running = slots.choose()
        self.meter = Meter(self.board)
        self.meter.start(self.board.mono_s)
