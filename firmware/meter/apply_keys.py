"""What a `keys` order does: the public keys that the meter accepts, its per-meter keys, the decoder key of typed
tokens."""

from meter.apply_daily import finish
from meter.store import KEY_SIGNING_KEYS, KEY_TAG_KEYS
from meterlink import events, orders, results
from meterlink.bodies_root import wrap


def keys(meter, order, content) -> int:
    return _KEYS[order.stated.selector](meter, order, content)


def _finish(meter, order, items: list, *undo) -> int:
    mark = meter.log.mark()
    meter.note(events.KEYS_CHANGED, 0, order.stated.selector)
    return finish(meter, order, mark, items, *undo)


def _open(meter, order, wrapped: bytes, place: int) -> bytes:
    """A key that came wrapped under the key of the order's tag."""
    stated = order.stated
    key = meter.tag_key(stated.tag_key_version)
    return wrap(key, wrapped, meter.number, stated.signing_epoch, stated.version, place)


def _signing(meter, order, content) -> int:
    code = _finish(meter, order, [(KEY_SIGNING_KEYS, order.body)])
    if code == results.APPLIED:
        meter.signing_keys = content
    return code


def _tag(meter, order, content) -> int:
    stated = []
    packed = b""
    for place in range(len(content)):
        number, wrapped = content[place]
        key = _open(meter, order, wrapped, place) if wrapped else meter.raw_tag_key(number)
        stated.append((number, key))
        packed += bytes((number,)) + key
    code = _finish(meter, order, [(KEY_TAG_KEYS, packed)])
    if code == results.APPLIED:
        meter.set_tag_keys(stated)
    return code


def _decoder(meter, order, content) -> int:
    typed = meter.typed
    before = typed.state()
    typed.set_decoder(_open(meter, order, content[0], 0), content[1])
    return _finish(meter, order, typed.items(before), (typed.restore, before))


_KEYS = {orders.KEYS_SIGNING: _signing, orders.KEYS_TAG: _tag, orders.KEYS_DECODER: _decoder}
