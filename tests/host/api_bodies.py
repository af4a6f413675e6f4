"""Bodies that a schema cannot make: values that fit each other, or the state of what is seeded.

Operation -> bodies to try, in turn. A walk (`api_walk.Walk`) gives ids that it has learnt.
"""

import base64
import itertools
from collections.abc import Callable
from typing import Any

from headend.access import totp
from headend.registry import kinds
from meterlink.image import Manifest
from tests.host.people_rig import PASSWORD

_count = itertools.count(1)

TARIFF = {"prices": ["0.52"]}
LIMITS = {"alarm": "10", "alarm2": "5", "trip_delay_s": 900, "dwell_s": 60, "spread_s": 300, "stable_s": 10}
DAY = "2027-01-14"  # the day before that of the tests' clock
NEW_PASSWORD = "quite another 密码 than before"
BUS = "tcp://10.0.0.8:502?unit=1"
IMAGE = bytes(64) + Manifest((0, 2, 0), 1, 2, "unix", bytes(32)).pack()
DOCUMENT = {"name": "notice.pdf", "sha256": "ab" * 32}

# What ends things that others need comes last, in this order.
LAST = (
    "write_off_order",
    "cancel_order",
    "refuse_proposal",
    "withdraw_proposal",
    "end_holder",
    "erase_person",
    "end_exclusion",
    "exchange",
    "retire",
    "remove_meter",
    "scrap_meter",
    "end_point",
    "end_node",
    "recover_meter",
    "delete_grant",
    "put_rule",
    "put_freeze",
    "lift_freeze",
    "close_channel",
    "reset_user",
    "put_user",
    "put_my_password",
    "begin_session",
    "end_session",
)


def one_of(walk: Any, name: str, default: Any = None) -> Any:
    held = walk.known.get(name)
    return held[-1] if held else default


def _request(**fields: Any) -> dict[str, Any]:
    return {"request_id": f"r-{next(_count)}", **fields}


