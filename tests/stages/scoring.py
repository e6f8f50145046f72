"""Problems of three sources, and samples of which the first few per source are correct."""

from collections.abc import Mapping

from stages import score
from stages.lib.core.paths import SAMPLES, TRAIN_PROBLEMS
from stages.lib.core.schema import Generation, Problem, Prompting
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.generations.store import Store
from tests.rows import make_generation, make_problem

N_PER_SOURCE = 6
N_CORRECT = {"sum-1-digit": 4, "fraction": 2, "product-2x2": 0}


def write_problems() -> None:
    write_parquet(TRAIN_PROBLEMS, [problem(s, i) for s in N_CORRECT for i in range(N_PER_SOURCE)])


def problem(source: str, number: int) -> Problem:
    answer = str(number + 2)
    return make_problem(
        f"{source}-{number}",
        source=source,
        question=f"What is {number} + 2?",
        answer=answer,
        solution=f"It is {number} + 2. The answer is {answer}.",
        program=f"print({number} + 2)",
        level=None,
    )


def store_samples(n_correct: Mapping[str, int], k: int, prompting: Prompting = "cot") -> None:
    """Store k samples per problem, of which the first ``n_correct[source]`` are correct."""
    rows = [
        sample(row, index, row.answer if index < n_correct[row.source] else "99999", prompting)
        for row in read_parquet(TRAIN_PROBLEMS, Problem)
        for index in range(k)
    ]
    Store(SAMPLES).append(rows)


def sample(row: Problem, index: int, answer: str, prompting: Prompting = "cot") -> Generation:
    text = f"{index} tries. The answer is {answer}."
    return make_generation(
        row.id,
        prompting,
        index=index,
        text=f"```python\nprint({answer!r})\n```" if prompting == "pot" else text,
    )


def score_samples() -> None:
    """Write problems and four samples each, and score them."""
    write_problems()
    store_samples(N_CORRECT, k=4)
    score.main()
