"""Compare base models: latency against accuracy.

Each base, given in a form that ``model.base`` accepts, answers every problem of the ladder
greedily, without in-context examples and with ``sample.shots`` of them, in a separate process.
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
from stages.lib.models.fetch import fetch_model
from stages.lib.models.folder import weight_bytes
from stages.lib.models.loading import load_tokenizer
from stages.lib.params.load import load_params
from stages.lib.params.model_source import ModelSource, parse_source
from stages.lib.params.root import Params
from stages.lib.prompts.few_shot import few_shot_prompt
from tools.export.agreement import is_correct

BENCHMARK = "ladder"
TABLE = REPORTS / "benchmarks" / "bases.csv"


def resolve_base(base: str) -> ModelSource:
    """Parse the name of a base model. Raises ValueError with the accepted forms."""
    try:
        return parse_source(base)
    except ValueError as error:
        raise ValueError(f"{base!r}: {error}") from error


def measure(base: str) -> list[dict[str, Any]]:
    """Return a base's rows: without and with in-context examples."""
    # vLLM reads this at import; its log lines would clutter the table.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    params = load_params()
    with TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        fetch_model(resolve_base(base), model, key="model.base")
        # Imported after the conversion, which reports a wrong base sooner than vLLM loads.
        from stages.lib.inference.engine import Engine

        engine = Engine(model, params.engine)
        return [
            measure_with_shots(base, model, engine, params, shots)
            for shots in sorted({0, params.sample.shots})
        ]


def measure_with_shots(
    base: str, model: Path, engine: Any, params: Params, shots: int
) -> dict[str, Any]:
    """Measure a base with a number of in-context examples; return its row."""
    from stages.lib.generations.requests import Request, Sampling
    from stages.lib.inference.speed import engine_runner, measure_latency

    problems = read_benchmarks([BENCHMARK])[BENCHMARK]
    pool = read_parquet(DEMONSTRATIONS, Problem)
    tokenizer, limit = load_tokenizer(model), params.evaluate.max_tokens[BENCHMARK]
    prompts = [
        few_shot_prompt(tokenizer, params.prompts, problem, "cot", pool, shots)
        for problem in problems
    ]
    requests = [
        Request(problem.id, "cot", shots, 0, prompt, limit)
        for problem, prompt in zip(problems, prompts, strict=True)
    ]
    greedy = Sampling(temperature=0.0, top_p=1.0, seed=0, stop=tuple(params.prompts.stop))
    answers = engine.generate(requests, greedy, lambda _: None)
    correct = is_correct(problems, [text for text, _, _ in answers])
    low, high = wilson_interval(sum(correct), len(correct), level=params.analyze.interval)
    return {
        "base": base,
        "shots": shots,
        "problems": len(correct),
        "accuracy": round(sum(correct) / len(correct), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "bytes": weight_bytes(model),
        # With the examples in the prompt, which lengthen the time to the first token.
        **summarize_speeds(
            measure_latency(engine_runner(engine, requests[0].prompt), params.evaluate.speed)
        ),
        "machine": machine(),
    }


def main() -> None:
    """Measure every base."""
    bases = sys.argv[1:]
    if not bases:
        sys.exit("expected at least one base model, such as model.base of params.yaml")
    for base in bases:
        resolve_base(base)
    rows: list[dict[str, Any]] = []
    for base in bases:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows += pool.submit(measure, base).result()
    write_csv(TABLE, rows)
    print("accuracy  interval       tokens/s  first token       MB  shots  base")
    for row in rows:
        print(
            f"{row['accuracy']:8.1%}  {row['low']:6.1%} to {row['high']:5.1%}"
            f"{row['tokens_per_second_single']:9.1f}  {row['first_token_ms']:8.1f} ms"
            f"{row['bytes'] / 1e6:9.0f}  {row['shots']:5}  {row['base'].partition('#')[0]}"
        )


if __name__ == "__main__":
    main()
