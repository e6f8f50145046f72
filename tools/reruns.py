"""Show which stages an edit re-runs, according to `dvc status`.

Works in a throwaway copy of the pipeline whose outputs are empty files, so it needs no run
and no data. Each edit is made there, `dvc status` is asked, and the edit is taken back. A stage
named here runs again; the stages after it run again only if its outputs change. Prints a
Markdown table, or writes it between the marks of docs/pipeline.md:

    python -m tools.reruns [--write]
"""

import argparse
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import yaml
from dvc.repo import Repo

from stages.lib.core.files import write_text

PAGE = Path("docs/pipeline.md")
BEGIN, END = "<!-- reruns -->\n", "<!-- /reruns -->\n"
NEEDED = (
    "stages",
    "conf",
    "dvc.yaml",
    "params.yaml",
    "reports/layout.typ",
    "reports/paper.typ",
    "reports/references.bib",
)

# Edits of params.yaml: a name, and values by dotted key.
PARAMETERS: dict[str, dict[str, Any]] = {
    "one more arm": {"weigh.arms.new": {"strategy": "uniform"}},
    "another training seed of one arm": {"weigh.arms.uniform.train": {"seed": 2}},
    "`train.steps`": {"train.steps": 99},
    "`train.tracking`, `train.save_every`": {"train.tracking": ["wandb"], "train.save_every": 99},
    "one more benchmark": {
        "prepare.benchmarks.new": {"source": "math", "size": 9},
        "evaluate.max_tokens.new": 9,
    },
    "one more evaluated model": {"evaluate.models.new": [0]},
    "one more quantized model": {
        "quantize.rounded.new": {"parent": "uniform", "method": "rtn", "bits": 4}
    },
    "`sample.k`": {"sample.k": 99},
    "`sample.sequential`": {"sample.sequential": {"width": 0.1, "interval": 0.9, "max_k": 99}},
    "`score.levels`": {"score.levels": 9},
    "`evaluate.held_out`": {"evaluate.held_out": "gsm8k"},
    "`evaluate.sampling`": {
        "evaluate.sampling": {"samples": 9, "temperature": 1.0, "top_p": 1.0, "seed": 9}
    },
    "`evaluate.speed`": {"evaluate.speed.repeats": 9},
    "`engine.engines`": {"engine.engines": 9},
    "`engine.batch_size`": {"engine.batch_size": 9},
    "`sandbox.workers`": {"sandbox.workers": 9},
    "`sandbox.timeout_s`": {"sandbox.timeout_s": 9.0},
    "`analyze.draws`": {"analyze.draws": 999},
    "`figures.dpi`": {"figures.dpi": 99},
    "`demo.*`, `hub.*`": {"demo.queue": 99, "hub.push": {"repo": "a/b", "private": True}},
}


def copy_pipeline(source: Path, into: Path) -> None:
    """Copy the files that define the pipeline's graph; record empty outputs as its last run."""
    for name in NEEDED:
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (source / name).is_dir() else shutil.copy
        copy(source / name, into / name)
    shutil.rmtree(into / "stages" / "__pycache__", ignore_errors=True)
    write_text(into / ".dvcignore", "__pycache__\n")
    for command in (["git"], [sys.executable, "-m", "dvc"]):
        subprocess.run([*command, "init", "--quiet"], cwd=into, check=True)
    logging.getLogger("dvc").setLevel(logging.ERROR)  # it warns of every file as small as these
    # DVC resolves paths from the working folder.
    with chdir(into), Repo() as repo:
        outputs = [Path(out.fs_path) for stage in repo.index.stages for out in stage.outs]
        given = [Path(dep.fs_path) for stage in repo.index.stages for dep in stage.deps]
        for path in {*outputs, *given}:
            _make_empty(path)
        repo.commit(force=True)


def _make_empty(path: Path) -> None:
    """Make an empty file, or a folder with one where the name has no suffix."""
    if path.exists():
        return
    is_folder = not path.suffix or path.name.startswith(".")
    write_text(path / "empty" if is_folder else path, "")


def reruns(repository: Path) -> list[str]:
    """Return the stages that would run because a dependency changed; ``train`` for all arms."""
    with chdir(repository), Repo() as repo:
        status: Mapping[str, Any] = repo.status()
        everything = [stage.addressing for stage in repo.index.stages]
    changed = [name for name, entries in status.items() if _has_changed_input(entries)]
    members: dict[str, set[str]] = {}
    for name in everything:
        members.setdefault(name.partition("@")[0], set()).add(name)
    names: list[str] = []
    for group, stages in members.items():
        hit = stages & set(changed)
        if hit == stages:
            names.append(group)
        else:
            names += sorted(hit)
    return names


def _has_changed_input(entries: Iterable[Any]) -> bool:
    return any(not isinstance(entry, dict) or "changed deps" in entry for entry in entries)


@contextmanager
def edited_package(repository: Path, package: str) -> Iterator[None]:
    """Add a comment to a package of the library for a while."""
    path = repository / "stages" / "lib" / package / "__init__.py"
    before = path.read_text(encoding="utf-8")
    write_text(path, before + "# edited\n")
    yield
    write_text(path, before)


@contextmanager
def edited_parameters(repository: Path, values: Mapping[str, Any]) -> Iterator[None]:
    """Set values of params.yaml, named by dotted keys, for a while."""
    path = repository / "params.yaml"
    before = path.read_text(encoding="utf-8")
    write_text(path, yaml.safe_dump(with_values(yaml.safe_load(before), values), sort_keys=False))
    yield
    write_text(path, before)


def with_values(params: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Set values, named by dotted keys, in nested parameters, and return these."""
    for key, value in values.items():
        *groups, last = key.split(".")
        group = params
        for name in groups:
            group = group[name]
        group[last] = value
    return params


def table(repository: Path) -> str:
    """Return the table of edits and the stages that they re-run, as Markdown."""
    lines = ["| edit | runs again |", "|---|---|"]
    packages = sorted(path.parent.name for path in repository.glob("stages/lib/*/__init__.py"))
    for package in packages:
        with edited_package(repository, package):
            lines.append(
                f"| `stages/lib/{package}` | {', '.join(reruns(repository)) or 'nothing'} |"
            )
    for name, values in PARAMETERS.items():
        with edited_parameters(repository, values):
            lines.append(f"| {name} | {', '.join(reruns(repository))} |")
    return "\n".join(lines) + "\n"


def main(*, write: bool) -> None:
    """Print the table, or put it into its page."""
    with tempfile.TemporaryDirectory() as folder:
        copy_pipeline(Path(), Path(folder))
        markdown = table(Path(folder))
    if not write:
        sys.stdout.write(markdown)
        return
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    write_text(PAGE, head + BEGIN + markdown + END + rest.partition(END)[2])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tools.reruns",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE}")
    main(write=parser.parse_args().write)
