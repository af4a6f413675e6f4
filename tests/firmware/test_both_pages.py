"""What a token of class 1 shows. Runs on both interpreters."""

from meter.pages import pages
from meter.release import VERSION
from meterlink.sts import issue
from meterlink.sts.token import MANAGE, SET_POWER
from tests.firmware.ramboard import METER
from tests.firmware.tokens import TID, TypedRig

ALL = "56493153725450313471"
ALL_OF_28_BITS = "02305843005052951967"
# Published tokens of the tests 1, 2, 3, 4, 5, 7, 8 and 10, as every meter of the format takes them.
SINGLE = {
    1: "00000000000150997584",
    2: "00000000000167774880",
    3: "00000000000201328896",
    4: "18446744073843772416",
    5: "36893488147553322496",
    7: "00000000001207974400",
    8: "00000000002281728512",
    10: "00000000008724195840",
}


def shown(rig, digits):
    outcome = rig.meter.type_token(digits)
    return dict(pages(rig.meter, outcome.control))


def test_every_page():
    rig = TypedRig()
    rig.type(TID, 1000)
    rig.type(TID + 1, 2500, MANAGE, SET_POWER)
    rig.board.watts = 1000
    rig.run(400)
    rig.meter.commit([])
    everything = shown(rig, ALL)
    assert everything == {
        2: None, 3: 111, 4: 1, 5: 1, 6: None, 7: 2500, 8: 0, 9: 1000, 10: VERSION.encode(), 13: 0, 14: 11, 15: 4,
        16: 123457, 17: 255, 18: METER,
    }  # fmt: skip
    assert shown(rig, ALL_OF_28_BITS) == everything


def test_one_page_each():
    rig = TypedRig()
    everything = shown(rig, ALL)
    for test, digits in SINGLE.items():
        assert issue.display(0, 1 << test - 1, 0) == digits
        assert shown(rig, digits) == ({test: everything[test]} if test in everything else {})
    assert rig.board.closed and not rig.board.coils, "the test of the load switch switches nothing"
    assert shown(rig, issue.display(0, 0, 0)) == {}
