"""The meters of one process: they sleep until something happens to them, and then live up to the present.

A meter's own events are the ends of its steps (`Setting.step_s`); besides, orders and questions wake it, and power that
fails or comes back. Acknowledgements wait until it is awake anyway. What it says is what its firmware says
(`meter.exchange`); on a bus it speaks only when it is asked.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from hashlib import sha256
from struct import unpack_from
from typing import NamedTuple

from meterlink import topics
from meterlink.records import INTERVAL_FORMAT, RECORD_LENGTH
from metersim.asleep import Dormitory, FleetBoard, FleetMeter
from metersim.flashfile import FiledFlash, FlashFile
from openprepay.fleetsim.loads import Home, Peak
from openprepay.fleetsim.setting import MQTT, REPLAY_MS, Setting

WILL = "will"  # what the broker is to say of a meter when its link is lost: left with it at each connection
_SAYINGS = 8  # at once; what is left comes at the next event
_PRESSING = (topics.DN_ORDER, topics.DN_ASK, topics.DN_PARCEL, topics.DN_IMAGE)


class Mail(NamedTuple):
    """A message to a meter on topic dn/`what`; on a bus its answer may get lost (`heard` False)."""

    meter: int
    what: str
    raw: bytes
    heard: bool = True


class Cut(NamedTuple):
    """A meter's power fails until a second; `warned`: its board sees it coming."""

    meter: int
    until_s: int
    warned: bool


class Said(NamedTuple):
    """What a meter said on topic up/`what`, or WILL."""

    meter: int
    what: str
    raw: bytes


class Held(NamedTuple):
    """What is in a meter's flash. oldest, newest: of its interval records in log `log_id` that began before the end of
    the day that was asked for; `digest`: SHA-256 over their bytes; `of_day`: how many of them began in that day.
    credited_uc: all that was ever credited."""

    meter: int
    log_id: int
    oldest: int
    newest: int
    digest: bytes
    of_day: int
    credited_uc: int


