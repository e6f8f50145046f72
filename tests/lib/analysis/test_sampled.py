"""Measures of sampled answers, by hand; coverage of their intervals."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.lib.analysis.accuracy import answer_frame
from stages.lib.analysis.comparisons import sampled_comparison_table
from stages.lib.analysis.intervals import Bootstrap, standard_error, wilson_interval
from stages.lib.analysis.sampled import effective_interval, sampled_table
from stages.lib.analysis.significance import sign_flip_p
from stages.lib.core.schema import EvalRecord
from tests.rows import make_problem, make_record

# The answers of a system to two problems, whose answer is 7.
ANSWERS = {"p": ["7", "7", "3", "7.0"], "q": ["3", "", "3", "7"]}
PROBLEMS = {"ladder": [make_problem(name, answer="7") for name in ANSWERS]}


def records(system: str, answers: dict[str, list[str]]) -> list[EvalRecord]:
    statuses = {"7": "correct", "7.0": "correct", "": "unparsed"}
    return [
        make_record(
            system, problem, "cot", extracted=text, status=statuses.get(text, "wrong"), index=index
        )
        for problem, texts in answers.items()
        for index, text in enumerate(texts, start=1)
    ]


def table_of(rows: list[EvalRecord]) -> Any:
    frame = answer_frame(rows, PROBLEMS)
    return sampled_table(frame, level=0.95).set_index(["measure", "k"])


def frame_of(correct: np.ndarray, sources: list[str], system: str = "base") -> pd.DataFrame:
    """Return the frame of a system's answers, (problems, samples), to problems of these sources."""
    problems = [make_problem(f"p{n}", source=source) for n, source in enumerate(sources)]
    rows = [
        make_record(system, f"p{n}", "cot", index=index, status="correct" if right else "wrong")
        for n, of_problem in enumerate(correct)
        for index, right in enumerate(of_problem, start=1)
    ]
    return answer_frame(rows, {"ladder": problems})


def test_the_measures_of_two_problems_by_hand() -> None:
    table = table_of(records("base", ANSWERS))
    assert (set(table["n"]), set(table["samples"])) == ({2}, {4})
    assert table["value"].to_dict() == {
        ("avg", 4): 0.5,
        ("pass", 2): 0.75,
        ("pass", 4): 1.0,
        # Of the pairs of p, half give the credit 1/2; of those of q only 7 and "" give 1, and two
        # more 1/2.
        ("maj", 2): round((0.75 + (1 + 2 / 2) / 6) / 2, 4),
        ("maj", 4): 0.5,
    }
    average = table.loc[("avg", 4)]
    # Problems at 3/4 and 1/4; in both the variance of an answer is 1/4.
    assert average["standard_error"] == pytest.approx(0.25, abs=1e-4)
    assert average["same_problems_error"] == pytest.approx((1 / 4 / 8) ** 0.5, abs=1e-4)
    assert table.loc["pass"]["same_problems_error"].isna().all()


def test_options_vote_by_their_letter_and_programs_stand_before_texts() -> None:
    rows = [
        make_record("base", "p", "cot", index=1, extracted="B", status="wrong"),
        make_record("base", "p", "cot", index=2, extracted="12", matched_option="B"),
        make_record("base", "p", "pot", index=1, extracted="A", status="correct"),
        make_record("base", "p", "pot", index=2, extracted="", status="crashed"),
    ]
    frame = answer_frame(rows, PROBLEMS).sort_values("index")
    assert frame["cot_vote"].tolist() == ["B", "B"]
    assert frame["fallback_vote"].tolist() == ["A", "B"]


def test_a_missing_sample_is_an_error_and_not_a_wrong_one() -> None:
    with pytest.raises(ValueError, match="sampled answers: expected as many to every problem"):
        table_of(records("base", ANSWERS)[:-1])


def test_the_error_is_that_of_problems_as_clusters() -> None:
    rng = np.random.default_rng(1)
    correct = rng.random((30, 4)) < rng.random((30, 1))
    table = sampled_table(frame_of(correct, ["a"] * 30), level=0.95).set_index("measure")
    error = standard_error(correct.ravel(), np.repeat(np.arange(30), 4))
    assert table.loc["avg", "standard_error"] == pytest.approx(error, abs=1e-4)
    assert table.loc["avg", "value"] == pytest.approx(correct.mean(), abs=1e-4)


