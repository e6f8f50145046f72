"""From difficulty to the training examples of each arm."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from stages import score, weigh
from stages.lib.core.files import read_json
from stages.lib.core.paths import ARM_METRICS, CONVERSATIONS, RESAMPLES, TRAIN_PROBLEMS, TRAINING
from stages.lib.core.schema import Conversation, Example, Problem, PublishedDifficulty, Turn
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.generations.store import Store
from tests.arms import ROWS
from tests.stages.conftest import Change
from tests.stages.scoring import sample, score_samples, store_samples, write_problems

CONTROL = {"strategy": "control", "control_of": "arm"}
UNIFORM = {"strategy": "uniform"}


@pytest.fixture
def scored(change: Change) -> Change:
    score_samples()
    return change


def set_arms(change: Change, arms: dict[str, Any]) -> None:
    """Replace the arms, and what depends on those of the parameters."""
    change(
        {
            "weigh.arms": arms,
            "evaluate.models": {"base": [0]},
            "quantize.gptq": {},
            "analyze.compare": [["base", "base"]],
        }
    )


def weigh_with_control(change: Change, arm: dict[str, Any]) -> None:
    set_arms(change, {"arm": arm, "control": CONTROL})
    weigh.main("arm")
    weigh.main("control")


def examples_of(arm: str) -> list[Example]:
    return read_parquet(TRAINING / f"{arm}.parquet", Example)


def metrics_of(arm: str) -> dict[str, Any]:
    return read_json(ARM_METRICS / f"{arm}.json")


def test_the_adaptive_arm_repeats_what_is_hard(scored: Change) -> None:
    weigh.main("adaptive")
    assert {(row.source, row.repeats) for row in examples_of("adaptive")} == {
        ("sum-1-digit", 2),
        ("fraction", 4),
        ("product-2x2", 6),
    }
    assert metrics_of("adaptive")["mean_level"] == round(44 / 12, 3)


def test_each_prompting_is_repeated_by_its_own_difficulty(scored: Change) -> None:
    store_samples({"sum-1-digit": 0, "fraction": 1, "product-2x2": 2}, 2, "pot")
    score.main()
    weigh.main("adaptive")
    assert {(row.source, row.prompting, row.repeats) for row in examples_of("adaptive")} == {
        ("sum-1-digit", "cot", 2),
        ("fraction", "cot", 4),
        ("product-2x2", "cot", 6),
        ("sum-1-digit", "pot", 6),
        ("fraction", "pot", 4),
        ("product-2x2", "pot", 2),
    }
    # The level is that of the same prompting: (2 + 12 + 30) + (30 + 12 + 2) of 24 repeats.
    assert metrics_of("adaptive")["mean_level"] == round(88 / 24, 3)


def test_published_levels_are_repeated_without_samples(change: Change) -> None:
    change({"score.definition": "published", "sample.k": 0})
    write_problems()
    published = [PublishedDifficulty("cot", 0.25, 2), PublishedDifficulty("pot", 0.75, 4)]
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    # A problem whose other row states nothing has one difficulty for both promptings.
    write_parquet(
        TRAIN_PROBLEMS,
        [replace(row, published=published[i % 2 :]) for i, row in enumerate(problems)],
    )
    score.main()
    weigh.main("adaptive")
    examples = examples_of("adaptive")
    assert Counter((row.prompting, row.repeats) for row in examples) == {
        ("cot", 3): 9,
        ("cot", 5): 9,
        ("pot", 5): 18,
    }


def test_controls_have_the_same_repeats_on_other_problems(scored: Change) -> None:
    arms = {
        "arm": {"strategy": "repeat", "base": 1, "factor": 1},
        "control": CONTROL,
        "same": CONTROL,
        "other": CONTROL | {"seed": 2},
    }
    set_arms(scored, arms)
    repeats = {}
    for name in arms:
        weigh.main(name)
        repeats[name] = [row.repeats for row in examples_of(name)]
    assert len({tuple(sorted(values)) for values in repeats.values()}) == 1
    assert repeats["control"] == repeats["same"]
    assert len({tuple(values) for values in repeats.values()}) == 3


def test_every_problem_gives_a_worked_solution_and_a_program(scored: Change) -> None:
    weigh.main("uniform")
    examples = examples_of("uniform")
    assert len(examples) == 2 * len(read_parquet(TRAIN_PROBLEMS, Problem))
    for row in examples:
        assert row.turns[0].response.startswith("```python") == (row.prompting == "pot")
        assert row.turns[0].question.endswith("Let's write a program.") == (row.prompting == "pot")
        assert row.repeats == row.weight == 1


def test_an_unknown_arm_is_named(scored: Change) -> None:
    with pytest.raises(ValueError, match="weigh.arms: 'nobody': expected one of"):
        weigh.main("nobody")


def test_a_band_and_its_control_keep_the_same_number(scored: Change) -> None:
    weigh_with_control(scored, {"strategy": "band", "low": 0.25, "high": 0.75})
    for name in ("arm", "control"):
        metrics = metrics_of(name)
        assert (metrics["problems"], metrics["examples"], metrics["missing"]) == (6, 12, 0)
        # The band holds the fractions, all of level 3.
        assert (metrics["mean_level"] == 3) == (name == "arm")
    assert {row.source for row in examples_of("arm") if row.repeats} == {"fraction"}
    assert {row.source for row in examples_of("control") if row.repeats} > {"fraction"}


def test_a_curriculum_starts_source_by_source(scored: Change) -> None:
    weigh_with_control(scored, {"strategy": "curriculum", "pace": 0.5})
    assert {(row.source, round(row.start_fraction, 9)) for row in examples_of("arm")} == {
        ("sum-1-digit", 0.0),
        ("fraction", 0.25),
        ("product-2x2", 0.5),
    }
    start_fractions = Counter(round(row.start_fraction, 9) for row in examples_of("control"))
    assert start_fractions == {0.0: 12, 0.25: 12, 0.5: 12}


def test_dart_trains_on_correct_samples_and_counts_the_missing_ones(
    scored: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    weigh_with_control(scored, {"strategy": "dart_uniform", "per_problem": 3})
    # Four of sum-1-digit are correct, two of fraction, none of product-2x2.
    examples = examples_of("arm")
    assert Counter(row.source for row in examples) == {"sum-1-digit": 18, "fraction": 12}
    answers = {problem.id: problem.answer for problem in read_parquet(TRAIN_PROBLEMS, Problem)}
    for row in examples:
        assert row.prompting == "cot"
        assert row.turns[0].response.endswith(f"The answer is {answers[row.problem_id]}.")
        assert row.repeats == row.weight == 1
    assert len({(row.problem_id, row.turns[0].response) for row in examples}) == 30
    assert metrics_of("arm") == {
        "problems": 12,
        "examples": 30,
        "missing": 24,
        "mean_level": 1.8,  # 18 of level 1, 12 of level 3
    }
    assert "weigh-arm: 24 of 54 requested samples are missing" in capsys.readouterr().err


def test_the_control_of_dart_draws_from_the_correct_samples_of_all(scored: Change) -> None:
    weigh_with_control(scored, {"strategy": "dart_prop2diff", "per_problem": 4})
    # Requested are 4 of product-2x2, 2 of fraction, 1 of sum-1-digit.
    assert Counter(row.source for row in examples_of("arm")) == {"sum-1-digit": 6, "fraction": 12}
    control = examples_of("control")
    assert len(control) == 18
    assert Counter(row.source for row in control)["sum-1-digit"] > 6
    assert metrics_of("arm")["missing"] == 24


def test_dart_trains_on_programs_and_on_samples_of_further_rounds(scored: Change) -> None:
    store_samples({"sum-1-digit": 1, "fraction": 1, "product-2x2": 1}, 2, "pot")
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    hard = [row for row in problems if row.source == "product-2x2"]
    Store(RESAMPLES).append([sample(row, 4, row.answer) for row in hard[:2]])
    score.main()
    weigh_with_control(scored, {"strategy": "dart_uniform", "per_problem": 2})
    assert Counter((row.source, row.prompting) for row in examples_of("arm")) == {
        ("sum-1-digit", "cot"): 6,
        ("sum-1-digit", "pot"): 6,
        ("fraction", "cot"): 6,
        ("fraction", "pot"): 6,
        ("product-2x2", "cot"): 2,
        ("product-2x2", "pot"): 6,
    }
    for row in examples_of("arm"):
        assert row.turns[0].question.endswith("Let's write a program.") == (row.prompting == "pot")


def test_dart_without_a_correct_sample_is_an_error(change: Change) -> None:
    write_problems()
    store_samples({"sum-1-digit": 0, "fraction": 0, "product-2x2": 0}, k=2)
    score.main()
    with pytest.raises(ValueError, match="^weigh.arms.arm: no sample is correct: expected at"):
        weigh_with_control(change, {"strategy": "dart_uniform", "per_problem": 2})


def test_an_arm_of_conversations_trains_on_its_sources_and_nothing_else(scored: Change) -> None:
    tale = Conversation("c1", "tales", "Rhyme.", [Turn("1?", "One."), Turn("2?", "Two.")])
    write_parquet(CONVERSATIONS, [tale, Conversation("c2", "letters", "", [Turn("3?", "Three.")])])
    arm = {"strategy": "conversations", "sources": ["tales"]}
    ladder = {"source": "ladder", "per_rung": 6}
    scored({"weigh.arms.arm": arm, "prepare.train": [ladder, ROWS | {"name": "tales"}]})
    weigh.main("arm")
    assert metrics_of("arm") == {"problems": 1, "examples": 1, "missing": 0}
    (row,) = examples_of("arm")
    assert (row.problem_id, row.system, row.turns) == ("c1", "Rhyme.", tale.turns)
    assert row.repeats == row.weight == 1


def test_without_samples_every_problem_counts_once_with_what_it_has(change: Change) -> None:
    change({"sample.k": 0})
    set_arms(change, {"arm": UNIFORM})
    write_problems()
    score.main()
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    weigh.main("arm")
    assert len(examples_of("arm")) == 2 * len(problems)
    write_parquet(TRAIN_PROBLEMS, [replace(problem, program="") for problem in problems])
    weigh.main("arm")
    assert {row.prompting for row in examples_of("arm")} == {"cot"}
    change({"weigh.prompting": ["pot"]})
    with pytest.raises(ValueError, match=r"weigh.prompting: \['pot'\]: no training problem has"):
        weigh.main("arm")
