# mypy: disable-error-code="name-defined, call-overload, arg-type"
# ruff: noqa: F821
"""Two-coil latching relay on the RP2: one PIO state machine drives both coils and ends each pulse by itself.

Source: Raspberry Pi, "RP2040 Datasheet", chapter 3 PIO. The program knows the levels "none", "close" and "open" and no
other, so both coils at once cannot be written in it; it counts the pulse out and waits for the next word. It stands
in the peripheral: no task, interrupt or flash erase makes a pulse longer.
"""

import rp2

STEP_HZ = 100_000
MAX_PULSE_MS = 500


@rp2.asm_pio(set_init=(rp2.PIO.OUT_LOW, rp2.PIO.OUT_LOW))
def _one_shot():
    wrap_target()
    set(pins, 0)
    pull(block)
    out(y, 1)
    out(x, 31)
    jmp(not_y, "open")
    set(pins, 1)
    jmp("hold")
    label("open")
    set(pins, 2)
    label("hold")
    jmp(x_dec, "hold")
    set(pins, 0)
    push(noblock)
    wrap()


class TwoCoils:
    """first_pin: to the driver of the closing coil, high = current; the opening coil's is the next pin · pulse_ms:
    1..500, as the relay's data sheet says · machine: of the PIO, 0..7.

    refused: pulses that were not begun because one was still running.
    """

    def __init__(self, machine: int, first_pin, pulse_ms: int) -> None:
        if not 1 <= pulse_ms <= MAX_PULSE_MS:
            raise ValueError("pulse_ms: {} given, 1..{} expected".format(pulse_ms, MAX_PULSE_MS))
        self._word = (pulse_ms * STEP_HZ // 1000 - 1) << 1
        self._machine = rp2.StateMachine(
            machine, _one_shot, freq=STEP_HZ, set_base=first_pin, out_shiftdir=rp2.PIO.SHIFT_RIGHT
        )
        self._machine.active(1)
        self._running = False
        self.refused = 0

    def coil(self, close: bool) -> None:
        """Begin a pulse and return at once. While one runs nothing is begun: none waits in the queue either. The relay
        then does not follow, and is told again."""
        if self._running and not self._machine.rx_fifo():
            self.refused += 1
            return
        while self._machine.rx_fifo():
            self._machine.get()  # what the end of a pulse left
        self._running = True
        self._machine.put(self._word | (1 if close else 0))
