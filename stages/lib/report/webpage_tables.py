"""The tables of the web page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isnan
from typing import Any

from stages.lib.analysis.answer_modes import ANSWER_MODES, modes_among
from stages.lib.analysis.speeds import NO_KERNEL
from stages.lib.core.schema import STATUSES
from stages.lib.report.claims import TableRow, winner
from stages.lib.report.numbers import fixed, p_value, percent


@dataclass(frozen=True)
class Cell:
    """A table cell: its text, the value that it sorts by, and a note in small print."""

    text: str
    value: float | str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a caption; each row has a cell per column."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def webpage_tables(
    *,
    accuracy: Sequence[TableRow],
    comparisons: Sequence[TableRow],
    statuses: Sequence[TableRow],
    styles: Sequence[TableRow],
    sampled: Sequence[TableRow],
    models: Sequence[TableRow],
    benchmarks: Sequence[str],
    systems: Sequence[str],
    level: float,
    batch: int,
) -> list[Table]:
    """Return the page's tables from rows of ``reports/tables/``.

    ``batch`` is the number of prompts in a batch of the speed measurement. Without ``styles``
    or ``sampled`` their table is left out.
    """
    tables = [
        _accuracy_table(accuracy, benchmarks, systems, level),
        _comparison_table(comparisons, benchmarks, level),
        _status_table(statuses, benchmarks, systems),
        _model_table(models, batch),
    ]
    if styles:
        tables.append(_style_table(styles, level))
    if sampled:
        tables.append(_sampled_table(sampled, level))
    return [_without_single(table, ("Benchmark", "Prompting", "Answer mode")) for table in tables]


def _without_single(table: Table, columns: Sequence[str]) -> Table:
    """Move columns that say the same in every row into the caption."""
    caption, kept = table.caption, list(range(len(table.columns)))
    for index, column in enumerate(table.columns):
        values = {row[index].text for row in table.rows}
        if column in columns and len(values) == 1:
            kept.remove(index)
            caption += f"; {column.lower()}: {values.pop()}"
    rows = [[row[index] for index in kept] for row in table.rows]
    return Table(caption, [table.columns[index] for index in kept], rows)


def study_table(study: Mapping[str, Any]) -> Table:
    """Return the accuracy of each arm of a study, ``read_study``'s, in each stratum."""
    body = []
    for row in study["arms"]:
        deviation = row["run_sd"]  # empty for a single run
        body.append(
            [
                *(_plain(row[name]) for name in ("system", "stratum")),
                _with_interval(*(float(row[name]) for name in ("mean", "low", "high"))),
                Cell(percent(float(deviation)), float(deviation)) if deviation else _plain("–"),
            ]
        )
    return Table(
        f"The registered study: mean accuracy over {study['blocks']} runs, with intervals over "
        "runs and problems, and the standard deviation over runs",
        ["Arm", "Cells", "Accuracy (%)", "SD (points)"],
        body,
    )


