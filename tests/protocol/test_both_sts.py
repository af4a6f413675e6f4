"""Typed tokens on both interpreters: known answers, encode against decode, refusals, key changes."""

from binascii import hexlify, unhexlify

from meterlink.sts import amount, dkga04, issue, results
from meterlink.sts.encipher import Encipher
from meterlink.sts.keychange import KeyChange
from meterlink.sts.misty1 import Misty1
from meterlink.sts.token import KEY_SECTIONS, TokenError, decode

# RFC 2994 Appendix A: key, plain, cipher.
MISTY1 = (
    ("00112233445566778899aabbccddeeff", "0123456789abcdef", "8b1da5f56ab3d07c"),
    ("00112233445566778899aabbccddeeff", "fedcba9876543210", "04b68240b13be95d"),
)
VENDING_KEY = unhexlify("abababababababab949494949494949401234567")
METER = dkga04.KeyAttributes("600727000000000009", 123457, 1, 2, 1, 1993)
MESSAGE = "04023034023933023131023031000406313233343537013201311236303037323730303030303030303030303900000080"
KEY = unhexlify("f94b6ed353c3bfdb113e2d3a7ea3c41d")
# class, subclass, TID, register, token; RND is 5 (STS 531-1, CTSA01 to CTSA10)
TOKENS = (
    (0, 0, 5871660, 0x0001, "59386323472137426967"),
    (0, 1, 5871665, 0x0001, "47186281207955155808"),
    (2, 0, 5910301, 0x03E8, "26521936751055502278"),
    (0, 0, 5915570, 0x8000, "33933484656539803471"),
    (0, 0, 5915634, 0xFFFF, "44964671935361377806"),
    (2, 1, 5910315, 0xFFFF, "59725289138639529749"),
)
# TI 01 -> 02, sections 1 to 4 (CTSA19.1)
CHANGE = ("34812744915211133004", "46903925208523674737", "71464563847088610152", "67904239402617643990")
NEW_KEY = unhexlify("b208834372ef892ef6e04c28593090d4")


def stream(seed):
    """Numbers that look random, the same on both interpreters: draw(bits)."""
    state = [seed]

    def draw(bits):
        made = 0
        for _ in range(0, bits, 16):
            state[0] = (state[0] * 1103515245 + 12345) & 0x7FFFFFFF
            made = made << 16 | state[0] >> 15
        return made & (1 << bits) - 1

    return draw


def refusal(key, digits):
    try:
        decode(key, digits)
    except TokenError as error:
        return error.code
    return None


def test_misty1():
    for key, plain, cipher in MISTY1:
        assert hexlify(Encipher(unhexlify(key)).encrypt(unhexlify(plain))).decode() == cipher
        assert hexlify(Misty1(unhexlify(key)).decrypt(unhexlify(cipher))).decode() == plain


def test_misty1_both_ways():
    draw = stream(1)
    for _ in range(40):
        cipher = Encipher(draw(128).to_bytes(16, "big"))
        block = draw(64).to_bytes(8, "big")
        assert cipher.decrypt(cipher.encrypt(block)) == block
        assert cipher.encrypt(cipher.decrypt(block)) == block


def test_derivation():
    assert hexlify(dkga04.message(METER)).decode() == MESSAGE
    assert dkga04.derive(VENDING_KEY, METER) == KEY


def test_known_tokens():
    for token_class, subclass, tid, register, digits in TOKENS:
        made = issue.once(KEY, token_class, subclass, 5, tid, register)
        assert made == digits
        token = decode(KEY, made)
        assert (token.token_class, token.subclass, token.tid, token.register) == (token_class, subclass, tid, register)
        assert token.data >> 40 == 5


def test_every_field_comes_back():
    draw = stream(2)
    for _ in range(60):
        key = draw(128).to_bytes(16, "big")
        token_class = draw(1) * 2
        subclass = draw(2) if token_class == 0 else (0, 1, 2, 5, 6, 7, 11, 11)[draw(3)]
        rnd, tid, register = draw(4), draw(24), draw(16)
        digits = issue.once(key, token_class, subclass, rnd, tid, register)
        assert len(digits) == 20
        token = decode(key, digits)
        assert (token.token_class, token.subclass, token.data) == (
            token_class,
            subclass,
            rnd << 40 | tid << 16 | register,
        )


def test_display_tokens():
    assert issue.display(0, 0xFFFFFFFFF, 0) == "56493153725450313471"
    assert issue.display(1, 0xFFFFFFF, 0) == "02305843005052951967"
    draw = stream(3)
    for _ in range(40):
        subclass = draw(1)
        bits = 16 if subclass else 8
        control, maker = draw(44 - bits), draw(bits)
        token = decode(b"", issue.display(subclass, control, maker))
        assert (token.token_class, token.subclass, token.data) == (1, subclass, control << bits | maker)


