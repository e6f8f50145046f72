"""Turn comparisons of two systems into English sentences that the statistics support.

A row has the columns of ``reports/tables/comparisons.csv``: ``benchmark``, ``first``,
``second``, ``answer_mode``, ``n`` problems, ``difference`` (first minus second) with its
interval ``low`` to ``high``, ``discordant`` and ``detectable`` (NaN for none), all shares
of the problems, ``p_sources`` (NaN for none) and ``p_holm``. Rows of ``runs.csv`` have
no ``discordant``; ``summary`` takes them too. One system beats another only if the interval
excludes zero and the corrected test is significant; it is ahead if the interval alone
excludes zero.
"""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, Literal

from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.analysis.significance import POWER
from stages.lib.report.numbers import p_value, percent

TableRow = Mapping[str, Any]

Winner = Literal["first", "second", "noise", "same"]

_INTERVAL_ALONE = " (by the interval alone, not by the corrected test)"

_PHRASES = {
    ("first", ""): "beats",
    ("first", _INTERVAL_ALONE): "is ahead of",
    ("second", ""): "loses to",
    ("second", _INTERVAL_ALONE): "is behind",
    ("noise", ""): "is within noise of",
    ("same", ""): "solves exactly the same problems as",
}


def winner(row: TableRow) -> Winner:
    """Return which system is ahead by the interval: ``first``, ``second``, or neither.

    ``same`` is a pair that solved exactly the same problems, ``noise`` any other whose
    interval holds zero. Raises ValueError unless low <= difference <= high.
    """
    low, difference, high = row["low"], row["difference"], row["high"]
    if not low <= difference <= high:
        raise ValueError(f"difference: {difference}: expected within its interval {low} to {high}")
    if row.get("discordant") == 0:
        return "same"
    if low > 0:
        return "first"
    return "second" if high < 0 else "noise"


def interval_only_note(row: TableRow, level: float) -> str:
    """Return a note if only the interval shows a lead, not the corrected test; else ''."""
    alone = winner(row) in ("first", "second") and row["p_holm"] > 1 - level
    return _INTERVAL_ALONE if alone else ""


def sentence(row: TableRow, *, level: float) -> str:
    """Return the result of one comparison in full sentences.

    ``level`` is that of the interval and of the test. A difference within noise comes
    with the smallest true difference that as many problems would usually show.
    """
    first, second = row["first"], row["second"]
    where = f"On {row['benchmark']} with {ANSWER_MODES[row['answer_mode']]}"
    match winner(row):
        case "first":
            return f"{where}, {first} {_lead(row, second, 1, level)}"
        case "second":
            return f"{where}, {second} {_lead(row, first, -1, level)}"
        case "noise":
            return (
                f"{where}, {first} and {second} are within noise of each other: {first} minus "
                f"{second} is {_evidence(row, 1, level)}. {_detectable(row)}"
            )
        case "same":
            return (
                f"{where}, no difference was seen: {first} and {second} solved exactly the same "
                f"of the {row['n']} problems. {_possible_difference(row, level)}"
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
    modes: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        key = (winner(row), interval_only_note(row, level))
        modes.setdefault(key, []).append(ANSWER_MODES[row["answer_mode"]])
    parts: list[str] = []
    for (result, note), verb in _PHRASES.items():
        if names := modes.get((result, note)):
            in_all = len(names) == len(rows) > 1
            with_modes = "every answer mode" if in_all else _listed(names)
            parts.append(f"{verb} {'it' if parts else second} with {with_modes}{note}")
    return f"{first} {_listed(parts)}"


def overview(rows: Sequence[TableRow], *, level: float, between: str = "systems") -> str:
    """Return how many comparisons on one benchmark found a difference, and which.

    ``between`` says what is compared. Raises ValueError for no rows, or for several benchmarks.
    """
    benchmarks = {row["benchmark"] for row in rows}
    if len(benchmarks) != 1:
        raise ValueError(f"rows: {sorted(benchmarks)}: expected one benchmark")
    ahead = [row for row in rows if winner(row) in ("first", "second")]
    significant = [row for row in ahead if not interval_only_note(row, level)]
    count = f"{len(significant)} of the {len(rows)} comparisons" if significant else "no comparison"
    sentences = [
        f"On {benchmarks.pop()}, {count} of {between} found a difference beyond noise.",
        *(sentence(row, level=level) for row in significant),
    ]
    if len(ahead) > len(significant):
        sentences.append(f"In {len(ahead) - len(significant)} the interval alone excludes zero.")
    return " ".join(sentences)


def _lead(row: TableRow, loser: str, sign: Literal[1, -1], level: float) -> str:
    evidence = _evidence(row, sign, level)
    if interval_only_note(row, level):
        text = (
            f"is ahead of {loser} by {evidence}, which the corrected test does not confirm. "
            f"{_detectable(row)}"
        )
    else:
        text = f"beats {loser} by {evidence}."
    if row["p_sources"] > 1 - level:
        text += (
            f" Other kinds of problem may differ otherwise: p {_p_equals(row['p_sources'])} where "
            "whole sources are swapped."
        )
    return text


def _evidence(row: TableRow, sign: Literal[1, -1], level: float) -> str:
    low, high = sorted((sign * row["low"], sign * row["high"]))
    return (
        f"{percent(sign * row['difference'])} points ({level:.0%} interval {percent(low)} to "
        f"{percent(high)}, Holm-corrected p {_p_equals(row['p_holm'])})"
    )


def _p_equals(p: float) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def _possible_difference(row: TableRow, level: float) -> str:
    if row["low"] == row["high"]:
        return "That does not show that there is none."
    return (
        f"A true difference from {percent(row['low'])} to {percent(row['high'])} points may hide "
        f"behind that ({level:.0%} interval)."
    )


def _detectable(row: TableRow) -> str:
    if isnan(row["detectable"]):
        return (
            f"They differ on {percent(row['discordant'])}% of the {row['n']} problems: even if all "
            f"of these favored one system, that would show in fewer than {POWER:.0%} of "
            "repetitions."
        )
    return (
        f"With {row['n']} problems, a true difference would have to reach "
        f"{percent(row['detectable'])} points to show in {POWER:.0%} of repetitions."
    )


def _listed(items: Sequence[str]) -> str:
    if len(items) == 1:
        return items[0]
    comma = "," if any(" " in item for item in items) else ""
    return f"{', '.join(items[:-1])}{comma} and {items[-1]}"
