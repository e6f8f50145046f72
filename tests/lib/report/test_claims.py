"""Sentences follow the statistics: who beats whom, and what is noise."""

from typing import Any

import pytest

from stages.lib.report.claims import overview, sentence, summary, winner
from stages.lib.report.numbers import p_value, percent


def row(**changes: Any) -> dict[str, Any]:
    return {
        "benchmark": "ladder",
        "first": "adaptive",
        "second": "uniform",
        "answer_mode": "cot",
        "n": 280,
        "difference": 0.05,
        "low": 0.012,
        "high": 0.088,
        "p": 0.004,
        "p_holm": 0.012,
        "p_sources": 0.02,
        "discordant": 0.1,
        "equivalent_within": 0.0431,
    } | changes


NOISE = {"difference": 0.0107, "low": -0.0251, "high": 0.0465, "p_holm": 1.0}
SAME = {"difference": 0.0, "low": 0.0, "high": 0.0, "p_holm": 1.0, "discordant": 0.0}


BEATS = "On ladder with CoT, adaptive beats uniform by 5.0 points (95% interval 1.2 to 8.8, "
BEATS += "Holm-corrected p {})."
NO_DIFFERENCE = (
    "On ladder with CoT, adaptive and uniform are not shown to differ: adaptive minus uniform is "
    "{} points (95% interval {} to {}, Holm-corrected p = {}). They are equivalent within 4.3 "
    "points."
)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, BEATS.format("= 0.012")),
        ({"p_holm": 0.0004}, BEATS.format("< 0.001")),
        (
            {"difference": -0.05, "low": -0.088, "high": -0.012, "answer_mode": "fallback"},
            "On ladder with PoT‖CoT, uniform beats adaptive by 5.0 points (95% interval 1.2 to "
            "8.8, Holm-corrected p = 0.012).",
        ),
        ({"p_holm": 0.0512}, NO_DIFFERENCE.format("5.0", "1.2", "8.8", "0.051")),
        (NOISE, NO_DIFFERENCE.format("1.1", "−2.5", "4.7", "1.000")),
        # An interval that ends at zero does not exclude it.
        (
            {"low": 0.0, "difference": 0.025},
            NO_DIFFERENCE.format("2.5", "0.0", "8.8", "0.012"),
        ),
        (SAME, NO_DIFFERENCE.format("0.0", "0.0", "0.0", "1.000")),
    ],
)
def test_a_sentence_says_what_the_row_shows(changes: dict[str, Any], text: str) -> None:
    assert sentence(row(**changes), level=0.95) == text


def test_the_level_of_the_interval_is_the_tables() -> None:
    text = sentence(row(p_holm=0.07), level=0.9)
    assert "90% interval" in text
    assert "adaptive beats uniform" in text


@pytest.mark.parametrize("changes", [{"difference": 0.1}, {"low": float("nan")}])
def test_a_row_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        winner(row(**changes), 0.95)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([{}], "adaptive beats uniform with CoT"),
        (
            [NOISE, {"answer_mode": "pot"}, {"answer_mode": "fallback"}],
            "adaptive beats uniform with PoT and PoT‖CoT, and is not shown to differ from it with "
            "CoT",
        ),
        (
            [
                SAME,
                {"answer_mode": "pot", "difference": -0.05, "low": -0.1, "high": -0.01},
                NOISE | {"answer_mode": "fallback"},
            ],
            "adaptive loses to uniform with PoT, and is not shown to differ from it with CoT and "
            "PoT‖CoT",
        ),
        (
            [{"p_holm": 0.06}, {"answer_mode": "pot"}],
            "adaptive beats uniform with PoT, and is not shown to differ from it with CoT",
        ),
        (
            [NOISE | {"answer_mode": name} for name in ("cot", "pot", "fallback")],
            "adaptive is not shown to differ from uniform with every answer mode",
        ),
    ],
)
def test_a_summary_counts_every_answer_mode(rows: list[dict[str, Any]], text: str) -> None:
    assert summary([row(**changes) for changes in rows], level=0.95) == text


def test_rows_of_several_runs_are_summed_up_too() -> None:
    row = {"benchmark": "ladder", "first": "one", "second": "two", "p_holm": 0.01}
    ends = {"cot": (0.01, 0.2, 0.3), "pot": (0.0, 0.0, 0.0), "fallback": (-0.3, -0.2, -0.1)}
    rows = [
        row | {"answer_mode": answer_mode, "low": low, "difference": difference, "high": high}
        for answer_mode, (low, difference, high) in ends.items()
    ]
    assert summary(rows, level=0.95) == (
        "one beats two with CoT, loses to it with PoT‖CoT, and is not shown to differ from it with "
        "PoT"
    )


@pytest.mark.parametrize("rows", [[], [row(), row(second="control")]])
def test_a_summary_is_of_one_pair(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="one benchmark and pair"):
        summary(rows, level=0.95)


def test_an_overview_names_what_was_found() -> None:
    rows = [row(**NOISE), row(answer_mode="pot"), row(answer_mode="fallback", **SAME)]
    assert overview(rows, level=0.95) == (
        "On ladder, 1 of the 3 comparisons of systems found a difference. On ladder "
        "with PoT, adaptive beats uniform by 5.0 points (95% interval 1.2 to 8.8, Holm-corrected "
        "p = 0.012)."
    )


def test_an_overview_of_nothing_says_so() -> None:
    text = "On ladder, no comparison of systems found a difference."
    assert overview([row(**NOISE), row(**SAME)], level=0.95) == text


@pytest.mark.parametrize("rows", [[], [row(), row(benchmark="gsm8k")]])
def test_an_overview_is_of_one_benchmark(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="one benchmark"):
        overview(rows, level=0.95)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.1234, "12.3"),
        (-0.05, "−5.0"),
        (0.0, "0.0"),
        (-0.0, "0.0"),
        (0.0004, "0.04"),
        (-0.0005, "−0.1"),
        (1.0, "100.0"),
        # Half-way as written, whichever side the nearest double is on.
        (0.0285, "2.9"),
        (0.0125, "1.3"),
        (-0.0125, "−1.3"),
    ],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0123, "0.012"), (0.0125, "0.013"), (1.0, "1.000"), (0.00049, "< 0.001"), (0.001, "0.001")],
)
def test_p_value(p: float, text: str) -> None:
    assert p_value(p) == text
