"""Scopes of a text: what stands in one, and which names a function makes its own."""

import ast
from collections.abc import Iterator

from metersim.shake import bound

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def top_names(node: ast.stmt) -> list[str]:
    if isinstance(node, FUNCTIONS | ast.ClassDef):
        return [node.name]
    return [one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a scope, those inside of other statements of it too, functions and classes not looked into."""
    for node in body:
        yield node
        if not isinstance(node, FUNCTIONS | ast.ClassDef):
            for part in ("body", "orelse", "finalbody"):
                yield from statements(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from statements(handler.body)


class Locals(ast.NodeVisitor):
    """The names that a function binds itself."""

    def __init__(self, node: ast.AST) -> None:
        self.names: dict[str, None] = {}
        self._others: set[str] = set()
        if isinstance(node, FUNCTIONS | ast.Lambda):
            for one in arguments(node.args):
                self.names[one.arg] = None
            for part in node.body if isinstance(node.body, list) else [node.body]:
                self.visit(part)
        elif isinstance(node, COMPREHENSIONS):
            for generator in node.generators:
                self.visit(generator.target)
        for name in self._others:
            self.names.pop(name, None)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.names[node.id] = None

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        self._others |= set(node.names)

    visit_Nonlocal = visit_Global  # noqa: N815 - names of ast

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.names[node.name] = None
        self.generic_visit(node)

    def visit_alias(self, node: ast.alias) -> None:
        self.names[bound(node)] = None

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self.names[node.name] = None

    visit_AsyncFunctionDef = visit_ClassDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.AST) -> None:
        """Has names of its own."""

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_Lambda  # noqa: N815


def arguments(given: ast.arguments) -> list[ast.arg]:
    rest = [one for one in (given.vararg, given.kwarg) if one]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *rest]


def is_argument(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, name: str) -> bool:
    return any(one.arg == name for one in arguments(node.args))
