"""The attributes that a report declares are the ones that its layout sets."""

from meterlink.reports import FIELDS, Report


def test_declared_attributes_are_the_layouts() -> None:
    expected = {name: bytes if code.endswith("s") else int for name, code in FIELDS}
    assert Report.__annotations__ == expected | {"raw": bytes, "meter": int}
