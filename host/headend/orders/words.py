"""What is said of orders to people, in English and Chinese."""

from collections.abc import Mapping

from meterlink.labels import Text

# States and events of `lifecycle`, beside its tables: what they are called.
STATES: Mapping[str, Text] = {
    "draft": ("draft", "起草"),
    "awaiting_approval": ("awaiting approval", "待审批"),
    "approved": ("approved", "已审批"),
    "queued": ("queued", "排队"),
    "sent": ("sent", "已下发"),
    "unknown": ("unknown", "状态未知"),
    "accepted": ("accepted", "已接受"),
    "confirmed": ("confirmed", "已确认"),
    "refused": ("refused", "已拒绝"),
    "expired": ("expired", "已过期"),
    "cancelled": ("cancelled", "已撤销"),
    "superseded": ("superseded", "已被替代"),
    "failed": ("failed", "失败"),
    "written_off": ("written off", "已核销"),
    "settled": ("settled with its account", "随账户结清"),
}
EVENTS: Mapping[str, Text] = {
    "create": ("stated", "下达"),
    "submit": ("handed in", "提交审批"),
    "approve": ("approved", "批准"),
    "queue": ("released", "进入排队"),
    "cancel": ("withdrawn", "撤销"),
    "send": ("sent", "下发"),
    "lose": ("no answer", "无应答"),
    "accept": ("accepted", "电表接受"),
    "refuse": ("refused", "电表拒绝"),
    "confirm": ("confirmed", "确认执行"),
    "contradict": ("not as wanted", "与要求不符"),
    "expire": ("expired", "过期"),
    "supersede": ("superseded", "被替代"),
    "fail": ("failed", "失败"),
    "write_off": ("written off", "核销"),
    "settle": ("settled", "结清"),
}

# Why supply is off (`why.py`).
WHY: Mapping[str, Text] = {
    "never": ("Not known: the meter has not reported yet.", "未知：电表尚未上报。"),
    "off": ("Off: {causes}.", "停电：{causes}。"),
    "not_open": ("Should be off, and the contact is closed: {causes}.", "应断而未断，触点仍闭合：{causes}。"),
    "unsensed": ("Should be off; the meter cannot sense its contact: {causes}.", "应断电，触点状态未知：{causes}。"),
    "tripping": ("On; goes off at {time}: {causes}.", "供电中，将于 {time} 断开：{causes}。"),
    "join": ("; ", "；"),
    "hold": ("held for {reason}", "因{reason}停电"),
    "hold_by": ("held for {reason} (order {order} by {actor})", "因{reason}停电（指令 {order}，{actor}）"),
    "hold_by_note": (
        "held for {reason} (order {order} by {actor}: “{note}”)",
        "因{reason}停电（指令 {order}，{actor}：“{note}”）",
    ),
    "out_of_credit": ("out of credit, balance {balance}", "余额不足，余额 {balance}"),
    "released": (
        "the release of {reason} is {state} (order {order})",
        "{reason}的复电指令{state}（指令 {order}）",
    ),
    "in_flight": ("{amount} paid are not on the meter yet", "已缴 {amount} 尚未到表"),
    "ready": ("the meter waits for the customer's key", "等待用户在表上按键合闸"),
    "closing": ("it closes at {time}", "将于 {time} 合闸"),
    "failed_to_close": ("the contact did not close", "合闸失败，触点未闭合"),
    "welded": ("the contact is welded", "触点粘连"),
    "bypassed": ("{load_ma} mA flow behind the open contact", "触点断开但仍有 {load_ma} mA 电流"),
    "not_yet": ("the meter has not closed yet", "电表尚未合闸"),
}

# Whether a meter can be disconnected (`why.can_stop`).
CAN_STOP: Mapping[str, Text] = {
    "yes": ("It can be disconnected for {reason} now.", "现在可以因{reason}停电。"),
    "protected": (
        "Not stopped: supply of this meter is protected (order {order} by {actor}); only safety sets it off.",
        "不予停电：该户已保电（指令 {order}，{actor}），仅安全原因可停电。",
    ),
    "held": (
        "It is disconnected for {reason} already (order {order} by {actor}, {state}).",
        "已因{reason}停电（指令 {order}，{actor}，{state}）。",
    ),
    "absent": (
        "The meter is not connected: a stop is not left with a broker, and ends after {minutes} min.",
        "电表离线：停电指令不会滞留在消息服务器，{minutes} 分钟后失效。",
    ),
    "waiting": (
        "A stop for {reason} waits for a second person already (order {order}, proposal {proposal}).",
        "因{reason}停电的指令已在等待审批（指令 {order}，申请 {proposal}）。",
    ),
}
