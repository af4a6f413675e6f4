"""What the meter may be ordered and what an order does: one row of `_ASPECTS` for each aspect that this firmware knows.

`judge` finds every reason to refuse that costs no signature; `decide` carries out an order whose signature was found
genuine: all that it changes, the order itself and a checkpoint in one commit, or nothing.
"""

from meter import pricing
from meter.credit import steps_of
from meter.store import KEY_LIFE, KEY_LIMITS, KEY_SOURCES, KEY_SUPPLY, KEY_TARIFF, KEY_TARIFF_PASSIVE
from meterlink import bodies, events, orders, reasons, results, tariff

_UC_PER_MILLI = 1000  # events state money in thousandths of the currency


def judge(meter, order, check_tag: bool) -> int:
    """results.PENDING where nothing but the signature can stop this order, else why it is refused or needless."""
    stated = order.stated
    if stated.meter != meter.number:
        return results.WRONG_METER
    if meter.history_lost and stated.aspect != orders.ASPECT_RECOVER:
        return results.HISTORY_LOST
    if stated.account_epoch != meter.account_epoch:
        return results.WRONG_EPOCH
    row = _ASPECTS.get(stated.aspect)
    if row is None or stated.flags:
        return results.NOT_IMPLEMENTED
    try:
        content = row[0](stated.body)
    except orders.OrderError as error:
        return error.code
    code = row[1](meter, order, content) or _expiry(meter, stated, row[2](stated, content)) or _keys(meter, stated)
    if code:
        return code
    if check_tag and not order.tag_is_genuine(meter.mac_key):
        return results.BAD_TAG
    return results.PENDING


def decide(meter, order) -> int:
    """Carry out an order that is genuine: a results.* code. What a refusal touched is as it was before."""
    code = judge(meter, order, False)
    if code != results.PENDING:
        return code
    row = _ASPECTS[order.stated.aspect]
    return row[3](meter, order, row[0](order.stated.body))


def _expiry(meter, stated, takes: bool) -> int:
    """Why the time forbids it, or 0. `takes`: whether it takes something away from the customer."""
    if not stated.not_after_s:
        if takes and stated.aspect == orders.ASPECT_SUPPLY:
            return results.EXPIRY_REQUIRED
    elif meter.clock.known:
        if meter.clock.unix_s > stated.not_after_s:
            return results.EXPIRED
    elif takes:
        return results.CLOCK_UNKNOWN
    return 0


def _keys(meter, stated) -> int:
    """Why its keys forbid it, or 0."""
    if not orders.may(stated.role, stated.aspect):
        return results.WRONG_ROLE
    if stated.tag_key_version != meter.tag_key_version or not meter.public_key(stated.role, stated.key_version):
        return results.UNKNOWN_KEY
    return 0


# -- what the meter has seen -------------------------------------------------------------------------------------------


def _version(meter, order, content) -> int:
    """Why the version forbids it (ALREADY counts), or 0. All aspects of a meter share the head end's one counter, so a
    jump is measured from the highest version of any."""
    stated = order.stated
    held = meter.held(stated.aspect, stated.selector)
    if held:
        offered, had = (stated.signing_epoch, stated.version), held[:2]
        if offered == had:
            return results.ALREADY if held[2] == order.digest[:8] else results.CONFLICT
        if offered < had:
            return results.OLD_VERSION
    if stated.version > meter.top_version + orders.MAX_VERSION_JUMP and stated.role != orders.ROLE_ROOT:
        return results.VERSION_JUMP
    return 0


def _totals(meter, order, content) -> int:
    """Why a source's totals forbid it, or 0."""
    code = meter.account.judge(order.stated.selector, content[0], content[1])
    return 0 if code == results.APPLIED else code


def _clock_version(meter, order, content) -> int:
    """As `_version`; and the clock moves freely only for its nonce."""
    code = _version(meter, order, content)
    if not code and meter.clock.judge(*content) != results.APPLIED:
        return results.BAD_NONCE
    return code


# -- which orders take something away ----------------------------------------------------------------------------------


def _gives(stated, content) -> bool:
    return False


def _takes(stated, content) -> bool:
    return True


def _opens(stated, content) -> bool:
    """A hold opens the relay, and so may the end of protection; a release closes it."""
    if stated.selector == reasons.HOLD_PROTECTION:
        return content[0] == bodies.RELEASE
    return content[0] == bodies.HOLD


# -- what they do ------------------------------------------------------------------------------------------------------


