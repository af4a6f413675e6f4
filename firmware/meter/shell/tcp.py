"""Serves Modbus TCP: a bounded number of connections, each with one request at a time and an idle limit.

Each place for a connection has a server of its own, so that no client moves what another has latched, or takes the
place of an order that another has given.
"""

import asyncio

from meterlink.modbus_tcp import MAX_TCP_ADU, FrameError, TcpReceiver

CLIENTS = 4
IDLE_S = 60


class TcpShell:
    """Listens and answers. A connection that finds all places taken is closed at once; one that has not completed a
    request for idle_s, or has not taken its reply by then, is closed as well.
    """

    def __init__(self, make, clients: int = CLIENTS, idle_s: int = IDLE_S) -> None:
        """`make(place)`: the TcpServer of a place, 0..clients - 1; called when it is first taken."""
        self._make = make
        self._servers = [None] * clients
        self._free = list(range(clients))
        self._clients = clients
        self._idle_s = idle_s
        self._idle: "dict" = {}  # task of a connection -> seconds since it completed a request
        self.refused = 0  # connections that found no place
        self.broken = 0  # connections closed because their framing was wrong

    async def serve(self, host: str, port: int) -> None:
        """Listen until cancelled; OSError when the port cannot be had. Closes every connection at the end."""
        listener = await asyncio.start_server(self._connection, host, port, backlog=self._clients)
        try:
            while True:
                await asyncio.sleep(1)
                self._sweep()
        finally:
            listener.close()
            for task in list(self._idle):
                task.cancel()

    def _sweep(self) -> None:
        for task in list(self._idle):
            self._idle[task] += 1
            if self._idle[task] > self._idle_s:
                task.cancel()

    async def _connection(self, reader, writer):
        try:
            if self._free:
                await self._converse(reader, writer)
            else:
                self.refused += 1
        except FrameError:
            self.broken += 1
        except (OSError, asyncio.CancelledError):
            pass  # the peer went away, or its time was up
        finally:
            await _close(writer)

    async def _converse(self, reader, writer):
        task = asyncio.current_task()
        self._idle[task] = 0
        place = self._free.pop(0)
        try:
            server = self._servers[place] or self._make(place)
            self._servers[place] = server
            receiver = TcpReceiver()
            while True:
                data = await reader.read(MAX_TCP_ADU)
                if not data:
                    return
                for byte in data:
                    length = receiver.feed(byte)
                    if length:
                        size = server.handle(receiver, length)
                        writer.write(bytes(server.reply[:size]))
                        await writer.drain()
                        server.answered()
                        self._idle[task] = 0
        finally:
            del self._idle[task]
            self._free.append(place)


async def _close(writer):
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        pass  # it was gone already
