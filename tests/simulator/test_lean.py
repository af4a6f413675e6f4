"""What is left out of an image, and what is renamed in it, changes nothing that a meter does.

(That a whole meter does what its sources do, the tests of a meter in a process of its own show: they run the image.)
"""

import ast
import importlib
import os
import re
import subprocess
from pathlib import Path

import pytest

from metersim import build, lean, outside, shake, short, survey
from openprepay.bench.boot import BUDGET_BYTES
from tests import upyhost

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
    "What it does."
    if x == codes.FIRST:
        raise BadError(SECOND, "field: {} given".format(x))
    if x == SECOND:
        raise ProvisionError("said aloud")
    x.SECOND = NAME
    return codes.TABLE, codes.TWICE, TABLE, codes.moved, codes.rise
"""


def test_constants_are_put_in_across_modules_and_sentences_go() -> None:
    sources = {"meterlink/base.py": "STEP = 5 << 1\n", "meterlink/codes.py": CODES, "user.py": USER}
    made = lean.image(sources, ["user"], []).texts
    assert "meterlink/base.py" not in made, "nothing is left of it"
    codes, user = made["meterlink/codes.py"], made["user.py"]
    assert "FIRST" not in codes and "= (1, 11)" in codes and "= 1\n" in codes
    assert codes.count("= 2\n") == 1, "what is assigned twice is no constant"
    assert "== 1:" in user and "BadError(11, '')" in user and "= b'OP1T'" in user
    assert "'said aloud'" in user and "What it does" not in user
    assert "other" not in user, "imports that nothing uses are gone"


SHAKEN = {
    "start.py": "import one\nLEFT = [0]\none.main()\n",
    "one.py": """
from package import deep, idle, state
from package.deep import Base
from package.late import used_late
def left_out():
    return idle.anything()
class Mine(Base):
    label = "mine"
    unused = "nobody asks"
    def __init__(self):
        self.value = state.START + [1]
    def __len__(self):
        return 7
    def asked(self):
        return self.never_stored
    def not_asked(self):
        return left_out()
    @property
    def by_string(self):
        return deep.chain()
def main():
    from package import inner
    mine = Mine()
    return len(mine), getattr(mine, "by_string"), mine.called_in_base(), inner.inside(), mine.label, used_late()
""",
    "package/__init__.py": "",
    "package/deep.py": """
class Base:
    def called_in_base(self):
        return self.hook()
    def hook(self):
        return "hook"
    def silent(self):
        return unused_helper()
def chain():
    return _link()
def _link():
    return "link"
def unused_helper():
    pass
""",
    "package/idle.py": "def anything():\n    pass\n",
    "package/inner.py": "def inside():\n    return 'inside'\n",
    "package/late.py": "def used_late():\n    return TABLE[1]()\ndef twice():\n    return 2\nTABLE = {1: twice}\n",
    "package/state.py": "START = []\nclass Stream(io.IOBase):\n    def ioctl(self, request, arg):\n        return 0\n",
}


def test_what_nothing_reaches_is_left_out_and_what_is_reached_stays() -> None:
    trees = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): text for name, text in SHAKEN.items()
    }
    live = {
        name: ast.unparse(tree)
        for name, tree in shake.shake({name: ast.parse(text) for name, text in trees.items()}, ["start"]).items()
    }
    assert sorted(live) == ["one", "package", "package.deep", "package.inner", "package.late", "package.state", "start"]
    assert "idle" not in live["one"] and "not_asked" not in live["one"] and "unused" not in live["one"]
    assert "LEFT" in live["start"], "an entry keeps what stands at its top"
    assert "def asked" not in live["one"] and "__len__" in live["one"] and "by_string" in live["one"]
    assert "silent" not in live["package.deep"] and "unused_helper" not in live["package.deep"]
    assert "hook" in live["package.deep"] and "_link" in live["package.deep"] and "twice" in live["package.late"]
    assert "Stream" not in live["package.state"]


def test_parameters_that_nothing_reads_go_with_what_was_given_for_them() -> None:
    text = """
def _check(field, value, low):
    if value < low:
        _bad("{}: {}".format(field, value))
def _bad(message):
    raise ValueError(4, message)
def _kept(message, more):
    return more
def _passed(unread):
    return 1
def main(value, message):
    _check("the name of a field", value, 1)
    _kept(value(), 2)
    return map(_passed, value)
