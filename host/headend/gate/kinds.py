"""The kinds of proposals that the gate itself carries out: one order that waits, a list of meters, its own rules.

A list is one payload for many meters: `{"meters": [17, 18, …], …}` and what is stated to each of them.
"""

from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, func, insert, select

from headend.access.permissions import APPROVE
from headend.gate import admission, freeze, pace, policy, proposals, recall, words
from headend.gate.proposals import KINDS, Kind, Payload
from headend.language import counted_meters
from headend.orders import lifecycle, statements, terms, trust, writing
from headend.orders.stored import stored_report
from headend.refusals import Refused
from headend.store import lock_meter, sql
from headend.store.schema import meter, meter_state
from headend.store.schema_gate import proposal_item
from meterlink import bodies, bodies_root, names, reasons, tariff
from meterlink.labels import LABEL
from meterlink.orders import (
    ASPECT_CLOCK,
    ASPECT_FIRMWARE,
    ASPECT_LIMITS,
    ASPECT_LOAD,
    ASPECT_MODE,
    ASPECT_SUPPLY,
    ASPECT_TARIFF,
)
from meterlink.reports import NO_NONCE

MAX_METERS = 1_000_000
PART = 1_000  # meters of a list that are noted in one transaction: payments wait for it
OF_CAMPAIGN = frozenset({"campaign", "plan", "dry_run"})  # of a list that a campaign carries on (`headend.campaigns`)

_ITEM = insert(proposal_item)
_KNOWN = select(meter.c.meter, meter.c.area).where(meter.c.meter.in_(bindparam("some", expanding=True)))
_AREAS = select(meter.c.area).where(meter.c.meter.between(bindparam("first"), bindparam("last"))).distinct()
_REPORT = select(meter_state.c.report).where(meter_state.c.meter == bindparam("of"))
_LAST = select(func.max(proposal_item.c.meter)).where(proposal_item.c.proposal == bindparam("of"))


# --- one order that waits ---------------------------------------------------------------------------------------------


def _order_begin(conn: Connection, now_s: int, proposal_id: int, payload: Payload, _author: str) -> None:
    item = {"proposal": proposal_id, "meter": payload["meter"], "state": pace.WAITING, "order_id": payload["order"]}
    conn.execute(_ITEM, item)


def _order_approve(conn: Connection, now_s: int, payload: Payload, author: str, approver: str) -> None:
    lock_meter(conn, payload["meter"])
    lifecycle.move(conn, now_s, payload["order"], "approve", f"approved by {approver}")


def _order_go_on(conn: Connection, now_s: int, row: Row[Any]) -> int | None:
    def queue(conn: Connection, now_s: int, item: Row[Any]) -> int:
        writing.queue_approved(conn, now_s, item.order_id)
        return int(item.order_id)

    return pace.queue_some(conn, now_s, row, queue)


def _order_subject(row: Row[Any]) -> tuple[int, int]:
    payload = proposals.parsed(row.payload)
    return payload["aspect"], payload["selector"]


def _order_fields(payload: Payload) -> dict[str, Any]:
    code = names.of(names.ASPECT, payload["aspect"])
    return {"order": payload["order"], "meter": payload["meter"], "aspect": LABEL["aspect"].get(code, (code, code))}


# --- lists ------------------------------------------------------------------------------------------------------------


class Stated(NamedTuple):
    """What a list states to each meter: `state(conn, now_s, meter, payload, author, options)` returns the order's id;
    `check(payload)` raises Refused or OrderError; `keys`: what the payload holds beside `meters` · `gives`: it opens no
    relay, so no budget limits it, and a recall has nothing to give back."""

    aspect: int
    keys: frozenset[str]
    check: Callable[[Payload], object]
    state: Callable[[Connection, int, int, Payload, str, dict[str, Any]], int]
    gives: bool = False


def _check_stop(payload: Payload) -> None:
    reason = payload.get("reason")
    if reason not in range(reasons.HOLD_ARREARS, reasons.HOLD_SAFETY):
        raise Refused("reason", reason, f"{reasons.HOLD_ARREARS}..{reasons.HOLD_SAFETY - 1}: safety is set one by one")
    for field, low, high in (("valid_s", 1, statements.MAX_STOP_S), ("delay_s", 0, bodies.DEFAULT)):
        value = payload.get(field, high)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Refused(field, value, f"{low}..{high}")


def _stop(conn: Connection, now_s: int, number: int, payload: Payload, author: str, options: dict[str, Any]) -> int:
    times = {name: payload[name] for name in ("valid_s", "delay_s") if name in payload}
    return statements.stop(conn, now_s, number, payload["reason"], author, **times, **options)


def _unprotect(conn: Connection, now_s: int, number: int, _: Payload, author: str, options: dict[str, Any]) -> int:
    return statements.unprotect(conn, now_s, number, author, **options)


def _tariff(conn: Connection, now_s: int, number: int, payload: Payload, author: str, options: dict[str, Any]) -> int:
    return statements.set_tariff(conn, now_s, number, tariff.decode(_hex(payload)), author, **options)


