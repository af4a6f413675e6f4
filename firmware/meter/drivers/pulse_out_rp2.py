# mypy: disable-error-code="name-defined, call-overload, arg-type"
# ruff: noqa: F821
"""The test output on the RP2: a PIO state machine plays a second's pulses while the program does something else.

Source: as in `relay_rp2.py`. A word tells it how long each level lasts, and how many pulses there are.
"""

import rp2

STEP_HZ = 100_000
PULSE_STEPS = 3_000  # 30 ms, EN 62053-31
SECOND_STEPS = 95_000  # what is given in a second ends before the next one comes
_OVERHEAD = 3  # steps of a level besides those that are counted
MAX_PULSES = 1_000


@rp2.asm_pio(set_init=rp2.PIO.OUT_LOW)
def _train():
    wrap_target()
    pull(block)
    mov(isr, osr)
    pull(block)
    out(y, 16)
    label("pulse")
    mov(x, osr)
    set(pins, 1)
    label("high")
    jmp(x_dec, "high")
    mov(x, isr)
    set(pins, 0)
    label("low")
    jmp(x_dec, "low")
    jmp(y_dec, "pulse")
    set(pins, 0)
    wrap()


class PulseOut:
    """`pin`: high = the LED is lit and the output is closed · machine: of the PIO, 0..7."""

    def __init__(self, machine: int, pin) -> None:
        self._machine = rp2.StateMachine(machine, _train, freq=STEP_HZ, set_base=pin, out_shiftdir=rp2.PIO.SHIFT_RIGHT)
        self._machine.active(1)
        self._waiting = 0

    def give(self, count: int) -> None:
        """So many pulses, evenly over the next second; what the machine has no time for comes a second later."""
        self._waiting += count
        if not self._waiting or self._machine.tx_fifo():
            return
        count = min(self._waiting, MAX_PULSES)
        self._waiting -= count
        period = SECOND_STEPS // count
        high = min(period // 2, PULSE_STEPS)
        self._machine.put(period - high - _OVERHEAD)
        self._machine.put((high - _OVERHEAD) << 16 | count - 1)
