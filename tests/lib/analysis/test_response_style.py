"""Original beside tuned: lengths, shares and fixed answers, counted by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.lib.analysis import intervals
from stages.lib.analysis.response_style import SHOWN, Bootstrap, style_frame, tables
from stages.lib.core.schema import EvalRecord, Generation, Problem, Prompting

STEPS = "1 + 2 = 3. The answer is 3."
PAIR = ["tuned", "base"]


def how() -> Bootstrap:
    return Bootstrap(draws=200, level=0.95, rng=np.random.default_rng(1))


def problem(name: str, source: str, template: str) -> Problem:
    return Problem(
        id=name,
        source=source,
        question=f"{name}?",
        answer="3",
        kind="number",
        choices=[],
        solution="",
        program="",
        level=None,
        topic=source,
        template=template or name,
    )


def frame_of(
    problems: dict[str, list[Problem]], said: dict[tuple[str, Prompting], list[tuple[str, int]]]
) -> pd.DataFrame:
    """Answer every problem; the texts and lengths of a system repeat in turn."""
    answers, graded = [], []
    for (system, prompting), texts in said.items():
        every = [(name, one) for name, members in problems.items() for one in members]
        for number, (benchmark, one) in enumerate(every):
            text, n_tokens = texts[number % len(texts)]
            answers.append(
                (
                    system,
                    Generation(
                        problem_id=one.id,
                        model="m",
                        prompting=prompting,
                        shots=0,
                        index=0,
                        text=text,
                        finish_reason="stop",
                        n_tokens=n_tokens,
                        prompt_sha="p",
                    ),
                )
            )
            graded.append(
                EvalRecord(
                    benchmark=benchmark,
                    problem_id=one.id,
                    system=system,
                    prompting=prompting,
                    status="correct" if "3" in text else "unparsed",
                    extracted="3",
                    output="",
                    finish_reason="stop",
                    n_tokens=n_tokens,
                )
            )
    return style_frame(answers, graded, problems, PAIR)


FOUR = {"ladder": [problem(name, "sum", "sum") for name in "abcd"]}
SAID: dict[tuple[str, Prompting], list[tuple[str, int]]] = {
    ("base", "cot"): [("I do not know.", 40), ("It is hard.", 60)],
    ("tuned", "cot"): [(STEPS, 10), (STEPS, 20), ("The answer is 3.", 30), ("Well.", 40)],
    ("base", "pot"): [("print(3)", 5)],
    ("tuned", "pot"): [("print(3)", 7)],
    ("other", "cot"): [(STEPS, 1)],
}


def test_styles_are_means_and_shares() -> None:
    found = tables(frame_of(FOUR, SAID), [PAIR], how())["styles"]
    rows = found.set_index(["system", "prompting"])
    assert len(rows) == 4
    tuned = rows.loc[("tuned", "cot")]
    measured = tuned[["n", "tokens", "median_tokens", "steps", "stated", "accuracy"]]
    assert measured.tolist() == [4, 25, 25, 0.5, 0.75, 0.75]
    assert (tuned["steps_low"], tuned["steps_high"]) == pytest.approx(
        intervals.wilson_interval(2, 4, level=0.95), abs=1e-4
    )
    assert tuned["tokens_low"] < 25 < tuned["tokens_high"]
    assert rows.loc[("tuned", "pot"), ["steps", "stated", "steps_low"]].isna().all()
    # Every program has the same length: nothing to be unsure of.
    assert rows.loc[("base", "pot"), ["tokens_low", "tokens_high"]].tolist() == [5, 5]


def test_differences_are_paired() -> None:
    found = tables(frame_of(FOUR, SAID), [PAIR], how())["style_differences"]
    rows = found.set_index(["prompting", "measure"])
    assert rows["difference"].to_dict() == {
        ("cot", "tokens"): -25,
        ("cot", "steps"): 0.5,
        ("cot", "stated"): 0.75,
        ("pot", "tokens"): 2,
    }
    low, value, high = (rows[name].to_numpy() for name in ("low", "difference", "high"))
    assert np.all((low <= value) & (value <= high))


def test_problems_of_one_template_are_drawn_together() -> None:
    said: dict[tuple[str, Prompting], list[tuple[str, int]]] = {
        ("base", "cot"): [("It is hard.", 10)],
        ("tuned", "cot"): [
            (STEPS if group % 2 else "Well.", 10 * group) for group in range(6) for _ in range(4)
        ],
    }
    apart = {"b": [problem(f"p{i:02}", "s", "") for i in range(24)]}
    together = {"b": [problem(f"p{i:02}", "s", f"t{i // 4}") for i in range(24)]}

    def widths(problems: dict[str, list[Problem]]) -> list[float]:
        rows = tables(frame_of(problems, said), [PAIR], how())["style_differences"]
        return (rows["high"] - rows["low"]).tolist()

    for one, other in zip(widths(apart), widths(together), strict=True):
        assert other > one


def test_a_source_of_one_problem_is_drawn_with_the_others() -> None:
    problems = {"b": [problem(name, name if name == "a" else "s", "") for name in "abcd"]}
    rows = tables(frame_of(problems, SAID), [PAIR], how())["style_differences"]
    assert np.all(rows["high"].notna().to_numpy())
    alone = tables(frame_of({"b": [problem("a", "s", "")]}, SAID), [PAIR], how())
    assert np.all(alone["styles"][["tokens_low", "tokens_high"]].isna().to_numpy())


def test_benchmarks_take_turns_with_a_problem_of_each_source() -> None:
    ladder = [problem(f"{place}{name}", name, "") for place in (2, 1) for name in "zyxwvutsr"]
    problems = {"ladder": ladder, "seed": [problem("s2", "seed", ""), problem("s1", "seed", "")]}
    frame = frame_of(problems, SAID)
    found = tables(frame, [PAIR], how())["side_by_side"]
    ids = found["problem_id"].drop_duplicates().tolist()
    assert ids == ["1r", "s1", "1s", "1t", "1u", "1v", "1w", "1x"]
    assert len(ids) == SHOWN
    assert found["system"].tolist() == ["base", "tuned"] * SHOWN
    first: dict[str, Any] = found.iloc[0].to_dict()
    assert (first["question"], first["answer"], first["text"], first["tokens"]) == (
        "1r?",
        "3",
        "It is hard.",
        60,
    )
    shuffled = tables(frame.sample(frac=1, random_state=1), [PAIR], how())["side_by_side"]
    assert set(shuffled["problem_id"]) == set(ids)


def test_without_a_pair_the_tables_have_no_rows() -> None:
    frame = style_frame([], [], FOUR, [])
    made = tables(frame, [], how())
    assert set(made) == {"styles", "style_differences", "side_by_side"}
    assert all(len(table) == 0 and len(table.columns) > 5 for table in made.values())
