"""Starts a board's main on the models of its chips, for a few real seconds: `run(board)` of one of `BOARDS`.

It prints what the board did, for the test that starts it: as sources on either interpreter, or built into the board's
image (`tests/firmware/test_board_mains.py`).
"""

import machine

from metersim.flash import NorFlash
from tests.firmware.chips import atm90e26, bl0942, esp32, i2c, rp2, wires

SECONDS = 3


def run(board, main, select, sectors):
    """main: its module · select: pin of the metering chip's select."""
    clock, fram, display = i2c.Clock(), i2c.Fram(), i2c.Sink()
    machine.BUSES["i2c"] = i2c.Bus({0x51: clock, 0x50: fram, 0x48: i2c.Thermometer(), 0x27: display, 0x3C: display})
    lines = [wires.Uart(machine.TIME, 9600), wires.Uart(machine.TIME, 9600)]
    if board == "esp32s3":
        machine.mem32.update(dict.fromkeys(range(1610641452, 1610641476, 4), 0))
        esp32.Partition.table["meter"] = NorFlash(sectors, unit_bytes=8)
        chip = atm90e26.Chip()
        machine.BUSES["spi"] = machine.PINS[select] = chip
        machine.BUSES[1], machine.BUSES[2] = lines
    else:
        rp2.DEVICE[0] = rp2.Pages(sectors + 20)
        chip = bl0942.Chip()
        machine.BUSES[0], machine.BUSES[1] = lines[0], chip
    machine.WDT.meals = SECONDS
    try:
        main.run()
    except machine.Reset:
        pass
    ready = chip.metering() if board == "esp32s3" else chip.mode() == 0x07
    print("ran", board, ready, display.taken > 100, clock.registers[0] == 0)
