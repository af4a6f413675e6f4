"""Every word that people read, in English and Chinese; codes stay as they are for programs.

A text is a pair (English, Chinese) with the same fields in braces. `headend.language.say` puts one together.
"""

from collections.abc import Mapping

from headend.language import ENGLISH, LANGUAGES
from headend.orders.words import STATES, WHY
from meterlink.labels import LABEL, Text

__all__ = ["STATES", "WHY"]  # of orders, for the page

HOLDS = LABEL["hold"]
CAUSES = LABEL["cause"]
ALARMS = LABEL["alarm"]
CONTROLS = LABEL["control"]
CONTACTS = LABEL["contact"]
DIAGNOSES = LABEL["diagnosis"]
ASPECTS = LABEL["aspect"]

# What wants a person, the worst first: title and sentence (`board.py`).
# Findings of the program (`epochs.findings.KINDS`).
FINDINGS: Mapping[str, Text] = {
    "history_lost": ("history lost, a recover order is due", "历史丢失，需下发恢复指令"),
    "account_ahead": ("the meter is ahead of the books", "电表账户先于账簿"),
    "unlogged_credit": ("credit that the signer has no record of", "签名日志中没有的充值"),
    "foreign_credit": ("credit under a foreign signature", "非本系统签名的充值"),
    "unlisted_sales": ("recovered sales that are not listed", "找回的未列明售电"),
    "source_not_closed": ("a former credit source is not closed", "旧充值源未关闭"),
    "unsold_credit": ("credit that was never sold", "未售出的充值"),
    "ledger_difference": ("books and meter differ", "账表不符"),
    "shadow_difference": ("charged otherwise than the intervals tell", "计费与负荷记录不符"),
    "refund_found": ("a refund of a lost database", "丢失数据库的退费"),
    "debt_unsure": ("collected debt that is not known to the unit", "电表代扣欠费金额不明"),
    "debt_over": ("more debt collected than was owed", "电表代扣超过欠费"),
    "opening_stuck": ("imported line that was not booked", "导入的余额未入账"),
    "transfer_stuck": ("transfer that reached no meter", "转移的款项未到新表"),
    "swapped_meter": ("two meters in each other's place", "两块电表可能互相装错"),
    "recovered_gap": ("energy around a lost history", "历史丢失期间的电量"),
    "unvended_token": ("token that nobody sold", "输入了未售出的令牌"),
    "lost_token": ("token that a lost database sold", "丢失数据库售出的令牌"),
    "token_twice": ("token typed after it was taken back", "已收回的令牌又被输入"),
    "token_of_former": ("token of a former customer typed", "输入了前用户的令牌"),
}

