"""The examples that GPTQ is calibrated on."""

import numpy as np
import pytest

from stages.lib.core.schema import Example
from stages.lib.quantization.calibration import sample_calibration
from tests.rows import make_example

EXAMPLES = [
    make_example(name, repeats=repeats)
    for name, repeats in (("never", 0), ("easy", 1), ("half", 1), ("hard", 3))
]


def drawn(n: int, seed: int) -> list[str]:
    rows = sample_calibration(EXAMPLES, n, np.random.default_rng(seed))
    return [row.problem_id for row in rows]


def test_chances_are_proportional_to_repeats_and_nothing_is_drawn_twice() -> None:
    assert sorted(drawn(10, 1)) == ["easy", "half", "hard"]
    firsts = [drawn(1, seed)[0] for seed in range(500)]
    # One, one and three of five.
    assert 260 < firsts.count("hard") < 340
    assert all(60 < firsts.count(name) < 140 for name in ("easy", "half"))


@pytest.mark.parametrize("examples", [[], EXAMPLES[:1]])
def test_if_no_example_can_be_drawn_the_parameter_is_named(examples: list[Example]) -> None:
    with pytest.raises(ValueError, match=r"quantize\.calibration: expected a training example"):
        sample_calibration(examples, 1, np.random.default_rng(1))
