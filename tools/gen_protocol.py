"""Writes the generated tables of docs/protocol.md from the contract's own sources: ``gen_protocol.py [--check]``.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. Meanings come from the comments
beside the constants and from `register_text`, so a table cannot say anything that the code does not. With --check
nothing is written; exit code 1 tells that the page is not what the sources say.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

from headend.orders import lifecycle_text
from meterlink import events, names, orders, reasons, register_text, registers, reports, results

PAGE = Path(__file__).resolve().parent.parent / "docs" / "protocol.md"
_PART = re.compile(r"(<!-- generated: (?P<name>[a-z_]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_CONSTANT = re.compile(r"^(?P<name>[A-Z][A-Z0-9_]*) = (?P<value>\d+)(?:  # (?P<comment>.*))?$")
_FIELD = re.compile(r'^    \("(?P<name>\w+)", "(?P<code>\w+)"\),(?:  # (?P<comment>.*))?$')


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def constants(module: ModuleType, prefix: str = "") -> list[tuple[object, ...]]:
    """(value, name in lower case, comment) of a module's integer constants."""
    rows: list[tuple[object, ...]] = []
    for line in inspect.getsource(module).splitlines():
        found = _CONSTANT.match(line)
        if found and found["name"].startswith(prefix):
            name = found["name"][len(prefix) :].lower()
            rows.append((found["value"], f"`{name}`", found["comment"] or ""))
    return rows


def report_fields() -> str:
    """The report, field by field."""
    sizes = {"B": 1, "H": 2, "I": 4, "Q": 8, "q": 8, "8s": 8}
    rows: list[tuple[object, ...]] = []
    offset = 0
    for line in inspect.getsource(reports).splitlines():
        found = _FIELD.match(line)
        if found:
            rows.append((offset, sizes[found["code"]], f"`{found['name']}`", found["comment"] or ""))
            offset += sizes[found["code"]]
    if offset != reports.PAYLOAD_LENGTH or len(rows) != len(reports.FIELDS):
        raise SystemExit("reports.FIELDS: the generator does not read all of its lines")
    rows.append((offset, 16, "MAC", 'first 16 bytes of HMAC-SHA-256(per-meter key, "OP1R" + all before)'))
    return table(("offset", "size", "field", "meaning"), rows)


def register_blocks() -> str:
    """Every block with its fields."""
    parts = []
    for block_id, address, block, fields in registers.BLOCKS:
        length = registers.block_length(fields)
        parts.append(f"#### Block {block_id}: `{block}` at {address} (0x{address:04X}), {length} registers\n")
        parts.append(register_text.BLOCK[block] + "\n")
        rows: list[tuple[object, ...]] = []
        at = address
        for name, kind, scale, unit in fields:
            shown = f"10^{scale} {unit}" if scale else unit
            rows.append((at, f"0x{at:04X}", f"`{name}`", kind, shown, register_text.of(block, name)))
            at += registers.registers_of(kind)
        parts.append(table(("register", "hex", "field", "type", "unit", "meaning"), rows))
    return "\n".join(parts)


def aspects() -> str:
    """Aspects and the key that may state them."""
    rows: list[tuple[object, ...]] = [
        (code, f"`{name}`", names.of(names.ROLE, orders.ASPECT_ROLE[code]), "no" if name == "credit" else "yes")
        for code, name in names.ASPECT.items()
    ]
    return table(("code", "aspect", "key", "root too"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "aspects": aspects,
    "results": lambda: table(("code", "result", "meaning"), constants(results)),
    "holds": lambda: table(("number", "hold", ""), constants(reasons, "HOLD_")),
    "causes": lambda: table(("bit", "cause", ""), constants(reasons, "CAUSE_")),
    "states": lambda: "\n".join(
        f"{title}:\n\n"
        + table(("value", "name", "meaning"), constants(importlib.import_module("meterlink.states"), prefix))
        for title, prefix in (
            ("`control`", "CONTROL_"),
            ("`contact`", "CONTACT_"),
            ("`diagnosis`", "DIAGNOSIS_"),
            ("`pending`", "PENDING_"),
            ("`clock`", "CLOCK_"),
            ("`alarms` (bits)", "ALARM_"),
            ("`update_state`", "UPDATE_"),
        )
    ),
    "events": lambda: table(("code", "event", "argument and detail"), constants(events)),
    "report": report_fields,
    "registers": register_blocks,
    "lifecycles": lifecycle_text.markdown,
}


def fill(page: Path, parts: Mapping[str, Callable[[], str]], arguments: list[str]) -> int:
    """Write the generated parts of a page anew, or with --check only tell whether they are what the sources say: 0
    where they are. SystemExit where a part is not known or missing."""
    text = page.read_text(encoding="utf-8")
    found = {match["name"] for match in _PART.finditer(text)}
    if found != set(parts):
        raise SystemExit(f"docs/{page.name}: generated parts {sorted(found)} found, {sorted(parts)} expected")
    new = _PART.sub(lambda match: f"{match[1]}\n{parts[match['name']]()}\n{match[3]}", text)
    if "--check" in arguments:
        if new != text:
            print(f"docs/{page.name} is not what the sources say: run `make docs`", file=sys.stderr)
        return int(new != text)
    page.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(fill(PAGE, PARTS, sys.argv[1:]))
