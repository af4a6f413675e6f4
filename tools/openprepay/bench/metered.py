"""A commissioned meter for programs that measure it on MicroPython: a board that draws 2.3 kW, and flash in one
bytearray, which takes nothing from the heap but views."""

BOARD = """
import gc, json, time
from meter.core import Meter
from meter.ports import Board

START_S = 1767225600
WATTS = 2300
CLOSED = 1
SECTOR = 4096
ERASED = bytearray(b"\\xff" * SECTOR)

class Flash:
    def __init__(self, data):
        self.data = memoryview(data)

    def readblocks(self, block, buf, offset=0):
        at = block * SECTOR + offset
        buf[:] = self.data[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        at = block * SECTOR + offset
        self.data[at : at + len(buf)] = buf

    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // SECTOR
        if op == 5:
            return SECTOR
        if op == 6:
            self.data[arg * SECTOR : (arg + 1) * SECTOR] = ERASED
        return 0

class House(Board):
    mono_s = 0

    def pulses(self):
        return self.mono_s * WATTS * 1600 // 3600000, 0

    def contact(self):
        return CLOSED

    def load_ma(self):
        return 10000

    def voltage_dv(self):
        return 2300

    def power_w(self):
        return WATTS

    def quantities(self):
        return QUANTITIES

    def coil(self, close):
        pass

    def rtc(self):
        return START_S + self.mono_s, True

    def entropy(self, count):
        return bytes(count)

QUANTITIES = ((2300, 10000, 2300, 1000, 5000),)

def commissioned(data, record, credit):
    "A meter with credit, on flash in `data`."
    meter = Meter(House(Flash(data)))
    meter.start(0)
    meter.provision(record)
    meter.submit(Meter.CARRIER_LOCAL, credit)
    while meter.verify_slice():
        pass
    return meter

def pass_second(meter):
    meter.board.mono_s += 1
    return meter.board.mono_s
"""
