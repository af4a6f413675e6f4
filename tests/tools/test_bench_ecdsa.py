"""The benchmark of signature checks runs, on MicroPython and beside its peer, and counts what it compares with."""

from openprepay.bench import ecdsa


def test_every_row_is_a_figure() -> None:
    figures = {figure.name: figure for figure in ecdsa.run(0)}
    assert list(figures) == [
        "ecdsa_verify", "ecdsa_verify_arithmetic", "ecdsa_longest_slice", "ecdsa_heap_peak", "ecdsa_garbage",
    ]  # fmt: skip
    for figure in figures.values():
        assert figure.value > 0
        assert (figure.peer is None) is (figure.ratio is None)
    assert figures["ecdsa_heap_peak"].value <= 4200
