"""Which of the repository's modules a stage reaches by its imports."""

import ast
from pathlib import Path


def reached(module: Path) -> set[str]:
    """Return the paths of ``module`` and of every module under ``stages`` that it imports.

    A package of the library stands for its modules, as a folder. A template of the library
    is reached by the module that names it.
    """
    found: set[str] = set()
    open_ends = [module]
    while open_ends:
        path = open_ends.pop()
        if str(path) not in found:
            found.add(str(path))
            modules = path.glob("*.py") if path.is_dir() else [path]
            open_ends += [other for one in modules for other in _imported(one)]
    return found


def _imported(path: Path) -> list[Path]:
    if path.suffix != ".py":
        return []
    names: list[str] = []
    templates: list[Path] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and str(node.value).endswith(".j2"):
            templates.append(Path("stages/lib", str(node.value)))
    candidates = [_place(name.split(".")) for name in names if name.startswith("stages.")]
    return templates + [path for path in candidates if path is not None]


def _place(name: list[str]) -> Path | None:
    if len(name) > 2 and Path(*name[:3]).is_dir():
        return Path(*name[:3])
    path = Path(*name).with_suffix(".py")
    return path if path.exists() else None
