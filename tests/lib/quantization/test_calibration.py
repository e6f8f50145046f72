"""Which examples GPTQ sees."""

import numpy as np
import pytest

from stages.lib.core.schema import Example, Turn
from stages.lib.data.packaged import passages
from stages.lib.quantization.calibration import sample_calibration


def example(problem: str, repeats: int = 1) -> Example:
    return Example(
        problem_id=problem,
        source="s",
        prompting="cot",
        turns=[Turn("q", "r")],
        repeats=repeats,
        weight=1.0,
    )


EXAMPLES = [example("never", 0), example("easy"), example("half"), example("hard", 3)]


def drawn(n: int, seed: int, rates: dict[str, float] | None = None) -> list[str]:
    return [
        one.problem_id
        for one in sample_calibration(EXAMPLES, n, np.random.default_rng(seed), rates)
    ]


def test_what_is_taught_is_drawn_once_as_it_is_repeated() -> None:
    assert sorted(drawn(10, 1)) == ["easy", "half", "hard"]
    firsts = [drawn(1, seed)[0] for seed in range(500)]
    # One, one and three of five.
    assert 260 < firsts.count("hard") < 340
    assert all(60 < firsts.count(name) < 140 for name in ("easy", "half"))


def test_hard_problems_are_drawn_as_they_are_failed() -> None:
    rates = {"never": 0.5, "easy": 1.0, "half": 0.5, "hard": 0.5}
    assert sorted(drawn(10, 1, rates)) == ["half", "hard"]
    firsts = [drawn(1, seed, rates | {"half": 0.25})[0] for seed in range(400)]
    # 0.75 once beside 0.5 thrice.
    assert 225 < firsts.count("hard") < 305


@pytest.mark.parametrize("examples", [[], EXAMPLES[:1], EXAMPLES])
def test_without_an_example_to_draw_the_parameter_is_named(examples: list[Example]) -> None:
    rates = dict.fromkeys(["never", "easy", "half", "hard"], 1.0)
    with pytest.raises(ValueError, match=r"quantize\.calibration: expected an example"):
        sample_calibration(examples, 1, np.random.default_rng(1), rates)


def test_passages_are_prose() -> None:
    texts = passages()
    assert len(texts) == len(set(texts)) > 2_000
    assert not any("\nQuestion:" in text for text in texts)
    assert min(map(len, texts)) > 50
