"""Answer every benchmark problem greedily, and measure perplexity and speed.

Reads a model of ``data/models/`` and the benchmarks. Writes raw generations to
``data/answers/<model>/``, the perplexity of held-out worked solutions and the size of
the weights to ``reports/models/<model>.json``, and tokens per second to
``reports/timings/``.

    python -m stages.evaluate MODEL
"""

from functools import cache
from math import exp

from stages.lib import console, models, packing, params
from stages.lib.answers import read_benchmarks
from stages.lib.files import write_json
from stages.lib.generation import Engine, Request, Sampling, fill, measure_speed
from stages.lib.paths import ANSWERS, DEMONSTRATIONS, MODEL_REPORTS, MODELS
from stages.lib.perplexity import negative_log_likelihood
from stages.lib.prompts import choose_demonstrations, problem_prompt, turn
from stages.lib.quantization import load_for_scoring
from stages.lib.records import PROMPTINGS, Example, Problem, read_parquet
from stages.lib.store import Store

GREEDY = Sampling(temperature=0.0, top_p=1.0, seed=0)


def main(name: str) -> dict[str, float]:
    """Evaluate a model; return its generation speeds."""
    wanted = params.load()
    settings, prompts, limits = wanted.evaluate, wanted.prompts, wanted.engine
    if name not in settings.models:
        raise ValueError(f"evaluate.models: {name!r}: expected one of {list(settings.models)}")
    folder = MODELS / name
    tokenizer = models.load_tokenizer(folder)
    benchmarks = read_benchmarks(settings.max_tokens)
    pool = read_parquet(DEMONSTRATIONS, Problem)

    requests = [
        Request(
            problem.id,
            prompting,
            shots,
            0,
            problem_prompt(
                tokenizer, prompts, problem, prompting, choose_demonstrations(problem, pool, shots)
            ),
            settings.max_tokens[benchmark],
        )
        for shots in settings.models[name]
        for prompting in PROMPTINGS
        for benchmark, problems in benchmarks.items()
        for problem in problems
    ]
    load = cache(lambda: Engine(folder, limits))
    fill(
        Store(ANSWERS / name),
        requests,
        model=models.fingerprint(folder),
        sampling=GREEDY,
        settings=limits,
        load=load,
        doing=f"evaluate {name}",
    )
    probe = [request.prompt for request in requests[: settings.speed.prompts]]
    speeds = {
        "tokens_per_second": round(measure_speed(load(), probe, settings.speed.tokens), 1),
        "tokens_per_second_single": round(
            measure_speed(load(), probe[:1], settings.speed.tokens), 1
        ),
    }

    held_out = [
        packing.tokenize(_example(problem), tokenizer, prompts, limits.max_model_len)
        for problem in benchmarks[settings.perplexity_on]
        if problem.solution
    ]
    with console.bar(total=len(held_out), doing=f"score {name}", unit="solution") as progress:
        loss, tokens = negative_log_likelihood(load_for_scoring(folder), held_out, progress.update)
    write_json(
        MODEL_REPORTS / f"{name}.json",
        {
            "perplexity": round(exp(loss / tokens), 4),
            "held_out_tokens": tokens,
            "weight_bytes": models.weight_bytes(folder),
            "fingerprint": models.fingerprint(folder),
        },
    )
    return speeds


def _example(problem: Problem) -> Example:
    shown = turn(problem, "cot")
    return Example(
        problem_id=problem.id,
        source=problem.source,
        prompting="cot",
        question=shown.question,
        response=shown.response,
        repeats=1,
        weight=1.0,
    )


if __name__ == "__main__":
    console.run("evaluate", main, item="name")
