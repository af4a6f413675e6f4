"""What the registry says to people, in English and Chinese, and what it records in the audit."""

from collections.abc import Mapping

from headend import audit
from headend.registry.kinds import AUTHORITY, KINDS, SITE_NOTICE
from meterlink.labels import Text

# Event of an exclusion -> what happened.
SET = "set"
EXTENDED = "extended"
PROVED = "evidence"
ENDED = "ended"
LAPSED = "lapsed"
MOVED = "moved"
EVENTS: Mapping[str, Text] = {
    SET: ("set", "设立"),
    EXTENDED: ("given another end", "变更期限"),
    PROVED: ("evidence added", "补充证据"),
    ENDED: ("ended", "终止"),
    LAPSED: ("over by itself, or with its account", "到期或随账户终止"),
    MOVED: ("came along from another meter", "换表转入"),
}

AUDIT = {
    "exclusion.set": ("exclusion set", "设立免停"),
    "exclusion.extend": ("exclusion given another end", "变更免停期限"),
    "exclusion.prove": ("evidence added to an exclusion", "补充免停证据"),
    "exclusion.end": ("exclusion ended", "终止免停"),
    "calendar.set": ("calendar replaced", "更新停电日历"),
    "hold.safety": ("safety hold set", "设置安全锁定"),
    "hold.safety_released": ("safety hold released", "解除安全锁定"),
    "meter.area": ("meter placed in an area", "调整电表区域"),
}
audit.ACTIONS.update(AUDIT)

# Why a stop is not sent. Fields: exclusion, since, reference; missing (evidence); name, until (calendar).
BARRED: Mapping[str, Text] = {
    code: (
        f"Not stopped: {kind.title[0]} since {{since}} (exclusion {{exclusion}}: “{{reference}}”).",
        f"不予停电：{kind.title[1]}，自 {{since}} 起（免停 {{exclusion}}：“{{reference}}”）。",
    )
    for code, kind in KINDS.items()
}
_MANY = KINDS["many_households"].title
MISSING: Mapping[str, Text] = {
    AUTHORITY: (
        f"Not stopped: {_MANY[0]} (exclusion {{exclusion}}); the authority was not consulted in {{valid_days}} days.",
        f"不予停电：{_MANY[1]}（免停 {{exclusion}}），近 {{valid_days}} 天内无征询主管部门的记录。",
    ),
    SITE_NOTICE: (
        f"Not stopped: {_MANY[0]} (exclusion {{exclusion}}); no notice has stood on site for {{days}} days.",
        f"不予停电：{_MANY[1]}（免停 {{exclusion}}），现场公告未满 {{days}} 天。",
    ),
}
CALENDAR: Text = (
    "Not stopped now: {name_en}, until {until} (calendar {version}).",
    "此时不予停电：{name_zh}，至 {until}（停电日历 {version}）。",
)
END_EXCLUSION: Text = (
    "End exclusion {exclusion} of meter {meter}: {kind}.",
    "终止电表 {meter} 的免停 {exclusion}：{kind}。",
)