CONCERNS: Mapping[str, tuple[Text, Text]] = {
    "drawing": (
        ("Off, but still drawing", "已停电仍在用电"),
        ("The contact is open and {load_ma} mA flow behind it.", "触点已断开，仍有 {load_ma} mA 电流。"),
    ),
    "not_open": (
        ("Off ordered, still connected", "应断未断"),
        (
            "The meter means to be off, and its contact is closed; {load_ma} mA flow.",
            "电表应为断开，触点仍闭合，电流 {load_ma} mA。",
        ),
    ),
    "paid_off": (
        ("Paid, but still off", "已缴费未复电"),
        ("Supply is off with {amount} paid, and no hold of ours stands.", "已缴 {amount}，无停电指令，仍未供电。"),
    ),
    "unknown": (
        ("Order unknown", "指令状态未知"),
        (
            "Order {order}, stated {time}, was sent, and the meter has proved nothing since.",
            "指令 {order}（{time}）已下发，电表尚未证实结果。",
        ),
    ),
    "conflict": (
        ("Order cannot be carried out", "指令冲突"),
        (
            "Order {order}, stated {time}, failed: it was not signed, or the meter holds other content.",
            "指令 {order}（{time}）失败：未能签名，或电表持有不同内容。",
        ),
    ),
    "difference": (
        ("Reconciliation difference", "对账不平"),
        ("{amount} are not explained between books and meter.", "账表差额 {amount} 无法解释。"),
    ),
    "token_waits": (
        ("Sold, token not made", "已售令牌未生成"),
        (
            "{amount} are paid, and the digits are not made yet; the oldest since {time}.",
            "已缴 {amount}，令牌尚未生成，最早一笔售于 {time}。",
        ),
    ),
    "late_credit": (
        ("Payment not on the meter", "缴费未到表"),
        ("{amount} are not on the meter yet, the oldest since {time}.", "{amount} 尚未到表，最早一笔缴于 {time}。"),
    ),
    "unsigned": (
        ("Order not signed", "指令未签名"),
        (
            "Order {order}, stated {time}, waits for {key}.",
            "指令 {order}（{time}）等待{key}签名。",
        ),
    ),
    "not_closed": (("Failed to close", "合闸失败"), ("The contact did not close when told to.", "触点未按指令闭合。")),
    "not_done": (
        ("Order not carried out", "指令未执行"),
        (
            "The meter holds order {order}, stated {time}; what it wants is not proved.",
            "电表已接受指令 {order}（{time}），尚未证实执行。",
        ),
    ),
    "finding": (
        ("To be looked into", "待核查"),
        ("{kind}: {note}", "{kind}：{note}"),
    ),
    "storage": (
        ("Meter storage", "电表存储异常"),
        ("The meter reports damaged storage or lost history.", "电表报告存储损坏或历史丢失。"),
    ),
    "never": (
        ("Never heard of", "从未上报"),
        ("No report has come since the meter was added at {time}.", "自 {time} 建档以来从未上报。"),
    ),
    "silent": (("Silent", "失联"), ("The last report came at {time}.", "最近一次上报于 {time}。")),
    "reads_behind": (
        ("Reads behind", "抄表不完整"),
        ("{behind} records of the interval log are not whole yet.", "尚有 {behind} 条负荷记录未补齐。"),
    ),
}

# The same of channels (`exceptions_channels.py`).
CHANNEL_CONCERNS: Mapping[str, tuple[Text, Text]] = {
    "low_float": (
        ("Float runs low", "备付金不足"),
        ("{left} are left since {time}; {low} are wanted.", "自 {time} 起仅余 {left}，应不低于 {low}。"),
    ),
    "settlement": (
        ("Settlement difference", "日终对账不平"),
        ("{day}, payment {payment}: {action}.", "{day}，缴费 {payment}：{action}。"),
    ),
}

# What every page says; the words of its own domain go before these.
SHARED: Mapping[str, Text] = {
    "pages": ("Pages", "页面"),
    "skip": ("Skip to the content", "跳到正文"),
    "as_of": ("As of", "时间"),
    "refreshing": ("renews itself every {seconds} s", "每 {seconds} 秒自动刷新"),
    "stop": ("Stop", "停止刷新"),
    "start": ("Renew by itself", "自动刷新"),
    "signed_in_as": ("Signed in as {user}", "当前用户：{user}"),
    "out": ("Sign out", "退出登录"),
    "read_only": ("This page only shows; decisions go through the API.", "本页仅供查看；处理请通过接口。"),
    "meter": ("Meter", "电表"),
    "area": ("Area", "区域"),
    "day": ("Day", "日期"),
    "what": ("What", "类别"),
    "detail": ("Detail", "说明"),
    "why": ("Why", "事由"),
    "proposal": ("Proposal", "申请"),
    "more": ("More", "更多"),
}

