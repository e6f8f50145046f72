"""From samples to difficulty to the examples of each arm."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from stages import prepare, sample, score, weigh
from stages.lib.core.files import read_json
from stages.lib.core.paths import (
    ARM_METRICS,
    CONVERSATIONS,
    DIFFICULTY,
    METRICS,
    SAMPLE_GRADES,
    SAMPLES,
    TRAIN_PROBLEMS,
    TRAINING,
)
from stages.lib.core.schema import (
    Conversation,
    Difficulty,
    Example,
    Generation,
    Problem,
    Prompting,
    SampleGrade,
    Turn,
)
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.generations.store import Store
from tests.stages.conftest import Change


def text_of(problem: Problem, prompting: Prompting, index: int, right: bool) -> str:
    said = problem.answer if right else "99999"
    if prompting == "pot":
        return f"```python\nprint({said!r})\n```"
    return f"{index} tries. The answer is {said}."


def sample_everything(right_of: dict[str, int], k: int, prompting: Prompting = "cot") -> None:
    """Store k samples per problem, the first few of which are right, by source."""
    rows = [
        Generation(
            problem_id=problem.id,
            model="m",
            prompting=prompting,
            shots=1,
            index=index,
            text=text_of(problem, prompting, index, index < right_of[problem.source]),
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


def test_problems_may_have_different_numbers_of_samples(scored: Change) -> None:
    four = read_json(METRICS / "difficulty.json")
    eight = [
        replace(row, index=index, text="The answer is 99999.")
        for row in Store(SAMPLES).rows()
        if row.index == 0 and row.problem_id in problems_of("fraction")
        for index in range(4, 8)
    ]
    Store(SAMPLES).append(eight)
    score.main()
    rows = read_parquet(DIFFICULTY, Difficulty)
    assert {(row.source, row.n, row.n_correct, row.pass_rate, row.level) for row in rows} == {
        ("sum-1-digit", 4, 4, 1.0, 1),
        ("fraction", 8, 2, 0.25, 4),
        ("product-2x2", 4, 0, 0.0, 5),
    }
    # What is told of all problems goes by as many samples of each.
    counts = {"samples": {"correct": 36, "wrong": 60}}
    assert read_json(METRICS / "difficulty.json") == four | counts
    weigh_arm(scored, {"strategy": "dart_prop2diff", "per_problem": 4})
    assert Counter(one.source for one in examples_of("arm")) == {"sum-1-digit": 6, "fraction": 12}


def problems_of(source: str) -> set[str]:
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    return {problem.id for problem in problems if problem.source == source}


def test_sampled_programs_are_judged_and_do_not_count_for_difficulty(change: Change) -> None:
    prepare.main()
    right_of = {"sum-1-digit": 4, "fraction": 2, "product-2x2": 0}
    sample_everything(right_of, k=4)
    score.main()
    difficulty, metrics = DIFFICULTY.read_bytes(), (METRICS / "difficulty.json").read_text()
    sample_everything({"sum-1-digit": 0, "fraction": 1, "product-2x2": 2}, 2, "pot")
    score.main()
    assert DIFFICULTY.read_bytes() == difficulty
    assert (METRICS / "difficulty.json").read_text() == metrics
    rows = read_parquet(SAMPLE_GRADES, SampleGrade)
    assert Counter((one.prompting, one.status) for one in rows) == {
        ("cot", "correct"): 36,
        ("cot", "wrong"): 36,
        ("pot", "correct"): 18,
        ("pot", "wrong"): 18,
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
    assert read_json(ARM_METRICS / "adaptive.json")["mean_level"] == round(44 / 12, 3)


def test_the_control_has_the_same_repeats_on_other_problems(scored: Change) -> None:
    scored(
        {
            "weigh.arms": {
                "adaptive": {"strategy": "repeat", "base": 1, "factor": 1},
                "control": {"strategy": "control", "control_of": "adaptive"},
                "control-1": {"strategy": "control", "control_of": "adaptive"},
                "control-2": {"strategy": "control", "control_of": "adaptive"},
            },
            "weigh.seeds": {"control-2": 2},
            "evaluate.models": {"base": [0]},
            "quantize.models": {},
            "analyze.compare": [["base", "base"]],
        }
    )
    repeats = {}
    for arm in ("adaptive", "control", "control-1", "control-2"):
        weigh.main(arm)
        examples = read_parquet(TRAINING / f"{arm}.parquet", Example)
        repeats[arm] = [one.repeats for one in examples]
    assert {tuple(sorted(Counter(of).items())) for of in repeats.values()} == {
        tuple(sorted(Counter(repeats["adaptive"]).items()))
    }
    assert repeats["control"] == repeats["control-1"]
    assert len({tuple(of) for of in repeats.values()}) == 3


def test_every_problem_gives_a_reasoned_example_and_a_program(scored: Change) -> None:
    weigh.main("uniform")
    examples = read_parquet(TRAINING / "uniform.parquet", Example)
    assert len(examples) == 2 * len(read_parquet(TRAIN_PROBLEMS, Problem))
    for one in examples:
        assert one.turns[0].response.startswith("```python") == (one.prompting == "pot")
        assert one.turns[0].question.endswith("Let's write a program.") == (one.prompting == "pot")
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


def weigh_arm(changed: Change, arm: dict[str, Any]) -> None:
    """Weigh an arm and its control."""
    changed(
        {
            "weigh.arms": {"arm": arm, "control": {"strategy": "control", "control_of": "arm"}},
            "evaluate.models": {"base": [0]},
            "quantize.models": {},
            "analyze.compare": [["base", "base"]],
        }
    )
    for name in ("arm", "control"):
        weigh.main(name)


def examples_of(arm: str) -> list[Example]:
    return read_parquet(TRAINING / f"{arm}.parquet", Example)


def test_a_band_and_its_control_keep_the_same_number(scored: Change) -> None:
    weigh_arm(scored, {"strategy": "band", "low": 0.25, "high": 0.75})
    for name in ("arm", "control"):
        about = read_json(ARM_METRICS / f"{name}.json")
        assert (about["problems"], about["examples"], about["missing"]) == (6, 12, 0)
        # The band holds the fractions, all of level 3.
        assert (about["mean_level"] == 3) == (name == "arm")
    assert {one.source for one in examples_of("arm") if one.repeats} == {"fraction"}
    assert {one.source for one in examples_of("control") if one.repeats} > {"fraction"}


def test_a_curriculum_opens_source_by_source(scored: Change) -> None:
    weigh_arm(scored, {"strategy": "curriculum", "pace": 0.5})
    assert {(one.source, round(one.start_fraction, 9)) for one in examples_of("arm")} == {
        ("sum-1-digit", 0.0),
        ("fraction", 0.25),
        ("product-2x2", 0.5),
    }
    start_fraction = Counter(round(one.start_fraction, 9) for one in examples_of("control"))
    assert start_fraction == {0.0: 12, 0.25: 12, 0.5: 12}


def test_a_focal_arm_tells_its_examples_so(scored: Change) -> None:
    weigh_arm(scored, {"strategy": "focal", "gamma": 2.0, "level": "example"})
    for name, dealt in (("arm", False), ("control", True)):
        assert {
            (one.focal_gamma, one.focal_level, one.focal_shuffled) for one in examples_of(name)
        } == {(2.0, "example", dealt)}


def test_dart_learns_from_correct_samples_and_counts_what_is_missing(
    scored: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    weigh_arm(scored, {"strategy": "dart_uniform", "per_problem": 3})
    # Four of sum-1-digit are right, two of fraction, none of product-2x2.
    examples = examples_of("arm")
    assert Counter(one.source for one in examples) == {"sum-1-digit": 18, "fraction": 12}
    answers = {problem.id: problem.answer for problem in read_parquet(TRAIN_PROBLEMS, Problem)}
    for one in examples:
        assert one.prompting == "cot"
        assert one.turns[0].response.endswith(f"The answer is {answers[one.problem_id]}.")
        assert one.repeats == one.weight == 1
    assert len({(one.problem_id, one.turns[0].response) for one in examples}) == 30
    assert read_json(ARM_METRICS / "arm.json") == {
        "problems": 12,
        "examples": 30,
        "missing": 24,
        "mean_level": 1.8,  # 18 of level 1, 12 of level 3
    }
    assert "weigh-arm: 24 of 54 samples wanted are missing" in capsys.readouterr().err


def test_darts_control_draws_as_many_of_all_correct_samples(scored: Change) -> None:
    weigh_arm(scored, {"strategy": "dart_prop2diff", "per_problem": 4})
    # Wanted are 4 of product-2x2, 2 of fraction, 1 of sum-1-digit.
    assert Counter(one.source for one in examples_of("arm")) == {"sum-1-digit": 6, "fraction": 12}
    control = examples_of("control")
    assert len(control) == 18
    assert Counter(one.source for one in control)["sum-1-digit"] > 6
    assert read_json(ARM_METRICS / "arm.json")["missing"] == 24


def test_dart_learns_from_programs_where_there_are_any(scored: Change) -> None:
    sample_everything({"sum-1-digit": 1, "fraction": 1, "product-2x2": 1}, 2, "pot")
    score.main()
    weigh_arm(scored, {"strategy": "dart_uniform", "per_problem": 2})
    found = Counter((one.source, one.prompting) for one in examples_of("arm"))
    assert found == {
        ("sum-1-digit", "cot"): 6,
        ("sum-1-digit", "pot"): 6,
        ("fraction", "cot"): 6,
        ("fraction", "pot"): 6,
        ("product-2x2", "pot"): 6,
    }
    for one in examples_of("arm"):
        assert one.turns[0].question.endswith("Let's write a program.") == (one.prompting == "pot")


def test_dart_without_a_correct_sample_is_named(change: Change) -> None:
    prepare.main()
    sample_everything({"sum-1-digit": 0, "fraction": 0, "product-2x2": 0}, k=2)
    score.main()
    with pytest.raises(ValueError, match="^weigh.arms.arm: no sample is correct: expected one"):
        weigh_arm(change, {"strategy": "dart_uniform", "per_problem": 2})


UNIFORM = {"strategy": "uniform"}
NO_SAMPLES = {"sample.k": 0, "weigh.arms": {"arm": UNIFORM, "adaptive": UNIFORM}}
NO_SAMPLES |= {"evaluate.models": {"base": [0], "adaptive": [0], "adaptive-gptq4": [0]}}
NO_SAMPLES |= {"analyze.compare": [["adaptive", "base"]]}
TALK = [
    Conversation("c1", "tales", "Rhyme.", [Turn("1?", "One."), Turn("2?", "Two.")]),
    Conversation("c2", "letters", "", [Turn("3?", "Three.")]),
]


def test_an_arm_of_conversations_learns_from_those_it_names_and_nothing_else(
    scored: Change,
) -> None:
    write_parquet(CONVERSATIONS, TALK)
    arm = {"strategy": "conversations", "sources": ["tales"]}
    part = {"source": "rows", "name": "tales", "format": "sharegpt", "path": "ladder:1"}
    part |= {"license": "MIT", "fraction": 1.0, "exclude": [], "target": "conversations"}
    ladder = {"source": "ladder", "per_rung": 6}
    scored({"weigh.arms.arm": arm, "prepare.train": [ladder, part]})
    weigh.main("arm")
    assert "mean_level" not in read_json(ARM_METRICS / "arm.json")
    (one,) = examples_of("arm")
    assert (one.problem_id, one.system, one.turns) == ("c1", "Rhyme.", TALK[0].turns)
    assert one.repeats == one.weight == 1


def test_without_samples_there_is_no_difficulty_and_every_problem_counts_once(
    change: Change,
) -> None:
    change(NO_SAMPLES)
    prepare.main()
    sample.main()
    score.main()
    assert read_parquet(DIFFICULTY, Difficulty) == []
    assert read_json(METRICS / "difficulty.json") == {}
    weigh.main("arm")
    assert len(examples_of("arm")) == 2 * len(read_parquet(TRAIN_PROBLEMS, Problem))


def test_problems_without_a_solution_of_a_kind_give_no_example_of_it(change: Change) -> None:
    change(NO_SAMPLES)
    prepare.main()
    sample.main()
    score.main()
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    write_parquet(TRAIN_PROBLEMS, [replace(one, program="") for one in problems])
    weigh.main("arm")
    assert {one.prompting for one in examples_of("arm")} == {"cot"}
    change({"weigh.prompting": ["pot"]})
    with pytest.raises(ValueError, match=r"weigh.prompting: \['pot'\]: no training problem has"):
        weigh.main("arm")
