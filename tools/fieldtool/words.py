"""Every word of the field tool, in English and Chinese: a text is a pair with the same fields in braces."""

from collections.abc import Mapping

from meterlink.labels import LABEL, Text

LANGUAGES = ("en", "zh")

# Registers of the blocks `ident` and `hot`, and fields of reports, by their names in meterlink.
FIELD: Mapping[str, Text] = {
    "meter": ("Meter", "表号"),
    "account_epoch": ("Account epoch", "账户批次"),
    "tag_key_version": ("Key version", "密钥版本"),
    "board_class": ("Board", "板型"),
    "firmware": ("Firmware", "固件版本"),
    "legal_version": ("Legally relevant part", "法定计量部分版本"),
    "map_version": ("Register map", "寄存器表版本"),
    "imp_per_kwh": ("Meter constant", "电表常数"),
    "interval_minutes": ("Interval", "曲线周期"),
    "currency": ("Currency", "币种"),
    "log_id": ("Record log", "记录日志号"),
    "boot": ("Starts", "启动次数"),
    "unclean_starts": ("Starts after a sudden power cut", "意外断电启动次数"),
    "time_s": ("Meter time", "电表时间"),
    "clock": ("Clock", "时钟"),
    "control": ("Meant to be", "控制状态"),
    "contact": ("Contact", "触点"),
    "diagnosis": ("Diagnosis", "诊断"),
    "pending": ("Armed", "待执行操作"),
    "due_s": ("Due", "执行时间"),
    "holds": ("Holds", "停电指令"),
    "causes": ("The meter's own causes", "电表自身原因"),
    "alarms": ("Alarms", "告警"),
    "load_ma": ("Load current", "负荷电流"),
    "no_load_s": ("Without load for", "无负荷时长"),
    "voltage_dv": ("Voltage", "电压"),
    "power_w": ("Power", "功率"),
    "import_wh": ("Imported energy", "正向电量"),
    "export_wh": ("Exported energy", "反向电量"),
    "balance_uc": ("Balance", "余额"),
    "credited_uc": ("+ credited", "+ 累计充值"),
    "earned_uc": ("+ earned by export", "+ 上网收入"),
    "refunded_uc": ("- refunded", "- 累计退费"),
    "adjusted_uc": ("- adjusted", "- 调整"),
    "charged_uc": ("- charged for energy", "- 电费"),
    "waiting_uc": ("Waiting above the limit", "超限待入账"),
    "rate": ("Rate in force", "当前费率"),
    "price_uc_per_kwh": ("Price", "当前电价"),
    "tariff_signing_epoch": ("Tariff's signing epoch", "电价签发批次"),
    "tariff_version": ("Tariff version", "电价版本"),
    "mode": ("Fee control", "费控模式"),
    "until_wh": ("Covered up to the register", "供电保障至示数"),
    "interval_oldest": ("Oldest interval", "最早曲线序号"),
    "interval_newest": ("Newest interval", "最新曲线序号"),
    "event_oldest": ("Oldest event", "最早事件序号"),
    "event_newest": ("Newest event", "最新事件序号"),
    "latches": ("Latched alarms", "锁存告警"),
    "typed_count": ("Entries since the start", "启动后输入次数"),
    "typed_result": ("Last entry", "最近一次输入"),
    "typed_uc": ("Credited by typed tokens", "代码累计充值"),
    "lockout_s": ("Locked for", "锁定剩余"),
    "sections": ("Sections of a key change", "已存密钥更换段"),
    "supply_group": ("Supply group", "供电组代码"),
    "key_type": ("Key type", "密钥类型"),
    "tariff_index": ("Tariff index", "费率索引"),
    "key_revision": ("Key revision", "密钥修订号"),
    "key_expiry": ("Key expiry number", "密钥有效期号"),
    "base_date": ("Base date", "基准日期"),
    "power_limit_w": ("Maximum power", "最大功率限值"),
    "kind": ("Kind", "类别"),
    "counter": ("Report number", "报告序号"),
    "aspect": ("Subject", "主题"),
    "selector": ("Selector", "选择项"),
    "signing_epoch": ("Signing epoch held", "签发批次"),
    "version": ("Version held", "版本"),
    "digest": ("Order held", "指令摘要"),
    "result": ("Last result", "最近结果"),
    "source_credited_uc": ("Credited by the source", "该来源累计充值"),
    "source_refunded_uc": ("Refunded by the source", "该来源累计退费"),
    "line": ("Bus", "总线参数"),
    "frames": ("Good frames", "正确帧"),
    "requests": ("of them for this meter", "其中发给本表"),
    "foreign_frames": ("of them for and of others", "其中其他设备"),
    "broadcasts": ("of them for all", "其中广播"),
    "bad_frames": ("Damaged frames", "错误帧"),
    "overruns": ("of them too long", "其中超长"),
    "bus_heard_s": ("Read over the bus", "总线最近抄读"),
    "tcp_heard_s": ("Read over Modbus TCP", "Modbus TCP 最近抄读"),
    "mqtt_heard_s": ("Heard from the broker", "最近收到 MQTT"),
    "mqtt_state": ("Uplink", "上行连接"),
}

