"""Serves Modbus RTU on a link: one asyncio task.

A link is a half-duplex character line, given by the board:

    silence_ms      silence that ends a frame: t3.5 of the line, or more where t3.5 cannot be observed
    turnaround_ms   silence before answering a request that is whole: t3.5 on a wire, 0 where framing needs no time
    async readinto(buf, wait_ms) -> int
                    characters read into buf, at least 1; 0 when none came within wait_ms (below 0: waits for ever).
                    Lets other tasks run at each call. OSError: the line is gone.
    async write(buf)
                    returns when the last stop bit has left. What the port itself sends is never read back.

Each wait is bounded but the one between frames.
"""


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
            await link.write(server.reply[:n])
            server.answered()
