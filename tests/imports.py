"""What imports what: the modules and packages of the repository, read from their source."""

import ast
from functools import cache
from pathlib import Path

LIBRARY = Path("stages/lib")


def packages() -> list[str]:
    """Return the names of the library's packages."""
    return sorted(path.parent.name for path in LIBRARY.glob("*/__init__.py"))


def files_of(package: str) -> list[Path]:
    """Return the modules of a package of the library; packages are flat."""
    return sorted((LIBRARY / package).glob("*.py"))


@cache
def imports_of(file: Path) -> dict[str, int]:
    """Return the packages of the library that a file imports, and where it does last."""
    imported: dict[str, int] = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: expected an absolute import"
            # `from stages.lib import core` and `from stages.lib.core import files` name it.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        modules = [name for name in names if name.startswith("stages.lib.")]
        imported |= dict.fromkeys((name.split(".")[2] for name in modules), node.lineno)
    return imported


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
        for package in imports_of(queue.pop()).keys() - visited:
            visited.add(package)
            queue += files_of(package)
    return visited
