"""The paper's findings: claims by subject, the short answer, several runs."""

from collections.abc import Sequence
from typing import Any

from stages.lib.params.root import Params
from stages.lib.report import claims
from stages.lib.report.descriptions import share_permutation
from stages.lib.report.facts import read_rows


def claims_by_subject(rows: Sequence[claims.TableRow], wanted: Params) -> dict[str, Any]:
    """Return the paper's sentences about comparisons.

    ``question`` compares arms on the held-out benchmark, ``grpo`` and
    ``quantization`` such models with others, ``others`` the rest; ``elsewhere`` sums up the
    other benchmarks.
    """
    level, held_out = wanted.analyze.interval, wanted.evaluate.held_out
    subjects = ("question", "grpo", "quantization", "others", "elsewhere")
    said: dict[str, Any] = {subject: [] for subject in subjects}
    for benchmark in wanted.prepare.benchmarks:
        of_benchmark = [row for row in rows if row["benchmark"] == benchmark]
        if benchmark != held_out:
            said["elsewhere"].append(claims.overview(of_benchmark, level=level))
            continue
        for pair in wanted.analyze.compare:
            of_pair = [row for row in of_benchmark if [row["first"], row["second"]] == pair]
            said[_subject(pair, wanted)].append(
                {
                    "summary": claims.summary(of_pair, level=level),
                    "details": [claims.sentence(row, level=level) for row in of_pair],
                }
            )
    return said


def answer(rows: Sequence[claims.TableRow], wanted: Params) -> str:
    """Return how many comparisons of arms on the held-out benchmark found a difference."""
    of_arms = [
        row
        for row in rows
        if row["benchmark"] == wanted.evaluate.held_out
        and _subject([row["first"], row["second"]], wanted) == "question"
    ]
    if not of_arms:
        return ""
    return claims.overview(of_arms, level=wanted.analyze.interval, between="arms")


def several_runs(wanted: Params) -> dict[str, Any] | None:
    """Return what the paper says of several runs, None where no compared pair has them.

    ``systems`` have their runs, ``deals`` are those of them with two runs of one deal,
    ``claims`` sum up the pairs on the held-out benchmark.
    """
    pairs = wanted.analyze.pairs_of_runs()
    if not pairs:
        return None
    rows = [row for row in read_rows("runs") if row["benchmark"] == wanted.evaluate.held_out]
    systems = {name: wanted.analyze.runs[name] for pair in pairs for name in pair}
    by_pair = [[row for row in rows if [row["first"], row["second"]] == pair] for pair in pairs]
    return {
        "systems": systems,
        "deals": [name for name, of in systems.items() if share_permutation(wanted.weigh, of)],
        "claims": [
            {"summary": claims.summary(of_pair, level=wanted.analyze.interval)}
            for of_pair in by_pair
        ],
    }


def _subject(pair: list[str], wanted: Params) -> str:
    for subject, made in (
        ("quantization", wanted.quantize.models),
        ("grpo", wanted.grpo.models),
    ):
        if any(name in made for name in pair):
            return subject
    return "question" if all(name in wanted.weigh.arms for name in pair) else "others"
