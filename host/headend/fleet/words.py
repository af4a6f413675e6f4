"""What is said of the fleet to people, in English and Chinese, and its audited acts."""

from collections.abc import Mapping

from headend.audit import ACTIONS
from meterlink.labels import Text

KINDS: Mapping[str, Text] = {
    "substation": ("substation", "变电站"),
    "feeder": ("feeder", "线路"),
    "transformer": ("transformer area", "台区"),
}
STATES: Mapping[str, Text] = {
    "in_stock": ("in stock", "在库"),
    "commissioned": ("commissioned", "投运"),
    "removed": ("removed", "已拆除"),
    "retired": ("retired", "报废"),
}
EVENTS: Mapping[str, Text] = {
    "add": ("taken into the fleet", "建档"),
    "commission": ("commissioned", "投运"),
    "relocate": ("moved to another place", "移装"),
    "exchange_in": ("put in the place of another", "换入"),
    "exchange_out": ("exchanged for another", "换出"),
    "remove": ("removed", "拆除"),
    "retire": ("retired", "报废"),
}
IDENTITIES: Mapping[str, Text] = {
    "meter": ("meter number", "表号"),
    "pan": ("PAN of typed tokens", "令牌表号（PAN）"),
    "serial": ("serial number", "出厂编号"),
    "label": ("label", "标签"),
    "address": ("Modbus address", "Modbus 地址"),
    "supply_point": ("supply point", "供电点"),
    "node": ("grid", "电网节点"),
    "holder": ("holder", "户主"),
}

# The page (`web/fleet_page.py`).
PAGE: Mapping[str, Text] = {
    "fleet": ("Fleet", "设备档案"),
    "search_meter": ("Find a meter", "查找电表"),
    "search": ("Search", "查找"),
    "search_hint": (
        "meter, PAN, supply point, serial number, label or address",
        "表号、PAN、供电点、出厂编号、标签或地址",
    ),
    "found": ("Found", "结果"),
    "found_by": ("Found by", "匹配项"),
    "nothing": ("Nothing was found.", "未找到。"),
    "more": ("There is more: type more of it.", "结果过多，请输入更多字符。"),
    "partly": ("Not all labels were looked through; type more of it.", "未能查完全部标签，请输入更多字符。"),
    "place": ("Place", "位置"),
    "kind": ("Kind", "类型"),
    "parts": ("What lies below", "下级"),
    "supply_point": ("Supply point", "供电点"),
    "supply_points": ("Supply points", "供电点"),
    "meters": ("Meters", "电表"),
    "online": ("Online", "在线"),
    "off": ("Off", "停电"),
    "read": ("Read today", "今日已抄"),
    "elsewhere": ("in no part of the grid", "未归入电网"),
    "all": ("whole fleet", "全部"),
    "state": ("State", "状态"),
    "empty": ("No grid is set up yet.", "尚未建立电网台账。"),
    "empty_next": (
        "It comes from files (openprepay fleet import grid …, then points) or through the API (POST /api/v1/grid).",
        "可从文件导入（openprepay fleet import grid …，再导入 points），或通过接口建立（POST /api/v1/grid）。",
    ),
    "nothing_below": ("Nothing stands here yet.", "暂无下级。"),
    "further": ("Further supply points", "更多供电点"),
    "moving": ("{from_path} is being moved to {to_path}.", "{from_path} 正在迁移至 {to_path}。"),
}

# What a swap is told by (`swaps.py`).
SWAPPED: Text = (
    "It and meter {other} fit each other's place better than their own: {reasons}.",
    "与电表 {other} 可能互相装错位置：{reasons}。",
)
REASONS: Mapping[str, Text] = {
    "register": ("registers at commissioning", "投运底度"),
    "use": ("consumption of those before", "以往用电量"),
    "outages": ("outages of the transformers", "台区停电记录"),
    "balance": ("sums of the transformers", "台区供售电量"),
}

ACTIONS.update(
    {
        "grid.add": ("added to the grid", "新增电网节点"),
        "grid.title": ("renamed a part of the grid", "电网节点改名"),
        "grid.move": ("moved a part of the grid", "迁移电网节点"),
        "grid.end": ("took a part of the grid out", "撤销电网节点"),
        "point.add": ("added a supply point", "新增供电点"),
        "point.change": ("changed a supply point", "变更供电点"),
        "point.end": ("took a supply point out", "撤销供电点"),
        "type.put": ("described a meter type", "维护电表型号"),
        "meter.life": ("changed where a meter is in its life", "电表资产状态变更"),
        "meter.describe": ("described a meter", "维护电表资料"),
        "meter.link": ("changed how a meter is reached", "变更电表通信方式或地址"),
        "fleet.import": ("imported a part of the fleet", "导入台账"),
        "fleet.seek": ("sought a meter by its holder", "按户主查找电表"),
    }
)
