"""Synthetic generations for measuring how the costs of ``score`` and ``analyze`` grow.

A question is a sum of three numbers; an answer is a CoT text of two steps that mostly ends
in "The answer is X.", and is more often right the easier its source is. All numbers are
integers without separators. Everything is determined by a seed.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import write_params
from stages.lib.core import paths
from stages.lib.core.files import write_json
from stages.lib.core.schema import (
    PROMPTINGS,
    Generation,
    Likelihood,
    Problem,
    Prompting,
    content_id,
)
from stages.lib.core.tables import write_parquet
from stages.lib.generations.answers import answer_store
from stages.lib.generations.store import Store
from stages.lib.params.compose import compose

SEED = 1
K = 4
SOURCES = 8
TOPICS = 4
LARGEST = 10_000
BLOCK = 50_000
UNSTATED, CUT = 0.03, 0.05
HELD_OUT = "ladder"
BENCHMARKS = (HELD_OUT, "gsm8k")
MODELS = ("base", "uniform", "adaptive", "adaptive-gptq4")

_CONF = Path(__file__).resolve().parents[1] / paths.CONF


def make_samples(folder: Path, rows: int) -> None:
    """Write the inputs of ``stages.score`` into ``folder``, with ``rows`` samples.

    Each problem has four, in the order in which a run writes them. Raises ValueError
    if ``rows`` is not a multiple of four.
    """
    if rows < K or rows % K:
        raise ValueError(f"rows: {rows}: expected a multiple of {K}")
    rng = np.random.default_rng(SEED)
    write_params(folder, compose(["sample.k=4"], _CONF))
    problems = _problems(rows // K, "train", rng)
    write_parquet(folder / paths.TRAIN_PROBLEMS, problems)
    store = Store(folder / paths.SAMPLES)
    for index in range(K):
        for block in _blocks(problems):
            store.append(_generate(block, "base", "cot", index, rng))


def make_answers(folder: Path, rows: int) -> None:
    """Write the inputs of ``stages.analyze`` into ``folder``, with ``rows`` answers.

    They are split over four models, one of them quantized, and two benchmarks, half with CoT
    and half with PoT. The PoT answers contain no program and count as unparsed, so that
    nothing is executed: a real run adds the costs that ``benchmarks/programs.py`` measures,
    once per distinct program. Raises ValueError if ``rows`` is not a multiple of eight, and
    for fewer than four problems.
    """
    share = len(MODELS) * len(PROMPTINGS)
    if rows < share * 2 * len(BENCHMARKS) or rows % share:
        raise ValueError(f"rows: {rows}: expected a multiple of {share}, at least {share * 4}")
    rng = np.random.default_rng(SEED)
    write_params(folder, _restrict(compose([], _CONF)))
    n = rows // share
    by_benchmark = {
        HELD_OUT: _problems(n // 2, HELD_OUT, rng),
        BENCHMARKS[1]: _problems(n - n // 2, BENCHMARKS[1], rng),
    }
    for name, problems in by_benchmark.items():
        write_parquet(folder / paths.EVAL_PROBLEMS / f"{name}.parquet", problems)
    for model in MODELS:
        _write_model(folder, model, by_benchmark, rng)


def _restrict(composed: dict[str, Any]) -> dict[str, Any]:
    """Give the default run ``MODELS``, ``BENCHMARKS`` and comparisons of these models alone."""
    held_out = composed["prepare"]["benchmarks"][HELD_OUT]
    other = {"source": BENCHMARKS[1], "size": "all"}
    composed["prepare"]["benchmarks"] = dict(zip(BENCHMARKS, (held_out, other), strict=True))
    composed["evaluate"] |= {
        "models": {model: [0] for model in MODELS},
        "prompting": list(PROMPTINGS),
        "max_tokens": dict.fromkeys(BENCHMARKS, 96),
    }
    compared = composed["analyze"]["compare"]
    composed["analyze"]["compare"] = [pair for pair in compared if set(pair) <= set(MODELS)]
    return composed


def _write_model(
    folder: Path, model: str, by_benchmark: dict[str, list[Problem]], rng: np.random.Generator
) -> None:
    store = Store(folder / answer_store(model).folder)
    problems = [problem for group in by_benchmark.values() for problem in group]
    for prompting in PROMPTINGS:
        for block in _blocks(problems):
            store.append(_generate(block, model, prompting, 0, rng))
    nats = rng.uniform(5, 25, len(by_benchmark[HELD_OUT]))
    write_parquet(
        folder / paths.LIKELIHOODS / f"{model}.parquet",
        [
            Likelihood(problem.id, problem.source, float(value), 25)
            for problem, value in zip(by_benchmark[HELD_OUT], nats, strict=True)
        ],
    )
    speeds = {"tokens_per_second": [600.0, 610.0, 620.0], "first_token_ms": [38.0, 38.5, 39.0]}
    write_json(
        folder / paths.MODEL_REPORTS / f"{model}.json",
        {
            "fingerprint": content_id(model),
            "weight_bytes": 269_060_552,
            "speed": speeds | {"tokens_per_second_single": [34.0, 34.5, 35.0]},
        },
    )
    write_json(
        folder / paths.LIKELIHOOD_REPORTS / f"{model}.json",
        {"held_out_tokens": 25 * len(by_benchmark[HELD_OUT]), "memory_bytes": 269_030_016},
    )


def _problems(n: int, prefix: str, rng: np.random.Generator) -> list[Problem]:
    """Return n problems, cycling through the sources; a source's index is its difficulty."""
    terms = rng.integers(1, LARGEST, size=(n, 3)).tolist()
    return [_problem(number, prefix, *numbers) for number, numbers in enumerate(terms)]


