"""Estimates of stages: tokens by hand, memory and disk by the formulas."""

from typing import Any

import pytest

from stages.lib.core.paths import CONF
from stages.lib.costs import formulas
from stages.lib.costs.flops import training_flops
from stages.lib.costs.forecast import (
    GIB,
    StageCost,
    estimate_stages,
    host_bytes,
    sum_costs,
)
from stages.lib.costs.sources import count_rows, mean_tokens
from stages.lib.params.compose import compose
from stages.lib.params.data import RowsSource
from stages.lib.params.load import parse_params
from stages.lib.params.quantization import quantized_models
from stages.lib.params.root import Params
from stages.lib.provenance.catalog import MODELS, SMOLLM2
from tests.arms import ROWS

SHAPE = SMOLLM2.shape
QWEN = MODELS["Qwen/Qwen2.5-7B"].shape
COMMIT = "0123456789" * 4


def composed(*overrides: str) -> Params:
    return parse_params(compose(overrides, CONF), where="test")


def costs_of(params: Params, shape: Any = SHAPE) -> dict[tuple[str, str], StageCost]:
    return {(cost.stage, cost.item): cost for cost in estimate_stages(params, {"base": shape}, 80)}


def test_every_item_of_every_stage_has_a_row_and_tokens_follow_from_the_parameters() -> None:
    params = composed("recipe=grpo")
    costs = costs_of(params)
    items = [("model", "base"), ("sample", "base")]
    items += [("train", arm) for arm in ("uniform", "adaptive", "mastery")]
    items += [("replay", "dealt"), ("grpo", "uniform-grpo")]
    items += [("quantize", name) for name in params.quantize.gptq]
    items += [("round", name) for name in params.quantize.rounded]
    items += [("evaluate", name) for name in params.evaluate.models]
    assert list(costs) == items
    assert costs["sample", "base"].tokens == 8 * 28 * 4 * 64
    # 15 tokens of a question, 20 of the template and 29 of an answer, which are supervised.
    assert costs["train", "uniform"].tokens == pytest.approx(24 * 448 * (15 + 20 + 29) / 29)
    assert costs["grpo", "uniform-grpo"].tokens == 20 * 12 * 4 * (35 + 48)
    assert costs["quantize", "adaptive-gptq4"].tokens == 64 * 512
    once = 160 * 96
    assert costs["evaluate", "uniform"].tokens == once
    assert costs["evaluate", "base"].tokens == 2 * once
    sampling = "evaluate.sampling={samples: 3, temperature: 1.0, top_p: 1.0, seed: 1}"
    with_samples = costs_of(composed("recipe=grpo", sampling))
    assert with_samples["evaluate", "base"].tokens == 4 * 2 * once
    flops = training_flops(SHAPE, tokens=24 * 448 * 64 / 29, supervised=24 * 448, context=35 + 29)
    assert costs["train", "uniform"].flops == pytest.approx(flops)
    assert all(cost.flops > 0 for key, cost in costs.items() if key != ("model", "base"))
    assert sum_costs(list(costs.values())).flops == sum(cost.flops for cost in costs.values())


def test_every_process_loads_the_model_on_the_host() -> None:
    launch = "train.launch={strategy: ddp, processes: 8}"
    parameters = 7_615_616_512  # of Qwen2.5-7B
    assert host_bytes(composed("recipe=ladder"), QWEN) == 2 * parameters
    launched = composed("recipe=ladder", launch, "train.micro_batches=8")
    assert host_bytes(launched, QWEN) == 8 * 2 * parameters
    sharded = composed("recipe=ladder", launch.replace("ddp", "fsdp2"), "train.micro_batches=8")
    assert host_bytes(sharded, QWEN) == 4 * parameters


def test_grpo_holds_the_policy_its_parent_and_the_engine() -> None:
    (cost,) = (cost for key, cost in costs_of(composed("recipe=grpo")).items() if key[0] == "grpo")
    full = composed("recipe=grpo").grpo.models["uniform-grpo"].tuning
    backward, _ = formulas.state_bytes(SHAPE, full, None)
    length, answers = 35 + 48, 12 * 4
    backward += formulas.activation_bytes(SHAPE, full, answers * length, longest=length)
    backward += formulas.head_bytes(SHAPE, full, answers * 48)
    parent = 2 * SHAPE.parameters()
    assert cost.gpu_gib == pytest.approx((backward + parent) / GIB + 0.3 * 80)


def grpo_of(*overrides: str) -> StageCost:
    costs = costs_of(composed("recipe=grpo", *overrides))
    return next(cost for key, cost in costs.items() if key[0] == "grpo")


