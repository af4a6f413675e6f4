"""`sleep_ms` and `ticks_ms` where MicroPython and CPython differ."""

try:
    from asyncio import sleep_ms
    from time import ticks_diff, ticks_ms
except ImportError:  # CPython
    import asyncio
    from datetime import timedelta
    from time import monotonic_ns

    async def sleep_ms(ms: int) -> None:
        await asyncio.sleep(timedelta(milliseconds=ms).total_seconds())

    def ticks_ms() -> int:
        return monotonic_ns() // 1_000_000

    def ticks_diff(later_ms: int, earlier_ms: int) -> int:
        return later_ms - earlier_ms


__all__ = ("sleep_ms", "ticks_diff", "ticks_ms")
