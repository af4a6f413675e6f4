"""What the steps of the demo share: bounded waits, the pace of time, proofs that are looked at again, money."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from headend.web import words
from meterlink import names, reports
from meterlink.orders import ASPECT_CREDIT
from meterlink.reports import Report, ReportError
from openprepay.demo.fleet import MODBUS, Fleet, Point
from openprepay.demo.listener import Listener
from openprepay.demo.office import Office, Reply
from openprepay.demo.sums import money
from openprepay.demo.texts import Text
from openprepay.demo.timeline import Timeline
from openprepay.demo.virtual import VirtualTime

CRAWL = 5  # virtual seconds a real second while meters without credit wait for their first
SLOW = 20  # where seconds count
TALK = 60  # while orders and answers are on their way
LOOK_S = 0.05  # real, between two looks at what is waited for
PATIENCE_S = 45  # real, beside what the virtual seconds of a wait take
RESULT_BLOCK = ("Modbus RTU, result block", "Modbus RTU，结果块")
LOG = ("event {seq} of the meter's log", "电表事件记录 {seq}")

_VERDICT = re.compile(r"the meter says: (\w+)")

T = TypeVar("T")


class StepFailed(Exception):
    """A step did not come to what it should: at which meter, what was expected, what was read."""

    def __init__(self, point: Point | None, expected: str, read: str) -> None:
        super().__init__(f"{expected}; {read}")
        self.point = point
        self.expected = expected
        self.read = read


@dataclass
class Household:
    """What the story remembers of one meter."""

    orders: dict[str, int] = field(default_factory=dict)  # what it was for -> id
    paid_uc: int = 0
    full_uc: int = 0  # a full bar
    told_seq: int = 0  # interval records told up to here
    credited_s: int = 0  # when its first credit was confirmed, meter time
    alarm_s: int = 0  # when its credit ran low
    samples: list[tuple[int, int]] = field(default_factory=list)  # (meter time, balance), one a report
    relay: list[tuple[int, bool]] = field(default_factory=list)  # (meter time, whether it closed)


class Story:
    """The parts of a run. `walkers`: meters that go through every step; `points`: all.

    minutes: how long the walkers' first credit lasts · cruise: pace of time while only the household lives ·
    patience_s: see `until`.
    """

    def __init__(
        self,
        office: Office,
        fleet: Fleet,
        clock: VirtualTime,
        timeline: Timeline,
        listener: Listener,
        *,
        minutes: int,
        cruise: int,
        heap: str,
        patience_s: int,
    ) -> None:
        self.office = office
        self.fleet = fleet
        self.clock = clock
        self.timeline = timeline
        self.listener = listener
        self.minutes = minutes
        self.cruise = cruise
        self.heap = heap
        self.patience_s = patience_s
        self.points = fleet.points
        self.walkers = tuple(point for point in fleet.points if point.micropython) or fleet.points[:1]
        self.homes = {point.name: Household() for point in fleet.points}

    # -- time and waits ------------------------------------------------------------------------------------------------

    def pace(self, speed: int) -> None:
        """Virtual seconds a real second, from now on; never faster than the cruise."""
        self.clock.speed = min(speed, self.cruise)

    def until(
        self, point: Point | None, expected: Text, look: Callable[[], tuple[T | None, str]], limit_s: int = 600
    ) -> T:
        """What `look` finds: it returns that, or None, and what it read instead.

        StepFailed after `limit_s` virtual seconds, but not before a quarter of the real patience is over, so that a
        busy machine is no failure; and in any case once all of it is, on top of thrice the time that `limit_s` takes.
        """
        most_s = self.patience_s + 3 * limit_s / self.cruise
        virtual_s, real_s = self.clock.now_s() + limit_s, time.monotonic()
        while True:
            found, read = look()
            if found is not None:
                return found
            self.check()
            waited_s = time.monotonic() - real_s
            if (self.clock.now_s() > virtual_s and 4 * waited_s > self.patience_s) or waited_s > most_s:
                raise StepFailed(point, self.timeline.say(expected), read)
            self.sample()
            time.sleep(LOOK_S)

    def let_pass(self, until_s: int) -> None:
        """Let time come to `until_s`."""

        def look() -> tuple[bool | None, str]:
            now_s = self.clock.now_s()
            return (True if now_s >= until_s else None), f"{now_s}"

        self.until(None, (f"virtual time {until_s}", f"虚拟时间 {until_s}"), look, until_s - self.clock.now_s() + 600)

    def check(self) -> None:
        """Raise where a part of the run no longer works."""
        self.fleet.check()
        self.office.check()
        if self.clock.trouble is not None:
            raise self.clock.trouble

    def require(self, holds: bool, point: Point | None, expected: Text, read: str) -> None:
        """StepFailed unless it holds."""
        if not holds:
            raise StepFailed(point, self.timeline.say(expected), read)

    # -- reading -------------------------------------------------------------------------------------------------------

    def sample(self) -> None:
        """Note the balances of the newest reports, for the drawing."""
        for point in self.walkers:
            report = self.office.newest(point)
            if report is not None:
                self._sample(point, report)

    def _sample(self, point: Point, report: Report) -> None:
        samples = self.homes[point.name].samples
        if not samples or samples[-1][0] < report.time_s:
            samples.append((report.time_s, report.balance_uc))

    def ask(self, point: Point, aspect: int = ASPECT_CREDIT, selector: int | None = None) -> tuple[Report | None, str]:
        """A fresh report, and what to say where there is none."""
        report = self.office.ask(point, aspect, selector)
        if report is None:
            return None, f"no answer of {point.name} to a question"
        self._sample(point, report)
        return report, describe(report)

    def report(self, point: Point, aspect: int = ASPECT_CREDIT, selector: int | None = None) -> Report:
        """A fresh report."""
        return self.until(point, ("a report that answers", "应答报告"), lambda: self.ask(point, aspect, selector))

    def event(self, point: Point, code: int, after_s: int = 0) -> Any:
        """The first event with a code since `after_s`, or None."""
        return next((row for row in self.office.events(point, code) if row.time_s >= after_s), None)

    def await_event(self, point: Point, code: int, after_s: int = 0) -> Any:
        """Wait for an event in the log as the head end stores it, asking for reports so that it is fetched."""
        name = names.of(names.EVENT, code)

        def look() -> tuple[Any, str]:
            row = self.event(point, code, after_s)
            if row is not None:
                return row, ""
            _, read = self.ask(point)
            return None, f"no such event; {read}"

        return self.until(point, (f"the event {name} in the log", f"日志中的事件 {name}"), look)

    def confirmed(self, point: Point, order_id: int, limit_s: int = 600) -> Report:
        """Wait until an order is confirmed; its evidence, verified again here."""

        def look() -> tuple[dict[str, Any] | None, str]:
            body = self.office.get(f"/orders/{order_id}").body
            last = body["history"][-1]
            if body["state"] == "confirmed":
                return body, ""
            return None, f"order {order_id} is {body['state']} ({last['event']}: {last['note'] or body['meaning']})"

        expected = (f"order {order_id} confirmed", f"命令 {order_id} 已确认")
        body = self.until(point, expected, look, limit_s)
        raw = bytes.fromhex(body["evidence"])
        try:
            report = Report(raw, self.office.mac_key(point))
        except ReportError as error:
            raise StepFailed(point, f"genuine evidence of order {order_id}", str(error)) from error
        genuine = report.meter == point.number and report.kind == reports.KIND_REPORT and any(report.nonce)
        self.require(genuine, point, ("a report that answers a nonce", "回答随机数的报告"), describe(report))
        self._sample(point, report)
        return report

    # -- orders and money ----------------------------------------------------------------------------------------------

    def pay(self, point: Point, amount_uc: int, payment_id: str) -> Reply:
        """Pay over the API, twice the same request: taken once."""
        body = {"payment_id": payment_id, "meter": f"{point.number}", "amount": money(amount_uc)}
        reply = self.office.post("/payments", body)
        self.require(reply.status == 201, point, ("HTTP 201 for a payment", "支付返回 HTTP 201"), _told(reply))
        again = self.office.post("/payments", body)
        same = again.status == 200 and again.body == reply.body
        self.require(
            same, point, ("HTTP 200 and the same answer again", "重复请求返回 HTTP 200 和同样内容"), _told(again)
        )
        home = self.homes[point.name]
        home.paid_uc += amount_uc
        self.timeline.fact(
            reply.body["taken"]["s"],
            point,
            (
                "payment of {amount} taken once; the same request again changes nothing",
                "收到支付 {amount}，重复请求无效果",
            ),
            ("HTTP {status} {request}, then {again}", "HTTP {status} {request}，再次 {again}"),
            amount=money(amount_uc),
            status=reply.status,
            request=reply.request,
            again=again.status,
        )
        row = self.office.ledger_entry(f"payment:{reply.body['channel']}:{payment_id}")
        self.require(
            row.amount_uc == amount_uc, point, ("the amount in the ledger", "账簿中的金额"), f"{row.amount_uc}"
        )
        self.timeline.fact(
            row.at_s,
            point,
            ("booked: {debit} → {credit}  {amount}", "入账：{debit} → {credit}  {amount}"),
            ("ledger entry {entry}", "账簿分录 {entry}"),
            debit=row.debit,
            credit=row.credit,
            amount=money(row.amount_uc),
            entry=row.id,
        )
        return reply

    def tell_way(self, point: Point, order_id: int) -> None:
        """The way of an order so far: signed, sent, accepted, each from where it shows."""
        body = self.office.get(f"/orders/{order_id}").body
        sent = next(one for one in body["history"] if one["event"] == "send")
        self.timeline.fact(
            sent["at"]["s"],
            point,
            (
                "order {order} ({aspect}) signed, digest {digest}, and sent",
                "命令 {order}（{aspect}）已签名（摘要 {digest}）并发送",
            ),
            ("GET /api/v1/orders/{order}", "GET /api/v1/orders/{order}"),
            order=order_id,
            aspect=words.ASPECTS[body["aspect"]],
            digest=body["digest"],
        )
        if point.carrier == MODBUS:
            said = [_VERDICT.search(one["note"]) for one in body["history"] if one["event"] == "carrier"]
            verdict = next((found[1] for found in said if found), "")
            text = ("accepted: the meter says {result}", "已受理：电表答复 {result}")
            self.require(bool(verdict), point, ("the meter's verdict", "电表的裁决"), f"{body['history']}")
            self.timeline.fact(sent["at"]["s"], point, text, RESULT_BLOCK, result=verdict)
            return
        receipt = self._receipt(point, bytes.fromhex(body["digest"]))
        self.timeline.accepted(point, receipt)

    def _receipt(self, point: Point, digest: bytes) -> Report:
        """The meter's receipt for an order, verified here; the confirmation is there already, so it has been sent."""

        def look() -> tuple[Report | None, str]:
            heard = self.listener.receipts(point.number)
            for raw in heard:
                receipt = Report(raw, self.office.mac_key(point))
                if receipt.kind == reports.KIND_RECEIPT and receipt.digest == digest:
                    return receipt, ""
            return None, f"{len(heard)} receipts, none for it"

        expected = (f"a receipt for the order {digest.hex()}", f"命令 {digest.hex()} 的回执")
        return self.until(point, expected, look, 600)


def describe(report: Report) -> str:
    """The facts of a report that matter here, for a failure's text."""
    return (
        f"contact {names.of(names.CONTACT, report.contact)}, {report.load_ma} mA, no load for {report.no_load_s} s, "
        f"intent {names.of(names.CONTROL, report.control)}, diagnosis {names.of(names.DIAGNOSIS, report.diagnosis)}, "
        f"balance {money(report.balance_uc)} (report at {report.time_s}, nonce {report.nonce.hex()})"
    )


def _told(reply: Reply) -> str:
    return f"HTTP {reply.status}: {reply.body}"
