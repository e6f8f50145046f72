"""Made generations of any number, for measuring how the costs of score and analyze grow.

Questions are sums of three numbers; an answer is a CoT text of two steps that mostly ends
in "The answer is X.", right as often as its source is easy. All numbers are plain.
Everything follows from a seed.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stages.lib.core import paths
from stages.lib.core.files import write_json
from stages.lib.core.schema import Generation, Likelihood, Problem, Prompting, content_id
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
PROMPTINGS: tuple[Prompting, ...] = ("cot", "pot")

_CONF = Path(__file__).resolve().parents[1] / paths.CONF


def make_samples(folder: Path, rows: int) -> None:
    """Write into ``folder`` what ``stages.score`` reads, with ``rows`` samples.

    Each problem has four, in the order in which a run leaves them. Raises ValueError
    for rows that are no multiple of four.
    """
    if rows < K or rows % K:
        raise ValueError(f"rows: {rows}: expected a multiple of {K}")
    rng = np.random.default_rng(SEED)
    _write_params(folder, compose(["sample.k=4"], _CONF))
    problems = _problems(rows // K, "train", rng)
    write_parquet(folder / paths.TRAIN_PROBLEMS, problems)
    store = Store(folder / paths.SAMPLES)
    for index in range(K):
        for block in _blocks(problems):
            store.append(_answered(block, "base", "cot", index, rng))


def make_answers(folder: Path, rows: int) -> None:
    """Write into ``folder`` what ``stages.analyze`` reads, with ``rows`` answers.

    Four models, one of them quantized, share them over two benchmarks, half with CoT
    and half with PoT. The PoT answers hold no program and count as unparsed, so that
    nothing runs: each program of a real run would add what ``benchmarks/programs.py``
    measures, once for all answers that hold the same one. Raises ValueError for rows that
    are no multiple of eight, and for less than four problems.
    """
    share = len(MODELS) * len(PROMPTINGS)
    if rows < share * 2 * len(BENCHMARKS) or rows % share:
        raise ValueError(f"rows: {rows}: expected a multiple of {share}, at least {share * 4}")
    rng = np.random.default_rng(SEED)
    _write_params(folder, _of_models(compose([], _CONF)))
    n = rows // share
    asked = {
        HELD_OUT: _problems(n // 2, HELD_OUT, rng),
        BENCHMARKS[1]: _problems(n - n // 2, BENCHMARKS[1], rng),
    }
    for name, problems in asked.items():
        write_parquet(folder / paths.EVAL_PROBLEMS / f"{name}.parquet", problems)
    for model in MODELS:
        _write_model(folder, model, asked, rng)


def _of_models(composed: dict[str, Any]) -> dict[str, Any]:
    """Leave only ``MODELS`` and ``BENCHMARKS`` of the default run, and the pairs of them."""
    for group, name in (("prepare", "benchmarks"), ("evaluate", "max_tokens")):
        composed[group][name] = {one: composed[group][name][one] for one in BENCHMARKS}
    composed["evaluate"]["models"] = {model: [0] for model in MODELS}
    compared = composed["analyze"]["compare"]
    composed["analyze"]["compare"] = [pair for pair in compared if set(pair) <= set(MODELS)]
    return composed


def _write_params(folder: Path, composed: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(composed, sort_keys=False)
    (folder / paths.PARAMS).write_text(text, encoding="utf-8")


def _write_model(
    folder: Path, model: str, asked: dict[str, list[Problem]], rng: np.random.Generator
) -> None:
    store = Store(folder / answer_store(model).folder)
    problems = [problem for members in asked.values() for problem in members]
    for prompting in PROMPTINGS:
        for block in _blocks(problems):
            store.append(_answered(block, model, prompting, 0, rng))
    nats = rng.uniform(5, 25, len(asked[HELD_OUT]))
    write_parquet(
        folder / paths.LIKELIHOODS / f"{model}.parquet",
        [
            Likelihood(problem.id, problem.source, float(value), 25)
            for problem, value in zip(asked[HELD_OUT], nats, strict=True)
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
        {"held_out_tokens": 25 * len(asked[HELD_OUT]), "memory_bytes": 269_030_016},
    )


def _problems(n: int, prefix: str, rng: np.random.Generator) -> list[Problem]:
    """Return n problems in turn of each source; a source's numbers say how hard it is."""
    parts = rng.integers(1, LARGEST, size=(n, 3)).tolist()
    return [_problem(number, prefix, *three) for number, three in enumerate(parts)]


def _problem(number: int, prefix: str, a: int, b: int, c: int) -> Problem:
    source = f"{prefix}-{number % SOURCES}"
    question = f"Box {number} of {prefix} holds {a}, {b} and {c} nails. How many are that?"
    return Problem(
        id=content_id(question, str(a + b + c)),
        source=source,
        question=question,
        answer=str(a + b + c),
        kind="number",
        choices=[],
        solution=_text(a, b, c, a + b + c),
        program=f"print({a} + {b} + {c})",
        level=number % SOURCES + 1,
        topic=f"topic {number % TOPICS}",
        template=source,
    )


def _text(a: int, b: int, c: int, said: int) -> str:
    steps = (
        f"First we add the two: {a} + {b} = {a + b}. With the rest it is {a + b} + {c} = {said}."
    )
    return f"{steps} The answer is {said}."


def _blocks(problems: Sequence[Problem]) -> Iterator[Sequence[Problem]]:
    for start in range(0, len(problems), BLOCK):
        yield problems[start : start + BLOCK]


def _answered(
    problems: Sequence[Problem],
    model: str,
    prompting: Prompting,
    index: int,
    rng: np.random.Generator,
) -> list[Generation]:
    off = rng.integers(1, 10, len(problems)).tolist()
    chance, kind = rng.random((2, len(problems))).tolist()
    made = []
    for number, problem in enumerate(problems):
        level = problem.level or 1
        wrong = off[number] if chance[number] < level / (SOURCES + 1) else 0
        text, reason = problem.solution, "stop"
        if wrong:
            text = text.replace(problem.answer, str(int(problem.answer) + wrong))
        if prompting == "pot" or kind[number] < UNSTATED:
            text = text.partition(" The answer")[0]
        elif kind[number] < CUT:
            text, reason = text[: len(text) // 2], "length"
        made.append(
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
    return made
