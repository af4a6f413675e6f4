"""The running head end: store, engine, signer, links and HTTP, put together in one asyncio loop.

The signer runs inside, or is a process of its own (`settings.signer`). Then payments are taken also while it is away,
and orders wait.

The loop never waits for the database or the signer: the engine runs in threads of its own. A round asks the engine what
is due and hands each action to the carrier of its meter; it comes at once after a payment or an order of this program,
otherwise when the engine says, and at least every `ROUND_S` for what other processes commit.

    async with Service(settings, keys) as service:
        print(service.url)
        await stopped.wait()
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, func, select

from headend.access.sealing import Sealer
from headend.books import heads, sealer, sweep
from headend.campaigns import making as dry_runs
from headend.chores import Chore, Chores, Walk
from headend.clock import Clock, SystemClock
from headend.collection import follow
from headend.configuration import auditing
from headend.engine import Action, Engine, Part, Policy
from headend.firmware.courier import Bounds, Courier
from headend.fleet import grid, swap_check
from headend.keys.holder import KeyHolder
from headend.keys.signer import Signer
from headend.keys.signer_client import SignerClient
from headend.keys.signer_log import SignerLog
from headend.keys.signer_wire import SignerAway
from headend.links.port import Carrier, Message, Sent
from headend.orders.actions import Ack
from headend.orders.policy import Entropy
from headend.people.keyring import RingFile
from headend.reads import shadow_days
from headend.reads.packer import Packer
from headend.refusals import Refused
from headend.settings import INSIDE, Settings
from headend.store import READS, Store, identity, open_store, retention
from headend.store.schema import meter
from headend.validation import visits
from headend.validation.follow import Follower as Validation
from headend.watch import systemd
from headend.watch.metrics import Metrics
from headend.web.app import build_app
from headend.web.desk import Desk
from headend.web.server import HttpServer, bind
from headend.workers import roles
from headend.workers.beating import Beating, ShardTenancy
from headend.workers.homes import BUS, HOME, LINE, NUMBERS, SHARD
from headend.workers.post import Post
from headend.workers.tenure import Tenure

ROUND_S = 1.0  # the longest between two looks for work
LATE_S = 30.0  # a round that takes longer is trouble
TROUBLED_S = 2.0  # before the next round after one that failed
SEND_THREADS = 4
SEAL_S = 10  # how long an entry may stand unsealed
SWAPS_S = 3_600  # between two looks for meters in each other's place
SWEEP_S = 60  # between two comparisons of what moved with the books
SHADOW_S = 600  # between two looks for days that can be priced again
DRY_RUN_S = 1
DAY_S = 86_400
PACK_S = 600  # between two looks whether a day of readings can be packed
HEAD_S = 300  # between two looks whether a day is over
VALIDATE_S = 600  # between two looks for days that can be judged, and for meters that nobody hears
FOLLOW_S = 5  # between two looks at what moved, for the monitor
UNDER_WAY = 500  # actions with carriers at a time; more wait in the outbox

log = logging.getLogger("openprepay.service")

R = TypeVar("R")


class Service:
    """Started and stopped once. `url` is where HTTP answers; `engine`, `store` and `carriers` may be looked at.

    `keys`: None where the signer is a process of its own, which holds them · `post`: None where this process is all
    there is, else what it is there for, beside others on the same database and broker (`headend.workers`).
    `carriers` as an argument: in place of those that the settings name. `settings.http_port` 0 takes any free port.
    """

    store: Store
    engine: Engine
    url: str

    def __init__(
        self,
        settings: Settings,
        keys: KeyHolder | None,
        *,
        clock: Clock | None = None,
        entropy: Entropy = os.urandom,
        policy: Policy | None = None,
        carriers: Sequence[Carrier] | None = None,
        post: Post | None = None,
    ) -> None:
        self.settings = settings
        self.tenure: Tenure | None = None
        self._post = post
        self._beating: Beating | None = None
        self.carriers: dict[str, Carrier] = {}
        self._keys = keys
        self._client: SignerClient | None = None
        self._clock = clock or SystemClock()
        self._entropy = entropy
        self._policy = policy or Policy()
        self._given = carriers
        self._stack: list[Callable[[], Any]] = []  # what `stop` undoes, the last first
        self._woken = asyncio.Event()
        self._rounds: asyncio.Task[None] | None = None
        self._work: set[asyncio.Task[None]] = set()
        self._halting = False
        self._trouble: dict[str, str] = {}
        self._round_at = 0.0
        self._watched_at = 0.0
        self._chores: Chores | None = None
        self._courier: Courier | None = None

    async def start(self) -> None:
        """Open everything; raises Refused, KeyFileError or what else keeps it from running, with all closed again."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        settings = self.settings
        self._loop = asyncio.get_running_loop()
        if self._serves(roles.API):
            listening = bind(settings.http_host, settings.http_port, settings.http_beyond_loopback)
            self._stack.append(listening.close)
        signer = self._open_signer()
        self.store = await asyncio.to_thread(open_store, settings.database)
        self._stack.append(partial(asyncio.to_thread, self.store.close))
        await asyncio.to_thread(self._establish)
        self._threads = ThreadPoolExecutor(SEND_THREADS, thread_name_prefix="engine")
        self._stack.append(self._threads.shutdown)
        if self._post is not None:
            self._take_post(self._post)
        self.engine = Engine(
            self.store,
            self._key_source(),
            self._clock,
            self._entropy,
            signer=signer,
            policy=replace(self._policy, database_clock=self.store.port.across_machines),
            part=self._part(),
        )
        if self._serves(roles.COLLECT):
            for carrier in self._given if self._given is not None else self._carriers():
                self.carriers[carrier.name] = carrier
                self._stack.append(carrier.stop)
                await carrier.start(partial(self._up, carrier))
        self.metrics = Metrics(self.store, self.troubles, lambda: self.engine.counts, _difference_uc)
        desk = self._desk = await asyncio.to_thread(self._make_desk, signer)
        self._stack.append(desk.close)
        if self._beating is not None:
            await self._begin_beating(self._beating)
        self._start_chores(signer)
        if self._serves(roles.DISPATCH):
            self._start_courier()
        self._rounds = asyncio.create_task(self._go_round(), name="rounds")
        self._stack.append(self._halt)
        if self._serves(roles.API):
            self._server = HttpServer(build_app(desk), listening)
            self._stack.append(self._server.stop)
            await self._server.start()
            self.url = self._server.url
            log.info("HTTP answers at %s.", self.url)

    # --- one of several -----------------------------------------------------------------------------------------------

    def _serves(self, role: str) -> bool:
        return self._post is None or role in self._post.roles

    def _has(self, role: str) -> bool:
        """Whether a role that one worker at a time has is this one's now."""
        return self.tenure is None or (self._serves(role) and self.tenure.alone(role))

    def _take_post(self, post: Post) -> None:
        serves = set(post.roles) & set(roles.ALONE)
        if roles.COLLECT in post.roles:
            serves |= {SHARD} if self.settings.mqtt_url else set()
            serves |= {BUS, LINE} if post.lines else {BUS}
        self.tenure = Tenure(self.store, post.name, serves, post.patience)
        self._beating = Beating(self.tenure, self._holds_home)
        self._stack.append(self._beating.end)

    def _part(self) -> Part | None:
        if self.tenure is None:
            return None
        return Part(self.tenure.name, self._serves(roles.DISPATCH), partial(self._has, roles.SIGN))

    def _holds_home(self, home: int) -> bool:
        return self.tenure is None or any(home in NUMBERS[kind] and self.tenure.holds(kind, home) for kind in NUMBERS)

    async def _begin_beating(self, beating: Beating) -> None:
        await beating.once()
        going = asyncio.create_task(beating.go(), name="beats")

        async def end() -> None:
            going.cancel()
            await asyncio.wait({going})

        self._stack.append(end)

    def _make_desk(self, signer: Signer | SignerClient) -> Desk:
        return Desk(
            store=self.store,
            clock=self._clock,
            currency=self.settings.currency,
            new_key_version=self._tag_key_version(),
            report_every_s=self._policy.poll_s,
            wake=self.wake,
            trouble=self.troubles,
            page_without_token=self.settings.page_without_token,
            maker=signer,
            sealer=Sealer.of_file(Path(self.settings.access_key)),
            behind_tls=self.settings.http_behind_tls,
            metrics=self.metrics,
            firmware_keys=self.settings.firmware_keys,
            persons=RingFile(Path(self.settings.persons_key)),
        )

    def _store_counts(self, now_s: int) -> None:
        """What this process counted of records that came again, and of its lines."""
        lines = [found for one in self.carriers.values() if (found := getattr(one, "quality", None)) is not None]
        follow.flush(self.store, self.engine.repeats, lines, now_s)

    def _start_chores(self, signer: Signer | SignerClient) -> None:
        """What is done besides, in a thread of its own (`headend.chores`)."""
        store, folder = self.store, self.settings.heads_folder

        def close_day(now_s: int) -> None:
            with suppress(SignerAway):  # its absence is told of elsewhere, and the day can wait
                heads.daily(store, signer, now_s, folder)

        kept_days = retention.days(self.settings.retention)
        chores = self._chores = Chores(
            [
                Chore("metrics", FOLLOW_S, self.metrics.follow),
                Chore("seal", SEAL_S, partial(sealer.seal_all, store), roles.SEAL),
                Chore("reconcile", SWEEP_S, Walk(partial(sweep.sweep_some, store)).run, roles.SEAL),
                Chore("shadow bills", SHADOW_S, Walk(partial(shadow_days.follow_some, store)).run, roles.BILL),
                Chore("daily head", HEAD_S, close_day, roles.SEAL),
                Chore("collection", follow.EVERY_S, follow.Follower(store).run, roles.BILL),
                Chore("counts of collection", follow.EVERY_S, self._store_counts),
                Chore("validation", VALIDATE_S, Validation(store).follow, roles.BILL),
                Chore("visits over", VALIDATE_S, Walk(partial(_write, store, visits.close_some)).run, roles.BILL),
                Chore("visits due", VALIDATE_S, Walk(partial(_write, store, visits.open_some)).run, roles.BILL),
                Chore("packing", PACK_S, Packer(store, kept_days=kept_days[retention.READINGS]).run, roles.BILL),
                Chore("swapped meters", SWAPS_S, partial(swap_check.follow, store), roles.BILL),
                Chore("grid", FOLLOW_S, lambda now_s: store.write(grid.go_on, now_s).result(), roles.BILL),
                Chore("dry runs", DRY_RUN_S, partial(dry_runs.follow, store), roles.BILL),
                Chore("configuration", auditing.EVERY_S, partial(auditing.follow, store), roles.BILL),
                Chore("retention", DAY_S, lambda now_s: retention.prune_some(store, now_s, kept_days), roles.BILL),
            ],
            self._clock,
            self._has,
        )
        going = asyncio.create_task(chores.go(), name="chores")

        async def end() -> None:
            await asyncio.to_thread(chores.close)
            going.cancel()
            await asyncio.wait({going})

        self._stack.append(end)

    def _start_courier(self) -> None:
        """Brings images to meters (`headend.firmware`)."""
        settings, holder = self.settings, "" if self.tenure is None else self.tenure.name
        bounds = Bounds(settings.firmware_bus_records_per_s, settings.firmware_mqtt_messages_per_s)
        courier = self._courier = Courier(self.store, self.carriers, self._clock, bounds, holder, self._holds_home)
        going = asyncio.create_task(courier.go(), name="courier")

        async def end() -> None:
            going.cancel()
            await asyncio.wait({going})
            await courier.stop()

        self._stack.append(end)

    async def stop(self) -> None:
        """Finish what is being answered, stop the links, close the store. Idempotent."""
        while self._stack:
            undo = self._stack.pop()
            try:
                ended = undo()
                if ended is not None:
                    await ended
            except Exception:  # the rest has to be closed all the same
                log.exception("Something did not stop in order.")

    async def over(self) -> None:
        """Returns, or raises, only when a part that has to run has ended although nobody stopped it."""
        assert self._rounds is not None, "it was started"
        parts: list[asyncio.Future[None]] = [asyncio.shield(self._rounds)]
        if self._serves(roles.API):
            parts.append(asyncio.ensure_future(self._server.over()))
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                if not part.cancelled():
                    part.result()
        finally:
            for part in parts:
                part.cancel()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.stop()

    def wake(self) -> None:
        """Something was committed that wants sending: look now. Callable in any thread."""
        self._loop.call_soon_threadsafe(self._woken.set)

    # --- the dispatcher -----------------------------------------------------------------------------------------------

    async def _go_round(self) -> None:
        while True:
            self._woken.clear()
            self._round_at = self._loop.time()
            try:
                pause_s = await self._round()
                self._trouble.pop("dispatcher", None)
                self._tell_watchdog()
            except Exception as error:  # the next round may succeed; until then the head end is not ready
                if "dispatcher" not in self._trouble:
                    log.exception("The dispatcher could not finish a round.")
                self._trouble["dispatcher"] = f"Its last round failed: {type(error).__name__}."
                pause_s = TROUBLED_S
            try:
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()
            except TimeoutError:
                continue

    def _tell_watchdog(self) -> None:
        """A round went well: whoever watches this process hears of it."""
        every_s = systemd.watchdog_s()
        if every_s is not None and self._round_at - self._watched_at >= every_s / 2:
            self._watched_at = self._round_at
            systemd.tell("WATCHDOG=1")

    async def _round(self) -> float:
        """Hand out what is due; returns how long there is nothing to do."""
        if self._client is not None and self._client.trouble:
            await self._in_thread(self._look_for_signer, self._client)
        if len(self._work) >= UNDER_WAY:
            return ROUND_S
        now_s = self._clock.now_s()
        due, next_s = await self._in_thread(self._due, now_s)
        for action, carrier in due:
            self._hand(action, self.carriers.get(carrier))
        return 0.0 if due else min(max(next_s - now_s, 0.05), ROUND_S)

    def _due(self, now_s: int) -> tuple[list[tuple[Action, str]], int]:
        actions = self.engine.due(now_s)
        if not actions:
            return [], self.engine.next_s()
        reached = self.store.read(_reached, {action.meter for action in actions})
        carrier_of = {number: carrier for number, (carrier, home) in reached.items() if self._holds_home(home)}
        return [(action, carrier_of.get(action.meter, "")) for action in actions], now_s

    def _hand(self, action: Action, carrier: Carrier | None) -> None:
        if self._halting:  # its lease runs out, and the next head end looks at it again
            return
        work = self._loop.create_task(self._send(action, carrier))
        self._work.add(work)
        work.add_done_callback(self._work.discard)

    async def _send(self, action: Action, carrier: Carrier | None) -> None:
        if carrier is None:
            sent = Sent(False, "The link of this meter is not set up here.")
        else:
            sent = await carrier.send(action)
        try:
            await self._in_thread(self.engine.sent, action, sent.ok, sent.note)
        except Exception:  # its lease runs out, and it is looked at again
            log.exception("What became of an action could not be stored.")
        if not sent.ok:
            log.debug("Meter %s: %s", action.meter, sent.note)

    def _up(self, carrier: Carrier, messages: Sequence[Message]) -> Sequence[BaseException | None]:
        """A carrier's thread brings messages: see `links.port.Up`."""
        outcomes = self.engine.up_many([(*message, carrier.name) for message in messages])
        actions = [action for outcome in outcomes if not isinstance(outcome, BaseException) for action in outcome]
        tell: Callable[[Ack], None] | None = getattr(carrier, "tell", None)  # of a carrier that can say without waiting
        if tell is not None:
            for ack in actions:
                if isinstance(ack, Ack):
                    tell(ack)
            actions = [action for action in actions if not isinstance(action, Ack)]
        if actions:
            self._loop.call_soon_threadsafe(self._hand_all, actions, carrier)
        return [outcome if isinstance(outcome, BaseException) else None for outcome in outcomes]

    def _hand_all(self, actions: Iterable[Action], carrier: Carrier) -> None:
        for action in actions:
            self._hand(action, carrier)

    async def _halt(self) -> None:
        """End the rounds, and give what is with carriers a moment."""
        self._halting = True
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.wait({self._rounds})
        if self._work:
            _, late = await asyncio.wait(self._work, timeout=1.0)
            for work in late:
                work.cancel()
            if late:
                await asyncio.wait(late)

    async def _in_thread(self, fn: Callable[..., R], *args: Any) -> R:
        return await self._loop.run_in_executor(self._threads, partial(fn, *args))

    # --- the signer ---------------------------------------------------------------------------------------------------

    def _open_signer(self) -> Signer | SignerClient:
        settings = self.settings
        if settings.signer != INSIDE:
            self._client = SignerClient(settings.signer)
            self._stack.append(self._client.close)
            return self._client
        if self._keys is None or not self._serves(roles.SIGN):  # its log has one writer
            raise Refused("signer", settings.signer, f"the keys and the role {roles.SIGN} as well, or unix:PATH")
        signed = SignerLog(Path(settings.signer_log) if settings.signer_log else None)
        self._stack.append(signed.close)
        return Signer(self._keys, signed, self._clock, settings.caps())

    def _key_source(self) -> KeyHolder | SignerClient:
        keys = self._client or self._keys
        assert keys is not None, "the signer was opened"
        return keys

    def _look_for_signer(self, client: SignerClient) -> None:
        with suppress(SignerAway):
            self._desk.new_key_version = client.look().tag_key_version

    def _tag_key_version(self) -> int:
        """The one that new meters get; while the signer is away, the one that the newest of the meters have."""
        try:
            return self._key_source().tag_key_version
        except SignerAway:
            return self.store.read(_highest_key_version)

    # --- set-up and state ---------------------------------------------------------------------------------------------

    def _establish(self) -> None:
        """Write down which database this is, or see that it is the one of these keys."""
        keys, now_s = self._key_source(), self._clock.now_s()
        try:
            numbers = keys.signing_epoch, keys.source
        except SignerAway as away:
            log.warning("%s", away)
            self.store.read(identity.get)  # a database that has no numbers yet has to wait for them
            return
        standing = self.store.write(identity.establish, now_s, *numbers, self.settings.currency).result()
        for field, held, wanted in (
            ("signing_epoch", standing.signing_epoch, keys.signing_epoch),
            ("source", standing.source, keys.source),
        ):
            if held != wanted:
                raise Refused(
                    f"{field} of the database", held, f"{wanted}, the key store's (openprepay admin adopt-epoch)"
                )

    def _carriers(self) -> list[Carrier]:
        """The links that the settings name. A link's code is loaded only where it is used."""
        from headend.links.modbus import ModbusCarrier

        modbus = ModbusCarrier(partial(self.store.read, _address_of), clock=self._clock)
        found: list[Carrier] = [modbus]
        if self._beating is not None:
            self._beating.lines = modbus
        settings = self.settings
        if settings.mqtt_url:
            from headend.links.mqtt import MqttCarrier
            from headend.links.mqtt_options import MqttOptions

            options = MqttOptions.of_url(
                settings.mqtt_url,
                settings.mqtt_client_id,
                version=settings.mqtt_version,
                ca=settings.mqtt_ca,
                certificate=settings.mqtt_certificate,
                key=settings.mqtt_key,
            )
            if self.tenure is None or self._beating is None:
                found.append(MqttCarrier(options, self._clock))
            else:
                from headend.links.mqtt_shards import ShardedMqtt

                tenure, soon = self.tenure, self._beating.soon
                shards = ShardedMqtt(options, lambda shard: ShardTenancy(tenure, shard, soon), self._clock)
                self._beating.mqtt = shards
                found.append(shards)
        return found

    def troubles(self) -> dict[str, str]:
        """Why this head end is not ready, by what is affected."""
        found = dict(self._trouble)
        if self._chores is not None:
            found.update(self._chores.trouble)
        if self._courier is not None and self._courier.trouble:
            found["images"] = self._courier.trouble
        if self._rounds is None or self._rounds.done():
            found["dispatcher"] = "It does not run."
        elif self._loop.time() - self._round_at > LATE_S:
            found["dispatcher"] = f"Its round has taken {self._loop.time() - self._round_at:.0f} s."
        if self._client is not None and self._client.trouble:
            found["signer"] = self._client.trouble
        for name, carrier in self.carriers.items():
            session = getattr(carrier, "session", None)  # a link with a standing connection: MQTT
            if session is not None and not session.connected:
                found[name] = f"There is no connection: {session.trouble or 'it is being made'}."
            if trouble := getattr(carrier, "trouble", ""):  # of one with several
                found[name] = f"There is no connection: {trouble}."
        if self._beating is not None and self._beating.trouble:
            found["leases"] = self._beating.trouble
        return found


def _write(
    store: Store, some: Callable[[Connection, int, int], tuple[int, int]], now_s: int, behind: int
) -> tuple[int, int]:
    """A part of a walk that is one transaction, behind all other work."""
    return store.write(some, now_s, behind, lane=READS).result()


def _difference_uc(conn: Connection) -> int:
    return sweep.total_difference(conn).amount_uc


def _reached(conn: Connection, numbers: set[int]) -> dict[int, tuple[str, int]]:
    """Meter -> its carrier and its home."""
    found = conn.execute(select(meter.c.meter, meter.c.carrier, HOME).where(meter.c.meter.in_(numbers)))
    return {number: (carrier, home) for number, carrier, home in found}


def _highest_key_version(conn: Connection) -> int:
    return conn.execute(select(func.max(meter.c.tag_key_version))).scalar_one() or 1


def _address_of(conn: Connection, number: int) -> str | None:
    query = select(meter.c.address).where(meter.c.meter == number, meter.c.carrier == "modbus")
    return conn.execute(query).scalar_one_or_none()
