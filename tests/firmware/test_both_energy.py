"""Pulses into watt-hours: nothing is rounded, nothing is counted twice, nothing impossible is energy."""

from meter.energy import BOOT_S, BURST_S, Energy


def test_remainder_is_carried():
    energy = Energy(3200, 30_000)
    whole = 0
    for count in range(1, 3201):
        energy.take((count, 0), 1)
        whole += energy.add(1, 0)[0]
    assert whole == energy.import_wh == 1000 and energy.import_rest == 0


def test_import_and_export_apart():
    energy = Energy(1000, 30_000)
    imported, exported, discarded = energy.take((3, 5), 1)
    assert (imported, exported, discarded) == (3, 5, 0)
    assert energy.add(imported, exported) == (3, 5)
    assert (energy.import_wh, energy.export_wh) == (3, 5)


def test_counter_that_restarted_counts_from_zero():
    energy = Energy(1000, 30_000)
    assert energy.take((8, 0), 5)[0] == 8
    assert energy.take((2, 0), 5)[0] == 2
    assert energy.take((2, 0), 5)[0] == 0


def test_what_no_load_can_draw_is_discarded():
    energy = Energy(1000, 36_000)  # 10 Wh a second
    for second in range(1, 100):
        assert energy.take((10 * second, 0), 1) == (10, 0, 0)
    imported, _, discarded = energy.take((990 + 1_000_000, 0), 1)
    assert imported + discarded == 1_000_000 and imported <= 10 * (1 + BURST_S)
    assert energy.take((990 + 1_000_010, 0), 1) == (10, 0, 0), "and the next second counts again"


def test_a_late_reading_is_no_fault():
    energy = Energy(1000, 36_000)
    assert energy.take((36_000, 0), 3600) == (36_000, 0, 0)


def test_pulses_of_the_start_are_energy_within_reason():
    energy = Energy(1000, 36_000)
    assert energy.take((40, 0), 1) == (40, 0, 0)
    energy = Energy(1000, 36_000)
    taken, _, discarded = energy.take((1000, 0), 1)
    assert taken <= 10 * (BOOT_S + 1) and taken + discarded == 1000


def test_sustained_excess_is_capped_at_the_maximum():
    energy = Energy(1000, 36_000)
    total = 0
    for second in range(1, 1001):
        total += energy.take((25 * second, 0), 1)[0]
    assert 10_000 <= total <= 10_000 + 10 * BOOT_S + 5


def test_another_constant_keeps_the_energy_of_the_remainder():
    energy = Energy(1600, 30_000)
    energy.add(4, 0)
    assert (energy.import_wh, energy.import_rest) == (2, 800)
    energy.set_constant(3200)
    assert energy.import_rest == 1600, "half a watt-hour"


def test_splitting_does_not_change_the_sum():
    one, many = Energy(3200, 30_000), Energy(3200, 30_000)
    one.add(12_345, 678)
    for _ in range(12_345):
        many.add(1, 0)
    for _ in range(678):
        many.add(0, 1)
    assert (one.import_wh, one.import_rest, one.export_wh, one.export_rest) == (
        many.import_wh,
        many.import_rest,
        many.export_wh,
        many.export_rest,
    )
