"""Interval batches of a list of messages, verified and stored together: what the dispatcher does for many at once.

Keys of all meters are looked up in one statement; forms, MACs and CRCs are checked outside of any transaction; what
continues its log is stored in a few short ones, so that a payment waits for one of them at most. The rest is left to
the dispatcher, message by message.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from headend.keys.signer_wire import SignerAway
from headend.orders import keys_held
from headend.reads import bulk, sealed
from headend.reads.sealed import Opened
from headend.refusals import Refused
from headend.store import READS, CommitFailed, Overloaded, Store, StoreClosed
from meterlink.batches import KIND_INTERVALS, pack_ack
from meterlink.mac import MacKey

TOGETHER = 400  # batches in one transaction: some milliseconds of the writer

Message = tuple[int, str, bytes, str]  # the meter that it is said to come from, topics.UP_*, as it came, carrier


class Keys(Protocol):
    def mac_key(self, meter: int, version: int) -> MacKey: ...


class Stored(NamedTuple):
    """A batch that was stored: the meter's log is whole to `whole_to`, and it has records up to `newest`."""

    batch: Opened
    key: MacKey
    whole_to: int
    newest: int

    @property
    def wants_more(self) -> bool:
        """Whether something of the log is missing."""
        return self.whole_to < self.newest

    def acknowledgement(self) -> bytes:
        """What tells the meter so."""
        return pack_ack(KIND_INTERVALS, self.batch.meter, self.batch.log_id, self.whole_to, self.key)


class Intake:
    """`take` stores what it can of many batches. Thread-safe as the store is."""

    def __init__(self, store: Store, keys: Keys, question_s: int) -> None:
        self._store = store
        self._keys = keys
        self._question_s = question_s

    def take(self, now_s: int, messages: Sequence[Message]) -> list[Stored | BaseException | None]:
        """Of each: what was stored, what kept the database from it, or None: it wants the dispatcher's closer look."""
        keys = self._keys_of(messages)
        opened = sealed.open_all([(raw, key) for (_, _, raw, _), key in zip(messages, keys, strict=True)])
        found: list[Stored | BaseException | None] = [None] * len(messages)
        places = [place for place, one in enumerate(opened) if one is not None]
        chunks = [places[at : at + TOGETHER] for at in range(0, len(places), TOGETHER)]
        for chunk, future in [(chunk, self._start(now_s, opened, chunk)) for chunk in chunks]:
            for place, outcome in zip(chunk, _outcomes(future, len(chunk)), strict=True):
                if isinstance(outcome, tuple):
                    one, key = opened[place], keys[place]
                    assert one is not None and key is not None, "it was opened"
                    found[place] = Stored(one, key, *outcome)
                else:
                    found[place] = outcome
        return found

    def _start(
        self, now_s: int, opened: Sequence[Opened | None], chunk: Iterable[int]
    ) -> "Future[list[bulk.Reach | None]]":
        batches = [one for one in (opened[place] for place in chunk) if one is not None]
        try:
            return self._store.write(bulk.take_many, now_s, batches, self._question_s, lane=READS)
        except (Overloaded, StoreClosed) as error:
            refused: Future[list[bulk.Reach | None]] = Future()
            refused.set_exception(error)
            return refused

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


def _outcomes(future: "Future[list[bulk.Reach | None]]", number: int) -> Sequence[bulk.Reach | BaseException | None]:
    """What became of the batches of a transaction. Where one of them was at fault, each is looked at by itself."""
    try:
        return future.result()
    except (CommitFailed, Overloaded, StoreClosed) as error:
        return [error] * number
    except Exception:  # noqa: BLE001 - whoever it belongs to meets it again
        return [None] * number
