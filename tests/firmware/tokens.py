"""A meter that takes typed tokens, and a maker of tokens for it. Both interpreters."""

from meterlink import bodies, tariff
from meterlink.sts import issue, results
from meterlink.sts.dkga04 import KeyAttributes
from meterlink.sts.token import CREDIT
from tests.firmware.ramboard import LIMITS, START_S, Rig

KEY = bytes(range(0x31, 0x41))
NEW_KEY = bytes(range(0x51, 0x61))
SGC, KT, TI, KRN, KEN, BASE = 123457, 2, 1, 1, 255, 1  # base date 2014
ATTRIBUTES = (SGC, KT, TI, KRN, KEN, BASE)
PAN = "600727000000000009"
TID = issue.tid_of(2014, START_S)
KWH_UC = 1_000_000
KWH_PLAN = tariff.Tariff((KWH_UC,))


def limits(**changed):
    """The limits of the rig with some of them changed."""
    made = bodies.decode_limits(LIMITS.encode())
    for name, value in changed.items():
        setattr(made, name, value)
    return made


class TypedRig(Rig):
    """A commissioned meter whose account counts kWh."""

    def __init__(self, board=None, plan=KWH_PLAN, commission=True, key=KEY, attributes=ATTRIBUTES, **changed):
        self.decoder = (key, attributes) if key else None
        self.currency = changed.pop("currency", 0)
        Rig.__init__(self, board, limits(**changed), plan, commission)

    def record(self, **changed):
        fields = {"currency": self.currency, "decoder": self.decoder}
        fields.update(changed)
        return Rig.record(self, **fields)

    def enter(self, digits):
        """The code of the outcome; whatever it is, the money adds up."""
        outcome = self.meter.type_token(digits)
        assert outcome is self.meter.typed.last and outcome.code != results.NONE
        self.balances()
        return outcome.code

    def type(self, tid=TID, units=10, token_class=CREDIT, subclass=0, register=None, key=KEY):
        """Type a token that is used once; the code of the outcome."""
        return self.enter(token(tid, units, token_class, subclass, register, key))

    def wrong(self, number):
        """Type something that is no token of this meter."""
        code = self.enter(wrong_digits(number))
        assert code in (results.REJECTED, results.LOCKED)
        return code


def token(tid=TID, units=10, token_class=CREDIT, subclass=0, register=None, key=KEY):
    """A token that is used once; units of 0.1 kWh or W."""
    register = issue.register_of(units) if register is None else register
    return issue.once(key, token_class, subclass, tid % 16, tid, register)


def wrong_digits(number):
    """20 digits of class 0 that are no token under the keys here, nor under most others: another one a number."""
    return issue.once(bytes(16), CREDIT, 0, number % 16, number // 16, 1)


def sections(old=KEY, new=NEW_KEY, krn=2, base=2014, ken=255, sgc=SGC, ti=2, rollover=False):
    """The four tokens of a key change."""
    return issue.key_change(old, new, KeyAttributes(PAN, sgc, ti, KT, krn, base, ken), rollover)
