"""What the meter watches to protect people, itself and the grid: current, power, voltage, temperature.

Each condition becomes a cause (reasons.CAUSE_*) once it has lasted, and ends once it has been gone for long enough:

- overload: a current above `max_current_ma` for 10 s or above a step of `overload` for its time, each counted for
  itself, or a power above the limit of a typed token for 10 s; gone for `overload_rest_s`.
- load limit: more power than load control allows, at once (the trip waits); gone as soon as there is less, or with the
  limit, once it has opened the relay after `overload_rest_s`.
- over-voltage, under-voltage: beyond its limit for `voltage_s`; back by 2 % for `stable_s`.
- temperature: above its limit for 10 s, at once while supply is off; back by 10 degrees for 10 s.
"""

from meter.ports import UNKNOWN_DC, UNKNOWN_DV, UNKNOWN_W
from meterlink import reasons

OVERLOAD_S = 10  # above the limit for so long trips
TEMPERATURE_S = 10
TEMPERATURE_BACK_DC = 100
VOLTAGE_BACK = 50  # back by a fiftieth of the limit

OVERLOAD = 1 << reasons.CAUSE_OVERLOAD
UNSTABLE = 1 << reasons.CAUSE_SUPPLY_QUALITY
OVER_VOLTAGE = 1 << reasons.CAUSE_OVER_VOLTAGE
UNDER_VOLTAGE = 1 << reasons.CAUSE_UNDER_VOLTAGE
TEMPERATURE = 1 << reasons.CAUSE_TEMPERATURE
LOAD_LIMIT = 1 << reasons.CAUSE_LOAD_LIMIT
KEPT = OVERLOAD | OVER_VOLTAGE | UNDER_VOLTAGE | TEMPERATURE | LOAD_LIMIT

_MAX_S = 0xFFFF
_ABOVE, _TOO_LONG = 1, 2


class Watchers:
    """causes: bits of those that stand (`KEPT` are to be kept over a restart), and UNSTABLE while the voltage has not
    been good for `stable_s`."""

    def __init__(self, board) -> None:
        self._board = board
        self.causes = 0
        self._stable_for_s = 0
        self._for_s = dict.fromkeys((OVERLOAD, OVER_VOLTAGE, UNDER_VOLTAGE, TEMPERATURE, LOAD_LIMIT), 0)
        self._over_s = [0] * 5  # above each step of overload, the power of a typed token, `max_current_ma`

    def step(self, elapsed_s: int, limits, load_ma: "int | None", power_limit_w: int, load_limit_w: int) -> None:
        """Look at the board and count. load_ma: current behind the contact, None while supply is off · power_limit_w,
        load_limit_w: of typed tokens and of load control, 0 = none."""
        self._voltage(elapsed_s, limits)
        temperature_dc = self._board.temperature_dc()
        most_dc = limits.max_temperature_dc
        known = most_dc and temperature_dc != UNKNOWN_DC
        hot = known and temperature_dc > most_dc
        back = not known or temperature_dc <= most_dc - TEMPERATURE_BACK_DC
        self._watch(TEMPERATURE, elapsed_s, hot, back, 0 if load_ma is None else TEMPERATURE_S, TEMPERATURE_S)
        self._load(elapsed_s, limits, load_ma, power_limit_w, load_limit_w)

    def _voltage(self, elapsed_s: int, limits) -> None:
        voltage_dv = self._board.voltage_dv()
        known = voltage_dv != UNKNOWN_DV
        over_dv, under_dv = limits.over_voltage_dv, limits.under_voltage_dv
        over = known and 0 < over_dv < voltage_dv
        under = known and voltage_dv < under_dv
        back_over = not known or not over_dv or voltage_dv <= over_dv - over_dv // VOLTAGE_BACK
        back_under = not known or voltage_dv >= under_dv + under_dv // VOLTAGE_BACK
        self._watch(OVER_VOLTAGE, elapsed_s, over, back_over, limits.voltage_s, limits.stable_s)
        self._watch(UNDER_VOLTAGE, elapsed_s, under, back_under, limits.voltage_s, limits.stable_s)
        fifth_dv = self._board.nominal_dv // 5
        far = known and abs(voltage_dv - self._board.nominal_dv) > fifth_dv
        self._stable_for_s = 0 if over or under or far else min(self._stable_for_s + elapsed_s, _MAX_S)
        self.causes &= ~UNSTABLE
        if self._stable_for_s < limits.stable_s:
            self.causes |= UNSTABLE

    def _load(self, elapsed_s: int, limits, load_ma: "int | None", power_limit_w: int, load_limit_w: int) -> None:
        off = load_ma is None
        power_w = self._board.power_w()
        if off or power_w == UNKNOWN_W:
            power_w = 0
        load_ma = load_ma or 0
        worst = max(
            self._exceeds(3, power_w, power_limit_w, OVERLOAD_S, elapsed_s),
            self._exceeds(4, load_ma, limits.max_current_ma, OVERLOAD_S, elapsed_s),
        )
        for i in range(3):
            most_ma, after_s = limits.overload[i]
            worst = max(worst, self._exceeds(i, load_ma, most_ma, after_s, elapsed_s))
        self._watch(OVERLOAD, elapsed_s, worst == _TOO_LONG, not worst, 0, limits.overload_rest_s)
        above = 0 < load_limit_w < power_w
        rest_s = limits.overload_rest_s if load_limit_w and off else 0
        self._watch(LOAD_LIMIT, elapsed_s, above, not above, 0, rest_s)

    def _exceeds(self, i: int, value: int, most: int, after_s: int, elapsed_s: int) -> int:
        """Whether a step of overload is exceeded: 0 no, _ABOVE, or _TOO_LONG already; most: 0 = no limit."""
        if not 0 < most < value:
            self._over_s[i] = 0
            return 0
        self._over_s[i] += elapsed_s
        return _TOO_LONG if self._over_s[i] >= after_s else _ABOVE

    def _watch(self, bit: int, elapsed_s: int, bad, back, begin_s: int, end_s: int) -> None:
        """A condition that is `bad` for begin_s is a cause until it has been `back` for end_s."""
        stands = self.causes & bit
        if back if stands else bad:
            self._for_s[bit] += elapsed_s
            if self._for_s[bit] >= (end_s if stands else begin_s):
                self.causes ^= bit
                self._for_s[bit] = 0
        else:
            self._for_s[bit] = 0