def test_grpo_without_divergence_holds_no_parent_and_replaced_groups_cost_tokens() -> None:
    plain = grpo_of()
    without = grpo_of("grpo.beta=0.0", "grpo.max_resamples=2")
    assert plain.gpu_gib - without.gpu_gib == pytest.approx(2 * SHAPE.parameters() / GIB)
    assert without.tokens == 3 * plain.tokens
    launch = "grpo.launch={strategy: ddp, processes: 2}"
    shared = grpo_of(launch, "grpo.micro_batches=2")
    assert (shared.gpus, shared.tokens) == (2, plain.tokens)


def test_grpo_keeps_qloras_weights_in_16_bits_and_recomputes_activations_if_told() -> None:
    tuning = "grpo.models.uniform-grpo.tuning={method: %s, r: 8, alpha: 8, dropout: 0.0, "
    tuning += "targets: [q_proj], optimizer: adamw}"
    lora, qlora = (grpo_of("+" + tuning % method) for method in ("lora", "qlora"))
    assert qlora.gpu_gib == lora.gpu_gib
    assert grpo_of("grpo.gradient_checkpointing=true").gpu_gib < grpo_of().gpu_gib


def test_disks_keep_models_and_for_a_while_checkpoints_and_unpacked_copies() -> None:
    params = composed("recipe=quantization")
    costs = costs_of(params)
    n = SHAPE.parameters()
    assert costs["model", "base"].disk_bytes == 2 * n
    trained = costs["train", "uniform"]
    assert (trained.disk_bytes, trained.scratch_bytes) == (2 * n, 14 * n)
    gptq4 = quantized_models(params.quantize)["uniform-gptq4"]
    size = formulas.quantized_bytes(SHAPE, gptq4, 64)
    assert costs["quantize", "uniform-gptq4"].disk_bytes == size
    unpacked = {
        bits: costs["evaluate", f"uniform-gptq{bits}"].scratch_bytes for bits in (2, 3, 4, 8)
    }
    assert unpacked == {2: 2 * n, 3: 2 * n, 4: 0, 8: 0}
    assert costs["evaluate", "uniform-nf4"].scratch_bytes == 2 * n
    assert costs["round", "uniform-rtn3"].tokens == 0
    # The Hub's cache has a copy of its own.
    hub = composed("recipe=ladder", f"model.base=hub:EleutherAI/llemma_7b@{COMMIT}")
    llemma = MODELS["EleutherAI/llemma_7b"].shape
    assert costs_of(hub, llemma)["model", "base"].disk_bytes == 4 * llemma.parameters()


@pytest.mark.parametrize("control", [False, True])
def test_a_frozen_base_takes_memory_beside_the_model(control: bool) -> None:
    asft, arm = "+weigh.arms.asft={strategy: asft, anchor: 0.05}", "asft"
    overrides = ["recipe=ladder", asft]
    if control:
        overrides.append("+weigh.arms.shuffled={strategy: control, control_of: asft}")
        arm = "shuffled"
    costs = costs_of(composed(*overrides))
    more = costs["train", arm].gpu_gib - costs["train", "uniform"].gpu_gib
    # The divergence from it needs all logits of both.
    logits = 2 * formulas.logits_bytes(SHAPE, 448)
    assert more * GIB == pytest.approx(2 * SHAPE.parameters() + logits)


def test_sequential_rounds_count_at_their_most() -> None:
    sequential = "sample.sequential={width: 0.1, interval: 0.9, max_k: 16}"
    costs = costs_of(composed("recipe=ladder", sequential, "sample.prompting=[cot,pot]"))
    assert costs["sample", "base"].tokens == 8 * 28 * (16 + 4) * 64


def test_micro_batches_and_processes_lower_the_memory_of_training() -> None:
    def train(*overrides: str, shape: Any = SHAPE) -> StageCost:
        return costs_of(composed("recipe=ladder", *overrides), shape)["train", "uniform"]

    whole = train("train.tokens_per_step=8960")
    parts = train("train.tokens_per_step=8960", "train.micro_batches=10")
    assert whole.gpu_gib > 4 * parts.gpu_gib
    assert whole.tokens == parts.tokens
    launch = "train.launch={strategy: fsdp2, processes: 8}"
    alone = train("train.micro_batches=8", shape=QWEN)
    shared = train("train.micro_batches=8", launch, shape=QWEN)
    step = 4 * QWEN.vocabulary * QWEN.hidden
    assert alone.gpu_gib == pytest.approx((16 * QWEN.parameters() + step) / GIB, rel=0.01)
    assert shared.gpu_gib < alone.gpu_gib / 5
    assert (alone.gpus, shared.gpus) == (1, 8)


