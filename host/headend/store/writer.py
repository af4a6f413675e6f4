"""The threads that write: functions wait in lanes, and a thread takes the most urgent one that it may."""

import threading
from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from operator import itemgetter

from headend.store.jobs import Job, Lane, Overloaded, StoreClosed

LANE_CAPACITY = 10_000

More = Callable[[Lane], Job | None]  # the next job that is no less urgent than a lane, if one waits


class Writer:
    """The threads with their lanes. `submit` never blocks.

    `run(job, more)` runs a job, and others that `more` gives if it likes, and settles their futures; `reach` tells of
    each thread the least urgent lane that it serves.
    """

    def __init__(self, run: Callable[[Job, More], None], reach: Sequence[Lane], capacity: int = LANE_CAPACITY) -> None:
        self._run = run
        self._capacity = capacity
        self._lanes: tuple[deque[Job], ...] = tuple(deque() for _ in Lane)
        self._changed = threading.Lock()
        self._idle: list[tuple[Lane, threading.Condition]] = []  # threads that wait for work, by reach
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, args=(lane,), name=f"store-writer-{number}", daemon=True)
            for number, lane in enumerate(reach)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job; raises Overloaded when its lane is full, StoreClosed after `close`."""
        with self._changed:
            if self._closed:
                raise StoreClosed("The store is closed.")
            waiting = self._lanes[job.lane]
            if len(waiting) >= self._capacity:
                raise Overloaded(f"{len(waiting)} writes wait in lane {job.lane.name.lower()}; try again later.")
            waiting.append(job)
            self._wake(job.lane)

    def close(self) -> None:
        """Take no more, finish what was taken on, end the threads."""
        with self._changed:
            self._closed = True
            for _, idle in self._idle:
                idle.notify()
        if not self.runs_here():
            for thread in self._threads:
                thread.join()

    def runs_here(self) -> bool:
        """Whether the caller is a function that the writer runs."""
        return threading.current_thread() in self._threads

    def _work(self, reach: Lane) -> None:
        while (job := self._first(reach)) is not None:
            self._run(job, self._more)

    def _first(self, reach: Lane) -> Job | None:
        mine = threading.Condition(self._changed)
        with self._changed:
            while True:
                job = self._next(reach)
                if job is not None or self._closed:
                    return job
                insort(self._idle, (reach, mine), key=itemgetter(0))
                mine.wait()

    def _wake(self, lane: Lane) -> None:
        """Wake one thread that serves a lane, where one is idle; who is busy looks for work before it rests. To wake
        all of them for each job cost more than the job's transaction."""
        for place, (reach, idle) in enumerate(self._idle):
            if reach >= lane:
                del self._idle[place]
                idle.notify()
                return

    def _more(self, lane: Lane) -> Job | None:
        with self._changed:
            return self._next(lane)

    def _next(self, lane: Lane) -> Job | None:
        for waiting in self._lanes[: lane + 1]:
            if waiting:
                return waiting.popleft()
        return None
