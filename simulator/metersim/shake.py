"""Tree shaking: what nothing in an image can reach does not go into it.

A *unit* is what can be left out by itself: a function, a class, a name that is assigned, or an import, at the top of a
module; a method, or a name that is assigned, at the top of a class. All other statements of a live module stay. Live
are the entry modules, what live things refer to, and so on:

- a name, and an attribute of an imported module, mean that name in that module;
- any other attribute means every member of that name in every live class: the type of an object is not known;
- the string of a `getattr`, `hasattr` or `setattr` is an attribute;
- what MicroPython itself calls stays: names with two underscores, and all methods of a class whose base comes from
  outside the image.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping

BY_STRING = {"getattr", "hasattr", "setattr", "delattr"}

Trees = Mapping[str, ast.Module]
Unit = tuple[str, str, str]
"""(module, name, member of the class of that name or "")."""
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class ShakeError(ValueError):
    """A source does something that hides what it refers to; the text names the module and the line."""


def shake(trees: Trees, entries: Iterable[str], dead: Iterable[Unit] = ()) -> dict[str, ast.Module]:
    """The live modules of an image, by name, without their dead units.

    entries: modules that are started · dead: methods that nothing calls, though something calls others of that name.
    """
    for module, owner, method in dead:
        for node in trees[module].body if module in trees else ():
            if isinstance(node, ast.ClassDef) and node.name == owner:
                node.body = [one for one in node.body if method not in _defines(one)]
    return _Shaker(trees).run(entries)


def bound(alias: ast.alias) -> str:
    """The name that an import binds."""
    return alias.asname or alias.name.partition(".")[0]


def imports(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """(name bound, module, name taken from it or "") of every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield bound(alias), node.module or "", alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield bound(alias), alias.name if alias.asname else bound(alias), ""


def modules_of(tree: ast.AST, known: Iterable[str]) -> dict[str, str]:
    """Name bound -> module that it stands for; modules of the image by what `known` calls them."""
    names = set(known)
    found = {}
    for name, module, taken in imports(tree):
        whole = f"{module}.{taken}" if taken else module
        if not taken or whole in names:
            found[name] = whole
    return found


