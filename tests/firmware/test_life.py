"""A week of a meter's life in each mode, second by second, with all that goes wrong; and the same flash, bit for bit,
whatever interpreter it was lived on. `OPENPREPAY_SEED` gives other lives; `make soak` lives for a year.
"""

import os
from collections.abc import Iterator, Mapping

import pytest

from meter import apply, cover, recover, relay, supply, typed, versions
from meterlink import ecdsa, orders
from metersim import wasm
from metersim.life import DAY_S, HOUR_S, Life
from metersim.life_orders import MODES
from tests import needs, upyhost

SEED = int(os.environ.get("OPENPREPAY_SEED", "1"))
DAYS = int(os.environ.get("OPENPREPAY_LIFE_DAYS", "7"))
DAYS_UPY = int(os.environ.get("OPENPREPAY_LIFE_DAYS_UPY", "1"))
HOURS_WASM = int(os.environ.get("OPENPREPAY_LIFE_HOURS_WASM", "1"))
_PROGRAM = """
import sys
sys.path.insert(0, "simulator")
from metersim.life import Life
life = Life({mode!r}, {seed}, {check})
life.run({seconds})
print(life.digest())
"""


def _digest(mode: str, seconds: int) -> str:
    life = Life(mode, SEED, check=False)
    life.run(seconds)
    return life.digest()


@pytest.mark.parametrize("mode", MODES)
def test_a_week_of_life(mode: str) -> None:
    """Every rule holds in every second, and what can happen has happened."""
    life = Life(mode, SEED)
    life.run(DAYS * DAY_S)
    life.settle()
    _has_happened(life.counts, life)


def _has_happened(counts: Mapping[str, int], life: Life) -> None:
    for what in ("outages", "outages with warning", "cuts in flash", "brown-outs", "faults of the relay", "tampering"):
        assert counts.get(what), (what, counts)
    for what in ("forged orders", "orders that came again", "frames of noise", "orders: 1", "orders: 2"):
        assert counts[what] > 10, (what, counts)
    assert life.meter.boot > 3 * DAYS
    assert life.meter.store.intervals.newest > 70 * DAYS
    assert life.meter.energy.import_wh > 100 * DAYS


@pytest.mark.parametrize("mode", MODES)
def test_a_day_on_micropython_is_the_same_flash(mode: str) -> None:
    """MicroPython's flash is CPython's."""
    seconds = DAYS_UPY * DAY_S
    program = _PROGRAM.format(mode=mode, seed=SEED, check=False, seconds=seconds)
    done = upyhost.run(program, heapsize="32M", timeout=36_000)
    assert done.stdout.split() == [_digest(mode, seconds)]


@pytest.mark.parametrize("mode", MODES)
def test_hours_on_32_bits_are_the_same_flash(mode: str) -> None:
    """So is that of MicroPython on words of 32 bits."""
    needs.wasm()
    seconds = HOURS_WASM * HOUR_S
    program = _PROGRAM.format(mode=mode, seed=SEED, check=False, seconds=seconds)
    folders = {f"/repo/{one}": upyhost.ROOT / one for one in ("protocol", "firmware", "simulator/metersim")}
    path = ["/repo/protocol", "/repo/firmware", "/repo/simulator"]
    done = wasm.run([("live", program)], folders, path, 4 << 20, timeout=36_000)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [_digest(mode, seconds)]


@pytest.mark.parametrize("mode", MODES)
def test_equal_seeds_give_equal_lives_and_others_do_not(mode: str) -> None:
    lives = [Life(mode, seed, check=False) for seed in (SEED, SEED, SEED + 1)]
    for life in lives:
        life.run(HOUR_S)
    digests = [life.digest() for life in lives]
    assert digests[0] == digests[1] != digests[2]


def test_a_rule_that_is_broken_is_told() -> None:
    """The rules see what the firmware does: money from nowhere, a register that falls, a lost hold."""
    life = Life("smets2", SEED)
    life.run(HOUR_S)
    life.meter.account.credited_uc += 1
    with pytest.raises(AssertionError, match="applied is what was signed"):
        life.run(120)
    life = Life("smets2", SEED)
    life.run(6 * HOUR_S)
    energy = life.meter.energy
    energy.import_wh -= 1
    energy.import_rates[energy.import_rates.index(max(energy.import_rates))] -= 1
    with pytest.raises(AssertionError, match=r"never falls|the bill is"):
        life.run(120)
    life = Life("postpaid", SEED)
    life.run(HOUR_S)
    life.rules.holds |= 2
    with pytest.raises(AssertionError, match="holds are what was ordered"):
        life.run(120)


def _never(*args: object) -> int:
    return 0


def _any_signature(key: bytes, digest: bytes, signature: bytes) -> Iterator[None]:
    yield None
    return True


@pytest.mark.parametrize(
    ("mode", "seed", "where", "name", "broken", "told"),
    [
        ("remote", 4, cover.Cover, "causes", _never, "not on without cover"),
        ("smets2", 1, cover.Cover, "_least_uc", lambda self: -(10**9), "not on without cover"),
        ("smets2", 2, relay.Relay, "_mismatch", _never, "against the intent is told"),
        ("postpaid", 6, apply, "_expiry", _never, "after its not-after"),
        ("postpaid", 2, versions, "version", _never, "below what was seen"),
        ("smets2", 3, ecdsa, "steps", _any_signature, "nobody signed"),
        ("postpaid", 1, supply.Supply, "_holds_standing", _never, "against a hold"),
        ("postpaid", 7, supply.Supply, "_asks", _never, "lift safety"),
        ("typed", 5, typed.Typed, "_judge", _never, "what was used"),
        ("smets2", 3, recover, "_behind", lambda meter: True, "finds everything"),
    ],
)
def test_firmware_that_breaks_a_rule_is_found(
    monkeypatch: pytest.MonkeyPatch, mode: str, seed: int, where: object, name: str, broken: object, told: str
) -> None:
    """The firmware with one thing broken does not live for a day. (The seeds are ones that find it soon.)"""
    if where is versions:
        row = apply._ASPECTS[orders.ASPECT_LIMITS]
        monkeypatch.setitem(apply._ASPECTS, orders.ASPECT_LIMITS, (row[0], broken, *row[2:]))
    else:
        monkeypatch.setattr(where, name, broken)
    life = Life(mode, seed)
    with pytest.raises(AssertionError, match=told):
        life.run(DAY_S)