def _code(walk: Any) -> str:
    text = one_of(walk, "secret", "AAAAAAAA")
    secret = base64.b32decode(text + "=" * (-len(text) % 8))
    return totp.hotp(secret, walk.site.clock.now_s() // totp.STEP_S)


def _fee(walk: Any) -> dict[str, Any]:
    return {"customer_class": "resident", "from_day": "2027-03-01", "year_ppm": 1000, "later_ppm": 2000}


BODIES: dict[str, Callable[[Any], list[Any]]] = {
    "take_payment": lambda walk: [
        {"payment_id": f"p-{next(_count)}", "meter": meter, "amount": "30.00", "receipt": True}
        for meter in ("17", "18", "19")
    ],
    "post_meter": lambda walk: [
        {"meter": f"{900 + next(_count)}", "carrier": "mqtt", "tariff": TARIFF, "limits": LIMITS}
    ],
    "change_meter_link": lambda walk: [{"carrier": "mqtt"}, {"carrier": "modbus", "address": BUS, "new_bus": True}],
    "add_image": lambda walk: [{"image": base64.b64encode(IMAGE).decode()}],
    "withdraw_image": lambda walk: [{"why": "a fault"}],
    "make_campaign": lambda walk: [{"kind": "clock", "why": "as every spring", "area": ""}],
    "put_tariff": lambda walk: [TARIFF],
    "put_limits": lambda walk: [LIMITS],
    "disconnect": lambda walk: [{"reason": "customer_request"}],
    "connect": lambda walk: [{"reason": "customer_request", "close": "permit"}],
    "exchange": lambda walk: [{"new_meter": "22"}],
    "write_off_order": lambda walk: [{"note": "the meter burnt down"}],
    "put_decoder": lambda walk: [{"supply_group": 123457}],
    "vend_token": lambda walk: [{"payment_id": f"t-{next(_count)}", "amount": "5.0"} for _ in range(2)],
    "vend_batch": lambda walk: [{"lines": [{"payment_id": f"t-{next(_count)}", "meter": "17", "amount": "5.0"}]}],
    "help_token": lambda walk: [_request(kind="release", reason="link down")],
    "engineering_tokens": lambda walk: [_request(kind="clear_tamper", reason="looked after")],
    "post_proposal": lambda walk: [
        {"kind": "limits", "meters": ["18", "19"], "limits": LIMITS, "why": "new limits"},
        {"kind": "stop", "meters": ["18", "19"], "reason": "arrears", "why": "in arrears"},
    ],
    "post_policy": lambda walk: [{"rules": {}, "why": "as by default"}],
    "begin_session": lambda walk: [{"user": name, "password": PASSWORD} for name in ("guest", "boss")],
    "put_my_password": lambda walk: [{"old_password": PASSWORD, "new_password": NEW_PASSWORD}],
    "confirm_factor": lambda walk: [{"code": _code(walk)}],
    "drop_factor": lambda walk: [{"password": PASSWORD}],
    "post_user": lambda walk: [{"user": f"new.{next(_count)}"}],
    "put_user": lambda walk: [{"state": "active", "language": "zh"}],
    "post_grant": lambda walk: [{"role": "viewer", "area": f"north/f-{next(_count)}"}],
    "put_rule": lambda walk: [{"value": 900}],
    "post_channel": lambda walk: [{"channel": f"bank-{next(_count)}", "scopes": ["payments"], "max_payment": "500"}],
    "put_channel": lambda walk: [{"scopes": ["payments"], "max_payment": "700"}],
    "ask_refund": lambda walk: [_request(amount="1.00", why="moved out")],
    "ask_reversal": lambda walk: [
        _request(payment_id=one, why="wrong amount") for one in walk.known.get("payment_id", ["x"])
    ],
    "ask_transfer": lambda walk: [
        _request(payment_id=one, to_meter="20", why="wrong meter") for one in walk.known.get("payment_id", ["x"])
    ],
    "post_bill": lambda walk: [
        {
            "reference": f"b-{next(_count)}",
            "lines": [{"kind": "energy", "amount": "80.00"}],
            "notice_s": walk.site.clock.now_s(),
            "due_s": walk.site.clock.now_s() + 30 * 86_400,
        }
    ],
    "post_late_fee": lambda walk: [_fee(walk)],
    "post_share": lambda walk: [{"share_ppm": 300_000}],
    "post_tax": lambda walk: [{"name": "vat", "ppm": 130_000, "mode": "included"}],
    "put_zone": lambda walk: [{"name": "Asia/Shanghai"}],
    "post_receipt": lambda walk: [{"payment_id": one} for one in walk.known.get("payment_id", ["x"])],
    "put_invoice": lambda walk: [{"invoice": f"{next(_count):08d}"}],
    "put_channel_limits": lambda walk: [{"kind": "bank"}],
    "post_hand_over": lambda walk: [_request(amount="10.00")],
    "put_settlement": lambda walk: [
        {"count": 1, "sum": "30.00", "payments": [{"payment_id": "nowhere", "amount": "30.00"}]}
    ],
    "deal_with_difference": lambda walk: [
        {"channel": name, "day": DAY, "payment_id": "nowhere", "note": "asked the bank"}
        for name in ("desk.boss", "all")
    ],
    "post_exclusion": lambda walk: [
        {"kind": kind, "reference": "file 17"} for kind in ("many_households", "direct_debit")
    ],
    "extend_exclusion": lambda walk: [{"until_s": walk.site.clock.now_s() + 86_400 * 60}],
    "prove_exclusion": lambda walk: [
        {"evidence": one, "reference": "file 18", "dated_s": walk.site.clock.now_s() - 60}
        for one in (kinds.AUTHORITY, kinds.SITE_NOTICE)
    ],
    "put_calendar": lambda walk: [{"time_zone": "Asia/Shanghai", "rules": [], "why": "none"}],
    "set_safety_hold": lambda walk: [{"reference": "ticket 5"}],
    "release_safety_hold": lambda walk: [{"reference": "ticket 5, removed"}],
    "put_validation_policy": lambda walk: [
        {"scopes": [{"area": "north", "rules": {"spike": {"severity": "note"}}}], "why": "too many"}
    ],
    "accept_case": lambda walk: [{"reason": "looked at on site"}],
    "reject_case": lambda walk: [{"reason": "a broken input"}],
    "judge_days": lambda walk: [{"first_day": DAY, "last_day": DAY}],
    "close_visit": lambda walk: [{"note": "antenna replaced"}],
    "put_schedule": lambda walk: [{"rules": [{"area": "north", "profile": "daily"}], "why": "long lines"}],
    "post_pause": lambda walk: [{"area": "south", "until_s": walk.site.clock.now_s() + 3600}],
    "post_read": lambda walk: [{"meters": ["17", "18"], "kind": kind} for kind in ("report", "records")],
    "put_area": lambda walk: [{"area": "north/f-1"}],
    "post_node": lambda walk: [{"kind": "substation", "code": f"c-{next(_count)}"}],
    "put_node": lambda walk: [{"title": {"en": "East", "zh": "城东"}}],
    "move_node": lambda walk: [{"code": f"m-{next(_count)}"}],
    "put_point": lambda walk: [{"transformer": one} for one in range(1, 13)],
    "put_type": lambda walk: [
        {"title": {"en": "one", "zh": "单相"}, "carriers": ["mqtt"], "limit_w": 13_200, "firmware": "op"}
    ],
    "import_file": lambda walk: [
        {"file": "grid", "text": "path,kind\nw-1,substation\nw-1/f,feeder\nw-1/f/t,transformer\n", "dry_run": False}
    ],
    **{key: lambda walk: [{"node": one_of(walk, "node", 1)}] for key in ("commission_meter", "relocate_meter")},
    "remove_meter": lambda walk: [{}],
    "scrap_meter": lambda walk: [{}],
    "describe_meter": lambda walk: [{"serial": "SN-1"}],
    "post_person": lambda walk: [{"name": "Zhang San", "phone": "+86 10 5550100"}],
    "put_person": lambda walk: [{"name": "Zhang San", "phone": "+86 10 5550101"}],
    "find_persons": lambda walk: [{"field": "phone", "value": "+86 10 5550100"}],
    "put_holder": lambda walk: [{"person": one_of(walk, "person", "x")}],
}

# Operation -> its query, where one is needed.
QUERIES: dict[str, dict[str, Any]] = {
    "get_quote": {"amount": "50.00"},
    "search_fleet": {"q": "17"},
    "export_file": {"file": "meters"},
    "list_values": {"from_s": 1_799_000_000, "to_s": 1_800_000_000},
}

# Parts of paths that no answer names alone.
PARTS: dict[str, list[Any]] = {
    "day": [DAY],
    "debt": ["1"],
    "exception": ["unknown"],
    "rule": ["overlap_s"],
    "type": ["op-1p"],
    "point": ["GP-1"],
}

# Operation -> where in the fleet it is tried, as others need the same place.
PLACES: dict[str, dict[str, str]] = {
    **{key: {"meter": "18"} for key in ("set_safety_hold", "release_safety_hold")},
    **{key: {"meter": "19"} for key in ("put_holder", "end_holder")},
    **{key: {"meter": "20"} for key in ("exchange", "recover_meter")},
    **{key: {"meter": "20"} for key in ("open_account", "set_mode")},
    **{key: {"meter": "17"} for key in ("ask_refund", "post_bill")},
    "retire": {"meter": "22"},
    **{key: {"meter": "17"} for key in ("engineering_tokens", "put_decoder", "help_token", "vend_token")},
    **{key: {"channel": "pos-1"} for key in ("put_channel_limits", "get_channel_limits")},
    **{key: {"meter": "21"} for key in ("commission_meter", "relocate_meter", "remove_meter", "scrap_meter")},
    **{key: {"user": "guest"} for key in ("post_grant", "delete_grant")},
}