# Headings of `read` and the fields under each.
SECTIONS: tuple[tuple[Text, str, tuple[str, ...]], ...] = (
    (
        ("Identification", "标识"),
        "ident",
        (
            "meter", "account_epoch", "tag_key_version", "board_class", "firmware", "legal_version", "map_version",
            "imp_per_kwh", "interval_minutes", "currency", "log_id", "boot",
        ),
    ),
    (
        ("Supply", "供电"),
        "hot",
        (
            "control", "contact", "diagnosis", "pending", "due_s", "holds", "causes", "alarms", "latches", "load_ma",
            "no_load_s",
        ),
    ),
    (("Measured", "测量"), "hot", ("voltage_dv", "power_w", "import_wh", "export_wh")),
    (
        ("Money", "金额"),
        "hot",
        (
            "balance_uc", "credited_uc", "earned_uc", "refunded_uc", "adjusted_uc", "charged_uc", "waiting_uc", "rate",
            "price_uc_per_kwh", "tariff_signing_epoch", "tariff_version", "mode", "until_wh",
        ),
    ),
    (
        ("Typed tokens", "代码输入"),
        "token",
        (
            "typed_result", "typed_count", "lockout_s", "typed_uc", "sections", "supply_group", "key_type",
            "tariff_index", "key_revision", "key_expiry", "base_date", "power_limit_w",
        ),
    ),
    (
        ("Clock and records", "时钟与记录"),
        "hot",
        ("time_s", "clock", "interval_oldest", "interval_newest", "event_oldest", "event_newest", "unclean_starts"),
    ),
)  # fmt: skip

# Words for codes: those of the protocol, and for what can happen on a line.
CODE: Mapping[str, Mapping[str, Text]] = {
    **LABEL,
    "section": {str(n): (str(n), str(n)) for n in range(1, 5)},
    "key_type": {
        "ditk": ("initial", "初始密钥"),
        "ddtk": ("default of the group", "组默认密钥"),
        "dutk": ("unique to the meter", "本表唯一密钥"),
        "dctk": ("common to the group", "组公共密钥"),
    },
    "parity": {"none": ("no parity", "无校验"), "even": ("even parity", "偶校验"), "odd": ("odd parity", "奇校验")},
    "uplink": {"none": ("none", "无"), "down": ("down", "断开"), "up": ("up", "已连接")},
    "region": {
        "journal": ("journal", "账本"),
        "intervals": ("intervals", "曲线"),
        "events": ("events", "事件"),
        "nuisance": ("nuisance events", "滋扰事件"),
        "switches": ("switches", "开合闸记录"),
        "topups": ("top-ups", "充值记录"),
        "daily": ("days", "日冻结"),
        "monthly": ("months", "月冻结"),
    },
    "load": {
        "household": ("a household, 3500 kWh a year", "居民，每年 3500 kWh"),
        "full": ("60 A without end", "持续 60 A"),
    },
    "outcome": {
        "unreachable": ("cannot be opened", "无法打开端口"),
        "lost": ("connection lost", "连接中断"),
        "silent": ("no answer", "没有应答"),
        "garbled": ("garbled answer", "应答错乱"),
        "refused": ("the device refuses", "设备拒绝"),
        "foreign": ("answer to something else", "应答不匹配"),
        "strange": ("no openprepay meter, or another version", "不是本系统电表或版本不同"),
        "torn": ("the block changed while it was read", "读取时数据变化"),
        "stale": ("answer to an earlier question", "应答过期"),
        "damaged": ("damaged record", "记录损坏"),
        "other_meter": ("another meter", "表号不符"),
        "busy": ("busy", "忙"),
        "resting": ("silent, rests for a while", "多次无应答，暂停轮询"),
    },
}

