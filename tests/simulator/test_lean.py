"""What is left out of an image changes nothing that a meter does."""

import ast
import subprocess
import sys
from pathlib import Path

from metersim import build, lean
from openprepay.bench.boot import BUDGET_BYTES

CODES = """
from meterlink.base import STEP
FIRST = 1
SECOND = FIRST + STEP
NAME = b"OP" + b"1T"
TABLE = (FIRST, SECOND)
moved = FIRST
TWICE = 1
TWICE = 2
def rise():
    global COUNT
    COUNT += 1
COUNT = 0
"""
USER = """
from meterlink import codes, other
from meterlink.codes import SECOND, NAME, TABLE
class BadError(ValueError):
    def __init__(self, code, text):
        self.code = code
        self.text = text
class ProvisionError(ValueError):
    pass
def f(x):
    if x == codes.FIRST:
        raise BadError(SECOND, "field: {} given".format(x))
    if x == SECOND:
        raise ProvisionError("said aloud")
    x.SECOND = NAME
    return codes.TABLE, codes.TWICE, TABLE
"""


def test_constants_are_put_in_across_modules_and_sentences_go() -> None:
    made = lean.lean({"meterlink/base.py": "STEP = 5 << 1\n", "meterlink/codes.py": CODES, "meterlink/user.py": USER})
    assert "STEP" not in made["meterlink/base.py"]
    codes, user = made["meterlink/codes.py"], made["meterlink/user.py"]
    assert "FIRST" not in codes and "TABLE = (1, 11)" in codes and "moved = 1" in codes
    assert "TWICE = 2" in codes and "COUNT = 0" in codes, "what is assigned twice is no constant"
    assert "x == 1" in user and "BadError(11, '')" in user and "x.SECOND = b'OP1T'" in user
    assert "'said aloud'" in user and "codes.TWICE" in user and "codes.TABLE" in user
    assert "import codes\n" in user and "import TABLE\n" in user, "imports that nothing uses are gone"


def test_all_that_modules_read_of_each_other_is_still_there() -> None:
    texts = {name: path.read_text(encoding="utf-8") for name, path in build.sources().items()}
    trees = {name.removesuffix(".py").replace("/", "."): ast.parse(text) for name, text in lean.lean(texts).items()}
    holds = {module: _names(tree) for module, tree in trees.items()}
    missing = []
    for module, tree in trees.items():
        seen = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    seen[alias.asname or alias.name] = whole
                    if node.module in holds and whole not in holds and alias.name not in holds[node.module]:
                        missing.append((module, whole))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                of = seen.get(node.value.id, "")
                if of in holds and node.attr not in holds[of]:
                    missing.append((module, f"{of}.{node.attr}"))
            if isinstance(node, ast.Name) and node.id.isupper() and node.id not in holds[module]:
                missing.append((module, node.id))
    assert missing == []


def _names(tree: ast.Module) -> set[str]:
    """What a module defines or imports."""
    found = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def test_every_lean_module_loads(tmp_path: Path) -> None:
    """(That it does what the sources do, the tests of a meter in a process of its own show: they run both.)"""
    texts = {name: path.read_text(encoding="utf-8") for name, path in build.sources().items()}
    for name, text in lean.lean(texts).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    modules = [name.removesuffix(".py").replace("/", ".") for name in texts if "/boards/" not in name]
    program = (
        "import importlib, sys; sys.path.insert(0, sys.argv[1])\n"
        "for name in sys.argv[2:]:\n"
        "    assert importlib.import_module(name.removesuffix('.__init__')).__file__.startswith(sys.argv[1]), name\n"
        "assert not hasattr(sys.modules['meterlink.orders'], 'ASPECT_CREDIT')\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path), *modules]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_image_fits_its_budget() -> None:
    assert build.image_bytes(build.build()) <= BUDGET_BYTES
