"""Forecasts: tokens by hand, and which lines there are."""

from typing import Any

import pytest

from stages.lib.core.paths import CONF
from stages.lib.costs import formulas
from stages.lib.costs.forecast import GIB, StageCost, forecast, lesson, rows_of, total
from stages.lib.params.compose import compose
from stages.lib.params.data import RowsSource
from stages.lib.params.load import parse_params
from stages.lib.params.root import Params
from stages.lib.provenance.catalog import MODELS, SMOLLM2

SHAPE = SMOLLM2.shape
COMMIT = "0123456789" * 4


def composed(*overrides: str) -> Params:
    return parse_params(compose(overrides, CONF), where="test")


def lines(wanted: Params, shape: Any = SHAPE) -> dict[tuple[str, str], StageCost]:
    return {(one.stage, one.item): one for one in forecast(wanted, shape, 80)}


def test_every_model_that_is_made_or_asked_has_a_line() -> None:
    wanted = composed("recipe=grpo")
    made = [("train", one) for one in ("uniform", "adaptive", "control")]
    made += [("grpo", "uniform-grpo")]
    made += [("quantize", one) for one in wanted.quantize.models]
    made += [("evaluate", one) for one in wanted.evaluate.models]
    assert list(lines(wanted)) == [("model", "base"), ("sample", "base"), *made]


def test_tokens_are_counted_from_the_parameters() -> None:
    found = lines(composed("recipe=grpo"))
    assert found["sample", "base"].tokens == 14 * 28 * 4 * 64
    # 15 tokens of a question, 20 of the template and 29 of an answer, which are supervised.
    assert found["train", "uniform"].tokens == pytest.approx(14 * 896 * (15 + 20 + 29) / 29)
    assert found["grpo", "uniform-grpo"].tokens == 20 * 12 * 4 * (35 + 48)
    assert found["quantize", "adaptive-gptq4"].tokens == 64 * 512
    once = (280 + 60 + 60) * 2 * 96
    assert found["evaluate", "uniform"].tokens == once
    assert found["evaluate", "base"].tokens == 2 * once


def test_disks_keep_models_and_pass_checkpoints_and_unpacked_copies() -> None:
    wanted = composed("recipe=quantization")
    found = lines(wanted)
    n = SHAPE.parameters()
    assert found["model", "base"].disk == 2 * n
    assert (found["train", "control"].disk, found["train", "control"].passing) == (2 * n, 14 * n)
    gptq4 = wanted.quantize.models["adaptive-gptq4"]
    size = formulas.quantized_bytes(SHAPE, gptq4, 64)
    assert found["quantize", "adaptive-gptq4"].disk == size
    passing = {bits: found["evaluate", f"adaptive-gptq{bits}"].passing for bits in (2, 3, 4, 8)}
    assert passing == {2: 2 * n, 3: 2 * n, 4: 0, 8: 0}
    assert found["evaluate", "adaptive-nf4"].passing == 2 * n
    # The Hub's cache has a copy of its own.
    hub = composed("recipe=ladder", f"model.base=hub:EleutherAI/llemma_7b@{COMMIT}")
    llemma = MODELS["EleutherAI/llemma_7b"].shape
    assert lines(hub, llemma)["model", "base"].disk == 4 * llemma.parameters()


def test_calibration_alone_costs_gptqs_hours() -> None:
    found = lines(composed("recipe=quantization"))
    hours = 20.9 / 60 / 13e9 * SHAPE.parameters()
    assert found["quantize", "adaptive-gptq3"].hours == pytest.approx(hours)
    assert found["quantize", "adaptive-rtn3"].hours == 0


def test_more_rounds_count_at_their_most() -> None:
    sequential = "sample.sequential={width: 0.1, interval: 0.9, most: 16}"
    found = lines(composed("recipe=ladder", sequential, "sample.prompting=[cot,pot]"))
    assert found["sample", "base"].tokens == 14 * 28 * (16 + 4) * 64


