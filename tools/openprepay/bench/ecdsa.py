"""What the check of one order's signature costs on MicroPython, beside a peer and beside what cannot be saved.

The peer is python-ecdsa, the pure-Python library. It does not load on MicroPython as it is installed (`six`, `re.sub`
with flags, `int.bit_length`); its arithmetic does: `ecdsa.py`, `ellipticcurve.py` and `numbertheory.py` run unchanged
above stand-ins for the few helpers that they import. Both check that the key is on the curve and give one verdict.

Each runs in a child process of its own; times are the best of many and include the collection of garbage.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from meterlink import ecdsa, p256
from openprepay.bench import upy
from openprepay.bench.figure import Figure, against

HEAP = "256K"
PEER_HEAP = "1M"  # the least is above 400K
_DIGEST = bytes(range(100, 132))


def run(seconds: float) -> Iterator[Figure]:
    """Time and heap of a verification."""
    signed = dict(zip(("key", "digest", "signature"), _signed(), strict=True))
    products = sum(products_by_slice(*signed.values()))
    turns = max(1, min(4, int(seconds)))
    rounds = max(1, int(seconds / turns * 7))  # of about 0.1 s
    ours, peers = [], []
    with tempfile.TemporaryDirectory() as folder:
        _lay_out_peer(Path(folder))
        for _ in range(turns):
            ours.append(upy.measure(_COMMON + _OURS, HEAP, **signed, rounds=rounds))
            peers.append(upy.measure(_COMMON + _PEER, PEER_HEAP, Path(folder), **signed, rounds=rounds))
    verify_us, product_ns, slice_us = (
        min(one[name] for one in ours) for name in ("verify_us", "product_ns", "slice_us")
    )
    ms = verify_us / 1000
    peer = f"python-ecdsa {metadata.version('ecdsa')}, its arithmetic on the same interpreter"
    yield against("ecdsa_verify", ms, "ms", peer, min(one["verify_us"] for one in peers) / 1000)
    bare = f"its {products} field multiplications alone, {product_ns} ns each"
    yield against("ecdsa_verify_arithmetic", ms, "ms", bare, products * product_ns / 1e6)
    yield against("ecdsa_longest_slice", slice_us, "us", "the whole verification", verify_us)
    yield Figure("ecdsa_heap_peak", ours[0]["peak"], "bytes")
    yield Figure("ecdsa_garbage", ours[0]["garbage"], "bytes")


def products_by_slice(public_key: bytes, digest: bytes, signature: bytes) -> list[int]:
    """How many field multiplications each slice of a verification takes, counted while it runs.

    The code that is counted is the code that ships: only the `int` through which it reads bytes is exchanged.
    """
    counts = []
    with patch.object(p256, "int", _Counted, create=True), patch.object(ecdsa, "int", _Counted, create=True):
        slices = ecdsa.steps(public_key, digest, signature)
        more = True
        while more:
            before = _Counted.products
            more = next(slices, False) is None
            counts.append(_Counted.products - before)
    return counts


class _Counted(int):
    """An integer that counts the products of two large factors; what it makes is one again."""

    products = 0

    def __mul__(self, other: int) -> "_Counted":
        _Counted.products += min(abs(int(self)), abs(int(other))) >> 130 > 0
        return _Counted(int(self) * int(other))

    __rmul__ = __mul__


def _closed(name: str) -> Callable[[_Counted, int], _Counted]:
    plain = getattr(int, name)
    return lambda self, other: _Counted(plain(self, other))


for _operator in ("add", "radd", "sub", "rsub", "mod", "rmod", "floordiv", "rfloordiv", "lshift", "rshift", "and"):
    setattr(_Counted, f"__{_operator}__", _closed(f"__{_operator}__"))


def _signed() -> tuple[bytes, bytes, bytes]:
    """A key, a digest and a signature; the same every time."""
    key = ec.derive_private_key(int.from_bytes(b"bench" * 6, "big"), ec.SECP256R1())
    algorithm = ec.ECDSA(utils.Prehashed(SHA256()), deterministic_signing=True)
    r, s = utils.decode_dss_signature(key.sign(_DIGEST, algorithm))
    at = key.public_key().public_numbers()
    return _octets(at.x, at.y), _DIGEST, _octets(r, s)


def _octets(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in numbers)


def _lay_out_peer(folder: Path) -> None:
    spec = find_spec("ecdsa")
    if spec is None or spec.origin is None:
        raise RuntimeError('the package ecdsa is not installed; pip install "openprepay[bench]" brings it')
    for name, text in _STAND_INS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for name in ("ecdsa.py", "ellipticcurve.py", "numbertheory.py", "errors.py"):
        shutil.copy(Path(spec.origin).parent / name, folder / "ecdsa" / name)


_STAND_INS = {
    "__future__.py": "division = None\n",
    "warnings.py": "",
    "six/__init__.py": (
        "PY2 = False\ninteger_types = (int,)\nint2byte = None\n"
        "def python_2_unicode_compatible(kind):\n    return kind\n"
    ),
    "six/moves.py": "reduce = None\n",
    "ecdsa/__init__.py": "",
    "ecdsa/_compat.py": (
        "def bit_length(value):\n    return len(bin(value)) - 2\n"
        "def remove_whitespace(text):\n    return ''.join(text.split())\n"
        "normalise_bytes = int_to_bytes = bytes_to_int = None\n"
    ),
    "ecdsa/util.py": "from ecdsa._compat import bit_length\norderlen = string_to_number = number_to_string = None\n",
}

_COMMON = """
import gc, json, time