def test_an_interval_is_wilsons_of_the_effective_number() -> None:
    # As many independent answers as problems, where each problem is solved always or never.
    certain = np.repeat([1.0, 0.0], [15, 35])
    low, high = effective_interval(certain, 8, level=0.95)
    assert (low, high) == pytest.approx(wilson_interval(15, 50, level=0.95), abs=2e-3)
    # As many as samples, where all problems are alike.
    alike = effective_interval(np.full(50, 0.5), 8, level=0.95)
    assert alike == pytest.approx(wilson_interval(200, 400, level=0.95))
    # As many as problems, where too few are solved, or too many, to tell.
    for n_solved in (0, 1, 9, 41, 50):
        few = np.repeat([1.0, 0.0], [n_solved, 50 - n_solved])
        expected = wilson_interval(n_solved, 50, level=0.95)
        assert effective_interval(few, 8, level=0.95) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mean", "spread"), [(0.5, 1.0), (0.1, 0.5), (0.03, 0.3), (0.01, 0.1), (0.005, 0.5)]
)
@pytest.mark.parametrize("measure", ["avg", "pass"])
def test_intervals_cover_the_mean_of_other_problems(
    mean: float, spread: float, measure: str
) -> None:
    rng = np.random.default_rng(2)
    draw = partial(rng.beta, mean / spread, (1 - mean) / spread)
    truth = mean if measure == "avg" else np.mean(1 - (1 - draw(size=1_000_000)) ** 8)
    covered = []
    for _ in range(1000):
        correct = rng.random((80, 8)) < draw(size=(80, 1))
        values = correct.mean(axis=1) if measure == "avg" else correct.any(axis=1).astype(float)
        low, high = effective_interval(values, 8, level=0.95)
        covered.append(low <= truth <= high)
    assert np.mean(covered) >= 0.93


def compare(first: np.ndarray, second: np.ndarray, sources: list[str]) -> dict[str, Any]:
    """Compare two systems' answers, (problems, samples), to problems of these sources."""
    frames = [
        frame_of(answers, sources, system)
        for system, answers in (("first", first), ("second", second))
    ]
    options = Bootstrap(draws=200, level=0.95, rng=np.random.default_rng(0))
    table: pd.DataFrame = sampled_comparison_table(
        pd.concat(frames), [["first", "second"]], **options
    )
    (row,) = table.to_dict("records")
    return {str(name): value for name, value in row.items()}


def test_a_comparison_draws_and_swaps_whole_problems() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.random((2, 24, 5)) < np.array([0.7, 0.4])[:, None, None]
    row = compare(first, second, ["a", "b"] * 12)
    assert (row["n"], row["samples"], row["clusters"], row["strata"]) == (
        24,
        5,
        "problem",
        "source",
    )
    assert row["difference"] == pytest.approx(first.mean() - second.mean(), abs=1e-4)
    assert row["low"] < row["difference"] < row["high"]
    clusters = np.repeat(np.arange(24), 5)
    p = sign_flip_p(first.ravel(), second.ravel(), clusters)
    assert row["p"] == row["p_holm"] == pytest.approx(p, abs=1e-4)
    assert max(abs(row["low"]), abs(row["high"])) > row["equivalent_within"]


@pytest.mark.parametrize(("n_differing", "ends"), [(0, (-0.0726, 0.0726)), (1, (-0.0647, 0.1387))])
def test_a_few_differing_problems_have_an_interval_too(
    n_differing: int, ends: tuple[float, float]
) -> None:
    first = np.zeros((25, 4), dtype=bool)
    first[:n_differing] = True
    row = compare(first, np.zeros_like(first), ["a"] * 25)
    # 1.96 sqrt(d + 1 - d^2 / 27) / 27 around d / 27, of d differing problems.
    assert (row["low"], row["high"]) == pytest.approx(ends, abs=2e-4)


def test_systems_with_other_problems_are_not_compared() -> None:
    frames = [frame_of(np.ones((n, 2), dtype=bool), ["a"] * n, f"s{n}") for n in (3, 4)]
    options = Bootstrap(draws=100, level=0.95, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="sampled answers: s3, s4: expected the same problems"):
        sampled_comparison_table(pd.concat(frames), [["s3", "s4"]], **options)


def test_a_source_with_one_problem_is_no_stratum() -> None:
    first = np.eye(4, 3, dtype=bool)
    assert compare(first, ~first, ["a", "b", "b", "b"])["strata"] == ""