def test_micro_batches_and_processes_make_training_smaller() -> None:
    one = lines(composed("recipe=ladder", "train.tokens_per_step=8960"))
    more = lines(composed("recipe=ladder", "train.tokens_per_step=8960", "train.micro_batches=10"))
    first, second = one["train", "uniform"], more["train", "uniform"]
    assert first.gpu_gib > 4 * second.gpu_gib
    assert first.tokens == second.tokens
    launch = "train.launch={strategy: zero3, processes: 8}"
    shape = MODELS["Qwen/Qwen2.5-7B"].shape
    alone, shared = (
        lines(composed("recipe=ladder", "train.micro_batches=8", *more), shape)["train", "uniform"]
        for more in ((), (launch,))
    )
    assert alone.gpu_gib == pytest.approx(20 * shape.parameters() / GIB)
    assert shared.gpu_gib < alone.gpu_gib / 5


def test_engines_share_the_hours_and_tensor_parallelism_the_memory() -> None:
    shape = MODELS["Qwen/Qwen2.5-7B"].shape
    one, engines, split = (
        lines(composed("recipe=ladder", *more), shape)["evaluate", "base"]
        for more in ((), ("engine.engines=4",), ("engine.tensor_parallel=2",))
    )
    assert (one.gpus, engines.gpus, split.gpus) == (1, 4, 2)
    assert (one.clock, engines.hours) == (one.hours, one.hours)
    assert engines.clock == pytest.approx(one.clock / 4)
    assert engines.gpu_gib == one.gpu_gib
    assert split.gpu_gib == pytest.approx(one.gpu_gib / 2)
    assert split.clock == pytest.approx(split.hours / 2)
    # Learning has processes of its own, which do not follow from these.
    found = lines(composed("recipe=ladder", "engine.engines=4"), shape)["train", "uniform"]
    assert (found.gpus, found.clock) == (1, found.hours)


def test_conversations_need_no_samples_and_are_counted_by_their_own_parts() -> None:
    raw = compose(["recipe=ladder", "sample.k=0", "train.steps=10"], CONF)
    told = {"source": "rows", "license": "MIT", "exclude": [], "target": "conversations"}
    orca = f"hub:microsoft/orca-math-word-problems-200k@{COMMIT}/*.parquet"
    raw["prepare"]["train"] += [
        told | {"name": "a", "format": "orca-math", "path": orca, "fraction": 1.0},
        told | {"name": "b", "format": "gsm8k", "path": "ladder:3", "fraction": 1.0},
    ]
    raw["weigh"]["arms"] = {
        "talk": {"strategy": "conversations", "sources": ["a"]},
        "uniform": {"strategy": "uniform"},
    }
    raw["quantize"]["models"] = {}
    raw["evaluate"]["models"] = {"base": [0], "talk": [0]}
    raw["analyze"]["compare"] = [["talk", "base"]]
    found = lines(parse_params(raw, where="test"))
    assert ("sample", "base") not in found
    assert found["train", "talk"].tokens == pytest.approx(8960 * (70 + 20 + 280) / 280)
    assert found["train", "uniform"].tokens == pytest.approx(8960 * (15 + 20 + 29) / 29)


def test_rows_and_tokens_of_parts() -> None:
    told = {"source": "rows", "license": "mit", "exclude": [], "target": "conversations"}
    written = RowsSource(name="a", format="gsm8k", path="ladder:3", fraction=0.5, **told)
    orca = f"hub:microsoft/orca-math-word-problems-200k@{COMMIT}/*.parquet"
    published = RowsSource(name="b", format="orca-math", path=orca, fraction=0.25, **told)
    unknown = RowsSource(name="c", format="math", path="mine.jsonl", fraction=1.0, **told)
    assert [rows_of(part, 14) for part in (written, published, unknown)] == [21, 50_009, 0]
    mean = lesson([written, published], 14)
    assert mean.prompt == pytest.approx((21 * 15 + 50_009 * 70) / 50_030 + 20)
    assert mean.answer == pytest.approx((21 * 29 + 50_009 * 280) / 50_030)


def test_a_total_sums_what_adds_up_and_takes_the_largest_of_the_rest() -> None:
    two = [StageCost("a", "x", 1, 2, 3, 4, 5, 1, 5), StageCost("b", "y", 10, 1, 30, 2, 50, 4, 12.5)]
    assert total(two) == StageCost("all", "", 11, 2, 33, 4, 55, 4, 17.5)