signed = key, digest, signature
big = lambda octets: int.from_bytes(octets, "big")

def best_us(functions, rounds):
    best = [1 << 30] * len(functions)
    for _ in range(rounds):
        for k, function in enumerate(functions):
            gc.collect()
            start = time.ticks_us()
            assert function() is True, function
            best[k] = min(best[k], time.ticks_diff(time.ticks_us(), start))
    return best
"""

_PEER = """
from ecdsa.ecdsa import Public_key, Signature, curve_256, generator_256
from ecdsa.ellipticcurve import PointJacobi

def verify():
    point = PointJacobi(curve_256, big(key[:32]), big(key[32:]), 1)
    pair = Signature(big(signature[:32]), big(signature[32:]))
    return Public_key(generator_256, point).verifies(big(digest), pair)

print(json.dumps({"verify_us": best_us([verify], rounds)[0]}))
"""

_OURS = """
from meterlink import ecdsa
from meterlink.p256 import P

def verify():
    return ecdsa.verify(key, digest, signature)

def products():
    "3000 of them."
    x, y, p = big(key[:32]), big(signature[32:]), P
    for _ in range(300):
        x = x * y % p; x = x * y % p; x = x * y % p; x = x * y % p; x = x * y % p
        x = x * y % p; x = x * y % p; x = x * y % p; x = x * y % p; x = x * y % p
    return True

def slices(measure):
    "What `measure` says of each slice, given the function that runs it; the garbage is collected in between."
    run = ecdsa.steps(*signed)
    found = []
    more = True
    while more:
        gc.collect()
        value, more = measure(lambda: next(run, False) is None)
        found.append(value)
    return found

def time_us(run):
    start = time.ticks_us()
    more = run()
    return time.ticks_diff(time.ticks_us(), start), more

def allocated(run):
    before = gc.mem_alloc()
    more = run()
    return gc.mem_alloc() - before, more

def heap_peak():
    "The most that is alive between two slices."
    gc.collect()
    before = gc.mem_alloc()
    run = ecdsa.steps(*signed)
    peak = 0
    more = True
    while more:
        more = next(run, False) is None
        gc.collect()
        peak = max(peak, gc.mem_alloc() - before)
    return peak

verify_us, products_us = best_us((verify, products), rounds)
times = [slices(time_us) for _ in range(rounds // 8 + 1)]
gc.disable()
garbage = sum(slices(allocated))
print(json.dumps({
    "verify_us": verify_us, "product_ns": products_us // 3, "slice_us": max(map(min, zip(*times))),
    "peak": heap_peak(), "garbage": garbage,
}))
"""
