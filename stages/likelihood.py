"""Score the worked solutions of the held-out benchmark under a model.

Reads a model of ``data/models/`` and the benchmark ``evaluate.held_out``. Writes the negative
log-likelihood of each solution to ``data/likelihoods/<model>.parquet``, and to
``reports/likelihoods/<model>.json`` the number of their tokens and the memory that the model's
weights take as they are saved, quantized ones included.

    python -m stages.likelihood MODEL
"""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from stages.lib.core.files import write_json
from stages.lib.core.paths import LIKELIHOOD_REPORTS, LIKELIHOODS, MODELS
from stages.lib.core.schema import Example, Likelihood, Problem
from stages.lib.core.tables import write_parquet
from stages.lib.generations.answers import read_benchmarks
from stages.lib.inference.dequantize import dequantize, load_quantized, memory_bytes
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.loading import load_tokenizer
from stages.lib.models.precision import compute_dtype
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.prompts.templates import as_turn
from stages.lib.prompts.tokenize import TokenizedExample, describe_length, tokenize
from stages.lib.runtime import console
from stages.lib.training.likelihood import negative_log_likelihoods


def main(name: str) -> None:
    """Score the solutions under a model."""
    params = load_params()
    held_out = params.evaluate.held_out
    folder = MODELS / name
    model_fingerprint(folder)  # raises an error if the weights are damaged
    problems = with_solution(held_out, read_benchmarks([held_out])[held_out])
    solutions = tokenize_solutions(problems, name, params)
    model = load_quantized(folder, "cuda:0" if torch.cuda.is_available() else "cpu")
    memory = memory_bytes(model)
    # transformers declares a wrapper's signature for ``to``, which hides its arguments.
    plain = dequantize(model).to(compute_dtype())  # pyright: ignore[reportArgumentType]
    likelihoods = score(plain, name, problems, solutions)
    write_parquet(LIKELIHOODS / f"{name}.parquet", likelihoods)
    write_json(
        LIKELIHOOD_REPORTS / f"{name}.json",
        {
            "held_out_tokens": sum(solution.supervised for solution in solutions),
            "memory_bytes": memory,
        },
    )


def with_solution(benchmark: str, problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems that have a worked solution; ValueError if none has."""
    solved = [problem for problem in problems if problem.solution]
    if not solved:
        raise ValueError(
            f"evaluate.held_out: {benchmark!r}: none of its {len(problems)} problems has a "
            "worked solution: expected a benchmark whose problems have one"
        )
    return solved


def tokenize_solutions(
    problems: Sequence[Problem], name: str, params: Params
) -> list[TokenizedExample]:
    """Return each problem with its solution as tokens; ValueError if they are too many."""
    tokenizer = load_tokenizer(MODELS / name)
    limit = params.engine.max_model_len
    solutions = []
    for problem in problems:
        example = Example(
            problem_id=problem.id,
            source=problem.source,
            prompting="cot",
            turns=[as_turn(problem, "cot")],
            repeats=1,
            weight=1.0,
        )
        tokens = tokenize(example, tokenizer, params.prompts)
        if len(tokens) > limit:
            length = describe_length(example, len(tokens))
            raise ValueError(f"engine.max_model_len: {limit}: {length}")
        solutions.append(tokens)
    return solutions


def score(
    model: PreTrainedModel,
    name: str,
    problems: Sequence[Problem],
    solutions: Sequence[TokenizedExample],
) -> list[Likelihood]:
    """Return the negative log-likelihood of every problem's solution."""
    with console.progress_bar(
        total=len(solutions), desc=f"score {name}", unit="solution"
    ) as progress:
        losses = negative_log_likelihoods(model, solutions, progress.update)
    return [
        Likelihood(problem.id, problem.source, loss, solution.supervised)
        for problem, solution, loss in zip(problems, solutions, losses, strict=True)
    ]


if __name__ == "__main__":
    console.run_stage("likelihood", main, item="name")
