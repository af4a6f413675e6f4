"""What collection says to people, in English and Chinese, and what it records in the audit."""

from collections.abc import Mapping

from headend import audit
from meterlink.labels import Text

POLICY_SET = "collection.policy"
PAUSE_SET = "collection.pause"
PAUSE_ENDED = "collection.pause_ended"
READ_NOW = "collection.read_now"

audit.ACTIONS.update(
    {
        POLICY_SET: ("schedules of collection set", "设置采集计划"),
        PAUSE_SET: ("pause of collection set", "设置采集暂停"),
        PAUSE_ENDED: ("pause of collection ended", "结束采集暂停"),
        READ_NOW: ("meters to be read now", "即时召测"),
    }
)

PAGE: Mapping[str, Text] = {
    "title": ("Collection", "采集"),
    "success": ("Read success", "采集成功率"),
    "carrier": ("Carrier", "通道"),
    "expected": ("Expected", "应采"),
    "share": ("In time, %", "按时率"),
    "in_time": ("In time", "按时"),
    "late": ("Late", "迟到"),
    "missing": ("Missing", "缺失"),
    "lost": ("Lost", "丢失"),
    "repeated": ("Again", "重复"),
    "whole": ("Whole", "完整"),
    "chart": ("read in time and late, of what was expected", "按时与迟到采集占应采比例"),
    "none": ("Nothing was counted yet.", "暂无统计。"),
    "none_next": (
        "A day appears here as soon as a meter in the fleet has records to be read.",
        "在册电表有可采记录后，按日显示。",
    ),
    "counted": ("Records are counted, meters under Whole.", "按记录数统计；“完整”按电表数统计。"),
    "everywhere": ("everywhere", "全部区域"),
    "by_day": ("By day", "按日"),
    "by_area": ("By area", "按区域"),
    "by_carrier": ("By carrier", "按通道"),
    "lines": ("Lines that answer worst", "应答最差的线路"),
    "line": ("Line", "线路"),
    "sent": ("Asked", "请求"),
    "answered": ("Answered", "应答"),
    "silent": ("Silent", "无应答"),
    "garbled": ("Garbled", "误码"),
    "late_replies": ("Late", "迟到"),
    "half": ("Half within", "半数应答时间"),
    "most": ("99 % within", "99% 应答时间"),
    "none_asked": ("No line was asked today.", "今日无线路请求。"),
    "pauses": ("Pauses", "采集暂停"),
    "until": ("Until", "截止"),
    "why": ("Why", "原因"),
}
