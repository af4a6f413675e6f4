"""The direction of imports as a table, and the checker that reads it (used by test_layout.py).

`meterlink` ← `meter` ← `metersim`; `meterlink` ← `headend`; `fieldtool` uses `meterlink` and `headend.links`; the
dispatcher `openprepay` may use all. Imports are found by parsing, wherever they stand in a file; nothing is executed.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FIRST_PARTY = {"meterlink", "meter", "metersim", "headend", "fieldtool", "openprepay"}

# What MicroPython 1.29 has on every board that is meant, and CPython has under the same name.
MICROPYTHON_PURE = {"array", "binascii", "collections", "errno", "hashlib", "micropython", "struct", "sys"}
# What the shell, the drivers and the boards may use besides: clocks, files, sockets and pins.
MICROPYTHON_EDGE = MICROPYTHON_PURE | {
    "asyncio", "bluetooth", "cryptolib", "deflate", "esp32", "framebuf", "gc", "io", "json", "machine", "network",
    "os", "random", "rp2", "select", "socket", "ssl", "termios", "time", "tls", "uctypes", "vfs",
}  # fmt: skip
# What CPython needs at the same places (its TLS takes certificates from files alone), imported where it is used.
CPYTHON_EDGE = {"datetime", "tempfile", "tty"}
_EDGE = MICROPYTHON_EDGE | CPYTHON_EDGE


class Rule(NamedTuple):
    """What the files of one part may import. A name allows the module and everything under it."""

    package: str
    own: set[str]  # modules of this project
    standard: set[str] | None  # names from the standard library; None: all of it
    extras: tuple[str, ...]  # whose packages: extras of pyproject.toml, or "core" for its dependencies


EDGE = ("shell", "drivers", "boards")  # folders of firmware/meter that touch the world

RULES = {
    "protocol/meterlink": Rule("meterlink", {"meterlink"}, MICROPYTHON_PURE, ()),
    "firmware/meter": Rule("meter", {"meterlink", "meter"}, MICROPYTHON_PURE, ()),
    "firmware/meter/shell": Rule("meter.shell", {"meterlink", "meter"}, _EDGE, ()),
    "firmware/meter/drivers": Rule("meter.drivers", {"meterlink", "meter"}, _EDGE, ()),
    "firmware/meter/boards": Rule("meter.boards", {"meterlink", "meter"}, _EDGE, ()),
    "simulator/metersim": Rule("metersim", {"meterlink", "meter", "metersim"}, None, ("simulator",)),
    "host/headend": Rule("headend", {"meterlink", "headend"}, None, ("core", "console", "hsm", "postgresql", "export")),
    "tools/fieldtool": Rule("fieldtool", {"meterlink", "headend.links", "fieldtool"}, None, ("core", "console")),
    "tools/openprepay": Rule(
        "openprepay", FIRST_PARTY, None, ("core", "simulator", "console", "hsm", "postgresql", "export", "bench")
    ),
}

# Where a distribution's module is not its name with underscores.
MODULES = {
    "argon2-cffi": "argon2",
    "paho-mqtt": "paho",
    "psycopg[binary]": "psycopg",
    "pyserial": "serial",
    "python-pkcs11": "pkcs11",
}


class Import(NamedTuple):
    """One imported module: where it stands and its full name."""

    file: Path
    line: int
    module: str


def check(root: Path) -> list[str]:
    """One sentence for each import under `root` that its rule does not allow; empty when all is well."""
    project = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    found = []
    for folder, rule in RULES.items():
        allowed = rule.own | (set(sys.stdlib_module_names) if rule.standard is None else rule.standard)
        allowed |= third_party(project["project"], rule.extras)
        for file in files(root, folder):
            for entry in imports(file, rule.package + "." + ".".join(file.relative_to(root / folder).parts[:-1])):
                refusal = judge(entry, rule, allowed)
                if refusal:
                    found.append(f"{file.relative_to(root)}:{entry.line}: {refusal}")
    return found


def judge(entry: Import, rule: Rule, allowed: set[str]) -> str | None:
    """Why an import is refused, or None."""
    if rule.package == "meter" and any(under(entry.module, f"meter.{edge}") for edge in EDGE):
        return f"the core imports {entry.module}; it must not know the shell, the drivers or the boards"
    if any(under(entry.module, name) for name in allowed):
        return None
    return f"{rule.package} must not import {entry.module}"


def under(module: str, name: str) -> bool:
    """Whether `module` is `name` or lies in it."""
    return module == name or module.startswith(name + ".")


def files(root: Path, folder: str) -> list[Path]:
    """The Python files of a part; those of a folder that has a rule of its own are left to that rule."""
    apart = [root / other for other in RULES if other.startswith(folder + "/")]
    found = sorted((root / folder).rglob("*.py"))
    return [file for file in found if not any(file.is_relative_to(other) for other in apart)]


def imports(file: Path, package: str) -> Iterator[Import]:
    """Every import of a file, relative ones resolved against `package`, also those that name a module in a string.

    `from a import b` counts as a.b for this project's own modules, so that a rule can allow a part of a package.
    """
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = [part for part in package.split(".") if part]
                kept = parents[: len(parents) - node.level + 1]
                base = ".".join([*kept, *([node.module] if node.module else [])])
            if base.partition(".")[0] in FIRST_PARTY:
                for alias in node.names:
                    yield Import(file, node.lineno, f"{base}.{alias.name}")
            else:
                yield Import(file, node.lineno, base)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("__import__", "import_module")):
            if node.args and isinstance(node.args[0], ast.Constant):
                yield Import(file, node.lineno, str(node.args[0].value))


def third_party(project: dict[str, Any], extras: tuple[str, ...]) -> set[str]:
    """The top-level modules of the packages that a part may use: declared ones only, not what they bring along."""
    listed = {"core": project["dependencies"], **project["optional-dependencies"]}
    names = [re.split(r"[<>=!~; ]", text, maxsplit=1)[0] for extra in extras for text in listed[extra]]
    return {MODULES.get(name, name.replace("-", "_")) for name in names}