SAY: Mapping[str, Text] = {
    "join": (", ", "、"),
    "none": ("none", "无"),
    "not_measured": ("not measured", "未测量"),
    "seconds": ("{count} s", "{count} 秒"),
    "or_more": ("{value} or more", "{value}以上"),
    "on": ("Supply is on.", "供电正常。"),
    "on_but": ("Supply is on: {why}.", "供电中：{why}。"),
    "on_against": ("The contact is closed although supply is to be off: {why}.", "应断电而触点闭合：{why}。"),
    "off": ("Supply is off: {why}.", "已停电：{why}。"),
    "unsensed": (
        "The contact cannot be sensed; supply is meant to be {control}: {why}.",
        "触点状态未知，控制状态为{control}：{why}。",
    ),
    "hold": ("held for {reason}", "因{reason}停电"),
    "protected": ("protected against being switched off", "保电"),
    "closing": ("it closes at {time} UTC", "将于 {time} UTC 合闸"),
    "tripping": ("it goes off at {time} UTC", "将于 {time} UTC 跳闸"),
    "waits": ("it waits for the customer's key", "等待用户按键合闸"),
    "no_reason": ("no reason is shown", "未显示原因"),
    "alarms": ("Alarms: {alarms}.", "告警：{alarms}。"),
    "uncommissioned": (
        "The meter is not commissioned: it has no number and no key, and keeps no intervals.",
        "电表未投运：无表号、无密钥、不记录曲线。",
    ),
    "progress": ("{done} of {total} records", "已读 {done} / {total} 条"),
    "no_records": ("The meter holds no such records.", "电表没有该类记录。"),
    "held": (
        "The meter holds {oldest} to {newest}; {first} to {last} was asked.",
        "电表保存 {oldest} 至 {newest}；要求读取 {first} 至 {last}。",
    ),
    "whole": (
        "{count} records, {first} to {last}, without a gap; each CRC and number is right.",
        "{count} 条记录，{first} 至 {last}，无缺失；校验与序号均正确。",
    ),
    "gap": ("Missing: {first} to {last}.", "缺失：{first} 至 {last}。"),
    "counted": ("{count} records read, {missing} missing.", "读取 {count} 条，缺失 {missing} 条。"),
    "mac_genuine": ("The MAC of each of {count} batches is genuine.", "{count} 个批次的 MAC 均有效。"),
    "mac_wrong": (
        "The MAC of {wrong} of {count} batches is NOT genuine.",
        "{count} 个批次中 {wrong} 个 MAC 无效！",
    ),
    "unchecked": (
        "Not checked for being genuine: that takes the meter's key (--key-file).",
        "未验证真伪：需要电表密钥（--key-file）。",
    ),
    "written": ("Written to {file}.", "已写入 {file}。"),
    "wear_load": (
        "{load}: {energy} kWh a day, intervals of {minutes} min, {cycles} erases of a sector",
        "{load}：每日 {energy} kWh，曲线周期 {minutes} 分钟，扇区擦除 {cycles} 次",
    ),
    "wear_least": ("It lasts {years} years; {design} are promised.", "可用 {years} 年；承诺 {design} 年。"),
    "wear_less": (
        "It lasts {years} years, less than the {design} that are promised.",
        "可用 {years} 年，不足承诺的 {design} 年。",
    ),
    "unauthenticated": (
        "These records carry a CRC and no MAC: they are as genuine as the line is.",
        "此类记录只有校验码，没有 MAC：真实性取决于线路。",
    ),
    "order_states": ("States", "内容"),
    "order_meter": ("For meter", "表号"),
    "order_epoch": ("Account epoch", "账户批次"),
    "order_key": ("Signed by", "签名密钥"),
    "order_version": ("Version", "版本"),
    "order_issued": ("Stated at", "签发时间"),
    "order_until": ("Last second", "有效期至"),
    "order_for_ever": ("does not expire", "长期有效"),
    "order_digest": ("Digest", "摘要"),
    "key": ("{role}, version {version}", "{role}，版本 {version}"),
    "of_epoch": ("{version} of signing epoch {epoch}", "{version}（签发批次 {epoch}）"),
    "credit": (
        "source {source} has credited {credited} and refunded {refunded} in total",
        "来源 {source} 累计充值 {credited}，累计退费 {refunded}",
    ),
    "sale": ("a sale of {amount}, to a total of {total}", "一笔 {amount}，累计至 {total}"),
    "supply_hold": ("off, for {reason}; delay {delay}", "因{reason}停电；延时 {delay}"),
    "supply_release": (
        "{reason} is released; {close}, spread over {spread}",
        "解除{reason}；{close}，随机分散 {spread}",
    ),
    "close_permit": ("the customer closes at the meter", "由用户在表上合闸"),
    "close_direct": ("the meter closes by itself", "电表自动合闸"),
    "by_limits": ("as its limits say", "按限值设定"),
    "tariff": ("prices per kWh {prices}, from {start}", "每千瓦时电价 {prices}，生效 {start}"),
    "at_once": ("at once", "立即"),
    "slots": ("by local time (UTC{offset}): {slots}", "按当地时间（UTC{offset}）：{slots}"),
    "step": ("beyond {kwh} kWh {prices}", "超过 {kwh} 千瓦时后 {prices}"),
    "step_month": ("steps by the consumption of the month", "按月用电量阶梯"),
    "step_year": ("steps by the consumption of the year from month {month} on", "按年用电量阶梯，自 {month} 月起"),
    "export_prices": ("export earns {prices} per kWh", "上网电价每千瓦时 {prices}"),
    "charge_day": ("{amount} a day", "每日 {amount}"),
    "charge_month": ("{amount} a month", "每月 {amount}"),
    "day_type": ("days of type {number}: {slots}", "日类型 {number}：{slots}"),
    "season": ("from {first} on Monday .. Sunday are of type {week}", "自 {first} 起周一至周日的日类型 {week}"),
    "special_day": ("{date} is of type {number}", "{date} 为日类型 {number}"),
    "friendly_day": ("{date} is of type {number} and friendly", "{date} 为日类型 {number}，友好日"),
    "offset_from": ("from {time} UTC on local time is UTC{offset}", "自 {time}（UTC）起当地时间为 UTC{offset}"),
    "unknown_time_rate": ("while the time is not known rate {rate}", "时间未知时用费率 {rate}"),
    "limits": (
        "alarms at {alarm} and {alarm2}; trip delay {trip}, dwell {dwell}, spread {spread}, stable {stable}; {current}",
        "告警金额 {alarm}、{alarm2}；跳闸延时 {trip}，最短间隔 {dwell}，分散 {spread}，供电稳定 {stable}；{current}",
    ),
    "current_limit": ("current limit {amperes} A", "电流限值 {amperes} A"),
    "no_limit": ("no current limit", "无电流限值"),
    "credit_limit": (
        "credit above a balance of {amount} waits, a typed token above it is refused",
        "余额超过 {amount} 的充值待入账，代码充值则拒绝",
    ),
    "emergency": (
        "emergency credit of {amount}, offered at {threshold} or below",
        "应急金额 {amount}，余额不高于 {threshold} 时可启用",
    ),
    "overdraft": ("overdraft down to {amount} below zero", "透支限额 {amount}"),
    "min_close": ("closes again from {amount} on", "合闸最低余额 {amount}"),
    "settles": ("a top-up pays {order}", "充值结算：{order}"),
    "rule_reminder": (
        "trips once at the second alarm, the key held for 3 s restores it",
        "二级告警提示跳闸一次，长按 3 秒恢复",
    ),
    "rule_suspend": (
        "debts by time and standing charges accumulate while emergency credit is in use",
        "使用应急金额期间，按时扣款与固定费用累计待扣",
    ),
    "friendly_hours": (
        "no trip for want of credit from {begin} to {end} on {days}",
        "{days} {begin} 至 {end} 欠费不跳闸",
    ),
    "friendly_special": ("nor on the tariff's friendly special days", "电价规定的友好特殊日欠费不跳闸"),
    "supply_mode": ("mode {mode} of disconnect control", "断路控制模式 {mode}"),
    "over_voltage": ("off above {volts} V for {seconds} s", "电压高于 {volts} V 持续 {seconds} 秒断电"),
    "under_voltage": ("off below {volts} V for {seconds} s", "电压低于 {volts} V 持续 {seconds} 秒断电"),
    "max_temperature": ("off above {celsius} °C", "高于 {celsius} °C 断电"),
    "overload_step": ("off above {amperes} A for {seconds} s", "电流高于 {amperes} A 持续 {seconds} 秒断电"),
    "debt": (
        "debt {number}: {placed} placed, {withdrawn} withdrawn in all",
        "欠款 {number}：累计转入 {placed}，累计撤回 {withdrawn}",
    ),
    "debt_share": ("{percent} % of each top-up", "每次充值扣 {percent} %"),
    "debt_cap": ("at most {amount} {period}", "{period}最多 {amount}"),
    "debt_time": ("{amount} {period}", "{period} {amount}"),
    "day": ("a day", "每日"),
    "week": ("a week", "每周"),
    "month": ("a month", "每月"),
    "load_step": ("from {time} UTC at most {watts} W", "自 {time}（UTC）起不超过 {watts} W"),
    "load_free": ("from {time} UTC no limit", "自 {time}（UTC）起不限"),
    "load_ends": ("no limit of the load", "取消负荷限值"),
    "typed_cap": ("typed tokens up to {amount} in 30 days", "30 天内代码充值不超过 {amount}"),
    "source_closed": ("these totals are final: the source is closed", "为最终累计值：该来源关闭"),
    "token_replaced": (
        "in place of the typed token {tid} of key revision {revision}",
        "替代密钥版本 {revision} 的代码 {tid}",
    ),
    "allowance": ("supply up to a register of {kwh} kWh; balance {balance}", "供电至示数 {kwh} kWh；余额 {balance}"),
    "grace": ("then a grace of {kwh} kWh or {time}", "随后宽限 {kwh} kWh 或 {time}"),
    "adjusted": ("charged by the head end in all: {amount}", "主站累计计费 {amount}"),
    "cleared": ("{latches} cleared, as far as set up to event {event}", "清除{latches}（事件 {event} 及以前）"),
    "tag_keys": ("the meter's own keys are versions {versions}, the first in use", "电表密钥版本 {versions}，首个启用"),
    "decoder_key": (
        "decoder key of supply group {group}, revision {revision}, tariff index {tariff}",
        "代码密钥：供电组 {group}，版本 {revision}，费率索引 {tariff}",
    ),
    "firmware": (
        "run version {version} (legal part {legal}): {length} bytes, SHA-256 {sha256}",
        "运行版本 {version}（法制部分 {legal}）：{length} 字节，SHA-256 {sha256}",
    ),
    "account_opened": (
        "a new account is open: {cause}; holds that stay: {holds}",
        "开户：{cause}；保留停电指令：{holds}",
    ),
    "account_closed": ("the account is closed for good: {cause}", "销户：{cause}"),
    "recovered": (
        "go on from a balance of {balance} and {kwh} kWh; {sources} credit sources",
        "恢复余额 {balance}，示数 {kwh} kWh；充值来源 {sources} 个",
    ),
    "apart": (
        "a body of {length} bytes that travels apart, SHA-256 {sha256}",
        "正文另传：{length} 字节，SHA-256 {sha256}",
    ),
    "clock": ("it is {time} UTC", "时间为 {time} UTC"),
    "bytes": ("{count} bytes {hex}", "{count} 字节 {hex}"),
    "other_meter": (
        "The order is for meter {wanted}, and meter {found} answers here: nothing was sent.",
        "指令属于表 {wanted}，当前电表为 {found}：未发送。",
    ),
    "sent": ("Handed over; waiting for the verdict.", "已送达，等待判定。"),
    "typed_says": ("The meter says: {result}", "电表应答：{result}"),
    "typed_credited": ("Credited: {amount}. Balance: {balance}.", "入账：{amount}。余额：{balance}。"),
    "typed_locked": ("It takes the next entry in {seconds} s.", "{seconds} 秒后可再次输入。"),
    "typed_sections": ("Sections still to be typed: {sections}.", "仍需输入的段：{sections}。"),
    "typed_elsewhere": (
        "This line takes no tokens: type it at the keypad, or connect to the meter's service port.",
        "此线路不接受代码：请在键盘输入，或连接电表服务口。",
    ),
    "line": (
        "address {address}, {baud} bit/s, {parity}, stop bits: {stop}",
        "地址 {address}，{baud} bit/s，{parity}，停止位 {stop}",
    ),
    "uplink": ("{state}; connections: {count}", "{state}；连接次数 {count}"),
    "line_trial": (
        "On trial: unless the meter is asked over its bus within {seconds} s, it goes back to {former}.",
        "试用中：{seconds} 秒内总线上未收到对本表的请求，则恢复为 {former}。",
    ),
    "line_elsewhere": (
        "A bus is not set from the bus: connect to the meter's service port.",
        "不能通过总线修改总线参数：请连接电表服务口。",
    ),
    "verdict": ("The meter says: {verdict}", "电表判定：{verdict}"),
    "no_verdict": ("The meter holds it; no verdict: {why}", "电表已收到，没有判定：{why}"),
    "genuine": (
        "Genuine: made with the meter's key, for the question just asked.",
        "真实：由电表密钥生成，应答本次询问。",
    ),
    "not_genuine": ("NOT genuine: {why}.", "不真实：{why}。"),
    "balances": ("The money adds up.", "金额平衡。"),
    "does_not_balance": ("The money does NOT add up.", "金额不平衡！"),
    "image": ("Image", "映像"),
    "sending": ("{done} of {of} pieces, {percent} %", "已发送 {done} / {of}，{percent} %"),
    "update_state": ("The meter says: update {state}.", "电表状态：升级{state}。"),
    "still_waiting": (
        "Not done after {seconds} s; the meter goes on by itself.",
        "{seconds} 秒内未完成，电表将继续自行处理。",
    ),
    "scanning": ("unit {unit} of {units}", "地址 {unit} / {units}"),
    "found_meter": (
        "unit {unit}: meter {meter}, firmware {firmware}, {board}",
        "地址 {unit}：表 {meter}，固件 {firmware}，{board}",
    ),
    "found_new": (
        "unit {unit}: a meter not commissioned yet, firmware {firmware}",
        "地址 {unit}：未投运电表，固件 {firmware}",
    ),
    "found_other": ("unit {unit}: something answers ({why})", "地址 {unit}：有应答（{why}）"),
    "found": ("{count} found in units {first} to {last}.", "地址 {first} 至 {last} 共发现 {count} 个。"),
    "failed": ("{detail}", "{outcome}：{detail}"),
}

