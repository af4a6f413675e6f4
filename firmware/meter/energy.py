"""Pulses of the metering chip into watt-hours, import and export, with the carried remainder.

A pulse is 1000 / imp_per_kwh Wh, so the remainder counts in 1 / imp_per_kwh of a watt-hour: nothing is ever rounded.
The chip's counter is volatile: it starts at 0 with the board, so the first count after a start is energy as well.
"""

RATES = 4
BURST_S = 2  # readings come once a second, give or take one
BOOT_S = 5  # the counter runs while the board starts


class Energy:
    """Registers of one meter. import_wh, export_wh only rise; import_rest, export_rest: 0..imp_per_kwh-1 ·
    import_rates, export_rates: the same energy by the rate in which each watt-hour was completed; what was counted
    before there were rates, or taken over by `recover`, is in none of them.

    `take` reads the counters; `add` turns the pulses that it accepted into energy, in one or several portions.
    """

    def __init__(self, imp_per_kwh: int, max_power_w: int) -> None:
        self.import_wh = 0
        self.import_rest = 0
        self.export_wh = 0
        self.export_rest = 0
        self.import_rates = [0] * RATES
        self.export_rates = [0] * RATES
        self.imp_per_kwh = imp_per_kwh
        self._max_power_w = max_power_w
        self._import_count = 0
        self._export_count = 0
        self._budget = self._per_s() * (BOOT_S - BURST_S)

    def state(self) -> "tuple[int, int]":
        """For `restore`."""
        return self.import_wh, self.export_wh

    def restore(self, state: "tuple[int, int]") -> None:
        """Back to a `state`: what raised the registers could not be stored."""
        self.import_wh, self.export_wh = state

    def _per_s(self) -> int:
        """Thousandths of a pulse that the largest load makes in a second, rounded up."""
        return self._max_power_w * self.imp_per_kwh // 3600 + 1

    def set_constant(self, imp_per_kwh: int) -> None:
        """Take another meter constant; the remainders keep their energy."""
        self.import_rest = self.import_rest * imp_per_kwh // self.imp_per_kwh
        self.export_rest = self.export_rest * imp_per_kwh // self.imp_per_kwh
        self.imp_per_kwh = imp_per_kwh

    def take(self, counts: "tuple[int, int]", elapsed_s: int) -> "tuple[int, int, int]":
        """(import pulses, export pulses, pulses discarded) since the last call, `elapsed_s` ago.

        What the largest load could not have drawn in that time is discarded. A counter below its last value has
        restarted.
        """
        imported = counts[0] - self._import_count
        exported = counts[1] - self._export_count
        if imported < 0:
            imported = counts[0]
        if exported < 0:
            exported = counts[1]
        self._import_count, self._export_count = counts
        if not imported and not exported:
            self._budget = min(self._budget + self._per_s() * elapsed_s, self._per_s() * BURST_S)
            return 0, 0, 0
        per_s = self._per_s()
        limit = (min(self._budget, per_s * BOOT_S) + per_s * elapsed_s) // 1000
        taken_in = min(imported, limit)
        taken_out = min(exported, limit - taken_in)
        self._budget = min((limit - taken_in - taken_out) * 1000, per_s * BURST_S)
        return taken_in, taken_out, imported + exported - taken_in - taken_out

    def add(self, imported: int, exported: int, rate: int = 0) -> "tuple[int, int]":
        """Count pulses at a rate; the whole watt-hours (import, export) that they complete."""
        done_wh = given_wh = 0
        if imported:
            done_wh, self.import_rest = divmod(self.import_rest + imported * 1000, self.imp_per_kwh)
            self.import_wh += done_wh
            self.import_rates[rate] += done_wh
        if exported:
            given_wh, self.export_rest = divmod(self.export_rest + exported * 1000, self.imp_per_kwh)
            self.export_wh += given_wh
            self.export_rates[rate] += given_wh
        return done_wh, given_wh
