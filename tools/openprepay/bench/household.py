"""A year of a measured household, as the interval records that a meter would have made of it; `data/household.md`
tells where it comes from.
"""

import lzma
from array import array
from importlib.resources import files
from sys import byteorder

from meterlink.records import pack_interval

MINUTES = 15
DAY = 24 * 60 // MINUTES  # records
START_S = 1_199_145_600  # 2008-01-01


def energy_wh() -> list[int]:
    """What was drawn in each quarter of an hour."""
    raw = lzma.decompress(files("openprepay.bench").joinpath("data/household.xz").read_bytes())
    found = array("H", raw)
    if byteorder == "little":
        found.byteswap()
    return found.tolist()


def days(start_s: int = START_S, first: int = 1, register_wh: int = 1_000_000) -> list[bytes]:
    """366 days of records; `start_s`: a midnight, `first`: the first number, `register_wh`: before it."""
    made = []
    for place, used_wh in enumerate(energy_wh()):
        register_wh += used_wh
        start = start_s + place * MINUTES * 60
        made.append(pack_interval(first + place, start, register_wh, 0, used_wh, 0, MINUTES, 0))
    return [b"".join(made[at : at + DAY]) for at in range(0, len(made), DAY)]
