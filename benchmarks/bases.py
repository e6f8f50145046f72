"""Base models beside each other: latency against accuracy.

Each base, named as ``model.base`` names one, answers every problem of the ladder greedily,
without in-context examples and with ``sample.shots`` of them, in a process of its own.
Prints a line for each and writes ``reports/benchmarks/bases.csv``: accuracy with Wilson's
interval (at ``analyze.interval``), bytes of the weights in bf16, and at batch 1 tokens per
second and milliseconds to the first token of the first problem's prompt: the median of
``evaluate.speed.repeats`` measurements, with the lowest and the highest. Needs the problems in
``data/`` (``dvc repro prepare``).

    python -m benchmarks.bases BASE [BASE ...]
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.report import machine
from stages.lib.analysis.intervals import wilson_interval
from stages.lib.analysis.speeds import summarize_speeds
from stages.lib.core.paths import DEMONSTRATIONS, REPORTS
from stages.lib.core.schema import Problem
from stages.lib.core.tables import read_parquet, write_csv
from stages.lib.generations.answers import read_benchmarks
from stages.lib.models.base import convert_base
from stages.lib.models.folder import weight_bytes
from stages.lib.models.loading import load_tokenizer
from stages.lib.params.base_model import Base, parse_base
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.prompts.few_shot import few_shot_prompt
from tools.export.agreement import is_correct

BENCHMARK = "ladder"
TABLE = REPORTS / "benchmarks" / "bases.csv"


def named(base: str) -> Base:
    """Return the base that a name means. Raises ValueError naming it and the forms there are."""
    try:
        return parse_base(base)
    except ValueError as error:
        raise ValueError(f"{base!r}: {error}") from error


def measure(base: str) -> list[dict[str, Any]]:
    """Return a base's rows: without in-context examples, and with."""
    # Read when vLLM is imported, whose reports would stand around the table.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    wanted = load_params()
    with TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        convert_base(named(base), model)
        # After the conversion: importing vLLM takes longer than finding that a base is wrong.
        from stages.lib.inference.engine import Engine

        engine = Engine(model, wanted.engine)
        return [
            row(base, model, engine, wanted, shots) for shots in sorted({0, wanted.sample.shots})
        ]


def row(base: str, model: Path, engine: Any, wanted: Params, shots: int) -> dict[str, Any]:
    """Return what was measured of a base with a number of in-context examples."""
    from stages.lib.generations.requests import Request, Sampling
    from stages.lib.inference.speed import engine_runner, measure_latency

    problems = read_benchmarks([BENCHMARK])[BENCHMARK]
    pool = read_parquet(DEMONSTRATIONS, Problem)
    tokenizer, limit = load_tokenizer(model), wanted.evaluate.max_tokens[BENCHMARK]
    requests = [
        Request(
            one.id,
            "cot",
            shots,
            0,
            few_shot_prompt(tokenizer, wanted.prompts, one, "cot", pool, shots),
            limit,
        )
        for one in problems
    ]
    greedy = Sampling(temperature=0.0, top_p=1.0, seed=0, stop=tuple(wanted.prompts.stop))
    answers = engine.generate(requests, greedy, lambda _: None)
    right = is_correct(problems, [text for text, _, _ in answers])
    low, high = wilson_interval(sum(right), len(right), level=wanted.analyze.interval)
    return {
        "base": base,
        "shots": shots,
        "problems": len(right),
        "accuracy": round(sum(right) / len(right), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "bytes": weight_bytes(model),
        **summarize_speeds(
            measure_latency(engine_runner(engine, requests[0].prompt), wanted.evaluate.speed)
        ),
        "machine": machine(),
    }


def main() -> None:
    """Measure every base."""
    bases = sys.argv[1:]
    if not bases:
        sys.exit("expected at least one base model, such as model.base of params.yaml")
    for base in bases:
        named(base)
    rows: list[dict[str, Any]] = []
    for base in bases:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            rows += alone.submit(measure, base).result()
    write_csv(TABLE, rows)
    print("accuracy  interval       tokens/s  first token       MB  shots  base")
    for one in rows:
        print(
            f"{one['accuracy']:8.1%}  {one['low']:6.1%} to {one['high']:5.1%}"
            f"{one['tokens_per_second_single']:9.1f}  {one['first_token_ms']:8.1f} ms"
            f"{one['bytes'] / 1e6:9.0f}  {one['shots']:5}  {one['base'].partition('#')[0]}"
        )


if __name__ == "__main__":
    main()
