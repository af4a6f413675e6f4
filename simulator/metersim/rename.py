"""Renames one module of an image by the names that were chosen for all (`short`)."""

import ast
from collections.abc import Mapping

from metersim.scopes import FUNCTIONS, Locals, arguments, is_argument, statements, top_names
from metersim.shake import BY_STRING, Trees, bound, imports, literal, modules_of
from metersim.survey import PLACES, Survey


class Rename(ast.NodeTransformer):
    """Renames one module. `self._scopes`: of the functions around a node, name -> new name; in a class its members."""

    def __init__(
        self,
        module: str,
        tree: ast.Module,
        trees: Trees,
        table: Mapping[str, str],
        chosen: Mapping[str, Mapping[str, str]],
        survey: Survey,
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
        scope = {name: f"L_{name}" for name in Locals(node).names}
        for name in [one for one in scope if one in self._modules and not is_argument(node, one)]:
            scope[name] = name  # a module that the function imports keeps its name
        self._places(node, scope)
        self._scopes.append(scope)
        for argument in arguments(node.args):
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
            if isinstance(one, FUNCTIONS | ast.ClassDef) and one is not node and one.name in scope:
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
        members = {name for one in statements(node.body) for name in top_names(one)}
        self._scopes.append({name: self._table.get(name, name) for name in members})
        for one in node.body:
            if isinstance(one, FUNCTIONS):
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
        self._scopes.append({name: f"L_{name}" for name in Locals(node).names})
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
