"""The benchmark of signature checks runs, on MicroPython and beside its peer, and counts what it compares with."""

from openprepay import bench_ecdsa


def test_every_row_is_a_figure() -> None:
    rows = {row["name"]: row for row in bench_ecdsa.run()}
    assert list(rows) == [
        "ecdsa_verify", "ecdsa_verify_arithmetic", "ecdsa_longest_slice", "ecdsa_heap_peak", "ecdsa_garbage",
    ]  # fmt: skip
    for row in rows.values():
        assert set(row) == {"name", "value", "unit", "peer", "ratio"}
        assert row["value"] > 0
        assert (row["peer"] is None) is (row["ratio"] is None)
    assert rows["ecdsa_heap_peak"]["value"] <= 4200
