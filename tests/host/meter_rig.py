"""A meter's registers for the tests of the Modbus link: the firmware itself, in this process, with faults on demand.

`MeterSpace` is what the firmware shows; a verification ends after as many looks at the result as the test says.
"""

from collections.abc import Callable

from meter.registers import MeterRegisters
from meterlink import registers
from metersim.board import VirtualBoard
from metersim.inprocess import InProcessMeter
from metersim.load import Constant
from metersim.workbench import Workbench

NUMBER = 7
START_S = 1_780_000_000
QUARTER_S = 900
INTERVALS = 100


def meter(number: int = NUMBER, intervals: int = INTERVALS) -> InProcessMeter:
    """A commissioned meter with a day of records and credit left."""
    bench = Workbench(number)
    board = VirtualBoard(Constant(400), start_s=START_S - START_S % QUARTER_S, seed=number)
    one = InProcessMeter(board, bench.record())
    one.meter.submit(one.meter.CARRIER_LOCAL, bench.credit(90_000_000))
    one.settle()
    one.run(intervals * QUARTER_S + 60, 60)
    return one


class MeterSpace(MeterRegisters):
    """`looks`: at the result before an order is judged · `on_read(address)`: called before each reading ·
    `spoil(file, record, out, offset)`: called after each reading of records · `deaf`: takes questions and ignores them.
    """

    def __init__(self, one: InProcessMeter) -> None:
        super().__init__(one.meter)
        self.one = one
        self.looks = 0
        self.on_read: Callable[[int], None] = lambda address: None
        self.spoil: Callable[[int, int, memoryview, int], None] = lambda file, record, out, offset: None
        self.deaf = False

    def read(self, address: int, count: int, out: memoryview, offset: int, input_registers: bool) -> int:
        self.on_read(address)
        if address == registers.BLOCKS[2][1]:
            if self.looks:
                self.looks -= 1
            else:
                self.one.settle()
        code: int = super().read(address, count, out, offset, input_registers)
        return code

    def write(self, address: int, count: int, data: memoryview) -> int:
        if self.deaf and address == registers.ASK_MAILBOX:
            return 0
        code: int = super().write(address, count, data)
        return code

    def read_file(self, file: int, record: int, count: int, out: memoryview, offset: int) -> int:
        code: int = super().read_file(file, record, count, out, offset)
        self.spoil(file, record, out, offset)
        return code
