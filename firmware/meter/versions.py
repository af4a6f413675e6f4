"""What the meter has seen, and what that forbids: one function for each way in which an aspect outranks itself.

Each takes (meter, order, content) and gives why the order is refused or needless, or 0; content is None where the body
travels apart and is not here yet.
"""

from meter.release import LEGAL_VERSION, RELEASE
from meter.tids import TYPED
from meter.transitions import REMOTE_ON, REMOTE_PERMIT, target
from meterlink import bodies, orders, reasons, results, states
from meterlink.mac import equal

_MAX_BALANCE = 1 << 62


def version(meter, order, content) -> int:
    """By signing epoch and version. All aspects of a meter share the head end's one counter, so a jump is measured from
    the highest of any."""
    stated = order.stated
    offered = stated.signing_epoch, stated.version
    held = meter.held(stated.aspect, stated.selector)
    if held:
        if offered == held[:2]:
            return results.ALREADY if held[2] == order.digest[:8] else results.CONFLICT
        if offered < held[:2]:
            return results.OLD_VERSION
    if offered < meter.floor:
        return results.OLD_VERSION
    ahead = stated.signing_epoch - meter.top[0]
    known = meter.top[1] if not ahead else 0
    if ahead < 0 or stated.role == orders.ROLE_ROOT:
        return 0
    if ahead > orders.MAX_EPOCH_JUMP or stated.version > known + orders.MAX_VERSION_JUMP:
        return results.VERSION_JUMP
    return 0


def supply(meter, order, content) -> int:
    """By version; and supply comes back only as its mode lists it: a release with *direct* takes transition a, one with
    *permit* d. (Protection closes nothing.)"""
    code = version(meter, order, content)
    if code or not content or content[0] != bodies.RELEASE or order.stated.selector == reasons.HOLD_PROTECTION:
        return code
    trigger = REMOTE_PERMIT if content[1] == bodies.CLOSE_PERMIT else REMOTE_ON
    listed = target(trigger, states.CONTROL_DISCONNECTED, meter.supply.limits.supply_mode) >= 0
    return 0 if listed else results.NOT_IN_MODE


def debt(meter, order, content) -> int:
    """By version; and the totals of a debt only rise: who states less has not read what the meter holds."""
    code = version(meter, order, content)
    known = meter.debts[order.stated.selector - 1].terms
    if code or not content:
        return code
    less = content.placed_uc < known.placed_uc or content.withdrawn_uc < known.withdrawn_uc
    return results.DEBT_BELOW if less else 0


def totals(meter, order, content) -> int:
    """By a source's totals; and a typed token counts once, however it came."""
    code = meter.account.judge(order.stated.selector, content[0], content[1], content[3])
    if code != results.APPLIED:
        return code
    for revision, tid in content[4]:
        if meter.typed.state_of(revision, tid) == TYPED:
            return results.ALREADY_TYPED
    return 0


def clock(meter, order, content) -> int:
    """By version; and the clock moves freely only for its nonce."""
    code = version(meter, order, content)
    if not code and content and meter.clock.judge(*content) != results.APPLIED:
        return results.BAD_NONCE
    return code


def mode(meter, order, content) -> int:
    """By version; and what the head end has charged must leave a balance that can be counted."""
    code = version(meter, order, content)
    return code or (results.BAD_BODY if content and content[1] > _MAX_BALANCE else 0)


def keys(meter, order, content) -> int:
    """By version; and a per-meter key that is to be kept must be there."""
    code = version(meter, order, content)
    if not code and content and order.stated.selector == orders.KEYS_TAG:
        for number, wrapped in content:
            if not wrapped and not meter.tag_key(number):
                return results.UNKNOWN_KEY
    return code


def firmware(meter, order, content) -> int:
    """By version; and no image older than the one that runs."""
    code = version(meter, order, content)
    if not code and content and (content[0] < RELEASE or content[1] < LEGAL_VERSION):
        return results.DOWNGRADE
    return code


def epoch(meter, order, content) -> int:
    """Account epochs outrank each other."""
    return results.ALREADY if order.stated.account_epoch == meter.account_epoch else 0


def retire(meter, order, content) -> int:
    """An account is closed once."""
    return results.ALREADY if meter.supply.retired else 0


def recover(meter, order, content) -> int:
    """By the nonce of a meter whose history is lost."""
    held = meter.held(orders.ASPECT_RECOVER, 0)
    if held and held[2] == order.digest[:8]:
        return results.ALREADY
    if content is None:
        return 0 if meter.history_lost else results.BAD_NONCE
    if not meter.history_lost or not equal(content.nonce, meter.clock.nonce):
        return results.BAD_NONCE
    return results.BAD_BODY if abs(content.balance_uc()) > _MAX_BALANCE else 0
