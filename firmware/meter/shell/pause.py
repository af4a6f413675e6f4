"""`sleep_ms` and `ticks_ms` where MicroPython and CPython differ."""

import sys

MICROPYTHON = sys.implementation.name == "micropython"

if MICROPYTHON:
    from asyncio import sleep_ms
    from time import ticks_diff, ticks_ms
else:
    import asyncio
    from datetime import timedelta
    from time import monotonic_ns

    async def sleep_ms(ms: int) -> None:
        await asyncio.sleep(timedelta(milliseconds=ms).total_seconds())

    def ticks_ms() -> int:
        return monotonic_ns() // 1_000_000

    def ticks_diff(later_ms: int, earlier_ms: int) -> int:
        return later_ms - earlier_ms


_START = ticks_ms()


def now_ms() -> int:
    """Milliseconds since the start, wrapping as the port's ticks do (a multiple of 2^30)."""
    return ticks_diff(ticks_ms(), _START)


__all__ = ("now_ms", "sleep_ms", "ticks_diff", "ticks_ms")
