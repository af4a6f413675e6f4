"""What the meter may be ordered: one row of `_ASPECTS` for each aspect.

`judge` finds every reason to refuse that costs no signature; `decide` carries out an order whose signature was found
genuine: all that it changes, the order itself and a checkpoint in one commit, or nothing.
"""

from meter import apply_account, apply_daily, apply_keys, versions
from meterlink import bodies, bodies_root, orders, reasons, results, tariff


class Received(orders.Order):
    """An order on its way. body: the encoded body, also where it travelled apart (None: not here) · content: that,
    read."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        self.body: "bytes | None" = None if self.stated.flags else self.stated.body
        self.content = None


def judge(meter, order) -> int:
    """results.PENDING where nothing but the signature can stop this order, else why it is refused or needless."""
    code = _addressed(meter, order.stated)
    if code:
        return code
    if order.body is None:
        # What it says is not known, so what can be told without it comes first: an unknown sender learns nothing else.
        code = _ASPECTS[order.stated.aspect][1](meter, order, None) or _keys(meter, order) or _tag(meter, order)
        if code:
            return code
        order.body = meter.parcels.find(order.stated.body)
        if order.body is None:
            return results.BODY_MISSING
    try:
        order.content = _read(order)
    except orders.OrderError as error:
        return error.code
    return _seen(meter, order) or _tag(meter, order) or results.PENDING


def again(meter, order) -> int:
    """The same for an order that `judge` has let pass, after others were carried out and time went by."""
    return _addressed(meter, order.stated) or _seen(meter, order) or results.PENDING


def decide(meter, order) -> int:
    """Carry out an order that is genuine: a results.* code. What a refusal touched is as it was before."""
    code = again(meter, order)
    if code != results.PENDING:
        return code
    code = _ASPECTS[order.stated.aspect][3](meter, order, order.content)
    if code == results.APPLIED and order.stated.flags:
        meter.parcels.clear()
    return code


def _addressed(meter, stated) -> int:
    """Why it is not for this meter as it stands, or 0."""
    if stated.meter != meter.number:
        return results.WRONG_METER
    aspect = stated.aspect
    if meter.history_lost and aspect != orders.ASPECT_RECOVER:
        return results.HISTORY_LOST
    opens = aspect in (orders.ASPECT_EPOCH, orders.ASPECT_RECOVER)
    ahead = stated.account_epoch - meter.account_epoch
    if meter.supply.retired and not (opens and ahead > 0) and (ahead or aspect != orders.ASPECT_RETIRE):
        return results.RETIRED
    return results.WRONG_EPOCH if ahead < 0 or (ahead and not opens) else 0


def _read(order):
    stated = order.stated
    if stated.aspect == orders.ASPECT_KEYS:
        return _DECODE_KEYS[stated.selector](order.body)
    return _ASPECTS[stated.aspect][0](order.body)


def _seen(meter, order) -> int:
    """Why what the meter has seen, the time or the keys forbid it, or 0."""
    stated, content = order.stated, order.content
    row = _ASPECTS[stated.aspect]
    return row[1](meter, order, content) or _expiry(meter, stated, row[2](stated, content)) or _keys(meter, order)


def _expiry(meter, stated, takes: bool) -> int:
    """Why the time forbids it, or 0. `takes`: whether it takes something away from the customer."""
    if not stated.not_after_s:
        # Danger does not end with a quarter of an hour: a hold for safety waits for its meter.
        if takes and stated.aspect == orders.ASPECT_SUPPLY and stated.selector != reasons.HOLD_SAFETY:
            return results.EXPIRY_REQUIRED
    elif meter.clock.known:
        if meter.clock.unix_s > stated.not_after_s:
            return results.EXPIRED
    elif takes:
        return results.CLOCK_UNKNOWN
    return 0


def _keys(meter, order) -> int:
    """Why its keys forbid it, or 0."""
    stated = order.stated
    if not orders.may(stated.role, stated.aspect):
        return results.WRONG_ROLE
    if not meter.tag_key(stated.tag_key_version) or not meter.public_key(stated.role, stated.key_version):
        return results.UNKNOWN_KEY
    return 0


def _tag(meter, order) -> int:
    genuine = order.tag_is_genuine(meter.tag_key(order.stated.tag_key_version))
    return 0 if genuine else results.BAD_TAG


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


def _limits_load(stated, content) -> bool:
    return bool(content)


def _decode_credit(body: bytes) -> tuple:
    """(credited_uc, refunded_uc, sales, closed, replaced)."""
    return bodies.decode_credit(body) + bodies.credit_extras(body)


_DECODE_KEYS = (bodies_root.decode_signing_keys, bodies_root.decode_tag_keys, bodies_root.decode_decoder)

# aspect: (decode the body, what the meter has seen, whether it takes away, what it does)
_ASPECTS = {
    orders.ASPECT_CREDIT: (_decode_credit, versions.totals, _gives, apply_account.credit),
    orders.ASPECT_SUPPLY: (bodies.decode_supply, versions.supply, _opens, apply_daily.supply),
    orders.ASPECT_TARIFF: (tariff.decode, versions.version, _takes, apply_daily.tariff),
    orders.ASPECT_LIMITS: (bodies.decode_limits, versions.version, _takes, apply_daily.limits),
    orders.ASPECT_MODE: (bodies.decode_mode, versions.mode, _takes, apply_account.mode),
    orders.ASPECT_CLOCK: (bodies.decode_clock, versions.clock, _gives, apply_daily.clock),
    orders.ASPECT_KEYS: (_DECODE_KEYS[0], versions.keys, _gives, apply_keys.keys),
    orders.ASPECT_FIRMWARE: (bodies_root.decode_firmware, versions.firmware, _gives, apply_daily.hold),
    orders.ASPECT_CLEAR: (bodies.decode_clear, versions.version, _gives, apply_daily.clear),
    orders.ASPECT_EPOCH: (bodies_root.decode_epoch, versions.epoch, _gives, apply_account.epoch),
    orders.ASPECT_RECOVER: (bodies_root.decode_recover, versions.recover, _gives, apply_account.recover),
    orders.ASPECT_RETIRE: (bodies_root.decode_retire, versions.retire, _gives, apply_account.retire),
    orders.ASPECT_DEBT: (bodies.decode_debt, versions.debt, _takes, apply_account.debt),
    orders.ASPECT_LOAD: (bodies.decode_load, versions.version, _limits_load, apply_daily.load),
}
