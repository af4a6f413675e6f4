"""How long payments take while intervals pour in: sealed batches through the engine from threads, payments beside.

Batches come as fast as `RATE` records a second, or as fast as the machine takes them, in lists of what waits; payments
come at a pace of their own, one after the other, as a bank posts them. Everything is on disk before it is answered.
"""

import threading
import time
from collections.abc import Iterator
from itertools import count

from headend.ledger import payments
from headend.store import MONEY
from meterlink import topics
from meterlink.batches import MAX_RECORDS
from openprepay.bench.figure import Figure, against
from openprepay.bench.scene import CHANNEL, NOW_S, Scene, open_scene

METERS = 64
CALLERS = 8  # threads that carriers bring messages with
RATE = 50_000  # records a second that the design asks for …
BUDGET_MS = 50.0  # … and how long 99 of 100 payments may take meanwhile
LISTED = 1_000  # messages that one of them hands on at once
TICK_S = 0.005
EVERY_S = 0.02  # between two payments
LEAST = 20  # payments


def run(seconds: float) -> Iterator[Figure]:
    """Batches are made before the time counts."""
    with open_scene(METERS) as scene:
        lasts = 0.6 * seconds
        made = max(METERS, int(lasts * RATE / MAX_RECORDS))
        fed = [_batches(scene, made, number) for number in range(CALLERS)]
        over = threading.Event()
        stored = [0] * CALLERS
        began = time.perf_counter()

        def feed(caller: int) -> None:
            done = 0
            while not over.wait(TICK_S):
                due = int((time.perf_counter() - began) * RATE / MAX_RECORDS / CALLERS)
                waiting = fed[caller][done : min(due, done + LISTED)]
                scene.engine.up_many([(meter, topics.UP_INTERVALS, raw, "mqtt") for meter, raw in waiting])
                done += len(waiting)
                stored[caller] = done * MAX_RECORDS

        threads = [threading.Thread(target=feed, args=(number,)) for number in range(CALLERS)]
        for thread in threads:
            thread.start()
        times_s = _pay(scene, began + lasts)
        rows, took_s = sum(stored), time.perf_counter() - began
        over.set()
        for thread in threads:
            thread.join()
    yield against("mixed_ingest_rows", max(rows, 1) / took_s, "rows/s", "what the design asks for", RATE)
    times_s.sort()
    p99_ms = 1000 * times_s[len(times_s) * 99 // 100]
    yield against("mixed_payments_p99", p99_ms, "ms", "what the design allows", BUDGET_MS)
    p50_ms = 1000 * times_s[len(times_s) // 2]
    yield against("mixed_payments_p50", p50_ms, "ms", "what the design allows to 99 of 100", BUDGET_MS)


def _batches(scene: Scene, number: int, caller: int) -> list[tuple[int, bytes]]:
    """A caller's part of the batches of all meters, each meter's in order."""
    mine = [meter for meter in scene.meters if meter % CALLERS == caller]
    made = []
    for place in range(number // CALLERS):
        meter = mine[place % len(mine)]
        made.append((meter, scene.batch(meter, 1 + place // len(mine) * MAX_RECORDS)))
    return made


def _pay(scene: Scene, until: float) -> list[float]:
    """Take payments at a pace; how long each took."""
    times_s: list[float] = []
    for number in count(1):
        began = time.perf_counter()
        if began > until and len(times_s) >= LEAST:
            break
        arguments = (NOW_S, CHANNEL, f"receipt-{number}", scene.meters[number % METERS], 20_000_000)
        scene.store.write(payments.take, *arguments, lane=MONEY).result()
        times_s.append(time.perf_counter() - began)
        time.sleep(max(0.0, EVERY_S - times_s[-1]))
    return times_s
