"""What the names of an image are, and who speaks of them: read before anything is renamed (`short`)."""

import ast
from collections import Counter
from collections.abc import Mapping

from metersim.scopes import COMPREHENSIONS, FUNCTIONS, Locals, statements, top_names
from metersim.shake import BY_STRING, Trees, bound, imports, literal, modules_of

PLACES = (
    *("key", "value", "index", "count", "start", "stop", "step", "end", "sep", "args", "items", "keys", "values"),
    *("copy", "extend", "find", "insert", "lower", "pop", "popitem", "remove", "reverse", "rfind", "rindex", "update"),
)
"""Names of parameters by their place: in the fixed list of strings of MicroPython (py/makeqstrdata.py), so that a
`.mpy` holds a number for each."""

FREE = tuple(
    "append clear endswith from_bytes get isalpha isdigit islower isspace isupper join lstrip replace rsplit rstrip "
    "setdefault sort split startswith strip to_bytes upper bytecode".split()
)
"""More of them, for the names that most files use. No names of built-in functions, which would be hidden, and none that
the interpreter asks of an object."""

HARDWARE = {"machine", "network", "esp", "esp32", "rp2", "framebuf", "neopixel", "onewire", "bluetooth", "uctypes"}
"""Modules whose objects only a board knows: a file that imports one keeps what it asks of other objects than itself."""


