"""Answer every benchmark problem greedily, and measure likelihoods and speed.

Where an answer is none of a problem's options, the model is asked once for the closest.
Quantized weights that the engine has no kernel for are unpacked first; their speed is null.
Reads a model of ``data/models/`` and the benchmarks. Writes raw generations to
``data/answers/<model>/``, the likelihoods of held-out worked solutions to
``data/likelihoods/<model>.parquet``, and size and speed to
``reports/models/<model>.json``.

    python -m stages.evaluate MODEL
"""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache, partial
from itertools import cycle, islice

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stages.lib.core.files import write_json
from stages.lib.core.paths import DEMONSTRATIONS, LIKELIHOODS, MODEL_REPORTS, MODELS
from stages.lib.core.schema import PROMPTINGS, Example, Likelihood, Problem
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.generations.answers import answer_store, follow_up_store, read_benchmarks
from stages.lib.generations.complete import generate_missing
from stages.lib.generations.requests import Request, Sampling
from stages.lib.grading.batch import grade_batch, submission, unmatched_answer
from stages.lib.inference.dequantize import (
    dequantize,
    engine_ready,
    has_kernel,
    load_quantized,
    memory_bytes,
)
from stages.lib.inference.pool import EnginePool
from stages.lib.inference.speed import measure_throughput
from stages.lib.models import loading
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.params.data import Prompts
from stages.lib.params.evaluation import Evaluate
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.prompts import tokenize
from stages.lib.prompts.few_shot import choose_demonstrations
from stages.lib.prompts.templates import closest_option, problem_prompt, question_prompt, turn
from stages.lib.runtime import console
from stages.lib.training.likelihood import negative_log_likelihoods


def main(name: str) -> None:
    """Evaluate a model."""
    wanted = load_params()
    settings, prompts, limits = wanted.evaluate, wanted.prompts, wanted.engine
    if name not in settings.models:
        raise ValueError(f"evaluate.models: {name!r}: expected one of {list(settings.models)}")
    folder = MODELS / name
    fingerprint = model_fingerprint(folder)
    tokenizer = loading.load_tokenizer(folder)
    benchmarks = read_benchmarks(settings.max_tokens)
    solved = held_out(benchmarks, settings.held_out)
    requests = first_requests(settings, benchmarks, settings.models[name], tokenizer, prompts)
    measured = None
    with ExitStack() as stack:
        runs = cache(lambda: stack.enter_context(engine_ready(folder)))
        engines = stack.enter_context(EnginePool(runs, limits))
        complete = partial(
            generate_missing,
            model=fingerprint,
            sampling=Sampling(temperature=0.0, top_p=1.0, seed=0, stop=tuple(prompts.stop)),
            settings=limits,
            load=engines.pool,
        )
        complete(answer_store(name), requests, doing=f"evaluate {name}")
        second = second_requests(name, benchmarks, tokenizer, wanted)
        complete(follow_up_store(name), second, doing=f"ask {name} for options")
        if has_kernel(folder):
            probe = islice(cycle(requests), settings.speed.prompts)
            measured = measure_throughput(
                engines.single(), [one.prompt for one in probe], settings.speed
            )

    model = load_quantized(folder)
    memory = memory_bytes(model)
    likelihoods = score(dequantize(model), name, solved, tokenizer, wanted)
    write_parquet(LIKELIHOODS / f"{name}.parquet", likelihoods)
    write_json(
        MODEL_REPORTS / f"{name}.json",
        {
            "held_out_tokens": sum(one.n_tokens for one in likelihoods),
            "weight_bytes": loading.weight_bytes(folder),
            "memory_bytes": memory,
            "speed": measured,
            "fingerprint": fingerprint,
        },
    )


def held_out(benchmarks: dict[str, list[Problem]], name: str) -> list[Problem]:
    """Return the problems of a benchmark that have worked solutions; ValueError if none has."""
    solved = [problem for problem in benchmarks[name] if problem.solution]
    if not solved:
        raise ValueError(
            f"evaluate.held_out: {name!r}: none of its {len(benchmarks[name])} problems has "
            "a worked solution: expected a benchmark whose problems have one"
        )
    return solved


def score(
    model: PreTrainedModel,
    name: str,
    problems: Sequence[Problem],
    tokenizer: PreTrainedTokenizerBase,
    wanted: Params,
) -> list[Likelihood]:
    """Return how likely a model finds the problems' worked solutions."""
    limit = wanted.engine.max_model_len
    solutions = [
        tokenize.tokenize(_example(problem), tokenizer, wanted.prompts, limit)
        for problem in problems
    ]
    with console.progress_bar(
        total=len(solutions), doing=f"score {name}", unit="solution"
    ) as progress:
        nats = negative_log_likelihoods(model, solutions, progress.update)
    return [
        Likelihood(problem.id, problem.source, loss, one.supervised)
        for problem, one, loss in zip(problems, solutions, nats, strict=True)
    ]


def first_requests(
    settings: Evaluate,
    benchmarks: dict[str, list[Problem]],
    all_shots: Sequence[int],
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
) -> list[Request]:
    """Return what asks a model every problem, with each number of in-context examples."""
    pool = read_parquet(DEMONSTRATIONS, Problem)
    return [
        Request(
            problem.id,
            prompting,
            shots,
            0,
            problem_prompt(
                tokenizer,
                prompts,
                problem,
                prompting,
                choose_demonstrations(problem, pool, shots, prompting),
            ),
            settings.max_tokens[benchmark],
        )
        for shots in all_shots
        for prompting in PROMPTINGS
        for benchmark, problems in benchmarks.items()
        for problem in problems
    ]


def second_requests(
    name: str,
    benchmarks: dict[str, list[Problem]],
    tokenizer: PreTrainedTokenizerBase,
    wanted: Params,
) -> list[Request]:
    """Return what asks a model for the closest option, where its answer is none of them."""
    limits = wanted.evaluate.max_tokens
    with_options = {
        problem.id: (problem, limits[benchmark])
        for benchmark, problems in benchmarks.items()
        for problem in problems
        if problem.kind == "choice"
    }
    if not with_options:
        return []
    rows = [row for row in answer_store(name).rows() if row.problem_id in with_options]
    answers = [submission(with_options[row.problem_id][0], row) for row in rows]
    requests = []
    for row, one, judged in zip(rows, answers, grade_batch(answers, wanted.sandbox), strict=True):
        about = unmatched_answer(one, judged)
        if about is not None:
            question = closest_option(about, one.choices)
            prompt = question_prompt(tokenizer, wanted.prompts, question)
            limit = with_options[row.problem_id][1]
            requests.append(Request(row.problem_id, row.prompting, row.shots, 0, prompt, limit))
    return requests


def _example(problem: Problem) -> Example:
    return Example(
        problem_id=problem.id,
        source=problem.source,
        prompting="cot",
        turns=[turn(problem, "cot")],
        repeats=1,
        weight=1.0,
    )


if __name__ == "__main__":
    console.run_stage("evaluate", main, item="name")
