"""Writes the generated parts of docs/operate.md from the sources: ``gen_operate.py [--check]``.

Settings are told by the comment that stands behind each in `headend.settings`, metrics and exceptions by their tables.
"""

import io
import sys
import tokenize
from dataclasses import fields
from pathlib import Path

from gen_protocol import fill, table
from headend import settings
from headend.settings import PREFIX, Settings
from headend.watch.metrics import NAMES
from headend.web.words import CHANNEL_CONCERNS, CONCERNS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operate.md"


def comments() -> dict[str, str]:
    """Setting -> the comment behind it; empty where there is none."""
    text = Path(settings.__file__).read_text(encoding="utf-8")
    found: dict[str, str] = {}
    name = ""
    known = {field.name for field in fields(Settings)}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.start[1] == 4 and token.string in known:
            name = token.string
            found.setdefault(name, "")
        elif token.type == tokenize.COMMENT and name and token.line.lstrip().startswith(name):
            found[name] = found[name] or token.string.lstrip("# ")
    return found


def settings_table() -> str:
    """Every setting with its default."""
    told = comments()
    rows: list[tuple[object, ...]] = []
    for field in fields(Settings):
        default = f"`{field.default}`" if field.default != "" else ""
        rows.append((f"`{field.name}`", default, settings.expected(field.name), told[field.name]))
    return f"In the environment: `{PREFIX}` and the name in capitals.\n\n" + table(
        ("setting", "default", "expected", "what it is"), rows
    )


def metrics_table() -> str:
    """Every metric."""
    return table(
        ("metric", "labels", "what it is"),
        [(f"`{name}`", ", ".join(known.labels), known.help) for name, known in NAMES.items()],
    )


def exceptions_table() -> str:
    """Every kind of exception, of meters the worst first, then of channels."""
    every = {**CONCERNS, **CHANNEL_CONCERNS}
    return table(("kind", "", "中文"), [(f"`{code}`", *title) for code, (title, _) in every.items()])


PARTS = {"settings": settings_table, "metrics": metrics_table, "exceptions": exceptions_table}


if __name__ == "__main__":
    sys.exit(fill(PAGE, PARTS, sys.argv[1:]))
