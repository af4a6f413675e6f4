"""Modbus server codec: request and reply PDUs, and RTU framing. No I/O, no clock, no allocation per byte.

Sources: MODBUS Application Protocol Specification V1.1b3 ("AP") and MODBUS over Serial Line V1.02 ("SL").

A shell hands bytes in and sends bytes out; what the registers hold is up to the `RegisterSpace` given to `ServerPdu`.
"""

# Function codes, AP 6
READ_HOLDING = 3
READ_INPUT = 4
WRITE_SINGLE = 6
WRITE_MULTIPLE = 16
READ_FILE = 20
WRITE_FILE = 21
ENCAPSULATED = 43
READ_IDENTIFICATION = 14  # the MEI type that goes with 43, AP 6.21

# Exception codes, AP 7
ILLEGAL_FUNCTION = 1
ILLEGAL_ADDRESS = 2
ILLEGAL_VALUE = 3
DEVICE_FAILURE = 4
ACKNOWLEDGE = 5
DEVICE_BUSY = 6
GATEWAY_PATH_UNAVAILABLE = 10
GATEWAY_NO_RESPONSE = 11

MAX_PDU = 253  # AP 4.1
MAX_RTU_ADU = 256
MAX_READ = 125  # registers, AP 6.3 and 6.4
MAX_WRITE = 123  # registers, AP 6.12
MAX_RECORD = 9999  # AP 6.14
FILE_REFERENCE = 6  # the only reference type of AP 6.14

BROADCAST = 0  # SL 2.2
MAX_ADDRESS = 247  # 248..255 are reserved

# Request length by function: fixed part, and where the byte stands that counts the rest (-1: nothing varies).
_REQUEST = {
    READ_HOLDING: (5, -1),
    READ_INPUT: (5, -1),
    WRITE_SINGLE: (5, -1),
    WRITE_MULTIPLE: (6, 5),
    READ_FILE: (2, 1),
    WRITE_FILE: (2, 1),
    ENCAPSULATED: (4, -1),
}

# Read device id code -> last object of its stream, AP 6.21. Extended (3) is answered at our own level, regular.
_LAST_OBJECT = {1: 2, 2: 6, 3: 6}
_INDIVIDUAL = 4
_CONFORMITY = 0x82  # regular identification, stream and individual access


def request_length(pdu: "memoryview | bytes", length: int) -> int:
    """Length in bytes that a request PDU must have, from its first `length` bytes; 0: not known (yet)."""
    form = _REQUEST.get(pdu[0])
    if form is None or form[1] >= length:
        return 0
    return form[0] if form[1] < 0 else form[0] + pdu[form[1]]


class RegisterSpace:
    """What a meter shows on Modbus; as it stands, nothing. A meter overrides what it has.

    A code is 0 for done or an exception code. address + count never passes 65536. A refused call has changed nothing.
    """

    def read(self, address: int, count: int, out: memoryview, offset: int, input_registers: bool) -> int:
        """Write registers, 2 * count bytes big-endian, to out[offset:] and return a code.

        count 1..125; input_registers tells FC 04 from FC 03.
        """
        return ILLEGAL_ADDRESS

    def write(self, address: int, count: int, data: memoryview) -> int:
        """Take 2 * count bytes (count 1..123), which are valid during the call only, and return a code."""
        return ILLEGAL_ADDRESS

    def read_file(self, file: int, record: int, registers: int, out: memoryview, offset: int) -> int:
        """Write 2 * registers bytes to out[offset:] and return a code.

        file 1..65535, record 0..9999, registers 1..124.
        """
        return ILLEGAL_ADDRESS

    def write_file(self, file: int, record: int, data: memoryview) -> int:
        """Take the bytes of a record (2..244, even), which are valid during the call only, and return a code.

        file 1..65535, record 0..9999.
        """
        return ILLEGAL_ADDRESS

    def answered(self) -> None:
        """A reply has left on the link."""

    def identification(self, object_id: int) -> "bytes | None":
        """Object 0 vendor, 1 product code, 2 revision, 3 URL, 4 product name, 5 model: ASCII, at most 244 bytes."""
        return None


