"""Mutation testing: plant one fault after the other and see that the suite fails.

``mutations.yaml`` lists the faults: a file, a text that occurs in it once, what replaces it,
and the tests that should fail (the file's own tests where none are named). Each is planted in a
copy of the working tree. Writes the outcomes into docs/testing.md, where others stay:

    python -m tests.mutations            # all of them
    python -m tests.mutations grading    # those of one package
    python -m tests.mutations new        # those without an outcome yet
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from stages.lib.core.files import write_text
from tests.mini import copy_tree

LIST = Path("tests/mutations/mutations.yaml")
PAGE = Path("docs/testing.md")
BEGIN, END = "<!-- mutations -->\n", "<!-- /mutations -->\n"
PATIENCE_S = 600
OUTCOMES = {0: "survived", 1: "caught"}


class Mutation(NamedTuple):
    """A fault to plant: ``old`` becomes ``new`` in ``file``; ``tests`` should then fail."""

    file: str
    what: str
    old: str
    new: str
    tests: str = ""

    def test_paths(self) -> list[str]:
        """Return the tests named, or those that mirror the file."""
        if self.tests:
            return self.tests.split()
        path = Path(self.file.replace("stages/", "tests/", 1))
        if path.parts[1] != "lib":
            path = Path("tests/stages", path.name)
        return [str(path.with_name(f"test_{path.name}"))]


def plant(mutation: Mutation, tree: Path) -> str:
    """Run the tests with the fault in place and return the outcome."""
    path = tree / mutation.file
    before = path.read_text(encoding="utf-8")
    write_text(path, before.replace(mutation.old, mutation.new))
    status = run_tests(mutation.test_paths(), tree)
    write_text(path, before)
    return OUTCOMES.get(status, f"no tests ran (exit status {status})")


def run_tests(paths: Sequence[str], tree: Path) -> int:
    """Run tests in a tree and return pytest's exit status."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    # The copy's own modules, not those of the tree that it was made from.
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        run = subprocess.run(
            [*command, *paths],
            cwd=tree,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1  # a suite that hangs has noticed, too
    return run.returncode


def outcomes(mutations: Sequence[Mutation]) -> Iterator[tuple[Mutation, str]]:
    """Yield each mutation with its outcome."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # a test runs a program as another user
        tree = Path(folder) / "tree"
        copy_tree(tree)
        # A test that fails without a fault would catch every fault.
        for paths in {tuple(mutation.test_paths()) for mutation in mutations}:
            if run_tests(paths, tree):
                raise ValueError(f"{' '.join(paths)}: expected to pass without a fault")
        for mutation in mutations:
            yield mutation, plant(mutation, tree)


def read_mutations() -> list[Mutation]:
    """Return the mutations of the list."""
    return [Mutation(**entry) for entry in yaml.safe_load(LIST.read_text(encoding="utf-8"))]


def read_outcomes() -> dict[tuple[str, str], str]:
    """Return the outcomes on the page, by file and fault."""
    table = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    return {(file.strip("`"), what): outcome for file, what, outcome in rows}


def write_outcomes(outcome_of: Mapping[tuple[str, str], str]) -> None:
    """Write the outcomes of the list's mutations into the page, in the order of the list."""
    lines = ["| file | fault | outcome |", "|---|---|---|"]
    for mutation in read_mutations():
        outcome = outcome_of.get((mutation.file, mutation.what), "not run")
        lines.append(f"| `{mutation.file}` | {mutation.what} | {outcome} |")
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    table = "\n".join(lines) + "\n"
    write_text(PAGE, head + BEGIN + table + END + rest.partition(END)[2])


def main(words: Sequence[str]) -> None:
    """Plant the mutations whose file contains one of the words, the new ones, or all."""
    outcome_of = read_outcomes()
    chosen = [
        mutation
        for mutation in read_mutations()
        if not words
        or any(word in mutation.file for word in words)
        or ("new" in words and (mutation.file, mutation.what) not in outcome_of)
    ]
    survived = 0
    for mutation, outcome in outcomes(chosen):
        outcome_of[mutation.file, mutation.what] = outcome
        write_outcomes(outcome_of)
        sys.stdout.write(f"{mutation.file}: {mutation.what}: {outcome}\n")
        sys.stdout.flush()
        survived += outcome != "caught"
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