def test_paradigm_fits_one_gpu_with_8_bit_moments_alone() -> None:
    needed = {
        optimizer: costs_of(
            composed(
                "recipe=paradigm",
                "train.launch=null",
                f"train.tuning={{method: full, optimizer: {optimizer}}}",
            ),
            QWEN,
        )["train", "paradigm"].gpu_gib
        for optimizer in ("adamw", "adamw_8bit")
    }
    assert needed["adamw"] > 113  # 16 bytes for each of 7.6e9 parameters
    assert 43 < needed["adamw_8bit"] < 72  # 6, and activations; a tenth of the GPU stays free


def test_engines_take_more_gpus_and_tensor_parallelism_splits_the_memory() -> None:
    single, engines, split = (
        costs_of(composed("recipe=ladder", *overrides), QWEN)["evaluate", "base"]
        for overrides in ((), ("engine.engines=4",), ("engine.tensor_parallel=2",))
    )
    assert (single.gpus, engines.gpus, split.gpus) == (1, 4, 2)
    assert engines.gpu_gib == single.gpu_gib
    assert split.gpu_gib == pytest.approx(single.gpu_gib / 2)


def rows(name: str, format: Any, path: str, fraction: float) -> RowsSource:
    changes = {"name": name, "format": format, "path": path, "fraction": fraction}
    return RowsSource.model_validate(ROWS | changes)


ORCA = f"hub:microsoft/orca-math-word-problems-200k@{COMMIT}/*.parquet"


def test_conversations_need_no_samples_and_count_their_own_sources() -> None:
    overrides = ["sample.k=0", "train.steps=10", "train.tokens_per_step=896"]
    raw = compose(["recipe=ladder", *overrides], CONF)
    sources = [rows("a", "orca-math", ORCA, 1.0), rows("b", "gsm8k", "ladder:3", 1.0)]
    raw["prepare"]["train"] += [source.model_dump() for source in sources]
    raw["weigh"]["arms"] = {
        "talk": {"strategy": "conversations", "sources": ["a"]},
        "uniform": {"strategy": "uniform"},
    }
    raw["weigh"]["replays"] = {}
    raw["quantize"]["gptq"] = {}
    raw["evaluate"]["models"] = {"base": [0], "talk": [0]}
    raw["analyze"]["compare"] = [["talk", "base"]]
    costs = costs_of(parse_params(raw, where="test"))
    assert ("sample", "base") not in costs
    assert costs["train", "talk"].tokens == pytest.approx(8960 * (70 + 20 + 280) / 280)
    assert costs["train", "uniform"].tokens == pytest.approx(8960 * (15 + 20 + 29) / 29)


def test_rows_and_mean_tokens_of_sources() -> None:
    ladder = rows("a", "gsm8k", "ladder:3", 0.5)
    published = rows("b", "orca-math", ORCA, 0.25)
    unlisted = rows("c", "math", "mine.jsonl", 1.0)
    counts = [count_rows(source, 14) for source in (ladder, published, unlisted)]
    assert counts == [21, 50_009, 0]
    mean = mean_tokens([ladder, published], 14)
    assert mean.prompt == pytest.approx((21 * 15 + 50_009 * 70) / 50_030 + 20)
    assert mean.answer == pytest.approx((21 * 29 + 50_009 * 280) / 50_030)


def test_a_total_sums_tokens_and_disk_and_takes_the_largest_of_the_rest() -> None:
    costs = [StageCost("a", "x", 1, 1, 2, 3, 4), StageCost("b", "y", 10, 4, 1, 30, 2)]
    assert sum_costs(costs) == StageCost("all", "", 11, 4, 2, 33, 4)


def test_models_from_elsewhere_have_the_costs_of_their_own_size() -> None:
    other = f"+model.others.qwen=hub:Qwen/Qwen2.5-7B@{COMMIT}"
    changes = [
        other,
        f"+model.others.unknown=hub:some/model@{COMMIT}",
        f"+model.adapted.tuned={{parent: qwen, adapter: 'hub:some/adapter@{COMMIT}'}}",
        "+quantize.rounded.tuned-nf4={parent: tuned, method: nf4, bits: 4}",
        "+evaluate.models.tuned=[0]",
        "+evaluate.models.tuned-nf4=[0]",
        "+evaluate.models.unknown=[0]",
    ]
    params = composed("recipe=ladder", *changes)
    shapes = {"base": SHAPE, "qwen": QWEN}
    costs = {(cost.stage, cost.item): cost for cost in estimate_stages(params, shapes, 80)}
    assert ("fetch", "unknown") not in costs
    assert ("evaluate", "unknown") not in costs
    assert costs["fetch", "qwen"].disk_bytes == 2 * 2 * QWEN.parameters()
    assert costs["merge", "tuned"].disk_bytes == 2 * QWEN.parameters()
    assert costs["round", "tuned-nf4"].disk_bytes < 0.4 * 2 * QWEN.parameters()
    assert costs["evaluate", "tuned"].gpu_gib > 9 * costs["evaluate", "base"].gpu_gib
