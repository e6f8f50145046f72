"""Quantized models beside their originals."""

from math import exp
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.lib.analysis.models import families, has_difficulty, model_table
from stages.lib.analysis.quantization import (
    export_table,
    quantization_differences,
    quantization_table,
)
from stages.lib.core.paths import PASSAGES
from stages.lib.core.schema import Likelihood
from stages.lib.params.load import load_params
from stages.lib.params.quantization import Calibration, Gptq, Nf4, Quantize, Rtn
from tests.rows import make_answers

QUANTIZE = Quantize(
    seed=1,
    gptq={
        "a-q3": Gptq(parent="a", bits=3, calibrate_on=str(PASSAGES), calibration_seed=2),
    },
    rounded={"a-nf4": Nf4(method="nf4", parent="a", bits=4)},
    group_size=32,
    desc_act=False,
    act_group_aware=True,
    symmetric=True,
    damping=0.05,
    calibration=Calibration(examples=1, max_length=8),
)
SPEED = {
    "tokens_per_second": [8.0, 9.5, 9.0],
    "tokens_per_second_single": [3.0, 3.0, 3.0],
    "first_token_ms": [5.0, 4.0],
}
LOSSES = {"a": [10.0, 30.0, 20.0], "a-q3": [20.0, 60.0, 40.0], "a-nf4": [11.0, 31.0, 21.0]}


def likelihoods() -> dict[str, list[Likelihood]]:
    return {
        model: [Likelihood(str(n), "s", loss, 10) for n, loss in enumerate(losses)]
        for model, losses in LOSSES.items()
    }


@pytest.fixture
def models() -> pd.DataFrame:
    report: dict[str, Any] = {"weight_bytes": 8, "memory_bytes": 9, "speed": None}
    reports = {"a": report | {"speed": SPEED}, "a-q3": report, "a-nf4": report}
    return model_table(reports, likelihoods(), QUANTIZE, {}, level=0.95)


def test_the_table_of_models_says_what_each_was_made_of(models: pd.DataFrame) -> None:
    assert models["parent"].tolist() == ["", "a", "a"]
    assert models["method"].tolist() == ["", "gptq", "nf4"]
    assert models["calibration"].tolist() == ["", "text", ""]
    assert models["calibration_seed"].tolist() == ["", 2, ""]
    assert models["bits"].tolist() == [16, 3, 4]
    assert models["perplexity"].tolist() == pytest.approx([exp(2), exp(4), exp(2.1)], abs=1e-4)
    assert all(models["perplexity_low"] < models["perplexity"])
    for column, value in [
        ("tokens_per_second", 9.0),
        ("tokens_per_second_low", 8.0),
        ("tokens_per_second_high", 9.5),
        ("tokens_per_second_single_high", 3.0),
        ("first_token_ms", 4.5),
    ]:
        assert models[column].tolist() == [value, "no kernel", "no kernel"]


def test_the_ratio_is_of_the_same_solutions(models: pd.DataFrame) -> None:
    shares = {"n": 4, "accuracy": 0.5, "low": 0.2, "high": 0.8}
    accuracy = pd.DataFrame(
        [
            {"benchmark": "b", "system": system, "answer_mode": mode} | shares
            for system in ("a-4shot", "a-q3", "a-nf4")
            for mode in ("cot", "pot", "fallback")
        ]
    )
    systems = {"a": "a-4shot", "a-q3": "a-q3", "a-nf4": "a-nf4"}
    table = quantization_table(models, likelihoods(), accuracy, systems, level=0.95)
    assert table["system"].tolist() == ["a-4shot", "a-q3", "a-nf4"]
    original, q3, nf4 = table.to_dict("records")
    assert pd.isna(original["perplexity_ratio"])
    assert q3["perplexity_ratio"] == pytest.approx(exp(2), abs=1e-4)
    # Each solution lost the same, so nothing is uncertain about it.
    assert [nf4[f"perplexity_ratio{end}"] for end in ("", "_low", "_high")] == [
        pytest.approx(exp(0.1), abs=1e-4)
    ] * 3
    assert (nf4["b_cot"], nf4["b_cot_low"], nf4["b_pot_high"]) == (0.5, 0.2, 0.8)


def test_an_export_has_a_row_of_what_it_answered() -> None:
    speeds = {"tokens_per_second_single": [30.0, 34.0, 31.0], "first_token_ms": [120.0]}
    measured = {
        "model": "a",
        "precision": "int4",
        "bits": 4,
        "by_benchmark": {"b": {"n": 10, "right": 4}, "empty": {"n": 0, "right": 0}},
        "exported": {"bytes": 87, "accuracy": 0.4} | speeds,
        "vllm": {"bytes": 269, "accuracy": 0.5, "first_token_ms": [40.0]},
        "agreement": {"same_text": 0.1, "same_grade": 0.9},
        "vllm_with_itself": {"same_text": 0.9, "same_grade": 1.0},
    }
    (row,) = export_table([measured], level=0.95).to_dict("records")
    assert row["model"] == row["system"] == "a-onnx-int4"
    assert (row["parent"], row["method"], row["bits"], row["bytes"]) == ("a", "onnx-int4", 4, 87)
    assert row["tokens_per_second_single"] == 31.0
    assert (row["tokens_per_second_single_low"], row["first_token_ms"]) == (30.0, 120.0)
    assert (row["vllm_first_token_ms"], row["same_grade"]) == (40.0, 0.9)
    # Wilson's interval of 4 of 10.
    assert (row["b_n"], row["b_cot"]) == (10, 0.4)
    assert (row["b_cot_low"], row["b_cot_high"]) == pytest.approx((0.1682, 0.6873), abs=1e-4)
    assert row["empty_n"] == 0
    assert "empty_cot" not in row
    assert "perplexity" not in row


def test_differences_are_paired_by_benchmark_and_topic() -> None:
    even = np.arange(40) % 2 == 0
    topics = np.where(even, "even", "odd")
    frame = pd.concat(
        [
            make_answers("a", 40, topic=topics, cot=True, pot=True),
            make_answers("a-q3", 40, topic=topics, cot=even, pot=True),
        ]
    )
    table = quantization_differences(
        frame, [("a-q3", "a")], draws=200, level=0.95, rng=np.random.default_rng(1)
    ).set_index(["topic", "answer_mode"])
    assert table["n"].tolist() == [40, 40, 20, 20, 20, 20]
    assert table.loc[("all", "cot"), "difference"] == -0.5
    assert table.loc[("odd", "cot"), "difference"] == -1.0
    assert table.loc[("odd", "cot"), "high"] < 0
    assert table.loc[("even", "cot"), "difference"] == 0.0
    assert set(table.xs("pot", level="answer_mode")["difference"]) == {0}


def test_families_hold_the_quantized_models_of_an_original() -> None:
    models = {
        name: Rtn(method="rtn", parent=name[0], bits=4) for name in ("a-8", "b-4", "a-4", "c-4")
    }
    evaluated = ["base", "b", "a", "a-4", "a-8", "b-4", "c"]
    quantize = QUANTIZE.model_copy(update={"gptq": {}, "rounded": models})
    assert families(quantize, evaluated) == [["b", "b-4"], ["a", "a-8", "a-4"]]


@pytest.mark.parametrize(
    ("k", "definition", "has"),
    [(0, "floor", False), (0, "published", True), (4, "floor", True)],
)
def test_difficulty_is_measured_or_published(k: int, definition: str, has: bool) -> None:
    params = load_params()
    sample = params.sample.model_copy(update={"k": k})
    score = params.score.model_copy(update={"definition": definition})
    assert has_difficulty(sample, score) == has
