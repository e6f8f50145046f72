"""The numbers that `dvc metrics diff` compares."""

from typing import Any

import pandas as pd

from stages.lib.analysis.headline import headline, study_numbers


def accuracies(benchmark: str, **by_mode: float) -> list[dict[str, Any]]:
    return [
        {"benchmark": benchmark, "system": "a", "answer_mode": mode, "accuracy": value}
        for mode, value in by_mode.items()
    ]


def difference(benchmark: str, second: str, value: float) -> dict[str, Any]:
    pair = {"benchmark": benchmark, "first": "a", "second": second, "answer_mode": "cot"}
    return pair | {"difference": value, "low": value - 0.1, "high": value + 0.1}


def kept(calibration: str, mode: str, value: float | None) -> dict[str, Any]:
    way = {"original": "a", "method": "gptq", "bits": 4, "calibration": calibration}
    return way | {"benchmark": "ladder", "answer_mode": mode, "retention": value}


def test_numbers_are_those_of_the_held_out_benchmark_beside_the_mean_of_the_others() -> None:
    tables = {
        "accuracy": accuracies("ladder", cot=0.9, pot=0.8, both=0.7)
        + accuracies("gsm8k", cot=0.5)
        + accuracies("math500", cot=0.25),
        "comparisons": [
            difference("ladder", "b", 0.25),
            difference("ladder", "a-gptq4", 0.5),
            difference("gsm8k", "b", 0.125),
        ],
        "retention": [
            kept("training", "cot", 0.97),
            kept("text", "pot", 0.5),
            # The original solves nothing.
            kept("training", "pot", None),
        ],
        "quantization": [
            {"model": "a", "perplexity_ratio": None},
            {"model": "a-gptq4", "perplexity_ratio": 1.0625},
        ],
        "sampled": [
            {"benchmark": benchmark, "system": "a", "answer_mode": "cot", "measure": "maj"}
            | {"k": k, "value": value}
            for benchmark, k, value in (("ladder", 8, 0.625), ("gsm8k", 8, 0.5))
        ],
    }
    frames = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    assert headline(frames, [["a", "b"]], "ladder") == {
        "accuracy": {"a": {"cot": 0.9, "pot": 0.8}},
        "accuracy_others": {"a": {"cot": 0.375}},
        "difference": {"a_minus_b": {"cot": {"difference": 0.25, "low": 0.15, "high": 0.35}}},
        "retention": {"a-gptq4": {"cot": 0.97}, "a-gptq4-text": {"pot": 0.5}},
        "sampled": {"a": {"cot": {"maj_at_8": 0.625}}},
        "perplexity_ratio": {"a-gptq4": 1.0625},
    }
    one = {name: frames[name] for name in ("accuracy", "comparisons")}
    assert set(headline(one, [], "ladder")) == {"accuracy", "accuracy_others"}


def test_a_study_gives_its_differences_and_the_spread_of_its_runs() -> None:
    values = {"difference": "0.05", "low": "0.03", "high": "0.07"}
    endpoints = [
        {"first": "a", "second": second, "stratum": stratum} | values
        for second, stratum in (("b", "hard"), ("b", "easy"), ("c", "hard"))
    ]
    arms = [
        {"system": name, "stratum": stratum, "run_sd": "0.02"}
        for name in "ab"
        for stratum in ("hard", "easy")
    ]
    numbers = {name: float(value) for name, value in values.items()}
    assert study_numbers(endpoints, arms) == {
        "a_minus_b": {"hard": numbers, "easy": numbers},
        "a_minus_c": {"hard": numbers},
        "run_sd": {"a": 0.02, "b": 0.02},
    }