class _Shaker:
    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self._modules = {name: modules_of(tree, trees) for name, tree in trees.items()}
        self._units: dict[str, dict[str, list[ast.stmt]]] = {}
        for name, tree in trees.items():
            self._check(name, tree)
            units: dict[str, list[ast.stmt]] = {}
            for node in tree.body:
                for defined in _defines(node):
                    units.setdefault(defined, []).append(node)
            self._units[name] = units
        self._stored = {name: _stored(tree) for name, tree in trees.items()}
        self._live_modules: set[str] = set()
        self._live: set[Unit] = set()
        self._attributes: set[str] = set()
        self._todo: list[tuple[str, ast.AST]] = []  # live, and not looked into yet

    def _check(self, name: str, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                hides = bool(node.level) or node.names[0].name == "*"
            else:
                hides = isinstance(node, ast.Import) and any(
                    "." in alias.name and alias.name in self._trees for alias in node.names
                )
            if hides:
                raise ShakeError(f"{name}: {ast.unparse(node)}: `from package import module` expected")

    def run(self, entries: Iterable[str]) -> dict[str, ast.Module]:
        for entry in entries:
            self._module(entry)
            for name, nodes in self._units[entry].items():
                if not isinstance(nodes[0], ast.ImportFrom | ast.Import):
                    self._global(entry, name)
        while self._todo:
            self._look(*self._todo.pop())
        return {name: self._kept(name, tree) for name, tree in self._trees.items() if name in self._live_modules}

    # What becomes live

    def _module(self, name: str) -> None:
        if name not in self._trees or name in self._live_modules:
            return
        self._live_modules.add(name)
        if "." in name:
            self._module(name.rpartition(".")[0])
        self._todo += [(name, node) for node in self._trees[name].body if not _defines(node)]

    def _global(self, module: str, name: str) -> None:
        """A name of a module is used."""
        nodes = self._units.get(module, {}).get(name, [])
        if not nodes or (module, name, "") in self._live:
            return
        self._live.add((module, name, ""))
        self._module(module)
        for node in nodes:
            if isinstance(node, ast.ClassDef):
                self._class(module, node)
            elif isinstance(node, ast.ImportFrom | ast.Import):
                self._import(node, name)
            else:
                self._todo.append((module, node))

    def _import(self, node: ast.ImportFrom | ast.Import, name: str) -> None:
        for alias in node.names:
            if bound(alias) == name:
                if isinstance(node, ast.Import):
                    self._module(alias.name)
                elif f"{node.module}.{alias.name}" in self._trees:
                    self._module(f"{node.module}.{alias.name}")
                elif node.module:
                    self._module(node.module)
                    self._global(node.module, alias.name)

    def _class(self, module: str, node: ast.ClassDef) -> None:
        self._todo += [(module, one) for one in (*node.bases, *node.keywords, *node.decorator_list)]
        whole = any(self._is_outside(module, base) for base in node.bases)
        for one in node.body:
            names = _defines(one)
            if not names or whole or any(name in self._attributes or _is_special(name) for name in names):
                self._member(module, node, one)

    def _member(self, module: str, of: ast.ClassDef, node: ast.stmt) -> None:
        for name in _defines(node):
            self._live.add((module, of.name, name))
        self._todo.append((module, node))
        # In the body of a class, a name may be another member.
        for one in ast.walk(node):
            if not isinstance(node, _Function) and isinstance(one, ast.Name):
                self._attribute(one.id)

    def _is_outside(self, module: str, base: ast.expr) -> bool:
        """Whether a base class is made by a module outside the image; built-in exceptions and `object` do not count."""
        name = base.value if isinstance(base, ast.Attribute) else base
        if not isinstance(name, ast.Name):
            return True
        for found, source, taken in imports(self._trees[module]):
            if found == name.id:
                return source not in self._trees and f"{source}.{taken}" not in self._trees
        return False

    def _attribute(self, name: str) -> None:
        if name in self._attributes:
            return
        self._attributes.add(name)
        for module, units in self._units.items():
            for owner, nodes in units.items():
                if (module, owner, "") in self._live:
                    for node in nodes:
                        if isinstance(node, ast.ClassDef):
                            for one in node.body:
                                if name in _defines(one) and (module, owner, name) not in self._live:
                                    self._member(module, node, one)

    def _look(self, module: str, top: ast.AST) -> None:
        """Take what a live piece refers to."""
        modules = self._modules[module]
        bases = set()
        for node in ast.walk(top):
            if isinstance(node, ast.Attribute):
                base = node.value
                if isinstance(base, ast.Name) and base.id in modules:
                    bases.add(base)
                    self._global(module, base.id)
                    self._module(modules[base.id])
                    self._global(modules[base.id], node.attr)
                    if base.id not in self._stored[module]:
                        continue
                self._attribute(node.attr)
            elif isinstance(node, ast.ImportFrom | ast.Import):
                for alias in node.names:
                    self._import(node, bound(alias))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BY_STRING:
                self._attribute(literal(module, node))
        for node in ast.walk(top):
            if isinstance(node, ast.Name) and node not in bases:
                self._global(module, node.id)
                passed = modules.get(node.id, "")
                if passed in self._trees and node.id not in self._stored[module]:  # a module as a value
                    for name in self._units[passed]:
                        self._global(passed, name)

    # What is left

    def _kept(self, module: str, tree: ast.Module) -> ast.Module:
        body = []
        for node in tree.body:
            if isinstance(node, ast.ImportFrom | ast.Import):
                node.names = [alias for alias in node.names if (module, bound(alias), "") in self._live]
                if not node.names:
                    continue
            elif isinstance(node, ast.ClassDef):
                node.body = [
                    one
                    for one in node.body
                    if not _defines(one) or any((module, node.name, name) in self._live for name in _defines(one))
                ] or [ast.Pass()]
            if not _defines(node) or any((module, name, "") in self._live for name in _defines(node)):
                body.append(node)
        return ast.Module(body, [])


def literal(module: str, call: ast.Call) -> str:
    """The attribute that a `getattr` or the like names; ShakeError where it is computed."""
    name = call.args[1]
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        raise ShakeError(f"{module}: {ast.unparse(call)}: the attribute is computed, a string was expected")
    return name.value


def _defines(node: ast.stmt) -> list[str]:
    """The names of a unit; none: a statement that stays."""
    if isinstance(node, _Function | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return [node.targets[0].id]
    if isinstance(node, ast.ImportFrom | ast.Import):
        return [bound(alias) for alias in node.names]
    return []


def _stored(tree: ast.Module) -> set[str]:
    """Names that are assigned anywhere in a module, parameters among them."""
    found = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)}
    return found | {one.arg for one in ast.walk(tree) if isinstance(one, ast.arg)}


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
