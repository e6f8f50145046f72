"""Which of the repository's modules a stage reaches by its imports."""

import ast
from pathlib import Path


def reached(module: Path) -> set[str]:
    """Return the paths of ``module`` and of every module under ``stages`` that it imports."""
    found: set[str] = set()
    open_ends = [module]
    while open_ends:
        path = open_ends.pop()
        if str(path) not in found:
            found.add(str(path))
            open_ends += _imported(path)
    return found


def _imported(path: Path) -> list[Path]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    candidates = [Path(*name.split(".")).with_suffix(".py") for name in names]
    return [path for path in candidates if path.parts[0] == "stages" and path.exists()]