class ServerPdu:
    """Answers request PDUs from a register space.

    Checks stand in the order of the state diagrams in AP 6: function (1), structure and quantity (3), address (2), then
    the register space's own answer.
    """

    def __init__(self, space: RegisterSpace) -> None:
        self._space = space
        self.answered = space.answered

    def handle(self, pdu: memoryview, length: int, out: memoryview) -> int:
        """Answer the request in pdu[:length], length >= 1; returns the length of the reply in out (at least 253 bytes).

        Allocates nothing but the memoryview given to a write. Broadcasts are the caller's business.
        """
        function = pdu[0]
        handler = _HANDLERS.get(function)
        if handler is None or (function == ENCAPSULATED and length > 1 and pdu[1] != READ_IDENTIFICATION):
            size = -ILLEGAL_FUNCTION
        elif length != request_length(pdu, length):
            size = -ILLEGAL_VALUE
        else:
            size = handler(self, pdu, length, out)
        if size < 0:
            out[0] = function | 0x80
            out[1] = -size
            return 2
        out[0] = function
        return size

    # Each handler returns the reply length, or an exception code as a negative number; `handle` sets out[0].

    def _read(self, pdu: memoryview, length: int, out: memoryview) -> int:
        address = pdu[1] << 8 | pdu[2]
        count = pdu[3] << 8 | pdu[4]
        if not 1 <= count <= MAX_READ:
            return -ILLEGAL_VALUE
        if address + count > 0x10000:
            return -ILLEGAL_ADDRESS
        code = self._space.read(address, count, out, 2, pdu[0] == READ_INPUT)
        out[1] = 2 * count
        return -code or 2 + 2 * count

    def _write_single(self, pdu: memoryview, length: int, out: memoryview) -> int:
        code = self._space.write(pdu[1] << 8 | pdu[2], 1, pdu[3:5])
        return -code or _echo(pdu, out)

    def _write_multiple(self, pdu: memoryview, length: int, out: memoryview) -> int:
        address = pdu[1] << 8 | pdu[2]
        count = pdu[3] << 8 | pdu[4]
        if not 1 <= count <= MAX_WRITE or pdu[5] != 2 * count:
            return -ILLEGAL_VALUE
        if address + count > 0x10000:
            return -ILLEGAL_ADDRESS
        code = self._space.write(address, count, pdu[6:length])
        return -code or _echo(pdu, out)

    def _read_file(self, pdu: memoryview, length: int, out: memoryview) -> int:
        if not 7 <= pdu[1] <= 245 or pdu[1] % 7:
            return -ILLEGAL_VALUE
        size = 2
        for at in range(2, length, 7):
            file = pdu[at + 1] << 8 | pdu[at + 2]
            record = pdu[at + 3] << 8 | pdu[at + 4]
            registers = pdu[at + 5] << 8 | pdu[at + 6]
            if pdu[at] != FILE_REFERENCE or file == 0 or record > MAX_RECORD:
                return -ILLEGAL_ADDRESS
            if registers == 0 or size + 2 + 2 * registers > MAX_PDU:
                return -ILLEGAL_VALUE
            code = self._space.read_file(file, record, registers, out, size + 2)
            if code:
                return -code
            out[size] = 1 + 2 * registers
            out[size + 1] = FILE_REFERENCE
            size += 2 + 2 * registers
        out[1] = size - 2
        return size

    def _write_file(self, pdu: memoryview, length: int, out: memoryview) -> int:
        """One record in a request, as all of a request must be done or nothing; the answer is the request (AP 6.15)."""
        if length < 11 or pdu[2] != FILE_REFERENCE:
            return -ILLEGAL_VALUE
        file = pdu[3] << 8 | pdu[4]
        record = pdu[5] << 8 | pdu[6]
        if length != 9 + 2 * (pdu[7] << 8 | pdu[8]):
            return -ILLEGAL_VALUE
        if file == 0 or record > MAX_RECORD:
            return -ILLEGAL_ADDRESS
        code = self._space.write_file(file, record, pdu[9:length])
        if code:
            return -code
        for i in range(1, length):
            out[i] = pdu[i]
        return length

    def _identify(self, pdu: memoryview, length: int, out: memoryview) -> int:
        code = pdu[2]
        first = pdu[3]
        if code == _INDIVIDUAL:
            if self._space.identification(first) is None:
                return -ILLEGAL_ADDRESS
            last = first
        elif code in _LAST_OBJECT:
            last = _LAST_OBJECT[code]
            # AP 6.21: a stream that starts at an unknown object starts at 0.
            if first > last or self._space.identification(first) is None:
                first = 0
        else:
            return -ILLEGAL_VALUE
        out[1] = READ_IDENTIFICATION
        out[2] = code
        out[3] = _CONFORMITY
        out[4] = out[5] = 0  # more follows, next object id
        objects = 0
        size = 7
        for object_id in range(first, last + 1):
            value = self._space.identification(object_id)
            if value is None:
                continue
            if size + 2 + len(value) > MAX_PDU:
                if objects == 0:
                    return -DEVICE_FAILURE
                out[4] = 0xFF
                out[5] = object_id
                break
            out[size] = object_id
            out[size + 1] = len(value)
            size += 2
            for byte in value:
                out[size] = byte
                size += 1
            objects += 1
        out[6] = objects
        return size


