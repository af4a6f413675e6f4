"""What the panel's short codes mean, in English and Chinese, for documents and whoever stands before a display."""

from meter import panel_items
from meter.panel_items import KEY, RELAY, WAIT
from meterlink import names, states
from meterlink.labels import LABEL, Text

ITEM: dict[int, Text] = {
    1: ("what is left on the account, or what the allowance is worth", "剩余金额（或剩余允许用电额）"),
    2: ("to be paid before supply closes again", "恢复供电需缴金额"),
    3: ("why supply is off, or about to be", "断电原因"),
    4: ("how far the account is below zero", "透支金额"),
    5: ("emergency credit left; # takes it where it is offered", "应急额度；可用时按#启用"),
    6: ("debts that the meter collects", "待扣欠费"),
    7: ("rate in force: T1 to T4", "当前费率（尖、峰、平、谷）"),
    8: ("price of a kWh now", "当前电价"),
    9: ("credit that waits above the credit limit", "待入账金额（超囤积限值）"),
    10: ("import register", "正向有功总电能"),
    11: ("of it, at rate 1", "正向有功费率1电能"),
    12: ("of it, at rate 2", "正向有功费率2电能"),
    13: ("of it, at rate 3", "正向有功费率3电能"),
    14: ("of it, at rate 4", "正向有功费率4电能"),
    15: ("export register", "反向有功总电能"),
    16: ("import of this local day", "当日用电量"),
    17: ("import of the day before", "上一日用电量"),
    18: ("import of this month", "当月用电量"),
    19: ("import of the month before", "上月用电量"),
    20: ("number of the meter", "表号"),
    21: ("local date", "当前日期"),
    22: ("local time", "当前时间"),
    30: ("answer to the last token", "上次代码的结果"),
    31: ("what it credited", "上次代码充值金额"),
    33: ("local day and amount of the last top-up; # the one before it", "最近充值：日期与金额，按#看上一次"),
    35: ("seconds until tokens are taken again", "键盘锁定剩余秒数"),
    40: ("power", "瞬时总有功功率"),
    41: ("voltage", "电压"),
    42: ("current", "电流"),
    43: ("power factor", "总功率因数"),
    44: ("frequency", "电网频率"),
    45: ("limit of power, 0: none", "功率限值，0为无"),
    46: ("relay: 0 open, 1 closed, 2 not sensed", "继电器：0断开，1闭合，2未知"),
    47: ("operations of the relay", "继电器动作次数"),
    50: ("holds, as bits in hexadecimal", "停电指令位（十六进制）"),
    51: ("causes, as bits in hexadecimal", "自身断电原因位（十六进制）"),
    52: ("alarms, as bits in hexadecimal", "报警位（十六进制）"),
    53: ("tamper latches, as bits in hexadecimal", "防窃电锁存位（十六进制）"),
    54: ("mode of fee control: 0 local, 1 remote, 2 postpaid", "费控模式：0本地，1远程，2后付费"),
    60: ("firmware", "固件版本"),
    61: ("version of the legally relevant part", "法制相关部分版本"),
    62: ("starts of the meter", "上电次数"),
    63: ("meter constant", "有功常数"),
    64: ("class of the board: a bench board's keys can be read", "硬件类别：BENCH为试验板"),
    65: ("account epoch", "账户批次"),
    66: (
        "first 8 bytes of the legally relevant part's SHA-256, zeros where it is built in",
        "法制相关部分SHA-256前8字节，内置时为零",
    ),
    70: ("supply group code of the token key", "供电组代码SGC"),
    71: ("revision of the token key", "密钥版本KRN"),
    72: ("expiry number of the token key", "密钥有效期号KEN"),
    73: ("tariff index of the token key", "费率索引TI"),
    80: ("seconds since the RS-485 bus was heard", "RS-485距上次通信秒数"),
    81: ("seconds since Modbus TCP was heard", "Modbus TCP距上次通信秒数"),
    82: ("seconds since MQTT was heard", "MQTT距上次通信秒数"),
    83: ("seconds since the service port was heard", "维护口距上次通信秒数"),
    84: ("interval records that the head end has not acknowledged", "主站未确认的曲线记录数"),
    85: ("events that it has not acknowledged", "主站未确认的事件数"),
    90: ("English or numbers; # changes it", "语言：#切换英文与数字代码"),
    91: ("all dots and lamps", "全屏与指示灯测试"),
    92: ("contrast 0 to 15; # turns it up", "对比度0至15，#加一"),
    93: ("the keys that were pressed; ** leaves", "按键测试，**退出"),
}
_OTHER: dict[int, Text] = {
    KEY: ("ready: waits for the customer's key", "允许合闸，等待按键"),
    WAIT: ("closes by itself after its delay", "等待自动合闸"),
}


def item(code: int) -> Text:
    """(English, Chinese) of an item; KeyError where it has no text."""
    return ITEM[code]


def reason(number: int) -> Text:
    """(English, Chinese) of a number of OFF-NN; KeyError where it has none."""
    if number in _OTHER:
        return _OTHER[number]
    if number >= RELAY:
        return LABEL["diagnosis"][names.DIAGNOSIS[number - RELAY]]
    if number >= panel_items.OWN:
        return LABEL["cause"][names.CAUSE[number - panel_items.OWN]]
    return LABEL["hold"][names.HOLD[number]]


def alarm(number: int) -> Text:
    """(English, Chinese) of AL-1 and AL-2."""
    return LABEL["alarm"][names.ALARM[(states.ALARM_LOW_CREDIT, states.ALARM_LOW_CREDIT_2)[number - 1]]]
