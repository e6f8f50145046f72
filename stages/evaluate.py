"""Answer every benchmark problem greedily, and by sampling if asked to; measure the speed.

Reads a model of ``data/models/`` and the benchmarks. Writes raw generations to
``data/answers/<model>/``, sampled ones to its folder ``sampled/``, and size, speed and fingerprint
to ``reports/models/<model>.json``.
Quantized weights that the engine has no kernel for are dequantized first; their speed is null.

    python -m stages.evaluate MODEL
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice

from stages.lib.core.files import write_json
from stages.lib.core.paths import DEMONSTRATIONS, MODEL_REPORTS, MODELS
from stages.lib.core.schema import Problem
from stages.lib.core.tables import read_parquet
from stages.lib.generations.answers import answer_store, read_benchmarks, sampled_store
from stages.lib.generations.complete import generate_missing
from stages.lib.generations.requests import Request, Sampling
from stages.lib.generations.store import Store
from stages.lib.inference.dequantize import has_kernel
from stages.lib.inference.pool import EnginePool
from stages.lib.inference.speed import measure_throughput
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.folder import weight_bytes
from stages.lib.models.loading import load_tokenizer
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.prompts.few_shot import few_shot_prompt
from stages.lib.runtime import console

MOST_CUT = 0.9
"""Share of answers at the token limit from which a line is logged."""


def main(name: str) -> None:
    """Evaluate a model."""
    params = load_params()
    evaluate = params.evaluate
    if name not in evaluate.models:
        raise ValueError(f"evaluate.models: {name!r}: expected one of {list(evaluate.models)}")
    folder = MODELS / name
    fingerprint = model_fingerprint(folder)
    requests = benchmark_requests(name, params)
    speed = None
    with EnginePool(folder, params.engine) as engines:
        for store, wanted, sampling in greedy_and_sampled(name, requests, params):
            generate_missing(
                store,
                wanted,
                model=fingerprint,
                sampling=sampling,
                settings=params.engine,
                load=engines.backend,
                desc=f"evaluate {name}",
            )
        warn_if_cut(name)
        # Weights without a kernel run dequantized: their speed would be that of the copy.
        if has_kernel(folder):
            probe = islice(cycle(requests), evaluate.speed.prompts)
            prompts = [request.prompt for request in probe]
            speed = measure_throughput(engines.single(), prompts, evaluate.speed)
    write_json(
        MODEL_REPORTS / f"{name}.json",
        {"weight_bytes": weight_bytes(folder), "speed": speed, "fingerprint": fingerprint},
    )


def greedy_and_sampled(
    name: str, requests: list[Request], params: Params
) -> Iterator[tuple[Store, list[Request], Sampling]]:
    """Yield the greedy answers to generate, and then the sampled ones: where, which, and how."""
    stop = tuple(params.prompts.stop)
    greedy = Sampling(temperature=0.0, top_p=1.0, seed=0, stop=stop)
    yield answer_store(name), requests, greedy
    settings = params.evaluate.sampling
    if settings is None:
        yield sampled_store(name), [], greedy  # which removes those of an earlier run
    else:
        sampled = [
            replace(request, index=index)
            for index in range(1, settings.samples + 1)
            for request in requests
        ]
        sampling = Sampling(settings.temperature, settings.top_p, settings.seed, stop)
        yield sampled_store(name), sampled, sampling


def warn_if_cut(name: str) -> None:
    """Log it if nearly all answers of a model end at the token limit."""
    reasons = [row.finish_reason for row in answer_store(name).rows()]
    cut = reasons.count("length")
    if cut >= MOST_CUT * len(reasons):
        console.log_line(
            f"evaluate {name}: {cut} of {len(reasons)} answers end at the token limit: the model "
            "may be broken, or evaluate.max_tokens too small"
        )


def benchmark_requests(name: str, params: Params) -> list[Request]:
    """Return a greedy request for every problem, prompting and number of demonstrations."""
    tokenizer = load_tokenizer(MODELS / name)
    pool = read_parquet(DEMONSTRATIONS, Problem)
    max_tokens = params.evaluate.max_tokens
    benchmarks = read_benchmarks(max_tokens)
    return [
        Request(
            problem.id,
            prompting,
            shots,
            0,
            few_shot_prompt(tokenizer, params.prompts, problem, prompting, pool, shots),
            max_tokens[benchmark],
        )
        for shots in params.evaluate.models[name]
        for prompting in params.evaluate.prompting
        for benchmark, problems in benchmarks.items()
        for problem in problems
    ]


if __name__ == "__main__":
    console.run_stage("evaluate", main, item="name")
