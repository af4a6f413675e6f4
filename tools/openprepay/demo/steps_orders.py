"""Orders of the operator, orders that come again, and orders that are forged."""

import os
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from headend.web import words
from meterlink import bodies, names, orders, reasons, results, states
from meterlink.mac import TAG_LENGTH
from meterlink.reports import Report
from openprepay.demo.fleet import MODBUS, MQTT, Point
from openprepay.demo.office import ACCOUNT_EPOCH, TAG_KEY_VERSION
from openprepay.demo.story import TALK, Story
from openprepay.demo.sums import money
from openprepay.demo.tells import stay_off, tell_board
from openprepay.demo.texts import Text

REASON = "customer_request"
_HOLD = reasons.HOLD_CUSTOMER_REQUEST
_STOLEN_UC = 500_000_000

# What of a report no order without effect may change; time and consumption go on.
_KEPT = (
    "account_epoch",
    "credited_uc",
    "earned_uc",
    "refunded_uc",
    "adjusted_uc",
    "source_credited_uc",
    "source_refunded_uc",
    "signing_epoch",
    "version",
    "digest",
    "holds",
    "control",
    "contact",
)
_ANSWER_FROM: dict[str, Text] = {
    MODBUS: ("result block", "结果块"),
    MQTT: ("receipt", "回执"),
}


def disconnect(story: Story) -> None:
    """The operator sets a hold; the contact opens after the delay, which a report has to show."""
    story.pace(TALK)
    _operate(story, "disconnect", {"reason": REASON, "note": "demo"})
    for point in story.walkers:
        order_id = story.homes[point.name].orders["disconnect"]
        report = story.confirmed(point, order_id)
        story.tell_way(point, order_id)
        opened = report.contact == states.CONTACT_OPEN and report.load_ma == 0 and report.no_load_s >= 2
        story.require(
            opened, point, ("contact open, no load", "触点断开，无负荷"), f"{report.contact} {report.load_ma}"
        )
        story.homes[point.name].relay.append((report.time_s - report.no_load_s, False))
        story.timeline.proved(
            point,
            report,
            (
                "disconnect order {order} confirmed: contact open, {load} mA for {since} s",
                "断电命令 {order} 已确认：触点断开，{load} mA 持续 {since} 秒",
            ),
            order=order_id,
            load=report.load_ma,
            since=report.no_load_s,
        )
        tell_board(story, point, closed=False)
    stay_off(story)


def connect(story: Story) -> None:
    """The operator releases it; the meter closes, which a report has to show."""
    story.pace(TALK)
    _operate(story, "connect", {"reason": REASON, "close": "direct", "spread_s": 5, "note": "demo"})
    for point in story.walkers:
        order_id = story.homes[point.name].orders["connect"]
        report = story.confirmed(point, order_id)
        story.tell_way(point, order_id)
        closed = report.contact == states.CONTACT_CLOSED and not report.holds
        story.require(
            closed, point, ("contact closed, no hold", "触点闭合，无保持"), f"{report.contact} {report.holds:#x}"
        )
        story.homes[point.name].relay.append((report.time_s, True))
        story.timeline.proved(
            point,
            report,
            (
                "connect order {order} confirmed: hold cleared, contact closed",
                "复电命令 {order} 已确认：保持已解除，触点闭合",
            ),
            order=order_id,
        )
        tell_board(story, point, closed=True)


def _operate(story: Story, what: str, body: dict[str, Any]) -> None:
    for point in story.walkers:
        reply = story.office.post(f"/meters/{point.number}/{what}", body)
        story.require(reply.status == 202, point, (f"HTTP 202 for {what}", f"{what} 返回 HTTP 202"), f"{reply.body}")
        story.homes[point.name].orders[what] = reply.body["order"]
        story.timeline.fact(
            reply.body["issued"]["s"],
            point,
            ("operator: {what}, order {order}, version {version}", "操作员：{what}，命令 {order}，版本 {version}"),
            ("HTTP {status} {request}", "HTTP {status} {request}"),
            what=what,
            order=reply.body["order"],
            version=reply.body["version"],
            status=reply.status,
            request=reply.request,
        )


