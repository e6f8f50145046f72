"""Quantized tiny models: small, reproducible, and close to the original."""

import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, OPTConfig, PreTrainedConfig, PreTrainedModel, Qwen3Config

from stages.lib.inference.dequantize import (
    dequantize,
    engine_ready,
    has_kernel,
    load_quantized,
    memory_bytes,
    needs_humming,
)
from stages.lib.models.bitsandbytes import int8, nf4
from stages.lib.models.folder import weight_bytes
from stages.lib.params.quantization import Bits, Calibration, Quantize
from stages.lib.quantization import gptq
from stages.lib.quantization.bitsandbytes import quantize_bitsandbytes
from stages.lib.quantization.gptq import check_group_size, layer_count, quantize_gptq_or_rtn
from stages.lib.training.likelihood import negative_log_likelihoods
from tests.conftest import one_turn

LAYER = "model.layers.0.mlp.up_proj.weight"
CALIBRATION = [list(range(start, start + 40)) for start in range(0, 160, 10)]
SOLUTIONS = [one_turn(ids[:10], ids[10:], 1.0) for ids in CALIBRATION]


def settings(**changes: Any) -> Quantize:
    values = {
        "seed": 1,
        "gptq": {},
        "rounded": {},
        "group_size": 32,
        "desc_act": False,
        "act_group_aware": True,
        "symmetric": True,
        "damping": 0.05,
        "calibration": Calibration(examples=16, max_length=64),
    }
    return Quantize(**(values | changes))


def quantize(parent: Path, out: Path, bits: Bits, *, calibrated: bool, **changes: Any) -> int:
    """Quantize a model; return how many layers were reported as finished."""
    layers: list[int] = []
    quantize_gptq_or_rtn(
        parent,
        out,
        bits=bits,
        settings=settings(**changes),
        calibration=CALIBRATION if calibrated else None,
        on_progress=layers.append,
    )
    return sum(layers)


@pytest.fixture(scope="module")
def rounded(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Bits, Path]:
    """Return the tiny model rounded to nearest, by bits, most bits first."""
    folder = tmp_path_factory.mktemp("rounded")
    widths: tuple[Bits, ...] = (8, 4, 3, 2)
    for bits in widths:
        quantize(tiny_base, folder / str(bits), bits, calibrated=False)
    return {bits: folder / str(bits) for bits in widths}


class Loaded(NamedTuple):
    """The size of a model as it is saved, in bytes, and the model in bf16."""

    n_bytes: int
    model: PreTrainedModel


def load(folder: Path) -> Loaded:
    model = load_quantized(folder)
    n_bytes = memory_bytes(model)
    return Loaded(n_bytes, dequantize(model))


@pytest.fixture(scope="module")
def loaded(rounded: dict[Bits, Path]) -> dict[Bits, Loaded]:
    """Return the rounded models, by bits."""
    return {bits: load(folder) for bits, folder in rounded.items()}


@pytest.fixture(scope="module")
def original(tiny_base: Path) -> Loaded:
    """Return the tiny model."""
    return load(tiny_base)


def loss(loaded: Loaded) -> float:
    return sum(negative_log_likelihoods(loaded.model, SOLUTIONS, lambda _: None))


def weight(loaded: Loaded) -> torch.Tensor:
    return loaded.model.get_parameter(LAYER).detach().float()


def error(loaded: Loaded, original: Loaded) -> float:
    """Return the mean squared error of a layer's weights."""
    return float((weight(loaded) - weight(original)).square().mean())


