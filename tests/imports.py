"""What imports what: the modules and packages of the repository, read from their source."""

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

LIBRARY = Path("stages/lib")


class Import(NamedTuple):
    """A package of the library that a file imports, and where."""

    package: str
    file: Path
    line: int


def packages() -> list[str]:
    """Return the names of the library's packages."""
    return sorted(path.parent.name for path in LIBRARY.glob("*/__init__.py"))


def files_of(package: str) -> list[Path]:
    """Return the modules of a package of the library; packages are flat."""
    return sorted((LIBRARY / package).glob("*.py"))


@cache
def imports_of(file: Path) -> list[Import]:
    """Return every import of a package of the library in a file, inside functions too."""
    found: list[Import] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: expected an absolute import"
            # `from stages.lib import core` and `from stages.lib.core import files` name it.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for package in {name.split(".")[2] for name in names if name.startswith("stages.lib.")}:
            found.append(Import(package, file, node.lineno))
    return found


def imported_modules(file: Path) -> set[str]:
    """Return the dotted names of all that a file imports from ``stages`` and ``tools``."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return {name for name in modules if name.partition(".")[0] in ("stages", "tools")}


def reached(file: Path) -> set[str]:
    """Return the packages that a file imports, and all that these import in turn."""
    visited: set[str] = set()
    queue = [file]
    while queue:
        for item in imports_of(queue.pop()):
            if item.package not in visited:
                visited.add(item.package)
                queue += files_of(item.package)
    return visited
