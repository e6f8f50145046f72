"""From samples to difficulty to the examples of each arm."""

from collections import Counter

import pytest

from stages import prepare, score, weigh
from stages.lib.files import read_json
from stages.lib.paths import DIFFICULTY, METRICS, SAMPLES, TRAIN_PROBLEMS, TRAINING
from stages.lib.records import Difficulty, Example, Generation, Problem, read_parquet
from stages.lib.store import Store
from tests.stages.conftest import Change


def sample_everything(right_of: dict[str, int], k: int) -> None:
    """Store k samples per problem, the first few of which are right, by source."""
    rows = [
        Generation(
            problem_id=problem.id,
            model="m",
            prompting="cot",
            shots=1,
            index=index,
            text=f"The answer is {problem.answer if index < right_of[problem.source] else 99999}.",
            finish_reason="stop",
            n_tokens=5,
            prompt_sha="p",
        )
        for problem in read_parquet(TRAIN_PROBLEMS, Problem)
        for index in range(k)
    ]
    Store(SAMPLES).append(rows)


@pytest.fixture
def scored(change: Change) -> Change:
    prepare.main()
    sample_everything({"sum-1-digit": 4, "fraction": 2, "product-2x2": 0}, k=4)
    score.main()
    return change


def test_difficulty_counts_the_right_samples(scored: Change) -> None:
    rows = read_parquet(DIFFICULTY, Difficulty)
    found = {row.source: (row.pass_rate, row.level) for row in rows}
    assert found == {
        "sum-1-digit": (1.0, 1),
        "fraction": (0.5, 3),
        "product-2x2": (0.0, 5),
    }
    assert all(row.low < row.posterior_mean < row.high for row in rows)


def test_the_metrics_are_few_and_named(scored: Change) -> None:
    assert read_json(METRICS / "difficulty.json") == {
        "pass_rate": {"fraction": 0.5, "product-2x2": 0.0, "sum-1-digit": 1.0},
        "samples": {"correct": 36, "wrong": 36},
        "pass_at_1": 0.5,
        "pass_at_4": 0.667,
        "maj_at_4": 0.5,
    }


def repeats_by_source(arm: str) -> dict[str, set[int]]:
    examples = read_parquet(TRAINING / f"{arm}.parquet", Example)
    return {
        source: {one.repeats for one in examples if one.source == source}
        for source in {one.source for one in examples}
    }


def test_the_adaptive_arm_repeats_what_is_hard(scored: Change) -> None:
    weigh.main("adaptive")
    assert repeats_by_source("adaptive") == {
        "sum-1-digit": {2},
        "fraction": {4},
        "product-2x2": {6},
    }


def test_the_control_has_the_same_repeats_on_other_problems(scored: Change) -> None:
    scored(
        {
            "weigh.arms": {
                "adaptive": {"strategy": "repeat", "base": 1, "factor": 1},
                "control": {"strategy": "control", "of": "adaptive"},
            },
            "evaluate.models": {"base": [0]},
            "quantize.models": {},
            "analyze.compare": [["base", "base"]],
        }
    )
    for arm in ("adaptive", "control"):
        weigh.main(arm)
    adaptive, control = (
        [one.repeats for one in read_parquet(TRAINING / f"{arm}.parquet", Example)]
        for arm in ("adaptive", "control")
    )
    assert Counter(adaptive) == Counter(control)
    assert adaptive != control


def test_every_problem_gives_a_reasoned_example_and_a_program(scored: Change) -> None:
    weigh.main("uniform")
    examples = read_parquet(TRAINING / "uniform.parquet", Example)
    assert len(examples) == 2 * len(read_parquet(TRAIN_PROBLEMS, Problem))
    for one in examples:
        assert one.response.startswith("```python") == (one.prompting == "pot")
        assert one.question.endswith("Let's write a program.") == (one.prompting == "pot")
        assert one.repeats == one.weight == 1


def test_weights_grow_with_the_level(scored: Change) -> None:
    scored({"weigh.arms.uniform": {"strategy": "weight", "base": 1.0, "factor": 0.5}})
    weigh.main("uniform")
    examples = read_parquet(TRAINING / "uniform.parquet", Example)
    assert {(one.source, one.weight) for one in examples} == {
        ("sum-1-digit", 1.5),
        ("fraction", 2.5),
        ("product-2x2", 3.5),
    }


def test_an_arm_that_is_not_there_is_named(scored: Change) -> None:
    with pytest.raises(ValueError, match="weigh.arms: 'nobody': expected one of"):
        weigh.main("nobody")
