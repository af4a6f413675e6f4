"""Finds what integer-only code must not hold: true division, floats, and what makes or needs them.

On a meter a float has 32 bits and loses energy and money (a counter at 12 345 kWh, fed 100 W for an hour in steps of a
second, gains nothing), and a float is an object on the heap.
"""

import ast
from pathlib import Path

FLOAT_NAMES = {"float", "complex", "round"}
FLOAT_MODULES = {"math", "cmath", "decimal", "fractions", "statistics"}


def check(file: Path) -> list[str]:
    """One sentence for each place in a file that is not integer arithmetic."""
    tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    found = ((getattr(node, "lineno", 0), judge(node)) for node in ast.walk(tree))
    return [f"{file.name}:{line}: {sentence}" for line, sentence in found if sentence]


def judge(node: ast.AST) -> str | None:
    """What is wrong with one node, or None."""
    match node:
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            return "`/` makes a float; use `//` and carry the remainder"
        case ast.Constant(value=float() | complex()):
            return f"the literal {node.value!r} is a float; use an integer and a smaller unit"
        case ast.Name(id=name) if name in FLOAT_NAMES:
            return f"`{name}` is about floats"
        case ast.Import(names=names) if FLOAT_MODULES & {alias.name for alias in names}:
            return "a module of floats is imported"
        case ast.ImportFrom(module=module) if module in FLOAT_MODULES:
            return "a module of floats is imported"
        case ast.BinOp(op=ast.Pow(), right=ast.UnaryOp(op=ast.USub())):
            return "a negative power makes a float"
        case ast.FormattedValue(format_spec=ast.JoinedStr(values=[ast.Constant(value=str(spec))])) if (
            spec[-1:] in "eEfFgG%"
        ):
            return f"the format {spec!r} makes a float"
        case ast.Call(func=ast.Attribute(value=ast.Name(id="struct")), args=[ast.Constant(value=str(layout)), *_]):
            return f"the layout {layout!r} holds a float" if set(layout) & set("efd") else None
    return None
