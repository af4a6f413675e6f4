"""What people read of a fleet, in English and Chinese."""

from meterlink.labels import Text

LANGUAGES = ("en", "zh")

TIME = ("time of day", "时间")
METERS = ("meters", "电表")
AWAY = ("out of reach", "不可达")
LINKED = ("connected to the broker", "已连接代理")
CONNECTS = ("connections made", "建立连接次数")
MESSAGES = ("messages", "消息")
LOST = ("of them lost", "其中丢失")
SAID = ("said by meters", "电表上行")
HEARD = ("heard by meters", "电表下行")
WIPED = ("forgotten by the carrier", "通道丢弃")
KILLS = ("head ends killed", "主站被杀次数")
PAYMENTS = ("payments", "充值笔数")
ARRIVED = ("of them on meters", "其中已到表")
BY_SIX = ("readings of the day there by 06:00", "06:00 前采集成功率")
WHOLE = ("of what meters hold, stored", "电表所存数据入库率")
AFTER = ("all there after", "全部补齐用时")
GASPS = ("last gasps heard", "停电告警")
BUSES = ("transactions on buses", "总线事务")
MEMORY = ("memory a meter", "每表内存")
HAPPENED = ("now", "当前事件")
HOLDS = ("everything is there", "全部数据完整")
BROKEN = ("something is missing", "数据有缺失")


def say(text: Text, lang: str) -> str:
    """In one of LANGUAGES."""
    return text[LANGUAGES.index(lang)]