class Survey:
    """What the names of an image are. A global is (module, name), where it is made.

    attributes: that the image makes, or names of parameters that calls name · named: those parameters · globals: module
    -> name -> the global that it holds under that name · uses: global -> modules whose files have its name · holders:
    global -> modules that hold it · found: module -> other names in its file · members: module -> names in its classes
    · parameters: module -> those of its functions · made: names that the image gives to something, renamed or not.

    A *family* is a class with all that it inherits from or gives to. families: attribute that classes ask of themselves
    alone (`self.name`) -> their families · family_names: family -> all attributes that are asked of its objects in its
    own classes · anywhere: attributes that any object may be given, or asked for, by others.
    """

    def __init__(self, trees: Trees, kept: set[str]) -> None:
        self._kept = set(kept)
        self._parts = {part for name in trees for part in name.split(".")}
        self._keys: set[str] = set()  # of calls
        self.parameters: dict[str, set[str]] = {}
        self.attributes: set[str] = set()
        self.found: dict[str, set[str]] = {}
        self.members: dict[str, set[str]] = {}
        for module, tree in trees.items():
            self.parameters[module] = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
            self._look(module, tree, trees)
        self.named = set().union(*self.parameters.values()) & self._keys
        self.globals = self._globals(trees)
        self.made = self.attributes | self.named | {name for names in self.globals.values() for name in names}
        self.made |= {name for tree in trees.values() for name, _, _ in imports(tree)}
        self.attributes = {name for name in self.attributes | self.named if self._own(name)}
        self.uses: dict[tuple[str, str], set[str]] = {}
        self.holders: dict[tuple[str, str], set[str]] = {}
        for module, tree in trees.items():
            self._use(module, tree, trees)
        self.families: dict[str, set[int]] = {}
        self.family_names: dict[int, set[str]] = {}
        self.anywhere: set[str] = set()
        self._find_families(trees)

    def _own(self, name: str) -> bool:
        return name not in self._kept and not (name.startswith("__") and name.endswith("__"))

    def _look(self, module: str, tree: ast.Module, trees: Trees) -> None:
        """Attributes, keywords, and what stays as it is."""
        self._kept |= {name for name, source, _ in imports(tree) if source not in trees}
        hardware = bool({source for _, source, _ in imports(tree)} & HARDWARE)
        found: set[str] = set()
        members: set[str] = set()
        scopes = (FUNCTIONS, ast.Lambda, COMPREHENSIONS)
        inner = {name for node in ast.walk(tree) if isinstance(node, scopes) for name in Locals(node).names}
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                members |= {name for one in statements(node.body) for name in top_names(one)}
            elif isinstance(node, ast.Attribute):
                own = isinstance(node.value, ast.Name) and node.value.id == "self"
                if isinstance(node.ctx, ast.Store):
                    self.attributes.add(node.attr)
                if hardware and not own:
                    self._kept.add(node.attr)
                found.add(node.attr)
            elif isinstance(node, ast.keyword) and node.arg:
                self._keys.add(node.arg)
                if hardware:
                    self._kept.add(node.arg)
                found.add(node.arg)
            elif isinstance(node, ast.Name) and node.id not in inner:
                found.add(node.id)
            elif isinstance(node, ast.alias):
                found |= {node.name, bound(node)}
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BY_STRING:
                found.add(literal(module, node))
        self.found[module] = found | members
        self.members[module] = members
        self.attributes |= members

    def _globals(self, trees: Trees) -> dict[str, dict[str, tuple[str, str]]]:
        """What each module holds under which name."""
        held = {
            module: {name: (module, name) for node in statements(tree.body) for name in top_names(node)}
            for module, tree in trees.items()
        }
        more = True
        while more:  # a name may come through several modules
            more = False
            for module, tree in trees.items():
                for name, source, taken in imports(tree):
                    if taken in held.get(source, {}) and name not in held[module]:
                        held[module][name] = held[source][taken]
                        more = True
        return held

    def _use(self, module: str, tree: ast.Module, trees: Trees) -> None:
        """Where globals are held, and where a file has their names."""
        modules = modules_of(tree, trees)
        for of in self.globals[module].values():
            if self._own(of[1]):
                self.uses.setdefault(of, set()).add(module)
                self.holders.setdefault(of, set()).add(module)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                of = self.globals.get(modules.get(node.value.id, ""), {}).get(node.attr, ("", ""))
                if of[0] and self._own(of[1]):
                    self.uses.setdefault(of, set()).add(module)

    def _find_families(self, trees: Trees) -> None:
        classes = {
            (module, node.name): node
            for module, tree in trees.items()
            for node in tree.body
            if isinstance(node, ast.ClassDef)
        }
        family = {one: number for number, one in enumerate(classes)}
        for (module, _), node in classes.items():
            for base in node.bases:
                of = self._global_of(module, base, modules_of(trees[module], trees))
                if of in family:
                    old, new = family[of], family[module, node.name]
                    family = {one: new if number == old else number for one, number in family.items()}
        owners: dict[str, set[int]] = {}
        others: set[str] = set(self.named)
        for module, tree in trees.items():
            for top in tree.body:
                own = isinstance(top, ast.ClassDef) and (module, top.name) in family
                here = family[module, top.name] if own and isinstance(top, ast.ClassDef) else -1
                self._ask(module, top, here, {name: family[of] for of in family if of[0] == module for name in of[1:]})
                for name, numbers in self._asked.items():
                    owners.setdefault(name, set()).update(numbers)
                others |= self._asked_of_others
        self.anywhere |= self._kept & set(owners)
        for name, numbers in owners.items():
            for number in numbers:
                self.family_names.setdefault(number, set()).add(name)
            if name not in others and self._own(name):
                self.families[name] = numbers

    def _ask(self, module: str, top: ast.stmt, here: int, classes: Mapping[str, int]) -> None:
        """What one statement of a module asks of objects: `_asked` of itself or of classes by their names (name ->
        families), `_asked_of_others`. here: the family of the class that it is, or -1."""
        self._asked: dict[str, set[int]] = {}
        self._asked_of_others: set[str] = set()
        inner = [one for one in ast.walk(top) if isinstance(one, ast.ClassDef) and one is not top]
        within = {one for outer in inner for one in ast.walk(outer)}
        if isinstance(top, ast.ClassDef):
            for one in statements(top.body):
                for name in top_names(one):
                    self._asked.setdefault(name, set()).add(here)
        for outer in inner:
            self._asked_of_others |= {name for one in statements(outer.body) for name in top_names(one)}
        for node in ast.walk(top):
            if isinstance(node, ast.Attribute):
                base = node.value.id if isinstance(node.value, ast.Name) else ""
                if base == "self" and here >= 0 and node not in within:
                    self._asked.setdefault(node.attr, set()).add(here)
                elif base in classes:
                    self._asked.setdefault(node.attr, set()).add(classes[base])
                else:
                    self._asked_of_others.add(node.attr)
                    if not isinstance(node.ctx, ast.Load):
                        self.anywhere.add(node.attr)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BY_STRING:
                name = literal(module, node)
                self._asked_of_others.add(name)
                self.anywhere.add(name)

    def _global_of(self, module: str, node: ast.expr, modules: Mapping[str, str]) -> tuple[str, str]:
        """The global that an expression names, or ("", "")."""
        if isinstance(node, ast.Name):
            return self.globals[module].get(node.id, ("", ""))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return self.globals.get(modules.get(node.value.id, ""), {}).get(node.attr, ("", ""))
        return "", ""

    def by_use(self) -> list[str]:
        """The attributes to be shortened whose names must differ, those that most files use first."""
        uses = Counter(name for found in self.found.values() for name in found)
        return sorted(self.attributes - set(self.families), key=lambda name: (-uses[name], name))

    def taken(self) -> set[str]:
        """Names that stay as they are."""
        found = set().union(*self.found.values()) | self.made | self._kept
        return (found - self.attributes) | self._parts | set(PLACES) | set(FREE)
