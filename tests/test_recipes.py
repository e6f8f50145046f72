"""Every recipe composes at both sizes, and the data of every miniature is made and weighed."""

from pathlib import Path

import pytest
import yaml

from stages import prepare, sample, score, weigh
from stages.lib.analysis.systems import evaluated_systems
from stages.lib.core.paths import CONF, DIFFICULTY, EVAL_PROBLEMS, TRAIN_PROBLEMS, TRAINING
from stages.lib.core.schema import Difficulty, Example, Problem
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.data.ladder import sample_ladder
from stages.lib.params.compose import compose
from stages.lib.params.data import LadderBenchmark, LadderSource
from stages.lib.params.load import parse_params
from tests.rows import make_difficulty

RECIPES = sorted(path.stem for path in (CONF / "recipe").glob("*.yaml"))
PUBLISHED = ("finetome-grpo", "gemma-orca", "lab2", "paradigm", "sdat")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_valid_and_every_rung_has_as_many_problems_as_it_asks_for(recipe: str) -> None:
    for size in ("full", "mini"):
        params = parse_params(compose([f"recipe={recipe}", f"size={size}"], CONF), where=recipe)
        assert evaluated_systems(params.evaluate)
        settings = params.prepare
        for source in (*settings.train, *settings.benchmarks.values()):
            if isinstance(source, LadderSource):
                tested = isinstance(source, LadderBenchmark)
                problems = sample_ladder(
                    settings.rungs,
                    per_rung=source.per_rung + (0 if tested else settings.demonstrations),
                    seed=settings.seed,
                    part=source.part if tested else "train",
                )
                assert len(problems) >= source.per_rung * len(settings.rungs)


def test_all_published_works_are_there() -> None:
    assert set(PUBLISHED) <= set(RECIPES)
    for name in PUBLISHED:
        assert {f"{name}-full.yaml", f"{name}-mini.yaml"} <= {
            path.name for path in (CONF / "scale").iterdir()
        }


def unequal(problem: Problem, position: int) -> Difficulty:
    return make_difficulty(problem.id, position % 5 / 4, source=problem.source)


@pytest.mark.parametrize("recipe", [*PUBLISHED, "study-math"])
def test_a_miniature_has_something_to_learn_and_nothing_of_its_benchmarks(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = compose([f"recipe={recipe}", "size=mini"], CONF)
    questions = (CONF / "questions.jsonl").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    CONF.mkdir()
    (CONF / "questions.jsonl").write_text(questions, encoding="utf-8")
    Path("params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    prepare.main()
    if raw["sample"]["k"]:
        problems = read_parquet(TRAIN_PROBLEMS, Problem)
        rows = [unequal(problem, position) for position, problem in enumerate(problems)]
        write_parquet(DIFFICULTY, rows)
    else:
        sample.main()
        score.main()
    questions = {
        problem.question
        for path in EVAL_PROBLEMS.iterdir()
        for problem in read_parquet(path, Problem)
    }
    for arm in raw["weigh"]["arms"]:
        weigh.main(arm)
        examples = read_parquet(TRAINING / f"{arm}.parquet", Example)
        assert sum(example.repeats for example in examples) > 100
        assert all(turn.response for example in examples for turn in example.turns)
        assert not questions & {turn.question for example in examples for turn in example.turns}
