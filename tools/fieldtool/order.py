"""`order`: hands a signed order to the meter and waits for its verdict. The head end made and signed it."""

import argparse
from pathlib import Path

from fieldtool import rules, tariffs, values
from fieldtool.session import DONE, NOT_SO, Session, UsageError, file_bytes
from fieldtool.words import Words
from meterlink import (
    bodies,
    bodies_root,
    names,
    orders,
    reasons,
    registers,
    results,
    states,
    stating,
    tariff,
    topics,
)
from meterlink.orders import Order, OrderError, Statement


def parse(given: argparse.Namespace) -> Order:
    """The order in the file that is named."""
    try:
        return Order(_bytes("FILE", given.file))
    except OrderError as error:
        raise UsageError(f"FILE: {given.file} holds no order ({error})") from error


def parse_body(given: argparse.Namespace, one: Order) -> bytes | None:
    """The body that the order names, from its file; None where it holds its body itself, or nobody gave it."""
    if given.body is None:
        return None
    body = _bytes("--body", given.body)
    if not one.stated.flags or stating.apart(body) != one.stated.body:
        raise UsageError(f"--body: {given.body} is not the body that the order names")
    return body


def _bytes(field: str, path: Path) -> bytes:
    """What a file holds: bytes, or their hexadecimal digits."""
    raw = file_bytes(field, path)
    try:
        return bytes.fromhex(raw.decode("ascii"))
    except ValueError:
        return raw  # then it holds the bytes themselves


async def order(session: Session, given: argparse.Namespace) -> int:
    """Show it, see that it is for this meter, hand it over, wait for the verdict."""
    one = parse(given)
    body = parse_body(given, one)
    ident = await session.meter.block(registers.IDENT)
    describe(session, one, values.currency(ident.values["currency"]), body)
    if ident.number("meter") != one.stated.meter:
        found, wanted = topics.meter_name(ident.number("meter")), topics.meter_name(one.stated.meter)
        session.say("other_meter", wanted=wanted, found=found)
        return NOT_SO
    session.progress("sent", last=True)
    verdict = await session.meter.order(one.raw, stating.pieces(body) if body is not None else ())
    if verdict.code == results.PENDING:
        session.say("no_verdict", why=verdict.trouble)
        return NOT_SO
    session.say("verdict", verdict=session.words.code("result", names.of(names.RESULT, verdict.code)))
    return DONE if results.succeeded(verdict.code) else NOT_SO


def describe(session: Session, one: Order, unit: str, body: bytes | None = None) -> None:
    """What an order states, for people. body: the one that travels apart, where it is at hand."""
    words, stated = session.words, one.stated
    until = values.utc(stated.not_after_s) + " UTC" if stated.not_after_s else words.say("order_for_ever")
    aspect = words.code("aspect", names.of(names.ASPECT, stated.aspect))
    role = words.code("role", names.of(names.ROLE, stated.role))
    rows = [
        (words.say("order_states"), f"{aspect}: {content(words, stated, unit, body)}"),
        (words.say("order_meter"), topics.meter_name(stated.meter)),
        (words.say("order_epoch"), str(stated.account_epoch)),
        (words.say("order_key"), words.say("key", role=role, version=stated.key_version)),
        (words.say("order_issued"), f"{values.utc(stated.issued_s)} UTC"),
        (words.say("order_until"), until),
        (words.say("order_digest"), one.digest[:8].hex()),
    ]
    if stated.version:  # credit has none: its totals say which is newer
        version = words.say("of_epoch", version=stated.version, epoch=stated.signing_epoch)
        rows.insert(4, (words.say("order_version"), version))
    session.pairs(rows)


def content(words: Words, stated: Statement, unit: str, body: bytes | None = None) -> str:
    """The body of an order in a sentence; its bytes where this version does not know or cannot read it."""
    tell = _CONTENT.get(stated.aspect)
    if stated.aspect == orders.ASPECT_TARIFF and body is not None:
        return tariffs.tell(words, tariff.decode(body), unit)
    if stated.flags:
        length, sha256 = orders.apart(stated.body)
        return words.say("apart", length=length, sha256=sha256.hex())
    if tell is not None:
        try:
            return tell(words, stated, unit)
        except OrderError:
            pass
    return words.say("bytes", count=len(stated.body), hex=stated.body.hex())


def _credit(words: Words, stated: Statement, unit: str) -> str:
    credited_uc, refunded_uc, sales = bodies.decode_credit(stated.body)
    credited, refunded = values.money(credited_uc, unit), values.money(refunded_uc, unit)
    parts = [words.say("credit", source=stated.selector, credited=credited, refunded=refunded)]
    for total_uc, amount_uc in sales:
        parts.append(words.say("sale", amount=values.money(amount_uc, unit), total=values.money(total_uc, unit)))
    closed, replaced = bodies.credit_extras(stated.body)
    if closed:
        parts.append(words.say("source_closed"))
    for revision, tid in replaced:
        parts.append(words.say("token_replaced", tid=tid, revision=revision))
    return words.join(parts)