class Flock:
    """records: number -> provisioning record. Each is commissioned at `setting.start_s` less a step."""

    def __init__(self, setting: Setting, records: dict[int, bytes], peak: Peak, folder: str | None = None) -> None:
        self._setting = setting
        self._peak = peak
        self._file = FlashFile(folder)
        self._awake: OrderedDict[int, FleetMeter] = OrderedDict()
        self._asleep: dict[int, bytes] = {}
        self._mail: dict[int, list[Mail]] = {}
        self._dark: dict[int, int] = {}  # meter -> when its power is back
        self._linked: set[int] = set()  # those that have a broker to speak to
        self._numbers = sorted(records)
        self._places = {number: place for place, number in enumerate(self._numbers)}
        self._start_s = self._lived_s = setting.start_s - setting.step_s
        self._dormitory = Dormitory(self._file, self._new(self._numbers[0], records[self._numbers[0]], len(records)))
        for number in self._numbers:
            self._keep(number, self._new(number, records[number], self._places[number]))

    def _new(self, number: int, record: bytes, place: int) -> FleetMeter:
        flash = FiledFlash(self._file, place)
        return FleetMeter(FleetBoard(Home(number, self._peak), number, self._start_s, flash), record, REPLAY_MS)

    # -- one after the other -------------------------------------------------------------------------------------------

    def _take(self, number: int) -> FleetMeter:
        meter = self._awake.pop(number, None)
        if meter is None:
            meter = self._dormitory.wake(self._asleep.pop(number), Home(number, self._peak))
        return meter

    def _keep(self, number: int, meter: FleetMeter) -> None:
        """The one that nothing has happened to for longest goes to sleep where too many are awake."""
        self._awake[number] = meter
        limit = self._setting.awake
        while limit is not None and len(self._awake) > limit:
            tired, one = self._awake.popitem(last=False)
            self._asleep[tired] = self._dormitory.sleep(one)

    # -- time ----------------------------------------------------------------------------------------------------------

    def live(
        self,
        now_s: int,
        mail: Iterable[Mail] = (),
        cuts: Iterable[Cut] = (),
        connected: Iterable[int] = (),
        lost: Iterable[int] = (),
    ) -> list[Said]:
        """All up to `now_s`; what they say. connected, lost: meters whose link to the broker
        stands, or stands no more, from now on."""
        said: list[Said] = []
        self._linked.difference_update(lost)
        self._linked.update(connected)
        fresh = set(connected)
        pressing = set(fresh)
        for one in mail:
            self._mail.setdefault(one.meter, []).append(one)
            if one.what in _PRESSING:
                pressing.add(one.meter)
        failing = {cut.meter: cut for cut in cuts}
        back = {number for number, until_s in self._dark.items() if until_s <= now_s}
        pressing |= failing.keys() | back
        stepping = self._stepping(now_s)
        for number in sorted(pressing | stepping) if len(stepping) < len(self._numbers) else self._numbers:
            if number in self._dark and number not in back:
                self._mail.pop(number, None)
                continue
            meter = self._take(number)
            if number in back:
                del self._dark[number]
                meter.board.true_s = now_s
                meter.boot()
            said += self._live(number, meter, now_s, number in back or number in fresh)
            if number in failing:
                said += self._fail(meter, failing[number], now_s)
            self._keep(number, meter)
        return said

    def _stepping(self, now_s: int) -> set[int]:
        """Those of which a step has ended since the last round."""
        before_s, self._lived_s = self._lived_s, now_s
        step_s, spread_s = self._setting.step_s, self._setting.spread_s
        if not spread_s:
            return set(self._numbers) if now_s // step_s > before_s // step_s else set()
        return {
            number
            for place, number in enumerate(self._numbers)
            if (now_s - place % spread_s) // step_s > (before_s - place % spread_s) // step_s
        }

    def _live(self, number: int, meter: FleetMeter, now_s: int, is_new: bool) -> Iterator[Said]:
        on_broker = self._setting.carrier(number) == MQTT
        linked = number in self._linked
        self._advance(meter, now_s)
        if is_new and linked:
            yield Said(number, WILL, meter.unit.meter.will())
            yield Said(number, topics.UP_STATE, meter.exchange.birth())
        for one in self._mail.pop(number, ()):
            answers = self._asked(meter, one) if not on_broker else []
            if on_broker:
                meter.exchange.hear(one.what, one.raw)
            meter.unit.settle()
            for what, raw in answers if one.heard else ():
                yield Said(number, what, raw)
        for _ in range(_SAYINGS if linked else 0):
            message = meter.exchange.say(now_s * 1000)
            if message is None:
                break
            yield Said(number, *message)

    def _advance(self, meter: FleetMeter, now_s: int) -> None:
        if meter.board.true_s < now_s:
            meter.unit.run(now_s - meter.board.true_s, self._setting.step_s)

    def _asked(self, meter: FleetMeter, mail: Mail) -> list[tuple[str, bytes]]:
        """A transaction on a bus: an order is put into the mailbox, a question is answered."""
        meter.exchange.hear(mail.what, mail.raw)
        if mail.what != topics.DN_ASK:
            return []
        said = []
        while (message := meter.exchange.say(meter.board.true_s * 1000)) is not None:
            said.append(message)
            if message[0] not in (topics.UP_RECEIPT, topics.UP_UPDATE):
                break
        return said

    def _fail(self, meter: FleetMeter, cut: Cut, now_s: int) -> Iterator[Said]:
        """Power fails; who is warned puts down what it has and says so with what is left in its capacitor."""
        if cut.warned:
            meter.unit.meter.power_down()
            if cut.meter in self._linked:
                message = meter.exchange.say(now_s * 1000)
                if message is not None:
                    yield Said(cut.meter, *message)
        meter.board.lose_power()
        self._dark[cut.meter] = cut.until_s

    # -- on real carriers ----------------------------------------------------------------------------------------------

    def will(self, number: int) -> bytes:
        """What a meter leaves with its broker when it connects."""
        meter = self._take(number)
        will: bytes = meter.unit.meter.will()
        self._keep(number, meter)
        return will

    def answer(self, number: int, now_s: int, request: bytes) -> bytes | None:
        """The Modbus response PDU of a meter; None where it has no power."""
        if number in self._dark:
            return None
        meter = self._take(number)
        self._advance(meter, now_s)
        reply = meter.answer(request)
        self._keep(number, meter)
        return reply

    # -- looking -------------------------------------------------------------------------------------------------------

    def held(self, from_s: int, to_s: int) -> list[Held]:
        """Of each meter, what its flash holds, read as its firmware reads it."""
        found = []
        for number in self._numbers:
            meter = self._take(number)
            found.append(self._held(number, meter, from_s, to_s))
            self._keep(number, meter)
        return found

    def _held(self, number: int, meter: FleetMeter, from_s: int, to_s: int) -> Held:
        core = meter.unit.meter
        ring = core.store.intervals
        digest = sha256()
        record = bytearray(RECORD_LENGTH)
        of_day, newest = 0, 0
        for seq in range(max(ring.oldest, 1), ring.newest + 1):
            if ring.read_into(seq, record) and unpack_from(INTERVAL_FORMAT, record)[1] < to_s:
                digest.update(record)
                of_day += unpack_from(INTERVAL_FORMAT, record)[1] >= from_s
                newest = seq
        credited_uc = core.account.credited_uc
        return Held(number, core.log_id, max(ring.oldest, 1), newest, digest.digest(), of_day, credited_uc)

    def credited_uc(self, number: int) -> int:
        """All that a meter was ever credited."""
        meter = self._take(number)
        credited_uc: int = meter.unit.meter.account.credited_uc
        self._keep(number, meter)
        return credited_uc

    def disk_bytes(self) -> int:
        """What the flashes take on the disk."""
        for meter in self._awake.values():
            meter.board.flash.flush()
        return self._file.held_bytes()

    def close(self) -> None:
        """All of it is gone."""
        self._awake.clear()
        self._asleep.clear()
        self._file.close()
