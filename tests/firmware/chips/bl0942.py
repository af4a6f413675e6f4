"""BL0942 on UART, from Belling's data sheet V1.06: packets, registers, the count that wraps, write protection.

The wire can be disturbed: `spoil` damages one answer in so many, `mute` silences the chip, `half` cuts answers.
"""

_DEFAULTS = {0x19: 0x87, 0x1A: 0x02, 0x14: 0x0B}
_PROTECTED = range(0x10, 0x1D)


class Chip:
    """A chip and the master's side of its UART in one.

    current_raw, voltage_raw, watt_raw (signed), cycle: what its registers show · count: CF_CNT, 24 bits.
    """

    def __init__(self, address=0, seed=1):
        self.address = address
        self.spoil = 0
        self.mute = False
        self.half = False
        self.current_raw = self.voltage_raw = self.watt_raw = 0
        self.cycle = 20_000
        self.count = 0
        self.moved = 0  # true counts since the last reset, signed
        self._rest = 0
        self._seed = seed
        self._heard = b""
        self._answer = b""
        self._registers = dict(_DEFAULTS)
        self._unlocked = False

    def brown_out(self):
        self._registers = dict(_DEFAULTS)
        self._unlocked = False
        self.count = self._rest = self.moved = 0

    def mode(self):
        return self._registers[0x19]

    def flow(self, seconds=1):
        """Let time pass at `watt_raw`: a count is 1638.4 x 256 of WATT x seconds."""
        if not self.mode() & 4:
            return
        watt = abs(self.watt_raw) if self.mode() & 0x80 else self.watt_raw
        whole, self._rest = divmod(self._rest + watt * seconds * 10, 4_194_304)
        self.moved += whole
        self.count = (self.count + whole) & 0xFFFFFF

    # -- the wire

    def write(self, data):
        self._heard += bytes(data)
        while len(self._heard) >= 2:
            head = self._heard[0]
            if head == 0x58 | self.address:
                self._send(self._heard[1])
                self._heard = self._heard[2:]
            elif head == 0xA8 | self.address:
                if len(self._heard) < 6:
                    return
                self._take(self._heard[:6])
                self._heard = self._heard[6:]
            else:
                self._heard = self._heard[1:]

    def _take(self, frame):
        if ~sum(frame[:5]) & 0xFF != frame[5]:
            return
        register, value = frame[1], frame[2] | frame[3] << 8 | frame[4] << 16
        if register == 0x1D:
            self._unlocked = value == 0x55
        elif register == 0x1C and value == 0x5A5A5A:
            self.brown_out()
        elif register in _PROTECTED and self._unlocked:
            self._registers[register] = value

    def _send(self, register):
        if self.mute:
            return
        if register == 0xAA:
            body = b"\x55"
            for value in (self.current_raw, self.voltage_raw, self.current_raw, self.watt_raw, self.count):
                body += (value & 0xFFFFFF).to_bytes(3, "little")
            body += self.cycle.to_bytes(2, "little") + bytes((0, 1 if self.watt_raw < 0 else 0, 0, 0))
            check = 0x58 | self.address
        else:
            body = (self._registers.get(register, 0) & 0xFFFFFF).to_bytes(3, "little")
            check = (0x58 | self.address) + register
        answer = bytearray(body + bytes((~(check + sum(body)) & 0xFF,)))
        if self.spoil and self._draw() % self.spoil == 0:
            answer[self._draw() % len(answer)] ^= 1 << self._draw() % 8
        self._answer += bytes(answer[: len(answer) // 2]) if self.half else bytes(answer)

    def any(self):
        return len(self._answer)

    def read(self, count):
        found, self._answer = self._answer[:count], self._answer[count:]
        return found

    def readinto(self, buf):
        found = self.read(len(buf))
        buf[: len(found)] = found
        return len(found)

    def _draw(self):
        self._seed = (self._seed * 1103515245 + 12345) & 0x7FFFFFFF
        return self._seed >> 16
