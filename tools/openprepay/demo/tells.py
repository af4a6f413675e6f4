"""Facts that several steps wait for and tell: credit confirmed, the relay open, the relay closed."""

from headend.web import words
from meterlink import names, states
from meterlink.reports import Report
from openprepay.demo import draw
from openprepay.demo.fleet import MODBUS, Point
from openprepay.demo.story import TALK, Story
from openprepay.demo.sums import money
from openprepay.demo.texts import Text

DARK_S = 600  # how long a household stays without supply

CONTROLS = {
    "disconnected": ("off", "断开"),
    "connected": ("on", "接通"),
    "ready": ("ready to close", "允许合闸"),
}


def credited(story: Story, point: Point, order_id: int) -> None:
    report = story.confirmed(point, order_id)
    story.tell_way(point, order_id)
    home = story.homes[point.name]
    home.credited_s = home.credited_s or report.time_s
    paid_uc = home.paid_uc
    expected: Text = (f"the meter's total of our source: {paid_uc}", f"电表上本来源的累计：{paid_uc}")
    story.require(report.source_credited_uc == paid_uc, point, expected, f"{report.source_credited_uc}")
    story.timeline.proved(
        point,
        report,
        (
            "credit order {order} confirmed, total {total}, balance {balance}",
            "充值命令 {order} 已确认，累计 {total}，余额 {balance}",
        ),
        drawn=draw.bar(report.balance_uc, home.full_uc),
        order=order_id,
        total=money(report.source_credited_uc),
        balance=money(report.balance_uc),
    )


def await_open(story: Story, point: Point, control: int) -> Report:
    def look() -> tuple[Report | None, str]:
        report, read = story.ask(point)
        if report is None:
            return None, read
        opened = report.contact == states.CONTACT_OPEN and report.load_ma == 0 and report.no_load_s >= 2
        return (report if opened and report.control == control else None), read

    return story.until(point, ("contact open and no load current for 2 s", "触点断开，且无负荷电流 2 秒"), look)


def await_closed(story: Story, point: Point) -> Report:
    def look() -> tuple[Report | None, str]:
        report, read = story.ask(point)
        if report is None:
            return None, read
        closed = report.contact == states.CONTACT_CLOSED and report.load_ma > 0
        return (report if closed and report.control == states.CONTROL_CONNECTED else None), read

    return story.until(point, ("contact closed and load current", "触点闭合且有负荷电流"), look)


def tell_open(story: Story, point: Point, report: Report) -> None:
    story.timeline.proved(
        point,
        report,
        (
            "contact open, {load} mA for {since} s, intent {control}",
            "触点断开，{load} mA 持续 {since} 秒，意图 {control}",
        ),
        drawn=draw.bar(report.balance_uc, story.homes[point.name].full_uc),
        load=report.load_ma,
        since=report.no_load_s,
        control=CONTROLS[names.of(names.CONTROL, report.control)],
    )


def tell_board(story: Story, point: Point, *, closed: bool) -> None:
    """What the meter says is what is."""
    board = story.fleet.boards[point.name]
    contact, load_ma = board.contact(), board.load_ma()
    right = (contact == states.CONTACT_CLOSED, load_ma > 0) == (closed, closed)
    read = f"contact {names.of(names.CONTACT, contact)}, {load_ma} mA"
    story.require(right, point, ("the board's contact as reported", "电路板触点与报告一致"), read)
    story.timeline.fact(
        story.clock.now_s(),
        point,
        ("contact {contact}, {load} mA", "触点{contact}，{load} mA"),
        ("contact sense of the board", "电路板触点检测"),
        contact=words.CONTACTS[names.of(names.CONTACT, contact)],
        load=load_ma,
    )


def tell_registers(story: Story, point: Point, contact: str) -> None:
    """The same from the registers, as any Modbus master would read them at the service port."""
    if point.carrier != MODBUS:
        return
    block = story.fleet.registers(point)
    found = names.of(names.CONTACT, block.number("contact"))
    story.require(found == contact, point, (f"contact {contact} in the registers", f"寄存器中触点为 {contact}"), found)
    story.timeline.fact(
        block.number("time_s"),
        point,
        ("contact {contact}, {load} mA, {voltage} V, {power} W", "触点{contact}，{load} mA，{voltage} V，{power} W"),
        ("registers, hot block snapshot {snapshot}, Modbus TCP", "寄存器热数据块快照 {snapshot}，Modbus TCP"),
        contact=words.CONTACTS[found],
        load=block.number("load_ma"),
        voltage=block.number("voltage_dv") / 10,
        power=block.number("power_w"),
        snapshot=block.number("snapshot"),
    )


def stay_off(story: Story) -> None:
    """Supply stays off for a while: nothing is used."""
    before = {point.name: story.report(point) for point in story.walkers}
    story.pace(story.cruise)
    story.let_pass(story.clock.now_s() + DARK_S)
    story.pace(TALK)
    for point in story.walkers:
        was, now = before[point.name], story.report(point)
        expected: Text = (f"the import register at {was.import_wh} Wh", f"正向电量停在 {was.import_wh} Wh")
        story.require(now.import_wh == was.import_wh, point, expected, f"{now.import_wh} Wh")
        story.timeline.proved(
            point,
            now,
            (
                "{minutes} min later: the import register still stands at {wh} Wh",
                "{minutes} 分钟后：正向电量仍为 {wh} Wh",
            ),
            minutes=(now.time_s - was.time_s) // 60,
            wh=now.import_wh,
        )