def compute_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return what each arm trained on and what it cost, from ``compute_rows``."""
    counts = {
        "Examples": "examples",
        "Different": "distinct_examples",
        "Supervised": "supervised_tokens",
        "Processed": "processed_tokens",
        "Generated": "generated_tokens",
    }
    return Table(
        "Compute of each arm: examples, tokens (supervised, processed, and generated to measure "
        "difficulty), FLOPs and seconds, sampling included",
        ["Arm", "Epochs", *counts, "TFLOPs", "Seconds"],
        [
            [
                _plain(row["arm"]),
                Cell(fixed(row["epochs"], 2), row["epochs"]),
                *(Cell(f"{row[name]:,}", row[name]) for name in counts.values()),
                Cell(fixed(row["flops"] / 1e12, 0), row["flops"]),
                Cell(fixed(row["seconds"], 0), row["seconds"]),
            ]
            for row in rows
        ],
    )


def _accuracy_table(
    rows: Sequence[TableRow], benchmarks: Sequence[str], systems: Sequence[str], level: float
) -> Table:
    by_cell = {(row["benchmark"], row["system"], row["answer_mode"]): row for row in rows}
    modes = modes_among({row["answer_mode"] for row in rows})
    body = []
    for benchmark in benchmarks:
        for system in systems:
            system_rows = [by_cell[benchmark, system, name] for name in modes]
            cells = [
                _with_interval(row["accuracy"], row["low"], row["high"]) for row in system_rows
            ]
            body.append([_plain(system), _plain(benchmark), _plain(system_rows[0]["n"]), *cells])
    return Table(
        f"Accuracy in percent with {level:.0%} intervals",
        ["System", "Benchmark", "Problems", *(ANSWER_MODES[name] for name in modes)],
        body,
    )


def _comparison_table(rows: Sequence[TableRow], benchmarks: Sequence[str], level: float) -> Table:
    body = []
    # The sort is stable: within a benchmark, rows keep their order.
    for row in sorted(rows, key=lambda row: benchmarks.index(row["benchmark"])):
        first, second = row["first"], row["second"]
        result = {
            "first": f"{first} better",
            "second": f"{second} better",
            "neither": "not shown to differ",
        }[winner(row, level)]
        interval = f"{percent(row['low'])} to {percent(row['high'])}"
        body.append(
            [
                _plain(f"{first} − {second}"),
                _plain(row["benchmark"]),
                _plain(ANSWER_MODES[row["answer_mode"]]),
                Cell(percent(row["difference"]), row["difference"], interval),
                Cell(p_value(row["p_holm"]), row["p_holm"]),
                _plain(result),
            ]
        )
    return Table(
        f"Paired differences in points with {level:.0%} intervals; p after Holm's correction "
        "over the comparisons on one benchmark",
        ["Pair", "Benchmark", "Answer mode", "Difference", "p (Holm)", "Result"],
        body,
    )


def _status_table(
    rows: Sequence[TableRow], benchmarks: Sequence[str], systems: Sequence[str]
) -> Table:
    by_cell = {(row["benchmark"], row["system"], row["prompting"]): row for row in rows}
    counts = [*STATUSES, "cut"]
    caption = "Number of answers by status; cut: answers that ended at the token limit"
    if any(row["follow_up"] or row["first_option"] for row in rows):
        counts += ["follow_up", "first_option"]
        caption += "; follow_up, first_option: answers that named no option, by what was graded"
    return Table(
        caption,
        ["System", "Benchmark", "Prompting", *counts],
        [
            [
                _plain(system),
                _plain(benchmark),
                _plain(ANSWER_MODES[prompting]),
                *(_plain(by_cell[benchmark, system, prompting][name]) for name in counts),
            ]
            for benchmark in benchmarks
            for system in systems
            for prompting in modes_among({row["prompting"] for row in rows})
        ],
    )


def _style_table(rows: Sequence[TableRow], level: float) -> Table:
    return Table(
        "How compared systems answer: length in tokens, the share with steps and the share that "
        f"end with a stated answer, in percent, with {level:.0%} intervals",
        ["System", "Benchmark", "Prompting", "Tokens", "Median", "Steps", "States answer"],
        [
            [
                _plain(row["system"]),
                _plain(row["benchmark"]),
                _plain(ANSWER_MODES[row["prompting"]]),
                _with_interval(*_ends(row, "tokens"), show=partial(fixed, digits=1)),
                Cell(fixed(row["median_tokens"], 0), row["median_tokens"]),
                *(_with_interval(*_ends(row, name)) for name in ("steps", "stated")),
            ]
            for row in rows
        ],
    )


def _sampled_table(rows: Sequence[TableRow], level: float) -> Table:
    return Table(
        f"Sampled answers, {rows[0]['samples']:.0f} to each problem: the mean accuracy of a sample "
        "(avg), and the share of problems solved by at least one of k samples (pass) or by a "
        f"majority vote of k (maj), in percent, with {level:.0%} intervals over problems",
        ["System", "Benchmark", "Answer mode", "Measure", "Value", "Standard error"],
        [
            [
                _plain(row["system"]),
                _plain(row["benchmark"]),
                _plain(ANSWER_MODES[row["answer_mode"]]),
                _plain(f"{row['measure']}@{row['k']:.0f}"),
                _with_interval(row["value"], row["low"], row["high"]),
                Cell(percent(row["standard_error"]), row["standard_error"]),
            ]
            for row in rows
        ],
    )


def _ends(row: TableRow, name: str) -> tuple[float, float, float]:
    return row[name], row[f"{name}_low"], row[f"{name}_high"]


def _with_interval(
    value: float, low: float, high: float, *, show: Callable[[float], str] = percent
) -> Cell:
    if isnan(value):
        return Cell("–", -1)
    return Cell(show(value), value, "" if isnan(low) else f"{show(low)}–{show(high)}")


def _model_table(rows: Sequence[TableRow], batch: int) -> Table:
    speeds = {
        f"Tokens/s, batch of {batch}": ("tokens_per_second", 0),
        "Tokens/s, batch of 1": ("tokens_per_second_single", 1),
        "First token (ms)": ("first_token_ms", 0),
    }
    return Table(
        "Models: bits per weight, size, perplexity of held-out solutions, generation speed",
        ["Model", "Bits", "Weights (MB)", "Perplexity", *speeds],
        [
            [
                _plain(row["model"]),
                _plain(row["bits"]),
                Cell(fixed(row["bytes"] / 1e6, 0), row["bytes"]),
                Cell(fixed(row["perplexity"], 3), row["perplexity"]),
                *(_speed(row[column], digits) for column, digits in speeds.values()),
            ]
            for row in rows
        ],
    )


def _speed(value: float, digits: int) -> Cell:
    return Cell(NO_KERNEL, 0) if isnan(value) else Cell(fixed(value, digits), value)


def _plain(value: str | int) -> Cell:
    return Cell(str(value), value)
