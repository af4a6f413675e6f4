"""Writes what follows from the boards' sources: ``gen_firmware.py [--check]``.

- firmware/images/BOARD/manifest.py and package.json: the files that a board carries, found by following imports from
  its main module;
- docs/firmware.md: the wiring tables, from the comments beside the pins.

With --check nothing is written; exit code 1 tells that a file is not what the sources say.
"""

import ast
import json
import re
import sys
from pathlib import Path

from gen_protocol import table
from metersim import build, bundle

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "firmware.md"
IMAGES = ROOT / "firmware" / "images"
BOARDS = ("esp32s3", "pico_w")
BOOT = {"esp32s3": ["meter.boards.esp32s3_boot"]}  # what is frozen besides the application
PYTHON_PACKAGES = {"meterlink": "../../../protocol", "meter": "../.."}

_FILES = re.compile(r"(# -- generated --\n).*?(# -- end --\n)", re.DOTALL)
_PART = re.compile(r"(<!-- generated: (?P<name>[a-z0-9_]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_PIN = re.compile(r"^(?P<name>[A-Z][A-Z0-9_]*) = (?P<pins>\d+|\([\d, ]+\))  # (?P<what>.*)$")


def carried(board: str) -> list[str]:
    """Image paths ("meter/core.py") of what a board's main module reaches by imports, wherever they stand."""
    sources = build.sources()
    found: set[str] = set()
    waiting = [bundle.BOARDS[board], *BOOT.get(board, ())]
    while waiting:
        module = waiting.pop().replace(".", "/")
        for name in (f"{module}.py", f"{module}/__init__.py"):
            if name in sources and name not in found:
                found.add(name)
                waiting += imported(sources[name])
    return sorted(found)


def imported(path: Path) -> list[str]:
    """Modules that a file may import, with the packages that they lie in."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    parents = [name.rsplit(".", up)[0] for name in found for up in range(1, name.count(".") + 1)]
    return found + parents


def manifest(text: str, names: list[str]) -> str:
    """The manifest with its lists of files."""
    parts = []
    for package, base in PYTHON_PACKAGES.items():
        listed = [name.partition("/")[2] for name in names if name.startswith(f"{package}/")]
        files = "".join(f'        "{name}",\n' for name in listed)
        parts.append(
            f'package(\n    "{package}",\n    files=(\n{files}    ),\n    base_path="{base}",\n    opt=3,\n)\n'
        )
    return _FILES.sub(lambda match: match[1] + "".join(parts) + match[2], text)


def package(board: str, names: list[str]) -> str:
    """What `mpremote mip install` reads."""
    urls = [[name, f"{PYTHON_PACKAGES[name.partition('/')[0]]}/{name}"] for name in names]
    return json.dumps({"version": "1", "urls": [*urls, ["main.py", "main.py"]], "deps": []}, indent=1) + "\n"


def wiring(board: str) -> str:
    """The table of a board's pins."""
    source = (ROOT / "firmware" / "meter" / "boards" / f"{board}_wiring.py").read_text(encoding="utf-8")
    rows: list[tuple[object, ...]] = []
    for line in source.partition("\nPULSE_MS")[0].splitlines():
        found = _PIN.match(line)
        if found:
            rows.append((found["pins"].strip("()"), f"`{found['name']}`", found["what"]))
    return table(("GPIO", "name", "what hangs there"), rows)


def generated() -> dict[Path, str]:
    """Every generated file, as it has to be."""
    made = {}
    for board in BOARDS:
        names = carried(board)
        path = IMAGES / board / "manifest.py"
        made[path] = manifest(path.read_text(encoding="utf-8"), names)
        made[IMAGES / board / "package.json"] = package(board, names)
    page = PAGE.read_text(encoding="utf-8")
    made[PAGE] = _PART.sub(lambda match: f"{match[1]}\n{wiring(match['name'])}\n{match[3]}", page)
    return made


def main(argv: list[str]) -> int:
    """0 when everything is up to date, or was written."""
    code = 0
    for path, text in generated().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in argv:
            print(f"{path.relative_to(ROOT)} is not what the sources say; run: make docs", file=sys.stderr)
            code = 1
        else:
            path.write_text(text, encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
