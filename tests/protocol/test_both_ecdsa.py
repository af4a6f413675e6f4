"""ECDSA verification on both interpreters: published known answers and the corners of the group arithmetic.

The corners were made with textbook affine arithmetic: for any key Q and any u1, u2 the abscissa r of u1 G + u2 Q, with
s = r / u2 and the digest u1 s, is a signature that holds, and nobody needs the private key for it. With u1 = 0 that is
so on another curve as well.
"""

import hashlib
from binascii import unhexlify

from meterlink import ecdsa
from meterlink.p256 import N, P

# RFC 6979 A.2.5: the key, and message, r, s for SHA-256.
KEY = unhexlify(
    "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
    "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
)
RFC6979 = (
    (
        b"sample",
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
    ),
    (
        b"test",
        "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367",
        "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
    ),
)
SAMPLE = (KEY, hashlib.sha256(b"sample").digest(), unhexlify(RFC6979[0][1] + RFC6979[0][2]))

# What it is about, whether it holds, X, Y, digest, r, s.
CORNERS = (
    (
        "digest 0: u1 = 0",
        True,
        "db984701da271d394c78df941af0d8bf46b92fe6385f04af9b8d1709ea426b41",
        "d5d61b8b1992a126b0aa53d4d4cd9003d19b5cb904f9cd1d2d8f5a7429b73643",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0e0378ee88ca5327e66f1a20d8e1248d2f7466181ae383f71954cb325bb2cc24",
        "d933bac05830c490a2a5fe4ecb4171a1064f3ee95ee63f77890b61eabf4ee69a",
    ),
    (
        "digest N: u1 = 0",
        True,
        "db984701da271d394c78df941af0d8bf46b92fe6385f04af9b8d1709ea426b41",
        "d5d61b8b1992a126b0aa53d4d4cd9003d19b5cb904f9cd1d2d8f5a7429b73643",
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        "0e0378ee88ca5327e66f1a20d8e1248d2f7466181ae383f71954cb325bb2cc24",
        "d933bac05830c490a2a5fe4ecb4171a1064f3ee95ee63f77890b61eabf4ee69a",
    ),
    (
        "key G, u1 = u2 = 1: the same point is added twice",
        True,
        "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
        "7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978",
        "7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978",
        "7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978",
    ),
    (
        "key -G, u1 = 65, u2 = 67: infinity on the way",
        True,
        "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
        "b01cbd1c01e58065711814b583f061e9d431cca994cea1313449bf97c840ae0a",
        "3c1545c02d1a23172e4fc3b682a80e80d64682bdb3a07673d1de9479c438c178",
        "7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978",
        "206e9aac2ff49633ae013a2641068621752173926228d260ea165a414196ec00",
    ),
    (
        "key -G, u1 = u2 = 1: infinity at the end",
        False,
        "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
        "b01cbd1c01e58065711814b583f061e9d431cca994cea1313449bf97c840ae0a",
        "7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978",
        "7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978",
        "7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978",
    ),
    (
        "key 2G",
        True,
        "7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978",
        "07775510db8ed040293d9ac69f7430dbba7dade63ce982299e04b79d227873d1",
        "e79119a055ea1235e0a822eb9dc3d2a81584e4d31e5b69855c7ff33e53dff6d5",
        "4200efed5a7de16363d2aaaa08f17f89130a43f98ff97219d779b7ae1659d850",
        "501ddd33979612cf68a5eebb54d307a140cf24520b1f3debb0e026713b6490c4",
    ),
    (
        "key -3G",
        True,
        "5ecbe4d1a6330a44c8f7ef951d4bf165e6c6b721efada985fb41661bc6e7fd6c",
        "78cb9bf2b6670082c8b4f931e59b5d1327d54fcac7b047c265864ed85d82afcd",
        "3173b96b2800b2a5f5552416c4c809f2a691c2747887b6504247fa049f1fb525",
        "0cb9bfd953f17a109d92a0e273a4f9b1f01d4100a1a2d0e223f4d2fbbe7ac708",
        "f106f658d7567cb3d00276ac1fd486c2bbad6b2418fe2819e4eb957d9d4c6307",
    ),
    (
        "key (N-1)/2 G",
        True,
        "2afa386b3f2bdcdb83f4d83f8fa3874d7b74dcb454bd644fdd6bf3d1f2da8db6",
        "72184be1caa8563462b536f10852d665ae8a64fdf1eb8d4c946ad589796f729c",
        "03405f15fc5f955fc29356e70e4983a014792eef4ad821a6b11b74fdee60cc2b",
        "63df71168c7b991cd37d0d9dbf3bcfa8c5efa62677564ec1bb4095e696dc329a",
        "ed4be5bda3103993ddc6801db56a823a008766f72be001b4c20bd8e7a1868e35",
    ),
    (
        "abscissa N+r below P",
        True,
        "18108467eb0d0fe3d4fc8c4ad7ff26203d100ad40cbd26a069c0a8e5b19f3e9f",
        "eb6938eb82ec60d3838d8f67773e3f29984da28bcc67a261a1621c9566926f99",
        "0cbb2d55265b1aa34857d16a1a97fd560931d71fda0712ec93cd81f7d35c29df",
        "0000000000000000000000000000000000000000000000000000000000000003",
        "66a894c347a1c8b1f1ea28f3ee44aaa5ad0866d2d9229ccfa37c89342a50831c",
    ),
    (
        "r+N is the abscissa plus P",
        False,
        "51f0517f40eb0fcf2dc094f2778ed8edcb059e2e92c6fb0a126c59e017e6651a",
        "63cd71c970a8ed24963ed794b845f5caee95cf471d7b03383426a08e6c6ceb18",
        "bffecb30139d0799bbe65282e5bfab5ad5597c49e92a55031fb49e68e5e652cb",
        "000000000000000000000000000000004319055358e8617b0c46353d039cdab3",
        "fea4259ca3a7e339e0ce3e11bd70a866259143cabcd3adc8bc43df0c289187e7",
    ),
    (
        "digest of all ones",
        True,
        "db984701da271d394c78df941af0d8bf46b92fe6385f04af9b8d1709ea426b41",
        "d5d61b8b1992a126b0aa53d4d4cd9003d19b5cb904f9cd1d2d8f5a7429b73643",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "19c07d3980f376bb6668a80e9652f29b5104bd98a5f0e4eeae374223a7daf6c2",
        "81eb7994a6aa60cab1677f4bdfa35dbee97bb6e67d02a83e5ace4baed9899dd0",
    ),
    (
        "the same with -s",
        True,
        "db984701da271d394c78df941af0d8bf46b92fe6385f04af9b8d1709ea426b41",
        "d5d61b8b1992a126b0aa53d4d4cd9003d19b5cb904f9cd1d2d8f5a7429b73643",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "19c07d3980f376bb6668a80e9652f29b5104bd98a5f0e4eeae374223a7daf6c2",
        "7e14866a59559f364e9880b4205ca240d36b43c72a14f64698eb7f1422d98781",
    ),
    (
        "key with a small X",
        True,
        "0000000000000000000000000000000000000000000000000000000000000005",
        "459243b9aa581806fe913bce99817ade11ca503c64d9a3c533415c083248fbcc",
        "84a64367b850093e2e8e2a47972f135f039818cdbaded47f3f85b17a87ad5101",
        "44f8a3d0ea931e8077cbdf793808e7f85d5f1aad65c2862ce327391df3542081",
        "b6760208a4479ab9c8a2a63624be4d0bcb55b9c930d45ccc8a9b38fb1371fe63",
    ),
    (
        "the same key, X+P",
        False,
        "ffffffff00000001000000000000000000000001000000000000000000000004",
        "459243b9aa581806fe913bce99817ade11ca503c64d9a3c533415c083248fbcc",
        "84a64367b850093e2e8e2a47972f135f039818cdbaded47f3f85b17a87ad5101",
        "44f8a3d0ea931e8077cbdf793808e7f85d5f1aad65c2862ce327391df3542081",
        "b6760208a4479ab9c8a2a63624be4d0bcb55b9c930d45ccc8a9b38fb1371fe63",
    ),
    (
        "abscissa above N, given as r itself",
        False,
        "18108467eb0d0fe3d4fc8c4ad7ff26203d100ad40cbd26a069c0a8e5b19f3e9f",
        "eb6938eb82ec60d3838d8f67773e3f29984da28bcc67a261a1621c9566926f99",
        "0cbb2d55265b1aa34857d16a1a97fd560931d71fda0712ec93cd81f7d35c29df",
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632554",
        "66a894c347a1c8b1f1ea28f3ee44aaa5ad0866d2d9229ccfa37c89342a50831c",
    ),
    (
        "s = N+1",
        False,
        "0db867d9c54eb5024e0d122d75e220c169b375dbdb9bbc235c9bb0d2636c6938",
        "5a245aa11a61634fbeb1699a8c5b996e7dc98481b5845866683485afce34aa5e",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "19c07d3980f376bb6668a80e9652f29b5104bd98a5f0e4eeae374223a7daf6c2",
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632552",
    ),
    (
        "key with a small Y",
        True,
        "d7325d7646cd60d80a92738ceb345f844cffaf35841022cab176f692de8de1d7",
        "0000000000000000000000000000000000000000000000000000000000000005",
        "beefc07a5071c961b94d0c052ccb5fd1b72d10d1701cc819ec49530960120709",
        "f330ea29f9049acb3639121c7981da7816723516282f4d48742f6bf820c933a4",
        "09f76d53c601b3300eb23b3da7d0050ab9787c302e5a845f5f8fb76d6de6d9d6",
    ),
    (
        "the same key, Y+P",
        False,
        "d7325d7646cd60d80a92738ceb345f844cffaf35841022cab176f692de8de1d7",
        "ffffffff00000001000000000000000000000001000000000000000000000004",
        "beefc07a5071c961b94d0c052ccb5fd1b72d10d1701cc819ec49530960120709",
        "f330ea29f9049acb3639121c7981da7816723516282f4d48742f6bf820c933a4",
        "09f76d53c601b3300eb23b3da7d0050ab9787c302e5a845f5f8fb76d6de6d9d6",
    ),
    (
        "point of another curve, a signature that holds there",
        False,
        "db984701da271d394c78df941af0d8bf46b92fe6385f04af9b8d1709ea426b41",
        "d5d61b8b1992a126b0aa53d4d4cd9003d19b5cb904f9cd1d2d8f5a7429b73644",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "cbe870dc648450d04d9df331f7e0bb65815a0a3d7455a326ae5008fbadf7536f",
        "df24b91d69e8b9f8a4caab7f18f4ce8ae5a8db014dec8e2e7338a962ec1a9c02",
    ),
    (
        "s = 1",
        True,
        "0db867d9c54eb5024e0d122d75e220c169b375dbdb9bbc235c9bb0d2636c6938",
        "5a245aa11a61634fbeb1699a8c5b996e7dc98481b5845866683485afce34aa5e",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "19c07d3980f376bb6668a80e9652f29b5104bd98a5f0e4eeae374223a7daf6c2",
        "0000000000000000000000000000000000000000000000000000000000000001",
    ),
    (
        "s = N-1",
        True,
        "f100a7b22eb4e6625003bd728a974e3d252fe488ac55e506c3012c756ab0c354",
        "a9eae63ce218867e2b81f09ded81bb452870cf7fcffbac1e8adb7b97c3480d03",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "19c07d3980f376bb6668a80e9652f29b5104bd98a5f0e4eeae374223a7daf6c2",
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550",
    ),
    (
        "sum at infinity, long scalars",
        False,
        "66dafca250081f3c42b3f2318c59d58346135a6f0e74646c4335fe6865179c7a",
        "3557c67e61b465953973bcec9dd13a411cd5bf7f5e806b6e9c4c37b7aadf3b58",
        "0b78074a0043684916e910b61f3a5dfe8995286f534308880b2f31399c4e596a",
        "0000000000000000000000001e17714377bd22c773c0a7d1f2317f1c9a68069b",
        "3f4eea216d48a0c79a232e3006c61903b092fb8dd11c631978881a37a5b68e21",
    ),
)


