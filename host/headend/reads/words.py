"""What the audit says of readings, in English and Chinese."""

from headend import audit

EXPORTED = "reads.export"

audit.ACTIONS.update({EXPORTED: ("readings exported", "导出曲线数据")})
