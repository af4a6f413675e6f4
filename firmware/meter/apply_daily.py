"""What the orders of every day do: supply, tariff, limits, clock, clear, firmware; and how any order is finished."""

from meter import held, pricing
from meter.store import KEY_LIFE, KEY_LIMITS, KEY_SUPPLY, KEY_TARIFF_BODIES
from meterlink import events, orders, results


def finish(meter, order, mark: int, items: list, *undo) -> int:
    """Commit an order with what it changed: APPLIED, or STORAGE_FAILED with everything as it was.

    mark: of the event log before the order · undo: (restore, state), for each part that was changed.
    """
    stated = order.stated
    meter.note(events.ORDER_APPLIED, stated.version, stated.aspect << 8 | stated.selector & 0xFF)
    key = held.key(meter, stated.aspect, stated.selector)
    if key >= 0:
        items.append((key, order.raw))
    if not meter.commit(items, True):
        for restore, state in undo:
            restore(state)
        meter.log.forget(mark)
        return results.STORAGE_FAILED
    if stated.aspect not in orders.UNVERSIONED:
        meter.top = max(meter.top, (stated.signing_epoch, stated.version))
    return results.APPLIED


def hold(meter, order, content) -> int:
    """An order that is kept, for whoever carries it out later."""
    return finish(meter, order, meter.log.mark(), [])


def supply(meter, order, content) -> int:
    parts = meter.supply
    before = parts.state()
    mark = meter.log.mark()
    parts.order(order.stated.selector, *content)
    return finish(meter, order, mark, [(KEY_SUPPLY, parts.pack())], (parts.restore, before))


def tariff(meter, order, content) -> int:
    """The newest statement rules: one that waits gives way to it as well."""
    prices, at = meter.pricing, meter.clock
    place = prices.free_place()
    if meter.senses.brown_out or not meter.store.put(KEY_TARIFF_BODIES + place, order.body, meter.mono_s):
        return results.STORAGE_FAILED
    undo = _undo_price(meter)
    mark = meter.log.mark()
    named = pricing.name((order.stated.signing_epoch, order.stated.version), place)
    if content.activate_s and not (at.known and at.unix_s >= content.activate_s):
        prices.wait(content, named)
    else:
        meter.settle(at.unix_s)
        prices.switch_to(content, named, at.unix_s)
        meter.note(events.TARIFF_SWITCHED, order.stated.version, 0)
        meter.price_changed()
    return finish(meter, order, mark, prices.items(), *undo)


def _undo_price(meter) -> list:
    """How to take back what `price_changed` does."""
    parts = meter.pricing, meter.account, meter.allowance, meter.profile, meter.charges
    return [(part.restore, part.state()) for part in parts]


def limits(meter, order, content) -> int:
    parts, account = meter.supply, meter.account
    before = parts.limits
    undo = account.restore, account.state()
    parts.limits = content
    account.level(content.credit_limit_uc)
    code = finish(meter, order, meter.log.mark(), [(KEY_LIMITS, order.body)], undo)
    if code != results.APPLIED:
        parts.limits = before
    return code


def load(meter, order, content) -> int:
    part = meter.supply.load
    before = part.state()
    part.take(order.body, content)
    return finish(meter, order, meter.log.mark(), [], (part.restore, before))


def clock(meter, order, content) -> int:
    """The RTC is set once the order is durable; a start that finds it durable but not known to be set takes the clock
    for unknown."""
    at = meter.clock
    undo = _undo_price(meter) + [(at.restore, at.state())]
    pending = meter.rtc_pending
    mark = meter.log.mark()
    moved_s = content[1] - at.unix_s
    was_known = at.known
    at.move(*content)
    meter.note(events.CLOCK_SET, moved_s, 0 if was_known else 1)
    meter.clock_moved()
    meter.rtc_pending = True
    code = finish(meter, order, mark, [(KEY_LIFE, meter.pack_life())], *undo)
    if code != results.APPLIED:
        meter.rtc_pending = pending
        return code
    at.set_rtc()
    meter.rtc_pending = False
    meter.commit([(KEY_LIFE, meter.pack_life())])
    return code


def clear(meter, order, content) -> int:
    latches = meter.latches
    before = latches.state()
    mark = meter.log.mark()
    meter.note(events.LATCHES_CLEARED, latches.clear(*content))
    return finish(meter, order, mark, [], (latches.restore, before))
