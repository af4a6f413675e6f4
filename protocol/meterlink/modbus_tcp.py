"""Modbus TCP framing: the MBAP header around the PDUs of `modbus`. No I/O.

Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b ("MG"). An ADU is
transaction id 2, protocol id 2 (always 0), length 2 (of what follows: unit id and PDU), unit id 1, PDU 1..253.
"""

from meterlink.modbus import GATEWAY_PATH_UNAVAILABLE, MAX_PDU, ServerPdu

HEADER = 7
MAX_TCP_ADU = HEADER + MAX_PDU


class FrameError(Exception):
    """The stream is not Modbus TCP or has lost its framing: the connection must be closed (MG 3.1.3)."""


class TcpReceiver:
    """Cuts the byte stream of one connection into ADUs. Holds one ADU, never more; `feed` allocates nothing."""

    def __init__(self) -> None:
        self.buffer = bytearray(MAX_TCP_ADU)
        self.pdu = memoryview(self.buffer)[HEADER:]
        self._length = 0
        self._end = 0  # known when the header is in

    def feed(self, byte: int) -> int:
        """Take one byte of the stream. Returns the length of the ADU that it completes, else 0; raises FrameError.

        The ADU stands in `buffer`, its PDU in `pdu`, until the next `feed`.
        """
        n = self._length
        self.buffer[n] = byte
        n += 1
        if n == HEADER:
            self._end = self._check_header()
        elif n > HEADER and n == self._end:
            self._length = 0
            return n
        self._length = n
        return 0

    def _check_header(self) -> int:
        head = self.buffer
        protocol = head[2] << 8 | head[3]
        if protocol:
            raise FrameError("MBAP protocol id is {}, expected 0".format(protocol))
        length = head[4] << 8 | head[5]
        if not 2 <= length <= MAX_PDU + 1:
            raise FrameError("MBAP length is {}, expected 2 to {}".format(length, MAX_PDU + 1))
        return 6 + length


class TcpServer:
    """One slave on TCP: `handle` is one whole transaction.

    Unit ids 255 and 0 mean "the device at this network address" (MG 4.4.2.3); its serial address is accepted too. This
    is no gateway, so any other unit id is refused with exception 10.
    """

    def __init__(self, pdu: ServerPdu, address: int) -> None:
        self.address = address
        self._pdu = pdu
        self.answered = pdu.answered
        self.reply = memoryview(bytearray(MAX_TCP_ADU))
        self._reply_pdu = self.reply[HEADER:]

    def handle(self, receiver: TcpReceiver, length: int) -> int:
        """Answer the ADU of `length` bytes that stands in the receiver; returns the length of `reply`."""
        request = receiver.buffer
        reply = self.reply
        unit = request[6]
        if unit == 255 or unit == 0 or unit == self.address:
            size = self._pdu.handle(receiver.pdu, length - HEADER, self._reply_pdu)
        else:
            self._reply_pdu[0] = request[HEADER] | 0x80
            self._reply_pdu[1] = GATEWAY_PATH_UNAVAILABLE
            size = 2
        reply[0] = request[0]
        reply[1] = request[1]
        reply[2] = reply[3] = reply[4] = 0
        reply[5] = size + 1
        reply[6] = unit
        return HEADER + size
