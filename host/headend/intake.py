"""Interval batches of a list of messages, verified and stored together: what the dispatcher does for many at once.

Keys of all meters are looked up in one statement; forms, MACs and CRCs are checked outside of any transaction; what
continues its log is stored in a few short ones, so that a payment waits for one of them at most. The rest is left to
the dispatcher, message by message.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from sqlalchemy import Connection

from headend.genuine import Keys
from headend.keys.signer_wire import SignerAway
from headend.orders import keys_held
from headend.orders.actions import Ask
from headend.reads import bulk, sealed
from headend.reads.sealed import Opened
from headend.refusals import Refused
from headend.store import READS, CommitFailed, Overloaded, Store, StoreClosed
from meterlink.batches import KIND_INTERVALS, pack_ack
from meterlink.mac import MacKey

TOGETHER = 400  # batches in one transaction: some milliseconds of the writer

Message = tuple[int, str, bytes, str]  # the meter that it is said to come from, topics.UP_*, as it came, carrier
Follow = Callable[[Connection, int, Sequence[int]], Sequence[Ask]]  # what to ask these meters for next, written down


class Stored(NamedTuple):
    """A batch that was stored: the meter's log is whole to `whole_to`. `asked`: the next question to it."""

    batch: Opened
    key: MacKey
    whole_to: int
    asked: Ask | None

    def acknowledgement(self) -> bytes:
        """What tells the meter so."""
        return pack_ack(KIND_INTERVALS, self.batch.meter, self.batch.log_id, self.whole_to, self.key)


class Intake:
    """`take` stores what it can of many batches. Thread-safe as the store is.

    `follow`: says in the same transaction what to ask meters for that something is missing of.
    """

    def __init__(self, store: Store, keys: Keys, question_s: int, follow: Follow) -> None:
        self._store = store
        self._keys = keys
        self._question_s = question_s
        self._follow = follow

    def take(self, now_s: int, messages: Sequence[Message]) -> list[Stored | BaseException | None]:
        """Of each: what was stored, what kept the database from it, or None: it wants the dispatcher's closer look."""
        keys = self._keys_of(messages)
        opened = sealed.open_all([(raw, key) for (_, _, raw, _), key in zip(messages, keys, strict=True)])
        found: list[Stored | BaseException | None] = [None] * len(messages)
        laid = [(one, key, place) for place, (one, key) in enumerate(zip(opened, keys, strict=True)) if one and key]
        laid.sort(key=_by_meter)  # those of a meter stay in their order, and come into one transaction
        chunks = [laid[at : at + TOGETHER] for at in range(0, len(laid), TOGETHER)]
        for chunk, future in [(chunk, self._start(now_s, [one for one, _, _ in chunk])) for chunk in chunks]:
            reached, asked = _outcome(future, len(chunk))
            for (one, key, place), reach in zip(chunk, reached, strict=True):
                found[place] = Stored(one, key, reach[0], asked.get(one.meter)) if isinstance(reach, tuple) else reach
        return found

    def _start(self, now_s: int, some: Sequence[Opened]) -> "Future[_Taken]":
        try:
            return self._store.write(self._take, now_s, some, lane=READS)
        except (Overloaded, StoreClosed) as error:
            refused: Future[_Taken] = Future()
            refused.set_exception(error)
            return refused

    def _take(self, conn: Connection, now_s: int, some: Sequence[Opened]) -> "_Taken":
        reached = bulk.take_many(conn, now_s, some, self._question_s)
        last = {one.meter: reach for one, reach in zip(some, reached, strict=True) if reach is not None}
        behind = [meter for meter, (whole_to, newest) in last.items() if whole_to < newest]
        return reached, {ask.meter: ask for ask in self._follow(conn, now_s, behind)} if behind else {}

    def _keys_of(self, messages: Sequence[Message]) -> list[MacKey | None]:
        """The key in force of each meter, where the message names that meter and that version of its key."""
        held = self._store.read(keys_held.in_force, sorted({message[0] for message in messages}))
        keys: list[MacKey | None] = []
        for meter, _, raw, _ in messages:
            version = held.get(meter)
            try:
                fits = version is not None and sealed.named(raw) == (meter, version)
                keys.append(self._keys.mac_key(meter, version) if fits else None)  # type: ignore[arg-type]
            except (Refused, SignerAway):  # no such key, or nobody there to give it
                keys.append(None)
        return keys


_Taken = tuple[Sequence[bulk.Reach | BaseException | None], dict[int, Ask]]


def _by_meter(laid: tuple[Opened, MacKey, int]) -> int:
    return laid[0].meter


def _outcome(future: "Future[_Taken]", number: int) -> _Taken:
    """What became of the batches of a transaction. Where one of them was at fault, each is looked at by itself."""
    try:
        return future.result()
    except (CommitFailed, Overloaded, StoreClosed) as error:
        return [error] * number, {}
    except Exception:  # noqa: BLE001 - whoever it belongs to meets it again
        return [None] * number, {}