def repeats(story: Story) -> None:
    """The newest orders come twice more and older ones again: totals, versions and contact stay as they are."""
    story.pace(TALK)
    for point in story.walkers:
        ids = story.homes[point.name].orders
        credit = (orders.ASPECT_CREDIT, story.office.keys.source)
        supply = (orders.ASPECT_SUPPLY, _HOLD)
        again: tuple[tuple[Text, int, tuple[int, int], int], ...] = (
            (("the same credit order", "同一充值命令"), ids["second credit"], credit, results.ALREADY),
            (("and once more", "再来一次"), ids["second credit"], credit, results.ALREADY),
            (("the older credit order", "较早的充值命令"), ids["credit"], credit, results.ALREADY),
            (("the same connect order", "同一复电命令"), ids["connect"], supply, results.ALREADY),
            (("the older disconnect order", "较早的断电命令"), ids["disconnect"], supply, results.OLD_VERSION),
        )
        for what, order_id, subject, answer in again:
            after = _without_effect(story, point, story.office.signed(order_id), subject, answer)
            story.timeline.proved(
                point,
                after,
                (
                    "{what} ({order}): {answer}; total {total}, version {version}, {contact}",
                    "{what}（{order}）：{answer}；累计 {total}，版本 {version}，触点{contact}",
                ),
                also=_ANSWER_FROM[point.carrier],
                what=what,
                order=order_id,
                answer=names.of(names.RESULT, answer),
                total=money(after.credited_uc),
                version=after.version,
                contact=words.CONTACTS[names.of(names.CONTACT, after.contact)],
            )


def forgery(story: Story) -> None:
    """Credit that nobody sold, by someone who reaches the link: without the meter's key, and even with it."""
    story.pace(TALK)
    for point in story.walkers:
        subject = (orders.ASPECT_CREDIT, story.office.keys.source)
        tagged = _forged_credit(story, point)
        untagged = tagged[:-TAG_LENGTH] + os.urandom(TAG_LENGTH)
        cases: tuple[tuple[Text, bytes, int], ...] = (
            (("forged credit without the meter's key", "伪造充值，无电表密钥"), untagged, results.BAD_TAG),
            (
                ("forged credit with it, signed by a stranger", "伪造充值，有电表密钥、签名不符"),
                tagged,
                results.BAD_SIGNATURE,
            ),
        )
        for what, raw, answer in cases:
            after = _without_effect(story, point, raw, subject, answer)
            story.timeline.proved(
                point,
                after,
                ("{what}: {answer}; total still {total}", "{what}：{answer}；累计仍为 {total}"),
                also=_ANSWER_FROM[point.carrier],
                what=what,
                answer=names.of(names.RESULT, answer),
                total=money(after.credited_uc),
            )


def _without_effect(story: Story, point: Point, raw: bytes, subject: tuple[int, int], answer: int) -> Report:
    """Put order bytes on the meter's link; it must answer so, and nothing else may change. The report after it."""
    before = story.report(point, *subject)
    receipts = len(story.listener.receipts(point.number))
    said = story.office.deliver(point, raw)
    name = names.of(names.RESULT, answer)

    def look() -> tuple[int | None, str]:
        if point.carrier == MODBUS:
            return (answer if f"the meter says: {name}." in said else None), said
        fresh = [Report(one, story.office.mac_key(point)) for one in story.listener.receipts(point.number)[receipts:]]
        digest = orders.Order(raw).digest[:8]
        told = [receipt.result for receipt in fresh if receipt.digest == digest]
        return (answer if answer in told else None), ", ".join(
            names.of(names.RESULT, one) for one in told
        ) or "no receipt"

    story.until(point, (f"the answer {name}", f"应答 {name}"), look)
    after = story.report(point, *subject)
    was, now = ({name: getattr(report, name) for name in _KEPT} for report in (before, after))
    changed = {name: (was[name], now[name]) for name in _KEPT if was[name] != now[name]}
    story.require(not changed, point, ("no effect", "无效果"), f"changed (before, after): {changed}")
    return after


def _forged_credit(story: Story, point: Point) -> bytes:
    """A credit order that is right in all but the key that signed it."""
    key = ec.generate_private_key(ec.SECP256R1())
    sales = [(_STOLEN_UC, _STOLEN_UC)]
    statement = orders.Statement(
        aspect=orders.ASPECT_CREDIT,
        meter=point.number,
        account_epoch=ACCOUNT_EPOCH,
        role=orders.ROLE_CREDIT,
        key_version=story.office.keys.newest(orders.ROLE_CREDIT).version,
        tag_key_version=TAG_KEY_VERSION,
        selector=story.office.keys.source,
        signing_epoch=story.office.keys.signing_epoch,
        version=0,
        issued_s=story.clock.now_s(),
        not_after_s=0,
        body=bodies.encode_credit(_STOLEN_UC, 0, sales),
    ).encode()
    signature = key.sign(orders.digest(statement), ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    r, s = utils.decode_dss_signature(signature)
    pair = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return orders.seal(statement, pair, story.office.mac_key(point))
