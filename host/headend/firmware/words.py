"""What is said of firmware, in English and Chinese, and what the audit records of it."""

from collections.abc import Mapping

from headend import audit
from meterlink.labels import Text

AUDIT = {
    "firmware.image_added": ("a firmware image was put in", "导入固件映像"),
    "firmware.image_withdrawn": ("a firmware image was withdrawn", "停用固件映像"),
}
audit.ACTIONS.update(AUDIT)

# Why an image is nothing for a meter. Rule -> sentence.
OTHER_BOARD = "firmware.other_board"
NEWER = "firmware.newer"
ALARM = "firmware.alarm"
BACK = "firmware.rolled_back"
RULES: Mapping[str, Text] = {
    OTHER_BOARD: (
        "The image is for {board}; meters of type {type} take images for {family}.",
        "映像适用于 {board}，型号 {type} 的电表使用 {family}。",
    ),
    NEWER: ("The meter runs release {release}, which is newer.", "电表已运行更新的版本 {release}。"),
    ALARM: ("The meter reports {alarm}: no image passes its self-test.", "电表上报{alarm}，固件自检无法通过。"),
    BACK: (
        "The meter has rolled this image back in campaign {campaign}: {why}.",
        "电表在批量任务 {campaign} 中已回退该映像：{why}。",
    ),
}

# Why the meter went back, as its log tells (detail of the event).
BACK_BY: Mapping[int, Text] = {
    1: ("it did not pass its self-test", "未通过自检"),
    2: ("it was started too often", "启动次数过多"),
}
BACK_OTHERWISE: Text = ("reason {detail}", "原因 {detail}")

PAGE: Mapping[str, Text] = {
    "title": ("Firmware", "固件"),
    "images": ("Images", "固件映像"),
    "release": ("Release", "版本"),
    "board": ("Board", "适用硬件"),
    "sha256": ("SHA-256", "SHA-256"),
    "signed": ("Vendor's signature", "厂商签名"),
    "verified": ("verified", "已验证"),
    "unsigned": ("none", "无"),
    "note": ("Note", "备注"),
    "added": ("Put in", "导入时间"),
    "by": ("By", "导入人"),
    "state": ("State", "状态"),
    "withdrawn": ("withdrawn", "已停用"),
    "deliveries": ("On meters", "下发情况"),
    "failed": ("Refused, rolled back, not brought", "拒绝、回退或未送达"),
    "meter": ("Meter", "电表"),
    "why": ("Why", "原因"),
    "campaign": ("Campaign", "批量任务"),
    "at": ("At", "时间"),
    "none": ("No image was put in yet.", "尚未导入固件映像。"),
    "none_next": (
        "Put one in with “openprepay admin firmware import FILE” or POST /api/v1/firmware/images.",
        "使用“openprepay admin firmware import FILE”或 POST /api/v1/firmware/images 导入，再由批量任务下发。",
    ),
}
