"""From a comparison of two systems to an English sentence that the statistics carry.

A row has the columns of ``reports/tables/comparisons.csv``: ``benchmark``, ``first``,
``second``, ``answer_mode``, ``n`` problems, ``difference`` (first minus second) with its
interval ``low`` to ``high``, ``discordant`` and ``detectable`` (NaN for none), all shares
of the problems, ``p_sources`` (NaN for none) and ``p_holm``. A row of ``runs.csv`` has
no ``discordant``, and can be summed up too. One system beats another only if the interval
excludes zero and the corrected test agrees; it is ahead if the interval alone does.
"""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, Literal

from stages.lib.analysis.significance import POWER
from stages.lib.report.numbers import p_value, percent

TableRow = Mapping[str, Any]

Winner = Literal["first", "second", "noise", "same"]


ANSWER_MODE_NAMES = {
    "cot": "CoT",
    "pot": "PoT",
    "fallback": "PoT‖CoT",
    "both": "both",
    "either": "either",
}


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
    """Return what has to be said of a lead that the interval alone shows, else nothing."""
    alone = winner(row) in ("first", "second") and row["p_holm"] > 1 - level
    return _INTERVAL_ALONE if alone else ""


def sentence(row: TableRow, *, level: float) -> str:
    """Return what one comparison shows, in full sentences.

    ``level`` is that of the interval and of the test. A difference within noise comes
    with the smallest true difference that as many problems would usually show.
    """
    first, second = row["first"], row["second"]
    where = f"On {row['benchmark']} with {ANSWER_MODE_NAMES[row['answer_mode']]}"
    match winner(row):
        case "first":
            return f"{where}, {first} {_leads(row, second, 1, level)}"
        case "second":
            return f"{where}, {second} {_leads(row, first, -1, level)}"
        case "noise":
            return (
                f"{where}, {first} and {second} are within noise of each other: {first} minus "
                f"{second} is {_evidence(row, 1, level)}. {_what_would_show(row)}"
            )
        case "same":
            return (
                f"{where}, no difference was seen: {first} and {second} solved exactly the same "
                f"of the {row['n']} problems. {_what_may_hide(row, level)}"
            )


def summary(rows: Sequence[TableRow], *, level: float) -> str:
    """Return in one clause how the first system did against the second, by decoding.

    ``rows`` compare one pair on one benchmark; ``level`` is that of the intervals and of
    the test. Raises ValueError for no rows, or for several pairs.
    """
    pairs = {(row["benchmark"], row["first"], row["second"]) for row in rows}
    if len(pairs) != 1:
        raise ValueError(f"rows: {sorted(pairs)}: expected one benchmark and pair")
    _, first, second = pairs.pop()
    said: list[str] = []
    for (found, note), verb in _PHRASES.items():
        of = [row for row in rows if (winner(row), interval_only_note(row, level)) == (found, note)]
        if of:
            everywhere = len(of) == len(rows) > 1
            names = [ANSWER_MODE_NAMES[row["answer_mode"]] for row in of]
            with_which = "every decoding" if everywhere else _listed(names)
            said.append(f"{verb} {'it' if said else second} with {with_which}{note}")
    return f"{first} {_listed(said)}"


def overview(rows: Sequence[TableRow], *, level: float, between: str = "systems") -> str:
    """Return how many comparisons on one benchmark found a difference, and which.

    ``between`` says what is compared.
    Raises ValueError for no rows, or for several benchmarks.
    """
    benchmarks = {row["benchmark"] for row in rows}
    if len(benchmarks) != 1:
        raise ValueError(f"rows: {sorted(benchmarks)}: expected one benchmark")
    ahead = [row for row in rows if winner(row) in ("first", "second")]
    found = [row for row in ahead if not interval_only_note(row, level)]
    count = f"{len(found)} of the {len(rows)} comparisons" if found else "no comparison"
    count += f" of {between}"
    said = [f"On {benchmarks.pop()}, {count} found a difference beyond noise."]
    said += [sentence(row, level=level) for row in found]
    if len(ahead) > len(found):
        said.append(f"In {len(ahead) - len(found)} the interval alone excludes zero.")
    return " ".join(said)


def _leads(row: TableRow, other: str, sign: Literal[1, -1], level: float) -> str:
    evidence = _evidence(row, sign, level)
    if interval_only_note(row, level):
        said = (
            f"is ahead of {other} by {evidence}, which the corrected test does not confirm. "
            f"{_what_would_show(row)}"
        )
    else:
        said = f"beats {other} by {evidence}."
    if row["p_sources"] > 1 - level:
        said += (
            f" Other kinds of problem may differ otherwise: p {_equals(row['p_sources'])} where "
            "whole sources are swapped."
        )
    return said


def _evidence(row: TableRow, sign: Literal[1, -1], level: float) -> str:
    low, high = sorted((sign * row["low"], sign * row["high"]))
    return (
        f"{percent(sign * row['difference'])} points ({level:.0%} interval {percent(low)} to "
        f"{percent(high)}, Holm-corrected p {_equals(row['p_holm'])})"
    )


def _equals(p: float) -> str:
    shown = p_value(p)
    return shown if shown.startswith("<") else f"= {shown}"


def _what_may_hide(row: TableRow, level: float) -> str:
    if row["low"] == row["high"]:
        return "That does not show that there is none."
    return (
        f"A true difference from {percent(row['low'])} to {percent(row['high'])} points may hide "
        f"behind that ({level:.0%} interval)."
    )


def _what_would_show(row: TableRow) -> str:
    if isnan(row["detectable"]):
        return (
            f"They differ on {percent(row['discordant'])}% of the {row['n']} problems: even if all "
            f"of these favoured one system, that would show in fewer than {POWER:.0%} of "
            "repetitions."
        )
    needed = percent(row["detectable"])
    return (
        f"With {row['n']} problems, a true difference would have to reach {needed} points "
        f"to show in {POWER:.0%} of repetitions."
    )


def _listed(items: Sequence[str]) -> str:
    if len(items) == 1:
        return items[0]
    comma = "," if any(" " in item for item in items) else ""
    return f"{', '.join(items[:-1])}{comma} and {items[-1]}"
