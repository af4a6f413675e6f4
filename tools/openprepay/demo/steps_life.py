"""A household's life on prepaid credit: pay, use, be warned, be cut off, pay, be reconnected."""

from typing import Any

from headend.web import words
from meterlink import events, names, states
from meterlink.reports import Report
from meterlink.tariff import QUARTER_S
from openprepay.demo import draw
from openprepay.demo.fleet import LIMITS, Point
from openprepay.demo.story import CRAWL, LOG, SLOW, TALK, Story
from openprepay.demo.sums import cost_uc, money, runs_out_s
from openprepay.demo.tells import await_closed, await_open, credited, stay_off, tell_board, tell_open, tell_registers
from openprepay.demo.texts import Text

CENT_UC = 10_000
OTHERS_MINUTES = 600  # how long the first credit of the meters beside lasts
COMPARED = 2  # whole intervals compared with the profile
CLOSE_WH = 2  # a watt-hour at either end, and what a pulse is worth

_OUT_OF_CREDIT = 0x100  # cause 0 in an event's detail


def boot(story: Story) -> None:
    """All meters run and have been heard; the first report says who they are."""
    story.pace(CRAWL)  # a meter without credit arms its trip at once
    for point in story.points:

        def look(point: Point = point) -> tuple[Report | None, str]:
            return story.ask(point)

        report = story.until(point, ("a first authenticated report", "首个经认证的报告"), look)
        text = ("up: {where}, boot {boot}, balance {balance}", "已上线：{where}，第 {boot} 次启动，余额 {balance}")
        story.timeline.proved(
            point, report, text, where=point.where, boot=report.boot, balance=money(report.balance_uc)
        )
    ready = story.office.get("/ready")
    story.require(ready.status == 200, None, ("a head end that is ready", "主站就绪"), f"{ready.body}")


