"""Rows for the tests of difficulty."""

from stages.lib.core.schema import Difficulty, Generation, Prompting


def difficulty(number: int, n_correct: int, n: int) -> Difficulty:
    rate = n_correct / n
    return Difficulty(
        problem_id=f"p{number}",
        prompting="cot",
        source="s",
        n=n,
        n_correct=n_correct,
        pass_rate=rate,
        posterior_mean=rate,
        low=rate,
        high=rate,
        level=5.0 - 4 * rate,
    )


def sample(
    problem_id: str,
    index: int,
    text: str,
    prompting: Prompting = "cot",
    finish_reason: str = "stop",
) -> Generation:
    return Generation(
        problem_id=problem_id,
        model="m",
        prompting=prompting,
        shots=1,
        index=index,
        text=text,
        finish_reason=finish_reason,
        n_tokens=5,
        prompt_sha="p",
    )
