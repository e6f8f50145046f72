"""From samples to grades and difficulty."""

from collections import Counter
from dataclasses import replace

import pytest

from stages import score
from stages.lib.core.files import read_json
from stages.lib.core.paths import DIFFICULTY, METRICS, RESAMPLES, SAMPLE_GRADES, TRAIN_PROBLEMS
from stages.lib.core.schema import Difficulty, Problem, PublishedDifficulty, SampleGrade
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.generations.store import Store
from tests.stages.conftest import Change
from tests.stages.scoring import problem, sample, score_samples, store_samples, write_problems


@pytest.fixture
def scored(change: Change) -> None:
    score_samples()


def difficulty_by_source() -> set[tuple[str, int, int, float, float]]:
    rows = read_parquet(DIFFICULTY, Difficulty)
    return {(row.source, row.n, row.n_correct, row.pass_rate, row.level) for row in rows}


def test_difficulty_counts_the_correct_samples(scored: None) -> None:
    assert difficulty_by_source() == {
        ("sum-1-digit", 4, 4, 1.0, 1),
        ("fraction", 4, 2, 0.5, 3),
        ("product-2x2", 4, 0, 0.0, 5),
    }
    assert all(
        row.low < row.posterior_mean < row.high for row in read_parquet(DIFFICULTY, Difficulty)
    )
    assert read_json(METRICS / "difficulty.json") == {
        "cot": {
            "pass_rate": {"fraction": 0.5, "product-2x2": 0.0, "sum-1-digit": 1.0},
            "levels": {"1": 0.333, "3": 0.333, "5": 0.333},
            "samples": {"correct": 36, "wrong": 36},
            "pass_at_1": 0.5,
            "pass_at_4": 0.667,
            "maj_at_4": 0.5,
            "generated_tokens": 72 * 5,
        }
    }


def test_problems_may_have_different_numbers_of_samples(scored: None) -> None:
    metrics = read_json(METRICS / "difficulty.json")["cot"]
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    extra = [
        sample(problem, index, "99999")
        for problem in problems
        if problem.source == "fraction"
        for index in range(4, 8)
    ]
    Store(RESAMPLES).append(extra)
    score.main()
    assert difficulty_by_source() == {
        ("sum-1-digit", 4, 4, 1.0, 1),
        ("fraction", 8, 2, 0.25, 4),
        ("product-2x2", 4, 0, 0.0, 5),
    }
    # Metrics of all problems use the same number of samples for each.
    counts = {"samples": {"correct": 36, "wrong": 60}, "generated_tokens": 96 * 5}
    counts |= {"levels": {"1": 0.333, "4": 0.333, "5": 0.333}}
    assert read_json(METRICS / "difficulty.json") == {"cot": metrics | counts}
    # Further rounds come last.
    grades = read_parquet(SAMPLE_GRADES, SampleGrade)
    assert [(row.problem_id, row.index) for row in grades[-24:]] == [
        (row.problem_id, row.index) for row in extra
    ]


def test_each_prompting_has_its_own_difficulty(scored: None) -> None:
    with_cot = read_parquet(DIFFICULTY, Difficulty)
    store_samples({"sum-1-digit": 0, "fraction": 1, "product-2x2": 2}, 2, "pot")
    score.main()
    difficulties = read_parquet(DIFFICULTY, Difficulty)
    assert difficulties[: len(with_cot)] == with_cot
    assert {
        (row.source, row.n, row.n_correct, row.level) for row in difficulties[len(with_cot) :]
    } == {("sum-1-digit", 2, 0, 5), ("fraction", 2, 1, 3), ("product-2x2", 2, 2, 1)}
    assert read_json(METRICS / "difficulty.json")["pot"]["pass_rate"]["product-2x2"] == 1.0
    rows = read_parquet(SAMPLE_GRADES, SampleGrade)
    assert Counter((row.prompting, row.status) for row in rows) == {
        ("cot", "correct"): 36,
        ("cot", "wrong"): 36,
        ("pot", "correct"): 18,
        ("pot", "wrong"): 18,
    }


def test_without_samples_there_is_no_difficulty(change: Change) -> None:
    write_problems()
    score.main()
    assert read_parquet(SAMPLE_GRADES, SampleGrade) == []
    assert read_parquet(DIFFICULTY, Difficulty) == []
    assert read_json(METRICS / "difficulty.json") == {}


PUBLISHED = {"score.definition": "published", "sample.k": 0}


def test_published_difficulty_needs_no_samples(change: Change) -> None:
    change(PUBLISHED)
    solution, program = (
        PublishedDifficulty("cot", fail_rate=0.25, level=2),
        PublishedDifficulty("pot", fail_rate=0.75, level=4),
    )
    write_parquet(
        TRAIN_PROBLEMS,
        [
            replace(problem("fraction", 0), published=[solution, program]),
            replace(problem("fraction", 1), published=[program]),
        ],
    )
    score.main()
    rows = read_parquet(DIFFICULTY, Difficulty)
    assert [(row.problem_id, row.prompting, row.n, row.level) for row in rows] == [
        ("fraction-0", "cot", 0, 2),
        ("fraction-0", "pot", 0, 4),
        ("fraction-1", "pot", 0, 4),
    ]
    assert [row.pass_rate for row in rows] == [0.75, 0.25, 0.25]
    assert all(row.low == row.posterior_mean == row.high == row.pass_rate for row in rows)
    assert read_json(METRICS / "difficulty.json") == {}


def test_published_difficulty_is_needed_for_every_problem(change: Change) -> None:
    change(PUBLISHED)
    write_problems()
    with pytest.raises(ValueError, match=r"^score.definition: 'published': sum-1-digit: 'What is"):
        score.main()
