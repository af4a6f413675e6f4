"""Makes sources lean before they are compiled into an image: what only people read stays out of a meter.

- A constant of a module (an upper-case name, assigned once, that is an int, a string or bytes) is put in wherever it
  is used, in all modules, and its name is dropped. Each name costs its letters in every file that uses it, and memory.
- Exceptions keep their types and codes and lose their sentences, which nobody reads on a meter (LOUD ones keep them).
- Imports that are then used no more go.

Otherwise the image does what the sources do: simulated meters in a process of their own run it, and the tests with
them.
"""

import ast
from collections import Counter
from collections.abc import Mapping

LOUD = {"ProvisionError"}  # told to who stands at the meter
SENTENCE_MAKERS = {"_bad"}  # helpers that make an exception out of a sentence

Constant = int | str | bytes
Scope = dict[tuple[str, str], Constant]
"""(module as it is called here, name) -> constant; the module of a bare name is ""."""

_OPERATORS = (ast.Expression, ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)


def lean(sources: Mapping[str, str]) -> dict[str, str]:
    """Lean texts of a whole image, by the names of `sources` (``meterlink/orders.py``)."""
    trees = {_module(name): ast.parse(text) for name, text in sources.items()}
    known = constants(trees)
    for module, tree in trees.items():
        _shorten(tree, known, known[module])
    return {name: ast.unparse(ast.fix_missing_locations(trees[_module(name)])) + "\n" for name in sources}


def _module(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def constants(trees: Mapping[str, ast.Module]) -> dict[str, dict[str, Constant]]:
    """Module -> its constants, found in as many rounds as they rest on each other."""
    known: dict[str, dict[str, Constant]] = {module: {} for module in trees}
    before = -1
    while before != (before := sum(map(len, known.values()))):
        for module, tree in trees.items():
            scope = _scope(tree, known, known[module])
            for name, value in _candidates(tree):
                constant = _value(value, scope)
                if constant is not None:
                    known[module][name] = constant
            for (of, name), imported in scope.items():  # others may read it from here
                if not of and name.isupper():
                    known[module].setdefault(name, imported)
    return known


def _candidates(tree: ast.Module) -> list[tuple[str, ast.expr]]:
    """Upper-case names that are assigned at the top of a module and nowhere else in it."""
    stored = Counter(one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store))
    found = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name.isupper() and stored[name] == 1:
                found.append((name, node.value))
    return found


def _scope(tree: ast.Module, known: Mapping[str, Mapping[str, Constant]], own: Mapping[str, Constant]) -> Scope:
    """What names stand for in a module: its own constants, those that it imports, those of modules that it imports."""
    scope: Scope = {("", name): value for name, value in own.items()}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                here = alias.asname or alias.name
                for name, value in known.get(f"{node.module}.{alias.name}", {}).items():
                    scope[here, name] = value
                if alias.name in known.get(node.module, {}):
                    scope["", here] = known[node.module][alias.name]
    return scope


def _value(node: ast.expr, scope: Scope) -> Constant | None:
    """The constant that an expression of constants and operators is; None for any other."""
    copy = ast.parse(ast.unparse(node), mode="eval")
    whole = ast.fix_missing_locations(_PutIn(scope).visit(copy))
    if not all(isinstance(one, _OPERATORS) for one in ast.walk(whole)):
        return None
    value = eval(compile(whole, "<constant>", "eval"), {"__builtins__": {}})  # noqa: S307 - constants and operators
    return value if isinstance(value, int | str | bytes) and not isinstance(value, bool) else None


class _PutIn(ast.NodeTransformer):
    """Puts constants in for names, and takes sentences out of exceptions."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._constant(node, "", node.id)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and (node.value.id, node.attr) in self._scope:
            return self._constant(node, node.value.id, node.attr)
        self.generic_visit(node)
        return node

    def _constant(self, node: ast.Name | ast.Attribute, module: str, name: str) -> ast.expr:
        if isinstance(node.ctx, ast.Load) and (module, name) in self._scope:
            return ast.copy_location(ast.Constant(self._scope[module, name]), node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if called in SENTENCE_MAKERS or (called.endswith("Error") and called not in LOUD):
            node.args = [ast.Constant("") if _is_sentence(one) else one for one in node.args]
        return node


def _is_sentence(node: ast.expr) -> bool:
    made = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format"
    return made or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _shorten(tree: ast.Module, known: Mapping[str, Mapping[str, Constant]], own: Mapping[str, Constant]) -> None:
    _PutIn(_scope(tree, known, own)).visit(tree)
    tree.body = [node for node in tree.body if not _assigns(node, own)]
    used = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name)}
    for node in [one for one in ast.walk(tree) if isinstance(one, ast.ImportFrom) and one in tree.body]:
        node.names = [alias for alias in node.names if (alias.asname or alias.name) in used]
    tree.body = [node for node in tree.body if not (isinstance(node, ast.ImportFrom) and not node.names)]


def _assigns(node: ast.stmt, names: Mapping[str, Constant]) -> bool:
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    return isinstance(target, ast.Name) and target.id in names