def test_what_is_no_token():
    good = TOKENS[0][4]
    for digits in ("", good[:-1], good + "0", good[:-1] + "x", good[:-1] + " ", "-" + good[1:], "99999999999999999999"):
        assert refusal(KEY, digits) == results.MALFORMED, digits
    assert refusal(KEY, "{:020}".format(1 << 66)) == results.MALFORMED
    assert refusal(KEY, good[:-1] + "8") == results.REJECTED
    assert refusal(NEW_KEY, good) == results.REJECTED
    for number in (0, 3 << 27, (1 << 66) - 1):  # class 3 is reserved: nothing of it is ever taken
        assert refusal(KEY, "{:020}".format(number)) == results.REJECTED


def test_amounts():
    known = ((1, 1), (256, 256), (16383, 0x3FFF), (16384, 0x4000), (20000, 0x416A), (180223, 0x8000), (180224, 0x8000))
    for units, register in known + ((1818623, 0xC000), (1818624, 0xC000), (18201624, 0xFFFF)):
        assert issue.register_of(units) == register
        assert amount.units_of(register) >= units
    before = -1
    for register in range(0, 0x10000, 7):
        units = amount.units_of(register)
        assert units > before
        assert issue.register_of(units) == register
        if register:
            assert issue.register_of(amount.units_of(register - 1) + 1) == register
        before = units


def test_supply_help():
    assert amount.help_of(issue.help_register(amount.HELP_RELEASE, 0)) == (0, 0)
    assert amount.help_of(issue.help_register(amount.HELP_ALLOWANCE, 4095)) == (1, 4095)
    for kind, value in ((0, 1), (1, 0), (1, 4096), (2, 1)):
        try:
            issue.help_register(kind, value)
        except dkga04.FieldError as error:
            assert error.field in ("kind", "value")
        else:
            assert False, (kind, value)


def orders_of(items):
    if len(items) < 2:
        return [items]
    return [[items[i]] + rest for i in range(len(items)) for rest in orders_of(items[:i] + items[i + 1 :])]


def test_key_change_in_any_order_and_over_a_restart():
    for order in orders_of([0, 1, 2, 3]):
        change = KeyChange()
        for n, i in enumerate(order):
            token = decode(KEY, CHANGE[i])
            assert token.subclass == KEY_SECTIONS[i]
            for _ in range(1 if n == 3 else 2):  # typed twice says no more than typed once
                new = change.take(token.subclass, token.data)
                assert (new is None) == (n < 3)
            change = KeyChange(change.pack())
            assert change.missing() == sorted([later + 1 for later in order[n + 1 :]])
        assert (new.key, new.sgc, new.ti, new.kt, new.krn, new.ken, new.rollover) == (
            NEW_KEY,
            123457,
            2,
            2,
            1,
            255,
            False,
        )
    assert KeyChange().pack() == b""


def test_sections_of_two_changes_make_no_key():
    attributes = dkga04.KeyAttributes("600727000000000009", 123457, 7, 2, 3, 2014, 99)
    other = issue.key_change(KEY, dkga04.derive(VENDING_KEY, attributes), attributes, True)
    change = KeyChange()
    for i in (0, 1):
        token = decode(KEY, CHANGE[i])
        assert change.take(token.subclass, token.data) is None
    token = decode(KEY, other[0])
    assert change.take(token.subclass, token.data) is None
    assert change.missing() == [2, 3, 4]
    for digits in other[1:]:
        token = decode(KEY, digits)
        new = change.take(token.subclass, token.data)
    assert (new.key, new.krn, new.ken, new.ti) == (dkga04.derive(VENDING_KEY, attributes), 3, 99, 7)
    assert new.rollover


def test_a_change_of_three_sections_is_not_for_this_cipher():
    token = decode(KEY, CHANGE[0])
    change = KeyChange()
    try:
        change.take(token.subclass, token.data | 1 << 34)
    except TokenError as error:
        assert error.code == results.NOT_IMPLEMENTED
    else:
        assert False
    assert change.pack() == b""


def test_times():
    day_s = 86_400
    for base, start in ((1993, 725_846_400), (2014, 1_388_534_400), (2035, 2_051_222_400)):
        assert issue.tid_of(base, start) == 0
        assert issue.tid_of(base, start + 59) == 0
        assert issue.tid_of(base, start + 60) == issue.tid_of(base, start + 120) == 2
        assert issue.tid_of(base, start + day_s + 60) == 1442
        assert issue.tid_of(base, start + 60 * 0xFFFFFF + 59) == 0xFFFFFF
        assert issue.issued_s(base, 1442) == start + day_s + 120
        for wrong in (start - 1, start + 60 * 0x1000000):
            try:
                issue.tid_of(base, wrong)
            except dkga04.FieldError as error:
                assert error.field == "issued"
            else:
                assert False, (base, wrong)
    assert issue.issued_s(1993, 0xFFFFFF) == 1_732_479_300  # 2024-11-24 20:15 UTC


def test_key_expiry():
    for tid, ken, good in ((0xFFFF, 0, True), (0x10000, 0, False), (0xFFFFFF, 255, True), (0xFF0000, 254, False)):
        try:
            issue.check_expiry(tid, ken)
        except dkga04.FieldError as error:
            assert not good and error.field == "ken"
        else:
            assert good