# The board and the page of exceptions.
PAGE: Mapping[str, Text] = {
    "title": ("Board of meters", "电表总览"),
    "exceptions": ("What wants attention", "异常"),
    "none": ("Nothing does.", "无异常。"),
    "meters": ("Meters", "电表"),
    "meters_in_fleet": ("meters in the fleet", "块电表在册"),
    "no_meters": ("No meter is in the fleet yet.", "尚无电表。"),
    "no_meters_next": (
        "Meters come from a file (openprepay fleet import meters …) or through the API (POST /api/v1/meters).",
        "可从文件导入（openprepay fleet import meters …），或通过接口添加（POST /api/v1/meters）。",
    ),
    "orders": ("Orders under way", "在途指令"),
    "no_orders": ("None.", "无。"),
    "more_orders": ("{count} more are under way.", "另有 {count} 条在途。"),
    "more_meters": ("and {count} more:", "另有 {count} 块："),
    "on": ("on", "供电"),
    "off": ("off", "停电"),
    "attention": ("want attention", "异常"),
    "under_way": ("orders under way", "在途指令"),
    "unknown_orders": ("of them unknown", "其中状态未知"),
    "this_page": ("on this page", "本页"),
    "wanted": ("Wanted", "指令要求"),
    "intended": ("Intended", "电表意图"),
    "physical": ("Physical", "触点实际"),
    "balance": ("Balance", "余额"),
    "alarms": ("Alarms", "告警"),
    "reads": ("Reads", "抄表"),
    "report": ("Last report, meter's time", "最近上报（表时）"),
    "order": ("Order", "指令"),
    "subject": ("Subject", "内容"),
    "state": ("State", "状态"),
    "issued": ("Stated", "下达"),
    "actor": ("By", "来源"),
    "protected": ("protected", "保电"),
    "no_report": ("no report yet", "尚无上报"),
    "clock_unknown": ("clock not set", "时钟未校"),
    "offline": ("offline", "离线"),
    "whole": ("whole", "完整"),
    "in_flight": ("{amount} on the way", "在途 {amount}"),
    "trip_due": ("trips {time}", "{time} 断开"),
    "close_due": ("closes {time}", "{time} 合闸"),
    "ago_s": ("{n} s ago", "{n} 秒前"),
    "ago_min": ("{n} min ago", "{n} 分钟前"),
    "ago_h": ("{n} h ago", "{n} 小时前"),
    "ago_d": ("{n} d ago", "{n} 天前"),
    "next": ("Meters above {number}", "编号大于 {number} 的电表"),
    "first": ("Back to the first", "回到首页"),
    "facts": (
        "Wanted is what was ordered; intended and physical are what the meter reported under its key.",
        "“指令要求”为主站下达；“电表意图”和“触点实际”均来自电表经认证的上报。",
    ),
    "exceptions_all": ("Of the whole fleet", "全网异常"),
    "exceptions_title": ("What wants attention", "异常处理"),
    "proposals": ("Waiting for a second person", "待审批"),
    "proposals_next": (
        "Somebody other than the author approves or refuses: POST /api/v1/proposals/…/approve or …/refuse.",
        "须由申请人以外的人员批准或驳回：POST /api/v1/proposals/…/approve 或 …/refuse。",
    ),
    "ends": ("Open until", "有效至"),
    "channels": ("Channels", "渠道"),
    "channel": ("Channel", "渠道"),
    "more_of": ("More of: {kind}", "更多：{kind}"),
    "all_kinds": ("All kinds", "全部类别"),
}

CURRENCIES = {
    0: "kWh",  # an account in energy
    36: "AUD", 50: "BDT", 124: "CAD", 156: "CNY", 230: "ETB", 356: "INR", 360: "IDR", 404: "KES", 458: "MYR",
    566: "NGN",
    586: "PKR", 608: "PHP", 643: "RUB", 704: "VND", 710: "ZAR", 756: "CHF", 764: "THB", 800: "UGX", 826: "GBP",
    834: "TZS", 840: "USD", 936: "GHS", 949: "TRY", 967: "ZMW", 978: "EUR", 986: "BRL",
}  # fmt: skip


def currency(code: int) -> str:
    """The letters of an ISO 4217 number, or the number; the unit of an account in energy."""
    return CURRENCIES.get(code, f"{code:03d}")


def choose(accept: str) -> str:
    """The language of an Accept-Language header that we can serve best (RFC 9110, 12.5.4); English without a wish."""
    best, best_weight = ENGLISH, 0.0
    for part in accept[:400].split(","):
        tag, _, parameter = part.strip().partition(";")
        language = tag.strip().lower().partition("-")[0]
        try:
            weight = float(parameter.partition("=")[2]) if parameter else 1.0
        except ValueError:
            continue
        if language in LANGUAGES and weight > best_weight:
            best, best_weight = language, weight
    return best
