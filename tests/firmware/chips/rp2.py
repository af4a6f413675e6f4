"""The RP2's PIO as MicroPython 1.29 shows it, in place of its module `rp2`: an assembler for what the drivers use, and
the machine that runs it one step after the other (RP2040 Datasheet, 3.4)."""

from metersim.flash import NorFlash

WORD = 0xFFFFFFFF
DEVICE = [None]  # the block device of the whole storage
_SYMBOLS = ("x", "y", "null", "pins", "pin", "osr", "isr", "block", "noblock", "x_dec", "y_dec", "not_x", "not_y")


class _Instruction:
    def __init__(self, name, arguments):
        self.name = name
        self.arguments = arguments
        self.delay = 0

    def __getitem__(self, delay):
        assert 0 <= delay <= 31
        self.delay = delay
        return self


class Program:
    """Instructions, and where the circle of a program begins and ends."""

    def __init__(self, options):
        self.options = options
        self.instructions = []
        self.labels = {}
        self.target = self.end = 0

    def names(self):
        found = {name: name for name in _SYMBOLS}
        for name in ("mov", "wait", "jmp", "set", "pull", "push", "out", "in_", "nop"):
            found[name] = self._adder(name)
        found["invert"] = lambda source: "~" + source
        found["label"] = self._label
        found["wrap_target"] = self._wrap_target
        found["wrap"] = self._wrap
        return found

    def _adder(self, name):
        def add(*arguments):
            one = _Instruction(name, arguments)
            self.instructions.append(one)
            return one

        return add

    def _label(self, name):
        self.labels[name] = len(self.instructions)

    def _wrap_target(self):
        self.target = len(self.instructions)

    def _wrap(self):
        self.end = len(self.instructions) - 1


def asm_pio(**options):
    """The decorator: the function's names are the assembler's while it runs."""

    def assemble(function):
        program = Program(options)
        names = program.names()
        scope = function.__globals__
        kept = {name: scope[name] for name in names if name in scope}
        scope.update(names)
        function()
        for name in names:
            del scope[name]
        scope.update(kept)
        assert len(program.instructions) <= 32, "the memory of a PIO block"
        return program

    return assemble


def one_instruction(text):
    """What `StateMachine.exec` takes as text."""
    program = Program({})
    eval(text, program.names())  # noqa: S307 - a test's own text
    return program.instructions[0]


class PIO:
    OUT_LOW, OUT_HIGH, SHIFT_LEFT, SHIFT_RIGHT = 2, 3, 0, 1


class StateMachine:
    """made: all machines that were made, for the test that runs them."""

    made = []  # noqa: RUF012

    def __init__(self, number, program, *, freq, in_base=None, jmp_pin=None, set_base=None, out_shiftdir=None):
        self.program = program
        self.freq = freq
        self.in_pin = in_base
        self.jmp_pin = jmp_pin
        levels = program.options.get("set_init", ())
        self.set_pins = [] if set_base is None else [set_base]
        if isinstance(levels, tuple) and len(levels) == 2:
            self.set_pins.append(set_base.next)
        self.right = out_shiftdir == PIO.SHIFT_RIGHT
        self.registers = {"x": 0, "y": 0, "isr": 0, "osr": 0}
        self.tx = []
        self.rx = []
        self.pc = 0
        self._delay = 0
        self._running = False
        StateMachine.made.append(self)

    # -- what a program sees

    def active(self, value=None):
        self._running = bool(value)

    def put(self, word):
        assert len(self.tx) < 4, "it would wait, and a board may not"
        self.tx.append(word & WORD)

    def get(self):
        assert self.rx, "it would wait for ever"
        return self.rx.pop(0)

    def tx_fifo(self):
        return len(self.tx)

    def rx_fifo(self):
        return len(self.rx)

    def exec(self, text):
        at = self.pc
        self._do(one_instruction(text))
        self.pc = at

    # -- the machine

    def run(self, steps):
        while steps > 0 and self._running:
            steps -= 1
            if self._delay:
                self._delay -= 1
                continue
            one = self.program.instructions[self.pc]
            at = self.pc
            if one.name == "jmp" and one.arguments[0] == "x_dec" and self.program.labels[one.arguments[1]] == at:
                passed = min(self.registers["x"], steps)  # it counts and does nothing else
                self.registers["x"] -= passed
                steps -= passed
            self.pc = self.program.target if at == self.program.end else at + 1
            if self._do(one):
                self._delay = one.delay
            else:
                self.pc = at  # it stalls
                if one.name == "pull":
                    return  # for as long as nobody puts a word

    def _do(self, one):
        """One instruction; False where it stalls."""
        return getattr(self, "_" + one.name)(*one.arguments)

    def _mov(self, to, source):
        value = 0 if source.strip("~") == "null" else self.registers[source.strip("~")]
        self.registers[to] = value ^ WORD if source[0] == "~" else value
        return True

    def _wait(self, level, source, index):
        assert (source, index) == ("pin", 0)
        return self.in_pin() == level

    def _jmp(self, *arguments):
        condition, label = ("", arguments[0]) if len(arguments) == 1 else arguments
        taken = True
        if condition == "pin":
            taken = bool(self.jmp_pin())
        elif condition in ("x_dec", "y_dec"):
            value = self.registers[condition[0]]
            taken = value != 0
            self.registers[condition[0]] = value - 1 & WORD
        elif condition in ("not_x", "not_y"):
            taken = self.registers[condition[-1]] == 0
        if taken:
            self.pc = self.program.labels[label]
        return True

    def _set(self, to, value):
        assert to == "pins" and 0 <= value < 1 << len(self.set_pins)
        for number, pin in enumerate(self.set_pins):
            pin(value >> number & 1)
        return True

    def _pull(self, how):
        assert how == "block"
        if not self.tx:
            return False
        self.registers["osr"] = self.tx.pop(0)
        return True

    def _push(self, how):
        assert how == "noblock"
        if len(self.rx) < 4:
            self.rx.append(self.registers["isr"])
        self.registers["isr"] = 0
        return True

    def _out(self, to, count):
        assert self.right
        osr = self.registers["osr"]
        self.registers[to] = osr & (1 << count) - 1
        self.registers["osr"] = osr >> count
        return True

    def _in_(self, source, count):
        assert count == 32 and self.program.options["autopush"] and len(self.rx) < 4
        self.rx.append(self.registers[source])
        return True


class Pages:
    """`rp2.Flash`: pages at multiples of 256, and the silence of a chip where 0 is to become 1."""

    def __init__(self, sectors):
        self.nor = NorFlash(sectors, lenient=True)
        self.readblocks = self.nor.readblocks
        self.ioctl = self.nor.ioctl

    def writeblocks(self, block, buf, offset=None):
        assert offset is not None, "without an offset rp2.Flash erases as well"
        assert len(buf) % 256 == 0 and offset % 256 == 0
        self.nor.writeblocks(block, buf, offset)


def Flash(start=0, len=0):  # noqa: N802, A002 - its names
    """The storage of the board, `DEVICE[0]`, or a part of it."""
    return Part(DEVICE[0], start, len) if len else DEVICE[0]


class Part:
    """So many bytes of a device from a place on."""

    def __init__(self, device, start, length):
        self._device = device
        self._first = start // 4096
        self._blocks = length // 4096

    def readblocks(self, block, buf, offset=0):
        self._device.readblocks(self._first + block, buf, offset)

    def writeblocks(self, block, buf, offset=None):
        self._device.writeblocks(self._first + block, buf, offset)

    def ioctl(self, op, arg):
        if op == 4:
            return self._blocks
        return self._device.ioctl(op, self._first + arg if op == 6 else arg)
