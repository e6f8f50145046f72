"""The stage that trains by GRPO, on a tiny model."""

import shutil
from pathlib import Path

import pytest
import torch

from stages import grpo
from stages.lib.core.files import read_json
from stages.lib.core.paths import (
    CHECKPOINTS,
    DIFFICULTY,
    MODELS,
    TRAIN_PROBLEMS,
    TRAINING,
    TRAINING_LOGS,
)
from stages.lib.core.schema import Example, Problem
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.models.loading import load_model, load_tokenizer
from tests.arms import GRPO, LORA
from tests.rows import make_difficulty
from tests.stages.conftest import Change
from tests.stages.test_figures import problem

# The base never solved the first two, and always the last.
RATES = [0.0, 0.0, 0.25, 0.5, 0.75, 1.0]
SPEC = GRPO | {"parent": "base", "zero_variance_weight": 0.0}


@pytest.fixture
def ready(change: Change, terse: Path) -> Change:
    """Return how to change the parameters of a folder with a base model and problems."""
    shutil.copytree(terse, MODELS / "base")
    problems = [problem("sum", number, 1) for number in range(len(RATES))]
    write_parquet(TRAIN_PROBLEMS, problems)
    rows = [
        make_difficulty(row.id, rate, source=row.source)
        for row, rate in zip(problems, RATES, strict=True)
    ]
    write_parquet(DIFFICULTY, rows[::-1])
    change(
        {
            "prompts.system": "",
            "grpo.steps": 2,
            "grpo.prompts_per_step": 3,
            "grpo.generations": 2,
            "grpo.max_tokens": 4,
            "grpo.save_every": 1,
            "grpo.models": {"grpo": SPEC, "lora": SPEC | {"tuning": LORA}},
        }
    )
    return change


@pytest.mark.parametrize("name", ["grpo", "lora"])
def test_a_model_is_trained_with_its_log_and_the_problems_it_sampled(
    ready: Change, name: str
) -> None:
    grpo.main(name)
    tables = {path.stem: path for path in (TRAINING_LOGS / name / "plots/metrics").iterdir()}
    assert set(tables) == {
        *("reward", "answer_reward", "format_reward", "kl", "answer_tokens", "cut"),
        *("groups_without_signal", "entropy", "loss", "learning_rate"),
    }
    for path in tables.values():
        steps = [line.split("\t")[0] for line in path.read_text().splitlines()]
        assert steps == ["step", "1", "2"]
    assert read_json(TRAINING_LOGS / name / "metrics.json")["step"] == 2
    # Both rounds sample the three problems that the base solved sometimes.
    examples = read_parquet(TRAINING / f"{name}.parquet", Example)
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    expected = {problems[index].id: 2 for index in (2, 3, 4)}
    assert {row.problem_id: row.repeats for row in examples} == expected
    about = read_json(TRAINING_LOGS / f"{name}.json")
    assert (about["problems"], about["answers"], about["parent"]) == (3, 12, "base")
    assert (about["share"] == 1) == (name == "grpo")
    before, after = (load_tokenizer(MODELS / model) for model in ("base", name))
    assert after.get_vocab() == before.get_vocab()
    old, new = (load_model(MODELS / model, torch.bfloat16) for model in ("base", name))
    weights = new.state_dict()
    assert any(not torch.equal(value, weights[key]) for key, value in old.state_dict().items())
    assert new.config.use_cache == old.config.use_cache
    assert not CHECKPOINTS.joinpath(name).exists()


def test_an_empty_pool_stops_the_stage_in_one_line(ready: Change) -> None:
    ready({"grpo.prompts_per_step": 4})
    with pytest.raises(ValueError, match=r"^grpo.prompts_per_step: 4: expected at most 3, "):
        grpo.main("grpo")


def test_an_unknown_name_is_refused(ready: Change) -> None:
    with pytest.raises(ValueError, match=r"^grpo.models: 'x': expected one of \['grpo', 'lora'\]"):
        grpo.main("x")
