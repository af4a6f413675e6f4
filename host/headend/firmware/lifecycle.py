"""The life of an image on its way to a meter as a table (state, event) -> state; code, words and docs read it."""

from meterlink.labels import Text

WAITING = "waiting"
BRINGING = "bringing"
HERE = "here"
RUNNING = "running"
BACK = "rolled_back"
REFUSED = "refused"
LATE = "late"
STOPPED = "stopped"

# State -> what it means.
STATES: dict[str, Text] = {
    WAITING: ("waits for a link that is free, or for the meter", "等待链路或电表"),
    BRINGING: ("being brought", "下发中"),
    HERE: ("on the meter, whole; not proved to run", "已完整送达，尚未证实运行"),
    RUNNING: ("runs, as the meter's log proves", "已运行（电表日志证实）"),
    BACK: ("tried and rolled back", "试运行后已回退"),
    REFUSED: ("refused by the meter", "电表拒绝"),
    LATE: ("not brought in time", "未按时送达"),
    STOPPED: ("given up before it was whole", "送达前已停止"),
}

# Event -> what happened.
EVENTS: dict[str, Text] = {
    "begin": ("a link began to carry it", "开始下发"),
    "halt": ("the link broke, or the campaign rests", "链路中断或任务暂停"),
    "whole": ("the meter has checked all of it", "电表校验通过"),
    "refuse": ("the meter refused it", "电表拒绝"),
    "late": ("its time ran out", "超时"),
    "stop": ("its campaign was stopped", "任务中止"),
    "prove": ("the meter's log tells that it passed its self-test", "日志证实自检通过"),
    "roll_back": ("the meter's log tells that it was rolled back", "日志显示已回退"),
}

TABLE: dict[tuple[str, str], str] = {
    (WAITING, "begin"): BRINGING,
    (WAITING, "late"): LATE,
    (WAITING, "stop"): STOPPED,
    (BRINGING, "begin"): BRINGING,  # by another worker
    (BRINGING, "halt"): WAITING,
    (BRINGING, "whole"): HERE,
    (BRINGING, "refuse"): REFUSED,
    (BRINGING, "late"): LATE,
    (BRINGING, "stop"): STOPPED,
    (HERE, "refuse"): REFUSED,
    (HERE, "prove"): RUNNING,
    (HERE, "roll_back"): BACK,
}

UNDER_WAY = (WAITING, BRINGING)
BAD = (BACK, REFUSED)
ENDS = frozenset((RUNNING, BACK, REFUSED, LATE, STOPPED))
