"""Turn comparisons of two systems into English sentences that the statistics support.

A row has the columns of ``reports/tables/comparisons.csv``: ``benchmark``, ``first``,
``second``, ``answer_mode``, ``n`` problems, ``difference`` (first minus second) with its
interval ``low`` to ``high``, ``discordant`` and ``equivalent_within``, all shares of the problems,
``p_sources`` (NaN for none) and ``p_holm``. Rows of ``runs.csv`` and of
``sampled_comparisons.csv``, whose ``difference`` is of avg@n, have no ``discordant`` and no
``p_sources``. Two systems differ if the interval excludes zero and the corrected test is
significant; otherwise they are not shown to differ, and equivalent within some margin.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.report.numbers import p_value, percent

TableRow = Mapping[str, Any]

Winner = Literal["first", "second", "neither"]

_PHRASES: dict[Winner, str] = {
    "first": "beats",
    "second": "loses to",
    "neither": "is not shown to differ from",
}


def winner(row: TableRow, level: float) -> Winner:
    """Return which system is better, if one is shown to be.

    Raises ValueError unless low <= difference <= high.
    """
    low, difference, high = row["low"], row["difference"], row["high"]
    if not low <= difference <= high:
        raise ValueError(f"difference: {difference}: expected within its interval {low} to {high}")
    if low <= 0 <= high or row["p_holm"] > 1 - level:
        return "neither"
    return "first" if low > 0 else "second"


def sentence(row: TableRow, *, level: float) -> str:
    """Return the result of one comparison as a sentence.

    ``level`` is that of the interval and of the test.
    """
    first, second = row["first"], row["second"]
    where = f"On {row['benchmark']} with {ANSWER_MODES[row['answer_mode']]}"
    match winner(row, level):
        case "first":
            return f"{where}, {first} beats {second} by {_evidence(row, 1, level)}."
        case "second":
            return f"{where}, {second} beats {first} by {_evidence(row, -1, level)}."
        case "neither":
            return (
                f"{where}, {first} and {second} are not shown to differ: {first} minus {second} "
                f"is {_evidence(row, 1, level)}. They are equivalent within "
                f"{percent(row['equivalent_within'])} points."
            )


def summary(rows: Sequence[TableRow], *, level: float) -> str:
    """Return in one clause how the first system did against the second, by answer mode.

    ``rows`` compare one pair on one benchmark; ``level`` is that of the intervals and of
    the test. Raises ValueError for no rows, or for several pairs.
    """
    pairs = {(row["benchmark"], row["first"], row["second"]) for row in rows}
    if len(pairs) != 1:
        raise ValueError(f"rows: {sorted(pairs)}: expected one benchmark and pair")
    _, first, second = pairs.pop()
    modes: dict[Winner, list[str]] = {}
    for row in rows:
        modes.setdefault(winner(row, level), []).append(ANSWER_MODES[row["answer_mode"]])
    parts: list[str] = []
    for result, verb in _PHRASES.items():
        if names := modes.get(result):
            in_all = len(names) == len(rows) > 1
            with_modes = "every answer mode" if in_all else _listed(names)
            parts.append(f"{verb} {'it' if parts else second} with {with_modes}")
    return f"{first} {_listed(parts)}"


def overview(rows: Sequence[TableRow], *, level: float, between: str = "systems") -> str:
    """Return how many comparisons on one benchmark found a difference, and which.

    ``between`` says what is compared. Raises ValueError for no rows, or for several benchmarks.
    """
    benchmarks = {row["benchmark"] for row in rows}
    if len(benchmarks) != 1:
        raise ValueError(f"rows: {sorted(benchmarks)}: expected one benchmark")
    significant = [row for row in rows if winner(row, level) != "neither"]
    count = f"{len(significant)} of the {len(rows)} comparisons" if significant else "no comparison"
    return " ".join(
        [
            f"On {benchmarks.pop()}, {count} of {between} found a difference.",
            *(sentence(row, level=level) for row in significant),
        ]
    )


def _evidence(row: TableRow, sign: Literal[1, -1], level: float) -> str:
    low, high = sorted((sign * row["low"], sign * row["high"]))
    p = p_value(row["p_holm"])
    return (
        f"{percent(sign * row['difference'])} points ({level:.0%} interval {percent(low)} to "
        f"{percent(high)}, Holm-corrected p {p if p.startswith('<') else f'= {p}'})"
    )


def _listed(items: Sequence[str]) -> str:
    if len(items) == 1:
        return items[0]
    comma = "," if any(" " in item for item in items) else ""
    return f"{', '.join(items[:-1])}{comma} and {items[-1]}"