def _echo(pdu: memoryview, out: memoryview) -> int:
    """FC 06 and FC 16 are answered with the first five bytes of the request."""
    for i in range(1, 5):
        out[i] = pdu[i]
    return 5


_HANDLERS = {
    READ_HOLDING: ServerPdu._read,
    READ_INPUT: ServerPdu._read,
    WRITE_SINGLE: ServerPdu._write_single,
    WRITE_MULTIPLE: ServerPdu._write_multiple,
    READ_FILE: ServerPdu._read_file,
    WRITE_FILE: ServerPdu._write_file,
    ENCAPSULATED: ServerPdu._identify,
}


# RTU framing. CRC-16 with polynomial 0xA001 reflected, initial 0xFFFF, sent low byte first (SL 2.5.1.2, appendix B).
# Two look-ups in 16 entries cost a third more time per byte than one in 256 and a tenth of the memory.
_CRC = (
    0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401,
    0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400,
)  # fmt: skip


def crc16(buf: "bytes | bytearray | memoryview", n: "int | None" = None, start: int = 0) -> int:
    """CRC of the n bytes from buf[start], all the rest if n is None. 0 over a frame together with its own CRC."""
    table = _CRC
    crc = 0xFFFF
    for i in range(start, len(buf) if n is None else start + n):
        crc ^= buf[i]
        crc = crc >> 4 ^ table[crc & 15]
        crc = crc >> 4 ^ table[crc & 15]
    return crc


def silences_us(baud: int) -> "tuple[int, int]":
    """(t1.5, t3.5) in microseconds, rounded up: 11 bits a character, fixed above 19200 baud (SL 2.5.1.1)."""
    if baud > 19200:
        return 750, 1750
    return (16500000 + baud - 1) // baud, (38500000 + baud - 1) // baud


