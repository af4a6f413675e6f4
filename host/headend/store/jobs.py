"""What is handed to a store: a function with its arguments, where its outcome goes, and what it may come to."""

from collections.abc import Callable
from concurrent.futures import Future
from enum import IntEnum
from typing import Any


class Lane(IntEnum):
    """Which work goes first when several kinds wait."""

    MONEY = 0
    ORDERS = 1
    READS = 2


MONEY = Lane.MONEY
ORDERS = Lane.ORDERS
READS = Lane.READS


class CommitFailed(Exception):
    """The transaction could not begin, hold or commit: nothing of it is in the database. The cause is chained."""


class OutcomeUnknown(CommitFailed):
    """The connection was lost while the database answered the COMMIT: all of it is stored, or nothing. Whoever asks
    again with the same identifiers learns which.
    """


class Overloaded(Exception):
    """The lane is full: nothing was taken on. Try again later."""


class StoreClosed(Exception):
    """The store takes no more work."""


class Job:
    """A function with its arguments, and where its outcome goes."""

    __slots__ = ("args", "error", "fn", "future", "lane", "value")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], lane: Lane) -> None:
        self.fn = fn
        self.args = args
        self.lane = lane
        self.future: Future[Any] = Future()
        self.value: Any = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        if self.error is None:
            self.future.set_result(self.value)
        else:
            self.future.set_exception(self.error)
