"""The board port: all that the core knows of the world. One class a board in `boards/`; the simulator has its own.

A board may be any object with these methods; `Board` is the contract in one place and serves as a base class.
"""

from meter.slots import Slots
from meterlink import states

INDICATE_IDENTIFY = 1  # somebody looks for this meter
INDICATE_TRIP = 2  # supply goes off when the seconds have passed

INPUT_COVER = 0x01  # bits of `Board.inputs`: the meter's cover is open,
INPUT_TERMINAL_COVER = 0x02  # that of its terminals,
INPUT_MAGNET = 0x04  # a strong magnetic field is there,
INPUT_SEAL_OPEN = 0x08  # the switch behind the verification seal, which guards calibration,
INPUT_SUPPLY_BAD = 0x10  # supply sags: what is written or switched now may not be finished,
INPUT_NEUTRAL_MISSING = 0x20

UNKNOWN_DV = 0xFFFF
UNKNOWN_W = 0xFFFFFFFF
UNKNOWN_DC = -32768


class Board:
    """What a board gives. Integers only; no method waits.

    flash: block device (MicroPython's extended protocol), partitioned as in `flashmap` · board_class: 1 bench, 2
    sealed · max_power_w: what the largest load could draw; more is a fault of the pulse line, not energy ·
    nominal_dv: voltage of the supply in 1/10 V · rated_operations: of the relay · name: of the board, as images name
    it · slots: `slots.Slots` with two places for images; None where the board has none, and its firmware comes by cable
    only.
    """

    board_class = 1
    max_power_w = 90_000  # 3 x 100 A x 300 V
    nominal_dv = 2300
    rated_operations = 10_000
    name = ""
    slots: "Slots | None" = None

    def __init__(self, flash) -> None:
        self.flash = flash

    def pulses(self) -> "tuple[int, int]":
        """(import, export) pulses of the metering chip since the board started.

        Counted by hardware, also while flash is written; both never fall while the board has power and restart at 0
        after it. What was counted between the last checkpoint and a power cut is lost: `core.CHECKPOINT_WH` bounds it.
        """
        raise NotImplementedError

    def contact(self) -> int:
        """What the relay is: states.CONTACT_*, sensed at the load side."""
        return states.CONTACT_UNKNOWN

    def load_ma(self) -> int:
        """Current behind the contact, whatever the contact says."""
        raise NotImplementedError

    def voltage_dv(self) -> int:
        """Voltage of the supply in 1/10 V; UNKNOWN_DV where it is not measured."""
        return UNKNOWN_DV

    def power_w(self) -> int:
        """Active power; UNKNOWN_W where it is not measured."""
        return UNKNOWN_W

    def quantities(self) -> "tuple[tuple[int, ...], ...]":
        """What the chip measures of each phase, one or three: (voltage 1/10 V, current mA, active power W, power factor
        1/1000, frequency 1/100 Hz), signed; empty where it measures nothing. Their number never changes."""
        return ()

    def chip_silent(self) -> bool:
        """Whether the metering chip does not answer, so that nothing is metered. False where pulses are all that there
        is."""
        return False

    def temperature_dc(self) -> int:
        """Temperature at the terminals in 1/10 degree Celsius; UNKNOWN_DC where it is not measured."""
        return UNKNOWN_DC

    def inputs(self) -> int:
        """Bits INPUT_*, debounced. A cover that was opened without power is to show until it was read once."""
        return 0

    def calibrate(self, constants: "tuple[int, ...]") -> None:
        """Give the chip its calibration, as `calibration.Calibration.constants` has it; at a start, and when it
        changes."""

    def coil(self, close: bool) -> None:
        """Start a pulse on the closing or the opening coil. Hardware ends it (a timer or one-shot), never a task."""
        raise NotImplementedError

    def rtc(self) -> "tuple[int, bool]":
        """(UTC seconds since 1970, whether they are valid: the oscillator never stopped since it was set)."""
        return 0, False

    def set_rtc(self, unix_s: int) -> None:
        """Set the battery-backed clock. A board without one ignores it, and knows the time until its next start
        only."""

    def entropy(self, count: int) -> bytes:
        """Random bytes, unpredictable from outside."""
        raise NotImplementedError

    def witness(self) -> int:
        """The last value given to `set_witness`, 0 in the factory; kept outside the main flash, so that it shows
        whether that flash was lost or put back. A board without such a place returns 0 always: it cannot tell."""
        return 0

    def set_witness(self, value: int) -> None:
        """Keep a value; it only ever rises. Called after orders and about once an hour."""

    def indicate(self, what: int, seconds: int) -> None:
        """Show INDICATE_* for so many seconds, on a board without a `panel.Panel`, which finds out by itself."""

    def pulse_out(self, count: int) -> None:
        """Give so many pulses more at the test output (LED and terminals), evenly over the next second; hardware times
        them. They are the pulses that were counted as energy, so the output says what the registers say."""

    def restart(self) -> None:
        """Start the board again, from its boot stage. All that is to be kept is durable."""
        raise NotImplementedError