def octets(*numbers):
    return b"".join([number.to_bytes(32, "big") for number in numbers])


def flipped(data, bit):
    copy = bytearray(data)
    copy[bit >> 3] ^= 1 << (bit & 7)
    return bytes(copy)


def drive(run):
    """The verdict of a generator, and how often it yielded."""
    pauses = 0
    while True:
        try:
            assert next(run) is None
        except StopIteration as end:
            return end.value, pauses
        pauses += 1


def test_rfc_6979():
    for message, r, s in RFC6979:
        digest = hashlib.sha256(message).digest()
        assert ecdsa.verify(KEY, digest, unhexlify(r + s)) is True
        assert ecdsa.verify(KEY, hashlib.sha256(message + b".").digest(), unhexlify(r + s)) is False
        assert ecdsa.verify(KEY, digest, unhexlify(s + r)) is False


def test_corners():
    for what, holds, x, y, digest, r, s in CORNERS:
        assert ecdsa.verify(unhexlify(x + y), unhexlify(digest), unhexlify(r + s)) is holds, what


def test_one_bit_more_or_less_is_refused():
    for part in range(3):
        for bit in range(0, 8 * len(SAMPLE[part]), 37):
            changed = list(SAMPLE)
            changed[part] = flipped(SAMPLE[part], bit)
            assert ecdsa.verify(*changed) is False, (part, bit)