def _supply(words: Words, stated: Statement, unit: str) -> str:
    action, close, delay_s, spread_s = bodies.decode_supply(stated.body)
    reason = words.code("hold", names.of(names.HOLD, stated.selector))
    if action == bodies.HOLD and stated.selector != reasons.HOLD_PROTECTION:
        return words.say("supply_hold", reason=reason, delay=_seconds(words, delay_s))
    if action == bodies.HOLD:
        return reason
    how = words.say("close_direct" if close == bodies.CLOSE_DIRECT else "close_permit")
    return words.say("supply_release", reason=reason, close=how, spread=_seconds(words, spread_s))


def _tariff(words: Words, stated: Statement, unit: str) -> str:
    return tariffs.tell(words, tariff.decode(stated.body), unit)


def _limits(words: Words, stated: Statement, unit: str) -> str:
    body = bodies.decode_limits(stated.body)
    amperes = values.decimal(body.max_current_ma, -3, 1)
    limits = words.say(
        "limits",
        alarm=values.money(body.alarm_uc, unit),
        alarm2=values.money(body.alarm2_uc, unit),
        trip=_seconds(words, body.trip_delay_s),
        dwell=_seconds(words, body.dwell_s),
        spread=_seconds(words, body.spread_s),
        stable=_seconds(words, body.stable_s),
        current=words.say("current_limit", amperes=amperes) if body.max_current_ma else words.say("no_limit"),
    )
    parts = [limits]
    if body.credit_limit_uc < bodies.MAX_UC:
        parts.append(words.say("credit_limit", amount=values.money(body.credit_limit_uc, unit)))
    if body.typed_cap_uc < bodies.MAX_UC:
        parts.append(words.say("typed_cap", amount=values.money(body.typed_cap_uc, unit)))
    return words.join([*parts, *rules.limits(words, body, unit)])


def _clock(words: Words, stated: Statement, unit: str) -> str:
    return words.say("clock", time=values.utc(bodies.decode_clock(stated.body)[1]))


def _mode(words: Words, stated: Statement, unit: str) -> str:
    mode, adjusted_uc, until_wh, balance_uc, grace_wh, grace_s = bodies.decode_mode(stated.body)
    parts = [words.code("mode", names.of(names.MODE, mode))]
    if mode == states.MODE_REMOTE:
        kwh, grace_kwh = values.decimal(until_wh, -3, 3), values.decimal(grace_wh, -3, 3)
        parts.append(words.say("allowance", kwh=kwh, balance=values.money(balance_uc, unit)))
        parts.append(words.say("grace", kwh=grace_kwh, time=_seconds(words, grace_s)))
    parts.append(words.say("adjusted", amount=values.money(adjusted_uc, unit)))
    return words.join(parts)


def _clear(words: Words, stated: Statement, unit: str) -> str:
    latches, up_to_event = bodies.decode_clear(stated.body)
    said = words.join([words.code("latch", name) for name in names.of_bits(names.LATCH, latches)])
    return words.say("cleared", latches=said, event=up_to_event)


def _keys(words: Words, stated: Statement, unit: str) -> str:
    if stated.selector == orders.KEYS_TAG:
        kept = [str(version) for version, _ in bodies_root.decode_tag_keys(stated.body)]
        return words.say("tag_keys", versions=words.join(kept))
    _, attributes = bodies_root.decode_decoder(stated.body)
    return words.say("decoder_key", group=f"{attributes[0]:06d}", revision=attributes[3], tariff=f"{attributes[2]:02d}")


def _firmware(words: Words, stated: Statement, unit: str) -> str:
    release, legal, length, sha256 = bodies_root.decode_firmware(stated.body)
    version = ".".join(map(str, release))
    return words.say("firmware", version=version, legal=legal, length=length, sha256=sha256.hex())


def _epoch(words: Words, stated: Statement, unit: str) -> str:
    cause, kept = bodies_root.decode_epoch(stated.body)
    holds = words.join([words.code("hold", name) for name in names.of_bits(names.HOLD, kept)]) or "–"
    return words.say("account_opened", cause=words.code("epoch_cause", names.of(names.EPOCH_CAUSE, cause)), holds=holds)


def _retire(words: Words, stated: Statement, unit: str) -> str:
    cause = names.of(names.EPOCH_CAUSE, bodies_root.decode_retire(stated.body))
    return words.say("account_closed", cause=words.code("epoch_cause", cause))


def _recover(words: Words, stated: Statement, unit: str) -> str:
    state = bodies_root.decode_recover(stated.body)
    kwh = values.decimal(state.import_wh, -3, 3)
    return words.say("recovered", balance=values.money(state.balance_uc(), unit), kwh=kwh, sources=len(state.sources))


def _seconds(words: Words, seconds: int) -> str:
    return words.say("by_limits") if seconds == bodies.DEFAULT else words.say("seconds", count=seconds)


_CONTENT = {
    orders.ASPECT_CREDIT: _credit,
    orders.ASPECT_SUPPLY: _supply,
    orders.ASPECT_TARIFF: _tariff,
    orders.ASPECT_LIMITS: _limits,
    orders.ASPECT_CLOCK: _clock,
    orders.ASPECT_MODE: _mode,
    orders.ASPECT_KEYS: _keys,
    orders.ASPECT_FIRMWARE: _firmware,
    orders.ASPECT_CLEAR: _clear,
    orders.ASPECT_EPOCH: _epoch,
    orders.ASPECT_RECOVER: _recover,
    orders.ASPECT_RETIRE: _retire,
    orders.ASPECT_DEBT: rules.debt,
    orders.ASPECT_LOAD: rules.load,
}
