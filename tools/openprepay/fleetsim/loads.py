"""What the homes of a fleet draw: the shape of a day, another size for each, and a little chance in each quarter."""

from typing import NamedTuple

_MORNING_W = (210, 180, 165, 160, 165, 190, 280, 390, 400, 370, 360, 380)
_EVENING_W = (430, 400, 360, 350, 390, 540, 690, 720, 650, 540, 410, 290)
_SHAPE_W = (*_MORNING_W, *_EVENING_W)
_DAY_S = 86_400
_HOUR_S = 3_600
_QUARTER_S = 900


class Peak(NamedTuple):
    """From one second to another (UTC) everybody draws `percent` of what they would."""

    from_s: int = 0
    until_s: int = 0
    percent: int = 100


class Home:
    """One household; equal seeds draw alike. 0.5 to 2 times the shape, and in each quarter 60 to 140 % of that."""

    __slots__ = ("_peak", "_seed")

    def __init__(self, seed: int, peak: Peak) -> None:
        self._seed = seed
        self._peak = peak

    def watts(self, unix_s: int) -> int:
        size = 50 + self._seed * 7919 % 151
        chance = 60 + (self._seed * 31 + unix_s // _QUARTER_S) * 2654435761 % 2**32 % 81
        percent = self._peak.percent if self._peak.from_s <= unix_s < self._peak.until_s else 100
        return _SHAPE_W[unix_s % _DAY_S // _HOUR_S] * size * chance * percent // 1_000_000