"""
    made = lean.image({"one.py": text, "start.py": "import one\none.main(len, 1)\n"}, ["start"], []).texts["one.py"]
    assert "the name" not in made and "ValueError(4, '')" in made, made
    assert made.count("(key, 1)") == 1 and made.count("()") == 3, "a call, a definition, and what is given"


def test_methods_that_the_interpreter_calls_stay() -> None:
    text = "import io\nclass Stream(io.IOBase):\n    def ioctl(self, request, arg):\n        return 0\nx = Stream()\n"
    assert "ioctl" in ast.unparse(shake.shake({"one": ast.parse(text)}, ["one"])["one"])


def test_methods_of_the_host_are_named_as_they_are() -> None:
    for module, owner, method in build.HOST_METHODS:
        assert callable(getattr(getattr(importlib.import_module(module), owner), method))


@pytest.mark.parametrize(
    "line", ["getattr(x, name)", "from package import *", "import package.inner", "from . import y"]
)
def test_what_hides_a_name_is_refused(line: str) -> None:
    trees = {"one": ast.parse(f"def f(x, name):\n    {line}\n" if "*" not in line else line), "package": ast.parse("")}
    trees["package.inner"] = ast.parse("")
    with pytest.raises(shake.ShakeError, match="one"):
        shake.shake(trees, ["one"])


RENAMED = {
    "entry.py": """
import struct
from package import parts
from package.parts import Part, measure as taken
class Whole(Part):
    kind = "whole"
    kinds = [kind, kind]
    def __init__(self, amount_uc, *others, scale=1):
        super().__init__(amount_uc)
        self.others = [other.amount_uc * scale for other in others]
        self.parts = len(others)
    @property
    def total(self):
        amount_uc = self.amount_uc
        def inner(extra, amount_uc=1):
            nonlocal_total[0] += extra + amount_uc
            return nonlocal_total[0]
        nonlocal_total = [amount_uc]
        return inner(extra=sum(self.others))
    @total.setter
    def total(self, value):
        self.amount_uc = value
    def append(self, key):
        self.others.append(key)
        return self
class Base:
    def __init__(self):
        self._one, self._two, self.shown = 1, 2, 3
    def both(self):
        return self._one, self._two, self._hook()
    def _hook(self):
        return "base"
class Child(Base):
    _count = 0
    def __init__(self):
        super().__init__()
        self._three, self._four = 3, 4
        Child._count += 1
    def all(self):
        return self.both(), self._three, self._four, Child._count, self._label()
    def _hook(self):
        return "child"
    @staticmethod
    def _label():
        return "label"
class Lonely:
    def __init__(self):
        self._five = 5
    def told(self):
        return self._five, hasattr(self, "shown"), hasattr(self, "given"), getattr(self, "both", None)
def families():
    child, lonely = Child(), Lonely()
    before = lonely.told()
    lonely.given = child.shown
    return child.all(), Child().all(), Base().both(), before, lonely.told(), lonely.given, getattr(child, "shown")
def shadowed(parts, key):
    return parts.amount_uc + key
def main():
    whole = Whole(5, Part(2), Part(3), scale=10)
    found = [whole.total, whole.kinds, taken(whole), parts.measure(parts.Part(1), unit_wh=4), whole.parts]
    whole.total = 9
    found += [getattr(whole, "amount_uc"), hasattr(whole, "missing"), shadowed(whole, key=1), whole.append(8).others]
    found += [sorted([3, 1, 2], key=lambda amount_uc: -amount_uc), struct.pack(">H", 258), {one: one for one in "ab"}]
    found += [parts.turns(3), parts.counted(), parts.counted(), whole.pack(">B")]
    found += [parts.folded([whole], lambda p: p.others)]
    try:
        parts.fail(7)
    except parts.PartError as error:
        found.append((error.code, error.args))
    found += [parts.crowded(3, unit_wh=5), families()]
    return found
print(repr(main()))
""",
    "package/__init__.py": "",
    "package/parts.py": """
import struct
_count = 0
class PartError(ValueError):
    def __init__(self, code):
        super().__init__(code)
        self.code = code
class Part:
    def __init__(self, amount_uc):
        self.amount_uc = amount_uc
    def pack(self, form):
        return struct.pack(form, self.amount_uc)
def measure(part, unit_wh=2):
    return part.amount_uc * unit_wh
def turns(count):
    key = value = index = 0
    for key in range(count):
        value += key
        index = max(index, value)
    return key, value, index
def counted():
    global _count
    _count += 1
    return _count
def folded(parts, of):
    return [one for part in parts for one in of(part) if one]
def fail(code):
    raise PartError(code)
def crowded(part, unit_wh=2):
    whole = (PartError, Part, turns, counted, folded, fail, measure(Part(part), unit_wh=unit_wh))
    return {crowd} + unit_wh, [callable(one) for one in whole]
