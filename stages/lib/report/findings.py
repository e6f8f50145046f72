"""The paper's findings: claims by subject, an overview of the arms, and several runs."""

from collections.abc import Sequence
from typing import Any

from stages.lib.analysis.seeds import pairs_with_runs
from stages.lib.params.quantization import quantized_models
from stages.lib.params.root import Params
from stages.lib.report import claims
from stages.lib.report.descriptions import share_permutation

SUBJECTS = ("question", "grpo", "quantization", "others", "elsewhere")


def claims_by_subject(rows: Sequence[claims.TableRow], params: Params) -> dict[str, Any]:
    """Return the paper's sentences about comparisons.

    On the held-out benchmark, ``question`` compares arms, ``grpo`` and ``quantization``
    compare such models with others, and ``others`` has the remaining pairs. ``elsewhere``
    sums up the other benchmarks.
    """
    level = params.analyze.interval
    by_subject: dict[str, Any] = {subject: [] for subject in SUBJECTS}
    for benchmark in params.prepare.benchmarks:
        benchmark_rows = [row for row in rows if row["benchmark"] == benchmark]
        if benchmark != params.evaluate.held_out:
            by_subject["elsewhere"].append(claims.overview(benchmark_rows, level=level))
            continue
        for pair in params.analyze.compare:
            pair_rows = _rows_of_pair(benchmark_rows, pair)
            by_subject[_subject(pair, params)].append(
                {
                    "summary": claims.summary(pair_rows, level=level),
                    "details": [claims.sentence(row, level=level) for row in pair_rows],
                }
            )
    return by_subject


def arms_overview(rows: Sequence[claims.TableRow], params: Params) -> str:
    """Return how many comparisons of arms on the held-out benchmark found a difference."""
    arm_rows = [
        row
        for row in rows
        if row["benchmark"] == params.evaluate.held_out
        and _subject([row["first"], row["second"]], params) == "question"
    ]
    if not arm_rows:
        return ""
    return claims.overview(arm_rows, level=params.analyze.interval, between="arms")


def sampled_overview(rows: Sequence[claims.TableRow], params: Params) -> str:
    """Return which comparisons of sampled answers to the held-out benchmark found a difference.

    ``rows`` are those of ``reports/tables/sampled_comparisons.csv``; without any it is empty.
    """
    held_out_rows = [row for row in rows if row["benchmark"] == params.evaluate.held_out]
    if not held_out_rows:
        return ""
    between = "systems by the mean over their samples"
    return claims.overview(held_out_rows, level=params.analyze.interval, between=between)


def claims_of_runs(rows: Sequence[claims.TableRow], params: Params) -> dict[str, Any] | None:
    """Return what the paper says about repeated runs, or None if no compared pair has them.

    ``systems`` lists the runs of each name, ``shared_permutations`` the names with two runs
    that share a permutation, and ``claims`` sums up the pairs on the held-out benchmark.
    ``rows`` are those of ``reports/tables/runs.csv``.
    """
    pairs = pairs_with_runs(params.analyze)
    if not pairs:
        return None
    level, all_runs = params.analyze.interval, params.analyze.runs
    held_out_rows = [row for row in rows if row["benchmark"] == params.evaluate.held_out]
    names = dict.fromkeys(name for pair in pairs for name in pair)
    return {
        "systems": {name: all_runs[name] for name in names},
        "shared_permutations": [
            name for name in names if share_permutation(params.weigh, all_runs[name])
        ],
        "claims": [
            {"summary": claims.summary(_rows_of_pair(held_out_rows, pair), level=level)}
            for pair in pairs
        ],
    }


def _rows_of_pair(rows: Sequence[claims.TableRow], pair: Sequence[str]) -> list[claims.TableRow]:
    return [row for row in rows if [row["first"], row["second"]] == list(pair)]


def _subject(pair: Sequence[str], params: Params) -> str:
    if any(name in quantized_models(params.quantize) for name in pair):
        return "quantization"
    if any(name in params.grpo.models for name in pair):
        return "grpo"
    arms = {*params.weigh.arms, *params.weigh.replays}
    return "question" if arms.issuperset(pair) else "others"
