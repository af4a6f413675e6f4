"""Short names: each name that an image makes up for itself becomes one of one to three letters, the same everywhere.

A `.mpy` file holds every name that it uses, a start interns each of them, and a full name says nothing to a meter. The
texts of the image are renamed after `shake`, all at once; what is renamed stands in a table beside the image, so that
a traceback can be read (`readable`).

Not renamed: names of modules and packages; what comes from outside the image (what the interpreter's own types have,
as it tells itself; whatever a file that handles hardware asks of an object); names of an entry module, which others
start; names with two underscores. What a class asks of itself alone may have a name that unrelated classes use as well,
and so may names of modules that do not know each other. A parameter that no call names is told by its place: its name
becomes one that every MicroPython has in flash. Other local names are not in a `.mpy` at all.
"""

import ast
import itertools
import json
import keyword
import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from metersim.shake import BY_STRING, Trees, bound, imports, literal, modules_of

PLACES = (
    *("key", "value", "index", "count", "start", "stop", "step", "end", "sep", "args", "items", "keys", "values"),
    *("copy", "extend", "find", "insert", "lower", "pop", "popitem", "remove", "reverse", "rfind", "rindex", "update"),
)
"""Names of parameters by their place: in the fixed list of strings of MicroPython (py/makeqstrdata.py), so that a
`.mpy` holds a number for each."""

_FREE = tuple(
    "append clear endswith from_bytes get isalpha isdigit islower isspace isupper join lstrip replace rsplit rstrip "
    "setdefault sort split startswith strip to_bytes upper bytecode".split()
)
"""More of them, for the names that most files use. No names of built-in functions, which would be hidden, and none that
the interpreter asks of an object."""

