"""Anything on the line: frames and ADUs through the real servers onto the real registers. None ends the server, each
answer is well formed, and what is refused has changed nothing.

OPENPREPAY_SEED and OPENPREPAY_INPUTS: the seed, and how many inputs of each kind.
"""

import os
import random
import struct

import pytest

from meter.core import Meter
from meter.registers import MeterRegisters
from meterlink import lines, modbus_tcp, orders, parcels, registers
from meterlink.batches import pack_ask
from meterlink.modbus import RtuServer, ServerPdu, crc16
from tests.firmware.ramboard import NONCE, Rig

SEED = int(os.environ.get("OPENPREPAY_SEED", "1"))
INPUTS = int(os.environ.get("OPENPREPAY_INPUTS", "10000"))
ALL_AT = 500  # inputs between two looks at everything; a few things are looked at after each

MAILBOXES = (
    registers.ORDER_MAILBOX,
    registers.ASK_MAILBOX,
    registers.ACK_MAILBOX,
    registers.PARCEL_MAILBOX,
    registers.TOKEN_MAILBOX,
    registers.CALIBRATE_MAILBOX,
    registers.LINE_MAILBOX,
)
FILES = (
    registers.INTERVAL_FILE,
    registers.EVENT_FILE,
    registers.DAILY_FILE,
    registers.SWITCH_FILE,
    registers.NUISANCE_FILE,
    registers.HELD_FILE,
    registers.MINUTE_FILE,
    registers.IMAGE_FILE,
)
ADDRESSES = tuple(block[1] for block in registers.BLOCKS) + MAILBOXES + (registers.IDENTIFY, 0x7FFF, 0xFFFF)


