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

# The file of visits, column by column.
COLUMNS: Mapping[str, Text] = {
    "meter": ("Meter", "电表"),
    "label": ("Label", "名称"),
    "area": ("Area", "区域"),
    "supply_point": ("Supply point", "用电点"),
    "carrier": ("Carrier", "通道"),
    "address": ("Address", "地址"),
    "heard": ("Last heard (UTC)", "最后通信时间 (UTC)"),
    "balance": ("Last balance", "最后余额"),
    "opened": ("Opened (UTC)", "开单时间 (UTC)"),
}

# The page.
PAGE: Mapping[str, Text] = {
    "title": ("Readings to review, meters to visit", "数据复核与现场工单"),
    "cases": ("Held for review before billing", "计费前待复核"),
    "visits": ("Nobody hears them: go and look", "失联电表，需现场处理"),
    "cases_next": (
        "Each is accepted or rejected: POST /api/v1/validation/cases/…/accept or …/reject.",
        "逐条确认或剔除：POST /api/v1/validation/cases/…/accept 或 …/reject。",
    ),
    "none_held": ("Nothing is held for review.", "没有待复核的数据。"),
    "none_silent": ("All meters are heard.", "所有电表通信正常。"),
    "found": ("What was found", "异常"),
    "case": ("Case", "编号"),
    "heard": ("Last heard", "最后通信"),
    "never": ("never", "从未"),
    "balance": ("Last balance", "最后余额"),
    "since": ("Since", "开单时间"),
    "file": ("As a file (CSV)", "导出 (CSV)"),
}
