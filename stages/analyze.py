"""Grade every answer and compute the statistics.

Reads the benchmarks and the raw answers of every model; runs the programs that models
wrote in the sandbox. Writes ``data/verdicts.parquet``, ``reports/tables/*.csv`` and
``reports/metrics/accuracy.json``.

    python -m stages.analyze
"""

from statistics import fmean

import numpy as np
import pandas as pd

from stages.lib import analysis, console, params
from stages.lib.answers import Place, read_answers, read_benchmarks, read_replies
from stages.lib.files import read_json, replacing, write_json
from stages.lib.judging import answer_to, judge
from stages.lib.params.reinforcement import Reinforce
from stages.lib.params.sampling import Sandbox
from stages.lib.params.training import Quantize
from stages.lib.paths import METRICS, MODEL_REPORTS, TABLES, VERDICTS
from stages.lib.records import PROMPTINGS, Generation, Graded, Problem, write_parquet

OUTPUT_SHOWN = 500
OTHERS = "others"


def main() -> None:
    """Grade and analyze."""
    wanted = params.load()
    settings = wanted.analyze
    problems = read_benchmarks(wanted.prepare.benchmarks)
    models = wanted.evaluate.models
    graded = grade_all(read_answers(models), read_replies(models), problems, wanted.sandbox)
    write_parquet(VERDICTS, graded)

    frame = analysis.answer_frame(graded, problems)
    level = settings.interval
    accuracy = analysis.accuracy_table(frame, ["benchmark", "system"], level=level)
    rng = np.random.default_rng(settings.seed)
    tables = {
        "accuracy": accuracy,
        "accuracy_by_source": _by(frame, "source", level),
        "accuracy_by_topic": _by(frame, "topic", level),
        "accuracy_by_level": _by(frame, "level", level),
        "statuses": analysis.status_table(graded),
        "comparisons": analysis.comparison_table(
            frame, settings.compare, draws=settings.draws, level=level, rng=rng
        ),
        "models": model_table(list(wanted.evaluate.models), wanted.quantize, wanted.reinforce),
    }
    for name, table in tables.items():
        with replacing(TABLES / f"{name}.csv") as aside:
            table.to_csv(aside, index=False, lineterminator="\n")
    held_out = wanted.evaluate.perplexity_on
    write_json(METRICS / "accuracy.json", {"accuracy": headline(accuracy, held_out)})


def grade_all(
    answers: list[tuple[str, Generation]],
    replies: dict[Place, str],
    problems: dict[str, list[Problem]],
    sandbox: Sandbox,
) -> list[Graded]:
    """Return the verdict of every (system, generation) pair."""
    places = {p.id: (name, p) for name, members in problems.items() for p in members}
    judged = judge(
        [
            answer_to(
                places[row.problem_id][1],
                row,
                replies.get((system, row.problem_id, row.prompting)),
            )
            for system, row in answers
        ],
        sandbox,
    )
    return [
        Graded(
            benchmark=places[row.problem_id][0],
            problem_id=row.problem_id,
            system=system,
            prompting=row.prompting,
            status=one.verdict.status,
            extracted=one.verdict.extracted,
            output=one.output[:OUTPUT_SHOWN],
            finish_reason=row.finish_reason,
            n_tokens=row.n_tokens,
            settled=one.settled,
        )
        for (system, row), one in zip(answers, judged, strict=True)
    ]


def headline(accuracy: pd.DataFrame, held_out: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return accuracy by benchmark, system and prompting, for ``dvc metrics``.

    ``others`` is the mean over all benchmarks but the held-out one.
    """
    shares: dict[tuple[str, str, str], list[float]] = {}
    for row in accuracy.to_dict("records"):
        if row["decoding"] in PROMPTINGS:
            benchmark = held_out if row["benchmark"] == held_out else OTHERS
            key = (benchmark, row["system"], row["decoding"])
            shares.setdefault(key, []).append(row["accuracy"])
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (benchmark, system, prompting), values in shares.items():
        found.setdefault(benchmark, {}).setdefault(system, {})[prompting] = round(fmean(values), 3)
    return found


def model_table(names: list[str], quantize: Quantize, reinforce: Reinforce) -> pd.DataFrame:
    """Return size and perplexity of every model, and what it was made of if not the base."""
    rows = []
    for name in names:
        report = read_json(MODEL_REPORTS / f"{name}.json")
        quantized = quantize.models.get(name)
        made = quantized or reinforce.models.get(name)
        rows.append(
            {
                "model": name,
                "parent": made.parent if made else "",
                "bits": quantized.bits if quantized else 16,
                "bytes": report["weight_bytes"],
                "perplexity": report["perplexity"],
            }
        )
    return pd.DataFrame(rows)


def _by(frame: pd.DataFrame, column: str, level: float) -> pd.DataFrame:
    return analysis.accuracy_table(frame, ["benchmark", "system", column], level=level)


if __name__ == "__main__":
    console.run("analyze", main)
