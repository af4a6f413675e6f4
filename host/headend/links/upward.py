"""How what comes up reaches the store without holding up a link, and how the link hears that it is committed."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future

from headend.links.port import Message, Up
from meterlink import topics

TOGETHER = 1_000  # batches of intervals that are handed on at once, at most
_LISTS = 2  # such lists under way: one is verified while the other is committed

Heard = Callable[[int], None]
"""heard(committed): messages of this listener have ended, so many of them well. Called once a list, by any thread."""


class Handed:
    """A message on its way up. `ended`: it is committed, or `error` is what kept it from that."""

    __slots__ = ("_given_up", "ended", "error", "heard", "message")

    def __init__(self, message: Message, heard: Heard | None = None) -> None:
        self.message = message
        self.heard = heard
        self.ended = False
        self.error: BaseException | None = None
        self._given_up = False

    def give_up(self) -> None:
        """Nobody waits for it any more: it need not begin."""
        self._given_up = True

    def begin(self) -> bool:
        """Whether it is still wanted."""
        return not self._given_up

    def end(self, error: BaseException | None) -> None:
        self.error = error
        self.ended = True


class _Promised(Handed):
    """One whose sender waits for a future."""

    __slots__ = ("future",)

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.future: Future[None] = Future()

    def give_up(self) -> None:
        self.future.cancel()

    def begin(self) -> bool:
        return self.future.set_running_or_notify_cancel()

    def end(self, error: BaseException | None) -> None:
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)


class Upward:
    """Threads that call `up`: one after the other for one meter, side by side for several.

    Batches of intervals go together, those of all meters that wait; so the more comes, the more is committed at once.
    What else a meter says goes by itself, and holds up nobody but that meter.
    """

    def __init__(self, up: Up, threads: int = 8) -> None:
        self._up = up
        self._waiting: dict[int, deque[Handed]] = {}  # by meter; a meter is in here as long as anything of it is
        self._batches: deque[int] = deque()  # meters whose next message is a batch of intervals …
        self._others: deque[int] = deque()  # … or anything else; those in neither have something under way
        self._lists = 0  # under way
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, name=f"up-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def hand(self, meter: int, what: str, raw: bytes) -> "Future[None]":
        """Queue one message; never blocks. The future ends when it is committed, or with what kept it from that.

        After `close` it is cancelled.
        """
        one = _Promised((meter, what, raw))
        self.hand_all((one,))
        return one.future

    def hand_all(self, some: Sequence[Handed]) -> None:
        """Queue these, in this order; never blocks. After `close` they are given up."""
        with self._changed:
            if not self._closed:
                for one in some:
                    meter = one.message[0]
                    queue = self._waiting.get(meter)
                    if queue is None:
                        self._waiting[meter] = deque((one,))
                        self._ready(meter, one)
                    else:
                        queue.append(one)
                self._call()
                return
        for one in some:
            one.give_up()

    def close(self) -> None:
        """Returns when the calls that run have returned; what still waits is given up."""
        with self._changed:
            self._closed = True
            dropped = [one for queue in self._waiting.values() for one in queue]
            self._waiting = {}
            self._changed.notify_all()
        for one in dropped:
            one.give_up()
        for thread in self._threads:
            thread.join()

    # --- with the lock ------------------------------------------------------------------------------------------------

    def _ready(self, meter: int, first: Handed) -> None:
        (self._batches if first.message[1] == topics.UP_INTERVALS else self._others).append(meter)

    def _call(self) -> None:
        """Wake as many as there is something to do for."""
        wanted = len(self._others) + (1 if self._batches and self._lists < _LISTS else 0)
        if wanted:
            self._changed.notify(wanted)

    def _next_list(self) -> list[Handed]:
        """Of meters of which nothing is under way; in turn, so that none waits for ever."""
        some: list[Handed] = []
        while self._batches and len(some) < TOGETHER:
            queue = self._waiting[self._batches.popleft()]
            while queue and len(some) < TOGETHER and queue[0].message[1] == topics.UP_INTERVALS:
                some.append(queue.popleft())
        return some

    def _go_on(self, meters: Iterable[int]) -> None:
        """What was under way of these has ended."""
        for meter in meters:
            queue = self._waiting[meter]
            if queue:
                self._ready(meter, queue[0])
            else:
                del self._waiting[meter]
        self._call()

    # --- the threads --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._closed or self._others or (self._batches and self._lists < _LISTS)):
                    self._changed.wait()
                if self._closed:
                    return
                if self._batches and self._lists < _LISTS:
                    some, lists = self._next_list(), 1
                else:
                    some, lists = [self._waiting[self._others.popleft()].popleft()], 0
                self._lists += lists
            self._hand_on(some)
            with self._changed:
                self._lists -= lists
                if not self._closed:
                    self._go_on({one.message[0] for one in some})

    def _hand_on(self, some: Sequence[Handed]) -> None:
        taken = [one for one in some if one.begin()]
        if not taken:
            return
        try:
            outcomes = self._up([one.message for one in taken])
        except BaseException as error:  # noqa: BLE001 - it belongs to those who wait for the messages
            outcomes = [error] * len(taken)
        heard: Counter[Heard] = Counter()
        for one, outcome in zip(taken, outcomes, strict=True):
            one.end(outcome)
            if one.heard is not None:
                heard[one.heard] += outcome is None
        for listener, committed in heard.items():
            listener(committed)
