"""The bodies that tests of both interpreters make for themselves are those of `meterlink.stating`."""

from meterlink import bodies_root, states, stating
from tests.firmware import stated
from tests.firmware.ramboard import KEYS, METER, Rig

KEY = Rig(commission=False).mac_key
NEW = bytes(range(50, 82))
ATTRIBUTES = (123_456, 2, 1, 3, 255, 1)


def test_bodies_are_those_of_the_host() -> None:
    assert stated.remote(5, -6, 7, 8, 9) == stating.mode(states.MODE_REMOTE, 9, 5, -6, 7, 8)
    assert stated.clear(3, 77) == stating.clear(3, 77)
    assert stated.epoch(3, 64) == stating.epoch(3, 64) and stated.retire(4) == stating.retire(4)
    assert stated.firmware((1, 2, 3), 4, 5, NEW) == stating.firmware((1, 2, 3), 4, 5, NEW)
    keys = [(role, 1, KEYS[role]) for role in (1, 2, 3)]
    assert stated.signing_keys(keys) == stating.signing_keys(keys)
    assert stated.tag_keys([(2, NEW), (1, b"")], KEY, 9) == stating.tag_keys([1], (2, NEW), KEY, METER, 1, 9)
    assert stated.decoder(NEW[:16], ATTRIBUTES, KEY, 9) == stating.decoder(NEW[:16], ATTRIBUTES, KEY, METER, 1, 9)
    sources = ((1, 20, 3), (65535, 4, 0))
    state = bodies_root.Recovered(b"noncenon", 1, 2, 3, 4, 5, 6, sources)
    assert stated.recover(b"noncenon", sources, 1, 2, 3, 4, 5, 6) == stating.recover(state)
