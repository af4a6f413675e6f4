"""What validation says to people, in English and Chinese, and what it records in the audit."""

from collections.abc import Mapping

from headend import audit
from meterlink.labels import Text

POLICY_SET = "quality.policy"
ACCEPTED_CASE = "quality.accepted"
REJECTED_CASE = "quality.rejected"
JUDGED_AGAIN = "quality.judged_again"
VISIT_CLOSED = "visit.closed"
SERIES_READ = "quality.series_read"

audit.ACTIONS.update(
    {
        POLICY_SET: ("rules of validation were changed", "变更数据校验规则"),
        ACCEPTED_CASE: ("a doubted reading was accepted", "复核通过异常数据"),
        REJECTED_CASE: ("a doubted reading was rejected", "复核驳回异常数据"),
        JUDGED_AGAIN: ("days of a meter were validated again", "重新校验电表数据"),
        VISIT_CLOSED: ("a visit was closed", "关闭现场工单"),
        SERIES_READ: ("validated readings of a meter were read", "查看校验后数据"),
    }
)

# States of what is held for review.
OPEN, ACCEPTED, REJECTED, GONE = "open", "accepted", "rejected", "gone"
CASE_STATES: Mapping[str, Text] = {
    OPEN: ("waits for review", "待复核"),
    ACCEPTED: ("accepted as it was measured", "已通过"),
    REJECTED: ("rejected: an estimate stands in", "已驳回，以估算值代替"),
    GONE: ("over: later readings cleared it up", "已消除"),
}

# How a visit ended.
SPOKE, BY_PERSON, AWAY = "spoke", "person", "away"
VISIT_ENDS: Mapping[str, Text] = {
    SPOKE: ("the meter spoke again", "电表恢复通信"),
    AWAY: ("the meter was taken away", "电表已拆除"),
    BY_PERSON: ("closed by a person", "人工关闭"),
}