HARDWARE = {"machine", "network", "esp", "esp32", "rp2", "framebuf", "neopixel", "onewire", "bluetooth", "uctypes"}
"""Modules whose objects only a board knows: a file that imports one keeps what it asks of other objects than itself."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Table(NamedTuple):
    """What was renamed. attributes: name -> short name, of attributes and of parameters that calls name · own: module
    -> attributes that its classes ask of themselves alone -> short names · globals: module -> its names -> short names
    · files: module -> the name that a traceback has for its file."""

    attributes: dict[str, str]
    own: dict[str, dict[str, str]]
    globals: dict[str, dict[str, str]]
    files: dict[str, str]

    def pack(self) -> str:
        """As JSON."""
        return json.dumps(self._asdict(), indent=0)

    @classmethod
    def unpack(cls, text: str) -> "Table":
        """Of what `pack` made."""
        return cls(**json.loads(text))


def shorten(trees: Trees, entries: Iterable[str], outside: Iterable[str]) -> Table:
    """Rename in place.

    entries: modules whose own names stay · outside: attributes of the interpreter's own types.
    """
    kept = {name for entry in entries for node in trees[entry].body for name in _top_names(node)}
    survey = _Survey(trees, kept | set(outside))
    free = [name for name in (*_FREE, *PLACES) if name not in survey.made]
    new = itertools.chain(free, _names(survey.taken()))
    choice = _Choice(survey, dict(zip(survey.by_use(), new, strict=False)), new)
    attributes = choice.private()
    chosen = choice.globals()
    for module, tree in trees.items():
        _Rename(module, tree, trees, attributes, chosen, survey).visit(tree)
    public = {name: short for name, short in attributes.items() if name not in survey.families}
    own = {
        module: {name: attributes[name] for name in sorted(found & set(survey.families))}
        for module, found in survey.found.items()
    }
    return Table(public, own, chosen, choice.files())


def readable(text: str, table: Table) -> str:
    """A traceback or a message of an exception with the names that the sources have; where a short name stands for
    several, all of them."""
    files = {short: name for name, short in table.files.items()}
    long: dict[str, list[str]] = {}
    for names in (table.attributes, *table.own.values(), *table.globals.values()):
        for name, short in names.items():
            if name not in long.setdefault(short, []):
                long[short].append(name)

    def of(short: str) -> str:
        return "|".join(long.get(short, [short]))

    def traced(match: re.Match[str]) -> str:
        module = files.get(match[1], match[1])
        known = (table.globals.get(module, {}), table.own.get(module, {}), table.attributes)
        names = [name for one in known for name, short in one.items() if short == match[3]]
        return f'File "{module}", line {match[2]}, in {"|".join(names) or match[3]}'

    text = re.sub(r'File "([\w.]+)", line (\d+), in (\w+)', traced, text)
    for place in (r"(?m)(?:(?<=^)|(?<=: ))(\w+)(?=:)", r"(?<=has no attribute ')(\w+)", r"(?<=name ')(\w+)"):
        text = re.sub(place, lambda match: of(match[1]), text)
    return re.sub(r"(?<=')(\w+)(?=' object)", lambda match: of(match[1]), text)


class _Choice:
    """Chooses the short names that need not differ from all others, so that most of their files have them already.

    Names of modules: two of them may be the same where no module holds both; and one may be that of an attribute.
    Attributes that a class asks of itself alone: two of them may be the same where no object has both.
    """

    def __init__(self, survey: "_Survey", attributes: dict[str, str], new: Iterator[str]) -> None:
        self._survey = survey
        self._attributes = attributes
        self._new = new
        self._has = {  # file -> strings in it
            module: {attributes.get(name, name) for name in found - set(survey.families)} | set(PLACES[:3])
            for module, found in survey.found.items()
        }
        self._known = list(attributes.values())

    def private(self) -> dict[str, str]:
        """All attributes -> short names, those that classes ask of themselves with them."""
        survey = self._survey
        anywhere = {self._attributes.get(name, name) for name in survey.anywhere}
        taken = {
            family: anywhere | {self._attributes.get(name, name) for name in names - set(survey.families)}
            for family, names in survey.family_names.items()
        }
        for name in sorted(survey.families, key=lambda one: (-len(survey.families[one]), one)):
            files = {module for module, found in survey.found.items() if name in found}
            held = [taken[family] for family in survey.families[name]]
            self._attributes[name] = self._best(files, held)
        return self._attributes

    def globals(self) -> dict[str, dict[str, str]]:
        """Module -> names that are its own -> short names."""
        survey = self._survey
        chosen: dict[str, dict[str, str]] = {module: {} for module in survey.globals}
        taken = {}
        for module in survey.globals:
            hidden = survey.members[module] | (survey.parameters[module] & survey.named)
            taken[module] = {self._attributes.get(name, name) for name in hidden}
        for module, name in sorted(
            survey.uses, key=lambda one: (-len(survey.uses[one]), -len(survey.holders[one]), one)
        ):
            held = [taken[file] for file in survey.holders[module, name]]
            chosen[module][name] = self._best(survey.uses[module, name], held)
        return chosen

    def files(self) -> dict[str, str]:
        """Module -> a name of its file, one that it has in it."""
        found: dict[str, str] = {}
        for module, has in sorted(self._has.items()):
            known = (name for name in self._known if name in has and name not in found.values())
            found[module] = next(known, "") or next(self._new)
        return found

    def _best(self, files: set[str], held: list[set[str]]) -> str:
        """A name for something that `files` speak of, and that none of the sets `held` has; they have it then."""
        best, best_cost = "", 1 << 30
        for name in self._known:
            if not any(name in one for one in held):
                missing = sum(name not in self._has[file] for file in files)
                cost = missing * (2 if name in _FREE or name in PLACES else len(name) + 2)
                if cost < best_cost:
                    best, best_cost = name, cost
                    if not cost:
                        break
        if best_cost > 4 * len(files):
            best = next(self._new)
            self._known.append(best)
        for file in files:
            self._has[file].add(best)
        for one in held:
            one.add(best)
        return best


def _names(taken: set[str]) -> Iterator[str]:
    letters = string.ascii_letters
    for length in itertools.count(1):
        for first in letters:
            for rest in itertools.product(letters + string.digits, repeat=length - 1):
                name = first + "".join(rest)
                if name not in taken and not keyword.iskeyword(name):
                    yield name


def _top_names(node: ast.stmt) -> list[str]:
    if isinstance(node, _Function | ast.ClassDef):
        return [node.name]
    return [one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]


class _Survey:
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
        scopes = (_Function, ast.Lambda, _Comprehension)
        inner = {name for node in ast.walk(tree) if isinstance(node, scopes) for name in _Locals(node).names}
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                members |= {name for one in _scope(node.body) for name in _top_names(one)}
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
            module: {name: (module, name) for node in _scope(tree.body) for name in _top_names(node)}
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
            for one in _scope(top.body):
                for name in _top_names(one):
                    self._asked.setdefault(name, set()).add(here)
        for outer in inner:
            self._asked_of_others |= {name for one in _scope(outer.body) for name in _top_names(one)}
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
        return (found - self.attributes) | self._parts | set(PLACES) | set(_FREE)


def _scope(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a scope, those inside of other statements of it too, functions and classes not looked into."""
    for node in body:
        yield node
        if not isinstance(node, _Function | ast.ClassDef):
            for part in ("body", "orelse", "finalbody"):
                yield from _scope(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from _scope(handler.body)


class _Locals(ast.NodeVisitor):
    """The names that a function binds itself."""

    def __init__(self, node: ast.AST) -> None:
        self.names: dict[str, None] = {}
        self._others: set[str] = set()
        if isinstance(node, _Function | ast.Lambda):
            for one in _arguments(node.args):
                self.names[one.arg] = None
            for part in node.body if isinstance(node.body, list) else [node.body]:
                self.visit(part)
        elif isinstance(node, _Comprehension):
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


def _arguments(given: ast.arguments) -> list[ast.arg]:
    rest = [one for one in (given.vararg, given.kwarg) if one]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *rest]


