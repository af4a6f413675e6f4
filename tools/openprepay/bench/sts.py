"""Typed tokens: decoder keys derived and tokens issued a second on the host, the time of one on MicroPython.

No public implementation of the format installs beside this one, so the peers are what nobody can leave out: the HMAC in
C for a derivation, MISTY1's key schedule and one block for a token.
"""

import hmac
from collections.abc import Callable, Iterator

from meterlink.sts import dkga04, issue
from meterlink.sts.encipher import Encipher
from openprepay.bench import upy
from openprepay.bench.figure import Figure, against, race, timed

HEAP = "128K"
CIPHER = "MISTY1 alone: key schedule and one block"
_VENDING_KEY = bytes(range(20))
_METER = dkga04.KeyAttributes("600727000000000009", 123457, 1, 2, 1, 2014)
_MANY = 500  # a round
_ISSUED_S = 1_772_366_400


def run(seconds: float) -> Iterator[Figure]:
    """Derive and vend on the host, read on a meter."""
    key = dkga04.derive(_VENDING_KEY, _METER)
    message = dkga04.message(_METER)
    digits = vend(key)

    yield _rate(
        "sts_derive", "keys/s", seconds / 4, lambda: dkga04.derive(_VENDING_KEY, _METER),
        "hmac.digest (OpenSSL) of the ready message", lambda: hmac.digest(_VENDING_KEY, message, "sha256"),
    )  # fmt: skip
    yield _rate(
        "sts_vend", "tokens/s", seconds / 4, lambda: vend(key), CIPHER, lambda: Encipher(key).encrypt(message[:8])
    )
    rounds = 10 + int(seconds * 100)
    found = upy.measure(_PROGRAM, HEAP, key=key, digits=digits, block=Encipher(key).encrypt(bytes(8)), rounds=rounds)
    yield against("sts_decode", found["decode_us"] / 1000, "ms", CIPHER, found["cipher_us"] / 1000)
    yield Figure("sts_decode_garbage", found["garbage"], "bytes")
    yield Figure("sts_heap", found["heap"], "bytes")


def vend(key: bytes) -> str:
    """A credit token as the head end makes one: TID, register, encoding, encryption."""
    return issue.once(key, 0, 0, 5, issue.tid_of(2014, _ISSUED_S), issue.register_of(255))


def _rate(
    name: str, unit: str, seconds: float, ours: Callable[[], object], peer: str, peers: Callable[[], object]
) -> Figure:
    def many(function: Callable[[], object]) -> Callable[[], None]:
        def repeat() -> None:
            for _ in range(_MANY):
                function()

        return repeat

    ours_s, peers_s = race([timed(many(ours)), timed(many(peers))], seconds, rounds=2)
    return against(name, _MANY / ours_s, unit, peer, _MANY / peers_s)


_PROGRAM = """
import gc, json, time
from meterlink import modbus  # a meter has it anyway

gc.collect()
before = gc.mem_alloc()
from meterlink.sts.misty1 import Misty1
from meterlink.sts.token import decode
gc.collect()
heap = gc.mem_alloc() - before

MANY = 10  # what they leave behind fits into the heap

def best_us(function):
    best = 1 << 30
    for _ in range(rounds):
        gc.collect()
        start = time.ticks_us()
        for _ in range(MANY):
            function()
        best = min(best, time.ticks_diff(time.ticks_us(), start))
    return best / MANY

def garbage():
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    decode(key, digits)
    taken = gc.mem_alloc() - before
    gc.enable()
    return taken

assert decode(key, digits).register == 255
print(json.dumps({
    "decode_us": best_us(lambda: decode(key, digits)),
    "cipher_us": best_us(lambda: Misty1(key).decrypt(block)),
    "garbage": garbage(),
    "heap": heap,
}))
"""
