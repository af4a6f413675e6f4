"""Parameters that nothing reads go, with what calls give for them.

An image has some: a check that names the field in its sentence, when the sentence has gone. Looked at are functions
of a module whose name begins with an underscore and is used in calls of its own module alone.
"""

import ast
from collections import Counter

from metersim.shake import Trees

_PURE = (ast.Constant, ast.Name, ast.Load, ast.JoinedStr)


def drop(trees: Trees) -> None:
    """Drop them in place, in as many rounds as one rests on another."""
    for tree in trees.values():
        more = True
        while more:
            more = any(_drop(tree, node) for node in tree.body if isinstance(node, ast.FunctionDef))


def _drop(tree: ast.Module, function: ast.FunctionDef) -> bool:
    """Whether a parameter of the function went."""
    given = function.args
    if not function.name.startswith("_") or given.defaults or given.vararg or given.kwonlyargs or given.kwarg:
        return False
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is(node.func, function.name)]
    others = Counter(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    bound = {one.arg for one in ast.walk(tree) if isinstance(one, ast.arg)}
    if others[function.name] != len(calls) or function.name in bound:
        return False
    if any(call.keywords or len(call.args) != len(given.args) for call in calls):
        return False
    read = {node.id for one in function.body for node in ast.walk(one) if isinstance(node, ast.Name)}
    for i, one in enumerate(given.args):
        arguments = [call.args[i] for call in calls]
        if one.arg not in read and all(isinstance(node, _PURE) for call in arguments for node in ast.walk(call)):
            del given.args[i]
            for call in calls:
                del call.args[i]
            return True
    return False


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