def _finish(meter, order, items: list, argument: int) -> int:
    """Commit an order with what it changed: APPLIED, or STORAGE_FAILED."""
    stated = order.stated
    meter.note(events.ORDER_APPLIED, argument, stated.aspect << 8 | stated.selector & 0xFF)
    items.append((meter.order_key(stated.aspect, stated.selector), order.raw))
    if not meter.commit(items, True):
        return results.STORAGE_FAILED
    meter.top_version = max(meter.top_version, stated.version)
    return results.APPLIED


def _credit(meter, order, content) -> int:
    credited_uc, refunded_uc, sales = content
    source = order.stated.selector
    account = meter.account
    before = account.pack_sources()
    mark = meter.log.mark()
    had_uc, had_refunded_uc = account.totals(source)
    for amount_uc in steps_of(credited_uc, had_uc, sales):
        meter.note(events.CREDIT_APPLIED, amount_uc // _UC_PER_MILLI, source)
    if refunded_uc > had_refunded_uc:
        meter.note(events.REFUND_APPLIED, (refunded_uc - had_refunded_uc) // _UC_PER_MILLI, source)
    account.take(source, credited_uc, refunded_uc)
    code = _finish(meter, order, [(KEY_SOURCES, account.pack_sources())], 0)
    if code != results.APPLIED:
        account.unpack_sources(before)
        meter.log.forget(mark)
    return code


def _supply(meter, order, content) -> int:
    supply = meter.supply
    before = supply.state()
    mark = meter.log.mark()
    supply.order(order.stated.selector, *content)
    code = _finish(meter, order, [(KEY_SUPPLY, supply.pack())], order.stated.version)
    if code != results.APPLIED:
        supply.restore(before)
        meter.log.forget(mark)
    return code


def _tariff(meter, order, content) -> int:
    """The newest statement rules: one that waits gives way to it as well."""
    prices = meter.pricing
    before = prices.state()
    flags = meter.profile.flags
    mark = meter.log.mark()
    version = (order.stated.signing_epoch, order.stated.version)
    clock = meter.clock
    waits = content.activate_s and not (clock.known and clock.unix_s >= content.activate_s)
    if waits:
        prices.passive, prices.passive_version = content, version
    else:
        prices.active, prices.active_version = content, version
        prices.passive = None
        meter.note(events.TARIFF_SWITCHED, order.stated.version, 0)
        meter.price_changed()
    items = [
        (KEY_TARIFF, pricing.pack(prices.active_version, prices.active)),
        (KEY_TARIFF_PASSIVE, pricing.pack(prices.passive_version, prices.passive)),
    ]
    code = _finish(meter, order, items, order.stated.version)
    if code != results.APPLIED:
        prices.restore(before)
        meter.profile.flags = flags
        meter.log.forget(mark)
    return code


def _limits(meter, order, content) -> int:
    supply = meter.supply
    before = supply.limits
    mark = meter.log.mark()
    supply.limits = content
    code = _finish(meter, order, [(KEY_LIMITS, order.stated.body)], order.stated.version)
    if code != results.APPLIED:
        supply.limits = before
        meter.log.forget(mark)
    return code


def _clock(meter, order, content) -> int:
    """The RTC is set once the order is durable; a start that finds it durable but not known to be set takes the clock
    for unknown."""
    clock = meter.clock
    before = clock.state(), meter.profile.state(), meter.pricing.state(), meter.rtc_pending
    mark = meter.log.mark()
    moved_s = content[1] - clock.unix_s
    was_known = clock.known
    clock.move(*content)
    meter.note(events.CLOCK_SET, moved_s, 0 if was_known else 1)
    meter.clock_moved()
    meter.rtc_pending = True
    code = _finish(meter, order, [(KEY_LIFE, meter.pack_life())], order.stated.version)
    if code != results.APPLIED:
        clock.restore(before[0])
        meter.profile.restore(before[1])
        meter.pricing.restore(before[2])
        meter.rtc_pending = before[3]
        meter.log.forget(mark)
        return code
    clock.set_rtc()
    meter.rtc_pending = False
    meter.commit([(KEY_LIFE, meter.pack_life())])
    return code


# aspect: (decode the body, what the meter has seen, whether it takes away, what it does)
_ASPECTS = {
    orders.ASPECT_CREDIT: (bodies.decode_credit, _totals, _gives, _credit),
    orders.ASPECT_SUPPLY: (bodies.decode_supply, _version, _opens, _supply),
    orders.ASPECT_TARIFF: (tariff.decode, _version, _takes, _tariff),
    orders.ASPECT_LIMITS: (bodies.decode_limits, _version, _takes, _limits),
    orders.ASPECT_CLOCK: (bodies.decode_clock, _clock_version, _gives, _clock),
}