""",
}
# More names than a file has others: each of them will be looked for under a name that something else has as well.
_CROWD = range(60)
RENAMED["package/parts.py"] = RENAMED["package/parts.py"].replace(
    "{crowd}", " + ".join(f"_helper_{n}(part)" for n in _CROWD)
) + "".join(f"def _helper_{n}(part):\n    return part + {n}\n" for n in _CROWD)


def _run(folder: Path, texts: dict[str, str]) -> str:
    """What the entry prints on MicroPython."""
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        upyhost.command("-c", "import entry"),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MICROPYPATH": f"{folder}:.frozen"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_renamed_programs_say_the_same(tmp_path: Path) -> None:
    """Scopes, keywords, properties, strings, modules, built-in methods of the same name: all that names can be."""
    image = lean.image(RENAMED, ["entry"], outside.names(Path(upyhost.interpreter())))
    table = image.table
    assert {"amount_uc", "unit_wh"} <= set(table.attributes)
    assert {"measure", "counted", "PartError"} <= set(table.globals["package.parts"])
    assert not {"append", "struct", "__init__"} & set(table.attributes) and not table.globals["entry"]
    assert not re.search(r"\bamount_uc|inner", "".join(image.texts.values()))
    said = _run(tmp_path / "long", RENAMED)
    own = table.own["entry"]
    assert len({own[name] for name in ("_one", "_two", "_hook", "_three", "_four", "_label")}) == 6, "one object"
    assert _run(tmp_path / "short", image.texts) == said and "(7, (7,))" in said


def test_a_file_that_handles_hardware_keeps_what_it_asks_of_it() -> None:
    driver = """
import machine
class Meter:
    def __init__(self, pin):
        self.pin = pin
        self.duty_u16 = 0
    def active(self):
        return self.pin.active(self.duty_u16, invert_all=1)
def main(invert_all):
    return Meter(machine.Pin(1)).active()
"""
    image = lean.image({"driver.py": driver, "main.py": "from driver import main\nmain(invert_all=2)\n"}, ["main"], [])
    renamed = image.table.attributes | image.table.own["driver"]
    assert f"self.{renamed['pin']}.active(" in image.texts["driver.py"]
    assert "invert_all=1" in image.texts["driver.py"] and "active" not in renamed and "duty_u16" in renamed


def test_tracebacks_of_an_image_can_be_read() -> None:
    table = short.Table(
        {"verify_slice": "aB", "balance_uc": "f"},
        {"meter.core": {"_left": "aC"}},
        {"meter.core": {"split": "f"}, "meter.shell.mqtt": {"MqttError": "c", "_packet": "aB"}},
        {"meter.core": "dE", "meter.shell.mqtt": "key"},
    )
    said = """Traceback (most recent call last):
  File "dE", line 1, in aB
  File "dE", line 1, in aC
  File "key", line 1, in aB
  File "asyncio/core.py", line 1, in aB
link mqtt: c: 5
c: the word c
'c' object has no attribute 'f'
"""
    meant = """Traceback (most recent call last):
  File "meter.core", line 1, in verify_slice
  File "meter.core", line 1, in _left
  File "meter.shell.mqtt", line 1, in _packet|verify_slice
  File "asyncio/core.py", line 1, in aB
link mqtt: MqttError: 5
MqttError: the word c
'MqttError' object has no attribute 'balance_uc|split'
"""
    assert short.readable(said, table) == meant
    assert short.Table.unpack(table.pack()).globals == table.globals


def test_places_are_names_that_cost_a_mpy_no_letters(tmp_path: Path) -> None:
    source = tmp_path / "x.py"
    source.write_text("".join(f"x.{name}\n" for name in survey.PLACES), encoding="utf-8")
    subprocess.run([build.program("mpy-cross"), "-s", "0", "-o", tmp_path / "x.mpy", source], check=True)
    compiled = (tmp_path / "x.mpy").read_bytes()
    assert [name for name in survey.PLACES if name.encode() in compiled] == []


def test_the_image_holds_what_it_asks_of_its_own_modules() -> None:
    """Every import and every attribute of a module is there, under the name by which it is asked for."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in build.sources().items()}
    image = lean.image(texts, [build.ENTRY], outside.names(build.program("micropython")))
    table = image.table
    assert len(set(table.attributes.values())) == len(table.attributes) > 300, "no two attributes became one"
    assert all(len(set(names.values())) == len(names) for names in table.globals.values())
    assert len(set(table.files.values())) == len(table.files) == len(image.texts)
    trees = {name.removesuffix(".py").replace("/", "."): ast.parse(text) for name, text in image.texts.items()}
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
            if isinstance(node, ast.Name) and node.id.isupper() and len(node.id) > 3 and node.id not in holds[module]:
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


def test_the_image_fits_its_budget() -> None:
    assert build.image_bytes(build.build()) <= BUDGET_BYTES
