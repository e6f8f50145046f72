"""What the registered study showed, in words."""

from pathlib import Path
from typing import Any

import pytest

from stages.lib.core.files import write_json
from stages.lib.core.tables import write_csv
from stages.lib.report.study import design, meaning, read_retention, read_study, result


def endpoints(*verdicts: str) -> list[dict[str, str]]:
    pairs = [("uniform", "hard", "0.0"), ("uniform", "easy", "-0.015"), ("dealt", "hard", "0.0")]
    values = {"difference": "0.0412", "low": "0.02", "high": "0.0604", "blocks": "10"}
    return [
        {"first": "mastery", "second": second, "stratum": stratum, "bound": bound}
        | values
        | {"verdict": verdict}
        for (second, stratum, bound), verdict in zip(pairs, verdicts, strict=True)
    ]


DESIGN = {
    "commit": "0123456789",
    "steps": 96,
    "tokens": 43008,
    "kinds": 11,
    "train_problems": 2200,
    "test_problems": 60,
    "promptings": ["cot", "pot"],
    "hard_cells": 10,
    "easy_cells": 12,
    "look": {"blocks": 6, "half_width": 0.037, "limit": 0.05},
}


@pytest.mark.parametrize(
    ("half_width", "look"),
    [
        (
            0.037,
            " After 6 runs of each arm the interval on hard cells reached 3.7 points to each side, "
            "at most the 5.0 points registered: no further runs were added.",
        ),
        (
            0.061,
            " After 6 runs of each arm the interval on hard cells reached 6.1 points to each side, "
            "more than the 5.0 points registered: further runs were added.",
        ),
        (None, ""),
    ],
)
def test_the_size_of_a_study_and_its_look_are_said(half_width: float | None, look: str) -> None:
    sizes = DESIGN | {"look": {"blocks": 6, "half_width": half_width, "limit": 0.05}}
    assert design(sizes, endpoints("met", "met", "met")) == (
        "Each run takes 96 steps, 43,008 supervised tokens, on 2,200 problems of 11 kinds, with "
        "CoT and with PoT, and is tested on 60 other problems in each of 22 cells (a kind of "
        "problem with one prompting): 12 easy ones, which `uniform` mostly solved on development "
        "problems, and 10 hard ones." + look
    )


def test_retention_is_read_after_the_run_of_its_recipe(tmp_path: Path) -> None:
    assert read_retention(tmp_path) is None
    write_csv(tmp_path / "retention.csv", [{"bits": "4"}])
    assert read_retention(tmp_path) == [{"bits": "4"}]


def test_the_result_has_both_differences() -> None:
    assert result(endpoints("met", "met", "met")) == (
        "Over 10 runs of each arm, `mastery` minus `uniform` is 4.1 points (2.0 to 6.0) on hard "
        "cells and 4.1 points (2.0 to 6.0) on easy ones."
    )


GAINED = "`mastery` gains on hard cells over `uniform`, without a loss of 1.5 points on easy ones. "
GAINED += "`mastery` minus `dealt` is 4.1 points (2.0 to 6.0) on hard cells: "


@pytest.mark.parametrize(
    ("verdicts", "text"),
    [
        (("met", "met", "met"), GAINED + "it matters which cells get more, not only that some do."),
        (
            ("met", "met", "not met"),
            GAINED + "the study does not show that the choice of cells matters.",
        ),
        (
            ("met", "not met", "not tested"),
            "`mastery` gains on hard cells, but a loss of 1.5 points on easy ones is not ruled "
            "out: the study fails its second endpoint.",
        ),
        (
            ("not met", "met", "not tested"),
            "No gain on hard cells is shown; on easy ones a loss of 1.5 points or more is ruled "
            "out.",
        ),
        (
            ("not met", "not met", "not tested"),
            "No gain on hard cells is shown, and a loss on easy ones is not ruled out.",
        ),
        (("inconclusive",) * 3, "With 10 runs the study is inconclusive, as registered."),
    ],
)
def test_each_outcome_has_its_sentence(verdicts: tuple[str, ...], text: str) -> None:
    assert meaning(endpoints(*verdicts)) == text


def test_a_study_is_read_once_it_is_finished_and_of_these_arms(tmp_path: Path) -> None:
    arms = ["uniform", "mastery", "dealt"]
    assert read_study(tmp_path, arms) is None
    rows: list[dict[str, Any]] = list(endpoints("met", "met", "met"))
    for name in ("endpoints", "arms"):
        write_csv(tmp_path / f"{name}.csv", rows)
    write_json(tmp_path / "design.json", DESIGN)
    study = read_study(tmp_path, [*arms, "another"])
    assert study is not None
    assert (study["blocks"], study["endpoints"], study["dose"]) == (10, rows, None)
    assert study["commit"] == "0123456"
    doses = [{"steps": steps, "runs": 3} for steps in (12, 12, 24, 24)]
    write_csv(tmp_path / "dose.csv", doses)
    study = read_study(tmp_path, arms)
    assert study is not None
    assert study["dose"] == {"doses": 2, "runs": 3}
    assert read_study(tmp_path, arms[:2]) is None
