"""Plain programs, many of which share one fork.

Most programs for a word problem calculate a few numbers and print one, which takes far less time
than a fork. A program is plain if its syntax tree holds nothing but what is listed here: it
imports only ``math``, and names no attribute but functions of ``math`` and methods that work on
its own numbers, texts and lists. So nothing of it is left for the next one to see, and the fork
is confined as for any program. A result counts only if the program ends well: any other program
runs again, in a fork of its own (``stages.lib.sandbox.worker``).
"""

import ast
import builtins
import io
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from stages.lib.sandbox.confinement import Confinement

_NODES = (
    ast.Module,
    ast.Expr,
    *(ast.Assign, ast.AugAssign, ast.AnnAssign, ast.NamedExpr),
    *(ast.If, ast.IfExp, ast.For, ast.While, ast.Break, ast.Continue, ast.Pass),
    *(ast.FunctionDef, ast.Lambda, ast.Return, ast.arguments, ast.arg, ast.Global, ast.Nonlocal),
    *(ast.Call, ast.keyword, ast.Starred, ast.Subscript, ast.Slice),
    *(ast.Name, ast.Attribute, ast.Load, ast.Store),
    *(ast.Import, ast.ImportFrom, ast.alias),
    *(ast.Constant, ast.JoinedStr, ast.FormattedValue),
    *(ast.List, ast.Tuple, ast.Dict, ast.Set),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
_FUNCTIONS = """
    abs all any bin bool chr complex dict divmod enumerate filter float frozenset hex int iter len
    list map max min next oct ord pow print range reversed round set sorted str sum tuple zip
"""
# Not ``format``: its text can name any attribute.
_METHODS = """
    add append clear copy count difference discard endswith extend find get index insert
    intersection is_integer isdigit items join keys lower pop remove replace reverse setdefault sort
    split startswith strip union update upper values
"""
_ATTRIBUTES = {*_METHODS.split(), *(name for name in vars(math) if not name.startswith("_"))}
_FOREIGN = set(vars(builtins)).difference(_FUNCTIONS.split())


def become_plain_programs(
    texts: Sequence[str], confinement: Confinement, out: int, err: int
) -> NoReturn:
    """Confine this process, and execute the plain ones of some programs, one after the other.

    Writes a line to the descriptor ``out`` for each that ends well: its position, its output and
    its seconds, as JSON.
    """
    try:
        os.setsid()
        os.dup2(out, 1)
        os.dup2(err, 2)
        confinement.enter()
        for position, text in enumerate(texts):
            started = time.monotonic()
            printed = _printed(text)
            if printed is not None:
                record = [position, printed, time.monotonic() - started]
                os.write(1, json.dumps(record).encode() + b"\n")
    finally:
        os._exit(0)


def _printed(text: str) -> str | None:
    """Return what a program prints, or None if it is not plain or does not end well."""
    sys.stdout = output = io.StringIO()
    try:
        tree = ast.parse(text)
        if not all(map(_is_plain, ast.walk(tree))):
            return None
        exec(compile(tree, "<program>", "exec", dont_inherit=True), {"__name__": "__main__"})
        printed = output.getvalue()
        printed.encode()  # raises an error for half a surrogate pair
        return printed
    except BaseException:  # a program may raise anything
        return None


def _is_plain(node: ast.AST) -> bool:
    """Return whether a node, regardless of those in it, may stand in a plain program."""
    match node:
        case ast.Attribute(attr=name, ctx=context):
            return name in _ATTRIBUTES and isinstance(context, ast.Load)
        case ast.Name(id="__name__"):
            return isinstance(node.ctx, ast.Load)
        case ast.Name(id=name) | ast.arg(arg=name):
            return _may_name(name)
        case ast.FunctionDef():
            return _may_name(node.name) and not node.decorator_list
        case ast.Import():
            return all(alias.name == "math" for alias in node.names)
        case ast.ImportFrom():
            return node.module == "math" and node.level == 0
        case ast.alias():
            return not node.name.startswith("_") and _may_name(node.asname or "")
    return isinstance(node, _NODES)


def _may_name(name: str) -> bool:
    return not name.startswith("__") and name not in _FOREIGN
