"""The dispatcher: what to do on the wire next, and what to make of what comes back. Its only I/O is the store's.

The live service and the whole-system simulation drive the same object. All state is in the database; an engine that
dies is replaced by another on the same store. The rules for orders are in `orders.outbox` and `orders.inbound`, those
for records in `reads`; here they are put together, behind the checks that need no writer.

Input that is not genuine changes nothing: it is named and counted in `counts`, and never raises. What the store raises
goes through to the caller, who must then not acknowledge to the broker.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from threading import Lock
from typing import Protocol

from sqlalchemy import Connection

from headend import wishes
from headend.arrivals import waves
from headend.campaigns import following as campaigns
from headend.clock import Clock
from headend.collection import filling, turns
from headend.collection.policy import Rule
from headend.collection.repeats import Repeats
from headend.configuration import held as configuration_held
from headend.epochs import follow
from headend.firmware import told as firmware
from headend.gate import pace
from headend.genuine import MALFORMED, NO_SIGNER, UNKNOWN_METER, UNKNOWN_TOPIC, Checker, Keys, NotTaken
from headend.intake import Intake, Message, Stored
from headend.keys.signer_wire import SignerAway
from headend.ledger import debts_on_meter, refunds
from headend.orders import inbound, keys_held, outbox, questions, signing
from headend.orders.actions import Ack, Action, Ask, Deliver
from headend.orders.policy import Entropy, Policy
from headend.reads import batches
from headend.store import ORDERS, READS, Store, UnknownMeter, identity, lock_meter
from headend.store.next_report import ask_by
from headend.tokens import making, replacing, usage
from headend.wishes import NEVER, Part
from meterlink import topics
from meterlink.batches import KIND_INTERVALS, KIND_REPORT, Batch, pack_ack
from meterlink.image import ImageError, read_progress
from meterlink.mac import MacKey
from meterlink.orders import ASPECT_CREDIT
from meterlink.records import RECORD_LENGTH
from meterlink.reports import Report

__all__ = ["NEVER", "Ack", "Action", "Ask", "Deliver", "Engine", "Part", "Policy"]

# What became of a message, beside the reasons why one was not taken (`genuine`); each is counted under its name.
UPDATE_PROGRESS = "update_progress"
NOTHING_HELD = "nothing_held"  # asked for the order that it holds, a meter has none
WILL = "will"
WILL_LATE = "will_late"
BAD_CRC = "bad_crc_record"  # of a genuine batch
DIFFERING = "differing_record"  # other content than what is stored under its number

PARTS_OF_LISTS = 8
AT_ONCE = 16  # orders or questions that are taken in one transaction

_WILL_LENGTH = 28


class Signer(signing.Signer, making.Maker, Protocol):
    """Signs statements, and makes typed tokens."""


class Engine:
    """`due` and `up` return what to do next; `sent` hears what the carrier made of it. Thread-safe as the store is.

    `signer`: signs what `due` finds unsigned; without one, someone else does (`orders.signing.sign_pending`).
    `entropy(n)` gives n random bytes (nonces, jitter, tokens of leases) · `part`: None where this is all there is.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        clock: Clock,
        entropy: Entropy,
        *,
        signer: Signer | None = None,
        policy: Policy | None = None,
        part: Part | None = None,
    ) -> None:
        self._store = store
        self._part = part
        self._check = Checker(store, keys)
        self._clock = clock
        self._entropy = entropy
        self._signer = signer
        self._policy = policy or Policy()
        self._pace = Rule(report_s=self._policy.poll_s, gap_s=self._policy.gap_s)  # where no rules were set
        self._intake = Intake(store, keys, self._policy.question_s, self._ask_for_more)
        self._handed = (0, 0)  # (second, actions of `due` in it)
        self._looked_s: int | None = None  # when `due` was last called, by the clock
        self.counts: Counter[str] = Counter()  # what came up, by what became of it
        self.repeats = Repeats()  # intervals that came and were there already
        self._not_asked: Counter[int] = Counter()  # meter -> questions in a row that its carrier did not take
        self._counting = Lock()

    # --- down ---------------------------------------------------------------------------------------------------------

    def due(self, now_s: int) -> list[Action]:
        """Sign what waits, then take what wants attention now: at most the policy's `batch_actions` of each kind.

        What is returned is committed as handed out: act on it once, and tell `sent`.
        """
        if self._looked_s is None or now_s < self._looked_s:
            by_s = 0 if self._looked_s is None else self._looked_s - now_s
            self._store.write(self._clock_went_back, now_s, by_s, lane=ORDERS).result()
        self._looked_s = now_s
        if self.next_s() > now_s:
            return []
        campaigns.follow(self._store, now_s)
        for _ in range(PARTS_OF_LISTS):  # each in a transaction of its own, and what is queued goes out in between
            if not self._store.write(pace.tick, now_s, lane=ORDERS).result():
                break
        if self._signer is not None and (self._part is None or self._part.signs()):
            signing.sign_pending(self._store, self._signer, now_s, self._policy)
            making.make_waiting(self._store, self._signer, now_s)
        if self._part is not None and not self._part.dispatches:
            return []
        if self._handed[0] != now_s:
            self._handed = now_s, 0
        room = self._policy.per_second - self._handed[1]
        if room <= 0:
            return []
        actions = self._take_due(now_s, room)
        self._handed = now_s, self._handed[1] + len(actions)
        return actions

    def next_s(self) -> int:
        """When `due` has something to do at the earliest, as things stand; NEVER without orders and meters."""
        if self._part is None:
            return self._store.read(wishes.of_all)
        return self._store.read(wishes.of_part, self._part)

    def sent(self, action: Action, ok: bool, note: str = "") -> None:
        """What the carrier said: `ok` when it took the message over. It never means that the meter has it.

        `note`: a sentence for the order's history. A question that was not taken is asked again soon, an
        acknowledgement in due course.
        """
        if isinstance(action, Deliver):
            arguments = (action.order_id, action.lease, ok, note, self._policy, self._entropy)
            self._store.write(outbox.finished, self._clock.now_s(), *arguments, lane=ORDERS).result()
        elif isinstance(action, Ask):
            self._asked(action.meter, ok)
        if not ok:
            self._count(f"not_sent_{type(action).__name__.lower()}")

    def _asked(self, number: int, ok: bool) -> None:
        """A question that the carrier did not take is not waited for: the meter is asked again at the retry pace."""
        with self._counting:
            if ok:
                self._not_asked.pop(number, None)
                return
            self._not_asked[number] += 1
            tries = self._not_asked[number]
        next_s = self._clock.now_s() + self._policy.wait_s(tries, self._entropy)
        self._store.write(ask_by, number, next_s, lane=READS).result()

    def _clock_went_back(self, conn: Connection, now_s: int, by_s: int) -> None:
        """At the start, and where the clock says less than before: nothing waits for what is far ahead."""
        outbox.clock_went_back(conn, now_s, self._policy, by_s)
        turns.clock_went_back(conn, now_s, self._pace)

    def _take_due(self, now_s: int, room: int) -> list[Action]:
        """Orders, then questions, some in a transaction: while it lasts, their meters take no payment."""
        actions: list[Action] = []
        for take in (self._orders_due, self._questions_due):
            left = min(self._policy.batch_actions, room - len(actions))
            while left > 0:
                wanted = min(left, AT_ONCE)
                try:
                    some, rows = self._store.write(take, now_s, wanted, lane=ORDERS).result()
                except Exception:
                    if actions:  # what was taken by now is handed out, and what is wrong will be met again
                        return actions
                    raise
                actions += some
                left -= rows
                if rows < wanted:
                    break
        return actions

    def _orders_due(self, conn: Connection, now_s: int, limit: int) -> tuple[list[Action], int]:
        return outbox.claimed(conn, now_s, self._policy, self._entropy, limit=limit, holder=self._holder())

    def _questions_due(self, conn: Connection, now_s: int, limit: int) -> tuple[list[Action], int]:
        wanted = turns.due(conn, now_s, self._entropy, self._pace, limit, self._holder())
        return self._questions(conn, now_s, wanted), len(wanted)

    def _holder(self) -> str:
        return "" if self._part is None else self._part.holder

    def _questions(self, conn: Connection, now_s: int, wanted: Iterable[turns.Due]) -> list[Action]:
        """Questions of collection, written down. A report is asked for about our credit source, so that its totals come
        with it."""
        asks: list[Action] = []
        for one in wanted:
            about = {"first": one.first, "count": one.count}
            if one.kind == KIND_REPORT:
                about = {"aspect": ASPECT_CREDIT, "selector": identity.source_of(conn, one.meter)}
            asked = questions.ask(conn, now_s, self._entropy, one.meter, one.kind, **about)
            asks.append(replace(asked, waited_for=one.lane == turns.ON_DEMAND))
            if one.kind == KIND_REPORT:
                asks += configuration_held.ask(conn, now_s, self._entropy, one.meter)
        return asks

    # --- up -----------------------------------------------------------------------------------------------------------

    def up(self, meter_claimed: int, what: str, raw: bytes, carrier: str) -> list[Action]:
        """Take what came from `meter_claimed` on `what` (topics.UP_*) and return what to send now.

        It is committed when this returns. Bad input is counted and returns nothing; the store's errors are raised.
        """
        try:
            outcome, actions = self._take(meter_claimed, what, bytes(raw), carrier)
        except NotTaken as refusal:
            outcome, actions = refusal.why, []
        self._count(outcome)
        return actions

    def up_many(self, messages: Sequence[Message]) -> list[list[Action] | BaseException]:
        """`up` for many messages, those of a meter in order; of each what to send now, or what the store raised.

        Batches of intervals are taken together, in few transactions. One message never spoils another.
        """
        found: list[list[Action] | BaseException] = [[] for _ in messages]
        for intervals, places in waves((meter, what) for meter, what, _, _ in messages):
            if intervals and len(places) > 1:
                some = self._up_intervals([messages[place] for place in places])
            else:
                some = [self._up_or_error(messages[place]) for place in places]
            for place, one in zip(places, some, strict=True):
                found[place] = one
        return found

    def _up_or_error(self, message: Message) -> list[Action] | BaseException:
        try:
            return self.up(*message)
        except Exception as error:  # noqa: BLE001 - the carrier keeps this message, and no other
            return error

    def _up_intervals(self, messages: Sequence[Message]) -> list[list[Action] | BaseException]:
        now_s = self._clock.now_s()
        taken = self._intake.take(now_s, messages)
        found: list[list[Action] | BaseException] = [[] for _ in messages]
        newest = {one.batch.meter: (place, one) for place, one in enumerate(taken) if isinstance(one, Stored)}
        self._count(batches.STORED, sum(isinstance(one, Stored) for one in taken))
        for meter, (place, one) in newest.items():  # one acknowledgement for all that came of a meter
            found[place] = [Ack(meter, one.acknowledgement()), *([one.asked] if one.asked else [])]
        started: list[tuple[int, _Started]] = []
        for place, outcome in enumerate(taken):
            if isinstance(outcome, BaseException):
                found[place] = outcome
            elif outcome is None:  # it wants a closer look
                number, what, raw, _ = messages[place]
                try:
                    started.append((place, self._start_batch(number, what, bytes(raw))))
                except NotTaken as refusal:
                    self._count(refusal.why)
                except Exception as error:  # noqa: BLE001 - as above
                    found[place] = error
        for place, begun in started:
            found[place] = self._ended(*begun)
        return found

    def _ended(self, batch: Batch, key: MacKey, now_s: int, stored: "Future[_Stored]") -> list[Action] | BaseException:
        try:
            outcome, actions = self._end_batch(batch, key, now_s, stored)
        except Exception as error:  # noqa: BLE001 - as above
            return error
        self._count(outcome)
        return actions

    def _ask_for_more(self, conn: Connection, now_s: int, meters: Sequence[int]) -> list[Ask]:
        """Intervals of these meters were stored: the next questions, where something of their logs is missing."""
        wanted = filling.stored(conn, now_s, self._entropy, self._pace, KIND_INTERVALS, meters)
        records = [(one.meter, one.kind, one.first, one.count) for one in wanted]
        return questions.ask_for_records(conn, now_s, self._entropy, records)

    def _count(self, name: str, number: int = 1) -> None:
        if number:
            with self._counting:
                self.counts[name] += number

    def _take(self, number: int, what: str, raw: bytes, carrier: str) -> tuple[str, list[Action]]:
        take = _TAKE.get(what)
        if take is None:
            raise NotTaken(UNKNOWN_TOPIC)
        return take(self, number, what, raw, carrier)

    def _take_state(self, number: int, what: str, raw: bytes, carrier: str) -> tuple[str, list[Action]]:
        if len(raw) != _WILL_LENGTH:
            return self._take_report(number, what, raw, carrier)
        boot = self._check.will(number, raw)
        in_time = self._store.write(inbound.gone, number, boot, lane=ORDERS).result()
        return WILL if in_time else WILL_LATE, []

    def _take_progress(self, number: int, what: str, raw: bytes, carrier: str) -> tuple[str, list[Action]]:
        """How far a meter is with an image, and what it runs: shown, and no proof of anything."""
        try:
            said = read_progress(raw)
            if self._store.read(firmware.is_news, number, said):
                self._store.write(firmware.take, self._clock.now_s(), number, said, lane=READS).result()
        except ImageError as error:
            raise NotTaken(MALFORMED) from error
        except UnknownMeter as error:
            raise NotTaken(UNKNOWN_METER) from error
        return UPDATE_PROGRESS, []

    def _take_report(self, number: int, what: str, raw: bytes, carrier: str) -> tuple[str, list[Action]]:
        report, fresh_key = self._check.report(number, what, raw)
        arguments = (self._clock.now_s(), report, carrier, fresh_key)
        return self._store.write(self._store_report, *arguments, lane=ORDERS).result()

    def _store_report(
        self, conn: Connection, now_s: int, report: Report, carrier: str, fresh_key: bool
    ) -> tuple[str, list[Action]]:
        if fresh_key:
            keys_held.spoke(conn, report.meter, report.tag_key_version)
        taken = inbound.take(conn, now_s, report, carrier, self._policy, self._entropy)
        actions: list[Action] = []
        for kind, selector in follow.report(conn, now_s, report, taken):
            wanted = {"aspect": ASPECT_CREDIT, "selector": selector} if selector else {}
            actions.append(questions.ask(conn, now_s, self._entropy, report.meter, kind, **wanted))
        if taken.newest:
            missing = turns.reported(conn, now_s, self._entropy, self._pace, report, taken.settles_s)
            actions += self._questions(conn, now_s, missing)
        return taken.outcome, actions + self._claim(conn, now_s, report.meter)

    def _take_closing(self, number: int, what: str, raw: bytes, carrier: str) -> tuple[str, list[Action]]:
        report = self._check.report(number, what, raw)[0]
        arguments = (self._clock.now_s(), report, self._policy.question_s)
        return self._store.write(follow.closing_statement, *arguments, lane=ORDERS).result(), []

    def _take_order(self, number: int, what: str, raw: bytes, carrier: str) -> tuple[str, list[Action]]:
        """The last order that the meter holds of a credit source, asked for after a restore. What it is worth, its
        signature tells; that the meter holds it, a report."""
        if not raw:
            return NOTHING_HELD, []
        held = self._check.order(number, raw)
        judge = getattr(self._signer, "judge_found", None)
        if judge is None:
            raise NotTaken(NO_SIGNER)
        try:
            verdict = judge(raw)
        except SignerAway as error:
            raise NotTaken(NO_SIGNER) from error
        arguments = (self._clock.now_s(), held, verdict)
        outcome = self._store.write(follow.order_held, *arguments, lane=ORDERS).result()
        return outcome, self._store.write(self._claim, self._clock.now_s(), number, lane=ORDERS).result()

    def _take_held(self, number: int, what: str, raw: bytes, carrier: str) -> tuple[str, list[Action]]:
        """The versions of the orders that a meter holds, which the audit of configuration asked for."""
        batch, _, _ = self._check.batch(number, what, raw)
        arguments = (self._clock.now_s(), batch, self._policy.question_s, self._entropy)
        outcome, more = self._store.write(configuration_held.take, *arguments, lane=ORDERS).result()
        return outcome, list(more)

    def _take_batch(self, number: int, what: str, raw: bytes, carrier: str) -> tuple[str, list[Action]]:
        return self._end_batch(*self._start_batch(number, what, raw))

    def _start_batch(self, number: int, what: str, raw: bytes) -> "_Started":
        """Verify a batch and hand it to the store."""
        batch, key, fresh_key = self._check.batch(number, what, raw)
        now_s = self._clock.now_s()
        store = self._store_intervals if batch.kind == KIND_INTERVALS else self._store_events
        return batch, key, now_s, self._store.write(store, now_s, batch, fresh_key, lane=READS)

    def _end_batch(self, batch: Batch, key: MacKey, now_s: int, stored: "Future[_Stored]") -> tuple[str, list[Action]]:
        """Wait for the store, and say what is to be sent."""
        number = batch.meter
        taken, more = stored.result()
        if batch.kind == KIND_INTERVALS and taken.outcome == batches.OTHER_LOG:
            more = self._store.write(self._follow_batch, now_s, number, batch.kind, taken.outcome, lane=READS).result()
        self._count(BAD_CRC, taken.bad_crc)
        self._count(DIFFERING, taken.differing)
        if batch.kind == KIND_INTERVALS:
            came = len(batch.records) // RECORD_LENGTH
            self.repeats.add(number, came - taken.new - taken.bad_crc - taken.differing)
        actions: list[Action] = []
        # To a batch behind a gap that comes again nothing new is to be said, and an answer would bring it once more.
        if taken.ack_to and (taken.outcome != batches.REPEATED or taken.ack_to >= batch.first):
            actions.append(Ack(number, pack_ack(batch.kind, number, batch.log_id, taken.ack_to, key)))
        return taken.outcome, actions + more

    def _store_intervals(
        self, conn: Connection, now_s: int, batch: Batch, fresh_key: bool
    ) -> tuple[batches.TakenBatch, list[Action]]:
        """But for a key that comes into force, the meter's row is not touched: no payment waits for a reading."""
        if fresh_key:
            keys_held.spoke(conn, batch.meter, batch.tag_key_version)
        taken = batches.take(conn, now_s, batch, self._policy.question_s)
        return taken, list(self._ask_for_more(conn, now_s, (batch.meter,))) if taken.wants_next else []

    def _store_events(
        self, conn: Connection, now_s: int, batch: Batch, fresh_key: bool
    ) -> tuple[batches.TakenBatch, list[Action]]:
        lock_meter(conn, batch.meter)
        if fresh_key:
            keys_held.spoke(conn, batch.meter, batch.tag_key_version)
        taken = batches.take(conn, now_s, batch, self._policy.question_s)
        if taken.new:
            usage.told(conn, now_s, batch.meter, batch.log_id, batch.first)
            replacing.settle(conn, now_s, batch.meter)
            refunds.token_settled(conn, now_s, batch.meter)
            debts_on_meter.told(conn, now_s, batch.meter, batch.log_id, batch.first)
            firmware.logged(conn, now_s, batch.meter, batch.log_id, batch.first)
            outbox.wake(conn, now_s, batch.meter)
        return taken, self._follow_batch(conn, now_s, batch.meter, batch.kind, taken.outcome)

    def _follow_batch(self, conn: Connection, now_s: int, number: int, kind: int, outcome: str) -> list[Action]:
        """What a batch leads to: the next question for what is missing, and what waits for the meter."""
        lock_meter(conn, number)
        actions: list[Action] = []
        if outcome == batches.STORED:  # what brought nothing new is not followed by more of it
            wanted = filling.stored(conn, now_s, self._entropy, self._pace, kind, (number,))
            actions = self._questions(conn, now_s, wanted)
        elif outcome == batches.OTHER_LOG:
            ask_by(conn, number, now_s)
        return actions + self._claim(conn, now_s, number)

    def _claim(self, conn: Connection, now_s: int, number: int) -> list[Action]:
        return outbox.claim(conn, now_s, self._policy, self._entropy, meter_id=number)


_Stored = tuple[batches.TakenBatch, list[Action]]
_Started = tuple[Batch, MacKey, int, "Future[_Stored]"]


_TAKE: dict[str, Callable[[Engine, int, str, bytes, str], tuple[str, list[Action]]]] = {
    topics.UP_STATE: Engine._take_state,
    topics.UP_RECEIPT: Engine._take_report,
    topics.UP_REPORT: Engine._take_report,
    topics.UP_CLOSING: Engine._take_closing,
    topics.UP_ORDER: Engine._take_order,
    topics.UP_INTERVALS: Engine._take_batch,
    topics.UP_EVENTS: Engine._take_batch,
    topics.UP_UPDATE: Engine._take_progress,
    topics.UP_HELD: Engine._take_held,
}