class _Rename(ast.NodeTransformer):
    """Renames one module. `self._scopes`: of the functions around a node, name -> new name; in a class its members."""

    def __init__(
        self,
        module: str,
        tree: ast.Module,
        trees: Trees,
        table: Mapping[str, str],
        chosen: Mapping[str, Mapping[str, str]],
        survey: _Survey,
    ) -> None:
        self._module = module
        self._trees = trees
        self._table = table
        self._chosen = chosen
        self._survey = survey
        self._scopes: list[dict[str, str]] = []
        self._modules = modules_of(tree, trees)
        self._outside = {name for name, source, _ in imports(tree) if source not in trees}

    # Names

    def _of(self, module: str, name: str) -> str:
        """The name of what a module holds."""
        source, made = self._survey.globals[module].get(name, (module, name))
        return self._chosen[source].get(made, name)

    def _global(self, name: str) -> str:
        return self._of(self._module, name)

    def _name(self, name: str) -> str:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return self._global(name)

    def _is_module(self, node: ast.expr) -> str | None:
        """The module that an expression stands for."""
        if not isinstance(node, ast.Name) or self._name(node.id) != node.id:
            return None
        return self._modules.get(node.id)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self._name(node.id)
        return node

    def visit_Global(self, node: ast.Global) -> ast.Global:
        node.names = [self._global(name) for name in node.names]
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.Nonlocal:
        node.names = [self._name(name) for name in node.names]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.Attribute:
        module = self._is_module(node.value)
        self.visit(node.value)
        if module and module in self._trees:
            node.attr = self._of(module, node.attr)
        elif module is None and node.attr in self._survey.attributes:
            node.attr = self._table[node.attr]
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        if node.name:
            node.name = self._name(node.name)
        self.generic_visit(node)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        for alias in node.names:
            here = bound(alias)
            if node.module and f"{node.module}.{alias.name}" not in self._trees and node.module in self._trees:
                alias.name = self._of(node.module, alias.name)
            here = self._name(here)
            alias.asname = here if here != alias.name else None
        return node

    def visit_Import(self, node: ast.Import) -> ast.Import:
        for alias in node.names:
            here = self._name(bound(alias))
            alias.asname = here if here != alias.name else None
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        if isinstance(node.func, ast.Name) and node.func.id in BY_STRING:
            name = literal(self._module, node)
            module = self._is_module(node.args[0])
            if module is None and name in self._survey.attributes:
                node.args[1] = ast.Constant(self._table[name])
        if not self._is_outside(node.func):
            for word in node.keywords:
                if word.arg in self._survey.named:
                    word.arg = self._table.get(word.arg, word.arg)
        self.generic_visit(node)
        return node

    def _is_outside(self, called: ast.expr) -> bool:
        """Whether what is called is surely not of the image."""
        if isinstance(called, ast.Attribute):
            module = self._is_module(called.value)
            return called.attr == "sort" or (module is not None and module not in self._trees)
        if isinstance(called, ast.Name):
            if any(called.id in scope for scope in self._scopes):
                return called.id in self._outside
            return called.id not in self._survey.globals[self._module]
        return False

    # Scopes

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> ast.AST:
        outer = node.args.defaults + [one for one in node.args.kw_defaults if one]
        for one in outer:
            self.visit(one)
        scope = {name: f"L_{name}" for name in _Locals(node).names}
        for name in [one for one in scope if one in self._modules and not _is_argument(node, one)]:
            scope[name] = name  # a module that the function imports keeps its name
        self._places(node, scope)
        self._scopes.append(scope)
        for argument in _arguments(node.args):
            argument.arg = scope[argument.arg]
        for part in node.body if isinstance(node.body, list) else [node.body]:
            self.visit(part)
        self._scopes.pop()
        return node

    def _places(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: dict[str, str]) -> None:
        """Names of parameters: those that calls name as everywhere, others by their place."""
        used = {self._name(one.id) for one in ast.walk(node) if isinstance(one, ast.Name) and one.id not in scope}
        used |= {new for outer in self._scopes for new in outer.values()}
        used |= {self._table.get(name, name) for name in scope if name in self._survey.named}
        places = (name for name in PLACES if name not in used)
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            name = argument.arg
            if name in self._survey.named:
                scope[name] = self._table.get(name, name)
            elif name == "self":
                scope[name] = name
            else:
                scope[name] = next(places, f"L_{name}")
        for one in ast.walk(node):  # the name of a function goes with it
            if isinstance(one, _Function | ast.ClassDef) and one is not node and one.name in scope:
                scope[one.name] = next(places, scope[one.name])

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return self._function(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.name = self._defined(node.name)
        for one in node.decorator_list:
            self.visit(one)
        return self._function(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def _defined(self, name: str) -> str:
        """The name of a function or class where it stands."""
        return self._scopes[-1][name] if self._scopes else self._global(name)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self._defined(node.name)
        for part in (*node.bases, *node.decorator_list):
            self.visit(part)
        members = {name for one in _scope(node.body) for name in _top_names(one)}
        self._scopes.append({name: self._table.get(name, name) for name in members})
        for one in node.body:
            if isinstance(one, _Function):
                one.name = self._defined(one.name)
                for decorator in one.decorator_list:
                    self.visit(decorator)
                around, self._scopes = self._scopes, self._scopes[:-1]  # its members are no names inside of a method
                self._function(one)
                self._scopes = around
            else:
                self.visit(one)
        self._scopes.pop()
        return node

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> ast.AST:
        self.visit(node.generators[0].iter)
        self._scopes.append({name: f"L_{name}" for name in _Locals(node).names})
        for i, generator in enumerate(node.generators):
            self.visit(generator.target)
            if i:
                self.visit(generator.iter)
            for condition in generator.ifs:
                self.visit(condition)
        for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            self.visit(part)
        self._scopes.pop()
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815


def _is_argument(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, name: str) -> bool:
    return any(one.arg == name for one in _arguments(node.args))
