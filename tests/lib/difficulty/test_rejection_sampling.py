"""Numbers of samples by difficulty, and the choice of correct samples."""

import pytest

from stages.lib.core.schema import Generation, SampleGrade, Status
from stages.lib.difficulty.rejection_sampling import (
    correct_samples,
    samples_per_problem,
    take_first,
)
from stages.lib.params.strategies import DartArm
from tests.rows import make_difficulty, make_generation


@pytest.mark.parametrize(
    ("strategy", "k", "counts", "expected"),
    [
        ("dart_uniform", 3, [(0, 4), (4, 4)], [3, 3]),
        ("dart_prop2diff", 4, [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)], [4, 3, 2, 1, 1]),
        ("dart_prop2diff", 10, [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)], [10, 8, 5, 3, 1]),
        # The hardest has a fail rate of 0.7 and still gets all three; 3 * 0.7 / 0.7 is exact.
        ("dart_prop2diff", 3, [(3, 10), (9, 10), (6, 20)], [3, 1, 3]),
        ("dart_prop2diff", 5, [(4, 4), (4, 4)], [1, 1]),
    ],
)
def test_numbers_of_samples_by_hand(
    strategy: str, k: int, counts: list[tuple[int, int]], expected: list[int]
) -> None:
    arm = DartArm.model_validate({"strategy": strategy, "per_problem": k})
    rows = [make_difficulty(str(i), solved / n, n) for i, (solved, n) in enumerate(counts)]
    assert samples_per_problem(arm, rows).tolist() == expected


SAMPLES = [
    make_generation("p", "cot", index=0, text=" one\n"),
    make_generation("p", "cot", index=1, text="wrong"),
    make_generation("p", "cot", index=2, text="one"),
    make_generation("p", "cot", index=3, text="two"),
    make_generation("p", "cot", index=4, text="three, but cut", finish_reason="length"),
    make_generation("q", "cot", index=0, text="one"),
    make_generation("p", "pot", index=0, text="one"),
    make_generation("p", "pot", index=1, text="two"),
]


def grade_row(row: Generation) -> SampleGrade:
    status: Status = "wrong" if row.text == "wrong" else "correct"
    return SampleGrade(row.problem_id, row.prompting, row.index, status, extracted="1")


GRADES = [grade_row(row) for row in SAMPLES]


def texts(rows: list[Generation]) -> list[tuple[str, str, str]]:
    return [(row.problem_id, row.prompting, row.text) for row in rows]


def test_each_correct_text_counts_once_for_a_problem_and_prompting() -> None:
    correct = correct_samples(SAMPLES, GRADES, ["cot"])
    assert texts(correct) == [("p", "cot", "one"), ("q", "cot", "one"), ("p", "cot", "two")]


def test_promptings_take_turns() -> None:
    correct = correct_samples(SAMPLES, GRADES, ["cot", "pot"])
    assert texts([row for row in correct if row.problem_id == "p"]) == [
        ("p", "cot", "one"),
        ("p", "pot", "one"),
        ("p", "pot", "two"),
        ("p", "cot", "two"),
    ]


def test_samples_are_taken_up_to_the_requested_number() -> None:
    correct = correct_samples(SAMPLES, GRADES, ["cot", "pot"])
    mask = take_first(correct, {"p": 3, "q": 3, "r": 3})
    assert texts([row for row, is_taken in zip(correct, mask, strict=True) if is_taken]) == [
        ("p", "cot", "one"),
        ("q", "cot", "one"),
        ("p", "pot", "one"),
        ("p", "pot", "two"),
    ]
