"""The share of accuracy that quantized models keep, by hand and over simulated data."""

import numpy as np
import pandas as pd
import pytest

from stages.lib.analysis.retention import retention, retention_table
from stages.lib.core.paths import PASSAGES
from stages.lib.params.quantization import Gptq, Rtn
from tests.rows import make_answers


def test_the_ratio_and_its_interval_by_hand() -> None:
    original = np.repeat([1, 0], [30, 10])
    quantized = original.copy()
    quantized[:12] = 0
    kept = retention([quantized], original, ["s"] * 40, level=0.95)
    assert kept.ratio == pytest.approx(0.6)
    # x - r y is -0.6 on 12 problems, 0.4 on 18 and 0 on 10: sum of squares 7.2, mean 0.
    half = 2.0227 * np.sqrt(7.2 / 39 / 40) / 0.75
    assert (kept.low, kept.high) == pytest.approx((0.6 - half, 0.6 + half), abs=1e-4)


def test_few_differences_leave_an_interval_and_not_a_point() -> None:
    original = np.repeat([1, 0], [30, 10])
    kept = retention([original], original, ["s"] * 40, level=0.95)
    assert kept.ratio == 1
    assert kept.low < 1 < kept.high


@pytest.mark.parametrize(
    ("quantized", "original", "message"),
    [
        ([[0, 0]], [0, 0], "no problem is solved: expected an accuracy above 0"),
        ([[1, 1]], [1], r"\(1, 2\), \(1,\): expected \(R, n\) and \(n,\)"),
    ],
)
def test_what_has_no_retention_is_named(
    quantized: list[list[int]], original: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        retention(quantized, original, ["s"] * len(original), level=0.95)


@pytest.mark.parametrize(("draws", "spread"), [(1, 0.0), (3, 0.0), (3, 0.04)])
def test_the_interval_holds_the_true_retention_as_often_as_it_says(
    draws: int, spread: float
) -> None:
    """Eleven strata of 60 problems, as in recipe=quantization; a draw moves all chances."""
    rng = np.random.default_rng(4)
    rates = np.repeat(np.linspace(0.15, 0.95, 11), 60)
    strata, true, held = np.repeat(np.arange(11), 60), 0.8, 0
    repetitions = 400
    for _ in range(repetitions):
        original = rng.random(660) < rates
        # What the original solves is kept with chance 0.75, what it fails is solved with the
        # chance that makes the ratio of the means 0.8.
        gained = (true - 0.75) * rates.mean() / (1 - rates.mean())
        shift = rng.normal(0, spread, draws)[:, None]
        chance = np.where(original, 0.75 + shift, gained)
        kept = retention(rng.random((draws, 660)) < chance, original, strata, level=0.95)
        held += kept.low <= true <= kept.high
    # Three standard errors of 400 repetitions are 0.033.
    assert 0.917 < held / repetitions <= 1


def test_models_that_differ_in_their_calibration_seed_are_draws_of_one_way() -> None:
    def gptq(seed: int, texts: str = "data/training/a.parquet") -> Gptq:
        return Gptq(parent="a", bits=4, calibrate_on=texts, calibration_seed=seed)

    models = {
        "q": gptq(1),
        "q2": gptq(2),
        "q3": gptq(3),
        "t": gptq(1, str(PASSAGES)),
        "t2": gptq(2, str(PASSAGES)),
    }
    models |= {"r": Rtn(parent="a", method="rtn", bits=4)}
    solved = {"a": 40, "q": 30, "q2": 20, "q3": 10, "t": 20, "t2": 40, "r": 10}
    frame = pd.concat(
        [make_answers(name, 50, cot=np.arange(50) < n, pot=False) for name, n in solved.items()]
    )
    table = retention_table(frame, models, {name: name for name in solved}, level=0.95)
    # With programs the original solves nothing.
    assert table.loc[table["answer_mode"] == "pot", "retention"].isna().all()
    table = table.loc[table["answer_mode"] == "cot"]
    columns = ["method", "calibration", "draws", "n", "original_accuracy", "retention"]
    assert table[columns].to_numpy().tolist() == [
        ["gptq", "training", 3, 50, 0.8, 0.5],
        ["gptq", "text", 1, 50, 0.8, 0.5],
        ["rtn", "", 1, 50, 0.8, 0.25],
    ]
    assert max(table["low"] - table["retention"]) < 0