# Columns of tables and of the CSV header.
INTERVAL_COLUMNS = (
    "seq", "start_utc", "minutes", "import_wh", "export_wh", "import_reg_wh", "export_reg_wh", "flags",
)  # fmt: skip
EVENT_COLUMNS = ("seq", "time_utc", "code", "event", "boot", "import_reg_wh", "argument", "detail", "about")
SWITCH_COLUMNS = (
    "seq", "time_utc", "relay", "who", "signing_epoch", "version", "import_wh", "export_wh", "balance", "operations",
)  # fmt: skip
TOPUP_COLUMNS = (
    "seq", "time_utc", "source", "account_epoch", "tid", "amount", "total", "paid", "lifted", "waiting", "balance",
    "import_reg_wh",
)  # fmt: skip
FREEZE_COLUMNS = (
    "seq", "day", "time_utc", "flags", "import_wh", "export_wh", "import_rates_wh", "export_rates_wh", "balance",
    "charged", "credited", "earned", "demand_w", "demand_utc", "account_epoch",
)  # fmt: skip
WEAR_COLUMNS = ("region", "sectors", "records_a_day", "bytes_a_day", "erases_a_year", "years")
COLUMN: Mapping[str, Text] = {
    "relay": ("relay", "继电器"),
    "who": ("for", "原因"),
    "signing_epoch": ("signing epoch", "签发批次"),
    "version": ("version", "版本"),
    "operations": ("operations", "动作次数"),
    "source": ("source", "来源"),
    "account_epoch": ("account", "账户批次"),
    "tid": ("token", "代码标识"),
    "amount": ("amount", "金额"),
    "total": ("source's total", "来源累计"),
    "paid": ("debts and dues", "偿还欠款"),
    "lifted": ("below zero", "补足透支"),
    "waiting": ("waits", "超限待入账"),
    "day": ("local day", "当地日期"),
    "import_rates_wh": ("import by rate", "各费率正向"),
    "export_rates_wh": ("export by rate", "各费率反向"),
    "charged": ("charged", "累计电费"),
    "credited": ("credited", "累计充值"),
    "earned": ("earned", "上网收入"),
    "demand_w": ("highest W", "最大需量 W"),
    "demand_utc": ("from (UTC)", "需量开始 (UTC)"),
    "region": ("region", "区域"),
    "sectors": ("sectors", "扇区"),
    "records_a_day": ("records a day", "每日记录"),
    "bytes_a_day": ("bytes a day", "每日字节"),
    "erases_a_year": ("erases a year", "每年擦除"),
    "years": ("years", "年限"),
    "seq": ("number", "序号"),
    "start_utc": ("from (UTC)", "开始 (UTC)"),
    "time_utc": ("time (UTC)", "时间 (UTC)"),
    "minutes": ("min", "分钟"),
    "import_wh": ("import Wh", "正向 Wh"),
    "export_wh": ("export Wh", "反向 Wh"),
    "import_reg_wh": ("register Wh", "示数 Wh"),
    "export_reg_wh": ("export register", "反向示数"),
    "flags": ("flags", "标志"),
    "code": ("code", "代码"),
    "event": ("event", "事件"),
    "boot": ("start", "启动"),
    "argument": ("argument", "参数"),
    "detail": ("detail", "细节"),
    "about": ("about", "说明"),
    "power": ("power", "功率"),
    "current": ("current", "电流"),
    "voltage": ("voltage", "电压"),
    "balance": ("balance", "余额"),
    "supply": ("supply", "供电"),
    "alarms": ("alarms", "告警"),
}


class Words:
    """The texts of one language, "en" or "zh"."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._which = LANGUAGES.index(language)

    def pick(self, text: Text) -> str:
        return text[self._which]

    def say(self, key: str, **fields: object) -> str:
        """A text of `SAY`, with its fields."""
        return SAY[key][self._which].format(**fields)

    def field(self, name: str) -> str:
        """The label of a register or report field; its own name where it has none."""
        return FIELD[name][self._which] if name in FIELD else name

    def column(self, name: str) -> str:
        return COLUMN[name][self._which]

    def code(self, table: str, name: str) -> str:
        """The word for a code's name; the name itself where this version has none."""
        text = CODE[table].get(name)
        return name.replace("_", " ") if text is None else text[self._which]

    def join(self, parts: list[str]) -> str:
        """A list for people; "none" for an empty one."""
        return self.say("join").join(parts) if parts else self.say("none")


def language_of(environment: Mapping[str, str]) -> str:
    """The language that the environment asks for (LC_ALL, LC_MESSAGES, LANG; POSIX 8.2): Chinese, else English."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = environment.get(name, "")
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"
