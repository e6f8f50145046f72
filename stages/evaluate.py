"""Answer every benchmark problem greedily, and measure perplexity and speed.

Where an answer is none of a problem's options, the model is asked once for the closest.
Reads a model of ``data/models/`` and the benchmarks. Writes raw generations to
``data/answers/<model>/``, the perplexity of held-out worked solutions and the size of
the weights to ``reports/models/<model>.json``, and tokens per second to
``reports/timings/``.

    python -m stages.evaluate MODEL
"""

from collections.abc import Sequence
from functools import cache, partial
from math import exp

from transformers import PreTrainedTokenizerBase

from stages.lib import console, models, packing, params
from stages.lib.answers import answer_store, read_benchmarks, reply_store
from stages.lib.files import write_json
from stages.lib.generation import Engine, Request, Sampling, fill, measure_speed
from stages.lib.judging import answer_to, judge, said
from stages.lib.params.data import Prompts
from stages.lib.params.results import Evaluate
from stages.lib.paths import DEMONSTRATIONS, MODEL_REPORTS, MODELS
from stages.lib.perplexity import negative_log_likelihood
from stages.lib.prompts import (
    choose_demonstrations,
    closest_option,
    problem_prompt,
    question_prompt,
    turn,
)
from stages.lib.quantization import load_for_scoring
from stages.lib.records import PROMPTINGS, Example, Problem, read_parquet


def main(name: str) -> dict[str, float]:
    """Evaluate a model; return its generation speeds."""
    wanted = params.load()
    settings, prompts, limits = wanted.evaluate, wanted.prompts, wanted.engine
    if name not in settings.models:
        raise ValueError(f"evaluate.models: {name!r}: expected one of {list(settings.models)}")
    folder = MODELS / name
    fingerprint = models.fingerprint(folder)
    tokenizer = models.load_tokenizer(folder)
    benchmarks = read_benchmarks(settings.max_tokens)
    load = cache(lambda: Engine(folder, limits))
    complete = partial(
        fill,
        model=fingerprint,
        sampling=Sampling(temperature=0.0, top_p=1.0, seed=0, stop=tuple(prompts.stop)),
        settings=limits,
        load=load,
    )
    requests = first_requests(settings, benchmarks, settings.models[name], tokenizer, prompts)
    complete(answer_store(name), requests, doing=f"evaluate {name}")
    second = second_requests(name, benchmarks, tokenizer, wanted)
    complete(reply_store(name), second, doing=f"ask {name} for options")

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
            "fingerprint": fingerprint,
        },
    )
    return speeds


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
                tokenizer, prompts, problem, prompting, choose_demonstrations(problem, pool, shots)
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
    wanted: params.Params,
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
    answers = [answer_to(with_options[row.problem_id][0], row) for row in rows]
    requests = []
    for row, one, judged in zip(rows, answers, judge(answers, wanted.sandbox), strict=True):
        about = said(one, judged)
        if about is not None:
            question = closest_option(about, one.choices)
            prompt = question_prompt(tokenizer, wanted.prompts, question)
            limit = with_options[row.problem_id][1]
            requests.append(Request(row.problem_id, row.prompting, row.shots, 0, prompt, limit))
    return requests


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
