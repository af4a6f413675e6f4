# mypy: disable-error-code="name-defined, call-overload"
# ruff: noqa: F821
"""Pulses of a metering chip or of another meter, counted by a state machine of the RP2's PIO while the program does
something else, flash erases included.

Source: Raspberry Pi, "RP2040 Datasheet", chapter 3 PIO: 3.4 instructions, 3.5.7 forced instructions.

X counts down from 2^32 - 1 with each pulse. A read forces one instruction that copies X to the machine's output queue;
the program goes on where it stood. A pulse counts when the pin is still high after eight steps of
100 kHz (80 us), and again only when it has been low: shorter ones are noise.
"""

import rp2

STEP_HZ = 100_000
_MASK = 0xFFFFFFFF


@rp2.asm_pio(autopush=True, push_thresh=32)
def _edges():
    mov(x, invert(null))
    wrap_target()
    label("low")
    wait(1, pin, 0)[7]
    jmp(pin, "high")
    jmp("low")
    label("high")
    jmp(x_dec, "counted")
    label("counted")
    wait(0, pin, 0)[7]
    wrap()


class PulseInput:
    """Pulses at `pin` since the start. machine: of the PIO, 0..7."""

    def __init__(self, machine: int, pin) -> None:
        self._machine = rp2.StateMachine(machine, _edges, freq=STEP_HZ, in_base=pin, jmp_pin=pin)
        self._machine.active(1)

    def count(self) -> int:
        """All pulses."""
        self._machine.exec("in_(x, 32)")
        return ~self._machine.get() & _MASK
