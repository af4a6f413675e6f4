"""Serves Modbus RTU on a link: one asyncio task, and one more on the bus, whose settings may change.

A link is a half-duplex character line, given by the board:

    silence_ms      silence that ends a frame: t3.5 of the line, or more where t3.5 cannot be observed
    turnaround_ms   silence before answering a request that is whole: t3.5 on a wire, 0 where framing needs no time
    async readinto(buf, wait_ms) -> int
                    characters read into buf, at least 1; 0 when none came within wait_ms (below 0: waits for ever).
                    Lets other tasks run at each call. OSError: the line is gone.
    async write(buf)
                    returns when the last stop bit has left. What the port itself sends is never read back.

    close()         for links of the bus: another one is about to be opened on the same port

Each wait is bounded but the one between frames.
"""

import asyncio

from meter.shell.pause import sleep_ms

LOOK_MS = 500  # how often the settings of the bus are looked at


async def serve(server, link):
    """Answer requests until cancelled, or until the line is gone (OSError). server: a meterlink.modbus.RtuServer."""
    chunk = bytearray(32)
    server.receiver.silence()  # what an earlier link left half
    while True:
        n = await link.readinto(chunk, -1)
        while n:
            for i in range(n):
                server.feed(chunk[i])
            n = await link.readinto(chunk, link.turnaround_ms if server.whole() else link.silence_ms)
        n = server.end()
        if n:
            server.replying = True
            await link.write(server.reply[:n])
            server.replying = False
            server.answered()


async def bus(line, server, open_link):
    """Serve the bus as it is set, until cancelled or until it is gone. line: `meter.line.Line` · `open_link(settings)`
    opens it. Where the settings change it is opened anew, between a reply and the next request."""
    while True:
        settings = line.settings
        server.set_address(settings[0])
        server.replying = False
        link = open_link(settings)
        line.opened(server)
        task = asyncio.create_task(serve(server, link))
        try:
            while not task.done():
                await sleep_ms(LOOK_MS)
                if line.settings != settings and not server.replying and not server.receiver.length:
                    task.cancel()
                    break
            try:
                await task
            except asyncio.CancelledError:
                if line.settings == settings:
                    raise  # it is this task that ends
        finally:
            task.cancel()
            link.close()
