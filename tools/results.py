"""Print what the last run found, and what changed since the last commit.

Reads ``reports/tables/`` and the registered study in ``reports/study/``, and asks DVC for the
changes of ``reports/metrics.json``.

    python -m tools.results
"""

import sys
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from dvc.repo import Repo

from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.core.paths import STUDY_REPORTS
from stages.lib.params.load import load_params
from stages.lib.report.claims import TableRow, winner
from stages.lib.report.numbers import p_value, percent
from stages.lib.report.study import read_study
from stages.lib.report.tables import read_rows

WIDTH = 100


def main() -> None:
    """Print the tables."""
    params = load_params()
    benchmark, level = params.evaluate.held_out, params.analyze.interval
    with Repo() as repo:
        changes = repo.metrics.diff().get("diff", {})
    study = read_study(STUDY_REPORTS, [*params.weigh.arms, *params.weigh.replays])
    parts = {
        f"Accuracy on {benchmark} (%), {level:.0%} intervals over problems": accuracy_table(
            read_rows("accuracy"), benchmark
        ),
        "Paired differences (points)": difference_table(read_rows("comparisons"), benchmark, level),
        "reports/metrics.json since the last commit": change_table(changes),
    }
    if study:
        text = f"{study['result']} {study['meaning']}".replace("`", "")
        parts["The registered study (reports/study/)"] = fill(text, WIDTH)
    sys.stdout.write("\n\n".join(f"{title}\n\n{table}" for title, table in parts.items()) + "\n")


def accuracy_table(rows: Sequence[TableRow], benchmark: str) -> str:
    """Return a line per system and answer mode."""
    return _aligned(
        [
            (
                row["system"],
                ANSWER_MODES[row["answer_mode"]],
                percent(row["accuracy"]),
                f"{percent(row['low'])} to {percent(row['high'])}",
                f"n = {row['n']}",
            )
            for row in rows
            if row["benchmark"] == benchmark
        ]
    )


def difference_table(rows: Sequence[TableRow], benchmark: str, level: float) -> str:
    """Return a line per pair and answer mode."""
    return _aligned(
        [
            (
                f"{row['first']} - {row['second']}",
                ANSWER_MODES[row["answer_mode"]],
                percent(row["difference"]),
                f"{percent(row['low'])} to {percent(row['high'])}",
                f"p = {p_value(row['p_holm'])}".replace("= <", "<"),
                "not shown to differ" if winner(row, level) == "neither" else "differ",
            )
            for row in rows
            if row["benchmark"] == benchmark
        ]
    )


def change_table(changes: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return a line per changed number: before, after and the change, "-" for none."""
    lines = [
        (name, *(_number(values.get(key)) for key in ("old", "new", "diff")))
        for of_file in changes.values()
        for name, values in of_file.items()
    ]
    return _aligned(lines) if lines else "nothing changed"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return the lines with their columns aligned, none longer than ``WIDTH``."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip()[:WIDTH] for line in padded)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"results: {error}")
