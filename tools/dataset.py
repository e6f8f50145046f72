"""Write the arithmetic ladder and its difficulty as a data set for the Hugging Face Hub.

Reads the problems, their difficulty and the parameters. Writes Parquet files and the data set's
card, ``README.md``, to a new folder, which ``datasets.load_dataset`` reads:

- ``problems``: the training problems as split ``train``, and each benchmark of the ladder as a
  split with its name;
- ``difficulty``, if it was measured: the difficulty of each training problem with each prompting.

Problems of other sources are left out: they have licenses and homes of their own.

    python -m tools.dataset DIR
"""

from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from stages.lib.core.files import atomic_replace
from stages.lib.core.paths import DIFFICULTY, EVAL_PROBLEMS, TRAIN_PROBLEMS
from stages.lib.core.schema import Difficulty, Problem
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.params.data import LadderBenchmark
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.runtime import console

CARD = """# The arithmetic ladder

Problems of {rungs} kinds (rungs), from easy to hard, each with an answer, a worked solution and a
program. The hash of a problem's numbers decides whether it belongs to training, development or
test, so these share no problem.

| split | problems |
|---|---|
{counts}

`problems`: `id`, `source` (the rung), `question`, `answer`, `kind` of the answer, `choices`,
`solution`, `program`, `level` (the rung's place in the ladder), `topic`, `template`, `published`
(empty here).
{difficulty}
Drawn with the seed {seed} by the repository Uphill.
"""
DIFFICULTY_CARD = """
`difficulty` says how hard each training problem is for one base model, `{base}`: of `n` samples at
temperature {temperature} with {shots} worked examples in the prompt, `n_correct` were right.
`posterior_mean`, `low` and `high` are the pass rate and its {interval:.0%} interval under a Beta
prior fitted to the rung; `level` is that of Sample-Difficulty-Adaptive Tuning
(`{definition}`, {levels} levels). It is a property of the problem and that model, not of the
problem alone.
"""


def main(out: str) -> None:
    """Write the data set."""
    params = load_params()
    splits = ladder_splits(params)
    if not any(splits.values()):
        raise ValueError("prepare: expected problems of the ladder, in training or a benchmark")
    folder = Path(out)
    if folder.exists():
        raise ValueError(f"{folder}: expected a folder that does not exist yet")
    difficulty = difficulty_of(splits["train"]) if params.sample.k else []
    with atomic_replace(folder) as tmp:
        tmp.mkdir(parents=True)
        for split, problems in splits.items():
            if problems:
                write_parquet(tmp / "problems" / f"{split}.parquet", problems)
        if difficulty:
            write_parquet(tmp / "difficulty" / "train.parquet", difficulty)
        card(params, splits, has_difficulty=bool(difficulty)).save(tmp / "README.md")
    console.log_line(f"{out}: upload it by `hf upload --repo-type dataset ORG/NAME {out}`")


def ladder_splits(params: Params) -> dict[str, list[Problem]]:
    """Return the problems of the ladder by split."""
    if "train" in params.prepare.benchmarks:
        raise ValueError("prepare.benchmarks: 'train': expected another name than the split's")
    rungs = set(params.prepare.rungs)
    train = [row for row in read_parquet(TRAIN_PROBLEMS, Problem) if row.source in rungs]
    benchmarks = {
        name.replace("-", "_"): read_parquet(EVAL_PROBLEMS / f"{name}.parquet", Problem)
        for name, source in params.prepare.benchmarks.items()
        if isinstance(source, LadderBenchmark)
    }
    return {"train": train} | benchmarks


def difficulty_of(problems: list[Problem]) -> list[Difficulty]:
    """Return the difficulty of these problems."""
    ids = {problem.id for problem in problems}
    return [row for row in read_parquet(DIFFICULTY, Difficulty) if row.problem_id in ids]


def card(params: Params, splits: dict[str, list[Problem]], *, has_difficulty: bool) -> DatasetCard:
    """Return the card of a data set with these splits."""
    files = [
        {"split": split, "path": f"problems/{split}.parquet"}
        for split, problems in splits.items()
        if problems
    ]
    configs: list[dict[str, Any]] = [
        {"config_name": "problems", "data_files": files, "default": True}
    ]
    if has_difficulty:
        one = {"split": "train", "path": "difficulty/train.parquet"}
        configs.append({"config_name": "difficulty", "data_files": [one]})
    data = DatasetCardData(
        language="en",
        license="apache-2.0",
        pretty_name="The arithmetic ladder",
        task_categories=["text-generation"],
        tags=["mathematics", "difficulty", "uphill"],
        configs=configs,
    )
    sample, score = params.sample, params.score
    difficulty = DIFFICULTY_CARD.format(
        base=params.model.base.partition("#")[0],
        temperature=sample.temperature,
        shots=sample.shots,
        interval=score.interval,
        definition=score.definition,
        levels=score.levels,
    )
    text = CARD.format(
        rungs=len(params.prepare.rungs),
        seed=params.prepare.seed,
        counts="\n".join(f"| {name} | {len(rows)} |" for name, rows in splits.items() if rows),
        difficulty=difficulty if has_difficulty else "",
    )
    return DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{text}")


if __name__ == "__main__":
    console.run_stage("dataset", main, item="out", timed=False)
