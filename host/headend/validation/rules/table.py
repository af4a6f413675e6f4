"""The table of rules: what each looks at, how severe it is by default, and its figures."""

from collections.abc import Mapping

from headend.validation.day import Day
from headend.validation.rules import energy, registers, sequence
from headend.validation.rules.kinds import ENERGY, HOLD, NOTE, NOTHING, OFF, REGISTER, Finding, Param, Rule, Values
from meterlink.labels import Text

_NUMBERS: Text = ("sequence numbers and times", "记录序号与时间")
_CLOCK: Text = ("times and flags of the clock", "时间与时钟标志")
_REGISTERS: Text = ("registers at the ends of periods", "各时段末示值")
_RATING: Text = ("what the connection carries", "接线容量")
_HISTORY: Text = ("the same weekday of the weeks before", "前几周同一星期几的数据")
_DAY: Text = ("the day itself", "当日数据")

RULES: Mapping[str, Rule] = {
    "missing": Rule(
        ("Records are missing", "数据缺失"),
        ("{value} of {expected} periods have no record.", "{expected} 个时段中缺 {value} 个。"),
        _NUMBERS, NOTE, NOTHING, sequence.missing, {},
    ),
    "estimated": Rule(
        ("Much is estimated", "估算比例过高"),
        ("{value} of {expected} periods are estimated.", "{expected} 个时段中 {value} 个为估算值。"),
        _NUMBERS, HOLD, NOTHING, sequence.estimated, {"percent": Param(50, 1, 100)},
    ),
    "outage": Rule(
        ("No record was made", "表计未记录"),
        ("In {value} periods the meter made no record: no power, or its clock was moved.",
         "{value} 个时段表计未产生记录：停电或时钟被调整。"),
        _NUMBERS, NOTE, NOTHING, sequence.outage, {},
    ),
    "duplicate": Rule(
        ("A period twice", "时段重复"),
        ("{value} periods are named by more than one record.", "{value} 个时段有多条记录。"),
        _NUMBERS, HOLD, ENERGY, sequence.duplicate, {},
    ),
    "clock_unknown": Rule(
        ("The clock was unknown", "时钟失准"),
        ("In {value} periods the meter did not know the time.", "{value} 个时段表计时钟无效。"),
        _CLOCK, HOLD, NOTHING, sequence.clock_unknown, {},
    ),
    "clock_set": Rule(
        ("The clock was set", "时钟被调整"),
        ("In {value} periods the clock was set.", "{value} 个时段内时钟被调整。"),
        _CLOCK, NOTE, NOTHING, sequence.clock_set, {},
    ),
    "future": Rule(
        ("A period that is to come", "时间超前"),
        ("A period ends {value} s after it was read.", "有时段的结束时间超前 {value} 秒。"),
        _CLOCK, HOLD, NOTHING, sequence.future, {"ahead_s": Param(120, 0, 86_400)},
    ),
    "backward": Rule(
        ("Time went back", "时间倒退"),
        ("{value} records name an earlier period than the record before.", "{value} 条记录的时间早于前一条。"),
        _CLOCK, HOLD, NOTHING, sequence.backward, {},
    ),
    "register": Rule(
        ("Registers do not fit the intervals", "示值与电量不符"),
        ("Registers and intervals differ by {value} Wh.", "示值与分时电量相差 {value} Wh。"),
        _REGISTERS, HOLD, ENERGY, registers.register, {},
    ),
    "negative": Rule(
        ("A register went back", "示值倒走"),
        ("A register went back by {value} Wh.", "示值变化为 {value} Wh。"),
        _REGISTERS, HOLD, REGISTER, registers.negative, {},
    ),
    "unplaced": Rule(
        ("Energy without a period", "电量无归属时段"),
        ("{value} Wh flowed by the registers, and no period could hold them.", "示值增加 {value} Wh，无对应时段。"),
        _REGISTERS, HOLD, NOTHING, registers.unplaced, {"floor_wh": Param(1, 1, 1_000_000)},
    ),
    "capacity": Rule(
        ("More than the connection carries", "超出接线容量"),
        ("{value} W in a period; the connection carries {expected} W.",
         "时段平均功率 {value} W，超过容量 {expected} W。"),
        _RATING, HOLD, REGISTER, energy.capacity,
        {"most_w": Param(0, 0, 100_000_000), "percent": Param(120, 50, 1_000)},
    ),
    "spike": Rule(
        ("Sudden peak", "突增"),
        ("{value} Wh in a period; the most of the weeks before was {expected} Wh.",
         "单时段 {value} Wh，前几周最高 {expected} Wh。"),
        _HISTORY, HOLD, REGISTER, energy.spike,
        {"percent": Param(500, 101, 100_000), "floor_wh": Param(1_000, 0, 1_000_000)},
    ),
    "zero": Rule(
        ("No consumption", "零电量"),
        ("Nothing all day; usually it is {expected} Wh.", "全天电量为零，平日为 {expected} Wh。"),
        _HISTORY, HOLD, REGISTER, energy.zero,
        {"seen_percent": Param(50, 1, 100), "usual_wh": Param(500, 1, 10_000_000)},
    ),
    "stuck": Rule(
        ("The same value again and again", "数据不变"),
        ("{value} Wh in {count} periods, {expected} or more of them in a row.",
         "{count} 个时段均为 {value} Wh，连续 {expected} 个以上。"),
        _DAY, HOLD, REGISTER, energy.stuck, {"times": Param(24, 3, 1_000), "floor_wh": Param(50, 1, 1_000_000)},
    ),
    "high": Rule(
        ("Far more than usual", "电量突增"),
        ("{value} Wh in the day; usually it is {expected} Wh.", "全天 {value} Wh，平日 {expected} Wh。"),
        _HISTORY, HOLD, REGISTER, energy.high,
        {"percent": Param(300, 101, 100_000), "days": Param(2, 1, 8), "floor_wh": Param(5_000, 0, 10_000_000)},
    ),
    "low": Rule(
        ("Far less than usual", "电量突减"),
        ("{value} Wh in the day; usually it is {expected} Wh.", "全天 {value} Wh，平日 {expected} Wh。"),
        _HISTORY, HOLD, REGISTER, energy.low,
        {"percent": Param(20, 1, 99), "days": Param(2, 1, 8), "usual_wh": Param(2_000, 1, 10_000_000)},
    ),
    "profile": Rule(
        ("Another course of the day", "用电规律异常"),
        ("{value} periods are far from their usual value.", "{value} 个时段明显偏离平日水平。"),
        _HISTORY, NOTE, NOTHING, energy.profile,
        {
            "deviations_10": Param(40, 10, 200),
            "floor_wh": Param(50, 0, 1_000_000),
            "periods": Param(12, 1, 1_440),
            "days": Param(2, 1, 8),
        },
    ),
    "reversed": Rule(
        ("Energy flowed back", "反向电量"),
        ("{value} Wh were fed in, by a meter that never did.", "反送电量 {value} Wh，此前从未反送。"),
        _HISTORY, HOLD, NOTHING, energy.reversed_flow, {"floor_wh": Param(100, 1, 10_000_000)},
    ),
    "load_off": Rule(
        ("Load while supply is off", "停电仍有电量"),
        ("{value} Wh flowed while supply was off.", "停电期间仍有 {value} Wh。"),
        _DAY, HOLD, NOTHING, energy.load_while_off, {"floor_wh": Param(10, 1, 1_000_000)},
    ),
}  # fmt: skip


def judge(day: Day, severities: Mapping[str, str], params: Mapping[str, Values]) -> tuple[Finding, ...]:
    """What the rules find in a day, in the order of the table; those that are OFF are not asked.

    `severities`, `params`: of each rule, as `policy.Rules` gives them.
    """
    found = []
    for code, rule in RULES.items():
        severity = severities[code]
        one = None if severity == OFF else rule.check(day, params[code])
        if one is not None:
            found.append(Finding(code, severity, *one))
    return tuple(found)
