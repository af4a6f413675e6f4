"""What orders do that touch the account: credit, mode, and those that open, close and mend it."""

from meter import credit as sources
from meter.apply_daily import finish
from meter.store import (
    KEY_ACCOUNT,
    KEY_ALLOWANCE,
    KEY_CLOSING,
    KEY_FOLDED,
    KEY_LIFE,
    KEY_SOURCES,
    KEY_SUPPLY,
)
from meterlink import events, reasons, records, results
from meterlink.bodies import CLOSE_PERMIT

_UC_PER_MILLI = 1000  # events state money in thousandths of the currency


def credit(meter, order, content) -> int:
    credited_uc, refunded_uc, sales, closed, replaced = content
    source = order.stated.selector
    account, typed = meter.account, meter.typed
    undo = [(account.restore, account.state()), (meter.pricing.restore, meter.pricing.state())]
    undo.append((meter.charges.restore, meter.charges.state()))
    mark = meter.log.mark()
    balance_uc = account.balance_uc()
    had_uc, had_refunded_uc = account.totals(source)
    amounts = sources.steps_of(credited_uc, had_uc, sales)
    for amount_uc in amounts:
        meter.note(events.CREDIT_APPLIED, amount_uc // _UC_PER_MILLI, source)
    if refunded_uc > had_refunded_uc:
        meter.note(events.REFUND_APPLIED, (refunded_uc - had_refunded_uc) // _UC_PER_MILLI, source)
    account.take(source, credited_uc, refunded_uc, closed)
    meter.settle_sales(source, records.NO_TID, credited_uc, amounts, balance_uc)
    items = [(KEY_SOURCES, account.pack_sources())]
    if closed:
        place = len(account.folded) - 1
        entry = account.folded[place]
        meter.note(events.SOURCE_FOLDED, entry[1] // _UC_PER_MILLI, source)
        items.append((KEY_FOLDED + place, sources.pack_folded(meter.account_epoch, entry)))
        items.append((KEY_ACCOUNT, meter.pack_account()))  # whose folded sources those are
    if replaced:
        before = typed.state()
        for revision, tid in replaced:
            typed.mark(revision, tid)
        items += typed.items(before)
        undo.append((typed.restore, before))
    return finish(meter, order, mark, items, *undo)


def debt(meter, order, content) -> int:
    """What was collected stays collected; where more is withdrawn than is owed, nothing is owed."""
    charges = meter.charges
    undo = charges.restore, charges.state()
    mark = meter.log.mark()
    charges.take(order.stated.selector, order.body)
    return finish(meter, order, mark, [], undo)


def mode(meter, order, content) -> int:
    """The meter has priced every watt-hour up to the registers of this commit, or none of those behind it."""
    account, allowance = meter.account, meter.allowance
    undo = (account.restore, account.state()), (allowance.restore, allowance.state())
    mark = meter.log.mark()
    if content[0] != allowance.mode:
        meter.note(events.MODE_CHANGED, meter.energy.import_wh, content[0])
    account.adjusted_uc = max(account.adjusted_uc, content[1])
    allowance.take(content[0], *content[2:])
    account.level(meter.supply.limits.credit_limit_uc)
    return finish(meter, order, mark, [(KEY_ALLOWANCE, allowance.pack())], *undo)


def epoch(meter, order, content) -> int:
    """Close the account, unless that was done for good already, and open the one that the order names."""
    cause, kept = content
    account, allowance, supply = meter.account, meter.allowance, meter.supply
    undo = _undo(meter) + [(allowance.restore, allowance.state()), (supply.restore, supply.state())]
    mark = meter.log.mark()
    meter.note(events.EPOCH_OPENED, order.stated.account_epoch, cause)
    items = [] if supply.retired else [(KEY_CLOSING, meter.pack_closing())]
    kept |= 1 << reasons.HOLD_SAFETY
    for hold in range(1, 32):
        if supply.holds & ~kept & 1 << hold:
            supply.release(hold, CLOSE_PERMIT)
    account.open()
    allowance.open()
    meter.pricing.open_account()
    _open_credit(meter)
    meter.account_epoch = order.stated.account_epoch
    supply.retired = False
    items += [
        (KEY_ACCOUNT, meter.pack_account()),
        (KEY_SOURCES, b""),
        (KEY_ALLOWANCE, allowance.pack()),
        (KEY_SUPPLY, supply.pack()),
    ]
    return finish(meter, order, mark, items, *undo)


def retire(meter, order, content) -> int:
    """Its money stays as the closing statement says; the meter charges nothing from here on."""
    undo = _undo(meter)
    mark = meter.log.mark()
    meter.note(events.ACCOUNT_RETIRED, meter.account_epoch)
    meter.supply.retired = True
    items = [(KEY_CLOSING, meter.pack_closing()), (KEY_ACCOUNT, meter.pack_account())]
    return finish(meter, order, mark, items, *undo)


def recover(meter, order, content) -> int:
    """Go on from the state that the order names; holds, tariff and limits stay as far as they were found."""
    account, allowance, energy, clock = meter.account, meter.allowance, meter.energy, meter.clock
    if not meter.store.forget_lost(meter.mono_s):
        return results.STORAGE_FAILED
    undo = _undo(meter) + [(clock.restore, clock.state()), (allowance.restore, allowance.state())]
    undo += [(meter.profile.restore, meter.profile.state()), (energy.restore, energy.state())]
    mark = meter.log.mark()
    stated = order.stated
    folded = account.folded
    typed_before = meter.typed.state()
    meter.typed.forget_until(stated.issued_s)
    undo.append((meter.typed.restore, typed_before))
    if stated.account_epoch != meter.account_epoch:
        folded = []
        allowance.open()
        meter.pricing.open_account()
        meter.supply.retired = False
        meter.account_epoch = stated.account_epoch
    meter.note(events.HISTORY_RECOVERED, meter.account_epoch)
    account.waiting_uc = 0
    _open_credit(meter)
    account.earned_uc, account.adjusted_uc = content.earned_uc, content.adjusted_uc
    account.charged_uc, account.remainder = content.charged_uc, content.remainder
    account.sources = [list(source) for source in content.sources]
    account.unpack_sources(account.pack_sources(), folded, len(folded))
    _raise_registers(meter, content)
    meter.history_lost = False
    meter.floor = (stated.signing_epoch, stated.version)
    clock.renew()
    items = [
        (KEY_ACCOUNT, meter.pack_account()),
        (KEY_SOURCES, account.pack_sources()),
        (KEY_ALLOWANCE, allowance.pack()),
        (KEY_SUPPLY, meter.supply.pack()),
        (KEY_LIFE, meter.pack_life()),
    ] + meter.typed.items(typed_before)
    code = finish(meter, order, mark, items, *undo)
    if code == results.APPLIED:
        meter.top = max(meter.floor, (meter.given.signing_epoch, 0))
    return code


def _raise_registers(meter, content) -> None:
    """Registers only rise; the open interval ends where they stood, as that energy is not of its time."""
    energy = meter.energy
    if content.import_wh > energy.import_wh or content.export_wh > energy.export_wh:
        meter.close_period(meter.now_s(), records.FLAG_SHORT, 0)
        energy.import_wh = max(energy.import_wh, content.import_wh)
        energy.export_wh = max(energy.export_wh, content.export_wh)
        meter.profile.open(meter.now_s(), energy.import_wh, energy.export_wh, records.FLAG_SHORT)


def _open_credit(meter) -> None:
    """No debt, no emergency credit, nothing that waits: of a new account, or of one whose totals are stated anew."""
    meter.charges.open()
    meter.emergency.open()
    meter.cover.open()


def _undo(meter) -> list:
    parts = meter.account, meter.pricing, meter.charges, meter.cover
    undo = [(part.restore, part.state()) for part in parts]
    return undo + [(meter.restore_account, meter.account_state()), (meter.emergency.restore, meter.emergency.saved())]
