"""Run the blocks of a study, each as a DVC experiment in a folder of its own."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dvc.api import DVCFileSystem

from stages.lib.core.paths import CONF, EVAL_PROBLEMS, GRADES, TIMINGS, TRAINING_LOGS
from stages.lib.core.schema import content_id
from stages.lib.params.compose import compose
from stages.lib.params.data import BenchmarkSource, LadderBenchmark
from stages.lib.params.load import parse_params
from stages.lib.params.root import Params
from stages.lib.provenance.versions import cpu_name
from tools.experiments import check_unchanged, experiment_ref, git, is_ancestor, run_dvc
from tools.study.blocks import Block, read_outcomes
from tools.study.spec import Study

REGISTRATION = Path("docs/preregistration.md")

# What decides the outcomes: the pipeline and its code.
CODE = ("dvc.yaml", "stages", "requirements.txt")


def overrides(recipe: str, seed: int) -> list[str]:
    """Return what a block composes its parameters from: the recipe, and its seed everywhere."""
    replays = load_recipe(recipe).weigh.replays
    seeds = [f"weigh.replays.{name}.seed={seed}" for name in replays]
    return [f"recipe={recipe}", f"train.seed={seed}", *seeds]


def load_recipe(recipe: str) -> Params:
    """Return the parameters of a recipe."""
    return parse_params(compose([f"recipe={recipe}"], CONF), where=recipe)


def check_names(study: Study) -> None:
    """Raise ValueError for names that do not fit the study's recipe.

    That is an arm or an easy cell that the recipe does not have, or the control of another arm.
    """
    params = load_recipe(study.recipe)
    for field in ("candidate", "baseline", "control"):
        if (name := getattr(study, field)) not in params.evaluate.models:
            raise ValueError(f"{field}: {name!r}: expected one of {[*params.evaluate.models]}")
    if _controlled_by(study.control, params) != study.candidate:
        raise ValueError(f"control: {study.control!r}: expected a control of {study.candidate!r}")
    if not isinstance(_benchmark(params), LadderBenchmark):
        return  # its cells are known when it is prepared
    cells = [
        f"{rung}/{prompting}"
        for rung in params.prepare.rungs
        for prompting in params.evaluate.prompting
    ]
    if unknown := sorted(set(study.easy) - set(cells)):
        raise ValueError(f"easy: {unknown[0]!r}: expected one of {sorted(cells)}")
    if not set(cells) - set(study.easy):
        raise ValueError(f"easy: all {len(cells)} cells: expected others to be hard")


def _controlled_by(control: str, params: Params) -> str | None:
    """Return the arm that a replay or an arm is the control of, or None."""
    if control in params.weigh.replays:
        return params.weigh.replays[control].arm
    return getattr(params.weigh.arms.get(control), "control_of", None)


def check_dev(params: Params) -> None:
    """Raise ValueError unless a run is evaluated on the ladder's part for choices."""
    part = getattr(_benchmark(params), "part", None)
    if part != "dev":
        held_out = params.evaluate.held_out
        raise ValueError(f"prepare.benchmarks.{held_out}.part: {part!r}: expected 'dev'")


def _benchmark(params: Params) -> BenchmarkSource:
    return params.prepare.benchmarks[params.evaluate.held_out]


def code_id(recipe: str) -> str:
    """Identify the committed code and the parameters of all blocks."""
    trees = [git("rev-parse", f"HEAD:{path}") for path in CODE]
    return content_id(*trees, repr(load_recipe(recipe)))


def check_code(recipe: str, blocks: Sequence[Block]) -> None:
    """Raise ValueError if a further block would have other code than those that there are."""
    if blocks and (code := code_id(recipe)) != blocks[0].code:
        raise ValueError(
            f"HEAD: code {code}: expected {blocks[0].code}, that of the finished blocks: check out "
            f"{blocks[0].commit[:12]}"
        )


def run_block(recipe: str, seed: int, commit: str) -> Block:
    """Run one block, or read its experiment if a run of this commit was saved already.

    Raises ValueError if the workspace has changed, if nothing is registered and if the run fails.
    """
    check_unchanged(commit)
    registration = registered_text(commit)
    name = f"{recipe}-{seed}"
    reference = experiment_ref(name, commit)
    if not git("for-each-ref", reference):
        settings = [f"--set-param={text}" for text in overrides(recipe, seed)]
        # Grades are all that is asked for: neither figures nor a paper.
        reason = run_dvc("exp", "run", "--temp", "--name", name, *settings, "analyze")
        if reason:
            raise ValueError(f"block {seed}: {reason}")
    return read_block(recipe, seed, commit, git("rev-parse", reference), registration)


def registered_text(commit: str) -> str:
    """Identify the registered text that a commit holds. Raises ValueError if it holds none."""
    return git("rev-parse", f"{commit}:{REGISTRATION}")


def check_registered(blocks: Sequence[Block]) -> None:
    """Raise ValueError unless the registered text was committed before each block ran.

    That is, the commit that a block ran from has the text of today and precedes today's.
    """
    for block in blocks:
        where = f"block {block.seed}: commit: {block.commit[:12]}: expected"
        if not is_ancestor(block.commit):
            raise ValueError(f"{where} an ancestor of HEAD")
        if block.registration != registered_text(block.commit) or (
            block.registration != registered_text("HEAD")
        ):
            raise ValueError(f"{where} {REGISTRATION} to be the same there, in the block and today")


def read_block(recipe: str, seed: int, commit: str, revision: str, registration: str) -> Block:
    """Read a block from the saved experiment ``revision``."""
    params = load_recipe(recipe)
    benchmark = params.evaluate.held_out
    with TemporaryDirectory() as folder:
        files = DVCFileSystem(rev=revision)
        grades, problems = Path(folder, "grades.parquet"), Path(folder, "problems.parquet")
        files.get_file(str(GRADES), str(grades))
        files.get_file(str(EVAL_PROBLEMS / f"{benchmark}.parquet"), str(problems))
        outcomes, problems_id = read_outcomes(grades, problems)
    return Block(
        seed=seed,
        commit=commit,
        code=code_id(recipe),
        registration=registration,
        cpu=cpu_name(),
        problems=problems_id,
        outcomes=outcomes,
        reports=_reports(params, revision),
        examples=examples_of(params, revision),
    )


def _reports(params: Params, revision: str) -> dict[str, dict[str, Any]]:
    """Return what each training of an experiment reported, and its seconds."""
    stages = [("train", name) for name in params.weigh.arms]
    stages += [("replay", name) for name in params.weigh.replays]
    return {
        name: _json_at(revision, TRAINING_LOGS / f"{name}.json")
        | _json_at(revision, TIMINGS / f"{stage}-{name}.json")
        for stage, name in stages
    }


def examples_of(params: Params, revision: str) -> dict[str, dict[str, int]]:
    """Return how many examples of each cell each training of an experiment used."""
    examples: dict[str, dict[str, int]] = {}
    for name in (*params.weigh.arms, *params.weigh.replays):
        table = git("show", f"{revision}:{TRAINING_LOGS / name / 'allocation.csv'}")
        counts: Counter[str] = Counter()
        for row in csv.DictReader(table.splitlines()):
            counts[f"{row['source']}/{row['prompting']}"] += int(row["examples"])
        examples[name] = dict(counts)
    return examples


def _json_at(revision: str, path: Path) -> dict[str, Any]:
    return json.loads(git("show", f"{revision}:{path}"))
