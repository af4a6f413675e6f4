"""docs/field.md tells customers' results in the words that the tools and displays use."""

from pathlib import Path

from meterlink import names
from meterlink.labels import LABEL

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "field.md").read_text(encoding="utf-8")


def test_the_results_of_typed_tokens() -> None:
    rows = [f"| `{name}` | {' | '.join(LABEL['typed'][name])} |" for name in names.TYPED.values() if name != "none"]
    shown = PAGE.partition("<!-- results -->\n")[2].partition("<!-- end -->")[0].splitlines()
    assert shown[2:] == rows
