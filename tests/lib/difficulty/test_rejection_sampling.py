"""How many samples a problem is learned from, which are fit for it, and which are taken."""

import pytest

from stages.lib.core.schema import Difficulty, Generation, Prompting, SampleGrade, Status
from stages.lib.difficulty.rejection_sampling import (
    correct_samples,
    first_of_each,
    samples_per_problem,
)
from stages.lib.params.strategies import DartArm


def difficulty(n_correct: int, n: int) -> Difficulty:
    rate = n_correct / n
    return Difficulty(
        problem_id=f"{n_correct} of {n}",
        source="s",
        n=n,
        n_correct=n_correct,
        pass_rate=rate,
        posterior_mean=rate,
        low=rate,
        high=rate,
        level=1.0,
    )


@pytest.mark.parametrize(
    ("strategy", "k", "counts", "wanted"),
    [
        ("dart_uniform", 3, [(0, 4), (4, 4)], [3, 3]),
        ("dart_prop2diff", 4, [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)], [4, 3, 2, 1, 1]),
        ("dart_prop2diff", 10, [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)], [10, 8, 5, 3, 1]),
        # The hardest has a fail rate of 0.7 and still gets all three; 3 * 0.7 / 0.7 is exact.
        ("dart_prop2diff", 3, [(3, 10), (9, 10), (6, 20)], [3, 1, 3]),
        ("dart_prop2diff", 5, [(4, 4), (4, 4)], [1, 1]),
    ],
)
def test_wanted_samples_by_hand(
    strategy: str, k: int, counts: list[tuple[int, int]], wanted: list[int]
) -> None:
    arm = DartArm.model_validate({"strategy": strategy, "per_problem": k})
    assert samples_per_problem(arm, [difficulty(*one) for one in counts]).tolist() == wanted


def sample(
    problem: str, index: int, text: str, prompting: Prompting = "cot", finish: str = "stop"
) -> Generation:
    return Generation(
        problem_id=problem,
        model="m",
        prompting=prompting,
        shots=1,
        index=index,
        text=text,
        finish_reason=finish,
        n_tokens=5,
        prompt_sha="p",
    )


SAMPLES = [
    sample("p", 0, " one\n"),
    sample("p", 1, "wrong"),
    sample("p", 2, "one"),
    sample("p", 3, "two"),
    sample("p", 4, "three, but cut", finish="length"),
    sample("q", 0, "one"),
    sample("p", 0, "one", "pot"),
    sample("p", 1, "two", "pot"),
]


def verdict(row: Generation) -> SampleGrade:
    status: Status = "wrong" if row.text == "wrong" else "correct"
    return SampleGrade(
        problem_id=row.problem_id,
        prompting=row.prompting,
        index=row.index,
        status=status,
        extracted="1",
    )


VERDICTS = [verdict(row) for row in SAMPLES]


def told(rows: list[Generation]) -> list[tuple[str, str, str]]:
    return [(row.problem_id, row.prompting, row.text) for row in rows]


def test_each_correct_text_counts_once_for_a_problem_and_prompting() -> None:
    found = correct_samples(SAMPLES, VERDICTS, ["cot"])
    assert told(found) == [("p", "cot", "one"), ("q", "cot", "one"), ("p", "cot", "two")]


def test_promptings_take_turns() -> None:
    found = correct_samples(SAMPLES, VERDICTS, ["cot", "pot"])
    assert told([row for row in found if row.problem_id == "p"]) == [
        ("p", "cot", "one"),
        ("p", "pot", "one"),
        ("p", "pot", "two"),
        ("p", "cot", "two"),
    ]


def test_what_is_taken_is_bounded_by_what_is_wanted_and_by_what_there_is() -> None:
    found = correct_samples(SAMPLES, VERDICTS, ["cot", "pot"])
    taken = first_of_each(found, {"p": 3, "q": 3, "r": 3})
    assert told([row for row, one in zip(found, taken, strict=True) if one]) == [
        ("p", "cot", "one"),
        ("q", "cot", "one"),
        ("p", "pot", "one"),
        ("p", "pot", "two"),
    ]
