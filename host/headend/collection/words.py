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

PROFILES: Mapping[str, Text] = {
    "follow": ("as reports show", "随报告补采"),
    "push": ("the meter brings them", "电表主动上报"),
    "daily": ("once a day", "每日采集"),
}

# States of a meter in a request.
STATES: Mapping[str, Text] = {
    "waiting": ("waiting", "等待中"),
    "done": ("read", "已读"),
    "given_up": ("not read in time", "超时未读"),
}

# What the figures of a day mean.
FIGURES: Mapping[str, Text] = {
    "meters": ("meters", "电表数"),
    "expected": ("records expected", "应采"),
    "in_time": ("read in time", "按时采集"),
    "late": ("read late", "迟到采集"),
    "lost": ("declared lost", "已确认丢失"),
    "repeated": ("came again", "重复上报"),
    "whole": ("meters whole", "完整电表"),
    "whole_in_time": ("whole in time", "按时完整"),
}