def _problem(number: int, prefix: str, a: int, b: int, c: int) -> Problem:
    source, total = f"{prefix}-{number % SOURCES}", a + b + c
    steps = f"First we add the two: {a} + {b} = {a + b}. With the rest it is {a + b} + {c}"
    question = f"Box {number} of {prefix} holds {a}, {b} and {c} nails. How many are that?"
    return Problem(
        id=content_id(question, str(total)),
        source=source,
        question=question,
        answer=str(total),
        kind="number",
        choices=[],
        solution=f"{steps} = {total}. The answer is {total}.",
        program=f"print({a} + {b} + {c})",
        level=number % SOURCES + 1,
        topic=f"topic {number % TOPICS}",
        template=source,
    )


def _blocks(problems: Sequence[Problem]) -> Iterator[Sequence[Problem]]:
    for start in range(0, len(problems), BLOCK):
        yield problems[start : start + BLOCK]


def _generate(
    problems: Sequence[Problem],
    model: str,
    prompting: Prompting,
    index: int,
    rng: np.random.Generator,
) -> list[Generation]:
    offsets = rng.integers(1, 10, len(problems)).tolist()
    chance, ending = rng.random((2, len(problems))).tolist()
    generations = []
    for number, problem in enumerate(problems):
        level = problem.level or 1
        wrong = offsets[number] if chance[number] < level / (SOURCES + 1) else 0
        text, reason = problem.solution, "stop"
        if wrong:
            text = text.replace(problem.answer, str(int(problem.answer) + wrong))
        if prompting == "pot" or ending[number] < UNSTATED:
            text = text.partition(" The answer")[0]
        elif ending[number] < CUT:
            text, reason = text[: len(text) // 2], "length"
        generations.append(
            Generation(
                problem_id=problem.id,
                model=content_id(model),
                prompting=prompting,
                shots=0,
                index=index,
                text=text,
                finish_reason=reason,
                n_tokens=len(text) // 2,
                prompt_sha=content_id(problem.id, prompting),
            )
        )
    return generations
