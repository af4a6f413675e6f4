"""What has to add up at the end: interval records, ledger against meter, memory."""

from typing import Any

from headend.ledger import balances
from meterlink.reports import Report
from meterlink.tariff import QUARTER_S
from openprepay.demo.fleet import Point
from openprepay.demo.story import TALK, Story
from openprepay.demo.sums import money

_COUNTS = ("stored", "lost", "missing", "doubled", "unchained")


def intervals(story: Story) -> None:
    """As many records as quarters of an hour have ended; none missing, none double, and the energy adds up."""
    story.pace(story.cruise)
    story.let_pass((story.clock.now_s() // QUARTER_S + 1) * QUARTER_S + 60)
    story.pace(TALK)
    for point in story.points:

        def look(point: Point = point) -> tuple[tuple[Report, dict[str, Any]] | None, str]:
            report, read = story.ask(point)
            if report is None:
                return None, read
            counts = story.office.get(f"/meters/{point.number}/intervals").body["counts"]
            expected = report.time_s // QUARTER_S - story.clock.start_s // QUARTER_S
            read = f"expected {expected}, the meter made {report.interval_newest}; " + ", ".join(
                f"{name} {counts[name]}" for name in _COUNTS
            )
            right = counts["whole"] and expected == report.interval_newest == counts["expected"] == counts["stored"]
            return ((report, counts) if right else None), read

        whole = ("every interval record stored once, none missing", "每条区间记录恰好存储一次，无缺失")
        report, counts = story.until(point, whole, look)
        story.timeline.proved(
            point,
            report,
            (
                "{expected} records expected, {stored} stored, {missing} missing, {doubled} double",
                "应有 {expected} 条，已存 {stored}，缺失 {missing}，重复 {doubled}",
            ),
            **{name: counts[name] for name in ("expected", "stored", "missing", "doubled")},
        )


def ledger(story: Story) -> None:
    """The books and the meters agree to the unit."""
    for point in story.points:

        def look(point: Point = point) -> tuple[tuple[Report, dict[str, Any]] | None, str]:
            report, read = story.ask(point)
            if report is None:
                return None, read
            body = story.office.get(f"/meters/{point.number}/reconciliation").body
            lines = {line["what"]: line["amount"] for line in body["lines"] if line["amount"] != "0.00"}
            read = f"ledger {body['ledger']}, meter {body['on_meter']}, difference {body['difference']}, {lines}"
            equal = body["explained"] and body["source_shown"] and not lines and body["ledger"] == body["on_meter"]
            current = body["on_meter"] == money(report.balance_uc) and report.balances()
            return ((report, body) if equal and current else None), read

        report, body = story.until(
            point, ("the ledger equal to the meter, to the unit", "账簿与电表完全一致"), look, 1800
        )
        paid_uc = story.homes[point.name].paid_uc
        charged_uc = paid_uc - report.balance_uc
        story.require(
            charged_uc == report.charged_uc,
            point,
            (f"paid {paid_uc} = balance + charged", f"支付 {paid_uc} = 余额 + 已扣"),
            f"balance {report.balance_uc}, charged {report.charged_uc}",
        )
        story.timeline.proved(
            point,
            report,
            (
                "ledger {ledger} = meter {meter}: paid {paid}, charged {charged}, difference {difference}",
                "账簿 {ledger} = 电表 {meter}：支付 {paid}，已扣 {charged}，差额 {difference}",
            ),
            ledger=body["ledger"],
            meter=body["on_meter"],
            paid=money(paid_uc),
            charged=money(report.charged_uc),
            difference=body["difference"],
        )
    sums = story.office.read(balances.trial_balance)
    total_uc = sum(one.balance_uc for one in sums)
    story.require(total_uc == 0, None, ("accounts that sum to zero", "各账户合计为零"), f"{total_uc}")
    story.timeline.fact(
        story.clock.now_s(),
        None,
        ("{accounts} accounts sum to {total}", "{accounts} 个账户合计 {total}"),
        ("trial balance of the ledger", "账簿试算平衡"),
        accounts=len(sums),
        total=money(total_uc),
    )


def memory(story: Story) -> None:
    """What MicroPython used of the heap that it was given."""
    for point in story.points:
        if not point.micropython:
            continue
        heap = story.fleet.heap(point)
        story.require(0 < heap.used <= heap.peak, point, ("a heap in use", "堆使用量"), f"{heap}")
        story.timeline.fact(
            story.clock.now_s(),
            point,
            (
                "MicroPython heap: {used} B used, {peak} B at the peak, limit {limit}",
                "MicroPython 堆：已用 {used} 字节，峰值 {peak} 字节，上限 {limit}",
            ),
            (
                "gc.mem_alloc() on the meter, each second; -X heapsize={limit}",
                "电表每秒 gc.mem_alloc()；-X heapsize={limit}",
            ),
            used=heap.used,
            peak=heap.peak,
            limit=story.heap,
        )