def test_r_and_s_outside_their_range_are_refused():
    r, s = int.from_bytes(SAMPLE[2][:32], "big"), int.from_bytes(SAMPLE[2][32:], "big")
    for wrong in (0, N, N + 1, P, (1 << 256) - 1):
        assert ecdsa.verify(KEY, SAMPLE[1], octets(wrong, s)) is False
        assert ecdsa.verify(KEY, SAMPLE[1], octets(r, wrong)) is False
    assert ecdsa.verify(KEY, SAMPLE[1], bytes(64)) is False


def test_keys_that_are_no_point_are_refused():
    x, y = int.from_bytes(KEY[:32], "big"), int.from_bytes(KEY[32:], "big")
    for wrong in ((0, 0), (x, 0), (0, y), (y, x), (P, y), (x, P), (x, (1 << 256) - 1), (x ^ 1, y), (x, y ^ 1)):
        assert ecdsa.verify(octets(*wrong), SAMPLE[1], SAMPLE[2]) is False


def test_other_lengths_and_types_are_refused_without_an_exception():
    for part in range(3):
        right = SAMPLE[part]
        number = int.from_bytes(right, "big")
        zero = bytes(1)
        for wrong in (
            b"", right[:-1], right[1:], right + zero, zero + right, right + right,
            None, True, 0, number, "", "0" * len(right), [], list(right), tuple(right), {}, object, object(), len,
        ):  # fmt: skip
            changed = list(SAMPLE)
            changed[part] = wrong
            assert ecdsa.verify(*changed) is False, (part, wrong)
            assert drive(ecdsa.steps(*changed)) == (False, 0), (part, wrong)


def test_bytes_like_objects_are_taken():
    for kind in (bytes, bytearray, memoryview):
        assert ecdsa.verify(*[kind(part) for part in SAMPLE]) is True
    longer = bytearray(b"." + SAMPLE[0] + b".")
    assert ecdsa.verify(memoryview(longer)[1:-1], *SAMPLE[1:]) is True


def test_steps_pause_often_and_give_the_same_verdict():
    """OP-ORD-27"""
    for expected, signature in ((True, SAMPLE[2]), (False, flipped(SAMPLE[2], 5))):
        verdict, pauses = drive(ecdsa.steps(KEY, SAMPLE[1], signature))
        assert verdict is expected
        assert 350 < pauses < 500


def test_arguments_are_read_in_the_first_slice():
    parts = [bytearray(part) for part in SAMPLE]
    run = ecdsa.steps(*parts)
    next(run)
    for part in parts:
        part[0] ^= 255
    assert drive(run)[0] is True
