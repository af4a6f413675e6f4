"""Makes sources lean before they are compiled into an image: what only people read stays out of a meter.

- What depends on the interpreter is decided: branches for CPython go, and with them annotations and docstrings.
- Tables that are made of larger ones (COMPUTED) are computed.
- A constant of a module (an upper-case name, assigned once, that is an int, a string or bytes) is put in wherever it
  is used, in all modules, and its name is dropped. Each name costs its letters in every file that uses it, and memory.
- Exceptions keep their types and codes and lose their sentences, which nobody reads on a meter (LOUD ones keep them).
- What nothing reaches goes (`shake`), parameters that nothing reads (`unused`), and names become short (`short`).

Otherwise the image does what the sources do: simulated meters in a process of their own run it, and the tests with
them.
"""

import ast
from collections import Counter
from collections.abc import Iterable, Mapping

from metersim import shake, short, unused

LOUD = {"ProvisionError"}  # told to who stands at the meter
COMPUTED = {"meterlink.registers": ("LAYOUTS",), "meterlink.reports": ("STRUCT",)}
"""Tables that a module makes of larger ones, which a meter then does without: they are computed for the image."""

CODED = {"MqttError"}  # a word that is given to one is its code
SENTENCE_MAKERS = {"_bad"}  # helpers that make an exception out of a sentence

Constant = int | str | bytes
Scope = dict[tuple[str, str], Constant]
"""(module as it is called here, name) -> constant; the module of a bare name is ""."""

_OPERATORS = (ast.Expression, ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)


class Image:
    """texts: lean texts by the names of the sources (``meterlink/orders.py``) · table: what was renamed."""

    def __init__(self, texts: dict[str, str], table: short.Table) -> None:
        self.texts = texts
        self.table = table


def image(
    sources: Mapping[str, str], entries: Iterable[str], outside: Iterable[str], host: Iterable[shake.Unit] = ()
) -> Image:
    """All the diets, one after the other, for an image that is started at the modules `entries`.

    outside: attributes of what the interpreter itself makes (see `short`) · host: methods that only the host calls.
    """
    trees = {module_of(name): _OnMicroPython().visit(ast.parse(text)) for name, text in sources.items()}
    for of, names in COMPUTED.items():
        if of in trees:
            _compute(trees[of], names)
    _put_in(trees)
    live = shake.shake(trees, entries, host)
    unused.drop(live)
    table = short.shorten(live, entries, outside)
    return Image(
        {
            name: ast.unparse(ast.fix_missing_locations(live[module_of(name)])) + "\n"
            for name in sources
            if module_of(name) in live
        },
        table,
    )


def _compute(tree: ast.Module, names: Iterable[str]) -> None:
    """Put the values of names in place of the expressions that make them of other names of the module."""
    made = {name: node for node in tree.body for name in _made(node)}
    for name in names:
        todo = [name]
        needed: set[str] = set()
        while todo:
            one = todo.pop()
            if one in made and one not in needed:
                needed.add(one)
                todo += [used.id for used in ast.walk(made[one]) if isinstance(used, ast.Name)]
        body = [node for node in tree.body if needed & set(_made(node))]
        values: dict[str, object] = {}
        exec(compile(ast.fix_missing_locations(ast.Module(body, [])), name, "exec"), values)  # noqa: S102 - our own
        node = made[name]
        assert isinstance(node, ast.Assign)
        node.value = ast.parse(repr(values[name]), mode="eval").body


def _made(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    return [one.id for one in node.targets if isinstance(one, ast.Name)] if isinstance(node, ast.Assign) else []


def _put_in(trees: Mapping[str, ast.Module]) -> None:
    known = constants(trees)
    for module, tree in trees.items():
        _shorten(tree, known, known[module])


class _OnMicroPython(ast.NodeTransformer):
    """Decides what depends on the interpreter, and takes out what no interpreter needs: annotations and docstrings."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.body if isinstance(node.test, ast.Name) and node.test.id == "MICROPYTHON" else node

    def visit_Try(self, node: ast.Try) -> ast.AST | list[ast.stmt]:
        """`try: from micropython import const`, with a stand-in for others."""
        self.generic_visit(node)
        first = node.body[0]
        return node.body if isinstance(first, ast.ImportFrom) and first.module == "micropython" else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """`const(value)`: to the compiler its name would be a constant in every scope of the module."""
        self.generic_visit(node)
        return node.args[0] if isinstance(node.func, ast.Name) and node.func.id == "const" else node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return ast.Assign([node.target], node.value, lineno=node.lineno) if node.value else None

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._documented(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self._documented(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._documented(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._documented(node)

    def _documented(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module) -> ast.AST:
        if ast.get_docstring(node) is not None:
            del node.body[0]
        self.generic_visit(node)
        if not node.body and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]
        return node


def module_of(name: str) -> str:
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
        self._sentences: set[str] = set()  # names of sentences that a helper is given

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

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._sentences = {one.arg for one in node.args.args} if node.name in SENTENCE_MAKERS else set()
        self.generic_visit(node)
        self._sentences = set()
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if called in SENTENCE_MAKERS or (called.endswith("Error") and called not in LOUD):
            node.args = [ast.Constant("") if self._is_sentence(one, called in CODED) else one for one in node.args]
        return node

    def _is_sentence(self, node: ast.expr, coded: bool) -> bool:
        """Whether an argument is what only people read. coded: a single word is not."""
        if isinstance(node, ast.Call):
            return isinstance(node.func, ast.Attribute) and node.func.attr == "format"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            return self._is_sentence(node.left, False)
        if isinstance(node, ast.Name):
            return node.id in self._sentences
        return isinstance(node, ast.Constant) and isinstance(node.value, str) and not (coded and " " not in node.value)


def _shorten(tree: ast.Module, known: Mapping[str, Mapping[str, Constant]], own: Mapping[str, Constant]) -> None:
    _PutIn(_scope(tree, known, own)).visit(tree)
    tree.body = [node for node in tree.body if not _assigns(node, own)]


def _assigns(node: ast.stmt, names: Mapping[str, Constant]) -> bool:
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    return isinstance(target, ast.Name) and target.id in names