def _limits(conn: Connection, now_s: int, number: int, payload: Payload, author: str, options: dict[str, Any]) -> int:
    return statements.set_limits(conn, now_s, number, bodies.decode_limits(_hex(payload)), author, **options)


def _load(conn: Connection, now_s: int, number: int, payload: Payload, author: str, options: dict[str, Any]) -> int:
    return terms.set_load(conn, now_s, number, bodies.decode_load(_hex(payload)), author, **options)


def _connect(conn: Connection, now_s: int, number: int, payload: Payload, author: str, options: dict[str, Any]) -> int:
    how = {"close": payload.get("close", bodies.CLOSE_PERMIT), "spread_s": payload.get("spread_s", bodies.DEFAULT)}
    return statements.release(conn, now_s, number, payload["reason"], author, **{**how, **options})


def _check_connect(payload: Payload) -> None:
    _check_stop({"reason": payload.get("reason")})
    close, spread_s = payload.get("close", bodies.CLOSE_PERMIT), payload.get("spread_s", bodies.DEFAULT)
    if close not in (bodies.CLOSE_PERMIT, bodies.CLOSE_DIRECT):
        raise Refused("close", close, f"{bodies.CLOSE_PERMIT} (the customer closes) or {bodies.CLOSE_DIRECT}")
    if isinstance(spread_s, bool) or not isinstance(spread_s, int) or not 0 <= spread_s <= bodies.DEFAULT:
        raise Refused("spread_s", spread_s, f"0..{bodies.DEFAULT}")


def _firmware(conn: Connection, now_s: int, number: int, payload: Payload, author: str, options: dict[str, Any]) -> int:
    return trust.set_firmware(conn, now_s, number, *bodies_root.decode_firmware(_hex(payload)), author, **options)


def _mode(conn: Connection, now_s: int, number: int, payload: Payload, author: str, options: dict[str, Any]) -> int:
    """The mode again, with its allowance; what was charged in all stays as it is stated."""
    mode, _, *allowance = bodies.decode_mode(_hex(payload))
    told = dict(zip(("until_wh", "balance_uc", "grace_wh", "grace_s"), allowance, strict=True))
    return trust.set_mode(conn, now_s, number, mode, author, **{**told, **options})


def _clock(conn: Connection, now_s: int, number: int, _: Payload, author: str, options: dict[str, Any]) -> int:
    """With the nonce of its newest report a clock may be set however far off it is."""
    raw = conn.execute(_REPORT, {"of": number}).scalar_one()
    report = stored_report(raw)
    nonce = NO_NONCE if report is None else report.fresh
    return statements.set_clock(conn, now_s, number, author, nonce=nonce, **options)


def _hex(payload: Payload) -> bytes:
    try:
        return bytes.fromhex(payload["body"])
    except (KeyError, TypeError, ValueError):
        raise Refused("body", payload.get("body"), "the body of the order, hexadecimal") from None


_BODY = frozenset({"body"})
LISTS: dict[str, Stated] = {
    "stop": Stated(ASPECT_SUPPLY, frozenset({"reason", "valid_s", "delay_s"}), _check_stop, _stop),
    "unprotect": Stated(ASPECT_SUPPLY, frozenset(), lambda _: None, _unprotect),
    "tariff": Stated(ASPECT_TARIFF, _BODY, lambda payload: tariff.decode(_hex(payload)), _tariff),
    "limits": Stated(ASPECT_LIMITS, _BODY, lambda payload: bodies.decode_limits(_hex(payload)), _limits),
    "connect": Stated(ASPECT_SUPPLY, frozenset({"reason", "close", "spread_s"}), _check_connect, _connect, gives=True),
    "firmware": Stated(  # "image": the number of one that a campaign brings before it is ordered
        ASPECT_FIRMWARE,
        _BODY | {"image"},
        lambda payload: bodies_root.decode_firmware(_hex(payload)),
        _firmware,
        gives=True,
    ),
    "mode": Stated(ASPECT_MODE, _BODY, lambda payload: bodies.decode_mode(_hex(payload)), _mode),
    "clock": Stated(ASPECT_CLOCK, frozenset(), lambda _: None, _clock, gives=True),
    "load": Stated(ASPECT_LOAD, _BODY, lambda payload: bodies.decode_load(_hex(payload)), _load),
}