class RtuReceiver:
    """Collects one frame from a line. Only silence ends a frame: bytes inside another slave's reply can look like a
    request, and whoever chooses that slave's data would otherwise choose ours.

    `feed` may be called from an interrupt handler: it allocates nothing. The frame stays in `buffer` until the next
    `feed`. Counters are 16 bits and wrap, as those of AP 6.8 do.
    """

    def __init__(self, buffer: bytearray) -> None:
        """buffer: bytearray of at least 256 bytes."""
        self.buffer = buffer
        self.length = 0  # bytes of the frame in progress
        self._crc = 0xFFFF
        self._overrun = False
        self.frames = 0  # CRC right, whoever they were for
        self.bad_frames = 0  # too short, CRC wrong or too long
        self.overruns = 0  # the ones that were too long

    def feed(self, byte: int) -> None:
        """Take one character of the line."""
        n = self.length
        if n == MAX_RTU_ADU:
            self._overrun = True
            return
        self.buffer[n] = byte
        self.length = n + 1
        crc = self._crc ^ byte
        crc = crc >> 4 ^ _CRC[crc & 15]
        self._crc = crc >> 4 ^ _CRC[crc & 15]

    def intact(self) -> bool:
        """True when what has come so far has a right CRC."""
        return self._crc == 0 and self.length >= 4 and not self._overrun

    def silence(self) -> int:
        """The line has been silent for t3.5: returns the length of the frame if its CRC is right, else 0."""
        n = self.length
        if n == 0:
            return 0
        good = self.intact()
        if good:
            self.frames = self.frames + 1 & 0xFFFF
        else:
            self.bad_frames = self.bad_frames + 1 & 0xFFFF
            if self._overrun:
                self.overruns = self.overruns + 1 & 0xFFFF
        self.length = 0
        self._crc = 0xFFFF
        self._overrun = False
        return n if good else 0


class RtuServer:
    """One slave on a line: feed it characters, tell it of silences, send what stands in reply[:end()]."""

    def __init__(self, pdu: ServerPdu, address: int) -> None:
        """address 1..247 (SL 2.2); it may be changed between frames by `set_address`."""
        self.set_address(address)
        self._pdu = pdu
        self.answered = pdu.answered
        frame = bytearray(MAX_RTU_ADU)
        self.receiver = RtuReceiver(frame)
        self.feed = self.receiver.feed
        self.reply = memoryview(bytearray(MAX_RTU_ADU))
        self._frame = frame
        self._request_pdu = memoryview(frame)[1:]
        self._reply_pdu = self.reply[1:]
        self.requests = 0  # intact ones for this slave; 16 bits, as those of the receiver
        self.broadcasts = 0
        self.replying = False  # a reply is on its way; set by who sends it

    def set_address(self, address: int) -> None:
        """1..247, else ValueError."""
        if not 1 <= address <= MAX_ADDRESS:
            raise ValueError("address is {}, expected 1 to {}".format(address, MAX_ADDRESS))
        self.address = address

    def whole(self) -> bool:
        """True when an intact request for this slave is in, as long as its function code says it must be.

        A link whose silences cannot be trusted (a pty, a network) may then call `end` as soon as it is quiet.
        """
        receiver = self.receiver
        if not receiver.intact() or not self._is_mine():
            return False
        length = receiver.length - 3
        return length == request_length(self._request_pdu, length)

    def end(self) -> int:
        """A frame has ended: returns the length of the reply to send, 0 for none.

        Answered is what is intact and addressed to this slave. A broadcast write is carried out and not answered
        (SL 2.1); an exception reply under our own address is nobody's request.
        """
        length = self.receiver.silence()
        if length == 0 or not self._is_mine():
            return 0
        broadcast = self._frame[0] == BROADCAST
        if broadcast:
            self.broadcasts = self.broadcasts + 1 & 0xFFFF
        elif self._frame[1] & 0x80:
            return 0
        else:
            self.requests = self.requests + 1 & 0xFFFF
        length -= 3
        wanted = request_length(self._request_pdu, length)
        if wanted and _is_zero(self._frame, 3 + wanted, 3 + length):
            # Zeros leave a right CRC right, and a driver that lets go of the line can look like one.
            length = wanted
        if broadcast and self._frame[1] not in (WRITE_SINGLE, WRITE_MULTIPLE):
            return 0
        size = 1 + self._pdu.handle(self._request_pdu, length, self._reply_pdu)
        if broadcast:
            return 0
        reply = self.reply
        reply[0] = self.address
        crc = crc16(reply, size)
        reply[size] = crc & 0xFF
        reply[size + 1] = crc >> 8
        return size + 2

    def _is_mine(self) -> bool:
        return self._frame[0] == self.address or self._frame[0] == BROADCAST


def _is_zero(buf: bytearray, start: int, end: int) -> bool:
    """True when buf[start:end] holds at least one byte, and zeros only."""
    for i in range(start, end):
        if buf[i]:
            return False
    return start < end