def first_credit(story: Story) -> None:
    """Everybody pays; the order is confirmed when a report shows the new total."""
    orders: dict[str, int] = {}
    for point in story.points:
        minutes = story.minutes if point in story.walkers else OTHERS_MINUTES
        cost = cost_uc(point, story.fleet.boards[point.name], story.clock.now_s(), minutes * 60)
        amount_uc = max(CENT_UC, (cost + CENT_UC - 1) // CENT_UC * CENT_UC)
        story.homes[point.name].full_uc = amount_uc
        reply = story.pay(point, amount_uc, f"{point.name}-1")
        orders[point.name] = story.homes[point.name].orders["credit"] = reply.body["order"]
    for point in story.points:
        credited(story, point, orders[point.name])


def consumption(story: Story) -> None:
    """Interval records arrive by themselves or are fetched, and hold what the profile says was used."""
    story.pace(story.cruise)
    for point in story.points:

        def look(point: Point = point) -> tuple[list[dict[str, Any]] | None, str]:
            for walker in story.walkers:
                _tell_intervals(story, walker)
            page = story.office.get(f"/meters/{point.number}/intervals").body
            whole = [row for row in page["intervals"] if not row["flags"]]
            return (whole if len(whole) >= COMPARED else None), f"{len(whole)} whole interval records"

        rows = story.until(point, (f"{COMPARED} whole interval records", f"{COMPARED} 条完整区间记录"), look, 7200)
        for row in rows[:COMPARED]:
            profile_wh = _profile_wh(story, point, row["start"]["s"])
            story.require(
                abs(row["import_wh"] - profile_wh) <= CLOSE_WH,
                point,
                (
                    f"{profile_wh} Wh in record {row['seq']}, by the profile",
                    f"记录 {row['seq']}：按负荷曲线 {profile_wh} Wh",
                ),
                f"{row['import_wh']} Wh",
            )
        text = (
            "records {first}–{last}: {used} Wh, {profile} Wh by the profile",
            "记录 {first}–{last}：{used} Wh，曲线 {profile} Wh",
        )
        compared = rows[:COMPARED]
        story.timeline.fact(
            compared[-1]["start"]["s"] + QUARTER_S,
            point,
            text,
            ("GET /api/v1/meters/{meter}/intervals", "GET /api/v1/meters/{meter}/intervals"),
            first=compared[0]["seq"],
            last=compared[-1]["seq"],
            used=sum(row["import_wh"] for row in compared),
            profile=sum(_profile_wh(story, point, row["start"]["s"]) for row in compared),
            meter=point.number,
        )


def _profile_wh(story: Story, point: Point, start_s: int) -> int:
    """What the load draws in a quarter of an hour, in which it is constant."""
    return story.fleet.boards[point.name].load.watts(start_s) * QUARTER_S // 3600


def _tell_intervals(story: Story, point: Point) -> None:
    """New records of a meter, with the balance that its newest report shows."""
    home = story.homes[point.name]
    page = story.office.get(f"/meters/{point.number}/intervals?after={home.told_seq}").body
    for row in page["intervals"]:
        report = story.office.newest(point)
        balance_uc = report.balance_uc if report else 0
        start_s = row["start"]["s"]
        story.timeline.fact(
            start_s + QUARTER_S,
            point,
            ("{used} Wh used in {minutes} min; balance {balance}", "{minutes} 分钟用电 {used} Wh；余额 {balance}"),
            ("interval record {seq}, newest report", "区间记录 {seq}、最新报告"),
            drawn=draw.bar(balance_uc, home.full_uc),
            used=row["import_wh"],
            minutes=row["minutes"],
            balance=money(balance_uc),
            seq=row["seq"],
        )
        home.told_seq = row["seq"]


def alarm(story: Story) -> None:
    """The balance falls to the alarm: an event, and a bit in a report."""
    story.pace(story.cruise)
    for point in story.walkers:
        expected = (f"the alarm at {money(LIMITS.alarm_uc)}", f"余额降至 {money(LIMITS.alarm_uc)} 时报警")

        def look(point: Point = point) -> tuple[tuple[Any, Report] | None, str]:
            for walker in story.walkers:
                _tell_intervals(story, walker)
            report, read = story.ask(point)
            event = story.event(point, events.LOW_CREDIT, story.homes[point.name].credited_s)
            if report is None or event is None or not report.alarms >> states.ALARM_LOW_CREDIT & 1:
                return None, read
            return (event, report), ""

        event, report = story.until(point, expected, look, 6 * 3600)
        story.homes[point.name].alarm_s = event.time_s
        story.timeline.fact(
            event.time_s,
            point,
            ("low credit: {balance} left", "余额提醒：剩余 {balance}"),
            LOG,
            seq=event.seq,
            balance=money(event.argument * 1000),
        )
        story.timeline.proved(
            point,
            report,
            ("the alarm stands; balance {balance}", "报警中；余额 {balance}"),
            drawn=draw.bar(report.balance_uc, story.homes[point.name].full_uc),
            balance=money(report.balance_uc),
        )


def zero(story: Story) -> None:
    """The credit is used up: the trip is armed, with its delay."""
    for point in sorted(story.walkers, key=lambda one: _zero_s(story, one)):
        for margin_s in (300, 60):  # the nearer, the surer
            moment_s = _zero_s(story, point) - margin_s
            if moment_s > story.clock.now_s():
                story.pace(story.cruise)
                story.let_pass(moment_s)
        story.pace(SLOW)
        since_s = story.homes[point.name].alarm_s

        def look(point: Point = point, since_s: int = since_s) -> tuple[Report | bool | None, str]:
            report, read = story.ask(point)
            if report is not None and report.pending == states.PENDING_TRIP:
                return report, ""
            return (True if story.event(point, events.TRIP_ARMED, since_s) else None), read

        found = story.until(point, ("the credit used up and the trip armed", "余额用尽，跳闸已启动"), look, 3600)
        _tell_armed(story, point, since_s)
        if isinstance(found, Report):  # otherwise time has gone past it, and the log alone tells
            story.timeline.proved(
                point,
                found,
                ("trip pending, due in {left} s; contact {contact}", "待跳闸，剩余 {left} 秒；触点{contact}"),
                left=found.due_s - found.time_s,
                contact=words.CONTACTS[names.of(names.CONTACT, found.contact)],
            )


def _tell_armed(story: Story, point: Point, since_s: int) -> None:
    used_up = story.await_event(point, events.CREDIT_EXHAUSTED, since_s)
    armed = story.await_event(point, events.TRIP_ARMED, since_s)
    story.timeline.fact(used_up.time_s, point, ("the credit is used up", "余额用尽"), LOG, seq=used_up.seq)
    delay: Text = (f"a trip delay of {LIMITS.trip_delay_s} s", f"跳闸延时 {LIMITS.trip_delay_s} 秒")
    story.require(armed.argument == LIMITS.trip_delay_s, point, delay, f"{armed.argument} s")
    text = ("trip armed, in {delay} s", "跳闸已启动，{delay} 秒后断开")
    story.timeline.fact(armed.time_s, point, text, LOG, seq=armed.seq, delay=armed.argument)


def _zero_s(story: Story, point: Point) -> int:
    """When the balance of a fresh report will be used up, by the profile."""
    report = story.report(point)
    return runs_out_s(point, story.fleet.boards[point.name], report.time_s, max(report.balance_uc, 0))


def cut_off(story: Story) -> None:
    """The relay opens: contact and load current, from a report, and from the board itself."""
    story.pace(TALK)
    for point in story.walkers:
        report = await_open(story, point, states.CONTROL_READY)
        opened = story.await_event(point, events.RELAY_OPENED, story.homes[point.name].alarm_s)
        expected: Text = ("the cause out of credit in the event", "事件原因为余额不足")
        story.require(opened.detail == _OUT_OF_CREDIT, point, expected, f"detail {opened.detail:#x}")
        story.timeline.fact(
            opened.time_s, point, ("the relay opened: out of credit", "继电器断开：余额不足"), LOG, seq=opened.seq
        )
        story.homes[point.name].relay.append((opened.time_s, False))
        tell_open(story, point, report)
        tell_board(story, point, closed=False)
        tell_registers(story, point, "open")
    stay_off(story)


def payment(story: Story) -> None:
    """The household pays: taken, booked, signed, accepted, confirmed."""
    story.pace(TALK)
    orders: dict[str, int] = {}
    for point in story.walkers:
        home = story.homes[point.name]
        reply = story.pay(point, home.full_uc, f"{point.name}-2")
        orders[point.name] = home.orders["second credit"] = reply.body["order"]
    for point in story.walkers:
        credited(story, point, orders[point.name])


def reconnection(story: Story) -> None:
    """With credit there, the meter closes by itself."""
    story.pace(TALK)
    for point in story.walkers:
        cut_s = story.homes[point.name].relay[-1][0]
        report = await_closed(story, point)
        closed = story.await_event(point, events.RELAY_CLOSED, cut_s)
        story.timeline.fact(closed.time_s, point, ("the relay closed", "继电器闭合"), LOG, seq=closed.seq)
        story.homes[point.name].relay.append((closed.time_s, True))
        story.timeline.proved(
            point,
            report,
            ("contact closed, {load} mA, balance {balance}", "触点闭合，{load} mA，余额 {balance}"),
            drawn=draw.bar(report.balance_uc, story.homes[point.name].full_uc),
            load=report.load_ma,
            balance=money(report.balance_uc),
        )
        tell_board(story, point, closed=True)
        tell_registers(story, point, "closed")
