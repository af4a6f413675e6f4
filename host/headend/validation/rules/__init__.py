"""The rules by which a reading can be doubted: one table, `RULES`. Each looks at a day and changes nothing. Pure."""

from headend.validation.rules.kinds import HOLD, NOTE, OFF, SEVERITIES, Finding, Param, Rule
from headend.validation.rules.table import RULES, judge

__all__ = ["HOLD", "NOTE", "OFF", "RULES", "SEVERITIES", "Finding", "Param", "Rule", "judge"]
