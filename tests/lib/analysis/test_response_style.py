"""Original beside tuned: lengths, shares and fixed answers, counted by hand."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from stages.lib.analysis import intervals
from stages.lib.analysis.response_style import (
    N_FIXED_PROBLEMS,
    Bootstrap,
    style_frame,
    style_tables,
)
from stages.lib.core.schema import Problem, Prompting
from tests.rows import make_generation, make_problem, make_record

STEPS = "1 + 2 = 3. The answer is 3."
PAIR = ["tuned", "base"]

Texts = dict[tuple[str, Prompting], list[tuple[str, int]]]

TEXTS: Texts = {
    ("base", "cot"): [("I do not know.", 40), ("It is hard.", 60)],
    ("tuned", "cot"): [(STEPS, 10), (STEPS, 20), ("The answer is 3.", 30), ("Well.", 40)],
    ("base", "pot"): [("print(3)", 5)],
    ("tuned", "pot"): [("print(3)", 7)],
}


def make_problems(names: Sequence[str], **changes: str) -> list[Problem]:
    return [make_problem(name, question=f"{name}?", answer="3", **changes) for name in names]


FOUR = {"ladder": make_problems("abcd", source="sum", template="sum")}


def frame_of(problems: dict[str, list[Problem]], texts: Texts = TEXTS) -> pd.DataFrame:
    """Answer every problem; the texts and lengths of a system repeat in turn."""
    graded = []
    for (system, prompting), answers in texts.items():
        keys = [(name, problem.id) for name, members in problems.items() for problem in members]
        for index, (benchmark, problem_id) in enumerate(keys):
            text, n_tokens = answers[index % len(answers)]
            status = "correct" if "3" in text else "unparsed"
            answer = make_generation(problem_id, prompting, text=text, n_tokens=n_tokens)
            record = make_record(system, problem_id, prompting, benchmark=benchmark, status=status)
            graded.append((answer, record))
    return style_frame(graded, problems)


def tables(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    bootstrap = Bootstrap(draws=200, level=0.95, rng=np.random.default_rng(1))
    return style_tables(frame, [PAIR], bootstrap)


def test_styles_are_means_and_shares() -> None:
    rows = tables(frame_of(FOUR))["styles"].set_index(["system", "prompting"])
    assert len(rows) == 4
    tuned = rows.loc[("tuned", "cot")]
    measured = tuned[["n", "tokens", "median_tokens", "steps", "stated", "accuracy"]]
    assert measured.tolist() == [4, 25, 25, 0.5, 0.75, 0.75]
    assert (tuned["steps_low"], tuned["steps_high"]) == pytest.approx(
        intervals.wilson_interval(2, 4, level=0.95), abs=1e-4
    )
    assert tuned["tokens_low"] < 25 < tuned["tokens_high"]
    assert rows.loc[("tuned", "pot"), ["steps", "stated", "steps_low"]].isna().all()
    # Every program has the same length, so their mean has no variance.
    assert rows.loc[("base", "pot"), ["tokens_low", "tokens_high"]].tolist() == [5, 5]


def test_differences_are_paired() -> None:
    rows = tables(frame_of(FOUR))["style_differences"].set_index(["prompting", "measure"])
    assert rows["difference"].to_dict() == {
        ("cot", "tokens"): -25,
        ("cot", "steps"): 0.5,
        ("cot", "stated"): 0.75,
        ("pot", "tokens"): 2,
    }
    low, value, high = (rows[name].to_numpy() for name in ("low", "difference", "high"))
    assert np.all((low <= value) & (value <= high))


def test_problems_of_one_template_are_drawn_together() -> None:
    texts: Texts = {
        ("base", "cot"): [("It is hard.", 10)],
        ("tuned", "cot"): [
            (STEPS if group % 2 else "Well.", 10 * group) for group in range(6) for _ in range(4)
        ],
    }
    names = [f"p{i:02}" for i in range(24)]
    single = [make_problem(name) for name in names]
    clustered = [make_problem(name, template=f"t{i // 4}") for i, name in enumerate(names)]

    def widths(problems: list[Problem]) -> list[float]:
        rows = tables(frame_of({"b": problems}, texts))["style_differences"]
        return (rows["high"] - rows["low"]).tolist()

    assert all(map(float.__lt__, widths(single), widths(clustered)))


def test_a_source_of_one_problem_is_drawn_with_the_others() -> None:
    alone = make_problems("a", source="a")
    rows = tables(frame_of({"b": alone + make_problems("bcd")}))["style_differences"]
    assert np.all(rows["high"].notna().to_numpy())
    styles = tables(frame_of({"b": alone}))["styles"]
    assert np.all(styles[["tokens_low", "tokens_high"]].isna().to_numpy())


def test_benchmarks_take_turns_with_a_problem_of_each_source() -> None:
    ladder = [
        problem
        for number in (2, 1)
        for source in "zyxwvutsr"
        for problem in make_problems([f"{number}{source}"], source=source)
    ]
    frame = frame_of({"ladder": ladder, "seed": make_problems(["s2", "s1"], source="seed")})
    answers = tables(frame)["side_by_side"]
    ids = answers["problem_id"].drop_duplicates().tolist()
    assert ids == ["1r", "s1", "1s", "1t", "1u", "1v", "1w", "1x"]
    assert len(ids) == N_FIXED_PROBLEMS
    assert answers["system"].tolist() == ["base", "tuned"] * N_FIXED_PROBLEMS
    values = answers.loc[0, ["question", "answer", "text", "tokens"]].tolist()
    assert values == ["1r?", "3", "It is hard.", 60]
    shuffled = tables(frame.sample(frac=1, random_state=1))["side_by_side"]
    assert set(shuffled["problem_id"]) == set(ids)


def test_without_a_pair_the_tables_have_no_rows() -> None:
    empty = tables(style_frame([], FOUR))
    assert set(empty) == {"styles", "style_differences", "side_by_side"}
    assert all(len(table) == 0 and len(table.columns) > 5 for table in empty.values())