def _list_kind(name: str) -> Kind:
    what = LISTS[name]

    def begin(conn: Connection, now_s: int, proposal_id: int, payload: Payload, _author: str) -> None:
        meters = _meters(payload)
        unknown = sorted(set(payload) - what.keys - {"meters", *OF_CAMPAIGN})
        if unknown:
            raise Refused(unknown[0], payload[unknown[0]], "nothing of that name")
        what.check(payload)
        _note(conn, proposal_id, meters[:PART])
        if len(meters) > PART:
            proposals.change(conn, proposal_id, state=proposals.PREPARING, next_s=now_s)

    def go_on(conn: Connection, now_s: int, row: Row[Any]) -> int | None:
        payload = proposals.parsed(row.payload)
        if row.state == proposals.PREPARING:
            return _prepare(conn, now_s, row, payload["meters"])
        if row.state == proposals.RECALLING:
            return recall.go_on(conn, now_s, row, what.aspect, payload)
        options = {"proposal": row.id, "reason_text": row.why}

        def one(conn: Connection, now_s: int, item: Row[Any], **more: Any) -> int:
            selector = selector_of(name, payload)
            before = admission.before(conn, item.meter, what.aspect, selector)
            pace.set_item(conn, row.id, item.meter, before=before)
            return what.state(conn, now_s, item.meter, payload, row.author, {**options, **more})

        if "campaign" in payload:
            from headend.campaigns import carrying  # which is built on lists

            return carrying.go_on(conn, now_s, row, one, gives=what.gives)
        return pace.queue_some(conn, now_s, row, one, gives=what.gives)

    def subject(row: Row[Any]) -> tuple[int, int]:
        return what.aspect, selector_of(name, proposals.parsed(row.payload))

    def fields(payload: Payload) -> dict[str, Any]:
        code = names.of(names.HOLD, payload["reason"]) if "reason" in payload else ""
        return {"meters": counted_meters(len(payload["meters"])), "reason": LABEL["hold"].get(code, (code, code))}

    return Kind(
        APPROVE,
        lambda *_: None,  # what waits is queued by `go_on`, at its pace
        words.LISTS[name],
        fields,
        begin=begin,
        give_up=pace.give_up,
        go_on=go_on,
        area=_area,
        subject=subject,
    )


def _note(conn: Connection, proposal_id: int, some: list[int]) -> None:
    """Note meters of a list that wait; raises Refused for one that is not of this fleet."""
    known = set(conn.execute(_KNOWN, {"some": some}).scalars())
    for number in some:
        if number not in known:
            raise Refused("meters", number, "numbers of meters of this fleet")
    sql.copy_in(conn, proposal_item, [(proposal_id, number, pace.WAITING, None, None, None, "") for number in some])


def _prepare(conn: Connection, now_s: int, row: Row[Any], meters: list[int]) -> int | None:
    """Note the next meters of a long list; it is open once all are noted, and void where one is not of this fleet."""
    last = conn.execute(_LAST, {"of": row.id}).scalar_one()
    some = meters[bisect_right(meters, last) :][:PART]
    try:
        _note(conn, row.id, some)
    except Refused as refused:
        proposals.change(conn, row.id, state=proposals.VOID, note=str(refused)[: proposals.MAX_WHY])
        return None
    if some and some[-1] < meters[-1]:
        return now_s
    proposals.change(conn, row.id, state=proposals.OPEN)
    expires_s: int = row.expires_s
    return expires_s + 1


def selector_of(name: str, payload: Payload) -> int:
    """The selector of the orders of a list."""
    return reasons.HOLD_PROTECTION if name == "unprotect" else int(payload.get("reason", 0))


def _meters(payload: Payload) -> list[int]:
    meters = payload.get("meters") if isinstance(payload, dict) else None
    if not isinstance(meters, list) or not 1 <= len(meters) <= MAX_METERS:
        raise Refused("meters", meters, f"a list of 1..{MAX_METERS} meters")
    if set(map(type, meters)) != {int}:  # a bool is none
        raise Refused("meters", meters, "numbers of meters")
    for number, after in pairwise(meters) if meters != sorted(set(meters)) else ():
        if after <= number:
            raise Refused("meters", after, f"rising numbers, each once: after {number}")
    return meters


def _area(conn: Connection, payload: Payload) -> str:
    """The path that all meters of a list have in common; of a long one, all from its first to its last."""
    common: list[str] | None = None
    meters = _meters(payload)
    if len(meters) <= PART:
        areas = {row.area for row in conn.execute(_KNOWN, {"some": meters})}
    else:
        areas = set(conn.execute(_AREAS, {"first": meters[0], "last": meters[-1]}).scalars())
    for area in areas:
        path = area.split("/") if area else []
        if common is None:
            common = path
        while common != path[: len(common)]:
            common = common[:-1]
    return "/".join(common or [])


def _order_area(conn: Connection, payload: Payload) -> str:
    return str(conn.execute(_KNOWN, {"some": [payload["meter"]]}).one().area)


# --- the gate's own rules ---------------------------------------------------------------------------------------------


def _policy_begin(_conn: Connection, _now_s: int, _id: int, payload: Payload, _author: str) -> None:
    if not isinstance(payload, dict):
        raise Refused("payload", payload, "the rules, an object")
    policy.read(0, payload)


def _policy(conn: Connection, now_s: int, payload: Payload, author: str, approver: str) -> int:
    return policy.put(conn, now_s, author, payload, f"approved by {approver}")


KINDS["order"] = Kind(
    APPROVE,
    _order_approve,
    words.ORDER,
    _order_fields,
    begin=_order_begin,
    give_up=pace.give_up,
    go_on=_order_go_on,
    area=_order_area,
    subject=_order_subject,
)
KINDS.update({name: _list_kind(name) for name in LISTS})
KINDS["gate_policy"] = Kind(APPROVE, _policy, words.POLICY, begin=_policy_begin)
KINDS["lift_freeze"] = Kind(APPROVE, freeze.carry_out, words.LIFT)
