"""A slave with known registers, served by the firmware's shell on MicroPython or CPython; started by test_rtu.py.

    modbus_server.py rtu PORT ADDRESS SILENCE_MS    PORT: path of a pty, or #N for an inherited file descriptor
    modbus_server.py tcp PORT ADDRESS CLIENTS IDLE_S

Holding registers 0..299 start as 7 * address; 100..109 refuse writes. Input registers 0..9 are 0x8000 + address, then
counters: 10 frames, 11 bad frames, 12 overruns, 13 replies dropped (RTU), or 10 connections refused, 11 broken (TCP);
14 turns of another task that sleeps 10 ms. File 1 has records 0..1999, each one register that holds its own number;
file 2 has what was written to it, record by record.
"""

import asyncio
import sys

from meter.boards.pty_link import PtyLink
from meter.shell import rtu, tcp
from meter.shell.pause import sleep_ms
from meterlink import modbus, modbus_tcp

OBJECTS = (b"openprepay", b"TEST-1", b"0.1", b"", b"Test slave", b"modbus_server")


class Space(modbus.RegisterSpace):
    def __init__(self):
        self.holding = bytearray(600)
        for address in range(300):
            self.holding[2 * address] = 7 * address >> 8
            self.holding[2 * address + 1] = 7 * address & 0xFF
        self.counters = lambda: ()
        self.turns = 0
        self.written = {}

    def read(self, address, count, out, offset, input_registers):
        if not input_registers:
            if address + count > 300:
                return modbus.ILLEGAL_ADDRESS
            out[offset : offset + 2 * count] = self.holding[2 * address : 2 * (address + count)]
            return 0
        values = [0x8000 + i for i in range(10)] + list(self.counters()) + [self.turns & 0xFFFF]
        if address + count > len(values):
            return modbus.ILLEGAL_ADDRESS
        for i in range(count):
            out[offset + 2 * i] = values[address + i] >> 8
            out[offset + 2 * i + 1] = values[address + i] & 0xFF
        return 0

    def write(self, address, count, data):
        if address + count > 300 or (address < 110 and address + count > 100):
            return modbus.ILLEGAL_ADDRESS
        self.holding[2 * address : 2 * (address + count)] = data
        return 0

    def read_file(self, file, record, registers, out, offset):
        if file == 2 and len(self.written.get(record, b"")) == 2 * registers:
            out[offset : offset + 2 * registers] = self.written[record]
            return 0
        if file != 1 or record + registers > 2000:
            return modbus.ILLEGAL_ADDRESS
        for i in range(registers):
            out[offset + 2 * i] = record + i >> 8
            out[offset + 2 * i + 1] = record + i & 0xFF
        return 0

    def write_file(self, file, record, data):
        if file != 2 or record > 9:
            return modbus.ILLEGAL_ADDRESS
        self.written[record] = bytes(data)
        return 0

    def identification(self, object_id):
        return OBJECTS[object_id] if object_id < len(OBJECTS) and OBJECTS[object_id] else None


async def turn(space):
    while True:
        await sleep_ms(10)
        space.turns += 1


async def serve_rtu(space, port, address, silence_ms):
    server = modbus.RtuServer(modbus.ServerPdu(space), int(address))
    link = PtyLink(int(port[1:]) if port[0] == "#" else port, 9600, int(silence_ms))
    receiver = server.receiver
    space.counters = lambda: (receiver.frames, receiver.bad_frames, receiver.overruns, link.dropped)
    print("ready")
    await rtu.serve(server, link)


async def serve_tcp(space, port, address, clients, idle_s):
    shell = tcp.TcpShell(
        lambda place: modbus_tcp.TcpServer(modbus.ServerPdu(space), int(address)), int(clients), int(idle_s)
    )
    space.counters = lambda: (shell.refused, shell.broken, 0, 0)
    print("ready")
    await shell.serve("127.0.0.1", int(port))


async def main(kind, *arguments):
    space = Space()
    task = asyncio.create_task(turn(space))
    try:
        await (serve_rtu if kind == "rtu" else serve_tcp)(space, *arguments)
    except OSError as error:
        print("ended:", error)
    finally:
        task.cancel()


asyncio.run(main(*sys.argv[1:]))
