"""The rules of docs/protocol.md and the tests that carry their ids; the tests that other documents name."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RULE = re.compile(r"^\| (OP-[A-Z]+-\d\d) \| ", re.MULTILINE)
ID = re.compile(r"OP-[A-Z]+-\d\d")
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def _tests() -> dict[Path, dict[str, str]]:
    """Test file -> name of each test function -> its docstring."""
    found: dict[Path, dict[str, str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        functions = [one for one in nodes if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
        found[path] = {one.name: ast.get_docstring(one) or "" for one in functions}
    return found


def test_every_rule_has_a_test_and_every_id_a_rule() -> None:
    stated = RULE.findall((ROOT / "docs" / "protocol.md").read_text(encoding="utf-8"))
    assert len(stated) == len(set(stated)), "an id stands for one rule"
    carried = {
        one
        for functions in _tests().values()
        for name, text in functions.items()
        if name.startswith(("test", "Test"))
        for one in ID.findall(text)
    }
    assert set(stated) - carried == set(), "rules that no test carries"
    assert carried - set(stated) == set(), "ids that no rule has"


def test_every_test_that_a_document_names_is_there() -> None:
    tests = _tests()
    missing = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        for file, name in NAMED_TEST.findall(page.read_text(encoding="utf-8")):
            functions = tests.get(ROOT / file)
            if functions is None or (name and name not in functions):
                missing.append(f"{page.name}: {file}::{name}")
    assert missing == []