@pytest.mark.parametrize("calibrated", [True, False])
def test_two_runs_write_the_same_bytes(
    tiny_base: Path, tmp_path: Path, rounded: dict[Bits, Path], calibrated: bool
) -> None:
    first, second = tmp_path / "a" if calibrated else rounded[4], tmp_path / "b"
    for folder in (first, second):
        if not folder.exists():
            assert quantize(tiny_base, folder, 4, calibrated=calibrated) == layer_count(tiny_base)
    files = sorted(path.name for path in first.iterdir())
    assert "model.safetensors" in files
    for name in files:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert weight_bytes(first) < weight_bytes(tiny_base)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layers_that_are_not_quantized_stay_as_the_parent_has_them(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(gptq, "compute_dtype", lambda: dtype)
    quantize(tiny_base, tmp_path / "out", 4, calibrated=True)
    parent, saved = (
        load_file(folder / "model.safetensors") for folder in (tiny_base, tmp_path / "out")
    )
    kept = {name for name in parent if "_proj" not in name}
    assert "model.embed_tokens.weight" in kept
    assert all(torch.equal(parent[name], saved[name]) for name in kept)
    assert {saved[name].dtype for name in kept} == {torch.bfloat16}
    assert AutoConfig.from_pretrained(tmp_path / "out").dtype == torch.bfloat16


def test_fewer_bits_are_smaller_and_further_from_the_parent(
    original: Loaded, loaded: dict[Bits, Loaded]
) -> None:
    models = list(loaded.values())
    assert math.isclose(loss(original), loss(models[0]), rel_tol=0.01)
    errors = [error(model, original) for model in models]
    assert errors == sorted(errors)
    sizes = [model.n_bytes for model in (original, *models)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


@pytest.mark.parametrize("avx512", [True, False])
def test_a_cpu_has_a_kernel_for_four_bits_if_it_has_avx512(
    rounded: dict[Bits, Path], monkeypatch: pytest.MonkeyPatch, avx512: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: avx512)
    with_kernel = [bits for bits, folder in rounded.items() if has_kernel(folder)]
    assert with_kernel == ([4] if avx512 else [])


def test_round_to_nearest_is_on_the_grid_of_its_group(
    original: Loaded, loaded: dict[Bits, Loaded]
) -> None:
    pairs = zip(weight(loaded[3])[0].split(32), weight(original)[0].split(32), strict=True)
    for new, old in pairs:
        points = new.unique()
        assert len(points) <= 2**3
        step = points.diff().min()
        # Where the grid ends, what lies outside goes to its last point.
        inside = (old >= points.min() - step / 2) & (old <= points.max() + step / 2)
        assert ((new - old).abs()[inside] <= 0.51 * step).all()


@pytest.mark.parametrize(("config", "smaller"), [(nf4(), 3), (int8(), 1.8)])
def test_formats_of_bitsandbytes_load_again(
    tiny_base: Path,
    original: Loaded,
    loaded: dict[Bits, Loaded],
    tmp_path: Path,
    config: Any,
    smaller: float,
) -> None:
    out = tmp_path / "q"
    quantize_bitsandbytes(tiny_base, out, config)
    packed = load_quantized(out).state_dict()[LAYER]
    assert packed.nbytes * smaller < original.model.state_dict()[LAYER].nbytes
    assert not has_kernel(out)
    again = load(out)
    assert 0 < error(again, original) < error(loaded[2], original)
    assert math.isclose(loss(original), loss(again), rel_tol=0.05)


@pytest.mark.parametrize(
    ("cuda", "changes", "kernel", "humming"),
    [
        (False, {}, True, False),
        (False, {"group_size": 16}, False, False),
        (True, {}, True, False),
        (True, {"bits": 8}, True, False),
        (True, {"bits": 8, "group_size": -1, "desc_act": True}, True, False),
        (True, {"bits": 3}, True, True),
        (True, {"bits": 2}, True, True),
        (True, {"bits": 2, "group_size": 16}, False, False),
        (True, {"bits": 3, "group_size": -1}, False, False),
        (True, {"bits": 3, "desc_act": True}, False, False),
        (True, {"bits": 2, "sym": False}, False, False),
    ],
)
def test_which_grids_the_engine_has_kernels_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    cuda: bool,
    changes: dict[str, Any],
    kernel: bool,
    humming: bool,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: True)
    grid = {"quant_method": "gptq", "bits": 4, "sym": True, "desc_act": False, "group_size": 32}
    config = {"model_type": "llama", "quantization_config": grid | changes}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert (has_kernel(tmp_path), needs_humming(tmp_path)) == (kernel, humming)


@pytest.mark.parametrize(
    ("changes", "by_group", "in_order"),
    [
        ({}, True, True),
        ({"act_group_aware": False}, False, True),
        ({"desc_act": True}, False, False),
        ({"group_size": -1}, False, True),
    ],
)
def test_columns_are_quantized_in_the_order_that_is_asked_for(
    tiny_base: Path, tmp_path: Path, *, changes: dict[str, Any], by_group: bool, in_order: bool
) -> None:
    quantize(tiny_base, tmp_path / "out", 4, calibrated=True, **changes)
    saved = AutoConfig.from_pretrained(tmp_path / "out").quantization_config
    assert saved["meta"]["act_group_aware"] == by_group
    groups = load_file(tmp_path / "out" / "model.safetensors")[
        f"{LAYER.removesuffix('weight')}g_idx"
    ]
    assert bool((groups.diff() >= 0).all()) == in_order


def test_packed_weights_are_loaded_on_the_device_that_is_asked_for(
    rounded: dict[Bits, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gptqmodel import GPTQModel

    asked: list[str] = []
    original = GPTQModel.load

    def load(*args: Any, device: str, **options: Any) -> Any:
        asked.append(device)
        return original(*args, device="cpu", **options)

    monkeypatch.setattr(GPTQModel, "load", load)
    load_quantized(rounded[4], "cuda:0")
    load_quantized(rounded[4])
    assert asked == ["cuda:0", "cpu"]


def test_the_engine_gets_an_unpacked_copy_where_it_has_no_kernel(
    tiny_base: Path,
    rounded: dict[Bits, Path],
    loaded: dict[Bits, Loaded],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with engine_ready(rounded[3]) as copy:
        assert copy == Path("data/unpacked/3")
        assert has_kernel(copy)
        assert (copy / "tokenizer.json").is_file()
        assert loss(load(copy)) == loss(loaded[3])
    assert not copy.exists()
    with engine_ready(tiny_base) as same:
        assert same == tiny_base


def test_a_group_size_that_does_not_fit_names_those_that_do(tiny_base: Path) -> None:
    with pytest.raises(ValueError, match=r"group_size: 128: expected one of \[-1, 16, 32, 64\]"):
        check_group_size(tiny_base, 128)


# Heads of 24 make an output projection of 48; some families name widths in other ways.
SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 40,
}
SHAPES = [
    (
        Qwen3Config(**SMALL, intermediate_size=128, head_dim=24, num_key_value_heads=1),
        [48, 64, 128],
        [-1, 16],
    ),
    (OPTConfig(**SMALL, ffn_dim=96, word_embed_proj_dim=64), [64, 96], [-1, 16, 32]),
]


@pytest.mark.parametrize(("config", "widths", "fitting"), SHAPES)
def test_widths_are_those_of_the_layers(
    tmp_path: Path, config: PreTrainedConfig, widths: list[int], fitting: list[int]
) -> None:
    config.save_pretrained(tmp_path)
    message = f"expected one of {fitting}, which divide the layers' widths {widths}"
    with pytest.raises(ValueError, match=re.escape(message)):
        check_group_size(tmp_path, 128)
    for group_size in fitting:
        check_group_size(tmp_path, group_size)