class Maker:
    """Requests of every function, right ones and ones with something wrong, from a seed."""

    def __init__(self, rig: Rig, seed: str) -> None:
        self.draw = random.Random(seed)
        self.bodies = (
            rig.credit(1_000_000, source=9)[:-1] + b"\0",  # the tag is wrong
            pack_ask(3, NONCE, orders.ASPECT_CREDIT, 1),
            b"12345678901234567890",
            lines.pack(250, 9600, 0, 1),
            parcels.pack(bytes(32), 0, 400, bytes(parcels.MAX_PIECE)),
        )

    def pdu(self) -> bytes:
        """A request."""
        draw = self.draw
        kind = draw.randrange(8)
        at = draw.choice(ADDRESSES) + draw.choice((0, 0, 0, 1, -1, 17)) & 0xFFFF
        if kind < 2:
            made = struct.pack(">BHH", draw.choice((3, 4)), at, draw.choice((1, 2, 60, 125, 126, 0)))
        elif kind == 2:
            made = struct.pack(">BHH", 6, at, draw.choice((0, 1, 601, 0xFFFF)))
        elif kind == 3:
            mail = self.mail()
            made = struct.pack(">BHHB", 16, draw.choice(MAILBOXES), len(mail) // 2, len(mail) & 0xFF) + mail
        elif kind == 4:
            groups = [
                struct.pack(">BHHH", 6, draw.choice(FILES), draw.randrange(40), draw.choice((12, 24, 1, 0, 124)))
                for _ in range(draw.choice((1, 2, 5)))
            ]
            made = struct.pack(">BB", 20, 7 * len(groups)) + b"".join(groups)
        elif kind == 5:
            data = draw.randbytes(2 * draw.randrange(1, 60))
            made = struct.pack(">BBBHHH", 21, 7 + len(data), 6, draw.choice(FILES), draw.randrange(5), len(data) // 2)
            made += data
        elif kind == 6:
            made = bytes((43, 14, draw.randrange(6), draw.randrange(9)))
        else:
            made = draw.randbytes(draw.randrange(1, 40))
        return self.spoilt(made)[:253]

    def mail(self) -> bytes:
        """What goes into a mailbox."""
        body = self.spoilt(self.draw.choice(self.bodies))[:238]
        crc = crc16(body) ^ (self.draw.random() < 0.2)
        return struct.pack(">HH", len(body), crc) + body + bytes(len(body) % 2)

    def spoilt(self, made: bytes) -> bytes:
        """One in three has a byte changed, cut off or added."""
        draw = self.draw
        how = draw.randrange(9)
        if how == 0:
            place = draw.randrange(len(made))
            return made[:place] + bytes((draw.randrange(256),)) + made[place + 1 :]
        if how == 1 and len(made) > 1:
            return made[: draw.randrange(1, len(made))]
        return made + draw.randbytes(3) if how == 2 else made


class Watch:
    """What a refusal must leave as it was."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.look()

    def some(self) -> tuple[object, ...]:
        meter = self.rig.meter
        journal = meter.store.journal
        return (
            journal.sequence,
            meter.account.balance_uc(),
            meter.supply.control,
            meter.line.settings,
            meter.cursors[:],
        )

    def look(self) -> None:
        self.seen, self.all = self.some(), self.rig.contents()

    def refused(self) -> None:
        assert self.some() == self.seen

    def everything(self) -> None:
        assert self.rig.contents() == self.all


def ready() -> Rig:
    rig = Rig(credit_uc=50_000_000)
    rig.board.watts = 1000
    rig.run(4000, 20)
    return rig


@pytest.mark.parametrize("carrier", [Meter.CARRIER_BUS, Meter.CARRIER_LOCAL])
def test_frames(carrier: int) -> None:
    rig = ready()
    watch, make = Watch(rig), Maker(rig, f"{SEED}/{carrier}")
    server = RtuServer(ServerPdu(MeterRegisters(rig.meter, carrier)), 17)
    answered = 0
    for turn in range(INPUTS):
        address = make.draw.choice((17, 17, 17, 0, 18))
        frame = bytes((address,)) + make.pdu()
        frame += crc16(frame).to_bytes(2, "little") if make.draw.random() < 0.9 else make.draw.randbytes(2)
        for octet in frame:
            server.feed(octet)
        length = server.end()
        if length:
            answered += 1
            reply = bytes(server.reply[:length])
            assert address == 17 == reply[0]
            assert reply[1] & 0x7F == frame[1]
            assert crc16(reply) == 0
            assert not reply[1] & 0x80 or (length == 5 and 1 <= reply[2] <= 6)
        settle(rig, watch, not length or server.reply[1] & 0x80, address, turn)
    assert answered > INPUTS // 3


def test_adus() -> None:
    """As the shell gives them to a client's server, in pieces; one that is no Modbus ends the connection."""
    rig = ready()
    watch, make = Watch(rig), Maker(rig, f"{SEED}/tcp")
    answered = ended = 0
    for turn in range(INPUTS):
        if turn % 50 == 0:
            server = modbus_tcp.TcpServer(ServerPdu(MeterRegisters(rig.meter, rig.meter.tcp_carrier(turn % 4))), 17)
        pdu, unit = make.pdu(), make.draw.choice((17, 255, 0, 18))
        length = len(pdu) + 1 if make.draw.random() < 0.95 else make.draw.choice((0, 1, 255, 0xFFFF))
        adu = struct.pack(">HHHB", turn & 0xFFFF, make.draw.random() < 0.02, length, unit) + pdu
        replies = feed(server, adu)
        refused = True
        if replies is None:
            ended += 1
            server = modbus_tcp.TcpServer(ServerPdu(MeterRegisters(rig.meter, Meter.CARRIER_TCP)), 17)
        for reply in replies or ():
            answered += 1
            assert len(reply) == 6 + (reply[4] << 8 | reply[5])
            refused = refused and bool(reply[7] & 0x80)
        settle(rig, watch, refused, unit, turn)
    assert answered > INPUTS // 3
    assert ended


def feed(server: modbus_tcp.TcpServer, stream: bytes) -> list[bytes] | None:
    """What comes back for a stream, or None where it ends the connection."""
    receiver = modbus_tcp.TcpReceiver()
    found = []
    for octet in stream:
        try:
            length = receiver.feed(octet)
        except modbus_tcp.FrameError:
            return None
        if length:
            found.append(bytes(server.reply[: server.handle(receiver, length)]))
    return found


def settle(rig: Rig, watch: Watch, refused: bool, address: int, turn: int) -> None:
    """Finish what an input has begun, and look at what it must have left."""
    while rig.meter.verifying:
        rig.meter.verify_slice()
    if refused and address:
        watch.refused()
    elif watch.some() != watch.seen:
        watch.look()
    if turn % ALL_AT == ALL_AT - 1:
        watch.everything()
        rig.run(1)
        watch.look()
